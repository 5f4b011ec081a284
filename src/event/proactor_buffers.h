/*
 * Buffers of the proactor: a fixed number of one size, lent to one operation at a time. Those with a group
 * number are provided to the kernel, which takes one at the moment when it has bytes to put into it, so that
 * an operation that waits holds none; without a group the main thread takes them itself. Workers give them
 * back, which is no system call.
 *
 * The memory is mapped and not touched: what was never used costs nothing.
 */
#ifndef FIELDGATE_EVENT_PROACTOR_BUFFERS_H
#define FIELDGATE_EVENT_PROACTOR_BUFFERS_H

#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FG_NO_GROUP (-1)

struct fg_proactor_buffers {
    pthread_mutex_t lock;
    struct io_uring_buf_ring *ring; /* NULL without a group */
    uint8_t *bytes;
    unsigned count, size;
    unsigned free; /* the kernel may have taken some of them and not told yet */
    bool wanted;   /* somebody waits for the next one that is given back */
    int group;
    uint16_t *stack; /* the free ones, without a group */
};

/* Returns 0 or a negative errno (then nothing is held). count is a power of two up to 32768. */
int fg_proactor_buffers_open(struct fg_proactor_buffers *buffers, struct io_uring *ring, int group,
                             unsigned count, unsigned size);

/* The ring is gone, or enabled no more. Also of what was never opened, when it is all zero. */
void fg_proactor_buffers_close(struct fg_proactor_buffers *buffers);

/* The buffer that a completion names. Main thread. */
void *fg_proactor_buffers_taken(struct fg_proactor_buffers *buffers, unsigned id);

/* A buffer without the kernel, or NULL. Main thread. */
void *fg_proactor_buffers_take(struct fg_proactor_buffers *buffers);

/* How many are free; with 0 the next one given back will be told. Main thread. */
unsigned fg_proactor_buffers_want(struct fg_proactor_buffers *buffers);

/* Gives back. Returns whether it was waited for. Any thread. */
bool fg_proactor_buffers_give(struct fg_proactor_buffers *buffers, const void *buffer);

#endif
