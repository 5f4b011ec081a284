#include "publisher_parts.h"

#include "fieldgate/clock.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A queue that held so much is worth looking for memory that can be given back, and how often. */
#define TRIM_BYTES    (256 * 1024)
#define TRIM_EVERY_NS (5 * FG_NS_PER_S)

size_t fg_flow_slots(const struct fg_publisher *publisher)
{
    size_t limit = publisher->session->max_inflight;
    if (publisher->session->state != FG_SESSION_UP || publisher->phase == FG_LEAVING) {
        return 0;
    }
    /* After a crash no more than a window of messages comes twice. */
    size_t used = publisher->inflight.count + fg_keep_undone(publisher);
    return limit > used ? limit - used : 0;
}

static bool has_slot(const struct fg_publisher *publisher, const struct fg_message *message)
{
    return fg_flow_slots(publisher) > 0 &&
           (message->qos < 2 || publisher->inflight.qos2 < publisher->session->max_qos2);
}

static bool control_due(const struct fg_publisher *publisher, int64_t now_ns)
{
    return publisher->status_due != FG_STATUS_TOLD || publisher->availability.pending > 0 ||
           publisher->stats || publisher->losses.due_ns <= now_ns || fg_calls_are_due(publisher);
}

/* Control messages: told to the connection like readings, but counted nowhere. */
static enum fg_handover tell(struct fg_publisher *publisher, struct fg_flight *flight, const char *topic,
                             const char *payload, size_t size, bool retain)
{
    struct fg_publication publication = {
        .topic = topic,
        .topic_length = strlen(topic),
        .payload = payload,
        .payload_size = size,
        .qos = flight->qos < publisher->session->max_qos ? flight->qos : (uint8_t)publisher->session->max_qos,
        .retain = retain,
    };
    flight->qos = publication.qos;
    flight->packet_bytes = fg_packet_bytes(publisher->session, publication.topic_length,
                                           publication.payload_size, publication.qos);
    enum fg_handover handover = fg_session_publish(publisher->session, &publication, &flight->mid);
    if (handover == FG_HANDED) {
        fg_inflight_add(&publisher->inflight, flight);
    } else {
        fg_log_limited(&publisher->refusal_limit, FG_LOG_WARNING, NULL, NULL, "%s could not be published",
                       topic);
    }
    return handover;
}

static void tell_status(struct fg_publisher *publisher)
{
    const char *text = publisher->status_due == FG_STATUS_ONLINE ? "online" : "offline";
    struct fg_flight flight = { .kind = FG_FLIGHT_STATUS, .qos = 1 };
    publisher->status_due = FG_STATUS_TOLD;
    tell(publisher, &flight, publisher->status_topic, text, strlen(text), true);
}

static bool tell_availability(struct fg_publisher *publisher)
{
    bool online = false;
    pthread_mutex_lock(&publisher->lock);
    struct fg_origin *origin = fg_availability_take(&publisher->availability, &online);
    pthread_mutex_unlock(&publisher->lock);
    if (!origin) {
        return false;
    }
    char topic[2048];
    int length = snprintf(topic, sizeof topic, "%s/%s/status", publisher->base, origin->device);
    const char *text = online ? "online" : "offline";
    struct fg_flight flight = { .kind = FG_FLIGHT_AVAILABILITY, .qos = 1, .origin = origin };
    if (length < 0 || (size_t)length >= sizeof topic ||
        tell(publisher, &flight, topic, text, strlen(text), true) != FG_HANDED) {
        fg_origin_unref(origin);
    }
    return true;
}

static bool tell_loss(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_loss_told told;
    pthread_mutex_lock(&publisher->lock);
    bool found = fg_losses_take(&publisher->losses, now_ns, &told);
    pthread_mutex_unlock(&publisher->lock);
    if (!found) {
        return false;
    }
    char payload[2048];
    size_t size = fg_losses_print(&told, payload, sizeof payload);
    struct fg_flight flight = {
        .kind = FG_FLIGHT_LOSS, .qos = 1, .origin = told.origin, .reason = told.reason, .hole = told.hole
    };
    if (size > 0 && tell(publisher, &flight, publisher->loss_topic, payload, size, false) == FG_HANDED) {
        return true;
    }
    pthread_mutex_lock(&publisher->lock);
    fg_losses_undo(&publisher->losses, &told);
    pthread_mutex_unlock(&publisher->lock);
    fg_origin_unref(told.origin);
    return true;
}

