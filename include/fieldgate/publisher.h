/*
 * The publisher: the only owner of the MQTT connection. What a worker offers it goes on to publish in its own
 * turn, if nobody else is at the connection. Whatever may take time has a thread of its own: look-up,
 * connect, TLS handshake, acknowledgements, a broker that takes nothing for now. Nothing of that ever stalls
 * a device; the bounded outbox is the only coupling.
 *
 * A message handed over is published and forgotten at its acknowledgement (QoS 0: when written; QoS 1:
 * PUBACK; QoS 2: PUBCOMP), or counted as lost and told on {base}/loss. Messages of one origin keep their
 * order.
 *
 * On each connect the publisher announces: {base}/status "online" (retained, QoS 1; its Will is "offline"),
 * the availability of every origin that has one ({base}/{device}/status, retained, QoS 1), and then the
 * messages, oldest first.
 */
#ifndef FIELDGATE_PUBLISHER_H
#define FIELDGATE_PUBLISHER_H

#include "fieldgate/message.h"
#include "fieldgate/setting.h"
#include "fieldgate/spool.h"

#include <stdbool.h>
#include <stdint.h>

struct fg_tls_settings {
    char *ca_file, *ca_path, *cert_file, *key_file, *key_password_file, *alpn, *psk_identity, *psk_file;
    int min_version; /* index into the choices "1.2", "1.3" */
    bool insecure;
};

struct fg_mqtt_settings {
    struct fg_texts address; /* host:port, tried in turn */
    int protocol;            /* FG_MQTT_5, FG_MQTT_311 */
    char *client_id;         /* may hold {gateway} */
    char *username;
    char *password_file;
    int64_t keepalive_ns;
    bool clean_session;
    int64_t session_expiry_ns;
    int64_t qos;
    bool retain;
    int64_t max_inflight;
    int64_t linger_ns;
    int64_t reconnect_min_ns, reconnect_max_ns;
    char *base_topic;            /* may hold {gateway} */
    struct fg_tls_settings *tls; /* NULL: no TLS */
};

enum { FG_MQTT_5, FG_MQTT_311 };

/* The table of the mqtt group. */
extern const struct fg_schema fg_mqtt_schema;

/* Puts the gateway's id in place of {gateway}. Returns 0, -EMSGSIZE. */
int fg_mqtt_expand(const char *text, const char *gateway, char *out, size_t size);

struct fg_publisher;

struct fg_publisher_options {
    const struct fg_mqtt_settings *settings; /* borrowed for the publisher's life */
    const char *gateway;                     /* the gateway's id; copied */
    int64_t queue_bytes;                     /* bound of the outbox */
    int64_t gathered_ns; /* of settings->linger_ns, what readings have waited for before they are offered */
    const struct fg_spool_settings *spool; /* borrowed as the settings are; NULL: no spool */
    /* Called on the publisher's thread or by who flushes, without locks held, when there is room again after
     * an offer was refused. */
    void (*room)(void *context);
    /* Called on the publisher's thread, without locks held, when fg_publisher_take_arrivals has something.
     * May be NULL. */
    void (*arrived)(void *context);
    void *context;
};

/* Reads the password and key files. Returns 0; or a negative errno, the reason being logged. Starts no
 * thread. */
int fg_publisher_new(const struct fg_publisher_options *options, struct fg_publisher **publisher);

/* Starts the thread, which connects for as long as it takes. Returns 0 or a negative errno. */
int fg_publisher_start(struct fg_publisher *publisher);

/*
 * Takes a chain of messages, whole or not at all. Returns 0: the publisher owns them. -ENOBUFS: no room now,
 * the caller keeps them, and room() will be called. -EMSGSIZE: more than the whole queue can hold; the caller
 * keeps them. -ESHUTDOWN: stopping. Any thread; never blocks for the broker. What was offered waits for
 * fg_publisher_flush.
 */
int fg_publisher_offer(struct fg_publisher *publisher, struct fg_message *first);

/* The same for what has nowhere else to wait: there is room for it far beyond the bound (twice, or 4 MiB
 * more). room is not called for it. */
int fg_publisher_offer_last(struct fg_publisher *publisher, struct fg_message *first);

