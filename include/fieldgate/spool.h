/*
 * Settings of the spool: the store on disk of the messages that the broker has not acknowledged.
 */
#ifndef FIELDGATE_SPOOL_H
#define FIELDGATE_SPOOL_H

#include "fieldgate/setting.h"

#include <stdint.h>

enum { FG_SPOOL_OUTAGE, FG_SPOOL_ALWAYS };
enum { FG_SPOOL_DROP_OLDEST, FG_SPOOL_DROP_NEWEST, FG_SPOOL_BLOCK };

struct fg_spool_settings {
    char *path;
    int durability;      /* FG_SPOOL_OUTAGE, FG_SPOOL_ALWAYS */
    int64_t max_bytes;   /* 0: no limit */
    int64_t max_age_ns;  /* 0: no limit */
    int when_full;       /* FG_SPOOL_DROP_OLDEST, _DROP_NEWEST, _BLOCK */
    int64_t replay_rate; /* messages a second; 0: no limit */
};

/* The table of the spool group. */
extern const struct fg_schema fg_spool_schema;

#endif
