#include "publisher_session.h"

#include "publisher_secret.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* MQTT 5.0, 2.1.4: a remaining length of 268 435 455 and the five bytes before it. */
#define PACKET_MAX ((size_t)268435455 + 5)

/* MQTT 3.1.1 has no word for how many QoS 2 messages a broker takes at once, and mosquitto can disconnect a
 * client that sends more than its max_inflight_messages, each time that they are sent again. This is that
 * setting's default. */
#define UNTOLD_QOS2_MAX 20

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

static void on_connect(struct mosquitto *library, void *context, int reason, int flags,
                       const mosquitto_property *properties)
{
    struct fg_session *session = context;
    (void)library;
    session->connack = reason;
    session->present = flags & 1;
    /* The library keeps what a broker said before where this one is silent, and acts on it; so does this. */
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
    if (mosquitto_property_read_int32(properties, MQTT_PROP_MAXIMUM_PACKET_SIZE, &packet, false) &&
        packet > 0) {
        session->max_packet = packet < PACKET_MAX ? packet : PACKET_MAX;
    }
    if (mosquitto_property_read_byte(properties, MQTT_PROP_MAXIMUM_QOS, &qos, false)) {
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

static void record(struct fg_session *session, int mid, int reason)
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
    record(context, mid, reason);
}

static void on_log(struct mosquitto *library, void *context, int level, const char *text)
{
    struct fg_session *session = context;
    (void)library;
    if (level == MOSQ_LOG_ERR && !session->library_error[0]) {
        snprintf(session->library_error, sizeof session->library_error, "%s", text);
    }
}

static int set_user(struct fg_session *session)
{
    const struct fg_mqtt_settings *settings = session->settings;
    if (!settings->username[0]) {
        return 0;
    }
    char *password = NULL;
    if (settings->password_file[0]) {
        char why[FG_WHY_SIZE];
        int error = fg_secret_read("password_file", settings->password_file, &password, why);
        if (error) {
            fg_log(FG_LOG_ERROR, "mqtt.%s", why);
            return error;
        }
    }
    int result = mosquitto_username_pw_set(session->library, settings->username, password);
    fg_secret_free(password);
    if (result) {
        fg_log(FG_LOG_ERROR, "mqtt.username: %s", mosquitto_strerror(result));
        return result == MOSQ_ERR_NOMEM ? -ENOMEM : -EINVAL;
    }
    return 0;
}

/* Only the blocking connect takes properties; called without a host it keeps them for later and does no more.
 */
static int set_session_expiry(struct fg_session *session)
{
    int64_t seconds = session->settings->session_expiry_ns / FG_NS_PER_S;
    mosquitto_property *properties = NULL;
    int result = mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                              seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX);
    if (!result) {
        result = mosquitto_connect_bind_v5(session->library, NULL, 0, session->keepalive_s, NULL, properties);
    }
    mosquitto_property_free_all(&properties);
    return result == MOSQ_ERR_NOMEM ? result : MOSQ_ERR_SUCCESS;
}

