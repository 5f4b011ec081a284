/*
 * The outbox: the bounded FIFO of messages between the workers and the publisher. What was taken out counts
 * against the bound until it is released, so that queue_bytes bounds what waits and what is in flight
 * together.
 *
 * Only fg_outbox_full may be called without the publisher's lock. Nothing here blocks.
 */
#ifndef FIELDGATE_MQTT_OUTBOX_H
#define FIELDGATE_MQTT_OUTBOX_H

#include "fieldgate/message.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct fg_outbox {
    struct fg_message *head;
    struct fg_message **tail;
    uint64_t offered; /* messages ever appended */
    size_t waiting;   /* messages in the list */
    size_t held;      /* messages taken and not yet released */
    size_t bytes;     /* of both */
    size_t limit;
    size_t refused_bytes; /* the largest offer refused since there was room last */
    atomic_bool full;
};

void fg_outbox_init(struct fg_outbox *outbox, size_t limit);
void fg_outbox_fini(struct fg_outbox *outbox); /* frees what waits */

/* Appends a chain, whole or not at all. Returns 0; -ENOBUFS: not now, and the outbox is full from here on
 * until fg_outbox_reopen; -EMSGSIZE: never. */
int fg_outbox_append(struct fg_outbox *outbox, struct fg_message *first);

/* Appends a chain that cannot wait elsewhere: up to twice the bound, or FG_OUTBOX_LAST_BYTES more than it.
 * Returns 0, -ENOBUFS. */
#define FG_OUTBOX_LAST_BYTES ((size_t)4 << 20)
int fg_outbox_append_last(struct fg_outbox *outbox, struct fg_message *first);

/* Another bound. What is there stays, even if it is more. */
void fg_outbox_set_limit(struct fg_outbox *outbox, size_t limit);

/* Takes up to count messages from the front, as a chain; NULL when nothing waits. */
struct fg_message *fg_outbox_take(struct fg_outbox *outbox, size_t count);

/* Gives back what count messages of bytes (fg_message_bytes) in all took up. */
void fg_outbox_release(struct fg_outbox *outbox, size_t count, size_t bytes);

/* Whether a full outbox has room again: below three quarters of the bound, and for what was refused. It is
 * full no longer when this returns true. */
bool fg_outbox_reopen(struct fg_outbox *outbox);

bool fg_outbox_full(const struct fg_outbox *outbox);

/* Whether it holds more than half of what it may: the spool, if there is one, should relieve it. */
static inline bool fg_outbox_is_half_full(const struct fg_outbox *outbox)
{
    return outbox->bytes > outbox->limit / 2;
}

#endif
