/*
 * PUBLISH packets of QoS 0, encoded here and written together. They need nothing of the library but its
 * socket, and it would allocate, lock and write for each of them. One thread at a time; never blocks.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_DIRECT_H
#define FIELDGATE_MQTT_PUBLISHER_DIRECT_H

#include <stdbool.h>
#include <stddef.h>

struct fg_publication;

struct fg_direct {
    unsigned char *bytes; /* NULL before the first packet */
    size_t begin, end;    /* of what is not written */
    size_t packet;        /* begin of the first packet that is not wholly written */
};

/* Frees what it holds. All zeros is an empty one. */
void fg_direct_fini(struct fg_direct *direct);

/* Forgets what is not written. */
void fg_direct_clear(struct fg_direct *direct);

static inline bool fg_direct_is_empty(const struct fg_direct *direct)
{
    return direct->begin == direct->end;
}

/* Appends a packet (MQTT 3.1.1, 3.3; with v5 MQTT 5.0, 3.3, without properties). Returns false when there is
 * no room for it. */
bool fg_direct_put(struct fg_direct *direct, const struct fg_publication *publication, bool v5);

/* Writes what the socket takes. Returns 0 when nothing is left; -EAGAIN; another negative errno when the
 * connection is broken. *packets: how many were written to their end. */
int fg_direct_write(struct fg_direct *direct, int fd, size_t *packets);

#endif
