#include "publisher_session.h"

#include "publisher_events.h"
#include "publisher_guard.h"
#include "publisher_handle.h"
#include "publisher_inbox.h"
#include "publisher_socket.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* MQTT 3.1.1 has no word for how many QoS 2 messages a broker takes at once, and mosquitto can disconnect a
 * client that sends more than its max_inflight_messages, each time that they are sent again. This is that
 * setting's default. */
#define UNTOLD_QOS2_MAX 20

/* Bytes that a broker may send unasked while it does not take what is sent to it. */
#define STRAY_UNANSWERED_MAX ((int64_t)32 * 1024)

/* Of these, what pings and the like come to between two ticks. */
#define STRAY_FREE 64

/* A broker may ask for a shorter keepalive than is sensible to judge it by. */
#define PATIENCE_MIN_NS (5 * FG_NS_PER_S)

#define TICK_MIN_NS (100 * FG_NS_PER_MS)
#define TICK_MAX_NS (10 * FG_NS_PER_S)

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

/* Never undone: it would unload OpenSSL's configuration under whoever else uses it. */
static void open_library(void)
{
    mosquitto_lib_init();
}

size_t fg_session_capacity(const struct fg_mqtt_settings *settings)
{
    return (size_t)settings->max_inflight;
}

static void adopt(struct fg_session *session, struct mosquitto *library, struct fg_tls *tls)
{
    fg_events_attach(library);
    fg_inbox_attach(library);
    session->library = library;
    session->tls = tls;
    session->max_qos = 2;
    session->max_packet = FG_PACKET_MAX;
    session->other_limits = false;
}

static int set_up(struct fg_session *session)
{
    struct mosquitto *library = NULL;
    struct fg_tls *tls = NULL;
    int error = fg_handle_new(session, &library, &tls);
    if (!error) {
        adopt(session, library, tls);
    }
    return error;
}

int fg_session_new(const struct fg_mqtt_settings *settings, const char *client_id, const char *will_topic,
                   struct fg_inbox *inbox, struct fg_session **result)
{
    pthread_once(&library_once, open_library);
    struct fg_session *session = calloc(1, sizeof *session);
    if (!session) {
        return -ENOMEM;
    }
    session->settings = settings;
    session->inbox = inbox;
    session->protocol = settings->protocol;
    session->will_qos = 1;
    session->will_retain = true;
    session->max_inflight = (size_t)settings->max_inflight;
    session->keepalive_s = (int)(settings->keepalive_ns / FG_NS_PER_S);
    /* One library call acknowledges no more than is in flight, and what the publisher has given up on. */
    session->ack_capacity = 2 * fg_session_capacity(settings) + 16;
    session->acks = calloc(session->ack_capacity, sizeof *session->acks);
    session->client_id = strdup(client_id);
    session->will_topic = strdup(will_topic);
    int error = session->acks && session->client_id && session->will_topic ? set_up(session) : -ENOMEM;
    if (error) {
        fg_session_free(session);
        return error;
    }
    *result = session;
    return 0;
}

void fg_session_free(struct fg_session *session)
{
    if (session) {
        mosquitto_destroy(session->library);
        fg_tls_free(session->tls);
        fg_direct_fini(&session->direct);
        free(session->acks);
        free(session->client_id);
        free(session->will_topic);
        free(session);
    }
}

static void go_down(struct fg_session *session, const char *reason)
{
    snprintf(session->reason, sizeof session->reason, "%s", reason);
    session->state = FG_SESSION_DOWN;
    int fd = mosquitto_socket(session->library);
    if (fd >= 0) {
        /* The library closes its socket only when it finds it broken, or at the next connect. */
        shutdown(fd, SHUT_RDWR);
        fg_guard_read(session->library);
    }
}

/* The keepalive, or where the broker wants none, after how long a dead one is looked for all the same. */
static int wakeful_s(const struct fg_session *session)
{
    return session->keepalive_s > 0 ? session->keepalive_s
                                    : (int)(session->settings->keepalive_ns / FG_NS_PER_S);
}

