/* The contract of the event models: RECV and SEND on streams. */
#include "support/loop_fixture.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void a_recv_brings_the_bytes_that_came(void **state)
{
    struct link *link = link_open_tcp(*state);
    int64_t before_ns = fg_clock_now_ns();
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    peer_write(link->peer, "hello", 5);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, 5);
    assert_memory_equal(link->bytes, "hello", 5);
    assert_in_range(link->in.recv.received_ns, before_ns, fg_clock_now_ns());
}

static void a_recv_brings_bytes_that_came_before_it(void **state)
{
    struct link *link = link_open_pair(*state, SOCK_STREAM);
    peer_write(link->peer, "early", 5);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    WAIT_FOR(link->in_count == 1);
    assert_memory_equal(link->bytes, "early", 5);
}

static void a_recv_waits_and_completes_once(void **state)
{
    struct link *link = link_open_tcp(*state);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    fixture_let_pass(*state, 20);
    assert_int_equal(link->in_count, 0);
    peer_write(link->peer, "a", 1);
    WAIT_FOR(link->in_count == 1);
    peer_write(link->peer, "b", 1); /* nobody asked for it: it stays where it is */
    fixture_let_pass(*state, 20);
    assert_int_equal(link->in_count, 1);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    WAIT_FOR(link->in_count == 2);
    assert_memory_equal(link->bytes, "ab", 2);
}

static void the_end_of_the_peer_is_told_as_zero_and_sending_goes_on(void **state)
{
    struct link *link = link_open_tcp(*state);
    peer_write(link->peer, "last", 4);
    assert_int_equal(shutdown(link->peer, SHUT_WR), 0);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, 4);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    WAIT_FOR(link->in_count == 2);
    assert_int_equal(link->in_result, 0);
    assert_int_equal(ask_send(link, "answer", 6), 0);
    WAIT_FOR(link->out_count == 1);
    assert_int_equal(link->out_result, 6);
    char got[6];
    assert_int_equal(peer_read(link->peer, got, sizeof got), 6);
    assert_memory_equal(got, "answer", 6);
}

static void a_reset_is_told_to_who_receives(void **state)
{
    struct link *link = link_open_tcp(*state);
    link->then = link_again;
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    peer_write(link->peer, "abc", 3);
    WAIT_FOR(link->size == 3);
    peer_reset(link->peer);
    link->peer = -1;
    WAIT_FOR(link->in_result < 0);
    assert_int_equal(link->in_result, -ECONNRESET);
}

