#include "event/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* So many times accept4 tells of a connection that went before it was accepted. */
static int aborted;

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    if (aborted > 0) {
        aborted--;
        errno = ECONNABORTED;
        return -1;
    }
    return (int)syscall(SYS_accept4, fd, address, length, flags);
}

static int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static int listener(struct sockaddr_storage *address, socklen_t *length)
{
    struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = tcp_socket();
    *length = sizeof *address;
    assert_int_equal(bind(fd, (struct sockaddr *)&loopback, sizeof loopback), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, length), 0);
    assert_int_equal(listen(fd, 0), 0);
    return fd;
}

static void a_connection_that_went_before_it_was_accepted_is_passed_over(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t length = 0;
    int fd = listener(&address, &length);
    int client = tcp_socket();
    assert_true(connect(client, (struct sockaddr *)&address, length) == 0 || errno == EINPROGRESS);
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, 20000), 1);
    struct fg_op op = { .kind = FG_OP_ACCEPT };
    aborted = 3;
    int64_t accepted = fg_io_accept(fd, &op);
    assert_true(accepted >= 0);
    close((int)accepted);
    close(client);
    close(fd);
}

static void connections_that_went_are_never_told(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t length = 0;
    int fd = listener(&address, &length);
    struct fg_op op = { .kind = FG_OP_ACCEPT };
    aborted = 100000;
    assert_int_equal(fg_io_accept(fd, &op), -EAGAIN);
    assert_true(aborted > 0); /* and it did not stay for all of them */
    aborted = 0;
    close(fd);
}

/* A listener whose queue is full answers nothing, so that a connect stays under way. */
static int start_connect_without_answer(struct sockaddr_storage *address, socklen_t length, int *fillers,
                                        struct fg_op *op)
{
    for (int i = 0; i < 2; i++) {
        fillers[i] = tcp_socket();
        assert_true(connect(fillers[i], (struct sockaddr *)address, length) == 0 || errno == EINPROGRESS);
    }
    int fd = tcp_socket();
    *op = (struct fg_op){ .kind = FG_OP_CONNECT };
    op->connect.to = address;
    op->connect.to_length = length;
    return fd;
}

static void a_connect_that_is_under_way_is_not_told_as_done(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t length = 0;
    int fillers[2];
    struct fg_op op;
    int server = listener(&address, &length);
    int fd = start_connect_without_answer(&address, length, fillers, &op);
    bool started = false;
    assert_int_equal(fg_io_connect(fd, &op, &started), -EAGAIN);
    assert_true(started);
    assert_int_equal(fg_io_connect(fd, &op, &started), -EAGAIN);
    close(fillers[0]);
    close(fillers[1]);
    close(fd);
    close(server);
}

static void a_refusal_is_told_although_another_call_took_the_error(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t length = 0;
    close(listener(&address, &length)); /* nobody listens there now */
    int fd = tcp_socket();
    struct fg_op op = { .kind = FG_OP_CONNECT };
    op.connect.to = &address;
    op.connect.to_length = length;
    bool started = false;
    int64_t result = fg_io_connect(fd, &op, &started);
    if (result == -EAGAIN) {
        struct pollfd ready = { .fd = fd, .events = POLLOUT };
        assert_int_equal(poll(&ready, 1, 20000), 1);
        char byte;
        assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
        result = fg_io_connect(fd, &op, &started);
    }
    assert_true(result < 0 && result != -EAGAIN);
    close(fd);
}

static void a_datagram_without_bytes_is_sent(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    struct fg_op op = { .kind = FG_OP_SEND };
    op.send.data = "";
    assert_int_equal(fg_io_send(ends[0], FG_CHANNEL_DATAGRAM, &op), 0);
    char byte;
    assert_int_equal(recv(ends[1], &byte, 1, MSG_DONTWAIT), 0);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_went_before_it_was_accepted_is_passed_over),
        cmocka_unit_test(connections_that_went_are_never_told),
        cmocka_unit_test(a_connect_that_is_under_way_is_not_told_as_done),
        cmocka_unit_test(a_refusal_is_told_although_another_call_took_the_error),
        cmocka_unit_test(a_datagram_without_bytes_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
