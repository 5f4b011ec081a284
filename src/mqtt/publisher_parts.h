/*
 * The inside of the publisher, shared between its files: publisher_api.c (calls from other threads),
 * publisher.c (the thread), publisher_change.c (other settings), publisher_connect.c (when and where to
 * connect), publisher_flow.c (what is handed to the connection and what comes back), publisher_spool.c (what
 * goes to the disk and is read back), publisher_commands.c (what comes from the broker, and the answers).
 *
 * The order of readings, oldest first: in flight; again; taken; on the disk past keep.last; keep.unsaved; the
 * outbox.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_PARTS_H
#define FIELDGATE_MQTT_PUBLISHER_PARTS_H

#include "availability.h"
#include "inflight.h"
#include "losses.h"
#include "outbox.h"
#include "publisher_commands.h"
#include "publisher_connect.h"
#include "publisher_session.h"
#include "publisher_spool.h"

#include "fieldgate/log.h"
#include "fieldgate/publisher.h"

#include <pthread.h>
#include <stdatomic.h>

/* What the sleeping thread wants to be woken for. */
enum {
    FG_WANT_MESSAGES = 1u << 0, /* anything in the outbox */
    FG_WANT_BATCH = 1u << 1,    /* a full batch, while it lingers */
    FG_WANT_CONTROL = 1u << 2,  /* losses, availability, statistics, subscriptions, answers */
    FG_WANT_STOP = 1u << 3,
    FG_WANT_TURN = 1u << 4,  /* what a worker that had the turn leaves to the thread */
    FG_WANT_SAVE = 1u << 5,  /* anything in the outbox: the spool is to have it, at once or later */
    FG_WANT_SPACE = 1u << 6, /* an outbox that is half full, which the spool could relieve */
    FG_WANT_PROOF = 1u << 7, /* somebody who wants to see it move */
};

/*
 * RUNNING -> DELIVERING: fg_publisher_stop.
 * DELIVERING -> FAREWELL: nothing waits and nothing is in flight, or the time for it is over; what waits is
 * lost. FAREWELL -> LEAVING: all good-byes are acknowledged. any -> the thread ends: the deadline, or no
 * connection and nothing that needs one.
 */
enum fg_stop_phase { FG_RUNNING, FG_DELIVERING, FG_FAREWELL, FG_LEAVING };

enum fg_status_due { FG_STATUS_TOLD, FG_STATUS_ONLINE, FG_STATUS_OFFLINE };

struct fg_publisher {
    /* Fixed, but for a change of settings (publisher_change.c): */
    const struct fg_mqtt_settings *settings;
    int64_t linger_ns;
    void (*room)(void *context);
    void (*arrived)(void *context);
    void *context;
    char *base; /* topics, expanded */
    char *status_topic;
    char *loss_topic;
    char *stats_topic;
    atomic_size_t batch; /* messages that are worth waking the thread for while it lingers */

    /* Between threads: */
    pthread_mutex_t lock;
    pthread_cond_t finished_condition;
    struct fg_outbox outbox; /* lock, as all down to abandoned */
    struct fg_losses losses;
    struct fg_availability availability;
    char *stats;
    size_t stats_size;
    struct fg_broker_state broker;
    int64_t stop_deadline_ns;
    int64_t stop_timeout_ns;
    uint64_t lost_by_stop;
    struct fg_publisher_change *change; /* other settings, to be taken on; NULL: none */
    bool finished;                      /* the thread has nothing more to do */
    atomic_bool connecting;             /* the thread is where it may be held: in fg_session_connect */
    bool abandoned;                     /* it was, at the end of a stop: it must touch nothing any more */
    atomic_bool stopping;
    atomic_bool connected;
    atomic_uint asked, heard; /* calls of fg_publisher_ask, and the latest that the thread came across */
    atomic_uint wants;
    int wake_fd;
    atomic_ullong saved;      /* messages offered up to here need not be waited for */
    atomic_bool save_awaited; /* somebody was told that some do */
    atomic_ullong spooled, spool_bytes, spool_written; /* as of the last use of the spool */
    atomic_ullong published, acknowledged, lost[FG_LOSS_COUNT], reconnects;
    struct fg_log_limit loss_limits[FG_LOSS_COUNT];
    struct fg_log_limit refusal_limit;
    struct fg_log_limit known_limit;
    pthread_t thread;
    bool started, stopped; /* the owner's */

