/*
 * A small MQTT broker (3.1.1 and 5) of the tests' own, on a thread of its own and a port of the loopback,
 * that can be told to misbehave. It delivers to nobody, and writes down what it took. Its own failures end
 * the test.
 */
#ifndef FIELDGATE_TEST_FAKE_BROKER_H
#define FIELDGATE_TEST_FAKE_BROKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_bytes {
    size_t size;
    uint8_t at[96];
};
#define FAKE_BYTES(...)                                                                                      \
    {                                                                                                        \
        sizeof((uint8_t[]){ __VA_ARGS__ }),                                                                  \
        {                                                                                                    \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    }

/* PUBACK, PUBREC and PUBCOMP alike. */
enum fake_acks {
    FAKE_ACKS_GOOD,
    FAKE_ACKS_NEVER,
    FAKE_ACKS_LATE, /* held back until fake_broker_release */
    FAKE_ACKS_TWICE,
    FAKE_ACKS_BACKWARDS,  /* those of one read, last first */
    FAKE_ACKS_WRONG,      /* for an identifier that is not in use, in place of the right one */
    FAKE_ACKS_OTHER_KIND, /* PUBCOMP in place of PUBACK, PUBACK in place of the others */
    FAKE_ACKS_UNASKED,    /* before the right one: one of each kind, for an identifier that is not in use */
    FAKE_ACKS_GAPS,       /* each tenth is left out */
};

/* What it does with a connection. All zeros: what a broker should. */
struct fake_script {
    bool slam;         /* closes it at once */
    bool deaf;         /* reads nothing */
    bool deaf_later;   /* reads nothing after CONNECT */
    bool silent;       /* reads, and says nothing */
    bool unpinged;     /* answers no PINGREQ */
    bool only_311;     /* refuses MQTT 5 in the words of MQTT 3.1.1 */
    bool no_retain;    /* refuses a will that is retained */
    bool forgets;      /* has no session from before */
    bool unreleased;   /* takes no notice of PUBREL */
    uint8_t connack;   /* reason code; the connection is closed unless it is 0 */
    uint8_t reason;    /* of acknowledgements, with MQTT 5 */
    uint8_t suback;    /* code of all filters in place of QoS 1 */
    bool suback_short; /* SUBACK lacks the last code */
    enum fake_acks acks;
    size_t acks_most;             /* no more than so many on a connection; 0: no limit */
    struct fake_bytes properties; /* of CONNACK, with MQTT 5 */
    struct fake_bytes greeting;   /* in place of CONNACK */
    struct fake_bytes extra;      /* behind CONNACK */
    bool endless;                 /* extra again and again */
    uint8_t farewell;             /* DISCONNECT with that reason, with MQTT 5, */
    int farewell_after;           /* when it took so many messages on that connection */
    size_t cut_in, cut_out;       /* broken when so many bytes came or went; 0: never */
    size_t cut_later;             /* so many more with each connection */
};

struct fake_taken {
    char topic[48];
    char payload[24]; /* as far as it fits */
    size_t payload_size;
    uint8_t properties[32]; /* as far as they fit */
    size_t properties_size;
    uint8_t qos;
    bool dup, retain;
    bool held; /* QoS 2, and not released: it does not count */
};

/* What a client said. */
struct fake_connect {
    long long at_ms;
    int version; /* 4, 5 */
    int keepalive_s;
    bool clean;
    uint32_t expiry_s;
};

#define FAKE_CONNECTS_KEPT 64
#define FAKE_SAYS_BYTES    8192
#define FAKE_FILTERS_KEPT  512

struct fake_broker {
    int port;
    atomic_int accepted, connects, pings, farewells; /* farewells: DISCONNECTs of the client's */
    atomic_int open;                                 /* connections */
    /* The rest is fake_broker.c's. */
    pthread_t thread;
    int listener;
    int control[2];
    pthread_mutex_t lock;
    struct fake_script script;
    struct fake_connect said[FAKE_CONNECTS_KEPT];
    struct fake_taken *taken;
    size_t taken_count, taken_capacity;
    bool present;                        /* a session, as all below it */
    char filters[FAKE_FILTERS_KEPT][48]; /* "+" or "-" and what a client subscribed to, or not any more */
    size_t filter_count;
    uint8_t says[FAKE_SAYS_BYTES];
    size_t says_size;
    size_t *unreleased; /* by identifier: QoS 2, taken and not released; one more than the index, or 0 */
};

/* On that port, or any (0). script: NULL is a good broker. */
void fake_broker_start(struct fake_broker *broker, int port, const struct fake_script *script);
void fake_broker_stop(struct fake_broker *broker); /* may be called again, and without a start */

/* Of the connections that come from now on. */
void fake_broker_behave(struct fake_broker *broker, const struct fake_script *script);

void fake_broker_cut(struct fake_broker *broker);     /* breaks all connections */
void fake_broker_release(struct fake_broker *broker); /* sends what is held back, and is not late any more */

/* Sends these bytes on all connections that are open. */
void fake_broker_say(struct fake_broker *broker, const void *bytes, size_t size);

/* A PUBLISH of QoS 1, in the form of version 4 (3.1.1) or 5 without properties. Returns its size. */
size_t fake_publish(int version, bool dup, uint16_t id, const char *topic, const char *payload,
                    uint8_t packet[FAKE_SAYS_BYTES]);

/* How often "+filter" was subscribed to, or "-filter" ended; NULL: all. */
size_t fake_broker_subscribed(struct fake_broker *broker, const char *what);

/* The messages on that topic (NULL: all) in the order in which they came; one of QoS 2 counts when it is
 * released.
 */
size_t fake_broker_count(struct fake_broker *broker, const char *topic);

/* The index-th of these, and the index-th CONNECT. Return false when there is none. */
bool fake_broker_get(struct fake_broker *broker, const char *topic, size_t index, struct fake_taken *taken);
bool fake_broker_said(struct fake_broker *broker, int index, struct fake_connect *said);

#endif
