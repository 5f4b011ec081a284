/*
 * Proactor: the kernel (io_uring) reads, writes, accepts and connects. The main thread submits and collects,
 * all of a turn in one system call; finished operations are queued on the channel's strand, bytes included.
 * Workers never touch a descriptor but to close it.
 *
 * A worker hands its requests over by a list. The main thread takes the list before it sleeps and puts a mark
 * in its place; only who finds the mark wakes it, so that a busy main thread is never written to.
 */
#include "proactor.h"

#include "fieldgate/clock.h"
#include "io.h"
#include "models.h"
#include "proactor_channel.h"
#include "proactor_ring.h"
#include "tasks.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

const struct fg_proactor_sizes fg_proactor_sizes = {
    .requests = 256,
    .completions = 1024,
    .buffers = {
        [FG_PROACTOR_STREAM] = { 64, 16384 },
        [FG_PROACTOR_DATAGRAM] = { 16, 65536 }, /* the largest of UDP */
        [FG_PROACTOR_TTY] = { 8, 16384 },
    },
};

/* Stands in the list of requests while the main thread sleeps. */
static struct fg_request asleep;

static void ask(struct fg_proactor *proactor, struct fg_request *request, unsigned bits)
{
    if (atomic_fetch_or_explicit(&request->bits, bits | FG_ASK_QUEUED, memory_order_acq_rel) &
        FG_ASK_QUEUED) {
        return;
    }
    struct fg_request *old = atomic_load_explicit(&proactor->requests, memory_order_relaxed);
    do {
        request->next = old == &asleep ? NULL : old;
    } while (!atomic_compare_exchange_weak_explicit(&proactor->requests, &old, request, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (old == &asleep) {
        uint64_t one = 1;
        ssize_t put = write(proactor->wake_fd, &one, sizeof one);
        (void)put; /* fails only when the counter is full, and then the main thread wakes anyway */
    }
}

/* Takes what is asked for, in the order in which it was asked. */
static void take_requests(struct fg_proactor *proactor)
{
    struct fg_request *newest = atomic_exchange_explicit(&proactor->requests, NULL, memory_order_acq_rel);
    struct fg_request *first = NULL;
    while (newest && newest != &asleep) {
        struct fg_request *next = newest->next;
        newest->next = first;
        first = newest;
        newest = next;
    }
    while (first) {
        struct fg_request *request = first;
        first = first->next; /* it may be asked again as soon as its bits are gone */
        unsigned bits = atomic_exchange_explicit(&request->bits, 0, memory_order_acq_rel);
        if (request != &proactor->feed) {
            fg_proactor_take((struct fg_proactor_channel *)((char *)request -
                                                            offsetof(struct fg_proactor_channel, request)),
                             bits);
        }
    }
}

static bool fall_asleep(struct fg_proactor *proactor)
{
    struct fg_request *none = NULL;
    return atomic_compare_exchange_strong_explicit(&proactor->requests, &none, &asleep, memory_order_acq_rel,
                                                   memory_order_acquire);
}

/* Asks the kernel about the main thread's own descriptors, one answer each. Returns whether some are left for
 * want of room. */
static bool arm_own(struct fg_proactor *proactor)
{
    if (!proactor->wake_armed) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&proactor->ring);
        if (!sqe) {
            return true;
        }
        io_uring_prep_read(sqe, proactor->wake_fd, &proactor->wake_count, sizeof proactor->wake_count, 0);
        io_uring_sqe_set_data64(sqe, FG_TAG_WAKE);
        proactor->wake_armed = true;
    }
    for (unsigned i = 0; i < proactor->watch_count; i++) {
        struct fg_proactor_watch *watch = &proactor->watches[i];
        if (watch->armed) {
            continue;
        }
        struct io_uring_sqe *sqe = io_uring_get_sqe(&proactor->ring);
        if (!sqe) {
            return true;
        }
        io_uring_prep_poll_add(sqe, watch->fd, POLLIN);
        io_uring_sqe_set_data64(sqe, (uintptr_t)watch | FG_TAG_WATCH);
        watch->armed = true;
    }
    return false;
}

static void dispatch(struct fg_proactor *proactor, uint64_t data, int result, unsigned flags)
{
    void *pointer = (void *)((uintptr_t)data & ~(uintptr_t)FG_TAG_MASK);
    unsigned tag = (unsigned)data & FG_TAG_MASK;
    if (tag == FG_TAG_WAKE) {
        proactor->wake_armed = false;
    } else if (tag == FG_TAG_WATCH) {
        struct fg_proactor_watch *watch = pointer;
        watch->armed = false;
        watch->ready(watch->context);
    } else if (tag >= FG_TAG_CANCEL) {
        fg_proactor_cancel_completed(pointer, tag - FG_TAG_CANCEL);
    } else {
        fg_proactor_completed(pointer, tag - FG_TAG_OPERATION, result, flags);
    }
}