static void tell_stats(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    char *text = publisher->stats;
    size_t size = publisher->stats_size;
    publisher->stats = NULL;
    pthread_mutex_unlock(&publisher->lock);
    if (text) {
        struct fg_flight flight = { .kind = FG_FLIGHT_STATS };
        tell(publisher, &flight, publisher->stats_topic, text, size, false);
        free(text);
    }
}

static void feed_control(struct fg_publisher *publisher, int64_t now_ns)
{
    bool leaving = publisher->phase == FG_FAREWELL;
    if (publisher->status_due == FG_STATUS_ONLINE && fg_flow_slots(publisher) > 0) {
        tell_status(publisher);
    }
    while (fg_flow_slots(publisher) > 0 && tell_availability(publisher)) {
    }
    while (fg_flow_slots(publisher) > 0 && tell_loss(publisher, now_ns)) {
    }
    fg_calls_feed(publisher);
    if (fg_flow_slots(publisher) > 0 && !leaving) {
        tell_stats(publisher);
    }
    /* The gateway's own "offline" is its last word. */
    if (publisher->status_due == FG_STATUS_OFFLINE && fg_flow_slots(publisher) > 0) {
        tell_status(publisher);
    }
}

void fg_flow_release(struct fg_publisher *publisher, const struct fg_message *message)
{
    if (!message->read_back) {
        publisher->released_count++;
        publisher->released_bytes += fg_message_bytes(message);
    }
}

/* The time of a reading, as well as it is known now. Returns false when that is not well. */
static bool tell_time(const struct fg_message *message, int64_t *wall_ms)
{
    *wall_ms = message->wall_ms;
    if (!message->unsynchronised) {
        return true;
    }
    if (message->earlier_boot || !fg_clock_was_set(fg_clock_wall_ms())) {
        return false;
    }
    *wall_ms = fg_clock_wall_at_ms(message->taken_ns);
    return true;
}

void fg_flow_lose(struct fg_publisher *publisher, struct fg_message *message, enum fg_loss reason)
{
    fg_flow_release(publisher, message);
    fg_keep_forget(publisher, message);
    int64_t wall_ms = 0;
    tell_time(message, &wall_ms);
    fg_publisher_count_lost(publisher, message->origin, reason, wall_ms, 1);
    fg_message_free(message);
}

/* A payload whose time was not known when it was made. Returns what is to be freed. */
static char *set_time_right(const struct fg_message *message, struct fg_publication *publication)
{
    char *payload = NULL;
    size_t size = 0;
    int64_t wall_ms = 0;
    bool known = tell_time(message, &wall_ms);
    if (fg_message_restamp(message, wall_ms, !known, &payload, &size) == 0) {
        publication->payload = payload;
        publication->payload_size = size;
    }
    return payload;
}

static void hand_over(struct fg_publisher *publisher, struct fg_message *message, bool first_time)
{
    struct fg_session *session = publisher->session;
    struct fg_publication publication = {
        .topic = fg_message_topic(message),
        .topic_length = message->topic_length,
        .payload = fg_message_payload(message),
        .payload_size = message->payload_size,
        .qos = message->qos < session->max_qos ? message->qos : (uint8_t)session->max_qos,
        .retain = message->retain,
    };
    char *payload =
        message->unsynchronised && message->stamped ? set_time_right(message, &publication) : NULL;
    struct fg_flight flight = {
        .kind = FG_FLIGHT_MESSAGE,
        .qos = publication.qos,
        .packet_bytes =
            fg_packet_bytes(session, publication.topic_length, publication.payload_size, publication.qos),
        .message = message,
    };
    switch (fg_session_publish(session, &publication, &flight.mid)) {
    case FG_HANDED:
        if (first_time) {
            fg_count(&message->origin->published, 1);
            fg_count(&publisher->published, 1);
        }
        fg_inflight_add(&publisher->inflight, &flight);
        break;
    case FG_NOT_HANDED_SIZE:
        fg_flow_lose(publisher, message, FG_LOSS_TOO_LARGE);
        break;
    case FG_NOT_HANDED_REFUSED:
        fg_flow_lose(publisher, message, FG_LOSS_REFUSED);
        break;
    case FG_NOT_HANDED_MEMORY:
        fg_flow_lose(publisher, message, FG_LOSS_NO_MEMORY);
        break;
    }
    free(payload);
}

