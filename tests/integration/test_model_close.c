/* The contract of the event models: cancelling and closing. */
#include "support/loop_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGE (8U << 20)

static char *large;

static int make_large(void **state)
{
    (void)state;
    large = calloc(1, LARGE);
    return large ? 0 : -1;
}

/* A connect that nobody answers: the listener's queue is full. */
struct silence {
    struct sockaddr_storage to;
    int fillers[2];
};

static struct link *open_unanswered(struct loop_fixture *fixture, struct silence *silence)
{
    struct sockaddr_in address;
    link_open_listener(fixture, &address, 0);
    for (int i = 0; i < 2; i++) {
        silence->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(connect(silence->fillers[i], (struct sockaddr *)&address, sizeof address) == 0 ||
                    errno == EINPROGRESS);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct link *link = link_open(fixture, fd, FG_CHANNEL_STREAM, -1);
    memcpy(&silence->to, &address, sizeof address);
    link->out.connect.to = &silence->to;
    link->out.connect.to_length = sizeof address;
    return link;
}

/* One link for each kind of operation, which is in flight and comes to no end by itself. */
struct all_kinds {
    struct link *recv, *accept, *poll, *send, *connect, *tty;
    struct silence silence;
};

static void start_all_kinds(struct loop_fixture *fixture, struct all_kinds *all)
{
    struct sockaddr_in address;
    all->recv = link_open_tcp(fixture);
    assert_int_equal(ask_submit(all->recv, FG_OP_RECV), 0);
    all->accept = link_open_listener(fixture, &address, 8);
    assert_int_equal(ask_submit(all->accept, FG_OP_ACCEPT), 0);
    all->poll = link_open_tcp(fixture);
    all->poll->in.poll.events = POLLIN;
    assert_int_equal(ask_submit(all->poll, FG_OP_POLL), 0);
    all->send = link_open_tcp(fixture);
    assert_int_equal(ask_send(all->send, large, LARGE), 0);
    all->connect = open_unanswered(fixture, &all->silence);
    assert_int_equal(ask_submit(all->connect, FG_OP_CONNECT), 0);
    all->tty = link_open_pty(fixture);
    assert_int_equal(ask_submit(all->tty, FG_OP_RECV), 0);
    assert_int_equal(ask_send(all->tty, large, LARGE), 0);
}

static void expect_all_cancelled(struct all_kinds *all)
{
    struct link *inputs[] = { all->recv, all->accept, all->poll, all->tty };
    struct link *outputs[] = { all->send, all->connect, all->tty };
    for (int i = 0; i < 4; i++) {
        WAIT_FOR(inputs[i]->in_count == 1);
        assert_int_equal(inputs[i]->in_result, -ECANCELED);
    }
    for (int i = 0; i < 3; i++) {
        WAIT_FOR(outputs[i]->out_count == 1);
        assert_int_equal(outputs[i]->out_result, -ECANCELED);
    }
    close(all->silence.fillers[0]);
    close(all->silence.fillers[1]);
}

static void a_cancelled_operation_of_each_kind_completes_with_canceled(void **state)
{
    struct all_kinds all;
    start_all_kinds(*state, &all);
    struct link *inputs[] = { all.recv, all.accept, all.poll, all.tty };
    struct link *outputs[] = { all.send, all.connect, all.tty };
    for (int i = 0; i < 4; i++) {
        ask_cancel(inputs[i], &inputs[i]->in);
    }
    for (int i = 0; i < 3; i++) {
        ask_cancel(outputs[i], &outputs[i]->out);
    }
    expect_all_cancelled(&all);
}

static void closing_cancels_an_operation_of_each_kind(void **state)
{
    struct all_kinds all;
    start_all_kinds(*state, &all);
    ask_close(all.recv);
    ask_close(all.accept);
    ask_close(all.poll);
    ask_close(all.send);
    ask_close(all.connect);
    ask_close(all.tty);
    expect_all_cancelled(&all);
}

static void submit_and_cancel(struct link *link, void *argument)
{
    int *error = argument;
    *error = link_submit(link, FG_OP_RECV);
    link_cancel(link, &link->in);
    link_cancel(link, &link->in);
}

static void an_operation_cancelled_in_the_step_that_submitted_it_completes_once(void **state)
{
    struct link *link = link_open_tcp(*state);
    int error = -1;
    link_on_strand(link, submit_and_cancel, &error);
    assert_int_equal(error, 0);
    WAIT_FOR(link->in_count == 1);
    assert_int_equal(link->in_result, -ECANCELED);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    peer_write(link->peer, "x", 1);
    WAIT_FOR(link->in_count == 2);
    assert_int_equal(link->in_result, 1);
}

static void cancel_itself_and_go_on(struct link *link, struct fg_op *op)
{
    link_cancel(link, op);
    link_again(link, op);
}

static void a_cancel_of_what_is_done_has_no_effect(void **state)
{
    struct link *link = link_open_tcp(*state);
    ask_cancel(link, &link->in); /* never submitted */
    link->then = cancel_itself_and_go_on;
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    for (unsigned i = 1; i <= 10; i++) {
        peer_write(link->peer, "x", 1);
        WAIT_FOR(link->in_count == i);
        assert_int_equal(link->in_result, 1);
    }
    fixture_let_pass(*state, 5);
    assert_int_equal(link->in_count, 10);
}

static void cancel_the_send(struct link *link, struct fg_op *op)
{
    if (op == &link->in) {
        link_cancel(link, &link->out);
    }
}

static void a_completion_cancels_the_operation_beside_it(void **state)
{
    struct link *link = link_open_tcp(*state);
    link->then = cancel_the_send;
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(ask_send(link, large, LARGE), 0);
    peer_write(link->peer, "x", 1);
    WAIT_FOR(link->in_count == 1 && link->out_count == 1);
    assert_int_equal(link->in_result, 1);
    assert_int_equal(link->out_result, -ECANCELED);
}

static void a_cancelled_send_tells_how_much_was_sent(void **state)
{
    struct link *link = link_open_tcp(*state);
    char got[1000];
    assert_int_equal(ask_send(link, large, LARGE), 0);
    assert_int_equal(peer_read(link->peer, got, sizeof got), sizeof got);
    ask_cancel(link, &link->out);
    WAIT_FOR(link->out_count == 1);
    assert_int_equal(link->out_result, -ECANCELED);
    size_t sent = link->out.send.sent;
    assert_in_range(sent, sizeof got, LARGE - 1);
    ask_close(link);
    assert_int_equal(peer_skip(link->peer, LARGE), sent - sizeof got);
}

/* What a cancel meets: nothing, or bytes that have just come. Either way none is lost. */
static void a_cancel_beside_bytes_loses_none(void **state)
{
    enum { ROUNDS = 1000 };
    struct link *link = link_open_pair(*state, SOCK_STREAM);
    unsigned cancelled = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t byte = (uint8_t)i;
        assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
        peer_write(link->peer, &byte, 1);
        ask_cancel(link, &link->in);
        WAIT_FOR(link->in_count == i + 1);
        assert_true(link->in_result > 0 || link->in_result == -ECANCELED);
        cancelled += link->in_result < 0;
    }
    while (link->size < ROUNDS) {
        unsigned before = link->in_count;
        assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
        WAIT_FOR(link->in_count == before + 1);
        assert_true(link->in_result > 0);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        assert_int_equal(link->bytes[i], (uint8_t)i);
    }
    print_message("%u of %u were cancelled\n", cancelled, ROUNDS);
}

