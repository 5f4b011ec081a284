#include "poller.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH 128

/* Tags from here on are the main thread's own descriptors. */
#define WATCH_TAG UINT64_C(0xff000000)

int fg_poller_open(struct fg_poller *poller, const struct fg_model_ops *ops, struct fg_pool *pool)
{
    *poller = (struct fg_poller){ .base = { .ops = ops, .pool = pool } };
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll_fd < 0) {
        return -errno;
    }
    pthread_mutex_init(&poller->lock, NULL);
    return 0;
}

void fg_poller_close(struct fg_poller *poller)
{
    close(poller->epoll_fd);
    pthread_mutex_destroy(&poller->lock);
    fg_slots_fini(&poller->slots);
}

int fg_poller_probe(char *why, size_t why_size)
{
    (void)why;
    (void)why_size;
    return 0;
}

int fg_poller_watch(struct fg_model *model, int fd, void (*ready)(void *context), void *context)
{
    struct fg_poller *poller = (struct fg_poller *)model;
    assert(poller->watch_count < FG_POLLER_WATCHED);
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = WATCH_TAG + poller->watch_count };
    if (epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return -errno;
    }
    poller->watches[poller->watch_count].ready = ready;
    poller->watches[poller->watch_count].context = context;
    poller->watch_count++;
    return 0;
}

int fg_poller_add(struct fg_poller *poller, void *channel, uint64_t *tag)
{
    pthread_mutex_lock(&poller->lock);
    int error = fg_slots_add(&poller->slots, channel, tag);
    pthread_mutex_unlock(&poller->lock);
    return error;
}

void fg_poller_remove(struct fg_poller *poller, uint64_t tag)
{
    pthread_mutex_lock(&poller->lock);
    fg_slots_remove(&poller->slots, tag);
    pthread_mutex_unlock(&poller->lock);
}

int fg_poller_arm(struct fg_poller *poller, int fd, uint64_t tag, uint32_t events, bool registered)
{
    struct epoll_event event = { .events = events | EPOLLONESHOT, .data.u64 = tag };
    int operation = registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    return epoll_ctl(poller->epoll_fd, operation, fd, &event) < 0 ? -errno : 0;
}

int fg_poller_wait(struct fg_poller *poller, void (*dispatch)(void *channel, uint32_t events))
{
    struct epoll_event batch[BATCH];
    int count = epoll_wait(poller->epoll_fd, batch, BATCH, -1);
    if (count < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    for (int i = 0; i < count; i++) {
        pthread_mutex_lock(&poller->lock);
        void *channel = fg_slots_find(&poller->slots, batch[i].data.u64);
        if (channel) {
            dispatch(channel, batch[i].events);
        }
        pthread_mutex_unlock(&poller->lock);
    }
    for (int i = 0; i < count; i++) {
        uint64_t own = batch[i].data.u64 - WATCH_TAG;
        if (batch[i].data.u64 >= WATCH_TAG && own < poller->watch_count) {
            poller->watches[own].ready(poller->watches[own].context);
        }
    }
    return 0;
}
