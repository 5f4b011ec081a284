#include "publisher_change.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long the old broker is waited for. What it does not acknowledge by then is handed over again. */
#define PATIENCE_NS (5 * FG_NS_PER_S)

/* ---- beforehand ---- */

static int prepare(const struct fg_publisher_options *options, struct fg_publisher_change *change)
{
    const struct fg_mqtt_settings *settings = options->settings;
    char client_id[1024];
    int error = fg_publisher_make_topics(settings, options->gateway, change->topics);
    if (!error) {
        error = fg_inflight_init(&change->inflight, fg_session_capacity(settings));
    }
    if (!error) {
        change->done_capacity = fg_keep_done_capacity(settings);
        change->done = calloc(change->done_capacity, sizeof *change->done);
        error = change->done ? 0 : -ENOMEM;
    }
    if (!error) {
        error = fg_mqtt_expand(settings->client_id, options->gateway, client_id, sizeof client_id);
    }
    if (error) {
        fg_log(FG_LOG_ERROR, "mqtt: %s", strerror(-error));
        return error;
    }
    return fg_session_new(settings, client_id, change->topics[FG_TOPIC_STATUS], &change->session);
}

int fg_publisher_prepare(const struct fg_publisher_options *options, struct fg_publisher_change **result)
{
    struct fg_publisher_change *change = calloc(1, sizeof *change);
    if (!change) {
        return -ENOMEM;
    }
    change->settings = options->settings;
    change->queue_bytes = (size_t)options->queue_bytes;
    change->linger_ns = options->settings->linger_ns - options->gathered_ns;
    int error = prepare(options, change);
    if (error) {
        fg_publisher_change_free(change);
        return error;
    }
    *result = change;
    return 0;
}

void fg_publisher_change_free(struct fg_publisher_change *change)
{
    if (!change) {
        return;
    }
    fg_session_free(change->session);
    if (change->inflight.entries) {
        fg_inflight_fini(&change->inflight);
    }
    for (size_t i = 0; i < FG_TOPIC_COUNT; i++) {
        free(change->topics[i]);
    }
    free(change->done);
    free(change);
}

void fg_publisher_change(struct fg_publisher *publisher, struct fg_publisher_change *change,
                         void (*applied)(void *context), void *context)
{
    change->applied = applied;
    change->context = context;
    pthread_mutex_lock(&publisher->lock);
    publisher->change = change;
    pthread_mutex_unlock(&publisher->lock);
    fg_publisher_wake(publisher, FG_WANT_TURN);
}

/* ---- the change ---- */

/* Whether the old connection can be left: all is told and acknowledged, or has had its time. */
static bool may_leave(struct fg_publisher *publisher, struct fg_publisher_change *change, int64_t now_ns)
{
    struct fg_session *session = publisher->session;
    if (session->state != FG_SESSION_UP) {
        return true;
    }
    if (change->deadline_ns == 0) {
        change->deadline_ns = now_ns + PATIENCE_NS;
    }
    if (now_ns >= change->deadline_ns) {
        return true;
    }
    pthread_mutex_lock(&publisher->lock);
    bool told = publisher->availability.pending == 0;
    pthread_mutex_unlock(&publisher->lock);
    if (told) {
        fg_session_hold(session, true);
    }
    return told && publisher->inflight.count == 0;
}

/* Nothing of the old connection is left: what it was handed waits to be handed over again. */
static void leave(struct fg_publisher *publisher)
{
    struct fg_session *session = publisher->session;
    if (session->state != FG_SESSION_DOWN) {
        fg_log(FG_LOG_INFO, "broker %s: left, for other settings",
               publisher->settings->address.items[publisher->address]);
        fg_session_drop(session, "other settings");
    }
    session->forgot = true;
    fg_flow_down(publisher);
    session->ack_count = 0;
    fg_connect_fini(publisher);
}

static void exchange_room(struct fg_keep *keep, struct fg_publisher_change *change)
{
    if (keep->spool && change->done_capacity > keep->done_capacity) {
        memcpy(change->done, keep->done, keep->done_ranges * sizeof *keep->done);
        struct fg_spool_range *done = keep->done;
        keep->done = change->done;
        keep->done_capacity = change->done_capacity;
        change->done = done;
    }
}

static void exchange_topics(struct fg_publisher *publisher, char *topics[FG_TOPIC_COUNT])
{
    char **mine[FG_TOPIC_COUNT] = { &publisher->base, &publisher->status_topic, &publisher->loss_topic,
                                    &publisher->stats_topic };
    for (size_t i = 0; i < FG_TOPIC_COUNT; i++) {
        char *topic = *mine[i];
        *mine[i] = topics[i];
        topics[i] = topic;
    }
}

static void exchange(struct fg_publisher *publisher, struct fg_publisher_change *change, int64_t now_ns)
{
    struct fg_session *session = publisher->session;
    struct fg_inflight inflight = publisher->inflight;
    exchange_topics(publisher, change->topics);
    publisher->session = change->session;
    change->session = session;
    publisher->inflight = change->inflight;
    change->inflight = inflight;
    exchange_room(&publisher->keep, change);
    publisher->settings = change->settings;
    publisher->linger_ns = change->linger_ns;
    atomic_store(&publisher->batch, fg_session_capacity(change->settings));
    publisher->noted = FG_SESSION_DOWN;
    publisher->address = 0;
    publisher->failures = 0;
    publisher->retry_ns = now_ns;
    publisher->linger_until_ns = 0;
    publisher->ever_connected = false; /* what comes is no return */
    publisher->last_reason[0] = '\0';
    publisher->connector = (struct fg_connector){ 0 };
    fg_connect_init(publisher);
    pthread_mutex_lock(&publisher->lock);
    fg_outbox_set_limit(&publisher->outbox, change->queue_bytes);
    publisher->room_due |= fg_outbox_reopen(&publisher->outbox);
    publisher->change = NULL;
    pthread_mutex_unlock(&publisher->lock);
}

bool fg_change_is_news(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    bool news = publisher->change && publisher->change->deadline_ns == 0 && publisher->phase == FG_RUNNING;
    pthread_mutex_unlock(&publisher->lock);
    return news;
}

int64_t fg_change_step(struct fg_publisher *publisher, int64_t now_ns)
{
    pthread_mutex_lock(&publisher->lock);
    struct fg_publisher_change *change = publisher->change;
    pthread_mutex_unlock(&publisher->lock);
    if (!change) {
        return INT64_MAX;
    }
    if (publisher->phase != FG_RUNNING) {
        if (change->deadline_ns > 0) {
            change->deadline_ns = 0;
            fg_session_hold(publisher->session, false); /* the stop delivers to this broker */
        }
        return INT64_MAX;
    }
    if (!may_leave(publisher, change, now_ns)) {
        return change->deadline_ns;
    }
    leave(publisher);
    exchange(publisher, change, now_ns);
    change->applied(change->context);
    fg_publisher_change_free(change);
    return now_ns;
}
