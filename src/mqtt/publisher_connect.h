/*
 * When and where the publisher connects. By the publisher's thread, which holds turn.
 *
 * The addresses are tried in turn, and after a round without a lasting connection there is a gap that grows.
 * While another address than the first is in use, the first is probed; when it answered several times in a
 * row, nothing more is handed over until all is acknowledged, and the connection is made there.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_CONNECT_H
#define FIELDGATE_MQTT_PUBLISHER_CONNECT_H

#include "address.h"
#include "publisher_probe.h"

#include <stdbool.h>
#include <stdint.h>

struct fg_publisher;
struct fg_flight;

struct fg_connector {
    int64_t barred_ns[FG_ADDRESSES_MAX]; /* not before; there, we are not wanted */
    bool distrusts;                      /* the connection was broken off for what the broker did */
    /* The way back to the first address: */
    struct fg_probe *probe; /* NULL: none */
    int64_t probe_ns;       /* when the next begins */
    unsigned answers;       /* in a row */
    unsigned needed;        /* of these, to go back */
    bool returning;         /* waits until nothing is in flight, */
    int64_t return_ns;      /* until then */
    bool returned;          /* the connection that is made or in use is the way back */
    /* The oldest message in flight, and since when it is: */
    const struct fg_flight *oldest;
    uint16_t oldest_mid;
    int64_t oldest_ns;
};

void fg_connect_init(struct fg_publisher *publisher);
void fg_connect_fini(struct fg_publisher *publisher);

/* Connects, gives a connect up, keeps the connection alive, when it is time for that. Gives the turn away
 * while a name is looked up. Does not come back if the publisher was left behind meanwhile. */
void fg_connect_step(struct fg_publisher *publisher, int64_t now_ns);

/* When that is. */
int64_t fg_connect_next_ns(const struct fg_publisher *publisher);

/* Sees what became of the connection since the last call. */
void fg_connect_note(struct fg_publisher *publisher);

#endif
