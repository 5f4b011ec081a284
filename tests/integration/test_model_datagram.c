/* The contract of the event models: datagrams. */
#include "support/loop_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int udp_socket(struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &length), 0);
    return fd;
}

/* A channel of UDP, with a peer that is connected to it; and the peer's own address. */
static struct link *open_udp(struct loop_fixture *fixture, struct sockaddr_in *peer_address)
{
    struct sockaddr_in address;
    int fd = udp_socket(&address);
    int peer = udp_socket(peer_address);
    assert_int_equal(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
    return link_open(fixture, fd, FG_CHANNEL_DATAGRAM, peer);
}

struct seen {
    int64_t sizes[64];
    unsigned count;
};

static void keep_size(struct link *link, struct fg_op *op)
{
    struct seen *seen = link->context;
    if (op->result >= 0) {
        state_lock();
        seen->sizes[seen->count % 64] = op->result;
        seen->count++;
        state_unlock();
    }
    link_again(link, op);
}

static void every_datagram_completes_one_recv(void **state)
{
    struct sockaddr_in from;
    struct link *link = open_udp(*state, &from);
    struct seen seen = { 0 };
    link->context = &seen;
    link->then = keep_size;
    char data[64] = { 0 };
    for (size_t i = 0; i < 32; i++) {
        assert_int_equal(send(link->peer, data, i + 1, 0), i + 1);
    }
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    for (size_t i = 32; i < 64; i++) {
        assert_int_equal(send(link->peer, data, i + 1, 0), i + 1);
    }
    WAIT_FOR(seen.count == 64);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(seen.sizes[i], i + 1);
    }
    ask_close(link);
    assert_int_equal(seen.count, 64);
}

static void a_datagram_without_bytes_is_no_end(void **state)
{
    struct sockaddr_in from;
    struct link *link = open_udp(*state, &from);
    link->then = link_again;
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(send(link->peer, "", 0, 0), 0);
        assert_int_equal(send(link->peer, "x", 1, 0), 1);
    }
    WAIT_FOR(link->in_count == 6);
    assert_int_equal(link->size, 3);
}

static void a_datagram_names_its_sender(void **state)
{
    struct sockaddr_in from;
    struct link *link = open_udp(*state, &from);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(send(link->peer, "x", 1, 0), 1);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in.recv.from.any.sa_family, AF_INET);
    assert_int_equal(link->in.recv.from.in.sin_port, from.sin_port);
    assert_int_equal(link->in.recv.from.in.sin_addr.s_addr, from.sin_addr.s_addr);
    assert_false(link->in.recv.truncated);
}

static void a_datagram_of_a_unix_socket_names_nobody(void **state)
{
    struct link *link = link_open_pair(*state, SOCK_DGRAM);
    memset(&link->in.recv.from, 0xff, sizeof link->in.recv.from);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(send(link->peer, "x", 1, 0), 1);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in.recv.from.any.sa_family, 0);
}

static void the_largest_datagram_of_udp_is_not_truncated(void **state)
{
    struct sockaddr_in from;
    struct link *link = open_udp(*state, &from);
    enum { LARGEST = 65507 };
    char *data = calloc(1, LARGEST);
    assert_non_null(data);
    data[LARGEST - 1] = 'z';
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(send(link->peer, data, LARGEST, 0), LARGEST);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, LARGEST);
    assert_int_equal(link->bytes[LARGEST - 1], 'z');
    assert_false(link->in.recv.truncated);
    free(data);
}

static void a_datagram_that_is_too_long_is_told_as_truncated(void **state)
{
    struct link *link = link_open_pair(*state, SOCK_DGRAM);
    enum { LONG = 150000 };
    int size = 2 * LONG;
    char *data = calloc(1, LONG);
    assert_non_null(data);
    assert_int_equal(setsockopt(link->peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(send(link->peer, data, LONG, 0), LONG);
    WAIT_FOR(link->in_count == 1);
    assert_true(link->in.recv.truncated);
    assert_in_range(link->in_result, 1, LONG - 1);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(send(link->peer, "short", 5, 0), 5);
    WAIT_FOR(link->in_count == 2);
    assert_false(link->in.recv.truncated);
    assert_int_equal(link->in_result, 5);
    free(data);
}

static void each_send_is_one_datagram_an_empty_one_too(void **state)
{
    struct link *link = link_open_pair(*state, SOCK_DGRAM);
    static const size_t sizes[] = { 3, 0, 5 };
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ask_send(link, "abcde", sizes[i]), 0);
        WAIT_FOR(link->out_count == i + 1);
        assert_int_equal(link->out_result, sizes[i]);
    }
    char got[16];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(recv(link->peer, got, sizeof got, MSG_DONTWAIT), sizes[i]);
    }
}

static void an_answer_that_nobody_listens_is_told_and_the_channel_lives(void **state)
{
    struct sockaddr_in from, own;
    struct link *link = open_udp(*state, &from);
    socklen_t length = sizeof own;
    int fd = fg_channel_fd(link->channel);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &length), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&from, sizeof from), 0);
    close(link->peer);
    link->peer = -1;
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(ask_send(link, "x", 1), 0);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, -ECONNREFUSED);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    int again = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(again, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(sendto(again, "back", 4, 0, (struct sockaddr *)&own, length), 4);
    WAIT_FOR(link->in_count == 2);
    assert_int_equal(link->in_result, 4);
    close(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_datagram_completes_one_recv),
        cmocka_unit_test(a_datagram_without_bytes_is_no_end),
        cmocka_unit_test(a_datagram_names_its_sender),
        cmocka_unit_test(a_datagram_of_a_unix_socket_names_nobody),
        cmocka_unit_test(the_largest_datagram_of_udp_is_not_truncated),
        cmocka_unit_test(a_datagram_that_is_too_long_is_told_as_truncated),
        cmocka_unit_test(each_send_is_one_datagram_an_empty_one_too),
        cmocka_unit_test(an_answer_that_nobody_listens_is_told_and_the_channel_lives),
    };
    return FIXTURE_RUN("datagrams", tests);
}