/* What the library's answer means for the connection; cause is errno as the call left it. */
static void settle(struct fg_session *session, int result, int cause)
{
    bool closed = mosquitto_socket(session->library) < 0;
    if (session->state == FG_SESSION_CONNECTING && session->connack == 0) {
        session->state = FG_SESSION_UP;
        session->heard_ns = fg_clock_now_ns();
        if (!closed) {
            fg_socket_set_options(mosquitto_socket(session->library), wakeful_s(session));
        }
        /* The library would make the text of a debug line for each message, to be thrown away here. */
        fg_events_log(session->library, false);
    }
    if (session->state == FG_SESSION_DOWN || (!result && !closed)) {
        return;
    }
    char text[sizeof session->reason];
    if (session->connack > 0) {
        bool v5 = session->protocol == FG_MQTT_5;
        snprintf(text, sizeof text, "the broker refused the connection: %s",
                 v5 ? mosquitto_reason_string(session->connack) : mosquitto_connack_string(session->connack));
    } else if (session->farewell) {
        snprintf(text, sizeof text, "the broker closed the connection: %s",
                 mosquitto_reason_string(session->farewell));
    } else if (session->tls && session->library_error[0]) {
        fg_tls_explain(session->tls, session->library_error, !session->verified, text);
    } else if (session->library_error[0]) {
        snprintf(text, sizeof text, "%s", session->library_error);
    } else if (result == MOSQ_ERR_EAI) {
        snprintf(text, sizeof text, "the name cannot be looked up: %s", gai_strerror(cause));
    } else if (result == MOSQ_ERR_ERRNO && cause) {
        snprintf(text, sizeof text, "%s", strerror(cause));
    } else if (session->leaving) {
        snprintf(text, sizeof text, "disconnected");
    } else {
        snprintf(text, sizeof text, "%s", result ? mosquitto_strerror(result) : "the connection was closed");
    }
    go_down(session, text);
}

void fg_session_prepare(struct fg_session *session)
{
    session->reason[0] = session->library_error[0] = '\0';
    session->connack = -1;
    session->farewell = 0;
    session->leaving = session->unruly = session->forgot = session->held = false;
    session->stray_from = -1;
    session->queued = 0;
    fg_direct_clear(&session->direct);
    session->verified = !session->settings->tls;
    session->max_inflight = (size_t)session->settings->max_inflight;
    session->max_qos2 = session->protocol == FG_MQTT_5 ? SIZE_MAX : UNTOLD_QOS2_MAX;
    session->keepalive_s = (int)(session->settings->keepalive_ns / FG_NS_PER_S);
    session->state = FG_SESSION_CONNECTING;
    fg_events_log(session->library, true);
    /* The bound that counts is the publisher's; the library's own stays out of its way. */
    mosquitto_int_option(session->library, MOSQ_OPT_SEND_MAXIMUM, (int)session->settings->max_inflight);
}

void fg_session_connect(struct fg_session *session, const char *host, int port)
{
    if (session->tls && fg_tls_prepare(session->tls, host, session->library_error) != 0) {
        session->result = MOSQ_ERR_TLS;
        session->cause = 0;
        return;
    }
    errno = 0;
    session->result = mosquitto_connect_async(session->library, host, port, session->keepalive_s);
    session->cause = errno;
}

void fg_session_begun(struct fg_session *session)
{
    int fd = mosquitto_socket(session->library);
    if (fd >= 0) {
        fg_socket_set_options(fd, wakeful_s(session));
    }
    settle(session, session->result, session->cause);
}

int fg_session_fd(const struct fg_session *session)
{
    return session->state == FG_SESSION_DOWN ? -1 : mosquitto_socket(session->library);
}

short fg_session_events(const struct fg_session *session)
{
    bool write = session->verified
                     ? !fg_direct_is_empty(&session->direct) || mosquitto_want_write(session->library)
                     : fg_tls_wants_write(session->library);
    return (short)(POLLIN | (write ? POLLOUT : 0));
}

