/*
 * What has arrived of a load's numbered lines, by connection: the first arrivals must come in order; after an
 * outage some may come again.
 */
#ifndef FIELDGATE_TEST_ARRIVALS_H
#define FIELDGATE_TEST_ARRIVALS_H

#include "support/subscriber.h"

#include <stdbool.h>

#define ARRIVALS_CONNECTIONS 64

struct arrivals {
    unsigned next[ARRIVALS_CONNECTIONS];
    unsigned total;   /* first arrivals */
    unsigned again;   /* lines that had arrived already */
    unsigned missing; /* numbers left out; those that come later count as again */
    unsigned
        foreign; /* messages on a state topic that are no line of the load, or not of that topic's device */
    unsigned awaited; /* for arrivals_complete */
};

/* Counts, in place of keeping them, all messages of topics that end with "/state". */
void arrivals_watch(struct arrivals *arrivals, struct subscriber *subscriber);

/* Reads until this many first arrivals are there; fails the test when they do not come. */
void arrivals_wait(struct arrivals *arrivals, struct subscriber *subscriber, unsigned total, int64_t ms);

#endif
