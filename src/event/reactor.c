/*
 * Reactor: the main thread waits for readiness (epoll, EPOLLONESHOT) and queues the channel's turn; a worker
 * makes the system calls and arms the descriptor again as its last step. Between an event and that step the
 * kernel is silent about the descriptor, so that no two workers ever stand in the same channel.
 */
#include "io.h"
#include "models.h"
#include "poller.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Beside the epoll bits in reactor_channel.events: a turn without an event of the kernel. */
#define KICKED (1U << 24)

struct reactor_channel {
    struct fg_channel base;
    struct fg_task turn;
    atomic_uint events; /* not 0 exactly while turn stands in the mailbox */
    uint64_t tag;
    uint32_t armed;  /* what epoll was last asked for; 0 after an event */
    bool registered; /* epoll knows the descriptor */
    bool in_turn;
    bool in_ready, out_ready; /* a system call is worth trying */
    bool in_cancelled, out_cancelled;
    bool connecting;
    bool over; /* the strand is closing */
};

static void turn(struct fg_task *task);

static struct fg_poller *poller_of(struct reactor_channel *channel)
{
    return (struct fg_poller *)channel->base.model;
}

static void close_model(struct fg_model *model)
{
    fg_poller_close((struct fg_poller *)model);
    free(model);
}

static int open_model(struct fg_pool *pool, struct fg_model **model)
{
    struct fg_poller *poller = malloc(sizeof *poller);
    int error = poller ? fg_poller_open(poller, &fg_model_reactor, pool) : -ENOMEM;
    if (error) {
        free(poller);
        return error;
    }
    *model = &poller->base;
    return 0;
}

static void queue_turn(struct reactor_channel *channel, uint32_t events)
{
    if (atomic_fetch_or_explicit(&channel->events, events, memory_order_acq_rel) == 0) {
        fg_strand_post(&channel->base.strand, &channel->turn);
    }
}

/* A channel that is found here gets its turn before its strand can close: to close it needs the poller's
 * lock. */
static void dispatch(void *channel, uint32_t events)
{
    queue_turn(channel, events);
}

static int wait_batch(struct fg_model *model)
{
    return fg_poller_wait((struct fg_poller *)model, dispatch);
}

static int channel_new(struct fg_model *model, int fd, enum fg_channel_flags flags, void *owner,
                       struct fg_channel **channel)
{
    struct reactor_channel *made = calloc(1, sizeof *made);
    if (!made) {
        return -ENOMEM;
    }
    made->base.model = model;
    made->base.owner = owner;
    made->base.fd = fd;
    made->base.flags = (uint8_t)flags;
    made->turn.run = turn;
    fg_strand_init(&made->base.strand, model->pool);
    int error = fg_poller_add((struct fg_poller *)model, made, &made->tag);
    if (error) {
        free(made);
        return error;
    }
    *channel = &made->base;
    return 0;
}

static uint32_t wanted(const struct reactor_channel *channel)
{
    uint32_t events = 0;
    const struct fg_op *in = channel->base.in;
    if (in && in->kind == FG_OP_POLL) {
        /* Errors and hang-up come unasked; naming them arms a POLL that asks for nothing else. */
        events |= fg_io_poll_events(in);
    } else if (in) {
        events |= EPOLLIN;
    }
    if (channel->base.out && !channel->out_ready) {
        events |= EPOLLOUT;
    }
    return events;
}

/* Asks the kernel for the next event. The last step of whoever calls it: the event may be handled by another
 * worker before this returns. */
static int arm(struct reactor_channel *channel, uint32_t events)
{
    bool was_registered = channel->registered;
    uint32_t was_armed = channel->armed;
    channel->registered = true;
    channel->armed = events;
    int error = fg_poller_arm(poller_of(channel), channel->base.fd, channel->tag, events, was_registered);
    if (error) {
        channel->registered = was_registered;
        channel->armed = was_armed;
    }
    return error;
}

static void complete(struct fg_op **side, int64_t result)
{
    struct fg_op *op = *side;
    *side = NULL;
    op->result = result;
    op->done(op);
}

/* What is left of a turn. */
struct budget {
    size_t in_bytes, out_bytes, accepts;
};

/* An operation costs something even if it moves no bytes. */
static void spend(size_t *bytes, int64_t result)
{
    size_t cost = result > 0 ? (size_t)result + 64 : 64;
    *bytes = *bytes > cost ? *bytes - cost : 0;
}

static void try_in(struct reactor_channel *channel, struct budget *budget)
{
    struct fg_op *op = channel->base.in;
    int64_t result = 0;
    switch (op->kind) {
    case FG_OP_POLL:
        /* The event may have been for a SEND beside it, or what it told of read by now. */
        result = fg_io_poll(channel->base.fd, op);
        channel->in_ready = false;
        spend(&budget->in_bytes, 0);
        break;
    case FG_OP_ACCEPT:
        result = fg_io_accept(channel->base.fd, op);
        channel->in_ready = result >= 0;
        budget->accepts--;
        break;
    default:
        result = fg_io_recv(channel->base.fd, channel->base.flags, op, fg_pool_scratch(), FG_SCRATCH_BYTES);
        /* One read of a stream is a turn's worth; a datagram is small, and the next may be there. */
        channel->in_ready = result >= 0 && (channel->base.flags & FG_CHANNEL_DATAGRAM);
        spend(&budget->in_bytes, result);
        break;
    }
    if (result != -EAGAIN) {
        complete(&channel->base.in, result);
    }
}

