/*
 * A mosquitto of the test's own on a free port of the loopback, with its files in a folder of its own; and a
 * subscriber that collects what it publishes. Failures that are not the test's subject end the test.
 */
#ifndef FIELDGATE_TEST_BROKER_H
#define FIELDGATE_TEST_BROKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct mosquitto;

/* A port of the loopback that nobody listens on. */
int test_free_port(void);

/* Milliseconds on a monotonic clock, for deadlines. */
long long test_now_ms(void);

/* Waits until check(context) is true, looking every few milliseconds. Returns false when timeout_ms have
 * passed. */
bool test_wait(bool (*check)(void *context), void *context, int timeout_ms);

struct test_broker {
    pid_t pid; /* 0: not running */
    int port;
    char folder[64];
    char address[32]; /* 127.0.0.1:port */
};

/* Makes the folder and picks the port, and starts nothing. */
void test_broker_prepare(struct test_broker *broker);

/* Prepares, and starts a broker that keeps sessions and retained messages in its folder when it ends in
 * peace. extra_config (may be NULL) stands behind its listener; "%s" in it is the folder. */
void test_broker_start(struct test_broker *broker, const char *extra_config);

/* Starts a prepared broker. */
void test_broker_run(struct test_broker *broker, const char *extra_config);

void test_broker_stop(struct test_broker *broker);    /* in peace: it saves */
void test_broker_kill(struct test_broker *broker);    /* as a power cut would */
void test_broker_restart(struct test_broker *broker); /* same port, same files; after stop or kill */
void test_broker_remove(struct test_broker *broker);  /* kills it and removes its files */

/* How often a text stands in the broker's log. */
int test_broker_logged(const struct test_broker *broker, const char *text);

struct test_message {
    char *topic;
    char *payload; /* with a NUL behind it */
    size_t size;
    int qos;
    bool retain;
};

struct test_subscriber {
    struct mosquitto *library;
    char filter[128];
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct test_message *messages;
    size_t count, capacity;
    bool subscribed;
};

/* Connects and subscribes with QoS 2, in a session that outlives its connection; it comes back by itself
 * after an outage. Returns when the broker has confirmed. */
void test_subscriber_start(struct test_subscriber *subscriber, const struct test_broker *broker,
                           const char *id, const char *filter);
void test_subscriber_stop(struct test_subscriber *subscriber);

/* How many messages came on that topic; NULL: on any. */
size_t test_subscriber_count(struct test_subscriber *subscriber, const char *topic);

/* Wait until so many came, or until the last on a topic has that payload. Return false when the time is over.
 */
bool test_subscriber_wait_count(struct test_subscriber *subscriber, const char *topic, size_t count,
                                int timeout_ms);
bool test_subscriber_wait_payload(struct test_subscriber *subscriber, const char *topic, const char *payload,
                                  int timeout_ms);

/* Copies the payload of the index-th message on that topic; false when there is none. */
bool test_subscriber_payload(struct test_subscriber *subscriber, const char *topic, size_t index,
                             char *payload, size_t size);

#endif
