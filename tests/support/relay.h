/*
 * A Modbus device that can be written to, as the test plays it over a real pty or socket. It holds coils and
 * registers, writes down the requests that change them, and does not answer, or with an exception, where it
 * is told to.
 */
#ifndef FIELDGATE_TEST_RELAY_H
#define FIELDGATE_TEST_RELAY_H

#include "support/modbus.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RELAY_LOG 256

struct relay {
    int fd;
    int listener; /* where who asks can connect again; -1: nowhere */
    enum fg_modbus_mode mode;
    atomic_bool silent;      /* answers nothing, and does nothing */
    atomic_bool deaf;        /* does what it is told, and answers nothing */
    atomic_uint lacks;       /* functions that it does not know, as bits */
    atomic_uint illegal;     /* a register that it refuses; 0: none */
    atomic_uint requests;    /* that came */
    atomic_uint connections; /* after the first */
    pthread_mutex_t mutex;
    /* Under the mutex. */
    struct fg_test_slave memory;
    size_t log_count;
    char log[RELAY_LOG][16]; /* writes: "5@3" is function 5 at address 3 */
    /* Its thread's own. */
    atomic_bool stop;
    pthread_t thread;
    bool started;
    uint8_t input[1024];
    size_t size;
};

void relay_start(struct relay *relay);
void relay_stop(struct relay *relay);

/* All writes so far, with blanks between. */
const char *relay_writes(struct relay *relay);
uint16_t relay_register(struct relay *relay, size_t address);
bool relay_coil(struct relay *relay, size_t address);

/* Waits for so many more requests. */
void relay_wait_requests(struct relay *relay, unsigned count);

#endif
