/*
 * A line of energy meters as the test plays it, over a real pty or socket: it answers requests, and does so
 * wrongly where it is told to. What it has measured says whose it is:
 *
 *   input and holding registers: pairs, a uint32 of unit << 28 | address << 20 | number of the answer
 *   coils and discrete inputs:   fg_test_discrete of the address
 *
 * So each value that comes out at the other end tells which answer brought it.
 */
#ifndef FIELDGATE_TEST_METER_H
#define FIELDGATE_TEST_METER_H

#include "fieldgate/modbus.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum meter_fault {
    METER_RIGHT,
    METER_LATE,           /* after the timeout */
    METER_TWICE,          /* and once more at once */
    METER_TWICE_LATER,    /* and once more after the next request */
    METER_FOREIGN_UNIT,   /* as another unit */
    METER_WRONG_FUNCTION, /* to another function */
    METER_TOO_LONG,       /* with a register too many */
    METER_TOO_SHORT,      /* and one too few */
    METER_WRONG_CHECK,    /* CRC; on TCP the transaction */
    METER_ECHO,           /* our own request first */
    METER_NOISE_BEFORE,
    METER_NOISE_AFTER,
    METER_EXCEPTION_1,
    METER_EXCEPTION_4,
    METER_EXCEPTION_6,
    METER_SILENT,
    METER_CUT,  /* the end is missing */
    METER_HALF, /* the second half comes late */
    METER_FAULTS,
};

#define METER_UNITS 16
#define METER_QUEUE 64

struct meter {
    int fd;
    int listener; /* where who asks can connect again; -1: nowhere */
    enum fg_modbus_mode mode;
    int64_t timeout_ns;    /* of those who ask: what is late is later */
    int64_t turnaround_ns; /* until an answer begins */
    uint64_t random;       /* seed */
    atomic_uint percent;   /* of answers that are faulty, */
    atomic_uint faults;    /* by the bits of these kinds */
    atomic_uint dead;      /* units that say nothing, as bits */
    atomic_uint illegal;   /* input registers at this address are refused with exception 2; 0: none */
    atomic_bool stop;
    pthread_t thread;
    bool started;
    /* What it did. */
    atomic_uint requests;
    atomic_uint most;        /* answers under way at a time */
    atomic_uint connections; /* after the first */
    atomic_uint good;        /* whole and right answers with registers that were written, doubles included */
    atomic_uint made[METER_FAULTS];      /* by kind */
    atomic_uint unanswered[METER_UNITS]; /* requests in a row without a good answer or exception */
    /* Its thread's own. */
    uint32_t number;
    uint8_t input[FG_MODBUS_ADU_MAX * 2];
    size_t size;
    struct {
        int64_t due_ns; /* 0: unused; 1: with the next request */
        uint8_t adu[FG_MODBUS_ADU_MAX + 8];
        size_t size;
        bool good;
    } queue[METER_QUEUE];
};

/* All other fields are set. fd stays the caller's, and is not closed before the meter is stopped. */
void meter_start(struct meter *meter);
void meter_stop(struct meter *meter);

#endif