    /*
     * Of whoever holds turn: the thread, but while it polls or may be held in a look-up; or a worker that has
     * offered messages and goes on to publish them. Workers only try for it, and never wait.
     */
    pthread_mutex_t turn;
    struct fg_session *session;
    enum fg_session_state noted; /* what the thread made of the connection's state */
    bool room_due;               /* room is to be told when turn is given back */
    bool pauses;                 /* the thread polls, and not for what the broker sends */
    int64_t read_ns;             /* until when */
    struct fg_inflight inflight;
    struct fg_keep keep;
    struct fg_calls calls; /* its parts say whose they are */
    struct fg_chain again; /* QoS 0, handed over and never written */
    struct fg_chain taken; /* taken from the outbox, not handed over */
    size_t released_count, released_bytes;
    size_t most_bytes; /* that were in the outbox since memory was given back */
    int64_t trim_ns;   /* when that may be done next */
    enum fg_stop_phase phase;
    enum fg_status_due status_due;
    size_t address;    /* the one being tried or in use */
    unsigned failures; /* rounds of addresses without a lasting connection */
    bool ever_connected;
    int64_t retry_ns;        /* DOWN: when to try */
    int64_t since_ns;        /* CONNECTING: begin of it; UP: since when */
    int64_t lost_ns;         /* when the last connection was lost */
    int64_t tick_ns;         /* UP: when the library wants its turn */
    int64_t linger_until_ns; /* 0: nothing lingers */
    int64_t change_ns;       /* until when a change waits */
    struct fg_connector connector;
    char last_reason[sizeof((struct fg_session *)0)->reason];
};

/* The earlier of two moments. */
static inline int64_t fg_sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* publisher_flow.c; all by whoever holds turn. */

/* Hands over what may be handed over now: good-byes and announcements, losses, statistics, readings. */
void fg_flow_feed(struct fg_publisher *publisher, int64_t now_ns);

/* Takes in what was acknowledged, and gives the room back. */
void fg_flow_settle(struct fg_publisher *publisher);

/* The connection came up, or went down. */
void fg_flow_up(struct fg_publisher *publisher);
void fg_flow_down(struct fg_publisher *publisher);

/* Whether readings or losses are waiting or on their way. */
bool fg_flow_has_work(struct fg_publisher *publisher);

/* Whether there is something that can be handed over at once (with wants, after they were set). */
bool fg_flow_is_due(struct fg_publisher *publisher, unsigned wants, int64_t now_ns);

/* Whether there are few slots left: acknowledgements are to be read soon. */
bool fg_flow_is_tight(const struct fg_publisher *publisher);

/* What the thread can do something about now. */
unsigned fg_flow_wants(const struct fg_publisher *publisher, int64_t now_ns);

/* Counts all readings that wait as lost; in_flight: those that are handed over, too. Returns their number. */
uint64_t fg_flow_give_up(struct fg_publisher *publisher, bool in_flight);

/* How many messages the connection could be handed now. */
size_t fg_flow_slots(const struct fg_publisher *publisher);

/* The message takes up no room any more. */
void fg_flow_release(struct fg_publisher *publisher, const struct fg_message *message);

/* A reading that the broker will not get: counts it and frees it. */
void fg_flow_lose(struct fg_publisher *publisher, struct fg_message *message, enum fg_loss reason);

/* publisher_api.c */

enum { FG_TOPIC_BASE, FG_TOPIC_STATUS, FG_TOPIC_LOSS, FG_TOPIC_STATS, FG_TOPIC_COUNT };

/* The publisher's own topics, the caller's to free one by one, on failure too. Returns 0, -EMSGSIZE, -ENOMEM.
 */
int fg_publisher_make_topics(const struct fg_mqtt_settings *settings, const char *gateway,
                             char *topics[FG_TOPIC_COUNT]);

/* publisher.c */

/* Counts and merges a loss; without the lock. */
void fg_publisher_count_lost(struct fg_publisher *publisher, struct fg_origin *origin, enum fg_loss reason,
                             int64_t wall_ms, uint64_t count);

/* Whether room is to be told, which is done without locks; once. */
bool fg_publisher_take_room(struct fg_publisher *publisher);

/* Wakes the thread if it waits for this; after what it is to find has been put in place. */
void fg_publisher_wake(struct fg_publisher *publisher, unsigned kind);

#endif
