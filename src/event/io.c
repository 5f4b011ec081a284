#include "io.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static ssize_t recv_datagram(int fd, struct fg_op *op, void *buffer, size_t size)
{
    struct iovec vector = { .iov_base = buffer, .iov_len = size };
    struct msghdr message = {
        .msg_name = &op->recv.from, .msg_namelen = sizeof op->recv.from, .msg_iov = &vector, .msg_iovlen = 1
    };
    memset(&op->recv.from, 0, sizeof op->recv.from);
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
    if (got >= 0) {
        op->recv.truncated = (message.msg_flags & MSG_TRUNC) != 0;
        if (message.msg_namelen == 0 || op->recv.from.any.sa_family == AF_UNIX) {
            op->recv.from.any.sa_family = 0;
        }
    }
    return got;
}

int64_t fg_io_recv(int fd, uint8_t flags, struct fg_op *op, void *buffer, size_t size)
{
    ssize_t got = 0;
    do {
        if (flags & FG_CHANNEL_DATAGRAM) {
            got = recv_datagram(fd, op, buffer, size);
        } else if (flags & FG_CHANNEL_TTY) {
            got = read(fd, buffer, size);
        } else {
            got = recv(fd, buffer, size, MSG_DONTWAIT);
        }
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    if (got == 0 && (flags & FG_CHANNEL_TTY)) {
        return -EIO;
    }
    op->recv.data = buffer;
    op->recv.received_ns = fg_clock_now_ns();
    return got;
}

bool fg_io_is_of_connection(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EINTR:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

int64_t fg_io_accept(int fd, struct fg_op *op)
{
    for (int tries = 0; tries < FG_TURN_ACCEPTS; tries++) {
        socklen_t length = sizeof op->accept.from;
        memset(&op->accept.from, 0, sizeof op->accept.from);
        int got = accept4(fd, &op->accept.from.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got >= 0) {
            return got;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return -EAGAIN;
        }
        if (!fg_io_is_of_connection(errno)) {
            return -errno;
        }
    }
    return -EAGAIN; /* so many at once: others have their turn first */
}

/* Where a datagram is to go; NULL: to the peer of the socket. */
static const struct sockaddr *receiver_of(const struct fg_op *op, uint8_t flags, socklen_t *length)
{
    const union fg_address *to = flags & FG_CHANNEL_DATAGRAM ? op->send.to : NULL;
    if (!to || to->any.sa_family == AF_UNSPEC) {
        *length = 0;
        return NULL;
    }
    *length = to->any.sa_family == AF_INET ? sizeof to->in : sizeof to->in6;
    return &to->any;
}

int64_t fg_io_send(int fd, uint8_t flags, struct fg_op *op)
{
    const char *data = op->send.data;
    /* No bytes are nothing to write, except for a datagram. */
    bool first = (flags & FG_CHANNEL_DATAGRAM) != 0;
    socklen_t to_length = 0;
    const struct sockaddr *to = receiver_of(op, flags, &to_length);
    while (first || op->send.sent < op->send.size) {
        const char *rest = data + op->send.sent;
        size_t size = op->send.size - op->send.sent;
        ssize_t put = flags & FG_CHANNEL_TTY
                          ? write(fd, rest, size)
                          : sendto(fd, rest, size, MSG_DONTWAIT | MSG_NOSIGNAL, to, to_length);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        }
        first = false;
        op->send.sent += (size_t)put;
        if ((size_t)put < size) {
            return -EAGAIN;
        }
    }
    return (int64_t)op->send.size;
}

int64_t fg_io_poll(int fd, const struct fg_op *op)
{
    struct pollfd now = { .fd = fd, .events = op->poll.events };
    int count = poll(&now, 1, 0);
    if (count < 0) {
        return errno == EINTR ? -EAGAIN : -errno;
    }
    return count == 0 ? -EAGAIN : (unsigned short)now.revents;
}

/* SO_ERROR would not do to see how it went: it is 0 as well while the connection is under way, and after
 * another call took the error. A second connect tells all three apart. */
uint32_t fg_io_poll_events(const struct fg_op *op)
{
    const uint32_t pollable =
        EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM | EPOLLWRBAND | EPOLLRDHUP;
    return ((uint32_t)op->poll.events & pollable) | EPOLLERR | EPOLLHUP;
}

int64_t fg_io_connect(int fd, struct fg_op *op, bool *started)
{
    if (connect(fd, (struct sockaddr *)op->connect.to, op->connect.to_length) == 0) {
        return 0;
    }
    switch (errno) {
    case EINPROGRESS:
    case EALREADY:
    case EINTR:
        *started = true;
        return -EAGAIN;
    case EISCONN:
        return *started ? 0 : -EISCONN;
    case EAGAIN: /* the backlog of a Unix listener is full */
        return -ECONNREFUSED;
    default:
        return -errno;
    }
}

void fg_io_close(const struct fg_channel *channel, int fd)
{
    if (channel->flags & FG_CHANNEL_TTY) {
        fg_pool_may_block(channel->model->pool);
    }
    close(fd);
}
