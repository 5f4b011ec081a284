/* What becomes of the kernel's answers. Main thread. */
#include "io.h"
#include "proactor_channel.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* An answer that says nothing about the operation: it goes on, but for one that was cancelled. */
static void retry(struct fg_proactor_channel *channel, unsigned side, bool poll_first)
{
    struct fg_side *own = &channel->sides[side];
    own->poll_first = poll_first;
    if (own->cancelled) {
        fg_proactor_finish(channel, side, -ECANCELED);
    }
    fg_proactor_push_work(channel);
}

static bool is_no_answer(int result)
{
    return result == -EAGAIN || result == -EINTR;
}

static void received(struct fg_proactor_channel *channel, struct fg_op *op, int result, void *buffer)
{
    struct fg_proactor *proactor = fg_proactor_of(channel);
    enum fg_proactor_kind kind = fg_proactor_kind_of(channel);
    op->recv.data = buffer ? buffer : proactor->buffers[kind].bytes; /* no bytes, but a place */
    op->recv.received_ns = proactor->now_ns;
    if (kind == FG_PROACTOR_DATAGRAM) {
        proactor->base.hurries = true; /* one a turn, and the socket keeps few */
        op->recv.truncated = (channel->message->msg_flags & MSG_TRUNC) != 0;
        if (channel->message->msg_namelen == 0 || op->recv.from.any.sa_family == AF_UNIX) {
            op->recv.from.any.sa_family = 0;
        }
    }
    channel->buffer = buffer;
    fg_proactor_finish(channel, FG_IN, result);
}

static void complete_recv(struct fg_proactor_channel *channel, struct fg_op *op, int result, unsigned flags)
{
    struct fg_proactor *proactor = fg_proactor_of(channel);
    struct fg_proactor_buffers *buffers = &proactor->buffers[fg_proactor_kind_of(channel)];
    void *buffer = NULL;
    if (flags & IORING_CQE_F_BUFFER) {
        buffer = fg_proactor_buffers_taken(buffers, flags >> IORING_CQE_BUFFER_SHIFT);
    }
    if (result < 0 && buffer) {
        fg_proactor_buffers_give(buffers, buffer);
        buffer = NULL;
    }
    if (result == -ENOBUFS && !channel->sides[FG_IN].cancelled) {
        fg_proactor_starve(channel);
    } else if (is_no_answer(result) || result == -ENOBUFS) {
        retry(channel, FG_IN, result == -EAGAIN);
    } else if (result < 0) {
        fg_proactor_finish(channel, FG_IN, result);
    } else {
        received(channel, op, result, buffer);
    }
}

/* A terminal gives a line's worth at a time, however much there is. */
static int64_t read_terminal(struct fg_proactor_channel *channel, struct fg_op *op, uint8_t *buffer,
                             size_t size)
{
    int64_t total = fg_io_recv(channel->fd, channel->base.flags, op, buffer, size);
    while (total > 0 && (size_t)total < size) {
        int64_t more = fg_io_recv(channel->fd, channel->base.flags, op, buffer + total, size - (size_t)total);
        if (more <= 0) {
            break; /* an error is told again by the next read */
        }
        total += more;
    }
    op->recv.data = buffer;
    return total;
}

/* The terminal has something, or has hung up. */
static void complete_terminal_recv(struct fg_proactor_channel *channel, struct fg_op *op, int result)
{
    struct fg_proactor_buffers *buffers = &fg_proactor_of(channel)->buffers[FG_PROACTOR_TTY];
    if (is_no_answer(result) || channel->sides[FG_IN].cancelled) {
        retry(channel, FG_IN, false);
        return;
    }
    if (result < 0) {
        fg_proactor_finish(channel, FG_IN, result);
        return;
    }
    void *buffer = fg_proactor_buffers_take(buffers);
    if (!buffer) {
        fg_proactor_starve(channel);
        return;
    }
    int64_t got = read_terminal(channel, op, buffer, buffers->size);
    if (got > 0) {
        channel->buffer = buffer;
        fg_proactor_finish(channel, FG_IN, got);
        return;
    }
    fg_proactor_buffers_give(buffers, buffer);
    if (got == -EAGAIN) {
        retry(channel, FG_IN, false);
    } else {
        fg_proactor_finish(channel, FG_IN, got);
    }
}