static void put_all(struct fg_chain *chain, struct fg_message *first)
{
    while (first) {
        struct fg_message *next = first->next;
        fg_chain_put(chain, first);
        first = next;
    }
}

static void refill(struct fg_publisher *publisher, int64_t now_ns)
{
    size_t room = fg_flow_slots(publisher);
    if (room == 0 || publisher->taken.first || fg_keep_bars(publisher)) {
        return;
    }
    put_all(&publisher->taken, fg_keep_take(publisher, room));
    if (publisher->taken.first) {
        return;
    }
    pthread_mutex_lock(&publisher->lock);
    size_t waiting = publisher->outbox.waiting;
    if (waiting > 0 && publisher->linger_ns > 0 && publisher->phase == FG_RUNNING) {
        if (publisher->linger_until_ns == 0) {
            publisher->linger_until_ns = now_ns + publisher->linger_ns;
        }
        if (now_ns < publisher->linger_until_ns && waiting < publisher->session->max_inflight) {
            waiting = 0;
        }
    }
    if (waiting > 0) {
        put_all(&publisher->taken, fg_outbox_take(&publisher->outbox, room));
        if (publisher->outbox.waiting == 0) {
            publisher->linger_until_ns = 0;
        }
    }
    pthread_mutex_unlock(&publisher->lock);
}

static void feed_readings(struct fg_publisher *publisher, int64_t now_ns)
{
    refill(publisher, now_ns);
    while (publisher->again.first && has_slot(publisher, publisher->again.first)) {
        hand_over(publisher, fg_chain_get(&publisher->again), false);
    }
    while (!publisher->again.first && publisher->taken.first && has_slot(publisher, publisher->taken.first)) {
        hand_over(publisher, fg_chain_get(&publisher->taken), true);
    }
}

void fg_flow_feed(struct fg_publisher *publisher, int64_t now_ns)
{
    if (fg_flow_slots(publisher) == 0) {
        return;
    }
    pthread_mutex_lock(&publisher->lock);
    bool control = control_due(publisher, now_ns);
    pthread_mutex_unlock(&publisher->lock);
    if (control) {
        feed_control(publisher, now_ns);
    }
    if (publisher->phase <= FG_DELIVERING) {
        feed_readings(publisher, now_ns);
    }
    fg_session_flush(publisher->session);
    fg_flow_settle(publisher);
}

/* MQTT 5.0, 3.7.2.1: to the second half of QoS 2, "packet identifier not found" says that the broker was done
 * with the message before. */
#define PACKET_IDENTIFIER_NOT_FOUND 0x92

static void land(struct fg_publisher *publisher, struct fg_flight *flight, int reason)
{
    bool refused = reason >= 0x80 && !(flight->qos == 2 && reason == PACKET_IDENTIFIER_NOT_FOUND);
    if (refused) {
        const char *topic = flight->message                  ? fg_message_topic(flight->message)
                            : flight->answer                 ? flight->answer->answer.topic
                            : flight->kind == FG_FLIGHT_LOSS ? publisher->loss_topic
                                                             : publisher->status_topic;
        fg_log_limited(&publisher->refusal_limit, FG_LOG_WARNING, NULL, NULL,
                       "the broker refused a message on %s: %s", topic, fg_session_reason_name(reason));
    }
    if (flight->kind == FG_FLIGHT_LOSS) {
        pthread_mutex_lock(&publisher->lock);
        fg_losses_done(&publisher->losses, flight->origin, flight->reason);
        pthread_mutex_unlock(&publisher->lock);
    }
    if (flight->message && refused) {
        fg_flow_lose(publisher, flight->message, FG_LOSS_REFUSED);
    } else if (flight->message) {
        fg_count(&flight->message->origin->acknowledged, 1);
        fg_count(&publisher->acknowledged, 1);
        fg_flow_release(publisher, flight->message);
        fg_keep_forget(publisher, flight->message);
        fg_message_free(flight->message);
    }
    if (flight->answer) {
        fg_calls_drop(publisher, flight->answer, refused ? "the broker refused it" : NULL);
    }
    fg_origin_unref(flight->origin);
}

