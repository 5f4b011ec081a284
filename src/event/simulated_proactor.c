/*
 * Simulated Proactor: the main thread waits for readiness (epoll, EPOLLONESHOT) and performs the operation
 * itself; the finished operation, its bytes included, is queued on the channel's strand. Workers never touch
 * a descriptor but to close it.
 *
 * A channel's lock guards its operations and its descriptor. The main thread holds it while it makes a system
 * call; all of those are non-blocking, so that a worker that submits, cancels or closes waits for one at
 * most.
 *
 *   operation: IDLE --submit--> WAITING --event--> (performed) FINISHED --strand--> done(), IDLE
 *              WAITING --cancel, close--> FINISHED
 */
#include "buffers.h"
#include "io.h"
#include "models.h"
#include "poller.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* What may have been read and not been worked through, for all channels together. */
#define MOST_BUFFERS 16
#define BUFFER_BYTES 65536 /* the largest datagram */

/* Channels share their locks, for there can be many of them; nobody holds two. */
#define CHANNEL_LOCKS 64

struct simulated {
    struct fg_poller poller; /* its lock also guards the list below, and is taken before a channel's */
    struct fg_buffers buffers;
    pthread_mutex_t locks[CHANNEL_LOCKS];
    struct simulated_channel *first_starved, *last_starved; /* channels that wait for a buffer */
};

/* One side of a channel: at most one operation. */
struct side {
    struct fg_task finished;
    struct fg_op *waiting; /* submitted, not performed */
    void *buffer;          /* holds what was read, until done has returned */
};

struct simulated_channel {
    struct fg_channel base; /* in and out: from submit until done is called; the strand's */
    struct side in, out;
    struct fg_task end;
    struct simulated_channel *next_starved;
    uint64_t tag;
    uint32_t armed;
    bool registered;
    bool connecting;
    bool starved;
};

static struct simulated *model_of(const struct simulated_channel *channel)
{
    return (struct simulated *)channel->base.model;
}

static pthread_mutex_t *lock_of(const struct simulated_channel *channel)
{
    return &model_of(channel)->locks[(uintptr_t)channel / sizeof *channel % CHANNEL_LOCKS];
}

static void close_model(struct fg_model *model)
{
    struct simulated *simulated = (struct simulated *)model;
    for (size_t i = 0; i < CHANNEL_LOCKS; i++) {
        pthread_mutex_destroy(&simulated->locks[i]);
    }
    fg_poller_close(&simulated->poller);
    fg_buffers_fini(&simulated->buffers);
    free(simulated);
}

static int open_model(struct fg_pool *pool, struct fg_model **model)
{
    struct simulated *simulated = calloc(1, sizeof *simulated);
    int error = simulated ? fg_poller_open(&simulated->poller, &fg_model_simulated_proactor, pool) : -ENOMEM;
    if (error) {
        free(simulated);
        return error;
    }
    fg_buffers_init(&simulated->buffers, MOST_BUFFERS, BUFFER_BYTES);
    for (size_t i = 0; i < CHANNEL_LOCKS; i++) {
        pthread_mutex_init(&simulated->locks[i], NULL);
    }
    *model = &simulated->poller.base;
    return 0;
}

/* The operation is done: its completion goes to the strand. Under the channel's lock. */
static void finish(struct simulated_channel *channel, struct side *side, int64_t result)
{
    struct fg_op *op = side->waiting;
    side->waiting = NULL;
    op->result = result;
    fg_strand_post(&channel->base.strand, &side->finished);
}

/* Asks for the events that the waiting operations need. Under the channel's lock. */
static int arm(struct simulated_channel *channel)
{
    uint32_t events = channel->out.waiting ? EPOLLOUT : 0;
    const struct fg_op *in = channel->in.waiting;
    if (in && in->kind == FG_OP_POLL) {
        events |= fg_io_poll_events(in);
    } else if (in && !channel->starved) {
        events |= EPOLLIN;
    }
    if (events == 0 || events == channel->armed) {
        return 0;
    }
    int error = fg_poller_arm(&model_of(channel)->poller, channel->base.fd, channel->tag, events,
                              channel->registered);
    if (!error) {
        channel->registered = true;
        channel->armed = events;
    }
    return error;
}

static void arm_or_fail(struct simulated_channel *channel)
{
    int error = arm(channel);
    if (error && channel->in.waiting) {
        finish(channel, &channel->in, error);
    }
    if (error && channel->out.waiting) {
        finish(channel, &channel->out, error);
    }
}