static void complete_accept(struct fg_proactor_channel *channel, int result)
{
    struct fg_side *own = &channel->sides[FG_IN];
    bool waited_for = own->op && own->op->kind == FG_OP_ACCEPT;
    if (result >= 0 && waited_for && fg_accepted_count(channel->accepted) == 0) {
        fg_proactor_finish_accept(channel, result);
    } else if (result >= 0) {
        /* Behind those who came before: the ACCEPT, if it has just been asked for, is theirs. */
        fg_accepted_push(&channel->accepted, result);
        fg_proactor_of(channel)->counts.ahead++;
        if (fg_accepted_count(channel->accepted) >= FG_ACCEPTED_AHEAD) {
            own->unwanted = own->in_kernel;
        }
    } else if (waited_for && result != -EAGAIN && result != -ECANCELED && !fg_io_is_of_connection(-result)) {
        fg_proactor_finish(channel, FG_IN, result);
    }
    fg_proactor_push_work(channel); /* the request may be over, and is made anew if somebody waits */
}

/* The kernel tells of a half-closed peer unasked, and there is no way to have it not wake for it: who asked
 * for something else is told of that alone only when there is nothing else. */
static void complete_poll(struct fg_proactor_channel *channel, const struct fg_op *op, int result)
{
    if (is_no_answer(result) || result == 0) {
        retry(channel, FG_IN, false);
        return;
    }
    if (result > 0) {
        int asked = result & ((unsigned short)op->poll.events | POLLERR | POLLHUP | POLLNVAL);
        result = asked ? asked : result;
    }
    fg_proactor_finish(channel, FG_IN, result);
}

static void complete_send(struct fg_proactor_channel *channel, struct fg_op *op, int result)
{
    if (fg_proactor_writes_itself(channel, op)) {
        if (result < 0 && !is_no_answer(result)) {
            fg_proactor_finish(channel, FG_OUT, result);
        } else {
            retry(channel, FG_OUT, false); /* there is room, or the next write tells what is wrong */
        }
        return;
    }
    if (result < 0 && !is_no_answer(result)) {
        fg_proactor_finish(channel, FG_OUT, result);
        return;
    }
    op->send.sent += result > 0 ? (size_t)result : 0;
    if (result >= 0 && op->send.sent == op->send.size) {
        fg_proactor_finish(channel, FG_OUT, (int64_t)op->send.size);
    } else {
        retry(channel, FG_OUT, result <= 0);
    }
}

/*
 * What somebody did before he sent comes before what we do with it. ThreadSanitizer knows that of a socket
 * that is read from, and nothing of io_uring: it is told by a read of no bytes, which does nothing else.
 */
static void follow_sender(const struct fg_proactor_channel *channel)
{
#ifdef __SANITIZE_THREAD__
    char none;
    ssize_t got = read(channel->fd, &none, 0);
    (void)got;
#endif
    (void)channel;
}

void fg_proactor_completed(struct fg_proactor_channel *channel, unsigned side, int result, unsigned flags)
{
    struct fg_side *own = &channel->sides[side];
    struct fg_op *op = own->op;
    bool accepting = own->accepting;
    if (!(flags & IORING_CQE_F_MORE)) {
        own->in_kernel = false;
        own->accepting = false;
        own->unwanted = false;
    }
    if (channel->closing) {
        fg_proactor_push_work(channel);
    }
    if (side == FG_IN) {
        follow_sender(channel);
    }
    if (accepting) {
        complete_accept(channel, result);
        return;
    }
    switch (op->kind) {
    case FG_OP_RECV:
        if (channel->base.flags & FG_CHANNEL_TTY) {
            complete_terminal_recv(channel, op, result);
        } else {
            complete_recv(channel, op, result, flags);
        }
        break;
    case FG_OP_POLL:
        complete_poll(channel, op, result);
        break;
    case FG_OP_SEND:
        complete_send(channel, op, result);
        break;
    default:
        fg_proactor_finish(channel, side, result == -EAGAIN ? -ECONNREFUSED : result);
        break;
    }
}

void fg_proactor_cancel_completed(struct fg_proactor_channel *channel, unsigned side)
{
    /* Whatever it found: if the request is still there, it was just between two states, and is called off
     * again. */
    channel->sides[side].cancelling = false;
    fg_proactor_push_work(channel);
}
