#include "publisher_events.h"

#include "publisher_session.h"

#include "fieldgate/clock.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdio.h>

static void on_connect(struct mosquitto *library, void *context, int reason, int flags,
                       const mosquitto_property *properties)
{
    struct fg_session *session = context;
    (void)library;
    if (session->connack == 0) {
        session->unruly = true; /* it was accepted already, and the library sends all again each time */
        return;
    }
    session->connack = reason;
    session->present = flags & 1;
    if (reason == 0) {
        session->connections++;
        session->connected_ns = fg_clock_now_ns();
        session->sessions[session->broker % FG_SESSION_BROKERS] += !session->present;
    }
    uint16_t inflight = 0;
    uint16_t keepalive = 0;
    uint32_t packet = 0;
    uint8_t qos = 2;
    if (mosquitto_property_read_int16(properties, MQTT_PROP_RECEIVE_MAXIMUM, &inflight, false) &&
        inflight > 0 && inflight < session->settings->max_inflight) {
        session->max_inflight = inflight;
    }
    if (mosquitto_property_read_int16(properties, MQTT_PROP_SERVER_KEEP_ALIVE, &keepalive, false)) {
        session->keepalive_s = keepalive;
    }
    /* The library keeps what a broker said before where this one is silent, and acts on it; so does this. */
    bool packet_told =
        mosquitto_property_read_int32(properties, MQTT_PROP_MAXIMUM_PACKET_SIZE, &packet, false) &&
        packet > 0;
    bool qos_told = mosquitto_property_read_byte(properties, MQTT_PROP_MAXIMUM_QOS, &qos, false);
    session->other_limits =
        (!packet_told && session->max_packet < FG_PACKET_MAX) || (!qos_told && session->max_qos < 2);
    if (packet_told) {
        session->max_packet = packet < FG_PACKET_MAX ? packet : FG_PACKET_MAX;
    }
    if (qos_told) {
        session->max_qos = qos;
    }
}

static void on_disconnect(struct mosquitto *library, void *context, int reason,
                          const mosquitto_property *properties)
{
    struct fg_session *session = context;
    (void)library;
    (void)properties;
    /* The library's own errors come here too; they are below the reason codes of MQTT 5. */
    if (reason >= 0x80 && reason <= 0xff && session->farewell == 0) {
        session->farewell = reason;
    }
}

void fg_events_acknowledged(struct fg_session *session, int mid, int reason)
{
    if (session->ack_count < session->ack_capacity) {
        session->acks[session->ack_count++] = (struct fg_ack){ (uint16_t)mid, (uint8_t)reason };
    }
}

static void on_publish(struct mosquitto *library, void *context, int mid, int reason,
                       const mosquitto_property *properties)
{
    (void)library;
    (void)properties;
    fg_events_acknowledged(context, mid, reason);
}

static void on_log(struct mosquitto *library, void *context, int level, const char *text)
{
    struct fg_session *session = context;
    (void)library;
    if (level == MOSQ_LOG_ERR && !session->library_error[0]) {
        snprintf(session->library_error, sizeof session->library_error, "%s", text);
    }
}

void fg_events_attach(struct mosquitto *library)
{
    mosquitto_connect_v5_callback_set(library, on_connect);
    mosquitto_disconnect_v5_callback_set(library, on_disconnect);
    mosquitto_publish_v5_callback_set(library, on_publish);
}

void fg_events_log(struct mosquitto *library, bool on)
{
    mosquitto_log_callback_set(library, on ? on_log : NULL);
}
