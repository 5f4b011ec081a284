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
#include "slots.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH        128
#define MOST_WATCHED 8
#define WATCH_TAG    UINT64_C(0xff000000)

/* What may have been read and not been worked through, for all channels together. */
#define MOST_BUFFERS 16
#define BUFFER_BYTES 65536 /* the largest datagram */

struct watch {
    void (*ready)(void *context);
    void *context;
};

struct simulated {
    struct fg_model base;
    int epoll_fd;
    size_t watch_count;
    struct watch watches[MOST_WATCHED];
    struct fg_buffers buffers;
    pthread_mutex_t lock; /* of slots and of the channels that wait for a buffer; taken before a channel's */
    struct fg_slots slots;
    struct simulated_channel *first_starved, *last_starved;
};

/* One side of a channel: at most one operation. */
struct side {
    struct fg_task finished;
    struct fg_op *waiting; /* submitted, not performed */
    void *buffer;          /* holds what was read, until done has returned */
};

struct simulated_channel {
    struct fg_channel base; /* in and out: from submit until done is called; the strand's */
    pthread_mutex_t lock;
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

static int probe(char *why, size_t why_size)
{
    (void)why;
    (void)why_size;
    return 0;
}

static void close_model(struct fg_model *model)
{
    struct simulated *simulated = (struct simulated *)model;
    close(simulated->epoll_fd);
    pthread_mutex_destroy(&simulated->lock);
    fg_slots_fini(&simulated->slots);
    fg_buffers_fini(&simulated->buffers);
    free(simulated);
}

static int open_model(struct fg_pool *pool, struct fg_model **model)
{
    struct simulated *simulated = calloc(1, sizeof *simulated);
    if (!simulated) {
        return -ENOMEM;
    }
    simulated->base = (struct fg_model){ .ops = &fg_model_simulated_proactor, .pool = pool };
    simulated->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (simulated->epoll_fd < 0) {
        int error = -errno;
        free(simulated);
        return error;
    }
    fg_buffers_init(&simulated->buffers, MOST_BUFFERS, BUFFER_BYTES);
    pthread_mutex_init(&simulated->lock, NULL);
    *model = &simulated->base;
    return 0;
}

static int watch(struct fg_model *model, int fd, void (*ready)(void *context), void *context)
{
    struct simulated *simulated = (struct simulated *)model;
    assert(simulated->watch_count < MOST_WATCHED);
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = WATCH_TAG + simulated->watch_count };
    if (epoll_ctl(simulated->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return -errno;
    }
    simulated->watches[simulated->watch_count++] = (struct watch){ .ready = ready, .context = context };
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
    struct epoll_event event = { .events = events | EPOLLONESHOT, .data.u64 = channel->tag };
    int operation = channel->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(model_of(channel)->epoll_fd, operation, channel->base.fd, &event) < 0) {
        return -errno;
    }
    channel->registered = true;
    channel->armed = events;
    return 0;
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

static void dispatch(struct simulated *simulated, const struct epoll_event *event)
{
    pthread_mutex_lock(&simulated->lock);
    struct simulated_channel *channel = fg_slots_find(&simulated->slots, event->data.u64);
    if (!channel) {
        pthread_mutex_unlock(&simulated->lock);
        return;
    }
    pthread_mutex_lock(&channel->lock); /* before the slot can go: close waits for it */
    channel->armed = 0;
    const uint32_t bad = EPOLLHUP | EPOLLERR;
    if (channel->out.waiting && event->events & (EPOLLOUT | bad)) {
        perform_out(channel);
    }
    if (channel->in.waiting && !channel->starved &&
        (event->events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | bad) ||
         channel->in.waiting->kind == FG_OP_POLL)) {
        perform_in(simulated, channel);
        if (channel->starved) {
            starve(simulated, channel);
        }
    }
    arm_or_fail(channel);
    pthread_mutex_unlock(&channel->lock);
    pthread_mutex_unlock(&simulated->lock);
}

static int wait_batch(struct fg_model *model)
{
    struct simulated *simulated = (struct simulated *)model;
    struct epoll_event batch[BATCH];
    int count = epoll_wait(simulated->epoll_fd, batch, BATCH, -1);
    if (count < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    for (int i = 0; i < count; i++) {
        uint64_t tag = batch[i].data.u64;
        if (tag >= WATCH_TAG && tag < WATCH_TAG + simulated->watch_count) {
            const struct watch *own = &simulated->watches[tag - WATCH_TAG];
            own->ready(own->context);
        } else {
            dispatch(simulated, &batch[i]);
        }
    }
    return 0;
}

/* A buffer came back: the first channel that waits for one is woken. */
static void feed_starved(struct simulated *simulated)
{
    pthread_mutex_lock(&simulated->lock);
    struct simulated_channel *channel = simulated->first_starved;
    if (channel) {
        simulated->first_starved = channel->next_starved;
        if (!simulated->first_starved) {
            simulated->last_starved = NULL;
        }
        pthread_mutex_lock(&channel->lock);
        channel->starved = false;
        arm_or_fail(channel);
        pthread_mutex_unlock(&channel->lock);
    }
    pthread_mutex_unlock(&simulated->lock);
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
    pthread_mutex_destroy(&channel->lock);
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
    struct simulated *simulated = (struct simulated *)model;
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
    pthread_mutex_init(&made->lock, NULL);
    pthread_mutex_lock(&simulated->lock);
    int error = fg_slots_add(&simulated->slots, made, &made->tag);
    pthread_mutex_unlock(&simulated->lock);
    if (error) {
        pthread_mutex_destroy(&made->lock);
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
    pthread_mutex_lock(&channel->lock);
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
    pthread_mutex_unlock(&channel->lock);
    return error;
}

static void cancel(struct fg_channel *base, struct fg_op *op)
{
    struct simulated_channel *channel = (struct simulated_channel *)base;
    pthread_mutex_lock(&channel->lock);
    if (channel->in.waiting == op) {
        finish(channel, &channel->in, -ECANCELED);
    } else if (channel->out.waiting == op) {
        channel->connecting = false;
        finish(channel, &channel->out, -ECANCELED);
    }
    pthread_mutex_unlock(&channel->lock);
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
    pthread_mutex_lock(&simulated->lock);
    fg_slots_remove(&simulated->slots, channel->tag);
    unstarve(simulated, channel);
    pthread_mutex_lock(&channel->lock);
    pthread_mutex_unlock(&simulated->lock);
    if (channel->registered) {
        epoll_ctl(simulated->epoll_fd, EPOLL_CTL_DEL, base->fd, NULL);
    }
    close(base->fd);
    base->fd = -1;
    if (channel->in.waiting) {
        finish(channel, &channel->in, -ECANCELED);
    }
    if (channel->out.waiting) {
        finish(channel, &channel->out, -ECANCELED);
    }
    pthread_mutex_unlock(&channel->lock);
    fg_strand_post(&base->strand, &channel->end);
}

const struct fg_model_ops fg_model_simulated_proactor = {
    .name = "simulated-proactor",
    .help = "The main thread waits for readiness, reads and writes; workers decode.",
    .probe = probe,
    .open = open_model,
    .close = close_model,
    .watch = watch,
    .wait = wait_batch,
    .channel_new = channel_new,
    .submit = submit,
    .cancel = cancel,
    .channel_close = channel_close,
};