/* Goes on with the TLS handshake. Returns whether it is done, so that CONNECT may be written. */
static bool shake_hands(struct fg_session *session, short revents)
{
    int result = fg_guard_read(session->library);
    int cause = errno;
    if (result || mosquitto_socket(session->library) < 0) {
        settle(session, result ? result : MOSQ_ERR_TLS, cause);
        return false;
    }
    switch (fg_tls_progress(session->tls, session->library)) {
    case FG_TLS_VERIFIED:
        session->verified = true;
        return true;
    case FG_TLS_UNVERIFIED:
        go_down(session, "the broker did not show who it is");
        return false;
    case FG_TLS_HANDSHAKE:
        break;
    }
    if (revents & (POLLHUP | POLLERR)) {
        /* The library waits on: to it a broken connection looks like one that is not there yet. */
        go_down(session, "the connection was closed in the TLS handshake");
    }
    return false;
}

/* A connection that broke before the broker accepted; the library may take it for one that is not there yet.
 * With TLS the broker may have said why in what can be read still. */
static bool broke(struct fg_session *session, int fd, short revents)
{
    int error =
        session->state == FG_SESSION_CONNECTING && (revents & (POLLERR | POLLHUP)) ? fg_socket_error(fd) : 0;
    if (error && session->tls && (revents & POLLIN)) {
        int result = fg_guard_read(session->library);
        settle(session, result, error);
    }
    if (error && session->state != FG_SESSION_DOWN) {
        go_down(session, strerror(error));
    }
    return error != 0;
}

/* Returns whether nothing is left that goes past the library; if not, the connection may be down. */
static bool write_directly(struct fg_session *session)
{
    if (fg_direct_is_empty(&session->direct)) {
        return true;
    }
    size_t packets = 0;
    int error = fg_direct_write(&session->direct, mosquitto_socket(session->library), &packets);
    for (size_t i = 0; i < packets; i++) {
        fg_events_acknowledged(session, FG_DIRECT_MID, 0);
    }
    if (error && error != -EAGAIN) {
        settle(session, MOSQ_ERR_ERRNO, -error);
    }
    return !error;
}

/* What a broker sends unasked costs memory: the library stores QoS 2 messages that are never released,
 * answers what it does not know, and takes any length for the length of a packet. */
static void watch_strays(struct fg_session *session, bool asked_for)
{
    if (session->state == FG_SESSION_DOWN) {
        return;
    }
    int64_t consumed = asked_for ? -1 : fg_socket_consumed(mosquitto_socket(session->library));
    int64_t limit = mosquitto_want_write(session->library) ? STRAY_UNANSWERED_MAX : FG_INBOUND_MAX;
    if (consumed < 0 || session->stray_from < 0) {
        session->stray_from = consumed;
    }
    session->unruly |= consumed - session->stray_from > limit;
    if (session->unruly) {
        go_down(session, "the broker sends what nobody asked for");
    }
}

static void read_some(struct fg_session *session)
{
    size_t acks = session->ack_count;
    unsigned messages = session->messages;
    int result = fg_guard_read(session->library);
    int cause = errno;
    if (!result) {
        session->heard_ns = fg_clock_now_ns();
    }
    settle(session, result, cause);
    watch_strays(session, session->ack_count > acks || session->messages != messages);
    if (session->messages != messages && session->state == FG_SESSION_UP) {
        /* What has come is acknowledged before it is acted upon: a broker sends it again otherwise. */
        session->queued++;
        fg_session_flush(session);
    }
}