/* Not more than there is room for at once: the rest of an overflow comes with the next turn. */
static void collect(struct fg_proactor *proactor)
{
    unsigned ready = io_uring_cq_ready(&proactor->ring);
    proactor->counts.overflows += io_uring_cq_has_overflow(&proactor->ring);
    proactor->now_ns = ready > 0 ? fg_clock_now_ns() : 0;
    while (ready-- > 0) {
        struct io_uring_cqe *cqe = NULL;
        if (io_uring_peek_cqe(&proactor->ring, &cqe) || !cqe) {
            break;
        }
        uint64_t data = cqe->user_data;
        int result = cqe->res;
        unsigned flags = cqe->flags;
        io_uring_cqe_seen(&proactor->ring, cqe);
        dispatch(proactor, data, result, flags);
    }
}

static int wait_batch(struct fg_model *model)
{
    struct fg_proactor *proactor = (struct fg_proactor *)model;
    if (!proactor->enabled) {
        int error = fg_proactor_ring_enable(&proactor->ring);
        if (error) {
            return error;
        }
        proactor->enabled = true;
    }
    bool more = false;
    do {
        take_requests(proactor);
        more = arm_own(proactor);
        more = fg_proactor_work(proactor) || more;
    } while (!more && !fall_asleep(proactor));
    fg_pool_release(proactor->base.pool); /* what ended without the kernel does not wait for it */
    int error = fg_proactor_ring_turn(&proactor->ring, !more);
    if (!more) {
        take_requests(proactor); /* and the mark with them: awake */
    }
    if (!error) {
        collect(proactor);
    }
    return error;
}

void fg_proactor_get_counts(struct fg_model *model, struct fg_proactor_counts *counts)
{
    struct fg_proactor *proactor = (struct fg_proactor *)model;
    *counts = proactor->counts;
    for (int kind = 0; kind < FG_PROACTOR_KINDS; kind++) {
        struct fg_proactor_buffers *buffers = &proactor->buffers[kind];
        pthread_mutex_lock(&buffers->lock);
        counts->free[kind] = buffers->free;
        pthread_mutex_unlock(&buffers->lock);
    }
}

static int watch(struct fg_model *model, int fd, void (*ready)(void *context), void *context)
{
    struct fg_proactor *proactor = (struct fg_proactor *)model;
    assert(proactor->watch_count < FG_PROACTOR_WATCHES);
    proactor->watches[proactor->watch_count++] =
        (struct fg_proactor_watch){ .fd = fd, .ready = ready, .context = context };
    return 0;
}

static void close_model(struct fg_model *model)
{
    struct fg_proactor *proactor = (struct fg_proactor *)model;
    /* What the kernel still waits for points nowhere, but for the read of wake_fd, to which nobody writes. */
    io_uring_queue_exit(&proactor->ring);
    for (int kind = 0; kind < FG_PROACTOR_KINDS; kind++) {
        fg_proactor_buffers_close(&proactor->buffers[kind]);
    }
    close(proactor->wake_fd);
    free(proactor);
}

int fg_proactor_open(struct fg_pool *pool, const struct fg_proactor_sizes *sizes, struct fg_model **model)
{
    struct fg_proactor *proactor = calloc(1, sizeof *proactor);
    if (!proactor) {
        return -ENOMEM;
    }
    proactor->base = (struct fg_model){ .ops = &fg_model_proactor, .pool = pool };
    atomic_init(&proactor->requests, NULL);
    atomic_init(&proactor->feed.bits, 0);
    proactor->wake_fd = eventfd(0, EFD_CLOEXEC); /* blocking: the kernel waits where reading would */
    int error = proactor->wake_fd < 0 ? -errno : 0;
    if (!error) {
        error = fg_proactor_ring_open(&proactor->ring, sizes->requests, sizes->completions);
        if (error) {
            close(proactor->wake_fd);
        }
    }
    if (error) {
        free(proactor);
        return error;
    }
    for (int kind = 0; kind < FG_PROACTOR_KINDS && !error; kind++) {
        error = fg_proactor_buffers_open(&proactor->buffers[kind], &proactor->ring,
                                         kind == FG_PROACTOR_TTY ? FG_NO_GROUP : kind,
                                         sizes->buffers[kind].count, sizes->buffers[kind].bytes);
    }
    if (error) {
        close_model(&proactor->base);
        return error;
    }
    *model = &proactor->base;
    return 0;
}

static int open_model(struct fg_pool *pool, struct fg_model **model)
{
    return fg_proactor_open(pool, &fg_proactor_sizes, model);
}

/* --- the strand's side of a channel --- */