static int set_up(struct fg_session *session, const char *will_topic)
{
    struct mosquitto *library = session->library;
    bool v5 = session->settings->protocol == FG_MQTT_5;
    int result =
        mosquitto_int_option(library, MOSQ_OPT_PROTOCOL_VERSION, v5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    if (!result) {
        result = mosquitto_will_set(library, will_topic, (int)strlen("offline"), "offline", 1, true);
    }
    if (!result && v5) {
        result = set_session_expiry(session);
    }
    if (result) {
        fg_log(FG_LOG_ERROR, "mqtt: the connection cannot be set up: %s", mosquitto_strerror(result));
        return result == MOSQ_ERR_NOMEM ? -ENOMEM : -EINVAL;
    }
    /* As for a program with a thread of its own for the library: it queues what is published, instead of
     * trying to write each packet at once and knocking at a pair of sockets that nobody reads. */
    mosquitto_threaded_set(library, true);
    mosquitto_connect_v5_callback_set(library, on_connect);
    mosquitto_disconnect_v5_callback_set(library, on_disconnect);
    mosquitto_publish_v5_callback_set(library, on_publish);
    int error = set_user(session);
    const struct fg_tls_settings *tls = session->settings->tls;
    char why[FG_WHY_SIZE];
    if (!error && tls) {
        error = fg_tls_new(tls, library, &session->tls, why);
        if (error) {
            fg_log(FG_LOG_ERROR, "mqtt.%s", why);
        }
    }
    return error;
}

int fg_session_new(const struct fg_mqtt_settings *settings, const char *client_id, const char *will_topic,
                   struct fg_session **result)
{
    pthread_once(&library_once, open_library);
    struct fg_session *session = calloc(1, sizeof *session);
    if (!session) {
        return -ENOMEM;
    }
    session->settings = settings;
    session->max_qos = 2;
    session->max_packet = PACKET_MAX;
    session->max_inflight = (size_t)settings->max_inflight;
    session->keepalive_s = (int)(settings->keepalive_ns / FG_NS_PER_S);
    /* One library call acknowledges no more than is in flight, and what the publisher has given up on. */
    session->ack_capacity = 2 * fg_session_capacity(settings) + 16;
    session->acks = calloc(session->ack_capacity, sizeof *session->acks);
    errno = 0;
    session->library = mosquitto_new(client_id, settings->clean_session, session);
    int error = -ENOMEM;
    if (!session->library) {
        error = errno ? -errno : -EINVAL;
        fg_log(FG_LOG_ERROR, "mqtt.client_id: %s", strerror(-error));
    } else if (session->acks) {
        error = set_up(session, will_topic);
    }
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
        mosquitto_loop_read(session->library, 1);
    }
}

