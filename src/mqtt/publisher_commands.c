#include "publisher_commands.h"

#include "publisher_parts.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of filters in one packet. */
#define BATCH_BYTES ((size_t)16 * 1024)

/* Of a SUBSCRIBE with MQTT 5: fixed header, identifier, no properties. */
#define BATCH_HEAD ((size_t)16)

void fg_calls_init(struct fg_publisher *publisher)
{
    fg_inbox_init(&publisher->calls.inbox);
    publisher->calls.answers_tail = publisher->calls.again = &publisher->calls.answers;
}

static void queue(struct fg_calls *calls, struct fg_subscription *subscription)
{
    subscription->earlier = calls->newest;
    subscription->later = NULL;
    *(calls->newest ? &calls->newest->later : &calls->oldest) = subscription;
    calls->newest = subscription;
    subscription->queued = true;
}

static void unqueue(struct fg_calls *calls, struct fg_subscription *subscription)
{
    if (subscription->queued) {
        *(subscription->earlier ? &subscription->earlier->later : &calls->oldest) = subscription->later;
        *(subscription->later ? &subscription->later->earlier : &calls->newest) = subscription->earlier;
        subscription->queued = false;
    }
}

/* The queue is not empty. */
static struct fg_subscription *take_oldest(struct fg_calls *calls)
{
    struct fg_subscription *oldest = calls->oldest;
    calls->oldest = oldest->later;
    *(oldest->later ? &oldest->later->earlier : &calls->newest) = NULL;
    oldest->queued = false;
    return oldest;
}

static struct fg_subscription *make(const char *filter)
{
    size_t size = strlen(filter) + 1;
    struct fg_subscription *subscription = calloc(1, sizeof *subscription + size);
    if (subscription) {
        memcpy(subscription->filter, filter, size);
    }
    return subscription;
}

struct fg_subscription *fg_publisher_subscribe(struct fg_publisher *publisher, const char *filter)
{
    struct fg_calls *calls = &publisher->calls;
    struct fg_subscription *subscription = make(filter);
    if (!subscription) {
        return NULL;
    }
    pthread_mutex_lock(&publisher->lock);
    subscription->next = calls->wanted;
    if (calls->wanted) {
        calls->wanted->previous = subscription;
    }
    calls->wanted = subscription;
    queue(calls, subscription);
    pthread_mutex_unlock(&publisher->lock);
    fg_publisher_wake(publisher, FG_WANT_CONTROL);
    return subscription;
}

void fg_publisher_unsubscribe(struct fg_publisher *publisher, struct fg_subscription *subscription)
{
    if (!subscription) {
        return;
    }
    struct fg_calls *calls = &publisher->calls;
    pthread_mutex_lock(&publisher->lock);
    *(subscription->previous ? &subscription->previous->next : &calls->wanted) = subscription->next;
    if (subscription->next) {
        subscription->next->previous = subscription->previous;
    }
    unqueue(calls, subscription);
    subscription->over = true;
    queue(calls, subscription);
    pthread_mutex_unlock(&publisher->lock);
    fg_publisher_wake(publisher, FG_WANT_CONTROL);
}

void fg_publisher_unsubscribe_stale(struct fg_publisher *publisher, const char *filter)
{
    struct fg_subscription *subscription = make(filter);
    if (subscription) { /* without memory the next message on it brings this about again */
        subscription->over = true;
        pthread_mutex_lock(&publisher->lock);
        queue(&publisher->calls, subscription);
        pthread_mutex_unlock(&publisher->lock);
        fg_publisher_wake(publisher, FG_WANT_CONTROL);
    }
}

bool fg_calls_are_due(const struct fg_publisher *publisher)
{
    const struct fg_calls *calls = &publisher->calls;
    return (calls->oldest && atomic_load(&calls->batch_count) < FG_BATCHES &&
            publisher->phase == FG_RUNNING) ||
           (calls->answers && publisher->phase <= FG_DELIVERING);
}

/* --- subscribing --- */

