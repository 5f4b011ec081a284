/* What is special about the proactor: the limits of its rings and buffers, and what the kernel owns. */
#include "support/loop_fixture.h"

#ifdef FG_HAVE_IO_URING

#include "event/models.h"
#include "event/proactor.h"
#include "support/wait.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct fg_proactor_sizes tiny_sizes = {
    .requests = 8,
    .completions = 8,
    .buffers = { { 2, 4096 }, { 2, 4096 }, { 1, 4096 } },
};

static int open_tiny(struct fg_pool *pool, struct fg_model **model)
{
    return fg_proactor_open(pool, &tiny_sizes, model);
}

static struct fg_model_ops tiny;

static int open_fixture(void **state, const struct fg_model_ops *ops)
{
    char why[256];
    if (fg_model_proactor.probe(why, sizeof why)) {
        print_message("the proactor cannot run here: %s\n", why);
        *state = NULL;
        return 0;
    }
    *state = fixture_open(ops, 2);
    return 0;
}

static int with_usual_sizes(void **state)
{
    return open_fixture(state, &fg_model_proactor);
}

static int with_tiny_sizes(void **state)
{
    tiny = fg_model_proactor;
    tiny.open = open_tiny;
    return open_fixture(state, &tiny);
}

static int close_fixture(void **state)
{
    const char *fault = *state ? fixture_close(*state) : NULL;
    if (fault) {
        print_error("rule broken: %s\n", fault);
    }
    return fault ? -1 : 0;
}

#define NEEDS_FIXTURE(state)                                                                                 \
    if (!*(state)) {                                                                                         \
        skip();                                                                                              \
    }

struct counting {
    struct loop_fixture *fixture;
    struct fg_proactor_counts counts;
};

static void count_there(void *argument)
{
    struct counting *counting = argument;
    fg_proactor_get_counts(counting->fixture->loop.model, &counting->counts);
}

static struct fg_proactor_counts count(struct loop_fixture *fixture)
{
    struct counting counting = { .fixture = fixture };
    fixture_on_main(fixture, count_there, &counting);
    return counting.counts;
}

/* --- rings --- */

enum { MANY = 64 };

static void open_many(struct loop_fixture *fixture, struct link **links)
{
    for (int i = 0; i < MANY; i++) {
        links[i] = link_open_pair(fixture, i % 2 ? SOCK_STREAM : SOCK_DGRAM);
    }
}

static void submit_all(void *argument)
{
    struct link **links = argument;
    for (int i = 0; i < MANY; i++) {
        if (link_submit(links[i], FG_OP_RECV)) {
            fixture_fault(links[i]->fixture, "an operation was refused");
        }
    }
}

/* A byte for each, in one step of the main thread: the kernel has all to tell at once. */
static void write_all(void *argument)
{
    struct link **links = argument;
    for (int i = 0; i < MANY; i++) {
        uint8_t byte = (uint8_t)i;
        peer_write(links[i]->peer, &byte, 1);
    }
}

static void expect_one_byte_each(struct link **links, unsigned nth)
{
    for (int i = 0; i < MANY; i++) {
        WAIT_FOR(links[i]->in_count == nth);
        assert_int_equal(links[i]->in_result, 1);
        assert_int_equal(links[i]->bytes[nth - 1], i);
    }
}

static void more_requests_than_there_is_room_for_are_all_made(void **state)
{
    NEEDS_FIXTURE(state);
    struct link *links[MANY];
    open_many(*state, links);
    fixture_on_main(*state, submit_all, links);
    for (int i = MANY; i-- > 0;) { /* the last one first: nothing else happens that could help it on */
        uint8_t byte = (uint8_t)i;
        peer_write(links[i]->peer, &byte, 1);
        WAIT_FOR(links[i]->in_count == 1);
    }
    expect_one_byte_each(links, 1);
    assert_true(count(*state).full > 0); /* or the test says nothing */
}

static void more_completions_than_there_is_room_for_are_all_told(void **state)
{
    NEEDS_FIXTURE(state);
    struct link *links[MANY];
    struct fg_proactor_counts counts = { 0 };
    open_many(*state, links);
    for (unsigned round = 1; round <= 20; round++) {
        for (int i = 0; i < MANY; i++) {
            assert_int_equal(ask_submit(links[i], FG_OP_RECV), 0);
        }
        fixture_on_main(*state, write_all, links);
        expect_one_byte_each(links, round);
        counts = count(*state);
    }
    assert_true(counts.overflows > 0);
}

