#include "publisher_parts.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What waits for longer than this is put on the disk: it is what a crash may cost. */
#define LAG_NS FG_NS_PER_S

#define EXPIRE_NS (10 * FG_NS_PER_S)

/* Waits before a disk that failed is tried again. */
#define GAP_MIN_NS FG_NS_PER_S
#define GAP_MAX_NS (60 * FG_NS_PER_S)

/* --- what the spool calls --- */

static struct fg_origin *find_origin(void *context, const char *port, const char *device)
{
    struct fg_publisher *publisher = context;
    struct fg_origin *made = fg_origin_new(port, device);
    if (!made) {
        return NULL;
    }
    /* Both names stand behind the struct, one after the other: a key without a copy. */
    size_t length = strlen(made->port) + 1 + strlen(made->device);
    struct fg_origin *known = fg_map_get(&publisher->keep.origins, made->port, length);
    if (known) {
        fg_origin_unref(made);
        return fg_origin_ref(known);
    }
    return fg_map_add(&publisher->keep.origins, made->port, length, made) == 0 ? fg_origin_ref(made) : made;
}

static void free_origin(void *value, void *context)
{
    (void)context;
    fg_origin_unref(value);
}

void fg_keep_forget_origins(struct fg_keep *keep)
{
    fg_map_each(&keep->origins, free_origin, NULL);
    fg_map_fini(&keep->origins);
    fg_map_init(&keep->origins);
}

/* The range's two ends, so that the loss that is told has both. */
static void count_range(struct fg_publisher *publisher, struct fg_origin *origin, enum fg_loss reason,
                        int64_t from_ms, int64_t to_ms, uint64_t count)
{
    if (count > 1) {
        fg_publisher_count_lost(publisher, origin, reason, from_ms, count - 1);
    }
    fg_publisher_count_lost(publisher, origin, reason, to_ms, 1);
}

static void on_lost(void *context, const struct fg_spool_loss *loss)
{
    count_range(context, loss->origin, loss->reason, loss->from_ms, loss->to_ms, loss->count);
}

static void on_damaged(void *context, const struct fg_spool_damage *damage)
{
    struct fg_publisher *publisher = context;
    fg_log(FG_LOG_ERROR,
           "the spool was damaged (%s): it is set aside as %s; %llu messages were carried over, %llu or more "
           "are missing",
           damage->why, damage->set_aside, (unsigned long long)damage->salvaged,
           (unsigned long long)damage->missing);
    struct fg_origin *origin = damage->missing > 0 ? fg_origin_new("", "") : NULL;
    if (origin) {
        count_range(publisher, origin, FG_LOSS_SPOOL_DAMAGED, damage->from_ms, damage->to_ms,
                    damage->missing);
        fg_origin_unref(origin);
    }
}

static const struct fg_spool_events events = { .origin = find_origin,
                                               .lost = on_lost,
                                               .damaged = on_damaged };

/* --- trouble --- */

static void note_counts(struct fg_publisher *publisher)
{
    struct fg_spool_counts counts;
    fg_spool_get_counts(publisher->keep.spool, &counts);
    atomic_store_explicit(&publisher->spooled, counts.messages, memory_order_relaxed);
    atomic_store_explicit(&publisher->spool_bytes, counts.disk_bytes, memory_order_relaxed);
    atomic_store_explicit(&publisher->spool_written, counts.written_bytes, memory_order_relaxed);
}

/* Something failed, and is tried again later. Said once, and once more when it is something else. */
static void note_trouble(struct fg_publisher *publisher, int error)
{
    struct fg_keep *keep = &publisher->keep;
    const char *problem = fg_spool_problem(keep->spool);
    if (keep->trouble != error) {
        fg_log(FG_LOG_WARNING, "the spool cannot be used: %s; readings wait in memory meanwhile",
               problem[0] ? problem : strerror(-error));
    }
    keep->gap_ns = keep->gap_ns == 0 ? GAP_MIN_NS : 2 * keep->gap_ns;
    keep->gap_ns = keep->gap_ns < GAP_MAX_NS ? keep->gap_ns : GAP_MAX_NS;
    keep->trouble = error;
    note_counts(publisher);
}

static void note_success(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    keep->retry_ns = 0;
    if (keep->trouble != 0 && !keep->cannot_save && !keep->cannot_remove) {
        fg_log(FG_LOG_WARNING, "the spool works again");
        keep->trouble = 0;
        keep->gap_ns = 0;
    }
    note_counts(publisher);
}

int fg_keep_settle(struct fg_publisher *publisher, int error)
{
    if (error) {
        note_trouble(publisher, error);
        publisher->keep.retry_ns = fg_clock_now_ns() + publisher->keep.gap_ns;
    } else {
        note_success(publisher);
    }
    return error;
}

/* --- when --- */

static int64_t lag_ns(const struct fg_publisher *publisher)
{
    return LAG_NS + (publisher->linger_ns > 0 ? publisher->linger_ns : 0);
}