static struct fg_batch *unused(struct fg_calls *calls)
{
    for (size_t i = 0; i < FG_BATCHES; i++) {
        if (!calls->batches[i].used) {
            return &calls->batches[i];
        }
    }
    return NULL;
}

static void discard(struct fg_calls *calls, struct fg_batch *batch)
{
    free(batch->filters);
    *batch = (struct fg_batch){ 0 };
    atomic_fetch_sub(&calls->batch_count, 1);
}

/* Moves what the queue begins with into the batch: of one kind, and as much as one packet takes. With the
 * lock. */
static void gather(struct fg_calls *calls, struct fg_batch *batch, size_t limit)
{
    size_t used = 0;
    batch->over = calls->oldest && calls->oldest->over;
    while (calls->oldest && calls->oldest->over == batch->over && batch->count < FG_BATCH_FILTERS) {
        size_t size = strlen(calls->oldest->filter) + 1;
        if (used + size > BATCH_BYTES || (batch->count > 0 && used + size + 3 * batch->count > limit)) {
            return;
        }
        struct fg_subscription *subscription = take_oldest(calls);
        memcpy(batch->filters + used, subscription->filter, size);
        used += size;
        batch->count++;
        if (subscription->over) {
            free(subscription);
        }
    }
}

static int send_batch(struct fg_session *session, struct fg_batch *batch)
{
    char *filters[FG_BATCH_FILTERS];
    char *at = batch->filters;
    for (size_t i = 0; i < batch->count; i++) {
        filters[i] = at;
        at += strlen(at) + 1;
    }
    /* What has just been published as retained is told as such only so, where the protocol knows how to. */
    int options = session->protocol == FG_MQTT_5 ? MQTT_SUB_OPT_RETAIN_AS_PUBLISHED : 0;
    session->queued++;
    return batch->over ? mosquitto_unsubscribe_multiple(session->library, &batch->mid, (int)batch->count,
                                                        filters, NULL)
                       : mosquitto_subscribe_multiple(session->library, &batch->mid, (int)batch->count,
                                                      filters, 1, options, NULL);
}

/* Returns whether there may be more to send. */
static bool subscribe_some(struct fg_publisher *publisher)
{
    struct fg_calls *calls = &publisher->calls;
    struct fg_session *session = publisher->session;
    struct fg_batch *batch = unused(calls);
    if (!batch) {
        return false;
    }
    batch->filters = malloc(BATCH_BYTES);
    if (!batch->filters) {
        return false;
    }
    batch->used = true;
    atomic_fetch_add(&calls->batch_count, 1);
    size_t limit = session->max_packet > BATCH_HEAD ? session->max_packet - BATCH_HEAD : 0;
    pthread_mutex_lock(&publisher->lock);
    gather(calls, batch, limit);
    bool more = calls->oldest != NULL;
    pthread_mutex_unlock(&publisher->lock);
    int result = batch->count > 0 ? send_batch(session, batch) : MOSQ_ERR_SUCCESS;
    if (result && !batch->over) {
        fg_log_limited(&calls->refused_limit, FG_LOG_WARNING, NULL, NULL, "cannot subscribe to %s: %s",
                       batch->filters, mosquitto_strerror(result));
    }
    if (result || batch->count == 0) {
        discard(calls, batch);
    }
    return more;
}

static void confirm(struct fg_publisher *publisher, struct fg_batch *batch, const struct fg_suback *suback)
{
    const char *filter = batch->filters;
    for (size_t i = 0; i < batch->count && !batch->over; i++) {
        if (i >= suback->count) {
            fg_log_limited(&publisher->calls.refused_limit, FG_LOG_WARNING, NULL, NULL,
                           "the broker did not say whether it took the subscription to %s", filter);
        } else if (suback->codes[i] >= 0x80) {
            fg_log_limited(&publisher->calls.refused_limit, FG_LOG_WARNING, NULL, NULL,
                           "the broker refused the subscription to %s: %s; no command comes from there",
                           filter, fg_session_reason_name(suback->codes[i]));
        }
        filter += strlen(filter) + 1;
    }
}

