/* Answers to messages: they wait for the broker, within a bound. */
#include "publisher_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct fg_waiting_answer *copy(const struct fg_answer *answer)
{
    size_t topic_size = strlen(answer->topic) + 1;
    size_t bytes =
        sizeof(struct fg_waiting_answer) + topic_size + answer->payload_size + answer->correlation_size;
    struct fg_waiting_answer *waiting = malloc(bytes);
    if (!waiting) {
        return NULL;
    }
    char *topic = (char *)(waiting + 1);
    char *payload = topic + topic_size;
    char *correlation = payload + answer->payload_size;
    *waiting = (struct fg_waiting_answer){ .bytes = bytes, .answer = *answer };
    memcpy(topic, answer->topic, topic_size);
    if (answer->payload_size > 0) {
        memcpy(payload, answer->payload, answer->payload_size);
    }
    if (answer->correlation_size > 0) {
        memcpy(correlation, answer->correlation, answer->correlation_size);
    }
    waiting->answer.topic = topic;
    waiting->answer.payload = payload;
    waiting->answer.correlation = answer->correlation ? correlation : NULL;
    return waiting;
}

/* With the lock. */
static struct fg_waiting_answer *take(struct fg_calls *calls)
{
    struct fg_waiting_answer *first = calls->answers;
    if (first) {
        calls->answers = first->next;
        calls->answers_tail = calls->answers ? calls->answers_tail : &calls->answers;
        calls->again = &calls->answers;
        calls->answers_count--;
        calls->answers_bytes -= first->bytes;
        first->next = NULL;
    }
    return first;
}

/* With the lock. Returns what has to go so that there is room, as a chain. */
static struct fg_waiting_answer *make_room(struct fg_calls *calls, size_t bytes)
{
    struct fg_waiting_answer *dropped = NULL;
    while (calls->answers &&
           (calls->answers_count >= FG_ANSWERS_MAX || calls->answers_bytes + bytes > FG_ANSWERS_BYTES_MAX)) {
        struct fg_waiting_answer *oldest = take(calls);
        oldest->next = dropped;
        dropped = oldest;
    }
    return dropped;
}

void fg_calls_drop(struct fg_publisher *publisher, struct fg_waiting_answer *answer, const char *reason)
{
    if (answer && reason) {
        fg_count(&publisher->calls.answers_dropped, 1);
        fg_log_limited(&publisher->calls.dropped_limit, FG_LOG_WARNING, NULL, NULL,
                       "a command's result for %s is dropped: %s", answer->answer.topic, reason);
    }
    free(answer);
}

int fg_publisher_answer(struct fg_publisher *publisher, const struct fg_answer *answer)
{
    struct fg_calls *calls = &publisher->calls;
    struct fg_waiting_answer *waiting = copy(answer);
    struct fg_waiting_answer *dropped = NULL;
    int error = !waiting ? -ENOMEM : waiting->bytes > FG_ANSWERS_BYTES_MAX ? -EMSGSIZE : 0;
    pthread_mutex_lock(&publisher->lock);
    if (!error && publisher->finished) {
        error = -ESHUTDOWN;
    }
    if (!error) {
        dropped = make_room(calls, waiting->bytes);
        *calls->answers_tail = waiting;
        calls->answers_tail = &waiting->next;
        calls->answers_count++;
        calls->answers_bytes += waiting->bytes;
    }
    pthread_mutex_unlock(&publisher->lock);
    if (error) {
        fg_count(&calls->answers_dropped, 1);
        free(waiting);
        return error;
    }
    while (dropped) {
        struct fg_waiting_answer *next = dropped->next;
        fg_calls_drop(publisher, dropped, "too many wait for the broker");
        dropped = next;
    }
    fg_publisher_wake(publisher, FG_WANT_CONTROL);
    return 0;
}

bool fg_calls_answer(struct fg_publisher *publisher)
{
    struct fg_session *session = publisher->session;
    pthread_mutex_lock(&publisher->lock);
    struct fg_waiting_answer *waiting = take(&publisher->calls);
    pthread_mutex_unlock(&publisher->lock);
    if (!waiting) {
        return false;
    }
    bool v5 = session->protocol == FG_MQTT_5;
    struct fg_publication publication = {
        .topic = waiting->answer.topic,
        .topic_length = strlen(waiting->answer.topic),
        .payload = waiting->answer.payload,
        .payload_size = waiting->answer.payload_size,
        .qos = session->max_qos < 1 ? 0 : 1,
        .correlation = v5 ? waiting->answer.correlation : NULL,
        .correlation_size = v5 ? waiting->answer.correlation_size : 0,
    };
    struct fg_flight flight = { .kind = FG_FLIGHT_ANSWER,
                                .qos = publication.qos,
                                .packet_bytes = fg_publication_bytes(session, &publication),
                                .answer = waiting };
    switch (fg_session_publish(session, &publication, &flight.mid)) {
    case FG_HANDED:
        fg_inflight_add(&publisher->inflight, &flight);
        break;
    case FG_NOT_HANDED_SIZE:
        fg_calls_drop(publisher, waiting, "larger than the broker takes");
        break;
    case FG_NOT_HANDED_REFUSED:
        fg_calls_drop(publisher, waiting, "nothing can be published there");
        break;
    case FG_NOT_HANDED_MEMORY:
        fg_calls_drop(publisher, waiting, "no memory");
        break;
    }
    return true;
}

void fg_calls_take_back(struct fg_publisher *publisher, struct fg_waiting_answer *answer)
{
    struct fg_calls *calls = &publisher->calls;
    pthread_mutex_lock(&publisher->lock);
    answer->next = *calls->again;
    *calls->again = answer;
    if (!answer->next) {
        calls->answers_tail = &answer->next;
    }
    calls->again = &answer->next;
    calls->answers_count++;
    calls->answers_bytes += answer->bytes;
    pthread_mutex_unlock(&publisher->lock);
}

void fg_calls_give_up(struct fg_publisher *publisher)
{
    struct fg_waiting_answer *waiting = NULL;
    do {
        pthread_mutex_lock(&publisher->lock);
        waiting = take(&publisher->calls);
        pthread_mutex_unlock(&publisher->lock);
        fg_calls_drop(publisher, waiting, "the gateway stops before the broker takes it");
    } while (waiting);
}
