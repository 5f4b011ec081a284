/* The contract of the event models: POLL, terminals, and rest when there is nothing to do. */
#include "support/loop_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask_poll(struct link *link, short events)
{
    link->in.poll.events = events;
    return ask_submit(link, FG_OP_POLL);
}

static void fill(struct link *link)
{
    char data[4096] = { 0 };
    while (send(fg_channel_fd(link->channel), data, sizeof data, MSG_DONTWAIT) > 0) {
    }
}

static void a_poll_tells_what_can_be_read_and_leaves_it(void **state)
{
    struct link *link = link_open_tcp(*state);
    assert_int_equal(ask_poll(link, POLLIN), 0);
    fixture_let_pass(*state, 20);
    assert_int_equal(link->in_count, 0);
    peer_write(link->peer, "abc", 3);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, POLLIN);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    WAIT_FOR(link->in_count == 2);
    assert_memory_equal(link->bytes, "abc", 3);
}

static void a_poll_after_everything_was_read_waits(void **state)
{
    struct link *links[] = { link_open_tcp(*state), link_open_pair(*state, SOCK_DGRAM) };
    for (int i = 0; i < 2; i++) {
        peer_write(links[i]->peer, "a", 1);
        assert_int_equal(ask_submit(links[i], FG_OP_RECV), 0);
        WAIT_FOR(links[i]->in_count == 1);
        assert_int_equal(ask_poll(links[i], POLLIN), 0);
        fixture_let_pass(*state, 20);
        assert_int_equal(links[i]->in_count, 1);
        peer_write(links[i]->peer, "b", 1);
        WAIT_FOR(links[i]->in_count == 2);
        assert_int_equal(links[i]->in_result, POLLIN);
    }
}

static void poll_behind_recv(struct link *link, struct fg_op *op)
{
    if (op->kind == FG_OP_RECV && op->result == 1) {
        link->in.poll.events = POLLIN;
        if (link_submit(link, FG_OP_POLL)) {
            fixture_fault(link->fixture, "no poll after a recv");
        }
    }
}

static void a_poll_from_the_completion_that_took_the_last_datagram_waits(void **state)
{
    struct link *link = link_open_pair(*state, SOCK_DGRAM);
    link->then = poll_behind_recv;
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    peer_write(link->peer, "a", 1);
    WAIT_FOR(link->in_count >= 1);
    fixture_let_pass(*state, 20);
    assert_int_equal(link->in_count, 1);
    peer_write(link->peer, "b", 1);
    WAIT_FOR(link->in_count == 2);
    assert_int_equal(link->in_result, POLLIN);
}

static void a_poll_tells_room_to_write(void **state)
{
    struct link *link = link_open_pair(*state, SOCK_STREAM);
    fill(link);
    assert_int_equal(ask_poll(link, POLLIN | POLLOUT), 0);
    fixture_let_pass(*state, 20);
    assert_int_equal(link->in_count, 0);
    char data[4096];
    while (read(link->peer, data, sizeof data) > 0) {
    }
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, POLLOUT);
}

static void a_poll_for_input_is_not_told_of_room_for_a_send(void **state)
{
    struct link *link = link_open_pair(*state, SOCK_STREAM);
    size_t size = 1U << 20;
    char *data = calloc(1, size);
    assert_non_null(data);
    assert_int_equal(ask_poll(link, POLLIN), 0);
    assert_int_equal(ask_send(link, data, size), 0);
    assert_int_equal(peer_skip(link->peer, size), size);
    WAIT_FOR(link->out_count == 1);
    fixture_let_pass(*state, 10);
    assert_int_equal(link->in_count, 0);
    peer_write(link->peer, "x", 1);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, POLLIN);
    free(data);
}

static void a_poll_for_nothing_is_told_of_the_end(void **state)
{
    struct link *link = link_open_pair(*state, SOCK_STREAM);
    assert_int_equal(ask_poll(link, 0), 0);
    peer_write(link->peer, "x", 1);
    fixture_let_pass(*state, 20);
    assert_int_equal(link->in_count, 0);
    close(link->peer);
    link->peer = -1;
    WAIT_FOR(link->in_count == 1);
    assert_true(link->in_result & POLLHUP);
    assert_false(link->in_result & POLLIN);
}

static void a_poll_is_told_of_a_half_close(void **state)
{
    struct link *link = link_open_tcp(*state);
    assert_int_equal(ask_poll(link, POLLRDHUP), 0);
    peer_write(link->peer, "x", 1);
    fixture_let_pass(*state, 20);
    assert_int_equal(link->in_count, 0);
    assert_int_equal(shutdown(link->peer, SHUT_WR), 0);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, POLLRDHUP);
}

static void a_terminal_is_read_and_written(void **state)
{
    struct link *link = link_open_pty(*state);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    peer_write(link->peer, "in", 2);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, 2);
    assert_memory_equal(link->bytes, "in", 2);
    size_t size = 100000; /* more than a terminal holds */
    char *data = calloc(2, size);
    assert_non_null(data);
    memset(data, 'x', size);
    assert_int_equal(ask_send(link, data, size), 0);
    assert_int_equal(peer_read(link->peer, data + size, size), size);
    assert_memory_equal(data, data + size, size);
    WAIT_FOR(link->out_count == 1);
    assert_int_equal(link->out_result, size);
    free(data);
}

