/*
 * The MQTT connection: everything that calls libmosquitto. The library runs unthreaded: its work is done in
 * fg_session_io, _tick and _publish, on the publisher's thread, and its callbacks only record what they are
 * told.
 *
 * The library keeps QoS 1 and 2 messages that are not acknowledged, and sends them again by itself on the
 * next connection, in order and before anything that is published then. It does not keep QoS 0 messages.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_SESSION_H
#define FIELDGATE_MQTT_PUBLISHER_SESSION_H

#include "publisher_direct.h"
#include "publisher_tls.h"

#include "fieldgate/publisher.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * DOWN -> CONNECTING: fg_session_prepare, before fg_session_connect.
 * CONNECTING -> UP: the broker accepted.
 * CONNECTING, UP -> DOWN: any failure, a refusal, fg_session_drop, or the end of fg_session_disconnect; what
 * happened stands in reason.
 */
enum fg_session_state { FG_SESSION_DOWN, FG_SESSION_CONNECTING, FG_SESSION_UP };

struct fg_ack {
    uint16_t mid;
    uint8_t reason; /* MQTT 5 reason code; 0 with 3.1.1 */
};

/* MQTT 5.0, 2.1.4: a remaining length of 268 435 455 and the five bytes before it. */
#define FG_PACKET_MAX ((size_t)268435455 + 5)

/* The largest packet that the broker is to send, and what it may send in a row that is of no use. */
#define FG_INBOUND_MAX (64 * 1024)

/* No packet identifier (MQTT 5.0, 2.2.1). */
#define FG_DIRECT_MID 0

/* Brokers whose sessions are told apart. */
#define FG_SESSION_BROKERS 16

struct fg_inbox;

struct fg_session {
    struct mosquitto *library;
    const struct fg_mqtt_settings *settings;
    struct fg_tls *tls; /* NULL: no TLS */
    char *client_id;
    char *will_topic;
    int will_qos; /* as all down to state: what the broker has not refused of it */
    bool will_retain;
    int protocol;
    enum fg_session_state state;
    bool verified;        /* the TLS handshake is done, or there is none */
    bool present;         /* the broker knew the session */
    bool leaving;         /* fg_session_disconnect was called */
    bool unruly;          /* the broker sent what nobody asked for */
    bool forgot;          /* fg_session_renew was called */
    bool doubtful;        /* whether the library has all that it was handed is not known */
    bool held;            /* fg_session_hold was */
    size_t held_inflight; /* max_inflight without that */
    bool other_limits;    /* max_qos or max_packet are another broker's: this one has not set any */
    int64_t heard_ns;     /* when the broker sent something last */
    int64_t stray_from; /* bytes that were read before the broker sent nothing but strays; -1: it does not */
    unsigned messages;  /* that it sent */
    char reason[FG_WHY_SIZE];        /* why it is down */
    char library_error[FG_WHY_SIZE]; /* what the library logged as an error since the connect */
    int connack;                     /* -1: none yet */
    int result;                      /* what the library answered to the connect, and errno then */
    int cause;
    int farewell; /* the reason code of the broker's DISCONNECT, or 0 */
    int max_qos;
    size_t max_inflight; /* the smaller of the setting and what the broker takes */
    size_t max_qos2;     /* of these, with QoS 2 */
    size_t max_packet;   /* bytes */
    int keepalive_s;     /* the setting, or what the broker asked for */
    struct fg_ack *acks; /* recorded and not yet taken by the publisher */
    size_t ack_count;
    size_t ack_capacity;
    struct fg_inbox *inbox;                /* the publisher's, of what comes */
    unsigned broker;                       /* which address it connects to */
    unsigned connections;                  /* that were accepted */
    int64_t connected_ns;                  /* when the last was */
    unsigned sessions[FG_SESSION_BROKERS]; /* how often a broker did not know the session */
    size_t queued;           /* packets published by the library and not yet offered to the socket */
    struct fg_direct direct; /* written before anything of the library's */
};

/* Messages that are in flight at most, control messages included. */
size_t fg_session_capacity(const struct fg_mqtt_settings *settings);

/* Makes a connection that is down. will_topic is told "offline" by the broker when the connection breaks.
 * inbox lives as long as the session. Returns 0 or a negative errno, the reason being logged. */
int fg_session_new(const struct fg_mqtt_settings *settings, const char *client_id, const char *will_topic,
                   struct fg_inbox *inbox, struct fg_session **session);
void fg_session_free(struct fg_session *session);

/* Begins to connect. The second call blocks for the look-up of the name and for the reading of certificates,
 * and touches nothing but the session itself: not the settings. After the third the state says what became of
 * it. */
void fg_session_prepare(struct fg_session *session);
void fg_session_connect(struct fg_session *session, const char *host, int port);
void fg_session_begun(struct fg_session *session);

/* The descriptor and the events to poll for, while it is not down. */
int fg_session_fd(const struct fg_session *session);
short fg_session_events(const struct fg_session *session);
void fg_session_io(struct fg_session *session, short revents);

/* Keeps the connection alive, and notices when the broker is not there any more; call it after
 * fg_session_tick_ns while it is up. */
void fg_session_tick(struct fg_session *session);
int64_t fg_session_tick_ns(const struct fg_session *session);

/* How long a broker may be silent, or owe an acknowledgement: one and a half times the keepalive. */
int64_t fg_session_patience_ns(const struct fg_session *session);

enum fg_handover {
    FG_HANDED,          /* an acknowledgement will come, or (QoS 0) the connection will break */
    FG_NOT_HANDED_SIZE, /* larger than the broker or MQTT takes */
    FG_NOT_HANDED_REFUSED,
    FG_NOT_HANDED_MEMORY,
};

struct fg_publication {
    const char *topic; /* NUL-terminated */
    size_t topic_length;
    const void *payload;
    size_t payload_size;
    uint8_t qos; /* no more than max_qos */
    bool retain;
    const void *correlation; /* MQTT 5 alone; or NULL */
    size_t correlation_size;
};

/* Publishes while it is up; fg_session_flush writes it. The connection may be down afterwards, with FG_HANDED
 * all the same: the library has the message then, or (QoS 0) it was never written. *mid is FG_DIRECT_MID for
 * what goes past the library; the acknowledgements of these come in their order. */
enum fg_handover fg_session_publish(struct fg_session *session, const struct fg_publication *publication,
                                    uint16_t *mid);

/* The whole packet's size on the wire. */
size_t fg_packet_bytes(const struct fg_session *session, size_t topic_length, size_t payload_size,
                       uint8_t qos);
size_t fg_publication_bytes(const struct fg_session *session, const struct fg_publication *publication);

/* Writes what was published since, as far as the socket takes it; the rest goes with fg_session_io. The
 * connection may be down afterwards. */
void fg_session_flush(struct fg_session *session);

/* Breaks the connection; the broker publishes the will. */
void fg_session_drop(struct fg_session *session, const char *reason);

/* Lets nothing be handed over until hold is false again, or the next connection is up. */
void fg_session_hold(struct fg_session *session, bool hold);

/* Breaks the connection and begins again without what the library remembers, of limits and of messages: what
 * was handed over is to be handed over again. Returns 0 or a negative errno, the reason being logged and
 * nothing changed. */
int fg_session_renew(struct fg_session *session);

/* Says good-bye, so that the broker does not publish the will; it is down when all is written. */
void fg_session_disconnect(struct fg_session *session);

/* The name of a reason code, for logs. */
const char *fg_session_reason_name(int reason);

#endif
