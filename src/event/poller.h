/*
 * What the models on epoll(7) share: the set of descriptors, the main thread's own ones, and the slots by
 * which events find their channels. A model's struct begins with a struct fg_poller.
 */
#ifndef FIELDGATE_EVENT_POLLER_H
#define FIELDGATE_EVENT_POLLER_H

#include "fieldgate/event_model.h"
#include "slots.h"

#include <pthread.h>

#define FG_POLLER_WATCHED 8

struct fg_poller {
    struct fg_model base;
    int epoll_fd;
    size_t watch_count;
    struct {
        void (*ready)(void *context);
        void *context;
    } watches[FG_POLLER_WATCHED];
    pthread_mutex_t lock; /* of slots; held while an event is dispatched */
    struct fg_slots slots;
};

/* Returns 0 or a negative errno. */
int fg_poller_open(struct fg_poller *poller, const struct fg_model_ops *ops, struct fg_pool *pool);
void fg_poller_close(struct fg_poller *poller);

/* As fg_model_ops.probe: epoll is always there. */
int fg_poller_probe(char *why, size_t why_size);

/* As fg_model_ops.watch. */
int fg_poller_watch(struct fg_model *model, int fd, void (*ready)(void *context), void *context);

/* Adds and removes a channel. After remove no event of it is dispatched any more, nor is one being
 * dispatched. */
int fg_poller_add(struct fg_poller *poller, void *channel, uint64_t *tag);
void fg_poller_remove(struct fg_poller *poller, uint64_t tag);

/* Asks for one event of a descriptor (EPOLLONESHOT). registered: it was asked for before. Any thread. Returns
 * 0 or a negative errno. */
int fg_poller_arm(struct fg_poller *poller, int fd, uint64_t tag, uint32_t events, bool registered);

/* Waits, and dispatches one batch: channels with the lock held, so that none goes meanwhile; then the main
 * thread's own descriptors. Returns 0 or a negative errno. */
int fg_poller_wait(struct fg_poller *poller, void (*dispatch)(void *channel, uint32_t events));

#endif