/* The queue was long and is empty: what malloc holds of it goes back to the system, now and then. */
static void give_memory_back(struct fg_publisher *publisher)
{
    int64_t now_ns = fg_clock_now_ns();
    if (now_ns >= publisher->trim_ns) {
        publisher->trim_ns = now_ns + TRIM_EVERY_NS;
        publisher->most_bytes = 0;
        malloc_trim(0);
    }
}

void fg_flow_settle(struct fg_publisher *publisher)
{
    struct fg_session *session = publisher->session;
    for (size_t i = 0; i < session->ack_count; i++) {
        struct fg_flight *entry = fg_inflight_find(&publisher->inflight, session->acks[i].mid);
        if (entry) {
            struct fg_flight flight;
            fg_inflight_remove(&publisher->inflight, entry, &flight);
            land(publisher, &flight, session->acks[i].reason);
        }
    }
    session->ack_count = 0;
    fg_calls_settle(publisher);
    if (publisher->released_count == 0) {
        return;
    }
    pthread_mutex_lock(&publisher->lock);
    if (publisher->outbox.bytes > publisher->most_bytes) {
        publisher->most_bytes = publisher->outbox.bytes;
    }
    fg_outbox_release(&publisher->outbox, publisher->released_count, publisher->released_bytes);
    bool room = fg_outbox_reopen(&publisher->outbox);
    bool empty = publisher->outbox.bytes == 0;
    pthread_mutex_unlock(&publisher->lock);
    publisher->released_count = publisher->released_bytes = 0;
    if (empty && publisher->most_bytes > TRIM_BYTES) {
        give_memory_back(publisher);
    }
    publisher->room_due |= room && publisher->phase == FG_RUNNING;
}

/* The library sends again what is in flight; what a broker with another limit will never take is lost. */
static void drop_oversized(struct fg_publisher *publisher)
{
    struct fg_flight *entry = publisher->inflight.oldest;
    while (entry) {
        struct fg_flight *newer = entry->newer;
        if (entry->packet_bytes > publisher->session->max_packet) {
            struct fg_flight flight;
            fg_inflight_remove(&publisher->inflight, entry, &flight);
            if (flight.message) {
                fg_flow_lose(publisher, flight.message, FG_LOSS_TOO_LARGE);
                flight.message = NULL;
            }
            if (flight.answer) {
                fg_calls_drop(publisher, flight.answer, "larger than the broker takes");
                flight.answer = NULL;
            }
            land(publisher, &flight, 0);
        }
        entry = newer;
    }
}

void fg_flow_up(struct fg_publisher *publisher)
{
    drop_oversized(publisher);
    fg_calls_up(publisher);
    publisher->status_due = publisher->phase >= FG_FAREWELL ? FG_STATUS_OFFLINE : FG_STATUS_ONLINE;
    pthread_mutex_lock(&publisher->lock);
    fg_availability_forget(&publisher->availability);
    pthread_mutex_unlock(&publisher->lock);
    atomic_store_explicit(&publisher->connected, true, memory_order_relaxed);
}

/* What was handed over and will not be sent again: of QoS 0 what was never written; or the library forgot
 * all. Availability is told anew on the next connection anyway, and statistics are stale by then. */
static void take_back(struct fg_publisher *publisher, struct fg_flight *flight, struct fg_chain *unwritten)
{
    if (flight->message) {
        fg_chain_put(unwritten, flight->message);
    }
    if (flight->answer) {
        fg_calls_take_back(publisher, flight->answer);
    }
    if (flight->kind == FG_FLIGHT_LOSS) {
        struct fg_loss_told told = { flight->origin, flight->reason, flight->hole };
        pthread_mutex_lock(&publisher->lock);
        fg_losses_undo(&publisher->losses, &told);
        pthread_mutex_unlock(&publisher->lock);
    }
    fg_origin_unref(flight->origin);
}

void fg_flow_down(struct fg_publisher *publisher)
{
    atomic_store_explicit(&publisher->connected, false, memory_order_relaxed);
    fg_flow_settle(publisher);
    fg_calls_down(publisher);
    struct fg_chain unwritten = { 0 };
    struct fg_flight *entry = publisher->inflight.oldest;
    while (entry) {
        struct fg_flight *newer = entry->newer;
        struct fg_flight flight;
        if (entry->qos == 0 || publisher->session->forgot) {
            fg_inflight_remove(&publisher->inflight, entry, &flight);
            take_back(publisher, &flight, &unwritten);
        }
        entry = newer;
    }
    if (unwritten.first) {
        *unwritten.tail = publisher->again.first;
        if (!publisher->again.first) {
            publisher->again.tail = unwritten.tail;
        }
        publisher->again.first = unwritten.first;
    }
    pthread_mutex_lock(&publisher->lock);
    free(publisher->stats);
    publisher->stats = NULL;
    pthread_mutex_unlock(&publisher->lock);
}

