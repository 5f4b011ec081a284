/*
 * The availability of devices, as it was last set and as the broker was last told. Under the publisher's
 * lock; nothing blocks. An origin stays known until it is retired, or another origin of the same device takes
 * its place.
 */
#ifndef FIELDGATE_MQTT_AVAILABILITY_H
#define FIELDGATE_MQTT_AVAILABILITY_H

#include "fieldgate/origin.h"

#include <stdbool.h>
#include <stddef.h>

/* Devices that can have an availability; the gateway keeps fewer. */
#define FG_AVAILABILITY_MAX 16384

/* Of these, how many that are gone are remembered after the broker was told: should the connection break
 * before it got that, they are told again. */
#define FG_AVAILABILITY_GONE_MAX 64

struct fg_availability {
    struct fg_origin *first; /* by next_known; each a reference */
    size_t count;
    size_t pending; /* of these, not announced */
    size_t gone;    /* of these, retired */
};

void fg_availability_init(struct fg_availability *known);
void fg_availability_fini(struct fg_availability *known);

/* Returns 1 when there is something to announce now, 0 when nothing changed, -ENOSPC when there is no room.
 */
int fg_availability_set(struct fg_availability *known, struct fg_origin *origin, bool online);

/* The device is gone, and so offline. Returns as fg_availability_set. */
int fg_availability_retire(struct fg_availability *known, struct fg_origin *origin);

/* The broker is a new one: all is to be announced. */
void fg_availability_forget(struct fg_availability *known);

/* All devices go offline, before a stop. */
void fg_availability_all_offline(struct fg_availability *known);

/* Takes one that is to be announced, and takes it for announced. The caller gets a reference; NULL for none.
 */
struct fg_origin *fg_availability_take(struct fg_availability *known, bool *online);

/* It could not be handed over: it is to be announced again. */
void fg_availability_undo(struct fg_availability *known, struct fg_origin *origin);

#endif
