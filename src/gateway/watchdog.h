/*
 * Tells the service manager that the gateway is alive, as often as that wants it ($WATCHDOG_USEC), and only
 * while everything that has a thread moves: the main loop, each worker, the publisher. On a thread of its
 * own, which touches no lock of theirs: it must be able to name who is stuck.
 *
 * Each half of the time all are asked to show that they move, sleeping ones too. When all have, the service
 * manager is told. Who has not within a third of the time is named in the log, and after the whole of it the
 * service manager makes an end of the process.
 */
#ifndef FIELDGATE_GATEWAY_WATCHDOG_H
#define FIELDGATE_GATEWAY_WATCHDOG_H

#include "fieldgate/loop.h"
#include "fieldgate/publisher.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Embedded. */
struct fg_watchdog {
    struct fg_loop *loop;
    struct fg_publisher *publisher;
    int64_t timeout_ns;
    int64_t held_ns; /* since when the publisher has been looking up a name; 0: it has not */
    struct fg_task beat;
    atomic_bool beat_due; /* posted to the main loop, which has not come to it */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool end;
    bool runs;
    pthread_t thread;
};

/* Begins, if the service manager wants it. Main thread, when loop and publisher run. */
void fg_watchdog_start(struct fg_watchdog *watchdog, struct fg_loop *loop, struct fg_publisher *publisher);

/* Ends, and waits for the thread, which is at once. Before the publisher is stopped and the loop is closed;
 * main thread. Nothing where it was not started. */
void fg_watchdog_stop(struct fg_watchdog *watchdog);

#endif
