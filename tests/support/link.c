#include "support/loop_fixture.h"

#include "fieldgate/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How many bytes a link keeps at most. */
#define MOST_BYTES (64U << 20)

static _Thread_local bool submitting;

static void keep(struct link *link, const uint8_t *data, size_t size)
{
    if (link->size + size > link->room) {
        size_t room = (link->size + size) * 2;
        uint8_t *bytes = room <= MOST_BYTES ? realloc(link->bytes, room) : NULL;
        if (!bytes) {
            fixture_fault(link->fixture, "more bytes than a test can want");
            return;
        }
        link->bytes = bytes;
        link->room = room;
    }
    memcpy(link->bytes + link->size, data, size);
    link->size += size;
}

static void account(struct link *link, struct fg_op *op)
{
    bool output = op == &link->out;
    state_lock();
    if (!link->in_flight[output]) {
        fixture_fault(link->fixture, "an operation completed that was not in flight");
    }
    if (link->closed) {
        fixture_fault(link->fixture, "an operation completed after closed");
    }
    link->in_flight[output] = false;
    if (output) {
        link->out_count++;
        link->out_result = op->result;
    } else {
        link->in_count++;
        link->in_result = op->result;
        if (op->kind == FG_OP_RECV && op->result > 0 && !link->forgets) {
            keep(link, op->recv.data, (size_t)op->result);
        }
    }
    state_unlock();
}

static void done(struct fg_op *op)
{
    struct link *link = fg_channel_owner(op->channel);
    if (atomic_fetch_add(&link->inside, 1) != 0) {
        fixture_fault(link->fixture, "two workers in one channel");
    }
    if (!fg_strand_is_current(fg_channel_strand(link->channel))) {
        fixture_fault(link->fixture, "a completion beside its strand");
    }
    if (submitting) {
        fixture_fault(link->fixture, "a completion from inside a call");
    }
    account(link, op);
    if (link->then) {
        link->then(link, op);
    }
    atomic_fetch_sub(&link->inside, 1);
}

static void closed(void *owner)
{
    struct link *link = owner;
    if (link->in_flight[0] || link->in_flight[1]) {
        fixture_fault(link->fixture, "closed before the last completion");
    }
    if (link->gone) {
        link->gone(link);
    }
    state_lock();
    link->closed++;
    state_unlock();
}

struct link *link_open(struct loop_fixture *fixture, int fd, enum fg_channel_flags flags, int peer)
{
    struct link *link = calloc(1, sizeof *link);
    assert_non_null(link);
    link->fixture = fixture;
    link->peer = peer;
    assert_int_equal(fg_channel_new(fixture->loop.model, non_blocking(fd), flags, link, &link->channel), 0);
    link->next = fixture->links;
    fixture->links = link;
    return link;
}

struct link *link_open_pair(struct loop_fixture *fixture, int type)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    return link_open(fixture, ends[0], type == SOCK_STREAM ? FG_CHANNEL_STREAM : FG_CHANNEL_DATAGRAM,
                     ends[1]);
}

static int listen_on_loopback(struct sockaddr_in *address, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t length = sizeof *address;
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &length), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

struct link *link_open_listener(struct loop_fixture *fixture, struct sockaddr_in *address, int backlog)
{
    return link_open(fixture, listen_on_loopback(address, backlog), FG_CHANNEL_STREAM, -1);
}

struct link *link_open_tcp(struct loop_fixture *fixture)
{
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address, 1);
    int peer = tcp_connect(&address);
    struct pollfd ready = { .fd = listener, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, DEADLINE_S * 1000), 1);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    close(listener);
    return link_open(fixture, fd, FG_CHANNEL_STREAM, peer);
}

struct link *link_open_pty(struct loop_fixture *fixture)
{
    int master = -1;
    int slave = -1;
    struct termios raw;
    memset(&raw, 0, sizeof raw);
    cfmakeraw(&raw);
    raw.c_cflag |= CREAD | CLOCAL;
    raw.c_cc[VMIN] = 1;
    assert_int_equal(openpty(&master, &slave, NULL, &raw, NULL), 0);
    return link_open(fixture, slave, FG_CHANNEL_TTY, non_blocking(master));
}