bool fg_flow_has_work(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    bool work = publisher->outbox.waiting + publisher->outbox.held > 0 || publisher->losses.open > 0 ||
                publisher->losses.telling > 0 || fg_calls_wait(&publisher->calls);
    pthread_mutex_unlock(&publisher->lock);
    return work;
}

bool fg_flow_is_tight(const struct fg_publisher *publisher)
{
    const struct fg_session *session = publisher->session;
    return fg_flow_slots(publisher) <= session->max_inflight / 2 ||
           publisher->inflight.qos2 > session->max_qos2 / 2;
}

unsigned fg_flow_wants(const struct fg_publisher *publisher, int64_t now_ns)
{
    unsigned wants = publisher->phase == FG_RUNNING ? FG_WANT_STOP : 0;
    if (fg_flow_slots(publisher) > 0) {
        const struct fg_message *first =
            publisher->again.first ? publisher->again.first : publisher->taken.first;
        wants |= FG_WANT_CONTROL;
        if (publisher->phase <= FG_DELIVERING && (!first || has_slot(publisher, first))) {
            wants |= publisher->linger_until_ns > now_ns ? FG_WANT_BATCH : FG_WANT_MESSAGES;
        }
    }
    return wants;
}

bool fg_flow_is_due(struct fg_publisher *publisher, unsigned wants, int64_t now_ns)
{
    if ((wants & FG_WANT_STOP) && atomic_load(&publisher->stopping)) {
        return true;
    }
    pthread_mutex_lock(&publisher->lock);
    size_t waiting = publisher->outbox.waiting;
    bool half = fg_outbox_is_half_full(&publisher->outbox);
    bool due = ((wants & FG_WANT_MESSAGES) && ((waiting > 0 && !fg_keep_bars(publisher)) ||
                                               publisher->taken.first || publisher->again.first)) ||
               ((wants & FG_WANT_SAVE) && waiting > 0) || ((wants & FG_WANT_SPACE) && waiting > 0 && half) ||
               ((wants & FG_WANT_BATCH) && waiting >= publisher->session->max_inflight) ||
               ((wants & FG_WANT_CONTROL) && control_due(publisher, now_ns));
    pthread_mutex_unlock(&publisher->lock);
    return due;
}

/* What a stop leaves in memory: on the disk it waits for the next start. Returns how many were lost. */
static uint64_t leave(struct fg_publisher *publisher, struct fg_message *message)
{
    if (message->spool_id > 0) {
        fg_flow_release(publisher, message);
        fg_message_free(message);
        return 0;
    }
    fg_flow_lose(publisher, message, FG_LOSS_SHUTDOWN);
    return 1;
}

uint64_t fg_flow_give_up(struct fg_publisher *publisher, bool in_flight)
{
    uint64_t count = 0;
    fg_keep_save_all(publisher, in_flight);
    fg_calls_give_up(publisher);
    while (in_flight && publisher->inflight.oldest) {
        struct fg_flight flight;
        fg_inflight_remove(&publisher->inflight, publisher->inflight.oldest, &flight);
        if (flight.message) {
            count += leave(publisher, flight.message);
            flight.message = NULL;
        }
        if (flight.answer) {
            fg_calls_drop(publisher, flight.answer, "the gateway stops before the broker takes it");
            flight.answer = NULL;
        }
        land(publisher, &flight, 0);
    }
    pthread_mutex_lock(&publisher->lock);
    struct fg_chain rest = { 0 };
    put_all(&rest, fg_outbox_take(&publisher->outbox, SIZE_MAX));
    pthread_mutex_unlock(&publisher->lock);
    struct fg_chain *chains[] = { &publisher->again, &publisher->taken, &publisher->keep.unsaved, &rest };
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        while (chains[i]->first) {
            count += leave(publisher, fg_chain_get(chains[i]));
        }
    }
    fg_flow_settle(publisher);
    return count;
}
