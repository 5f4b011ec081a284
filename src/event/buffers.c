#include "buffers.h"

#include <stdlib.h>

void fg_buffers_init(struct fg_buffers *buffers, size_t most, size_t size)
{
    *buffers = (struct fg_buffers){ .most = most, .size = size };
    pthread_mutex_init(&buffers->lock, NULL);
}

void fg_buffers_fini(struct fg_buffers *buffers)
{
    while (buffers->free) {
        void *buffer = buffers->free;
        buffers->free = *(void **)buffer;
        free(buffer);
    }
    pthread_mutex_destroy(&buffers->lock);
}

void *fg_buffers_take(struct fg_buffers *buffers)
{
    pthread_mutex_lock(&buffers->lock);
    void *buffer = buffers->free;
    if (buffer) {
        buffers->free = *(void **)buffer;
    } else if (buffers->made < buffers->most) {
        buffer = malloc(buffers->size);
        buffers->made += buffer != NULL;
    }
    pthread_mutex_unlock(&buffers->lock);
    return buffer;
}

void fg_buffers_give(struct fg_buffers *buffers, void *buffer)
{
    pthread_mutex_lock(&buffers->lock);
    *(void **)buffer = buffers->free;
    buffers->free = buffer;
    pthread_mutex_unlock(&buffers->lock);
}