static void try_out(struct reactor_channel *channel, struct budget *budget)
{
    struct fg_op *op = channel->base.out;
    int64_t result = op->kind == FG_OP_SEND ? fg_io_send(channel->base.fd, channel->base.flags, op)
                                            : fg_io_connect(channel->base.fd, op, &channel->connecting);
    channel->out_ready = false;
    spend(&budget->out_bytes, result);
    if (result != -EAGAIN) {
        channel->connecting = false;
        complete(&channel->base.out, result);
    }
}

static void finish_cancelled(struct reactor_channel *channel)
{
    if (channel->in_cancelled) {
        channel->in_cancelled = false;
        if (channel->base.in) {
            complete(&channel->base.in, -ECANCELED);
        }
    }
    if (channel->out_cancelled) {
        channel->out_cancelled = false;
        if (channel->base.out) {
            channel->connecting = false;
            complete(&channel->base.out, -ECANCELED);
        }
    }
}

static void strand_closed(struct fg_strand *strand)
{
    struct reactor_channel *channel = (struct reactor_channel *)strand;
    void (*closed)(void *owner) = channel->base.closed;
    void *owner = channel->base.owner;
    free(channel);
    closed(owner);
}

static void note_events(struct reactor_channel *channel, uint32_t events)
{
    if (events & ~KICKED) {
        channel->armed = 0;
        channel->in_ready |= (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 ||
                             (channel->base.in && channel->base.in->kind == FG_OP_POLL);
        channel->out_ready |= (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    }
}

/* Ends a turn by asking for what is still waited for. False when that failed and an operation was told of it:
 * then the turn goes on. */
static bool leave(struct reactor_channel *channel)
{
    uint32_t want = wanted(channel);
    channel->in_turn = false;
    int error = want == 0 || want == channel->armed ? 0 : arm(channel, want);
    if (error) {
        channel->in_turn = true;
        complete(channel->base.in ? &channel->base.in : &channel->base.out, error);
    }
    return error == 0;
}

static void turn(struct fg_task *task)
{
    struct reactor_channel *channel =
        (struct reactor_channel *)((char *)task - offsetof(struct reactor_channel, turn));
    uint32_t events = atomic_exchange_explicit(&channel->events, 0, memory_order_acq_rel);
    if (channel->over) {
        return;
    }
    note_events(channel, events);
    struct budget budget = { FG_TURN_BYTES, FG_TURN_BYTES, FG_TURN_ACCEPTS };
    channel->in_turn = true;
    for (;;) {
        finish_cancelled(channel);
        if (channel->base.closing) {
            if (channel->base.in || channel->base.out) {
                channel->in_cancelled = channel->out_cancelled = true;
                continue;
            }
            break;
        }
        if (channel->base.out && channel->out_ready && budget.out_bytes > 0) {
            try_out(channel, &budget);
        } else if (channel->base.in && channel->in_ready && budget.in_bytes > 0 && budget.accepts > 0) {
            try_in(channel, &budget);
        } else if (!channel->in_cancelled && !channel->out_cancelled) {
            /* A SEND beyond the budget waits like one without room: the kernel tells of it when others had
             * their turn. */
            channel->out_ready = channel->out_ready && !channel->base.out;
            if (leave(channel)) {
                return;
            }
        }
    }
    channel->in_turn = false;
    channel->over = true;
    fg_strand_close(&channel->base.strand, strand_closed);
}

static int submit(struct fg_channel *base, struct fg_op *op)
{
    struct reactor_channel *channel = (struct reactor_channel *)base;
    if (base->closing) {
        return -ECANCELED;
    }
    bool output = op->kind == FG_OP_SEND || op->kind == FG_OP_CONNECT;
    struct fg_op **side = output ? &base->out : &base->in;
    if (*side) {
        return -EBUSY;
    }
    op->channel = base;
    *side = op;
    if (output) {
        channel->out_ready = true;
        if (op->kind == FG_OP_SEND) {
            op->send.sent = 0;
        }
    }
    if (channel->in_turn) {
        return 0; /* the turn goes on with it */
    }
    if (output || channel->in_ready) {
        queue_turn(channel, KICKED);
        return 0;
    }
    uint32_t want = wanted(channel);
    if (want == channel->armed) {
        return 0;
    }
    int error = arm(channel, want);
    if (error) {
        *side = NULL;
    }
    return error;
}

static void cancel(struct fg_channel *base, struct fg_op *op)
{
    struct reactor_channel *channel = (struct reactor_channel *)base;
    if (base->in == op) {
        channel->in_cancelled = true;
    } else if (base->out == op) {
        channel->out_cancelled = true;
    } else {
        return;
    }
    if (!channel->in_turn) {
        queue_turn(channel, KICKED);
    }
}

static void channel_close(struct fg_channel *base, void (*closed)(void *owner))
{
    struct reactor_channel *channel = (struct reactor_channel *)base;
    struct fg_poller *poller = poller_of(channel);
    assert(!base->closing);
    base->closing = true;
    base->closed = closed;
    /* From here on the main thread finds the channel no more; a turn that it queued before runs and finds it
     * over. */
    fg_poller_remove(poller, channel->tag);
    if (channel->registered) {
        epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, base->fd, NULL);
    }
    fg_io_close(base, base->fd);
    base->fd = -1;
    if (!channel->in_turn) {
        queue_turn(channel, KICKED);
    }
}

const struct fg_model_ops fg_model_reactor = {
    .name = "reactor",
    .help = "The main thread waits for readiness; workers read, decode and write.",
    .probe = fg_poller_probe,
    .open = open_model,
    .close = close_model,
    .watch = fg_poller_watch,
    .wait = wait_batch,
    .channel_new = channel_new,
    .submit = submit,
    .cancel = cancel,
    .channel_close = channel_close,
};