/* Publishes what was offered, as far as the connection takes it at once; the rest is the thread's. After a
 * batch of offers; cheap when there is nothing. Any thread; never blocks for the broker. */
void fg_publisher_flush(struct fg_publisher *publisher);

/* Whether an offer was refused and room has not come back since: readers of streams wait. Any thread. */
/*
 * For spool.durability "always": a mark behind all that was offered so far, and whether all before a mark is
 * on the disk, or must be content with memory because there is no such spool or it does not work. Where the
 * answer is no, room is called some time after it has become yes. Any thread.
 */
bool fg_publisher_saves_first(const struct fg_publisher *publisher); /* whether there is such a spool */
uint64_t fg_publisher_mark(struct fg_publisher *publisher);
bool fg_publisher_is_saved(struct fg_publisher *publisher, uint64_t mark);

bool fg_publisher_full(const struct fg_publisher *publisher);

/* Counts readings of origin as lost and tells it on {base}/loss when the broker is there, merged into one
 * range per origin and reason while it is not. wall_ms is the time of the reading. Any thread. */
void fg_publisher_lose(struct fg_publisher *publisher, struct fg_origin *origin, enum fg_loss reason,
                       int64_t wall_ms, uint64_t count);

/* The availability of a device; told when it changes, and again on each connect. Any thread. */
void fg_publisher_set_available(struct fg_publisher *publisher, struct fg_origin *origin, bool online);

/* The device is gone: it is told to be offline, and its availability is kept no longer than it takes for the
 * broker to know. Nothing if another origin has taken its place. Any thread. */
void fg_publisher_forget(struct fg_publisher *publisher, struct fg_origin *origin);

/* Publishes the statistics on {base}/stats, QoS 0, if the broker is there; the latest only. Copies. Any
 * thread. */
void fg_publisher_tell_stats(struct fg_publisher *publisher, const char *json, size_t size);

/*
 * Messages for the gateway. What is subscribed to is subscribed to again on each connection, QoS 1; what the
 * broker refuses is logged, with the filter. A message that was published as retained is dropped, counted and
 * logged: with MQTT 5 also one that has just been published so, with MQTT 3.1.1 only one that the broker had
 * kept, for the others cannot be told apart.
 */
struct fg_subscription;

/* Returns NULL without memory. The filter is copied. Any thread. */
struct fg_subscription *fg_publisher_subscribe(struct fg_publisher *publisher, const char *filter);

/* Ends it; NULL is none. Subscriptions and their ends reach the broker in the order of the calls. Any thread,
 * after a stop too (the broker is not told then). */
void fg_publisher_unsubscribe(struct fg_publisher *publisher, struct fg_subscription *subscription);

/* Ends a subscription that the broker has of an earlier run, and that nobody here knows of. Any thread. */
void fg_publisher_unsubscribe_stale(struct fg_publisher *publisher, const char *filter);

/* What one message may bring; a larger one is dropped and counted. */
#define FG_ARRIVAL_PAYLOAD_MAX ((size_t)64 * 1024)

/* What may wait until it is taken; more is dropped and counted. */
#define FG_ARRIVALS_MAX       256
#define FG_ARRIVALS_BYTES_MAX ((size_t)1 << 20)

/* One message, in memory of its own: free(). */
struct fg_arrival {
    struct fg_arrival *next;
    int64_t came_ns;      /* fg_clock_now_ns */
    int64_t connected_ns; /* when the connection came up on which it came */
    unsigned connection;  /* which that was, counted from 1 */
    unsigned broker;      /* at which of the addresses, from 0 */
    unsigned session;     /* which session of that broker's, counted from the one that it had at the start */
    uint16_t mid;         /* the packet identifier; 0 with QoS 0 */
    uint8_t qos;
    bool expires; /* in expiry_s from came_ns */
    uint32_t expiry_s;
    const char *topic;
    size_t topic_length;
    const uint8_t *payload; /* NUL behind it */
    size_t payload_size;
    const char *response_topic; /* NUL-terminated, fit to be published on; or NULL */
    const uint8_t *correlation; /* or NULL */
    size_t correlation_size;
};

/* Takes all that wait, oldest first; NULL for none. Any thread. */
struct fg_arrival *fg_publisher_take_arrivals(struct fg_publisher *publisher);

