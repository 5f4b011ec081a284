#include "proactor_buffers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static void *map(size_t size)
{
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static void put(struct fg_proactor_buffers *buffers, unsigned id)
{
    if (buffers->ring) {
        io_uring_buf_ring_add(buffers->ring, buffers->bytes + (size_t)id * buffers->size, buffers->size,
                              (unsigned short)id, io_uring_buf_ring_mask(buffers->count), 0);
        io_uring_buf_ring_advance(buffers->ring, 1);
    } else {
        buffers->stack[buffers->free] = (uint16_t)id;
    }
    buffers->free++;
}

static int provide(struct fg_proactor_buffers *buffers, struct io_uring *ring)
{
    buffers->ring = map(buffers->count * sizeof(struct io_uring_buf));
    if (!buffers->ring) {
        return -ENOMEM;
    }
    struct io_uring_buf_reg registration = { .ring_addr = (unsigned long)buffers->ring,
                                             .ring_entries = buffers->count,
                                             .bgid = (__u16)buffers->group };
    io_uring_buf_ring_init(buffers->ring);
    return io_uring_register_buf_ring(ring, &registration, 0);
}

int fg_proactor_buffers_open(struct fg_proactor_buffers *buffers, struct io_uring *ring, int group,
                             unsigned count, unsigned size)
{
    *buffers = (struct fg_proactor_buffers){ .count = count, .size = size, .group = group };
    pthread_mutex_init(&buffers->lock, NULL);
    buffers->bytes = map((size_t)count * size);
    int error = buffers->bytes ? 0 : -ENOMEM;
    if (!error && group == FG_NO_GROUP) {
        buffers->stack = calloc(count, sizeof *buffers->stack);
        error = buffers->stack ? 0 : -ENOMEM;
    } else if (!error) {
        error = provide(buffers, ring);
    }
    if (error) {
        fg_proactor_buffers_close(buffers);
        return error;
    }
    for (unsigned id = 0; id < count; id++) {
        put(buffers, id);
    }
    return 0;
}

void fg_proactor_buffers_close(struct fg_proactor_buffers *buffers)
{
    if (buffers->count == 0) {
        return;
    }
    if (buffers->ring) {
        munmap(buffers->ring, buffers->count * sizeof(struct io_uring_buf));
    }
    if (buffers->bytes) {
        munmap(buffers->bytes, (size_t)buffers->count * buffers->size);
    }
    free(buffers->stack);
    pthread_mutex_destroy(&buffers->lock);
    *buffers = (struct fg_proactor_buffers){ 0 };
}

void *fg_proactor_buffers_taken(struct fg_proactor_buffers *buffers, unsigned id)
{
    assert(id < buffers->count);
    pthread_mutex_lock(&buffers->lock);
    buffers->free--;
    pthread_mutex_unlock(&buffers->lock);
    return buffers->bytes + (size_t)id * buffers->size;
}

void *fg_proactor_buffers_take(struct fg_proactor_buffers *buffers)
{
    void *buffer = NULL;
    pthread_mutex_lock(&buffers->lock);
    if (buffers->free > 0) {
        buffer = buffers->bytes + (size_t)buffers->stack[--buffers->free] * buffers->size;
    }
    pthread_mutex_unlock(&buffers->lock);
    return buffer;
}

unsigned fg_proactor_buffers_want(struct fg_proactor_buffers *buffers)
{
    pthread_mutex_lock(&buffers->lock);
    unsigned available = buffers->free;
    buffers->wanted = available == 0;
    pthread_mutex_unlock(&buffers->lock);
    return available;
}

bool fg_proactor_buffers_give(struct fg_proactor_buffers *buffers, const void *buffer)
{
    size_t offset = (size_t)((const uint8_t *)buffer - buffers->bytes);
    pthread_mutex_lock(&buffers->lock);
    put(buffers, (unsigned)(offset / buffers->size));
    bool wanted = buffers->wanted;
    buffers->wanted = false;
    pthread_mutex_unlock(&buffers->lock);
    return wanted;
}