static void close_from_completion(struct link *link, struct fg_op *op)
{
    (void)op;
    if (!link->close_asked) {
        link_close(link);
        if (link_submit(link, FG_OP_RECV) != -ECANCELED || link->in_flight[1] == false) {
            fixture_fault(link->fixture, "a submit after close was not refused");
        }
    } else if (link_submit(link, FG_OP_RECV) != -ECANCELED) {
        fixture_fault(link->fixture, "a submit in the completion after close was not refused");
    }
}

static void closing_inside_a_completion_ends_the_other_operation(void **state)
{
    struct link *link = link_open_tcp(*state);
    link->then = close_from_completion;
    assert_int_equal(ask_send(link, large, LARGE), 0);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    peer_write(link->peer, "x", 1);
    WAIT_FOR(link->closed == 1);
    assert_int_equal(link->in_count, 1);
    assert_int_equal(link->in_result, 1);
    assert_int_equal(link->out_count, 1);
    assert_int_equal(link->out_result, -ECANCELED);
}

static void close_after_send(struct link *link, struct fg_op *op)
{
    if (op == &link->out) {
        link_close(link);
    }
}

static void closing_inside_the_completion_of_a_send_ends_the_recv(void **state)
{
    struct link *link = link_open_tcp(*state);
    link->then = close_after_send;
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(ask_send(link, "bye", 3), 0);
    WAIT_FOR(link->closed == 1);
    assert_int_equal(link->out_result, 3);
    assert_int_equal(link->in_count, 1);
    assert_int_equal(link->in_result, -ECANCELED);
    char got[4];
    assert_int_equal(peer_read(link->peer, got, sizeof got), 3);
}

