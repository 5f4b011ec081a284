/* What the gateway is called in topics. */
#ifndef FIELDGATE_GATEWAY_NAMES_H
#define FIELDGATE_GATEWAY_NAMES_H

#include "fieldgate/gateway.h"

struct fg_names {
    char id[65];
    char base[1100]; /* the base topic, expanded */
};

/* Looks the host name up where no id is set. Returns 0, -EMSGSIZE. */
int fg_names_choose(const struct fg_settings *settings, struct fg_names *names);

#endif
