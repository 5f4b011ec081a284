/*
 * A Modbus TCP device of the test's own, on a port of the loopback and a thread: it answers from a memory
 * that can be written, and counts what was written. One connection at a time, which may come back.
 */
#ifndef FIELDGATE_TEST_PLC_H
#define FIELDGATE_TEST_PLC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct fg_test_slave;

struct plc {
    unsigned port;
    atomic_uint writes; /* requests that write */
    atomic_uint reads;
    atomic_bool held;      /* what writes is executed, and answered when this ends */
    atomic_uint slow_naps; /* looks that it takes its time for before it answers what writes */
    /* plc.c's: */
    atomic_bool stop;
    int listener;
    pthread_t thread;
    pthread_mutex_t lock; /* of slave and times */
    struct fg_test_slave *slave;
    unsigned times[65536];
};

void plc_start(struct plc *plc);
void plc_stop(struct plc *plc);

/* How often this value was written to a single register. */
unsigned plc_times(struct plc *plc, unsigned value);

bool plc_coil(struct plc *plc, unsigned address);
unsigned plc_holding(struct plc *plc, unsigned address);

/* Waits until so many requests that write have come, and fails the test when they do not. */
void plc_wait_writes(struct plc *plc, unsigned count);

#endif