/* Small buffers on both sides, so that a SEND comes to a stand. */
static void make_narrow(struct link *link)
{
    int size = 16384; /* smaller ones make TCP wait for its own timers */
    assert_int_equal(setsockopt(fg_channel_fd(link->channel), SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_int_equal(setsockopt(link->peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
}

static uint8_t *pattern(size_t size)
{
    uint8_t *data = malloc(size);
    assert_non_null(data);
    uint32_t seed = 7;
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)next_random(&seed);
    }
    return data;
}

static void check_large_send(struct link *link, size_t size)
{
    uint8_t *data = pattern(size);
    uint8_t *got = malloc(size);
    assert_non_null(got);
    make_narrow(link);
    assert_int_equal(ask_send(link, data, size), 0);
    size_t part = 1;
    for (size_t at = 0; at < size; at += part, part = part * 3 % 5000 + 1) {
        part = part < size - at ? part : size - at;
        assert_int_equal(link->out_count, 0); /* not before the last byte has found a place */
        assert_int_equal(peer_read(link->peer, got + at, part), part);
        if (at + part + 262144 > size) { /* the rest may be under way */
            at += part;
            assert_int_equal(peer_read(link->peer, got + at, size - at), size - at);
            break;
        }
    }
    WAIT_FOR(link->out_count == 1);
    assert_int_equal(link->out_result, size);
    assert_int_equal(link->out.send.sent, size);
    assert_memory_equal(got, data, size);
    free(got);
    free(data);
}

static void a_large_send_to_a_slow_reader_arrives_whole_over_tcp(void **state)
{
    check_large_send(link_open_tcp(*state), 2U << 20);
}

static void a_large_send_to_a_slow_reader_arrives_whole_over_a_unix_socket(void **state)
{
    check_large_send(link_open_pair(*state, SOCK_STREAM), 1U << 20);
}

static void a_send_of_nothing_completes(void **state)
{
    struct link *link = link_open_tcp(*state);
    assert_int_equal(ask_send(link, "", 0), 0);
    WAIT_FOR(link->out_count == 1);
    assert_int_equal(link->out_result, 0);
}

/* With SIGPIPE at its default, which would end this process. */
static void a_send_to_a_peer_that_closed_fails_without_a_signal(void **state)
{
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    struct link *links[] = { link_open_tcp(*state), link_open_pair(*state, SOCK_STREAM) };
    for (int i = 0; i < 2; i++) {
        struct link *link = links[i];
        close(link->peer);
        link->peer = -1;
        for (unsigned sent = 0; sent < 100 && link->out_result >= 0; sent++) {
            assert_int_equal(ask_send(link, "x", 1), 0);
            WAIT_FOR(link->out_count == sent + 1);
        }
        assert_true(link->out_result == -EPIPE || link->out_result == -ECONNRESET);
    }
}

static void a_send_that_stands_is_told_of_a_reset(void **state)
{
    struct link *link = link_open_tcp(*state);
    size_t size = 4U << 20;
    uint8_t *data = pattern(size);
    make_narrow(link);
    assert_int_equal(ask_send(link, data, size), 0);
    char some[100];
    assert_int_equal(peer_read(link->peer, some, sizeof some), sizeof some);
    peer_reset(link->peer);
    link->peer = -1;
    WAIT_FOR(link->out_count == 1);
    assert_true(link->out_result == -EPIPE || link->out_result == -ECONNRESET);
    assert_in_range(link->out.send.sent, sizeof some, size - 1);
    free(data);
}

static void receiving_goes_on_while_a_send_stands(void **state)
{
    struct link *link = link_open_tcp(*state);
    size_t size = 2U << 20;
    uint8_t *data = pattern(size);
    make_narrow(link);
    link->then = NULL;
    assert_int_equal(ask_send(link, data, size), 0);
    for (unsigned i = 1; i <= 20; i++) {
        assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
        peer_write(link->peer, "x", 1);
        WAIT_FOR(link->in_count == i);
    }
    assert_int_equal(link->out_count, 0);
    assert_int_equal(peer_skip(link->peer, size), size);
    WAIT_FOR(link->out_count == 1);
    assert_int_equal(link->out_result, size);
    free(data);
}

struct busy {
    struct fg_op op;
    int errors[2];
};

static void not_called(struct fg_op *op)
{
    struct link *link = fg_channel_owner(op->channel);
    fixture_fault(link->fixture, "an operation that was refused completed");
}

static void submit_more(struct link *link, void *argument)
{
    struct busy *busy = argument;
    static const enum fg_op_kind inputs[] = { FG_OP_RECV, FG_OP_ACCEPT, FG_OP_POLL };
    for (int i = 0; i < 3; i++) {
        busy->op = (struct fg_op){ .kind = inputs[i], .done = not_called, .channel = link->channel };
        int error = fg_channel_submit(link->channel, &busy->op);
        busy->errors[0] = error == -EBUSY ? busy->errors[0] : error;
    }
    busy->op = (struct fg_op){ .kind = FG_OP_SEND, .done = not_called, .channel = link->channel };
    busy->op.send.data = "x";
    busy->op.send.size = 1;
    busy->errors[1] = fg_channel_submit(link->channel, &busy->op);
}

static void a_second_operation_of_a_side_is_refused(void **state)
{
    struct link *link = link_open_tcp(*state);
    struct busy busy = { .errors = { -EBUSY, 0 } };
    size_t size = 4U << 20;
    uint8_t *data = pattern(size);
    make_narrow(link);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(ask_send(link, data, size), 0);
    link_on_strand(link, submit_more, &busy);
    assert_int_equal(busy.errors[0], -EBUSY);
    assert_int_equal(busy.errors[1], -EBUSY);
    /* Those in flight are as they were. */
    peer_write(link->peer, "y", 1);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, 1);
    ask_close(link);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recv_brings_the_bytes_that_came),
        cmocka_unit_test(a_recv_brings_bytes_that_came_before_it),
        cmocka_unit_test(a_recv_waits_and_completes_once),
        cmocka_unit_test(the_end_of_the_peer_is_told_as_zero_and_sending_goes_on),
        cmocka_unit_test(a_reset_is_told_to_who_receives),
        cmocka_unit_test(a_large_send_to_a_slow_reader_arrives_whole_over_tcp),
        cmocka_unit_test(a_large_send_to_a_slow_reader_arrives_whole_over_a_unix_socket),
        cmocka_unit_test(a_send_of_nothing_completes),
        cmocka_unit_test(a_send_to_a_peer_that_closed_fails_without_a_signal),
        cmocka_unit_test(a_send_that_stands_is_told_of_a_reset),
        cmocka_unit_test(receiving_goes_on_while_a_send_stands),
        cmocka_unit_test(a_second_operation_of_a_side_is_refused),
    };
    return FIXTURE_RUN("streams", tests);
}