/* When the oldest message that is in memory alone was offered; INT64_MAX: there is none. */
static int64_t oldest_unsaved_ns(struct fg_publisher *publisher)
{
    for (const struct fg_flight *flight = publisher->inflight.oldest; flight; flight = flight->newer) {
        if (flight->message && flight->message->spool_id == 0) {
            return flight->message->offered_ns;
        }
    }
    const struct fg_message *chains[] = { publisher->again.first, publisher->taken.first,
                                          publisher->keep.unsaved.first };
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        for (const struct fg_message *message = chains[i]; message; message = message->next) {
            if (message->spool_id == 0) {
                return message->offered_ns;
            }
        }
    }
    pthread_mutex_lock(&publisher->lock);
    int64_t offered_ns = publisher->outbox.waiting > 0 ? publisher->outbox.head->offered_ns : INT64_MAX;
    pthread_mutex_unlock(&publisher->lock);
    return offered_ns;
}

static bool waits_in_memory(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    bool waits = publisher->outbox.waiting > 0;
    pthread_mutex_unlock(&publisher->lock);
    return waits || publisher->keep.unsaved.first;
}

static bool fills_memory(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    bool fills = publisher->outbox.waiting > 0 && fg_outbox_is_half_full(&publisher->outbox);
    pthread_mutex_unlock(&publisher->lock);
    return fills;
}

/* When what is in memory is to go to the disk. */
static int64_t save_due_ns(struct fg_publisher *publisher, int64_t now_ns)
{
    int64_t due_ns = INT64_MAX;
    if (publisher->keep.settings->durability == FG_SPOOL_ALWAYS) {
        due_ns = waits_in_memory(publisher) ? now_ns : INT64_MAX;
    } else if (fg_keep_bars(publisher) && fills_memory(publisher)) {
        due_ns = now_ns;
    } else {
        int64_t oldest_ns = oldest_unsaved_ns(publisher);
        due_ns = oldest_ns == INT64_MAX ? INT64_MAX : oldest_ns + lag_ns(publisher);
    }
    return due_ns > publisher->keep.save_ns ? due_ns : publisher->keep.save_ns;
}

int64_t fg_keep_due_ns(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_keep *keep = &publisher->keep;
    if (!keep->spool || publisher->phase != FG_RUNNING) {
        return INT64_MAX;
    }
    if (!fg_keep_is_open(keep)) {
        return keep->retry_ns;
    }
    int64_t due_ns = fg_sooner(save_due_ns(publisher, now_ns), fg_keep_read_due_ns(publisher, now_ns));
    due_ns = fg_sooner(due_ns, fg_keep_remove_due_ns(publisher));
    if (keep->settings->max_age_ns > 0 && fg_counted(&publisher->spooled) > 0) {
        due_ns = fg_sooner(due_ns, keep->expire_ns);
    }
    return due_ns > keep->retry_ns ? due_ns : keep->retry_ns;
}

unsigned fg_keep_wants(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_keep *keep = &publisher->keep;
    if (!keep->spool) {
        return 0;
    }
    keep->watch_ns = fg_keep_due_ns(publisher, now_ns);
    uint64_t published = fg_counted(&publisher->published);
    if (keep->watch_ns == INT64_MAX && published != keep->seen) {
        /* It is likely that more comes, and cheaper to look once more than to be woken for the next. */
        keep->watch_ns = now_ns + LAG_NS;
    }
    keep->seen = published;
    if (!fg_keep_is_open(keep) || keep->save_ns > now_ns) {
        return 0;
    }
    bool sleeps = keep->watch_ns == INT64_MAX || keep->settings->durability == FG_SPOOL_ALWAYS;
    return sleeps ? FG_WANT_SAVE : FG_WANT_SPACE;
}

/* Whether the disk is to be tried: it has room, as far as is known, or it is time to look again. */
static bool saves(const struct fg_keep *keep)
{
    return !keep->cannot_save || fg_clock_now_ns() >= keep->save_ns;
}

bool fg_keep_bars(const struct fg_publisher *publisher)
{
    const struct fg_keep *keep = &publisher->keep;
    return fg_keep_is_open(keep) &&
           (keep->backlog || (keep->settings->durability == FG_SPOOL_ALWAYS && saves(keep)));
}

struct fg_message *fg_keep_take(struct fg_publisher *publisher, size_t count)
{
    struct fg_chain *unsaved = &publisher->keep.unsaved;
    struct fg_message *first = unsaved->first;
    if (!first) {
        return NULL;
    }
    struct fg_message *last = first;
    while (--count > 0 && last->next) {
        last = last->next;
    }
    unsaved->first = last->next;
    last->next = NULL;
    return first;
}

/* --- the steps --- */

