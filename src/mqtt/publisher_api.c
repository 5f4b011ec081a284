#include "publisher_parts.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* How long past its time a stop waits for the thread to notice. */
#define GRACE_NS (100 * FG_NS_PER_MS)

/* Windows of messages that a worker publishes in one go; then the thread goes on. */
#define MOST_ROUNDS 8

static char *topic_below(const char *base, const char *name)
{
    char *topic = NULL;
    return asprintf(&topic, "%s/%s", base, name) < 0 ? NULL : topic;
}

int fg_publisher_make_topics(const struct fg_mqtt_settings *settings, const char *gateway,
                             char *topics[FG_TOPIC_COUNT])
{
    char base[1024];
    if (fg_mqtt_expand(settings->base_topic, gateway, base, sizeof base) != 0) {
        return -EMSGSIZE;
    }
    topics[FG_TOPIC_BASE] = strdup(base);
    topics[FG_TOPIC_STATUS] = topic_below(base, "status");
    topics[FG_TOPIC_LOSS] = topic_below(base, "loss");
    topics[FG_TOPIC_STATS] = topic_below(base, "stats");
    bool made = true;
    for (size_t i = 0; i < FG_TOPIC_COUNT; i++) {
        made = made && topics[i];
    }
    return made ? 0 : -ENOMEM;
}

static int make_topics(struct fg_publisher *publisher, const char *gateway)
{
    char *topics[FG_TOPIC_COUNT] = { NULL };
    int error = fg_publisher_make_topics(publisher->settings, gateway, topics);
    publisher->base = topics[FG_TOPIC_BASE];
    publisher->status_topic = topics[FG_TOPIC_STATUS];
    publisher->loss_topic = topics[FG_TOPIC_LOSS];
    publisher->stats_topic = topics[FG_TOPIC_STATS];
    return error;
}

static int make_locks(struct fg_publisher *publisher)
{
    pthread_condattr_t attributes;
    pthread_mutex_init(&publisher->lock, NULL);
    pthread_mutex_init(&publisher->turn, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&publisher->finished_condition, &attributes);
    pthread_condattr_destroy(&attributes);
    publisher->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return publisher->wake_fd < 0 ? -errno : 0;
}

int fg_publisher_new(const struct fg_publisher_options *options, struct fg_publisher **result)
{
    struct fg_publisher *publisher = calloc(1, sizeof *publisher);
    if (!publisher) {
        return -ENOMEM;
    }
    publisher->settings = options->settings;
    publisher->change_ns = INT64_MAX;
    atomic_init(&publisher->batch, fg_session_capacity(options->settings));
    publisher->linger_ns = options->settings->linger_ns - options->gathered_ns;
    publisher->room = options->room;
    publisher->arrived = options->arrived;
    publisher->context = options->context;
    fg_outbox_init(&publisher->outbox, (size_t)options->queue_bytes);
    fg_losses_init(&publisher->losses);
    fg_availability_init(&publisher->availability);
    fg_calls_init(publisher);
    int error = make_locks(publisher);
    fg_connect_init(publisher);
    if (!error) {
        error = make_topics(publisher, options->gateway);
    }
    if (!error) {
        error = fg_inflight_init(&publisher->inflight, fg_session_capacity(options->settings));
    }
    char client_id[1024];
    if (!error) {
        error = fg_mqtt_expand(options->settings->client_id, options->gateway, client_id, sizeof client_id);
    }
    if (error) {
        fg_log(FG_LOG_ERROR, "mqtt: %s", strerror(-error));
    } else {
        error = fg_session_new(options->settings, client_id, publisher->status_topic, &publisher->calls.inbox,
                               &publisher->session);
    }
    if (!error) {
        error = fg_keep_init(publisher, options->spool);
    }
    if (error) {
        fg_publisher_free(publisher);
        return error;
    }
    *result = publisher;
    return 0;
}

