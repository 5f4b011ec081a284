#include "publisher_parts.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Cuts a chain behind as many messages as one commit takes, but at least one. Returns the rest. */
static struct fg_message *cut(struct fg_message *first, size_t most)
{
    struct fg_message *last = first;
    size_t bytes = fg_message_bytes(first);
    while (last->next && bytes + fg_message_bytes(last->next) <= most) {
        last = last->next;
        bytes += fg_message_bytes(last);
    }
    struct fg_message *rest = last->next;
    last->next = NULL;
    return rest;
}

static void put_back(struct fg_chain *chain, struct fg_message *group, struct fg_message *rest)
{
    struct fg_message *last = group;
    while (last->next) {
        last = last->next;
    }
    last->next = rest;
    chain->first = group;
    if (!rest) {
        chain->tail = &last->next;
    }
}

/* Commits the first messages of a chain, and takes them out of it. Returns them, or NULL and *error (0 for an
 * empty chain). */
static struct fg_message *save_group(struct fg_publisher *publisher, struct fg_chain *chain, int *error)
{
    struct fg_message *group = chain->first;
    *error = 0;
    if (!group) {
        return NULL;
    }
    struct fg_message *rest = cut(group, fg_spool_batch_bytes(publisher->keep.spool));
    *error = fg_spool_append(publisher->keep.spool, group);
    if (*error) {
        put_back(chain, group, rest);
        return NULL;
    }
    chain->first = rest;
    return group;
}

static size_t collect(const struct fg_chain *chain, struct fg_message **into)
{
    size_t count = 0;
    for (struct fg_message *message = chain->first; message; message = message->next) {
        if (into) {
            into[count] = message;
        }
        count++;
    }
    return count;
}

static void relink(struct fg_chain *chain, struct fg_message **messages, size_t count)
{
    chain->first = NULL;
    for (size_t i = 0; i < count; i++) {
        fg_chain_put(chain, messages[i]);
    }
}

static int save_listed(struct fg_publisher *publisher, struct fg_message **messages, size_t count)
{
    struct fg_keep *keep = &publisher->keep;
    struct fg_chain chain = { 0 };
    size_t most = fg_spool_batch_bytes(keep->spool);
    for (size_t i = 0; i < count; i++) {
        if (messages[i]->spool_id == 0 && fg_message_bytes(messages[i]) <= most) {
            fg_chain_put(&chain, messages[i]);
        }
    }
    int error = 0;
    struct fg_message *group = NULL;
    while ((group = save_group(publisher, &chain, &error))) {
        for (; group; group = group->next) {
            keep->last = group->spool_id;
        }
    }
    fg_spool_hold(keep->spool, keep->last);
    return error;
}

/* What is handed over, was handed over once, or is to be next, is older than all else that is not on the disk
 * yet. There is not much of it, and it stays in memory, too. */
static int save_in_hand(struct fg_publisher *publisher)
{
    size_t most =
        publisher->inflight.count + collect(&publisher->again, NULL) + collect(&publisher->taken, NULL);
    if (most == 0) {
        return 0;
    }
    struct fg_message **messages = malloc(most * sizeof(struct fg_message *));
    if (!messages) {
        return -ENOMEM;
    }
    size_t flights = 0;
    for (struct fg_flight *flight = publisher->inflight.oldest; flight; flight = flight->newer) {
        if (flight->message) {
            messages[flights++] = flight->message;
        }
    }
    size_t again = collect(&publisher->again, messages + flights);
    size_t taken = collect(&publisher->taken, messages + flights + again);
    int error = save_listed(publisher, messages, flights + again + taken);
    for (size_t i = 0; i < flights; i++) {
        messages[i]->next = NULL;
    }
    relink(&publisher->again, messages + flights, again);
    relink(&publisher->taken, messages + flights + again, taken);
    free(messages);
    return error;
}

/* Whether what is committed may stay in memory, to be handed over from there. */
static bool may_stay(struct fg_publisher *publisher)
{
    if (publisher->keep.backlog || publisher->session->state != FG_SESSION_UP) {
        return false;
    }
    pthread_mutex_lock(&publisher->lock);
    bool room = publisher->outbox.bytes < publisher->outbox.limit / 2;
    pthread_mutex_unlock(&publisher->lock);
    return room;
}