static void close_and_look(struct link *link, void *argument)
{
    int *told = argument;
    link_close(link);
    told[0] = fg_channel_fd(link->channel);
    told[1] = link_submit(link, FG_OP_RECV);
    told[2] = link_submit(link, FG_OP_SEND);
    link_cancel(link, &link->in);
}

static void after_close_nothing_is_accepted(void **state)
{
    struct link *link = link_open_tcp(*state);
    int told[3] = { 0 };
    link->out.send.data = "x";
    link->out.send.size = 1;
    link_on_strand(link, close_and_look, told);
    WAIT_FOR(link->closed == 1);
    assert_int_equal(told[0], -1);
    assert_int_equal(told[1], -ECANCELED);
    assert_int_equal(told[2], -ECANCELED);
    assert_int_equal(link->in_count + link->out_count, 0);
}

static void a_closed_channel_closes_its_descriptor(void **state)
{
    struct link *link = link_open_tcp(*state);
    int fd = fg_channel_fd(link->channel);
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    ask_close(link);
    char byte;
    assert_int_equal(peer_read(link->peer, &byte, 1), 0);
    /* It may go a little later than closed, but it goes. */
    for (int64_t until_ns = state_deadline(); fcntl(fd, F_GETFD) != -1;) {
        assert_true(state_deadline() < until_ns + INT64_C(1000000000) * DEADLINE_S);
        fixture_let_pass(*state, 1);
    }
}

static void a_channel_that_was_never_used_closes(void **state)
{
    struct link *links[100];
    for (int i = 0; i < 100; i++) {
        links[i] = link_open_pair(*state, SOCK_STREAM);
        link_close(links[i]); /* the first call may come from any thread */
    }
    for (int i = 0; i < 100; i++) {
        WAIT_FOR(links[i]->closed == 1);
    }
}

/* What an owner has on the strand beside its operations. */
struct owner {
    struct fg_timer timer;
    struct fg_task task;
    struct link *link;
    unsigned expired, ran;
    bool gone;
};

static void owner_expired(struct fg_timer *timer)
{
    struct owner *owner = (struct owner *)timer;
    owner->expired++;
    fg_timer_start(timer, 1000);
}

static void owner_ran(struct fg_task *task)
{
    struct owner *owner = (struct owner *)((char *)task - offsetof(struct owner, task));
    owner->ran++;
    fg_timer_stop(&owner->timer);
    link_close(owner->link);
}

static void owner_gone(struct link *link)
{
    struct owner *owner = link->context;
    bool well = owner->ran == 1 && link->in_count == 1;
    free(owner); /* an address checker tells who comes later */
    if (!well) {
        fixture_fault(link->fixture, "closed was not the last");
    }
}

static void start_owner(struct link *link, void *argument)
{
    struct owner *owner = argument;
    link->context = owner;
    link->gone = owner_gone;
    owner->link = link;
    owner->task.run = owner_ran;
    fg_timer_init(&owner->timer, link->fixture->loop.timers, fg_channel_strand(link->channel), owner_expired);
    fg_timer_start(&owner->timer, 0);
}