/* Reads until there is no more or the buffer is full. */
static int64_t recv_all(struct simulated_channel *channel, struct fg_op *op, uint8_t *buffer)
{
    int64_t total = fg_io_recv(channel->base.fd, channel->base.flags, op, buffer, BUFFER_BYTES);
    if (channel->base.flags & FG_CHANNEL_TTY) {
        /* A terminal gives a line's worth at a time, however much there is. */
        while (total > 0 && total < BUFFER_BYTES) {
            int64_t more = fg_io_recv(channel->base.fd, channel->base.flags, op, buffer + total,
                                      BUFFER_BYTES - (size_t)total);
            if (more <= 0) {
                break; /* an error is told again by the next read */
            }
            total += more;
        }
        op->recv.data = buffer;
    }
    return total;
}

/* Performs what waits for input. Main thread, both locks. */
static void perform_in(struct simulated *simulated, struct simulated_channel *channel)
{
    struct side *side = &channel->in;
    struct fg_op *op = side->waiting;
    int64_t result = -EAGAIN;
    if (op->kind == FG_OP_POLL) {
        result = fg_io_poll(channel->base.fd, op);
    } else if (op->kind == FG_OP_ACCEPT) {
        result = fg_io_accept(channel->base.fd, op);
    } else {
        side->buffer = fg_buffers_take(&simulated->buffers);
        if (!side->buffer) {
            channel->starved = true;
            return;
        }
        result = recv_all(channel, op, side->buffer);
        simulated->poller.base.hurries |= (channel->base.flags & FG_CHANNEL_DATAGRAM) != 0;
        if (result <= 0) {
            fg_buffers_give(&simulated->buffers, side->buffer);
            side->buffer = NULL;
        }
    }
    if (result != -EAGAIN) {
        finish(channel, side, result);
    }
}

static void perform_out(struct simulated_channel *channel)
{
    struct fg_op *op = channel->out.waiting;
    int64_t result = op->kind == FG_OP_SEND ? fg_io_send(channel->base.fd, channel->base.flags, op)
                                            : fg_io_connect(channel->base.fd, op, &channel->connecting);
    if (result != -EAGAIN) {
        channel->connecting = false;
        finish(channel, &channel->out, result);
    }
}

/* Under the model's lock. */
static void starve(struct simulated *simulated, struct simulated_channel *channel)
{
    channel->next_starved = NULL;
    if (simulated->last_starved) {
        simulated->last_starved->next_starved = channel;
    } else {
        simulated->first_starved = channel;
    }
    simulated->last_starved = channel;
}

/* With the poller's lock held: a close waits until this is done. */
static void dispatch(void *context, uint32_t events)
{
    struct simulated_channel *channel = context;
    struct simulated *simulated = model_of(channel);
    const uint32_t bad = EPOLLHUP | EPOLLERR;
    pthread_mutex_lock(lock_of(channel));
    channel->armed = 0;
    if (channel->out.waiting && events & (EPOLLOUT | bad)) {
        perform_out(channel);
    }
    if (channel->in.waiting && !channel->starved &&
        (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | bad) || channel->in.waiting->kind == FG_OP_POLL)) {
        perform_in(simulated, channel);
        if (channel->starved) {
            starve(simulated, channel);
        }
    }
    arm_or_fail(channel);
    pthread_mutex_unlock(lock_of(channel));
}

static int wait_batch(struct fg_model *model)
{
    return fg_poller_wait((struct fg_poller *)model, dispatch);
}

/* A buffer came back: the first channel that waits for one is woken. */
static void feed_starved(struct simulated *simulated)
{
    pthread_mutex_lock(&simulated->poller.lock);
    struct simulated_channel *channel = simulated->first_starved;
    if (channel) {
        simulated->first_starved = channel->next_starved;
        if (!simulated->first_starved) {
            simulated->last_starved = NULL;
        }
        pthread_mutex_lock(lock_of(channel));
        channel->starved = false;
        arm_or_fail(channel);
        pthread_mutex_unlock(lock_of(channel));
    }
    pthread_mutex_unlock(&simulated->poller.lock);
}

static void in_finished(struct fg_task *task)
{
    struct simulated_channel *channel =
        (struct simulated_channel *)((char *)task - offsetof(struct simulated_channel, in.finished));
    struct simulated *simulated = model_of(channel);
    struct fg_op *op = channel->base.in;
    void *buffer = channel->in.buffer;
    channel->in.buffer = NULL;
    channel->base.in = NULL;
    op->done(op);
    if (buffer) {
        fg_buffers_give(&simulated->buffers, buffer);
        feed_starved(simulated);
    }
}