void fg_publisher_free(struct fg_publisher *publisher)
{
    if (!publisher || publisher->abandoned) {
        return;
    }
    fg_publisher_change_free(publisher->change);
    fg_keep_fini(publisher);
    fg_session_free(publisher->session);
    fg_calls_fini(publisher);
    if (publisher->inflight.entries) {
        fg_inflight_fini(&publisher->inflight);
    }
    fg_message_free_all(publisher->again.first);
    fg_message_free_all(publisher->taken.first);
    fg_outbox_fini(&publisher->outbox);
    fg_losses_fini(&publisher->losses);
    fg_availability_fini(&publisher->availability);
    if (publisher->wake_fd >= 0) {
        close(publisher->wake_fd);
    }
    pthread_cond_destroy(&publisher->finished_condition);
    pthread_mutex_destroy(&publisher->lock);
    pthread_mutex_destroy(&publisher->turn);
    free(publisher->stats);
    free(publisher->base);
    free(publisher->status_topic);
    free(publisher->loss_topic);
    free(publisher->stats_topic);
    free(publisher);
}

static int offer(struct fg_publisher *publisher, struct fg_message *first,
                 int (*append)(struct fg_outbox *outbox, struct fg_message *first))
{
    int64_t now_ns = publisher->keep.spool ? fg_clock_now_ns() : 0;
    for (struct fg_message *message = first; message; message = message->next) {
        message->offered_ns = now_ns;
    }
    pthread_mutex_lock(&publisher->lock);
    int error = atomic_load(&publisher->stopping) ? -ESHUTDOWN : append(&publisher->outbox, first);
    pthread_mutex_unlock(&publisher->lock);
    return error;
}

int fg_publisher_offer(struct fg_publisher *publisher, struct fg_message *first)
{
    return offer(publisher, first, fg_outbox_append);
}

int fg_publisher_offer_last(struct fg_publisher *publisher, struct fg_message *first)
{
    return offer(publisher, first, fg_outbox_append_last);
}

static size_t count_waiting(struct fg_publisher *publisher, bool *half)
{
    pthread_mutex_lock(&publisher->lock);
    size_t waiting = publisher->outbox.waiting;
    *half = fg_outbox_is_half_full(&publisher->outbox);
    pthread_mutex_unlock(&publisher->lock);
    return waiting;
}

/* Whether the thread does not look by itself after what is in memory alone, or has to now. */
static bool sleeps_on_unsaved(struct fg_publisher *publisher)
{
    int64_t now_ns = fg_clock_now_ns();
    return publisher->keep.watch_ns == INT64_MAX || fg_keep_due_ns(publisher, now_ns) <= now_ns;
}

/* Publishes what waits, as far as the connection takes it now. Returns whether the thread must see to it. */
static bool publish_in_turn(struct fg_publisher *publisher)
{
    struct fg_session *session = publisher->session;
    if (session->state != FG_SESSION_UP || publisher->noted != FG_SESSION_UP ||
        publisher->phase != FG_RUNNING) {
        return session->state != publisher->noted;
    }
    bool lingered = publisher->linger_until_ns > 0;
    int64_t now_ns = fg_clock_now_ns();
    unsigned wants = 0;
    bool more = true;
    for (int rounds = 0; more && rounds < MOST_ROUNDS; rounds++) {
        fg_flow_feed(publisher, now_ns);
        wants = fg_flow_wants(publisher, now_ns) & (FG_WANT_MESSAGES | FG_WANT_BATCH);
        more = session->state == FG_SESSION_UP && fg_flow_is_due(publisher, wants, now_ns);
    }
    bool lingers = publisher->linger_until_ns > 0;
    return more || session->state != publisher->noted || (lingers && !lingered) ||
           (publisher->keep.spool && sleeps_on_unsaved(publisher)) ||
           (fg_session_events(session) & POLLOUT) || (publisher->pauses && fg_flow_is_tight(publisher));
}