void fg_session_io(struct fg_session *session, short revents)
{
    int fd = fg_session_fd(session);
    if (fd < 0 || revents == 0) {
        return;
    }
    if (broke(session, fd, revents)) {
        return;
    }
    if (!session->verified && !shake_hands(session, revents)) {
        return;
    }
    if (!write_directly(session) && session->state == FG_SESSION_DOWN) {
        return;
    }
    int result = MOSQ_ERR_SUCCESS;
    errno = 0;
    if (session->tls && session->state == FG_SESSION_CONNECTING) {
        /* A broker can refuse our certificate after the handshake; a failing write would lose what it says.
         */
        result = fg_guard_read(session->library);
    }
    if (!result && mosquitto_socket(session->library) >= 0 && fg_direct_is_empty(&session->direct) &&
        mosquitto_want_write(session->library)) {
        result = mosquitto_loop_write(session->library, 1);
    }
    if (!result && mosquitto_socket(session->library) >= 0 && (revents & (POLLIN | POLLERR | POLLHUP))) {
        read_some(session);
        return;
    }
    settle(session, result, errno);
}

int64_t fg_session_patience_ns(const struct fg_session *session)
{
    int64_t patience_ns = wakeful_s(session) * FG_NS_PER_S * 3 / 2;
    return patience_ns > PATIENCE_MIN_NS ? patience_ns : PATIENCE_MIN_NS;
}

int64_t fg_session_tick_ns(const struct fg_session *session)
{
    /* The library asks after one keepalive; a fifth late leaves enough of the half that the answer has. */
    int64_t tick_ns = wakeful_s(session) * FG_NS_PER_S / 5;
    if (session->keepalive_s > 0) {
        int64_t left_ns = session->heard_ns + fg_session_patience_ns(session) - fg_clock_now_ns();
        tick_ns = left_ns < tick_ns ? left_ns : tick_ns;
    }
    return tick_ns < TICK_MIN_NS ? TICK_MIN_NS : tick_ns > TICK_MAX_NS ? TICK_MAX_NS : tick_ns;
}

void fg_session_tick(struct fg_session *session)
{
    if (session->state != FG_SESSION_UP) {
        return;
    }
    /* What came while this process stood still is not read yet. */
    bool silent = session->keepalive_s > 0 &&
                  fg_clock_now_ns() - session->heard_ns >= fg_session_patience_ns(session) &&
                  !fg_socket_is_readable(mosquitto_socket(session->library));
    if (silent) {
        go_down(session, "the broker does not answer any more");
        return;
    }
    session->stray_from += session->stray_from >= 0 ? STRAY_FREE : 0;
    errno = 0;
    int result = mosquitto_loop_misc(session->library);
    if (!result && session->settings->tls) {
        /* The library can leave bytes that TLS has decrypted already, and no poll tells of them. */
        result = fg_guard_read(session->library);
    }
    settle(session, result, errno);
}

size_t fg_packet_bytes(const struct fg_session *session, size_t topic_length, size_t payload_size,
                       uint8_t qos)
{
    size_t remaining = 2 + topic_length + payload_size + (qos > 0 ? 2 : 0);
    remaining += session->protocol == FG_MQTT_5 ? 1 : 0;
    size_t prefix = remaining < 128 ? 2 : remaining < 16384 ? 3 : remaining < 2097152 ? 4 : 5;
    return prefix + remaining;
}

size_t fg_publication_bytes(const struct fg_session *session, const struct fg_publication *publication)
{
    /* The length of properties takes up to four bytes, of which one is counted already. */
    size_t more = publication->correlation ? 3 + publication->correlation_size + 3 : 0;
    return fg_packet_bytes(session, publication->topic_length, publication->payload_size + more,
                           publication->qos);
}

/* While the library has something to write, what is published must go behind that. With TLS the library alone
 * knows how to write, and what a broker says of retained messages is the library's to heed. Topics are
 * checked there, too. */
static bool publish_directly(struct fg_session *session, const struct fg_publication *publication)
{
    if (publication->qos > 0 || publication->retain || publication->correlation || session->settings->tls ||
        mosquitto_want_write(session->library) || publication->topic_length == 0 ||
        mosquitto_pub_topic_check2(publication->topic, publication->topic_length) ||
        mosquitto_validate_utf8(publication->topic, (int)publication->topic_length)) {
        return false;
    }
    bool v5 = session->protocol == FG_MQTT_5;
    return fg_direct_put(&session->direct, publication, v5) ||
           (write_directly(session) && fg_direct_put(&session->direct, publication, v5));
}

