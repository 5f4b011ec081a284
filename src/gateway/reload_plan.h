/*
 * What a new configuration changes for the gateway as a whole. Pure.
 */
#ifndef FIELDGATE_GATEWAY_RELOAD_PLAN_H
#define FIELDGATE_GATEWAY_RELOAD_PLAN_H

#include "fieldgate/gateway.h"

struct fg_reload_plan {
    bool reconnects;   /* the publisher gets other settings */
    char restart[512]; /* what is not applied: "gateway.workers, spool.path", "" for nothing */
};

/* started: what the gateway was started with; present: what holds now. */
void fg_reload_plan_make(struct fg_reload_plan *plan, const struct fg_settings *started,
                         const struct fg_settings *present, const struct fg_settings *next);

#endif
