/*
 * What was handed to the MQTT library and is not yet acknowledged: from packet identifier to what it was, in
 * the order of the handing over. A fixed number of entries; nothing is allocated after init. One thread.
 */
#ifndef FIELDGATE_MQTT_INFLIGHT_H
#define FIELDGATE_MQTT_INFLIGHT_H

#include "fieldgate/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fg_waiting_answer;

enum fg_flight_kind {
    FG_FLIGHT_MESSAGE,      /* a reading: message */
    FG_FLIGHT_STATUS,       /* the gateway's own status */
    FG_FLIGHT_AVAILABILITY, /* of origin */
    FG_FLIGHT_LOSS,         /* hole of origin, for reason */
    FG_FLIGHT_STATS,
    FG_FLIGHT_ANSWER, /* answer */
};

struct fg_flight {
    enum fg_flight_kind kind;
    uint16_t mid;
    uint8_t qos;
    size_t packet_bytes;              /* as fg_packet_bytes */
    struct fg_message *message;       /* owned */
    struct fg_origin *origin;         /* a reference */
    struct fg_waiting_answer *answer; /* owned; one piece of memory */
    enum fg_loss reason;
    struct fg_hole hole;
    /* The table's: */
    struct fg_flight *older, *newer;
    struct fg_flight *next; /* in its bucket, or free */
};

/* Oldest first. */
struct fg_inflight_bucket {
    struct fg_flight *first, *last;
};

struct fg_inflight {
    size_t count;
    size_t qos2; /* of these, with QoS 2 */
    size_t capacity;
    struct fg_flight *oldest, *newest;
    struct fg_flight *free;
    struct fg_inflight_bucket *buckets;
    size_t mask;
    struct fg_flight *entries;
};

int fg_inflight_init(struct fg_inflight *table, size_t capacity); /* 0 or -ENOMEM */
void fg_inflight_fini(struct fg_inflight *table);                 /* frees messages and references */

/* Adds a copy of flight as the newest; there must be room. */
void fg_inflight_add(struct fg_inflight *table, const struct fg_flight *flight);

/* The oldest entry with that identifier, or NULL. */
struct fg_flight *fg_inflight_find(const struct fg_inflight *table, uint16_t mid);

/* Takes an entry out; message and origin are the caller's, in *flight. */
void fg_inflight_remove(struct fg_inflight *table, struct fg_flight *entry, struct fg_flight *flight);

#endif