static void closing_many_channels_at_once_needs_no_more_room_than_there_is(void **state)
{
    NEEDS_FIXTURE(state);
    struct link *links[MANY];
    open_many(*state, links);
    fixture_on_main(*state, submit_all, links);
    for (int i = 0; i < MANY; i++) {
        ask_submit(links[i], FG_OP_SEND); /* of nothing */
    }
    for (int i = 0; i < MANY; i++) {
        ask_close(links[i]);
        assert_int_equal(links[i]->in_count, 1);
        assert_int_equal(links[i]->in_result, -ECANCELED);
    }
}

static void what_is_ready_together_comes_in_few_turns(void **state)
{
    NEEDS_FIXTURE(state);
    struct loop_fixture *fixture = *state;
    struct link *links[MANY];
    for (int i = 0; i < MANY; i++) { /* of a kind of which there are as many buffers */
        links[i] = link_open_pair(fixture, SOCK_STREAM);
    }
    fixture_on_main(fixture, submit_all, links);
    fixture_let_pass(fixture, 5);
    unsigned long waits = atomic_load(&fixture->waits);
    fixture_on_main(fixture, write_all, links);
    expect_one_byte_each(links, 1);
    assert_in_range(atomic_load(&fixture->waits) - waits, 1, 16);
}

/* --- buffers --- */

/* A completion that keeps its worker, and what was read with it, until it is let go. */
struct gate {
    bool open;
    unsigned inside;
};

static struct gate gate;

static void stand_in_gate(struct link *link, struct fg_op *op)
{
    (void)op;
    int64_t deadline_ns = state_deadline();
    state_lock();
    gate.inside++;
    state_unlock();
    state_lock();
    while (!gate.open) {
        if (!state_wait(deadline_ns) && !gate.open) {
            gate.open = true;
            fixture_fault(link->fixture, "the gate was not opened in time");
        }
    }
    gate.inside--;
    state_unlock();
}

static void open_gate(void)
{
    state_lock();
    gate.open = true;
    state_unlock();
}

static struct link *open_of_kind(struct loop_fixture *fixture, enum fg_proactor_kind kind)
{
    return kind == FG_PROACTOR_TTY
               ? link_open_pty(fixture)
               : link_open_pair(fixture, kind == FG_PROACTOR_STREAM ? SOCK_STREAM : SOCK_DGRAM);
}

/* Each holder takes a buffer of the kind, and a worker. */
static void exhaust(struct loop_fixture *fixture, enum fg_proactor_kind kind, struct link **holders,
                    unsigned holder_count)
{
    gate = (struct gate){ 0 };
    for (unsigned i = 0; i < holder_count; i++) {
        holders[i] = open_of_kind(fixture, kind);
        holders[i]->then = stand_in_gate;
        assert_int_equal(ask_submit(holders[i], FG_OP_RECV), 0);
        peer_write(holders[i]->peer, "held", 4);
        WAIT_FOR(gate.inside == i + 1);
    }
}

static void wait_until_starved(struct loop_fixture *fixture, unsigned starved)
{
    int64_t deadline = wait_deadline(10000);
    while (count(fixture).starved < starved) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
}

struct late {
    struct link *links[8];
};

static void submit_late(void *argument)
{
    struct late *late = argument;
    for (int i = 0; i < 8; i++) {
        if (link_submit(late->links[i], FG_OP_RECV)) {
            fixture_fault(late->links[i]->fixture, "an operation was refused");
        }
    }
}

/* Both workers stand; nobody has a buffer any more; what comes then is read when they go on. */
static void check_exhaustion(struct loop_fixture *fixture, enum fg_proactor_kind kind)
{
    struct link *holders[2];
    struct late late;
    unsigned held = kind == FG_PROACTOR_TTY ? 1 : 2;
    exhaust(fixture, kind, holders, held);
    for (int i = 0; i < 8; i++) {
        late.links[i] = open_of_kind(fixture, kind);
        peer_write(late.links[i]->peer, i % 2 ? "odd" : "even", i % 2 ? 3 : 4);
    }
    fixture_on_main(fixture, submit_late, &late);
    wait_until_starved(fixture, 8);
    assert_int_equal(count(fixture).free[kind], 0);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(late.links[i]->in_count, 0);
    }
    open_gate();
    for (int i = 0; i < 8; i++) {
        WAIT_FOR(late.links[i]->in_count == 1);
        assert_int_equal(late.links[i]->in_result, i % 2 ? 3 : 4);
        assert_memory_equal(late.links[i]->bytes, i % 2 ? "odd" : "even", i % 2 ? 3 : 4);
    }
    for (int i = 0; i < 8; i++) {
        ask_close(late.links[i]);
    }
    for (unsigned i = 0; i < held; i++) {
        ask_close(holders[i]);
    }
    assert_int_equal(count(fixture).free[kind], held);
}

