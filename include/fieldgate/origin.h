/*
 * Who a message comes from: the names and the counters of one device, shared between the device and its
 * messages on their way to the broker. Reference counted; any thread; nothing blocks.
 */
#ifndef FIELDGATE_ORIGIN_H
#define FIELDGATE_ORIGIN_H

#include "fieldgate/reason.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Readings of one origin that were lost for one reason and not yet told. Guarded by the publisher's lock. */
struct fg_hole {
    int64_t from_ms; /* Unix ms of the first and of the last reading lost */
    int64_t to_ms;
    uint64_t count;
    int64_t next_ns; /* when the next may be told */
    bool telling;    /* a message about the one before is under way */
};

struct fg_origin {
    atomic_uint references;
    atomic_ullong received;                  /* frames taken as this device's */
    atomic_ullong rejected[FG_REASON_COUNT]; /* frames of this device that were rejected */
    atomic_ullong suppressed;                /* readings held back by the report policy */
    atomic_ullong published;                 /* messages handed to the broker connection */
    atomic_ullong acknowledged;              /* of those, acknowledged (QoS 0: written) */
    atomic_ullong lost[FG_LOSS_COUNT];       /* messages lost */
    _Atomic int64_t taken_ns;                /* when its latest reading came (fg_clock_now_ns); 0: none has */
    atomic_bool available; /* as the device was last found; of those with an availability also below */
    /* Of a device that is asked: requests, those that were not answered, answers that were exceptions, and
     * periods in which it was not asked. */
    atomic_ullong polls, timeouts, exceptions, missed;
    bool polled; /* it is one; fixed once it is told of */
    /* The publisher's, under its lock: */
    struct fg_origin *next_known; /* list of origins with an availability */
    struct fg_origin *next_hole;  /* list of origins with holes to tell */
    bool has_hole;
    bool known;
    bool online;
    bool announced; /* the broker has been given the present availability */
    bool gone;      /* nobody will set it any more */
    struct fg_hole holes[FG_LOSS_COUNT];
    /* Fixed: */
    const char *port;   /* both stand behind the struct */
    const char *device; /* as it stands in topics */
};

/* A new origin with one reference, or NULL without memory. Both names are copied. */
struct fg_origin *fg_origin_new(const char *port, const char *device);
struct fg_origin *fg_origin_ref(struct fg_origin *origin);
void fg_origin_unref(struct fg_origin *origin);

static inline void fg_count(atomic_ullong *counter, unsigned long long by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static inline unsigned long long fg_counted(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
