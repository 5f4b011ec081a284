/* What the main thread gives to the kernel, and when. */
#include "io.h"
#include "proactor_channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* --- work: channels for which there is something to do --- */

void fg_proactor_push_work(struct fg_proactor_channel *channel)
{
    struct fg_proactor_queue *queue = &fg_proactor_of(channel)->work;
    if (channel->has_work) {
        return;
    }
    channel->has_work = true;
    channel->next_work = NULL;
    if (queue->last) {
        queue->last->next_work = channel;
    } else {
        queue->first = channel;
    }
    queue->last = channel;
}

static struct fg_proactor_channel *pop_work(struct fg_proactor *proactor)
{
    struct fg_proactor_queue *queue = &proactor->work;
    struct fg_proactor_channel *channel = queue->first;
    queue->first = channel->next_work;
    if (!queue->first) {
        queue->last = NULL;
    }
    channel->has_work = false;
    return channel;
}

/* --- starved: operations that wait for a buffer, first come, first served --- */

void fg_proactor_starve(struct fg_proactor_channel *channel)
{
    struct fg_proactor_queue *queue = &fg_proactor_of(channel)->starved[fg_proactor_kind_of(channel)];
    channel->starved = true;
    fg_proactor_of(channel)->counts.starved++;
    channel->next_starved = NULL;
    channel->previous_starved = queue->last;
    if (queue->last) {
        queue->last->next_starved = channel;
    } else {
        queue->first = channel;
    }
    queue->last = channel;
}

static void unstarve(struct fg_proactor_channel *channel)
{
    struct fg_proactor_queue *queue = &fg_proactor_of(channel)->starved[fg_proactor_kind_of(channel)];
    if (!channel->starved) {
        return;
    }
    channel->starved = false;
    if (channel->previous_starved) {
        channel->previous_starved->next_starved = channel->next_starved;
    } else {
        queue->first = channel->next_starved;
    }
    if (channel->next_starved) {
        channel->next_starved->previous_starved = channel->previous_starved;
    } else {
        queue->last = channel->previous_starved;
    }
}

/*
 * Lets as many go on as there are free buffers. Who goes on and has nothing to read takes none, so that the
 * next turn may find as many free for the others. Returns whether there is something left to do without
 * anybody giving a buffer back.
 */
static bool feed(struct fg_proactor *proactor, int kind)
{
    struct fg_proactor_queue *queue = &proactor->starved[kind];
    if (!queue->first) {
        return false;
    }
    unsigned available = fg_proactor_buffers_want(&proactor->buffers[kind]);
    for (; available > 0 && queue->first; available--) {
        struct fg_proactor_channel *channel = queue->first;
        unstarve(channel);
        channel->fed = true;
        fg_proactor_push_work(channel);
    }
    return queue->first && fg_proactor_buffers_want(&proactor->buffers[kind]) > 0;
}

/* --- operations --- */

/* The operation is the strand's again. */
void fg_proactor_finish(struct fg_proactor_channel *channel, unsigned side, int64_t result)
{
    struct fg_side *own = &channel->sides[side];
    struct fg_op *op = own->op;
    own->op = NULL;
    own->cancelled = false;
    own->poll_first = false;
    op->result = result;
    fg_strand_post(&channel->base.strand, &own->finished);
}

/* There is room: work begins only with room for a whole step. */
static struct io_uring_sqe *next_entry(struct fg_proactor_channel *channel)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&fg_proactor_of(channel)->ring);
    if (!sqe) {
        abort();
    }
    return sqe;
}

static struct io_uring_sqe *request(struct fg_proactor_channel *channel, unsigned side)
{
    channel->sides[side].in_kernel = true;
    return next_entry(channel);
}

/* After the preparation, which clears it. */
static void mark(struct io_uring_sqe *sqe, struct fg_proactor_channel *channel, enum fg_proactor_tag tag,
                 unsigned side)
{
    io_uring_sqe_set_data64(sqe, (uintptr_t)channel | ((unsigned)tag + side));
}

static void wait_for(struct fg_proactor_channel *channel, unsigned side, unsigned events)
{
    struct io_uring_sqe *sqe = request(channel, side);
    io_uring_prep_poll_add(sqe, channel->fd, events);
    mark(sqe, channel, FG_TAG_OPERATION, side);
}