static void streams_go_on_when_a_buffer_comes_back(void **state)
{
    NEEDS_FIXTURE(state);
    check_exhaustion(*state, FG_PROACTOR_STREAM);
}

static void datagrams_go_on_when_a_buffer_comes_back(void **state)
{
    NEEDS_FIXTURE(state);
    check_exhaustion(*state, FG_PROACTOR_DATAGRAM);
}

static void terminals_go_on_when_a_buffer_comes_back(void **state)
{
    NEEDS_FIXTURE(state);
    check_exhaustion(*state, FG_PROACTOR_TTY);
}

/* With one buffer and a worker to spare. */
static void who_waits_for_a_buffer_can_be_cancelled_and_closed(void **state)
{
    NEEDS_FIXTURE(state);
    struct loop_fixture *fixture = *state;
    struct link *holder;
    exhaust(fixture, FG_PROACTOR_TTY, &holder, 1);
    struct link *links[4];
    for (unsigned i = 0; i < 4; i++) {
        links[i] = link_open_pty(fixture);
        peer_write(links[i]->peer, "x", 1);
        assert_int_equal(ask_submit(links[i], FG_OP_RECV), 0);
        wait_until_starved(fixture, i + 1);
    }
    ask_cancel(links[1], &links[1]->in);
    WAIT_FOR(links[1]->in_count == 1);
    assert_int_equal(links[1]->in_result, -ECANCELED);
    ask_close(links[0]);
    assert_int_equal(links[0]->in_result, -ECANCELED);
    ask_close(links[3]);
    assert_int_equal(links[2]->in_count, 0);
    open_gate();
    WAIT_FOR(links[2]->in_count == 1);
    assert_int_equal(links[2]->in_result, 1);
    assert_int_equal(ask_submit(links[1], FG_OP_RECV), 0);
    WAIT_FOR(links[1]->in_count == 2);
    assert_int_equal(links[1]->in_result, 1);
}

static void many_who_wait_hold_no_buffer(void **state)
{
    NEEDS_FIXTURE(state);
    struct loop_fixture *fixture = *state;
    struct link *links[MANY];
    open_many(fixture, links);
    fixture_on_main(fixture, submit_all, links);
    fixture_let_pass(fixture, 5);
    struct fg_proactor_counts counts = count(fixture);
    assert_int_equal(counts.free[FG_PROACTOR_STREAM], 2);
    assert_int_equal(counts.free[FG_PROACTOR_DATAGRAM], 2);
    fixture_on_main(fixture, write_all, links);
    expect_one_byte_each(links, 1);
}

/* --- what the kernel owns --- */

/* A cancel meets an operation in every state; each buffer comes back once, whatever it met. */
static void cancels_and_closes_leave_no_buffer_behind(void **state)
{
    NEEDS_FIXTURE(state);
    struct loop_fixture *fixture = *state;
    uint32_t seed = 4711;
    print_message("seed %u\n", seed);
    for (unsigned round = 0; round < 300; round++) {
        struct link *link = link_open_pair(fixture, round % 2 ? SOCK_STREAM : SOCK_DGRAM);
        assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
        uint32_t chance = next_random(&seed) % 4;
        if (chance != 0) {
            peer_write(link->peer, "bytes", 5);
        }
        if (chance != 1) {
            ask_cancel(link, &link->in);
        }
        if (chance == 2) {
            WAIT_FOR(link->in_count == 1);
        }
        ask_close(link);
        assert_int_equal(link->in_count, 1);
        assert_true(link->in_result == 5 || link->in_result == -ECANCELED);
        close(link->peer);
        link->peer = -1;
    }
    struct fg_proactor_counts counts = count(fixture);
    assert_int_equal(counts.free[FG_PROACTOR_STREAM], 2);
    assert_int_equal(counts.free[FG_PROACTOR_DATAGRAM], 2);
}

