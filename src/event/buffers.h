/*
 * Buffers for models that read before a worker takes what was read: a bounded number of them, made when they
 * are first needed, shared by all channels. Any thread.
 */
#ifndef FIELDGATE_EVENT_BUFFERS_H
#define FIELDGATE_EVENT_BUFFERS_H

#include <pthread.h>
#include <stddef.h>

struct fg_buffers {
    pthread_mutex_t lock;
    void *free; /* each begins with a pointer to the next */
    size_t made, most, size;
};

void fg_buffers_init(struct fg_buffers *buffers, size_t most, size_t size);
void fg_buffers_fini(struct fg_buffers *buffers); /* all have been given back */

/* NULL when all are in use, or without memory. */
void *fg_buffers_take(struct fg_buffers *buffers);
void fg_buffers_give(struct fg_buffers *buffers, void *buffer);

#endif
