/*
 * What the library's callbacks record of what comes on subscriptions: they run under its locks, so they copy,
 * and do no more. Bounded; what is not taken in is counted.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_INBOX_H
#define FIELDGATE_MQTT_PUBLISHER_INBOX_H

#include "fieldgate/publisher.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Filters of one SUBSCRIBE or UNSUBSCRIBE, and how many of these are unconfirmed at most. */
#define FG_BATCH_FILTERS 64
#define FG_BATCHES       4

/* What a SUBACK or UNSUBACK said. */
struct fg_suback {
    int mid;
    size_t count; /* of codes; 0: it brought none */
    uint8_t codes[FG_BATCH_FILTERS];
};

struct fg_inbox {
    /* Any thread: */
    pthread_mutex_t lock;
    struct fg_arrival *first, **tail;
    size_t count, bytes;
    bool news;                /* the gateway is to be told */
    char retained_topic[256]; /* of the latest that was dropped, "": none since the last look */
    bool overrun_news;
    atomic_ullong retained, overrun;
    /* Of whoever holds the publisher's turn: */
    struct fg_suback subacks[FG_BATCHES];
    size_t suback_count;
};

struct mosquitto;

void fg_inbox_init(struct fg_inbox *inbox);
void fg_inbox_fini(struct fg_inbox *inbox);

/* To a handle whose user data is a struct fg_session with an inbox. */
void fg_inbox_attach(struct mosquitto *library);

#endif