/* A disk that has no room can still be read: that goes on while writing waits. */
static int write_to(struct fg_publisher *publisher, int (*how)(struct fg_publisher *), int64_t *again_ns,
                    bool *cannot)
{
    struct fg_keep *keep = &publisher->keep;
    int error = how(publisher);
    if (!error || !fg_spool_is_open(keep->spool)) {
        *cannot = false;
        *again_ns = 0;
        return error;
    }
    *cannot = error != -ENOBUFS; /* that is the spool's own bound, and devices are to wait */
    if (*cannot) {
        note_trouble(publisher, error);
    }
    *again_ns = fg_clock_now_ns() + (*cannot ? keep->gap_ns : GAP_MIN_NS);
    return 0;
}

/* What is on the disk and not in memory is to be read. */
static int open_again(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    int error = fg_spool_open(keep->spool);
    if (!error) {
        keep->cannot_save = keep->cannot_remove = false;
        struct fg_spool_counts counts;
        fg_spool_get_counts(keep->spool, &counts);
        keep->backlog = counts.messages > 0;
    }
    return error;
}

static int step(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_keep *keep = &publisher->keep;
    int error = fg_keep_is_open(keep) ? 0 : open_again(publisher);
    if (!error && fg_keep_remove_due_ns(publisher) <= now_ns) {
        error = write_to(publisher, fg_keep_remove, &keep->remove_ns, &keep->cannot_remove);
    }
    if (!error && keep->settings->max_age_ns > 0 && now_ns >= keep->expire_ns) {
        keep->expire_ns = now_ns + EXPIRE_NS;
        error = fg_spool_expire(keep->spool);
    }
    if (!error && save_due_ns(publisher, now_ns) <= now_ns) {
        error = write_to(publisher, fg_keep_save, &keep->save_ns, &keep->cannot_save);
    }
    if (!error && fg_keep_read_due_ns(publisher, now_ns) <= now_ns) {
        error = fg_keep_read(publisher, now_ns);
    }
    return error;
}

/* Tells who waits for the disk how far it is. */
static void tell_saved(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    size_t unsaved = 0;
    for (const struct fg_message *message = keep->unsaved.first; message; message = message->next) {
        unsaved++;
    }
    pthread_mutex_lock(&publisher->lock);
    uint64_t saved = publisher->outbox.offered - publisher->outbox.waiting - unsaved;
    pthread_mutex_unlock(&publisher->lock);
    if (!fg_keep_is_open(keep) || keep->cannot_save) {
        saved = UINT64_MAX; /* and it is not worth waiting */
    }
    atomic_store(&publisher->saved, saved);
    publisher->room_due |= atomic_exchange(&publisher->save_awaited, false);
}

void fg_keep_step(struct fg_publisher *publisher, int64_t now_ns)
{
    if (fg_keep_due_ns(publisher, now_ns) <= now_ns) {
        fg_keep_settle(publisher, step(publisher, now_ns));
        tell_saved(publisher);
    }
}

void fg_keep_save_all(struct fg_publisher *publisher, bool losses)
{
    struct fg_keep *keep = &publisher->keep;
    if (!keep->spool) {
        return;
    }
    int error = fg_keep_is_open(keep) ? 0 : open_again(publisher);
    if (!error) {
        error = fg_keep_save(publisher);
    }
    if (!error && keep->done_count > 0) {
        error = fg_keep_remove_all(publisher);
    }
    if (!error && losses) {
        fg_keep_save_losses(publisher);
    }
    fg_keep_settle(publisher, error);
}

size_t fg_keep_done_capacity(const struct fg_mqtt_settings *settings)
{
    return 2 * fg_session_capacity(settings) + 16;
}

int fg_keep_init(struct fg_publisher *publisher, const struct fg_spool_settings *settings)
{
    struct fg_keep *keep = &publisher->keep;
    fg_map_init(&keep->origins);
    if (!settings) {
        return 0;
    }
    keep->settings = settings;
    keep->done_capacity = fg_keep_done_capacity(publisher->settings);
    keep->done = calloc(keep->done_capacity, sizeof *keep->done);
    const struct fg_spool_options options = { .settings = settings, .events = &events, .context = publisher };
    int error = keep->done ? fg_spool_new(&options, &keep->spool) : -ENOMEM;
    if (error) {
        return error;
    }
    error = open_again(publisher);
    if (error == -EBUSY || error == -EPERM || error == -ELOOP || error == -EPROTONOSUPPORT ||
        error == -ENOMEM) {
        fg_log(FG_LOG_ERROR, "spool: %s", fg_spool_problem(keep->spool));
        return error;
    }
    fg_keep_settle(publisher, error);
    tell_saved(publisher);
    if (keep->backlog) {
        fg_log(FG_LOG_INFO, "the spool holds %llu messages for the broker",
               (unsigned long long)fg_counted(&publisher->spooled));
    }
    return 0;
}

void fg_keep_fini(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    fg_spool_free(keep->spool);
    fg_message_free_all(keep->unsaved.first);
    fg_keep_forget_origins(keep);
    fg_map_fini(&keep->origins);
    free(keep->done);
    *keep = (struct fg_keep){ 0 };
}