/* What is sent belongs to the kernel until the completion, and not a moment longer: then its memory goes. */
static void after_the_completion_of_a_cancelled_send_its_bytes_may_go(void **state)
{
    NEEDS_FIXTURE(state);
    enum { SIZE = 8 << 20 };
    for (int round = 0; round < 20; round++) {
        struct link *link = round % 2 ? link_open_tcp(*state) : link_open_pair(*state, SOCK_STREAM);
        uint8_t *data = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
        assert_true(data != MAP_FAILED);
        memset(data, 0x5a, SIZE);
        assert_int_equal(ask_send(link, data, SIZE), 0);
        uint8_t some[5000];
        assert_int_equal(peer_read(link->peer, some, sizeof some), sizeof some);
        if (round % 4 < 2) {
            ask_cancel(link, &link->out);
        } else {
            ask_close(link);
        }
        WAIT_FOR(link->out_count == 1);
        assert_int_equal(munmap(data, SIZE), 0);
        assert_int_equal(link->out_result, -ECANCELED);
        size_t sent = link->out.send.sent;
        assert_in_range(sent, sizeof some, SIZE - 1);
        if (!link->close_asked) {
            ask_close(link);
        }
        assert_int_equal(peer_skip(link->peer, SIZE), sent - sizeof some);
    }
}

static void cancel_behind_gate(struct link *link, void *argument)
{
    (void)argument;
    stand_in_gate(link, NULL);
    link_cancel(link, &link->in);
}

static void *hold_strand(void *argument)
{
    link_on_strand(argument, cancel_behind_gate, NULL);
    return NULL;
}

static atomic_uint submitted_again;

static void submit_again(struct link *link, struct fg_op *op)
{
    link_again(link, op);
    state_lock();
    atomic_fetch_add(&submitted_again, 1);
    state_unlock();
}

/* On the main thread, which takes no request meanwhile. */
static void let_strand_go_on(void *argument)
{
    (void)argument;
    open_gate();
    int64_t deadline_ns = state_deadline();
    state_lock();
    while (atomic_load(&submitted_again) == 0 && state_wait(deadline_ns)) {
    }
    state_unlock();
}

/* The first operation is done, its completion waits for the strand, which cancels it, hears that it is done
 * and submits the next: all before the main thread looks. */
static void a_cancel_that_came_too_late_does_not_meet_the_next_operation(void **state)
{
    NEEDS_FIXTURE(state);
    struct link *link = link_open_pair(*state, SOCK_STREAM);
    pthread_t holder;
    gate = (struct gate){ 0 };
    atomic_store(&submitted_again, 0);
    link->then = submit_again;
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(pthread_create(&holder, NULL, hold_strand, link), 0);
    WAIT_FOR(gate.inside == 1);
    peer_write(link->peer, "a", 1);
    fixture_let_pass(*state, 20);
    fixture_on_main(*state, let_strand_go_on, NULL);
    pthread_join(holder, NULL);
    WAIT_FOR(link->in_count == 1);
    fixture_let_pass(*state, 20);
    assert_int_equal(link->in_count, 1);
    peer_write(link->peer, "b", 1);
    WAIT_FOR(link->in_count == 2);
    assert_int_equal(link->in_result, 1);
}

static unsigned open_descriptors(void)
{
    unsigned found = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder)) {
        found++;
    }
    closedir(folder);
    return found;
}

enum { CLIENTS = 50 };

static void connect_clients(const struct sockaddr_in *address, int *clients)
{
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = tcp_connect(address);
    }
}

static void close_accepted(struct link *link, struct fg_op *op)
{
    if (op->result >= 0) {
        close((int)op->result);
    }
    link_again(link, op);
}

static void connections_ahead_of_an_accept_wait_for_one(void **state)
{
    NEEDS_FIXTURE(state);
    struct sockaddr_in address;
    int clients[CLIENTS];
    struct link *listener = link_open_listener(*state, &address, CLIENTS);
    int first = tcp_connect(&address);
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    WAIT_FOR(listener->in_count == 1);
    close((int)listener->in_result);
    connect_clients(&address, clients);
    fixture_let_pass(*state, 10);
    assert_int_equal(listener->in_count, 1);
    assert_true(count(*state).ahead > 0); /* or the test says nothing */
    listener->then = close_accepted;
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    WAIT_FOR(listener->in_count == 1 + CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
    }
    close(first);
}

struct latecomer {
    struct link *links[MANY];
    struct link *listener;
    struct sockaddr_in address;
    int early, late;
    int error;
};

static void *connect_late(void *argument)
{
    struct latecomer *latecomer = argument;
    submit_all(latecomer->links);
    latecomer->error = ask_submit(latecomer->listener, FG_OP_ACCEPT);
    latecomer->late = tcp_connect(&latecomer->address);
    return NULL;
}

/* Holds the main thread, whose next turn then has no room to get to the ACCEPT, and hears of the latecomer.
 */
static void hold_for_latecomer(void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, connect_late, argument) == 0) {
        pthread_join(thread, NULL);
    }
}