static void finished(struct fg_proactor_channel *channel, unsigned side)
{
    struct fg_proactor *proactor = fg_proactor_of(channel);
    struct fg_op **current = side == FG_IN ? &channel->base.in : &channel->base.out;
    struct fg_op *op = *current;
    void *buffer = side == FG_IN ? channel->buffer : NULL;
    if (buffer) {
        channel->buffer = NULL;
    }
    *current = NULL;
    /* A cancel that came too late must not meet the operation that is submitted next. */
    atomic_fetch_and_explicit(&channel->request.bits, ~((unsigned)FG_ASK_CANCEL << side),
                              memory_order_acq_rel);
    enum fg_proactor_kind kind = fg_proactor_kind_of(channel);
    op->done(op);
    if (buffer && fg_proactor_buffers_give(&proactor->buffers[kind], buffer)) {
        ask(proactor, &proactor->feed, FG_ASK_FEED);
    }
}

static void in_finished(struct fg_task *task)
{
    finished((struct fg_proactor_channel *)((char *)task -
                                            offsetof(struct fg_proactor_channel, sides[FG_IN].finished)),
             FG_IN);
}

static void out_finished(struct fg_task *task)
{
    finished((struct fg_proactor_channel *)((char *)task -
                                            offsetof(struct fg_proactor_channel, sides[FG_OUT].finished)),
             FG_OUT);
}

static void strand_closed(struct fg_strand *strand)
{
    struct fg_proactor_channel *channel = (struct fg_proactor_channel *)strand;
    void (*closed)(void *owner) = channel->base.closed;
    void *owner = channel->base.owner;
    free(channel);
    closed(owner);
}

/* Runs behind the last completions, when main thread and kernel know the channel no more. The descriptor is
 * closed here because the close of a serial line may wait for what is still to be sent. */
static void end(struct fg_task *task)
{
    struct fg_proactor_channel *channel =
        (struct fg_proactor_channel *)((char *)task - offsetof(struct fg_proactor_channel, end));
    fg_io_close(&channel->base, channel->fd);
    fg_accepted_free(channel->accepted);
    fg_strand_close(&channel->base.strand, strand_closed);
}

static int channel_new(struct fg_model *model, int fd, enum fg_channel_flags flags, void *owner,
                       struct fg_channel **channel)
{
    size_t messages = flags & FG_CHANNEL_DATAGRAM ? sizeof(struct msghdr) + sizeof(struct iovec) : 0;
    struct fg_proactor_channel *made = calloc(1, sizeof *made + messages);
    if (!made) {
        return -ENOMEM;
    }
    made->base.model = model;
    made->base.owner = owner;
    made->base.fd = made->fd = fd;
    made->base.flags = (uint8_t)flags;
    made->sides[FG_IN].finished.run = in_finished;
    made->sides[FG_OUT].finished.run = out_finished;
    made->end.run = end;
    atomic_init(&made->request.bits, 0);
    fg_strand_init(&made->base.strand, model->pool);
    *channel = &made->base;
    return 0;
}

static int submit(struct fg_channel *base, struct fg_op *op)
{
    struct fg_proactor_channel *channel = (struct fg_proactor_channel *)base;
    if (base->closing) {
        return -ECANCELED;
    }
    unsigned side = op->kind == FG_OP_SEND || op->kind == FG_OP_CONNECT ? FG_OUT : FG_IN;
    struct fg_op **current = side == FG_IN ? &base->in : &base->out;
    if (*current) {
        return -EBUSY;
    }
    op->channel = base;
    if (op->kind == FG_OP_SEND) {
        op->send.sent = 0;
    }
    *current = op;
    ask(fg_proactor_of(channel), &channel->request, (unsigned)FG_ASK_SUBMIT << side);
    return 0;
}

static void cancel(struct fg_channel *base, struct fg_op *op)
{
    struct fg_proactor_channel *channel = (struct fg_proactor_channel *)base;
    if (base->closing || (base->in != op && base->out != op)) {
        return;
    }
    unsigned side = base->in == op ? FG_IN : FG_OUT;
    ask(fg_proactor_of(channel), &channel->request, (unsigned)FG_ASK_CANCEL << side);
}

static void channel_close(struct fg_channel *base, void (*closed)(void *owner))
{
    struct fg_proactor_channel *channel = (struct fg_proactor_channel *)base;
    assert(!base->closing);
    base->closing = true;
    base->closed = closed;
    base->fd = -1;
    ask(fg_proactor_of(channel), &channel->request, FG_ASK_CLOSE); /* the last one */
}

const struct fg_model_ops fg_model_proactor = {
    .name = "proactor",
    .help = "The kernel reads and writes (io_uring); the main thread submits and collects; workers decode.",
    .probe = fg_proactor_probe,
    .open = open_model,
    .close = close_model,
    .watch = watch,
    .wait = wait_batch,
    .channel_new = channel_new,
    .submit = submit,
    .cancel = cancel,
    .channel_close = channel_close,
};
