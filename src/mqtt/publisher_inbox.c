#include "publisher_inbox.h"

#include "publisher_session.h"

#include "fieldgate/clock.h"
#include "fieldgate/origin.h"
#include "fieldgate/text.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fg_inbox_init(struct fg_inbox *inbox)
{
    pthread_mutex_init(&inbox->lock, NULL);
    inbox->tail = &inbox->first;
}

void fg_inbox_fini(struct fg_inbox *inbox)
{
    while (inbox->first) {
        struct fg_arrival *next = inbox->first->next;
        free(inbox->first);
        inbox->first = next;
    }
    pthread_mutex_destroy(&inbox->lock);
}

/* The properties of a message that matter; what is none of them stays as it is. */
struct extras {
    char *response;
    void *correlation;
    uint16_t correlation_size;
    uint32_t expiry_s;
    bool expires;
};

static void read_extras(const mosquitto_property *properties, struct extras *extras)
{
    extras->expires = mosquitto_property_read_int32(properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL,
                                                    &extras->expiry_s, false) != NULL;
    mosquitto_property_read_string(properties, MQTT_PROP_RESPONSE_TOPIC, &extras->response, false);
    mosquitto_property_read_binary(properties, MQTT_PROP_CORRELATION_DATA, &extras->correlation,
                                   &extras->correlation_size, false);
    /* MQTT 5.0, 3.3.2.3.5: no wildcards. What cannot be published on is no place for an answer. */
    size_t length = extras->response ? strlen(extras->response) : 0;
    if (extras->response && (length == 0 || !fg_utf8_valid(extras->response, length) ||
                             mosquitto_pub_topic_check2(extras->response, length))) {
        free(extras->response);
        extras->response = NULL;
    }
}

static void *append(uint8_t **end, const void *bytes, size_t size)
{
    uint8_t *at = *end;
    if (size > 0) {
        memcpy(at, bytes, size);
    }
    at[size] = '\0';
    *end = at + size + 1;
    return at;
}

static struct fg_arrival *copy(const struct fg_session *session, const struct mosquitto_message *message,
                               const struct extras *extras, size_t *bytes)
{
    size_t topic_length = strlen(message->topic);
    size_t payload_size = (size_t)message->payloadlen;
    size_t response_length = extras->response ? strlen(extras->response) : 0;
    *bytes = sizeof(struct fg_arrival) + topic_length + payload_size + response_length +
             extras->correlation_size + 4;
    struct fg_arrival *arrival = malloc(*bytes);
    if (!arrival) {
        return NULL;
    }
    uint8_t *end = (uint8_t *)(arrival + 1);
    *arrival = (struct fg_arrival){ .came_ns = fg_clock_now_ns(),
                                    .connected_ns = session->connected_ns,
                                    .connection = session->connections,
                                    .broker = session->broker,
                                    .session = session->sessions[session->broker % FG_SESSION_BROKERS],
                                    .mid = (uint16_t)message->mid,
                                    .qos = (uint8_t)message->qos,
                                    .expires = extras->expires,
                                    .expiry_s = extras->expiry_s,
                                    .topic_length = topic_length,
                                    .payload_size = payload_size,
                                    .correlation_size = extras->correlation_size };
    arrival->topic = append(&end, message->topic, topic_length);
    arrival->payload = append(&end, message->payload, payload_size);
    if (extras->response) {
        arrival->response_topic = append(&end, extras->response, response_length);
    }
    if (extras->correlation) {
        arrival->correlation = append(&end, extras->correlation, extras->correlation_size);
    }
    return arrival;
}

static void put(struct fg_inbox *inbox, struct fg_arrival *arrival, size_t bytes)
{
    pthread_mutex_lock(&inbox->lock);
    bool room = arrival && inbox->count < FG_ARRIVALS_MAX && inbox->bytes + bytes <= FG_ARRIVALS_BYTES_MAX;
    if (room) {
        *inbox->tail = arrival;
        inbox->tail = &arrival->next;
        inbox->count++;
        inbox->bytes += bytes;
        inbox->news = true;
    } else {
        inbox->overrun_news = true;
    }
    pthread_mutex_unlock(&inbox->lock);
    if (!room) {
        fg_count(&inbox->overrun, 1);
        free(arrival);
    }
}

static void drop_retained(struct fg_inbox *inbox, const char *topic)
{
    fg_count(&inbox->retained, 1);
    pthread_mutex_lock(&inbox->lock);
    snprintf(inbox->retained_topic, sizeof inbox->retained_topic, "%s", topic);
    pthread_mutex_unlock(&inbox->lock);
}

static void on_message(struct mosquitto *library, void *context, const struct mosquitto_message *message,
                       const mosquitto_property *properties)
{
    struct fg_session *session = context;
    struct extras extras = { 0 };
    size_t bytes = 0;
    (void)library;
    session->messages++;
    if (message->retain) {
        drop_retained(session->inbox, message->topic);
        return;
    }
    if (message->payloadlen < 0 || (size_t)message->payloadlen > FG_ARRIVAL_PAYLOAD_MAX) {
        put(session->inbox, NULL, 0);
        return;
    }
    read_extras(properties, &extras);
    put(session->inbox, copy(session, message, &extras, &bytes), bytes);
    free(extras.response);
    free(extras.correlation);
}

static void record_suback(struct fg_session *session, int mid, size_t count, const int *codes)
{
    struct fg_inbox *inbox = session->inbox;
    if (inbox->suback_count == FG_BATCHES) {
        return; /* more than were asked for */
    }
    struct fg_suback *suback = &inbox->subacks[inbox->suback_count++];
    *suback = (struct fg_suback){ .mid = mid };
    for (; suback->count < count && suback->count < FG_BATCH_FILTERS; suback->count++) {
        suback->codes[suback->count] = (uint8_t)codes[suback->count];
    }
}

static void on_subscribe(struct mosquitto *library, void *context, int mid, int count, const int *codes,
                         const mosquitto_property *properties)
{
    (void)library;
    (void)properties;
    record_suback(context, mid, count > 0 && codes ? (size_t)count : 0, codes);
}

/* What it says is of no use: the subscription is over in any case. */
static void on_unsubscribe(struct mosquitto *library, void *context, int mid,
                           const mosquitto_property *properties)
{
    (void)library;
    (void)properties;
    record_suback(context, mid, 0, NULL);
}

void fg_inbox_attach(struct mosquitto *library)
{
    mosquitto_message_v5_callback_set(library, on_message);
    mosquitto_subscribe_v5_callback_set(library, on_subscribe);
    mosquitto_unsubscribe_v5_callback_set(library, on_unsubscribe);
}