static void the_owner_may_be_freed_in_closed_with_its_timer_and_task(void **state)
{
    enum { COUNT = 200 };
    struct link *links[COUNT];
    struct owner *owners[COUNT];
    for (int i = 0; i < COUNT; i++) {
        links[i] = link_open_pair(*state, SOCK_STREAM);
        owners[i] = calloc(1, sizeof *owners[i]);
        assert_non_null(owners[i]);
        link_on_strand(links[i], start_owner, owners[i]);
        assert_int_equal(ask_submit(links[i], FG_OP_RECV), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        fg_strand_post(fg_channel_strand(links[i]->channel), &owners[i]->task);
        if (i % 2) {
            ssize_t put = send(links[i]->peer, "x", 1, MSG_NOSIGNAL);
            (void)put; /* it may be closed already */
        }
    }
    for (int i = 0; i < COUNT; i++) {
        WAIT_FOR(links[i]->closed == 1);
    }
}

static void close_now(struct fg_task *task)
{
    struct owner *owner = (struct owner *)((char *)task - offsetof(struct owner, task));
    link_close(owner->link);
}

struct batch {
    struct link *links[32];
    struct owner owners[32];
};

static void write_and_close(void *argument)
{
    struct batch *batch = argument;
    for (int i = 0; i < 32; i++) {
        peer_write(batch->links[i]->peer, "old", 3);
        fg_strand_post(fg_channel_strand(batch->links[i]->channel), &batch->owners[i].task);
    }
}

/* The events of 32 channels come in one batch, while each is closed and its number is given to another. */
static void an_event_of_a_closed_channel_does_not_reach_who_has_its_number_now(void **state)
{
    struct batch *batch = calloc(1, sizeof *batch);
    assert_non_null(batch);
    unsigned reused = 0;
    for (int round = 0; round < 20; round++) {
        int fds[32];
        for (int i = 0; i < 32; i++) {
            struct link *link = link_open_pair(*state, SOCK_STREAM);
            fds[i] = fg_channel_fd(link->channel);
            assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
            batch->links[i] = link;
            batch->owners[i] = (struct owner){ .task.run = close_now, .link = link };
        }
        fixture_on_main(*state, write_and_close, batch);
        struct link *next[32];
        for (int i = 0; i < 32; i++) {
            WAIT_FOR(batch->links[i]->closed == 1);
            next[i] = link_open_pair(*state, SOCK_STREAM);
            assert_int_equal(ask_submit(next[i], FG_OP_RECV), 0);
            for (int j = 0; j < 32; j++) {
                reused += fg_channel_fd(next[i]->channel) == fds[j];
            }
        }
        fixture_let_pass(*state, 1);
        for (int i = 0; i < 32; i++) {
            assert_int_equal(next[i]->in_count, 0);
            peer_write(next[i]->peer, "new", 3);
        }
        for (int i = 0; i < 32; i++) {
            WAIT_FOR(next[i]->in_count == 1);
            assert_memory_equal(next[i]->bytes, "new", 3);
            ask_close(next[i]);
            close(next[i]->peer);
            close(batch->links[i]->peer);
            next[i]->peer = batch->links[i]->peer = -1;
        }
    }
    assert_true(reused > 0); /* or the test says nothing */
    free(batch);
}

int main(void)
{
    if (make_large(NULL)) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_operation_of_each_kind_completes_with_canceled),
        cmocka_unit_test(closing_cancels_an_operation_of_each_kind),
        cmocka_unit_test(an_operation_cancelled_in_the_step_that_submitted_it_completes_once),
        cmocka_unit_test(a_cancel_of_what_is_done_has_no_effect),
        cmocka_unit_test(a_completion_cancels_the_operation_beside_it),
        cmocka_unit_test(a_cancelled_send_tells_how_much_was_sent),
        cmocka_unit_test(a_cancel_beside_bytes_loses_none),
        cmocka_unit_test(closing_inside_a_completion_ends_the_other_operation),
        cmocka_unit_test(closing_inside_the_completion_of_a_send_ends_the_recv),
        cmocka_unit_test(after_close_nothing_is_accepted),
        cmocka_unit_test(a_closed_channel_closes_its_descriptor),
        cmocka_unit_test(a_channel_that_was_never_used_closes),
        cmocka_unit_test(the_owner_may_be_freed_in_closed_with_its_timer_and_task),
        cmocka_unit_test(an_event_of_a_closed_channel_does_not_reach_who_has_its_number_now),
    };
    int failed = FIXTURE_RUN("cancelling and closing", tests);
    free(large);
    return failed;
}