static void a_terminal_that_is_unplugged_tells_the_recv_and_is_quiet_then(void **state)
{
    struct link *link = link_open_pty(*state);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    fixture_let_pass(*state, 5);
    close(link->peer);
    link->peer = -1;
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, -EIO);
    fixture_expect_rest(*state, 100); /* although the descriptor is still open and hung up */
    assert_int_equal(link->in_count, 1);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    WAIT_FOR(link->in_count == 2);
    assert_int_equal(link->in_result, -EIO);
}

static void a_terminal_that_is_unplugged_tells_the_send(void **state)
{
    struct link *link = link_open_pty(*state);
    size_t size = 100000;
    char *data = calloc(1, size);
    assert_non_null(data);
    assert_int_equal(ask_send(link, data, size), 0);
    fixture_let_pass(*state, 5);
    assert_int_equal(link->out_count, 0);
    close(link->peer);
    link->peer = -1;
    WAIT_FOR(link->out_count == 1);
    assert_int_equal(link->out_result, -EIO);
    free(data);
}

static void an_idle_loop_rests(void **state)
{
    struct link *links[50];
    for (int i = 0; i < 50; i++) {
        links[i] = i % 2 ? link_open_pair(*state, SOCK_DGRAM) : link_open_tcp(*state);
        assert_int_equal(ask_submit(links[i], FG_OP_RECV), 0);
    }
    fixture_let_pass(*state, 5);
    fixture_expect_rest(*state, 200);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(links[i]->in_count, 0);
        peer_write(links[i]->peer, "x", 1);
        WAIT_FOR(links[i]->in_count == 1);
    }
}

/* Nobody receives: what comes, and the end of it, must wake nobody. */
static void a_paused_channel_rests_when_its_peer_hangs_up(void **state)
{
    struct link *links[] = { link_open_tcp(*state), link_open_tcp(*state), link_open_pty(*state),
                             link_open_pair(*state, SOCK_STREAM) };
    for (int i = 0; i < 4; i++) { /* each was in use before */
        assert_int_equal(ask_submit(links[i], FG_OP_RECV), 0);
        peer_write(links[i]->peer, "x", 1);
        WAIT_FOR(links[i]->in_count == 1);
        peer_write(links[i]->peer, "more", 4);
    }
    peer_reset(links[0]->peer);
    links[0]->peer = -1;
    for (int i = 1; i < 4; i++) {
        close(links[i]->peer);
        links[i]->peer = -1;
    }
    fixture_let_pass(*state, 5);
    fixture_expect_rest(*state, 100);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(links[i]->in_count, 1);
        assert_int_equal(ask_submit(links[i], FG_OP_RECV), 0);
        WAIT_FOR(links[i]->in_count == 2);
    }
    assert_true(links[0]->in_result == 4 || links[0]->in_result == -ECONNRESET);
    assert_int_equal(links[1]->in_result, 4);
    assert_int_equal(links[3]->in_result, 4);
}

/* Cancelled, and still known to whoever waits: what comes then wakes at most once. */
static void a_channel_whose_recv_was_cancelled_rests(void **state)
{
    struct link *link = link_open_tcp(*state);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    ask_cancel(link, &link->in);
    WAIT_FOR(link->in_count == 1);
    peer_write(link->peer, "x", 1);
    close(link->peer);
    link->peer = -1;
    fixture_let_pass(*state, 5);
    fixture_expect_rest(*state, 100);
}

static void a_send_that_stands_rests(void **state)
{
    struct link *links[] = { link_open_tcp(*state), link_open_pty(*state) };
    size_t size = 8U << 20;
    char *data = calloc(1, size);
    assert_non_null(data);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask_send(links[i], data, size), 0);
        assert_int_equal(ask_submit(links[i], FG_OP_RECV), 0);
    }
    assert_int_equal(shutdown(links[0]->peer, SHUT_WR), 0);
    WAIT_FOR(links[0]->in_count == 1);
    fixture_let_pass(*state, 20);
    fixture_expect_rest(*state, 100);
    assert_int_equal(links[0]->out_count + links[1]->out_count, 0);
    ask_close(links[0]);
    ask_close(links[1]);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_poll_tells_what_can_be_read_and_leaves_it),
        cmocka_unit_test(a_poll_after_everything_was_read_waits),
        cmocka_unit_test(a_poll_from_the_completion_that_took_the_last_datagram_waits),
        cmocka_unit_test(a_poll_tells_room_to_write),
        cmocka_unit_test(a_poll_for_input_is_not_told_of_room_for_a_send),
        cmocka_unit_test(a_poll_for_nothing_is_told_of_the_end),
        cmocka_unit_test(a_poll_is_told_of_a_half_close),
        cmocka_unit_test(a_terminal_is_read_and_written),
        cmocka_unit_test(a_terminal_that_is_unplugged_tells_the_recv_and_is_quiet_then),
        cmocka_unit_test(a_terminal_that_is_unplugged_tells_the_send),
        cmocka_unit_test(an_idle_loop_rests),
        cmocka_unit_test(a_paused_channel_rests_when_its_peer_hangs_up),
        cmocka_unit_test(a_channel_whose_recv_was_cancelled_rests),
        cmocka_unit_test(a_send_that_stands_rests),
    };
    return FIXTURE_RUN("readiness and rest", tests);
}