void fg_calls_settle(struct fg_publisher *publisher)
{
    struct fg_calls *calls = &publisher->calls;
    for (size_t i = 0; i < calls->inbox.suback_count; i++) {
        for (size_t k = 0; k < FG_BATCHES; k++) {
            struct fg_batch *batch = &calls->batches[k];
            if (batch->used && batch->mid == calls->inbox.subacks[i].mid) {
                confirm(publisher, batch, &calls->inbox.subacks[i]);
                discard(calls, batch);
                break;
            }
        }
    }
    calls->inbox.suback_count = 0;
}

void fg_calls_up(struct fg_publisher *publisher)
{
    struct fg_calls *calls = &publisher->calls;
    pthread_mutex_lock(&publisher->lock);
    for (struct fg_subscription *one = calls->wanted; one; one = one->next) {
        if (!one->queued) {
            queue(calls, one);
        }
    }
    pthread_mutex_unlock(&publisher->lock);
}

void fg_calls_down(struct fg_publisher *publisher)
{
    struct fg_calls *calls = &publisher->calls;
    fg_calls_settle(publisher);
    for (size_t i = 0; i < FG_BATCHES; i++) {
        if (calls->batches[i].used) {
            discard(calls, &calls->batches[i]);
        }
    }
    calls->again = &calls->answers;
}

void fg_calls_feed(struct fg_publisher *publisher)
{
    struct fg_calls *calls = &publisher->calls;
    bool more = publisher->phase == FG_RUNNING;
    while (more && publisher->session->state == FG_SESSION_UP) {
        pthread_mutex_lock(&publisher->lock);
        more = calls->oldest != NULL;
        pthread_mutex_unlock(&publisher->lock);
        more = more && subscribe_some(publisher);
    }
    while (publisher->phase <= FG_DELIVERING && fg_flow_slots(publisher) > 0 && fg_calls_answer(publisher)) {
    }
}

/* --- arrivals --- */

bool fg_calls_take_news(struct fg_publisher *publisher)
{
    struct fg_inbox *inbox = &publisher->calls.inbox;
    char topic[sizeof inbox->retained_topic] = "";
    pthread_mutex_lock(&inbox->lock);
    bool news = inbox->news;
    bool overrun = inbox->overrun_news;
    if (inbox->retained_topic[0]) {
        memcpy(topic, inbox->retained_topic, sizeof topic);
        inbox->retained_topic[0] = '\0';
    }
    inbox->news = inbox->overrun_news = false;
    pthread_mutex_unlock(&inbox->lock);
    if (topic[0]) {
        fg_log_limited(&publisher->calls.retained_limit, FG_LOG_WARNING, NULL, NULL,
                       "a retained command is never executed: %s", topic);
    }
    if (overrun) {
        fg_log_limited(&publisher->calls.overrun_limit, FG_LOG_WARNING, NULL, NULL,
                       "commands are dropped: too many at once, or too large");
    }
    return news && publisher->arrived;
}

struct fg_arrival *fg_publisher_take_arrivals(struct fg_publisher *publisher)
{
    struct fg_inbox *inbox = &publisher->calls.inbox;
    pthread_mutex_lock(&inbox->lock);
    struct fg_arrival *first = inbox->first;
    inbox->first = NULL;
    inbox->tail = &inbox->first;
    inbox->count = inbox->bytes = 0;
    pthread_mutex_unlock(&inbox->lock);
    return first;
}

void fg_calls_fini(struct fg_publisher *publisher)
{
    struct fg_calls *calls = &publisher->calls;
    while (calls->oldest) {
        struct fg_subscription *subscription = take_oldest(calls);
        if (subscription->over) {
            free(subscription);
        }
    }
    while (calls->wanted) {
        struct fg_subscription *next = calls->wanted->next;
        free(calls->wanted);
        calls->wanted = next;
    }
    for (size_t i = 0; i < FG_BATCHES; i++) {
        free(calls->batches[i].filters);
    }
    while (calls->answers) {
        struct fg_waiting_answer *next = calls->answers->next;
        free(calls->answers);
        calls->answers = next;
    }
    fg_inbox_fini(&calls->inbox);
}