struct fg_answer {
    const char *topic; /* NUL-terminated */
    const void *payload;
    size_t payload_size;
    const void *correlation; /* sent with MQTT 5; NULL: none */
    size_t correlation_size;
};

/* What may wait for the broker; past it the oldest is dropped, counted and logged. */
#define FG_ANSWERS_MAX       1024
#define FG_ANSWERS_BYTES_MAX ((size_t)4 << 20)

/* Publishes with QoS 1 as soon as the broker is there. Copies. Returns 0, -ENOMEM, -ESHUTDOWN, -EMSGSIZE; a
 * failure is counted. Any thread; never blocks for the broker. */
int fg_publisher_answer(struct fg_publisher *publisher, const struct fg_answer *answer);

struct fg_publisher_stats {
    bool connected;
    uint64_t published;    /* readings' messages handed to the connection */
    uint64_t acknowledged; /* of those, acknowledged */
    uint64_t queued;       /* waiting or in flight */
    uint64_t queued_bytes;
    uint64_t lost[FG_LOSS_COUNT];
    uint64_t reconnects;         /* connections after the first */
    uint64_t spooled;            /* messages on the disk */
    uint64_t disk_bytes;         /* that the spool takes up */
    uint64_t disk_written_bytes; /* by the spool since the start */
    uint64_t arrivals_retained;  /* messages that were dropped for being retained, */
    uint64_t arrivals_overrun;   /* and for being too large or too many */
    uint64_t answers_dropped;
};
void fg_publisher_get_stats(struct fg_publisher *publisher, struct fg_publisher_stats *stats);

/* The connection, for people. */
#define FG_BROKER_TEXT 512
struct fg_broker_state {
    bool connected;
    char address[FG_BROKER_TEXT]; /* in use, or what is tried next */
    int64_t since_ns;             /* it is connected, or has not been, since then (fg_clock_now_ns) */
    char reason[FG_BROKER_TEXT];  /* why the last connection ended or could not be made; "": there was none */
};
void fg_publisher_get_broker(struct fg_publisher *publisher, struct fg_broker_state *broker);

/*
 * Other settings while it is at work, but for the spool, which stays. First all is made for them that can
 * fail: returns 0, or a negative errno, the reason being logged. Of the options, spool, room and context are
 * not looked at. Reads the password and key files; any thread.
 */
struct fg_publisher_change;
int fg_publisher_prepare(struct fg_publisher *publisher, const struct fg_publisher_options *options,
                         struct fg_publisher_change **change);
void fg_publisher_change_free(struct fg_publisher_change *change);

/*
 * Then the thread takes them on: it leaves the broker, which publishes the Will, and connects anew. Nothing
 * that waits is lost; what was not acknowledged is handed over again, and may come twice (QoS 2, too). Owns
 * change from here on. When the settings before are not used any more, applied is called on the publisher's
 * thread; that can take as long as a name look-up that is under way, and is not done after a stop. Not while
 * another change is waiting; only between fg_publisher_start and fg_publisher_stop.
 */
void fg_publisher_change(struct fg_publisher *publisher, struct fg_publisher_change *change,
                         void (*applied)(void *context), void *context);

/* Whether the publisher's thread moves: ask, which wakes it, and see a little later. It can be held for
 * minutes in the look-up of a broker's name, which is no fault of its own. Any one thread, until the stop;
 * without locks. */
enum fg_proof { FG_PROOF_MOVES, FG_PROOF_MAY_BE_HELD, FG_PROOF_NONE };
void fg_publisher_ask(struct fg_publisher *publisher);
enum fg_proof fg_publisher_proof(const struct fg_publisher *publisher);

/*
 * Stops: refuses offers, delivers what waits until timeout_ns have passed, counts and logs the rest as lost
 * (shutdown), publishes "offline" for devices and gateway, disconnects, joins the thread. A thread that is
 * held in a name look-up past the timeout is left behind, never waited for. Returns the number of readings
 * lost by the stop. Blocks, at most some 100 ms past timeout_ns.
 */
uint64_t fg_publisher_stop(struct fg_publisher *publisher, int64_t timeout_ns);

/* Only after fg_publisher_stop, or when it was never started. A publisher whose thread was left behind is
 * leaked on purpose. */
void fg_publisher_free(struct fg_publisher *publisher);

#endif