enum fg_handover fg_session_publish(struct fg_session *session, const struct fg_publication *publication,
                                    uint16_t *mid)
{
    if (fg_publication_bytes(session, publication) > session->max_packet) {
        return FG_NOT_HANDED_SIZE;
    }
    if (publish_directly(session, publication)) {
        *mid = FG_DIRECT_MID;
        return FG_HANDED;
    }
    int number = 0;
    mosquitto_property *properties = NULL;
    if (publication->correlation &&
        mosquitto_property_add_binary(&properties, MQTT_PROP_CORRELATION_DATA, publication->correlation,
                                      (uint16_t)publication->correlation_size)) {
        return FG_NOT_HANDED_MEMORY;
    }
    errno = 0;
    int result =
        mosquitto_publish_v5(session->library, &number, publication->topic, (int)publication->payload_size,
                             publication->payload, publication->qos, publication->retain, properties);
    int cause = errno;
    mosquitto_property_free_all(&properties);
    switch (result) {
    case MOSQ_ERR_PAYLOAD_SIZE:
    case MOSQ_ERR_OVERSIZE_PACKET:
        return FG_NOT_HANDED_SIZE;
    case MOSQ_ERR_INVAL:
    case MOSQ_ERR_NOT_SUPPORTED:
    case MOSQ_ERR_QOS_NOT_SUPPORTED:
    case MOSQ_ERR_MALFORMED_UTF8:
        return FG_NOT_HANDED_REFUSED;
    case MOSQ_ERR_NOMEM:
        if (publication->qos == 0) {
            return FG_NOT_HANDED_MEMORY;
        }
        break;
    default:
        break;
    }
    /* From here on the library has a message of QoS 1 or 2 in its list, whatever became of the writing, and
     * sends it again on the next connection. One of QoS 0 it drops then. */
    *mid = (uint16_t)number;
    session->queued++;
    if (result == MOSQ_ERR_NOMEM) {
        /* It has the message if there was memory for that, and none for the packet. */
        session->doubtful = true;
        fg_session_drop(session, "no memory");
    } else if (result) {
        settle(session, result, cause);
    }
    return FG_HANDED;
}

void fg_session_flush(struct fg_session *session)
{
    if (session->state == FG_SESSION_DOWN || !write_directly(session) || session->queued == 0) {
        return;
    }
    bool batch = session->queued > 1;
    int fd = mosquitto_socket(session->library);
    session->queued = 0;
    if (batch) {
        fg_socket_cork(fd, 1);
    }
    errno = 0;
    int result = mosquitto_loop_write(session->library, 1);
    int cause = errno;
    if (batch && mosquitto_socket(session->library) == fd) {
        fg_socket_cork(fd, 0);
    }
    settle(session, result, cause);
}

void fg_session_drop(struct fg_session *session, const char *reason)
{
    if (session->state != FG_SESSION_DOWN) {
        go_down(session, reason);
    }
}

void fg_session_disconnect(struct fg_session *session)
{
    session->leaving = true;
    errno = 0;
    int result = mosquitto_disconnect_v5(session->library, 0, NULL);
    session->queued++;
    settle(session, result, errno);
    fg_session_flush(session);
}

void fg_session_hold(struct fg_session *session, bool hold)
{
    if (hold != session->held) {
        session->held = hold;
        if (hold) {
            session->held_inflight = session->max_inflight;
        }
        session->max_inflight = hold ? 0 : session->held_inflight;
    }
}

int fg_session_renew(struct fg_session *session)
{
    struct mosquitto *library = NULL;
    struct fg_tls *tls = NULL;
    int error = fg_handle_new(session, &library, &tls);
    if (!error) {
        fg_session_drop(session, "begun again");
        mosquitto_destroy(session->library);
        fg_tls_free(session->tls);
        adopt(session, library, tls);
        session->forgot = true;
        session->doubtful = false;
        session->ack_count = 0;
    }
    return error;
}

const char *fg_session_reason_name(int reason)
{
    return mosquitto_reason_string(reason);
}
