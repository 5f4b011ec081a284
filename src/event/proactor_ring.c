#include "proactor_ring.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

struct making {
    struct io_uring *ring;
    unsigned requests, completions;
    int error;
};

static void *make(void *argument)
{
    struct making *making = argument;
    const unsigned common = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    /* With deferred task work completions are made when the main thread asks for them, not in the middle of
     * what it does (Linux 6.1); before, at least without an interrupt of the other processor (5.19). */
    static const unsigned better[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
    };
    making->error = -EINVAL;
    for (size_t i = 0; i < sizeof better / sizeof better[0] && making->error == -EINVAL; i++) {
        struct io_uring_params params = { .flags = common | better[i], .cq_entries = making->completions };
        making->error = io_uring_queue_init_params(making->requests, making->ring, &params);
    }
    return NULL;
}

/* The kernel remembers which threads had to do with a ring, and when the ring ends it interrupts what they
 * are in, so that an accept or epoll_wait of somebody who only opened, or probed, would fail with EINTR. A
 * thread that is gone is not remembered. */
int fg_proactor_ring_open(struct io_uring *ring, unsigned requests, unsigned completions)
{
    struct making making = { .ring = ring, .requests = requests, .completions = completions };
    pthread_t thread;
    int error = pthread_create(&thread, NULL, make, &making);
    if (error) {
        return -error;
    }
    pthread_join(thread, NULL);
    return making.error;
}

int fg_proactor_ring_enable(struct io_uring *ring)
{
    /* io_uring_enable_rings is declared by liburing 2.3 and not in it. */
    int error = io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (error >= 0) {
        io_uring_register_ring_fd(ring); /* spares a look-up in each call; goes without */
    }
    return error < 0 ? error : 0;
}

int fg_proactor_ring_turn(struct io_uring *ring, bool sleep)
{
    int got = sleep ? io_uring_submit_and_wait(ring, 1) : io_uring_submit_and_get_events(ring);
    switch (got) {
    case -EBUSY: /* completions that found no room are to be collected first */
    case -EINTR:
    case -ETIME:
        return 0;
    case -EAGAIN:
    case -ENOMEM: /* no memory for a request: the next turn tries again, a little later */
        poll(NULL, 0, 1);
        return 0;
    default:
        return got < 0 ? got : 0;
    }
}