void fg_publisher_flush(struct fg_publisher *publisher)
{
    bool half = false;
    size_t waiting = count_waiting(publisher, &half);
    if (waiting == 0) {
        return;
    }
    if (publisher->keep.spool) {
        fg_publisher_wake(publisher, half ? FG_WANT_SAVE | FG_WANT_SPACE : FG_WANT_SAVE);
    }
    if (pthread_mutex_trylock(&publisher->turn) != 0) {
        bool batch = waiting >= atomic_load_explicit(&publisher->batch, memory_order_relaxed);
        fg_publisher_wake(publisher, batch ? FG_WANT_MESSAGES | FG_WANT_BATCH : FG_WANT_MESSAGES);
        return;
    }
    bool leave = publish_in_turn(publisher);
    bool room = fg_publisher_take_room(publisher);
    pthread_mutex_unlock(&publisher->turn);
    if (leave) {
        fg_publisher_wake(publisher, FG_WANT_TURN);
    }
    if (room) {
        publisher->room(publisher->context);
    }
}

bool fg_publisher_saves_first(const struct fg_publisher *publisher)
{
    const struct fg_keep *keep = &publisher->keep;
    return keep->spool && keep->settings->durability == FG_SPOOL_ALWAYS;
}

uint64_t fg_publisher_mark(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    uint64_t mark = publisher->outbox.offered;
    pthread_mutex_unlock(&publisher->lock);
    return mark;
}

bool fg_publisher_is_saved(struct fg_publisher *publisher, uint64_t mark)
{
    if (!fg_publisher_saves_first(publisher) || atomic_load(&publisher->saved) >= mark) {
        return true;
    }
    atomic_store(&publisher->save_awaited, true);
    return atomic_load(&publisher->saved) >= mark; /* it may have become so in between */
}

bool fg_publisher_full(const struct fg_publisher *publisher)
{
    return fg_outbox_full(&publisher->outbox);
}

void fg_publisher_lose(struct fg_publisher *publisher, struct fg_origin *origin, enum fg_loss reason,
                       int64_t wall_ms, uint64_t count)
{
    if (count > 0 && reason > FG_LOSS_NONE && reason < FG_LOSS_COUNT) {
        fg_publisher_count_lost(publisher, origin, reason, wall_ms, count);
    }
}

void fg_publisher_set_available(struct fg_publisher *publisher, struct fg_origin *origin, bool online)
{
    pthread_mutex_lock(&publisher->lock);
    int changed =
        atomic_load(&publisher->stopping) ? 0 : fg_availability_set(&publisher->availability, origin, online);
    pthread_mutex_unlock(&publisher->lock);
    if (changed > 0) {
        fg_publisher_wake(publisher, FG_WANT_CONTROL);
    } else if (changed < 0) {
        fg_log_limited(&publisher->known_limit, FG_LOG_WARNING, origin->port, origin->device,
                       "has no status of its own: there are %d devices with one already",
                       FG_AVAILABILITY_MAX);
    }
}

void fg_publisher_forget(struct fg_publisher *publisher, struct fg_origin *origin)
{
    pthread_mutex_lock(&publisher->lock);
    int changed =
        atomic_load(&publisher->stopping) ? 0 : fg_availability_retire(&publisher->availability, origin);
    pthread_mutex_unlock(&publisher->lock);
    if (changed > 0) {
        fg_publisher_wake(publisher, FG_WANT_CONTROL);
    }
}

void fg_publisher_tell_stats(struct fg_publisher *publisher, const char *json, size_t size)
{
    if (!atomic_load_explicit(&publisher->connected, memory_order_relaxed)) {
        return;
    }
    char *copy = malloc(size > 0 ? size : 1);
    if (!copy) {
        return; /* the next ones will be newer */
    }
    memcpy(copy, json, size);
    pthread_mutex_lock(&publisher->lock);
    char *old = publisher->stats;
    publisher->stats = copy;
    publisher->stats_size = size;
    pthread_mutex_unlock(&publisher->lock);
    free(old);
    fg_publisher_wake(publisher, FG_WANT_CONTROL);
}

void fg_publisher_ask(struct fg_publisher *publisher)
{
    atomic_fetch_add(&publisher->asked, 1);
    fg_publisher_wake(publisher, FG_WANT_PROOF);
}

enum fg_proof fg_publisher_proof(const struct fg_publisher *publisher)
{
    if (atomic_load(&publisher->heard) == atomic_load(&publisher->asked)) {
        return FG_PROOF_MOVES;
    }
    return atomic_load(&publisher->connecting) ? FG_PROOF_MAY_BE_HELD : FG_PROOF_NONE;
}

