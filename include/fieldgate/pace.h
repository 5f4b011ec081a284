/*
 * When the main loop rests between two turns. What comes while it rests is found together by the next wait,
 * so that a busy gateway pays for one wake-up of main thread, worker and broker connection for several
 * readings.
 *
 * On average there is no more than a turn an interval (the generic cell rate algorithm, ITU-T I.371, annex
 * A): a quiet gateway has turns to spare, and never rests. Turns that follow each other almost at once are
 * driven by what is waiting already, not by what arrives: resting would only slow it down, and there is none.
 * Pure.
 */
#ifndef FIELDGATE_PACE_H
#define FIELDGATE_PACE_H

#include <stdint.h>

/* Turns that may follow each other at once after a quiet time. */
#define FG_PACE_BURST 16

/* A burst whose turns are this close works off what is there. */
#define FG_PACE_CLOSE_NS (25 * INT64_C(1000))

/* Rests in a row after which a burst without rest shows what it is now. */
#define FG_PACE_RESTS 64

struct fg_pace {
    int64_t interval_ns; /* 0: no rest */
    int64_t due_ns;      /* when the turns so far would be over, one an interval */
    int64_t burst_ns;    /* when the burst began */
    unsigned rests;
};

/* Counts a turn that ended at now_ns. Returns how long to rest, in nanoseconds, at most an interval. */
int64_t fg_pace_turn(struct fg_pace *pace, int64_t now_ns);

#endif
