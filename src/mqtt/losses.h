/*
 * Readings that were lost and are still to be told on {base}/loss: one range an origin and reason, told at
 * most once a second, with at most one message under way. Under the publisher's lock; nothing blocks.
 *
 * A hole: none -> open (a loss) -> telling (handed to the connection) -> none, or open again where more was
 * lost meanwhile. An origin is held by reference as long as it has a hole that is open or telling.
 */
#ifndef FIELDGATE_MQTT_LOSSES_H
#define FIELDGATE_MQTT_LOSSES_H

#include "fieldgate/origin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fg_losses {
    struct fg_origin *first; /* origins with holes, by next_hole; each a reference */
    struct fg_origin **tail;
    int64_t due_ns; /* when the first hole may be told; INT64_MAX for none */
    uint64_t open;  /* readings in holes that are open */
    uint64_t telling;
};

void fg_losses_init(struct fg_losses *losses);
void fg_losses_fini(struct fg_losses *losses);

/* Merges a loss into the origin's hole. Returns whether due_ns is earlier than it was. */
bool fg_losses_add(struct fg_losses *losses, struct fg_origin *origin, enum fg_loss reason, int64_t wall_ms,
                   uint64_t count, int64_t now_ns);

/* A loss to tell. */
struct fg_loss_told {
    struct fg_origin *origin; /* a reference for the taker */
    enum fg_loss reason;
    struct fg_hole hole;
};

/* Takes the first hole that may be told now. Returns false, with due_ns set anew, when there is none. */
bool fg_losses_take(struct fg_losses *losses, int64_t now_ns, struct fg_loss_told *told);

/* What was taken has been told (or can never be). */
void fg_losses_done(struct fg_losses *losses, struct fg_origin *origin, enum fg_loss reason);

/* What was taken could not be handed over: it is open again. */
void fg_losses_undo(struct fg_losses *losses, const struct fg_loss_told *told);

/* All holes may be told now, whatever was told a moment ago: before a stop. */
void fg_losses_hurry(struct fg_losses *losses);

/* The payload, without NUL. Returns its length, or 0 when it does not fit. */
size_t fg_losses_print(const struct fg_loss_told *told, char *out, size_t size);

#endif