void fg_publisher_get_stats(struct fg_publisher *publisher, struct fg_publisher_stats *stats)
{
    *stats = (struct fg_publisher_stats){
        .connected = atomic_load_explicit(&publisher->connected, memory_order_relaxed),
        .published = fg_counted(&publisher->published),
        .acknowledged = fg_counted(&publisher->acknowledged),
        .reconnects = fg_counted(&publisher->reconnects),
        .spooled = fg_counted(&publisher->spooled),
        .disk_bytes = fg_counted(&publisher->spool_bytes),
        .disk_written_bytes = fg_counted(&publisher->spool_written),
        .arrivals_retained = fg_counted(&publisher->calls.inbox.retained),
        .arrivals_overrun = fg_counted(&publisher->calls.inbox.overrun),
        .answers_dropped = fg_counted(&publisher->calls.answers_dropped),
    };
    for (int i = 0; i < FG_LOSS_COUNT; i++) {
        stats->lost[i] = fg_counted(&publisher->lost[i]);
    }
    pthread_mutex_lock(&publisher->lock);
    stats->queued = publisher->outbox.waiting + publisher->outbox.held;
    stats->queued_bytes = publisher->outbox.bytes;
    pthread_mutex_unlock(&publisher->lock);
}

void fg_publisher_get_broker(struct fg_publisher *publisher, struct fg_broker_state *broker)
{
    pthread_mutex_lock(&publisher->lock);
    *broker = publisher->broker;
    pthread_mutex_unlock(&publisher->lock);
    broker->connected = atomic_load_explicit(&publisher->connected, memory_order_relaxed);
}

/* The thread is held in a look-up (or reads certificates), and ends when it comes out: then it touches
 * nothing any more, and it has left the turn to others. */
static uint64_t abandon(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->turn);
    uint64_t lost = fg_flow_give_up(publisher, true) + publisher->lost_by_stop;
    fg_keep_fini(publisher);
    pthread_mutex_unlock(&publisher->turn);
    return lost;
}

static void wait_finished(struct fg_publisher *publisher, int64_t timeout_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = (int64_t)until.tv_sec * FG_NS_PER_S + until.tv_nsec + timeout_ns + GRACE_NS;
    until.tv_sec = (time_t)(at_ns / FG_NS_PER_S);
    until.tv_nsec = (long)(at_ns % FG_NS_PER_S);
    while (!publisher->finished &&
           pthread_cond_timedwait(&publisher->finished_condition, &publisher->lock, &until) != ETIMEDOUT) {
    }
    /* A thread that is not held anywhere sees by itself that the time is over; on a busy board, a little
     * later. */
    while (!publisher->finished && !publisher->connecting) {
        pthread_cond_wait(&publisher->finished_condition, &publisher->lock);
    }
}

uint64_t fg_publisher_stop(struct fg_publisher *publisher, int64_t timeout_ns)
{
    if (publisher->stopped) {
        return 0;
    }
    publisher->stopped = true;
    pthread_mutex_lock(&publisher->lock);
    publisher->stop_timeout_ns = timeout_ns;
    publisher->stop_deadline_ns = fg_clock_now_ns() + timeout_ns;
    atomic_store(&publisher->stopping, true);
    pthread_mutex_unlock(&publisher->lock);
    if (!publisher->started) {
        return fg_flow_give_up(publisher, true);
    }
    fg_publisher_wake(publisher, FG_WANT_STOP);
    pthread_mutex_lock(&publisher->lock);
    wait_finished(publisher, timeout_ns);
    bool finished = publisher->finished;
    publisher->abandoned = !finished;
    uint64_t lost = publisher->lost_by_stop;
    pthread_mutex_unlock(&publisher->lock);
    if (!finished) {
        lost = abandon(publisher);
    }
    if (finished) {
        pthread_join(publisher->thread, NULL);
        return lost;
    }
    pthread_detach(publisher->thread);
    fg_log(FG_LOG_WARNING,
           "%llu readings are lost: the connect to the broker did not come back before the stop",
           (unsigned long long)lost);
    return lost;
}
