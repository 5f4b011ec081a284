/*
 * The sink of all ports: renders readings and hands them to the publisher.
 */
#ifndef FIELDGATE_GATEWAY_OUTLET_H
#define FIELDGATE_GATEWAY_OUTLET_H

#include "commands.h"

#include "fieldgate/gateway.h"

struct fg_outlets {
    struct fg_sink sink;
    struct fg_publisher *publisher;
    struct fg_commands *commands; /* NULL: there are none */
    const char *gateway;          /* the id, and the base topic expanded with it */
    const char *base;
};

void fg_outlets_init(struct fg_outlets *outlets, struct fg_publisher *publisher, struct fg_commands *commands,
                     const char *gateway, const char *base);

#endif
