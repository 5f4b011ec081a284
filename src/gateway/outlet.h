/*
 * The sink of all ports: renders readings and hands them to the publisher.
 */
#ifndef FIELDGATE_GATEWAY_OUTLET_H
#define FIELDGATE_GATEWAY_OUTLET_H

#include "commands.h"

#include "fieldgate/gateway.h"

#include <stdatomic.h>

/* Who watches readings as they go to the publisher. Zeroed: nobody does. */
struct fg_tap {
    atomic_uint watchers; /* raised after the two others are set */
    /* Any worker, one at a time for one device; must not wait. */
    void (*reading)(void *context, const struct fg_origin *origin, const struct fg_reading *reading);
    void *context;
};

struct fg_outlets {
    struct fg_sink sink;
    struct fg_tap tap;
    struct fg_publisher *publisher;
    struct fg_commands *commands; /* NULL: there are none */
    const char *gateway;          /* the id, and the base topic expanded with it */
    const char *base;
};

void fg_outlets_init(struct fg_outlets *outlets, struct fg_publisher *publisher, struct fg_commands *commands,
                     const char *gateway, const char *base);

#endif
