/* The rings of the proactor: how they are made, and turns of submitting and collecting. Main thread. */
#ifndef FIELDGATE_EVENT_PROACTOR_RING_H
#define FIELDGATE_EVENT_PROACTOR_RING_H

#include <liburing.h>
#include <stdbool.h>

/* Makes a ring that is not enabled: the thread that enables it is the one that it works for. Returns 0 or a
 * negative errno. */
int fg_proactor_ring_open(struct io_uring *ring, unsigned requests, unsigned completions);

/* On the thread that submits and collects from now on. */
int fg_proactor_ring_enable(struct io_uring *ring);

/*
 * One system call: submits what is prepared and collects; with sleep it waits for a completion. What the
 * kernel could not take now stays prepared. Returns 0 or a negative errno, of which none is -EINTR.
 */
int fg_proactor_ring_turn(struct io_uring *ring, bool sleep);

#endif