/* What the library's answer means for the connection; cause is errno as the call left it. */
static void settle(struct fg_session *session, int result, int cause)
{
    bool closed = mosquitto_socket(session->library) < 0;
    if (session->state == FG_SESSION_CONNECTING && session->connack == 0) {
        session->state = FG_SESSION_UP;
        /* The library would make the text of a debug line for each message, to be thrown away here. */
        mosquitto_log_callback_set(session->library, NULL);
    }
    if (session->state == FG_SESSION_DOWN || (!result && !closed)) {
        return;
    }
    char text[sizeof session->reason];
    if (session->connack > 0) {
        bool v5 = session->settings->protocol == FG_MQTT_5;
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

static void set_socket_options(int fd)
{
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

void fg_session_prepare(struct fg_session *session)
{
    session->reason[0] = session->library_error[0] = '\0';
    session->connack = -1;
    session->farewell = 0;
    session->leaving = false;
    session->queued = 0;
    fg_direct_clear(&session->direct);
    session->verified = !session->settings->tls;
    session->max_inflight = (size_t)session->settings->max_inflight;
    session->max_qos2 = session->settings->protocol == FG_MQTT_5 ? SIZE_MAX : UNTOLD_QOS2_MAX;
    session->keepalive_s = (int)(session->settings->keepalive_ns / FG_NS_PER_S);
    session->state = FG_SESSION_CONNECTING;
    mosquitto_log_callback_set(session->library, on_log);
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
        set_socket_options(fd);
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
    errno = 0;
    int result = mosquitto_loop_read(session->library, 1);
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

static int socket_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : 0;
}

/* A connection that broke before the broker accepted; the library may take it for one that is not there yet.
 * With TLS the broker may have said why in what can be read still. */
static bool broke(struct fg_session *session, int fd, short revents)
{
    int error =
        session->state == FG_SESSION_CONNECTING && (revents & (POLLERR | POLLHUP)) ? socket_error(fd) : 0;
    if (error && session->tls && (revents & POLLIN)) {
        int result = mosquitto_loop_read(session->library, 1);
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
        record(session, FG_DIRECT_MID, 0);
    }
    if (error && error != -EAGAIN) {
        settle(session, MOSQ_ERR_ERRNO, -error);
    }
    return !error;
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
        result = mosquitto_loop_read(session->library, 1);
    }
    if (!result && mosquitto_socket(session->library) >= 0 && fg_direct_is_empty(&session->direct) &&
        mosquitto_want_write(session->library)) {
        result = mosquitto_loop_write(session->library, 1);
    }
    if (!result && mosquitto_socket(session->library) >= 0 && (revents & (POLLIN | POLLERR | POLLHUP))) {
        errno = 0;
        result = mosquitto_loop_read(session->library, 1);
    }
    settle(session, result, errno);
}

int64_t fg_session_tick_ns(const struct fg_session *session)
{
    /* Brokers wait for one and a half times the keepalive; a fifth late is early enough. */
    int64_t tick_ns = session->keepalive_s * FG_NS_PER_S / 5;
    if (session->keepalive_s == 0) {
        return 10 * FG_NS_PER_S;
    }
    return tick_ns < FG_NS_PER_S ? FG_NS_PER_S : tick_ns > 10 * FG_NS_PER_S ? 10 * FG_NS_PER_S : tick_ns;
}

void fg_session_tick(struct fg_session *session)
{
    if (session->state != FG_SESSION_UP) {
        return;
    }
    errno = 0;
    int result = mosquitto_loop_misc(session->library);
    if (!result && session->settings->tls) {
        /* The library can leave bytes that TLS has decrypted already, and no poll tells of them. */
        result = mosquitto_loop_read(session->library, 1);
    }
    settle(session, result, errno);
}

size_t fg_packet_bytes(const struct fg_session *session, size_t topic_length, size_t payload_size,
                       uint8_t qos)
{
    size_t remaining = 2 + topic_length + payload_size + (qos > 0 ? 2 : 0);
    remaining += session->settings->protocol == FG_MQTT_5 ? 1 : 0;
    size_t prefix = remaining < 128 ? 2 : remaining < 16384 ? 3 : remaining < 2097152 ? 4 : 5;
    return prefix + remaining;
}

/* While the library has something to write, what is published must go behind that. With TLS the library alone
 * knows how to write, and what a broker says of retained messages is the library's to heed. Topics are
 * checked there, too. */
static bool publish_directly(struct fg_session *session, const struct fg_publication *publication)
{
    if (publication->qos > 0 || publication->retain || session->settings->tls ||
        mosquitto_want_write(session->library) || publication->topic_length == 0 ||
        mosquitto_pub_topic_check2(publication->topic, publication->topic_length) ||
        mosquitto_validate_utf8(publication->topic, (int)publication->topic_length)) {
        return false;
    }
    bool v5 = session->settings->protocol == FG_MQTT_5;
    return fg_direct_put(&session->direct, publication, v5) ||
           (write_directly(session) && fg_direct_put(&session->direct, publication, v5));
}

enum fg_handover fg_session_publish(struct fg_session *session, const struct fg_publication *publication,
                                    uint16_t *mid)
{
    if (fg_packet_bytes(session, publication->topic_length, publication->payload_size, publication->qos) >
        session->max_packet) {
        return FG_NOT_HANDED_SIZE;
    }
    if (publish_directly(session, publication)) {
        *mid = FG_DIRECT_MID;
        return FG_HANDED;
    }
    int number = 0;
    errno = 0;
    int result =
        mosquitto_publish_v5(session->library, &number, publication->topic, (int)publication->payload_size,
                             publication->payload, publication->qos, publication->retain, NULL);
    int cause = errno;
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
        return FG_NOT_HANDED_MEMORY;
    default:
        break;
    }
    /* From here on the library has a message of QoS 1 or 2 in its list, whatever became of the writing, and
     * sends it again on the next connection. One of QoS 0 it drops then. */
    *mid = (uint16_t)number;
    session->queued++;
    if (result) {
        settle(session, result, cause);
    }
    return FG_HANDED;
}

/* Holds back partial segments, so that a batch goes out in few packets. */
static void set_cork(const struct fg_session *session, int on)
{
    int fd = fg_session_fd(session);
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    }
}

void fg_session_flush(struct fg_session *session)
{
    if (session->state == FG_SESSION_DOWN || !write_directly(session) || session->queued == 0) {
        return;
    }
    bool batch = session->queued > 1;
    session->queued = 0;
    if (batch) {
        set_cork(session, 1);
    }
    errno = 0;
    int result = mosquitto_loop_write(session->library, 1);
    int cause = errno;
    if (batch) {
        set_cork(session, 0);
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

const char *fg_session_reason_name(int reason)
{
    return mosquitto_reason_string(reason);
}
