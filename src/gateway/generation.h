/*
 * A configuration file as it was read at one time. Ports, the publisher and the gateway refer to what it
 * says; it is freed when the last of them has let go. Main thread.
 */
#ifndef FIELDGATE_GATEWAY_GENERATION_H
#define FIELDGATE_GATEWAY_GENERATION_H

#include "fieldgate/config.h"
#include "fieldgate/gateway.h"

struct fg_generation {
    unsigned references;
    struct fg_config *config;
    struct fg_settings settings; /* what it says, less what the command line says in its place */
};

/* Takes config over, on failure too. Has one reference; NULL without memory. */
struct fg_generation *fg_generation_new(struct fg_config *config, const struct fg_gateway_options *options);

struct fg_generation *fg_generation_ref(struct fg_generation *generation);
void fg_generation_unref(struct fg_generation *generation);

#endif