static void start_recv(struct fg_proactor_channel *channel, struct fg_op *op)
{
    struct fg_proactor *proactor = fg_proactor_of(channel);
    enum fg_proactor_kind kind = fg_proactor_kind_of(channel);
    bool fed = channel->fed;
    channel->fed = false;
    if (proactor->starved[kind].first && !fed) {
        fg_proactor_starve(channel);
        return;
    }
    if (kind == FG_PROACTOR_TTY) {
        wait_for(channel, FG_IN, POLLIN);
        return;
    }
    struct io_uring_sqe *sqe = request(channel, FG_IN);
    unsigned size = proactor->buffers[kind].size;
    if (kind == FG_PROACTOR_DATAGRAM) {
        struct msghdr *message = channel->message;
        struct iovec *vector = (struct iovec *)(message + 1);
        memset(&op->recv.from, 0, sizeof op->recv.from);
        *vector = (struct iovec){ .iov_len = size };
        *message = (struct msghdr){ .msg_name = &op->recv.from,
                                    .msg_namelen = sizeof op->recv.from,
                                    .msg_iov = vector,
                                    .msg_iovlen = 1 };
        io_uring_prep_recvmsg(sqe, channel->fd, message, 0);
    } else {
        io_uring_prep_recv(sqe, channel->fd, NULL, size, 0);
    }
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = (__u16)proactor->buffers[kind].group;
    sqe->ioprio = channel->sides[FG_IN].poll_first ? IORING_RECVSEND_POLL_FIRST : 0;
    mark(sqe, channel, FG_TAG_OPERATION, FG_IN);
}

void fg_proactor_finish_accept(struct fg_proactor_channel *channel, int fd)
{
    struct fg_op *op = channel->sides[FG_IN].op;
    socklen_t length = sizeof op->accept.from;
    memset(&op->accept.from, 0, sizeof op->accept.from);
    if (getpeername(fd, &op->accept.from.any, &length) < 0) {
        op->accept.from.any.sa_family = 0; /* it has gone already, as its first RECV will tell */
    }
    fg_proactor_finish(channel, FG_IN, fd);
}