static void out_finished(struct fg_task *task)
{
    struct simulated_channel *channel =
        (struct simulated_channel *)((char *)task - offsetof(struct simulated_channel, out.finished));
    struct fg_op *op = channel->base.out;
    channel->base.out = NULL;
    op->done(op);
}

static void strand_closed(struct fg_strand *strand)
{
    struct simulated_channel *channel = (struct simulated_channel *)strand;
    void (*closed)(void *owner) = channel->base.closed;
    void *owner = channel->base.owner;
    free(channel);
    closed(owner);
}

/* Runs behind the completions that the close caused. */
static void end(struct fg_task *task)
{
    struct simulated_channel *channel =
        (struct simulated_channel *)((char *)task - offsetof(struct simulated_channel, end));
    fg_strand_close(&channel->base.strand, strand_closed);
}

static int channel_new(struct fg_model *model, int fd, enum fg_channel_flags flags, void *owner,
                       struct fg_channel **channel)
{
    struct simulated_channel *made = calloc(1, sizeof *made);
    if (!made) {
        return -ENOMEM;
    }
    made->base.model = model;
    made->base.owner = owner;
    made->base.fd = fd;
    made->base.flags = (uint8_t)flags;
    made->in.finished.run = in_finished;
    made->out.finished.run = out_finished;
    made->end.run = end;
    fg_strand_init(&made->base.strand, model->pool);
    int error = fg_poller_add((struct fg_poller *)model, made, &made->tag);
    if (error) {
        free(made);
        return error;
    }
    *channel = &made->base;
    return 0;
}

static int submit(struct fg_channel *base, struct fg_op *op)
{
    struct simulated_channel *channel = (struct simulated_channel *)base;
    if (base->closing) {
        return -ECANCELED;
    }
    bool output = op->kind == FG_OP_SEND || op->kind == FG_OP_CONNECT;
    struct fg_op **current = output ? &base->out : &base->in;
    struct side *side = output ? &channel->out : &channel->in;
    if (*current) {
        return -EBUSY;
    }
    op->channel = base;
    if (op->kind == FG_OP_SEND) {
        op->send.sent = 0;
    }
    *current = op;
    pthread_mutex_lock(lock_of(channel));
    side->waiting = op;
    int error = 0;
    if (op->kind == FG_OP_CONNECT) {
        perform_out(channel); /* a socket that connects is not ready for anything before */
    }
    error = arm(channel);
    if (error) {
        side->waiting = NULL;
        *current = NULL;
    }
    pthread_mutex_unlock(lock_of(channel));
    return error;
}

static void cancel(struct fg_channel *base, struct fg_op *op)
{
    struct simulated_channel *channel = (struct simulated_channel *)base;
    pthread_mutex_lock(lock_of(channel));
    if (channel->in.waiting == op) {
        finish(channel, &channel->in, -ECANCELED);
    } else if (channel->out.waiting == op) {
        channel->connecting = false;
        finish(channel, &channel->out, -ECANCELED);
    }
    pthread_mutex_unlock(lock_of(channel));
}

static void unstarve(struct simulated *simulated, struct simulated_channel *channel)
{
    struct simulated_channel **link = &simulated->first_starved;
    struct simulated_channel *before = NULL;
    while (*link && *link != channel) {
        before = *link;
        link = &(*link)->next_starved;
    }
    if (*link) {
        *link = channel->next_starved;
        if (simulated->last_starved == channel) {
            simulated->last_starved = before;
        }
    }
}

static void channel_close(struct fg_channel *base, void (*closed)(void *owner))
{
    struct simulated_channel *channel = (struct simulated_channel *)base;
    struct simulated *simulated = model_of(channel);
    assert(!base->closing);
    base->closing = true;
    base->closed = closed;
    fg_poller_remove(&simulated->poller, channel->tag);
    pthread_mutex_lock(&simulated->poller.lock);
    unstarve(simulated, channel);
    pthread_mutex_unlock(&simulated->poller.lock);
    pthread_mutex_lock(lock_of(channel));
    if (channel->registered) {
        epoll_ctl(simulated->poller.epoll_fd, EPOLL_CTL_DEL, base->fd, NULL);
    }
    fg_io_close(base, base->fd);
    base->fd = -1;
    if (channel->in.waiting) {
        finish(channel, &channel->in, -ECANCELED);
    }
    if (channel->out.waiting) {
        finish(channel, &channel->out, -ECANCELED);
    }
    pthread_mutex_unlock(lock_of(channel));
    fg_strand_post(&base->strand, &channel->end);
}

const struct fg_model_ops fg_model_simulated_proactor = {
    .name = "simulated-proactor",
    .help = "The main thread waits for readiness, reads and writes; workers decode.",
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