static void place_group(struct fg_publisher *publisher, struct fg_message *group, bool stays)
{
    struct fg_keep *keep = &publisher->keep;
    keep->backlog |= !stays;
    while (group) {
        struct fg_message *next = group->next;
        if (stays) {
            keep->last = group->spool_id;
            fg_chain_put(&publisher->taken, group);
        } else {
            fg_flow_release(publisher, group);
            fg_message_free(group);
        }
        group = next;
    }
    fg_spool_hold(keep->spool, keep->last);
}

/* The oldest of what is unsaved can never be saved, or is not to be. */
static void drop_unsaved(struct fg_publisher *publisher, enum fg_loss reason, size_t bytes)
{
    struct fg_chain *chain = &publisher->keep.unsaved;
    size_t dropped = 0;
    while (chain->first && (dropped == 0 || dropped + fg_message_bytes(chain->first) <= bytes)) {
        struct fg_message *message = fg_chain_get(chain);
        dropped += fg_message_bytes(message);
        fg_flow_lose(publisher, message, reason);
    }
}

/* Puts what is unsaved on the disk. Returns 0 or why there is some left. */
static int save_unsaved(struct fg_publisher *publisher, bool may_stay_here)
{
    struct fg_keep *keep = &publisher->keep;
    int error = 0;
    while (keep->unsaved.first) {
        size_t most = fg_spool_batch_bytes(keep->spool);
        struct fg_message *group = save_group(publisher, &keep->unsaved, &error);
        if (group) {
            place_group(publisher, group, may_stay_here && may_stay(publisher));
        } else if (error == -EMSGSIZE) {
            drop_unsaved(publisher, FG_LOSS_TOO_LARGE, 0);
        } else if (error == -EDQUOT) {
            drop_unsaved(publisher, FG_LOSS_SPOOL_FULL, most);
        } else {
            return error;
        }
    }
    return 0;
}

static void take_out(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    pthread_mutex_lock(&publisher->lock);
    struct fg_message *waiting = fg_outbox_take(&publisher->outbox, SIZE_MAX);
    pthread_mutex_unlock(&publisher->lock);
    while (waiting) {
        struct fg_message *next = waiting->next;
        fg_chain_put(&keep->unsaved, waiting);
        waiting = next;
    }
}

int fg_keep_save(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    int error = save_in_hand(publisher);
    bool room = error == -ENOBUFS || error == -EDQUOT; /* none for these, which are few, and on their way */
    if (error && !room) {
        return error;
    }
    take_out(publisher);
    error = save_unsaved(publisher, keep->settings->durability == FG_SPOOL_ALWAYS);
    fg_flow_settle(publisher);
    return error;
}

void fg_keep_save_losses(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    struct fg_loss_told told;
    bool found = true;
    while (found) {
        pthread_mutex_lock(&publisher->lock);
        fg_losses_hurry(&publisher->losses);
        found = fg_losses_take(&publisher->losses, fg_clock_now_ns(), &told);
        pthread_mutex_unlock(&publisher->lock);
        if (!found) {
            return;
        }
        char payload[2048];
        size_t size = fg_losses_print(&told, payload, sizeof payload);
        struct fg_message *message =
            fg_message_new(told.origin, publisher->loss_topic, strlen(publisher->loss_topic), payload, size);
        bool saved = false;
        if (message && size > 0) {
            message->taken_ns = fg_clock_now_ns();
            message->wall_ms = fg_clock_wall_ms();
            message->qos = 1;
            saved = fg_spool_append(keep->spool, message) == 0;
        }
        if (message) {
            fg_message_free(message);
        }
        pthread_mutex_lock(&publisher->lock);
        if (saved) {
            fg_losses_done(&publisher->losses, told.origin, told.reason);
        } else {
            fg_losses_undo(&publisher->losses, &told);
            found = false;
        }
        pthread_mutex_unlock(&publisher->lock);
        fg_origin_unref(told.origin);
    }
}