static void start_accept(struct fg_proactor_channel *channel)
{
    int fd = fg_accepted_pop(channel->accepted);
    if (fd >= 0) {
        fg_proactor_finish_accept(channel, fd);
    } else if (!channel->sides[FG_IN].in_kernel) {
        struct io_uring_sqe *sqe = request(channel, FG_IN);
        channel->sides[FG_IN].accepting = true;
        io_uring_prep_multishot_accept(sqe, channel->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        mark(sqe, channel, FG_TAG_OPERATION, FG_IN);
    }
}

static void start_poll(struct fg_proactor_channel *channel, const struct fg_op *op)
{
    if (fg_accepted_count(channel->accepted) > 0 && op->poll.events & POLLIN) {
        fg_proactor_finish(channel, FG_IN, POLLIN); /* of which the kernel knows nothing any more */
    } else {
        wait_for(channel, FG_IN, (unsigned short)op->poll.events);
    }
}

static void start_send(struct fg_proactor_channel *channel, struct fg_op *op)
{
    if (fg_proactor_writes_itself(channel, op)) {
        int64_t result = fg_io_send(channel->fd, channel->base.flags, op);
        if (result == -EAGAIN) {
            wait_for(channel, FG_OUT, POLLOUT);
        } else {
            fg_proactor_finish(channel, FG_OUT, result);
        }
        return;
    }
    bool datagram = (channel->base.flags & FG_CHANNEL_DATAGRAM) != 0;
    size_t rest = op->send.size - op->send.sent;
    if (rest == 0 && !datagram) {
        fg_proactor_finish(channel, FG_OUT, (int64_t)op->send.size);
        return;
    }
    struct io_uring_sqe *sqe = request(channel, FG_OUT);
    /* A stream goes in pieces, so that one that is taken at once does not keep the others waiting. */
    size_t piece = datagram || rest < FG_TURN_BYTES ? rest : FG_TURN_BYTES;
    io_uring_prep_send(sqe, channel->fd, (const char *)op->send.data + op->send.sent, piece, MSG_NOSIGNAL);
    sqe->ioprio = channel->sides[FG_OUT].poll_first ? IORING_RECVSEND_POLL_FIRST : 0;
    mark(sqe, channel, FG_TAG_OPERATION, FG_OUT);
}

static void start_connect(struct fg_proactor_channel *channel, struct fg_op *op)
{
    if (op->connect.to->ss_family == AF_UNIX) {
        /* Done or refused at once. With a full backlog io_uring would leave it to a thread that blocks. */
        bool started = false;
        int64_t result = fg_io_connect(channel->fd, op, &started);
        fg_proactor_finish(channel, FG_OUT, result == -EAGAIN ? -ECONNREFUSED : result);
        return;
    }
    struct io_uring_sqe *sqe = request(channel, FG_OUT);
    io_uring_prep_connect(sqe, channel->fd, (struct sockaddr *)op->connect.to, op->connect.to_length);
    mark(sqe, channel, FG_TAG_OPERATION, FG_OUT);
}

static void start(struct fg_proactor_channel *channel, unsigned side)
{
    struct fg_op *op = channel->sides[side].op;
    switch (op->kind) {
    case FG_OP_RECV:
        start_recv(channel, op);
        break;
    case FG_OP_ACCEPT:
        start_accept(channel);
        break;
    case FG_OP_POLL:
        start_poll(channel, op);
        break;
    case FG_OP_SEND:
        start_send(channel, op);
        break;
    case FG_OP_CONNECT:
        start_connect(channel, op);
        break;
    }
}

static void cancel_request(struct fg_proactor_channel *channel, unsigned side)
{
    struct io_uring_sqe *sqe = next_entry(channel);
    io_uring_prep_cancel64(sqe, (uintptr_t)channel | (FG_TAG_OPERATION + side), 0);
    mark(sqe, channel, FG_TAG_CANCEL, side);
    channel->sides[side].cancelling = true;
}

static void step(struct fg_proactor_channel *channel, unsigned side)
{
    struct fg_side *own = &channel->sides[side];
    bool accepts = own->accepting && own->op && own->op->kind == FG_OP_ACCEPT;
    if (own->accepting && own->op && !accepts) {
        own->unwanted = true; /* and what was submitted now waits for its end */
    }
    if (own->op && own->cancelled && (!own->in_kernel || accepts)) {
        if (side == FG_IN) {
            unstarve(channel);
            channel->fed = false;
        }
        fg_proactor_finish(channel, side, -ECANCELED);
    }
    if (own->op && (!own->in_kernel || accepts) && !(side == FG_IN && channel->starved)) {
        start(channel, side);
    }
    if (own->in_kernel && own->unwanted && !own->cancelling) {
        cancel_request(channel, side);
    }
}

static bool is_at_rest(const struct fg_side *side)
{
    return !side->op && !side->in_kernel && !side->cancelling;
}

bool fg_proactor_work(struct fg_proactor *proactor)
{
    bool more = false;
    for (int kind = 0; kind < FG_PROACTOR_KINDS; kind++) {
        more = feed(proactor, kind) || more;
    }
    while (proactor->work.first) {
        if (io_uring_sq_space_left(&proactor->ring) < FG_PROACTOR_STEP) {
            proactor->counts.full++;
            return true;
        }
        struct fg_proactor_channel *channel = pop_work(proactor);
        step(channel, FG_IN);
        step(channel, FG_OUT);
        if (channel->closing && is_at_rest(&channel->sides[FG_IN]) && is_at_rest(&channel->sides[FG_OUT])) {
            fg_strand_post(&channel->base.strand, &channel->end);
        }
    }
    return more;
}

/* The operation is to end, and what the kernel does for it, too. */
static void call_off(struct fg_side *side)
{
    side->cancelled = side->op != NULL;
    side->unwanted = side->in_kernel;
}

void fg_proactor_take(struct fg_proactor_channel *channel, unsigned bits)
{
    for (unsigned side = 0; side < FG_SIDES; side++) {
        if (bits & (unsigned)FG_ASK_SUBMIT << side) {
            channel->sides[side].op = side == FG_IN ? channel->base.in : channel->base.out;
        }
        if (bits & FG_ASK_CLOSE || (bits & (unsigned)FG_ASK_CANCEL << side && channel->sides[side].op)) {
            call_off(&channel->sides[side]);
        }
    }
    channel->closing |= (bits & FG_ASK_CLOSE) != 0;
    fg_proactor_push_work(channel);
}