static void expect_accepted(struct link *listener, int client)
{
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    assert_int_equal(getsockname(client, (struct sockaddr *)&name, &length), 0);
    assert_true(listener->in_result >= 0);
    assert_int_equal(ntohs(listener->in.accept.from.in.sin_port), ntohs(name.sin_port));
    close((int)listener->in_result);
}

static void who_came_ahead_of_an_accept_comes_before_who_comes_with_it(void **state)
{
    NEEDS_FIXTURE(state);
    struct latecomer latecomer;
    struct link *listener = link_open_listener(*state, &latecomer.address, 8);
    latecomer.listener = listener;
    open_many(*state, latecomer.links);
    int first = tcp_connect(&latecomer.address);
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    WAIT_FOR(listener->in_count == 1);
    expect_accepted(listener, first);
    latecomer.early = tcp_connect(&latecomer.address);
    int64_t deadline = wait_deadline(10000);
    while (count(*state).ahead == 0) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
    fixture_on_main(*state, hold_for_latecomer, &latecomer);
    assert_int_equal(latecomer.error, 0);
    WAIT_FOR(listener->in_count == 2);
    expect_accepted(listener, latecomer.early);
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    WAIT_FOR(listener->in_count == 3);
    expect_accepted(listener, latecomer.late);
    assert_true(count(*state).full > 0); /* or the test says nothing */
    close(first);
    close(latecomer.early);
    close(latecomer.late);
}

static void connections_ahead_of_an_accept_are_closed_with_the_listener(void **state)
{
    NEEDS_FIXTURE(state);
    unsigned before = open_descriptors();
    struct sockaddr_in address;
    int clients[CLIENTS];
    struct link *listener = link_open_listener(*state, &address, CLIENTS);
    int first = tcp_connect(&address);
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    WAIT_FOR(listener->in_count == 1);
    close((int)listener->in_result);
    connect_clients(&address, clients);
    fixture_let_pass(*state, 10);
    assert_true(count(*state).ahead > 0);
    ask_close(listener);
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
    }
    close(first);
    assert_int_equal(open_descriptors(), before);
}

static void a_listener_can_be_polled_after_an_accept(void **state)
{
    NEEDS_FIXTURE(state);
    struct sockaddr_in address;
    struct link *listener = link_open_listener(*state, &address, 8);
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    ask_cancel(listener, &listener->in);
    WAIT_FOR(listener->in_count == 1);
    assert_int_equal(listener->in_result, -ECANCELED);
    listener->in.poll.events = POLLIN;
    assert_int_equal(ask_submit(listener, FG_OP_POLL), 0);
    int client = tcp_connect(&address);
    WAIT_FOR(listener->in_count == 2);
    assert_int_equal(listener->in_result, POLLIN);
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    WAIT_FOR(listener->in_count == 3);
    assert_true(listener->in_result >= 0);
    close((int)listener->in_result);
    close(client);
}

#define USUAL(test) cmocka_unit_test_setup_teardown(test, with_usual_sizes, close_fixture)
#define TINY(test)  cmocka_unit_test_setup_teardown(test, with_tiny_sizes, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TINY(more_requests_than_there_is_room_for_are_all_made),
        TINY(more_completions_than_there_is_room_for_are_all_told),
        TINY(closing_many_channels_at_once_needs_no_more_room_than_there_is),
        USUAL(what_is_ready_together_comes_in_few_turns),
        TINY(streams_go_on_when_a_buffer_comes_back),
        TINY(datagrams_go_on_when_a_buffer_comes_back),
        TINY(terminals_go_on_when_a_buffer_comes_back),
        TINY(who_waits_for_a_buffer_can_be_cancelled_and_closed),
        TINY(many_who_wait_hold_no_buffer),
        TINY(cancels_and_closes_leave_no_buffer_behind),
        USUAL(after_the_completion_of_a_cancelled_send_its_bytes_may_go),
        USUAL(a_cancel_that_came_too_late_does_not_meet_the_next_operation),
        USUAL(connections_ahead_of_an_accept_wait_for_one),
        TINY(who_came_ahead_of_an_accept_comes_before_who_comes_with_it),
        USUAL(connections_ahead_of_an_accept_are_closed_with_the_listener),
        USUAL(a_listener_can_be_polled_after_an_accept),
    };
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    fg_loop_block_signals(&signals);
    return cmocka_run_group_tests_name("proactor", tests, NULL, NULL);
}

#else

/* Not built in, which test_proactor_refusal.c asks about. */
int main(void)
{
    return 0;
}

#endif