int link_submit(struct link *link, enum fg_op_kind kind)
{
    bool output = kind == FG_OP_SEND || kind == FG_OP_CONNECT;
    struct fg_op *op = output ? &link->out : &link->in;
    op->kind = kind;
    op->done = done;
    state_lock();
    if (link->in_flight[output]) {
        fixture_fault(link->fixture, "the test submits what is in flight");
    }
    link->in_flight[output] = true;
    state_unlock();
    /* From here on the account may be another worker's, when this is the first call. */
    submitting = true;
    int error = fg_channel_submit(link->channel, op);
    submitting = false;
    if (error) {
        state_lock();
        link->in_flight[output] = false;
        state_unlock();
    }
    return error;
}

void link_cancel(struct link *link, struct fg_op *op)
{
    submitting = true;
    fg_channel_cancel(link->channel, op);
    submitting = false;
}

void link_close(struct link *link)
{
    state_lock();
    link->close_asked = true;
    state_unlock();
    submitting = true;
    fg_channel_close(link->channel, closed);
    submitting = false;
}

struct strand_call {
    struct fg_task task;
    struct link *link;
    void (*run)(struct link *link, void *argument);
    void *argument;
    bool done;
};

static void run_strand_call(struct fg_task *task)
{
    struct strand_call *call = (struct strand_call *)task;
    call->run(call->link, call->argument);
    state_lock();
    call->done = true;
    state_unlock();
}

void link_on_strand(struct link *link, void (*run)(struct link *link, void *argument), void *argument)
{
    struct strand_call call = { .task.run = run_strand_call, .link = link, .run = run, .argument = argument };
    fg_strand_post(fg_channel_strand(link->channel), &call.task);
    int64_t deadline_ns = state_deadline();
    state_lock();
    while (!call.done) {
        if (!state_wait(deadline_ns) && !call.done) {
            fprintf(stderr, "not in time: a task of a channel\n");
            abort(); /* the task may still use this stack */
        }
    }
    state_unlock();
}

struct submit_call {
    enum fg_op_kind kind;
    int error;
};

static void submit_there(struct link *link, void *argument)
{
    struct submit_call *call = argument;
    call->error = link_submit(link, call->kind);
}

int ask_submit(struct link *link, enum fg_op_kind kind)
{
    struct submit_call call = { .kind = kind };
    link_on_strand(link, submit_there, &call);
    return call.error;
}

static void cancel_there(struct link *link, void *argument)
{
    link_cancel(link, argument);
}

void ask_cancel(struct link *link, struct fg_op *op)
{
    link_on_strand(link, cancel_there, op);
}

static void close_there(struct link *link, void *argument)
{
    (void)argument;
    if (!link->close_asked) { /* else a completion came before us */
        link_close(link);
    }
}

void ask_close(struct link *link)
{
    link_on_strand(link, close_there, NULL);
    WAIT_FOR(link->closed == 1);
}

int ask_send(struct link *link, const void *data, size_t size)
{
    link->out.send.data = data;
    link->out.send.size = size;
    link->out.send.to = NULL;
    return ask_submit(link, FG_OP_SEND);
}

void link_again(struct link *link, struct fg_op *op)
{
    if (op->result >= 0 && !link->close_asked && link_submit(link, op->kind)) {
        fixture_fault(link->fixture, "an operation could not be submitted again");
    }
}

void peer_write(int fd, const void *data, size_t size)
{
    const char *rest = data;
    while (size > 0) {
        struct pollfd ready = { .fd = fd, .events = POLLOUT };
        assert_int_equal(poll(&ready, 1, DEADLINE_S * 1000), 1);
        ssize_t put = write(fd, rest, size);
        if (put < 0 && errno == EAGAIN) {
            continue;
        }
        assert_true(put > 0);
        rest += put;
        size -= (size_t)put;
    }
}

size_t peer_read(int fd, void *data, size_t size)
{
    size_t got = 0;
    while (got < size) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&ready, 1, DEADLINE_S * 1000), 1);
        ssize_t part = read(fd, (char *)data + got, size - got);
        if (part < 0 && errno == EAGAIN) {
            continue;
        }
        assert_true(part >= 0);
        if (part == 0) {
            break;
        }
        got += (size_t)part;
    }
    return got;
}

void peer_reset(int fd)
{
    struct linger at_once = { .l_onoff = 1 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd);
}

size_t peer_skip(int fd, size_t size)
{
    size_t skipped = 0;
    for (size_t got = 1; got > 0 && skipped < size; skipped += got) {
        char part[8192];
        size_t wanted = size - skipped < sizeof part ? size - skipped : sizeof part;
        got = peer_read(fd, part, wanted);
    }
    return skipped;
}

int non_blocking(int fd)
{
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
    return fd;
}

int tcp_connect(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
    return non_blocking(fd);
}

uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}
