/* The contract of the event models: who floods does not keep the others from their turn. One worker. */
#include "support/loop_fixture.h"

#include "fieldgate/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A turn of empty datagrams is some thousand completions; a quiet channel waits for two turns at most, and
 * for what was queued already. A flood that is never left makes millions. */
#define MOST_AHEAD 5000

enum { ROUNDS = 50, GAP = 300 };

/*
 * A flooder is kept busy by its own completions: each makes the next one possible at once. Every now and then
 * one of them gives a byte to the quiet channel, and how many completions of the flooder come before that
 * byte arrives is what is counted: no clock, and no other thread, has a part in it.
 */
struct flood {
    struct link *flooder, *quiet;
    void (*feed)(struct flood *flood);
    int fd; /* of the feed */
    struct sockaddr_un name;
    unsigned count, asked, served, asked_at, most;
};

static void serve(struct link *link, struct fg_op *op)
{
    struct flood *flood = link->context;
    if (op->result < 0) {
        return;
    }
    state_lock();
    flood->served++;
    unsigned ahead = flood->count - flood->asked_at;
    flood->most = ahead > flood->most ? ahead : flood->most;
    state_unlock();
    link_again(link, op);
}

static void flood_on(struct link *link, struct fg_op *op)
{
    struct flood *flood = link->context;
    if (op->result < 0) {
        return;
    }
    if (op->kind == FG_OP_ACCEPT) {
        close((int)op->result);
    }
    flood->feed(flood);
    state_lock();
    flood->count++;
    bool ask = flood->asked == flood->served && flood->asked < ROUNDS &&
               (flood->count - flood->asked_at > GAP || flood->asked == 0);
    if (ask) {
        flood->asked++;
        flood->asked_at = flood->count;
    }
    state_unlock();
    if (ask && write(flood->quiet->peer, "q", 1) != 1) {
        fixture_fault(link->fixture, "the quiet channel is full");
    }
    link_again(link, op);
}

static void run_flood(struct flood *flood, struct loop_fixture *fixture, enum fg_op_kind kind)
{
    flood->quiet = link_open_pair(fixture, SOCK_STREAM);
    flood->quiet->context = flood->flooder->context = flood;
    flood->quiet->then = serve;
    flood->flooder->then = flood_on;
    flood->flooder->forgets = true;
    assert_int_equal(ask_submit(flood->quiet, FG_OP_RECV), 0);
    assert_int_equal(ask_submit(flood->flooder, kind), 0);
    WAIT_FOR(flood->served == ROUNDS);
    print_message("the quiet one waited for %u completions at most\n", flood->most);
    ask_close(flood->flooder);
    ask_close(flood->quiet);
    assert_in_range(flood->most, 0, MOST_AHEAD);
}

static void feed_stream(struct flood *flood)
{
    static const char data[8192];
    ssize_t put = write(flood->flooder->peer, data, sizeof data);
    (void)put; /* full is as good */
}

static void a_flood_of_bytes_leaves_others_their_turn(void **state)
{
    static struct flood flood;
    flood = (struct flood){ .flooder = link_open_tcp(*state), .feed = feed_stream };
    for (int i = 0; i < 20; i++) {
        feed_stream(&flood);
    }
    run_flood(&flood, *state, FG_OP_RECV);
}

static void feed_datagram(struct flood *flood)
{
    ssize_t put = send(flood->flooder->peer, "", 0, MSG_DONTWAIT);
    (void)put;
}

static void a_flood_of_empty_datagrams_leaves_others_their_turn(void **state)
{
    static struct flood flood;
    flood = (struct flood){ .flooder = link_open_pair(*state, SOCK_DGRAM), .feed = feed_datagram };
    for (int i = 0; i < 5; i++) {
        feed_datagram(&flood);
    }
    run_flood(&flood, *state, FG_OP_RECV);
}

static void take_sent(struct flood *flood)
{
    char data[4096];
    ssize_t got = recv(flood->flooder->peer, data, sizeof data, MSG_DONTWAIT);
    (void)got;
}

static void a_flood_of_sends_leaves_others_their_turn(void **state)
{
    static struct flood flood;
    flood = (struct flood){ .flooder = link_open_pair(*state, SOCK_STREAM), .feed = take_sent };
    flood.flooder->out.send.data = "some bytes";
    flood.flooder->out.send.size = 10;
    run_flood(&flood, *state, FG_OP_SEND);
}

static void a_flood_of_sent_datagrams_leaves_others_their_turn(void **state)
{
    static struct flood flood;
    flood = (struct flood){ .flooder = link_open_pair(*state, SOCK_DGRAM), .feed = take_sent };
    flood.flooder->out.send.data = "some bytes";
    flood.flooder->out.send.size = 10;
    run_flood(&flood, *state, FG_OP_SEND);
}

static void feed_connection(struct flood *flood)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int connected = connect(fd, (struct sockaddr *)&flood->name, sizeof flood->name);
    (void)connected; /* the queue may be full */
    close(fd);
}

static void a_flood_of_connections_leaves_others_their_turn(void **state)
{
    static struct flood flood;
    flood = (struct flood){ .feed = feed_connection, .name.sun_family = AF_UNIX };
    snprintf(flood.name.sun_path + 1, sizeof flood.name.sun_path - 1, "fg-flood-%ld", (long)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&flood.name, sizeof flood.name), 0);
    assert_int_equal(listen(fd, 100), 0);
    flood.flooder = link_open(*state, fd, FG_CHANNEL_STREAM, -1);
    for (int i = 0; i < 90; i++) {
        feed_connection(&flood);
    }
    run_flood(&flood, *state, FG_OP_ACCEPT);
}

/* A channel that sends without end must still hear what comes to itself. */
static void hear(struct link *link, struct fg_op *op)
{
    if (op == &link->out) {
        struct flood *flood = link->context;
        take_sent(flood);
    }
    link_again(link, op);
}

static void a_channel_that_sends_without_end_still_receives(void **state)
{
    static struct flood flood;
    flood = (struct flood){ .flooder = link_open_pair(*state, SOCK_STREAM) };
    struct link *link = flood.flooder;
    link->context = &flood;
    link->then = hear;
    assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    assert_int_equal(ask_send(link, "some bytes", 10), 0);
    for (unsigned i = 1; i <= 20; i++) {
        peer_write(link->peer, "x", 1);
        WAIT_FOR(link->in_count == i);
    }
    ask_close(link);
}

/* A timer that goes on until it was called twenty times, and knows when it came early. */
struct tick {
    struct fg_timer timer;
    struct loop_fixture *fixture;
    int64_t due_ns;
    unsigned count;
};

enum { TICKERS = 50, TICKS = 20 };

static void ticked(struct fg_timer *timer)
{
    struct tick *tick = (struct tick *)timer;
    if (fg_clock_now_ns() < tick->due_ns) {
        fixture_fault(tick->fixture, "a timer came early");
    }
    state_lock();
    unsigned count = ++tick->count;
    state_unlock();
    if (count < TICKS) {
        tick->due_ns = fg_clock_now_ns() + FG_NS_PER_MS;
        fg_timer_set(timer, tick->due_ns);
    }
}

static void start_ticks(struct link *link, void *argument)
{
    struct tick *ticks = argument;
    for (int i = 0; i < TICKERS; i++) {
        ticks[i].fixture = link->fixture;
        fg_timer_init(&ticks[i].timer, link->fixture->loop.timers, fg_channel_strand(link->channel), ticked);
        ticks[i].due_ns = fg_clock_now_ns() + i * 100000;
        fg_timer_set(&ticks[i].timer, ticks[i].due_ns);
    }
}

static void feed_and_go_on(struct link *link, struct fg_op *op)
{
    struct flood *flood = link->context;
    flood->feed(flood);
    link_again(link, op);
}

static void timers_and_signals_come_through_a_flood(void **state)
{
    struct loop_fixture *fixture = *state;
    static struct flood flood;
    flood = (struct flood){ .flooder = link_open_tcp(fixture), .feed = feed_stream };
    flood.flooder->context = &flood;
    flood.flooder->then = feed_and_go_on;
    flood.flooder->forgets = true;
    feed_stream(&flood);
    assert_int_equal(ask_submit(flood.flooder, FG_OP_RECV), 0);
    struct link *link = link_open_pair(fixture, SOCK_STREAM);
    struct tick *ticks = calloc(TICKERS, sizeof *ticks);
    assert_non_null(ticks);
    link_on_strand(link, start_ticks, ticks);
    for (unsigned i = 1; i <= 20; i++) {
        assert_int_equal(kill(getpid(), SIGUSR1), 0);
        WAIT_FOR(fixture->signals == i);
    }
    for (int i = 0; i < TICKERS; i++) {
        WAIT_FOR(ticks[i].count == TICKS);
    }
    ask_close(link);
    ask_close(flood.flooder);
    free(ticks);
}

enum { POSTERS = 4, POSTS = 2000 };

struct posting {
    struct fg_task task;
    struct poster *poster;
    unsigned number;
};

struct poster {
    struct fg_loop *loop;
    struct loop_fixture *fixture;
    struct posting *postings;
    unsigned arrived;
};

static void arrive(struct fg_task *task)
{
    struct posting *posting = (struct posting *)task;
    if (posting->number != posting->poster->arrived ||
        !pthread_equal(pthread_self(), posting->poster->fixture->thread)) {
        fixture_fault(posting->poster->fixture, "a task came out of its order, or beside the main thread");
    }
    state_lock();
    posting->poster->arrived++;
    state_unlock();
}

static void *post_to_main(void *argument)
{
    struct poster *poster = argument;
    for (unsigned i = 0; i < POSTS; i++) {
        poster->postings[i] = (struct posting){ .task.run = arrive, .poster = poster, .number = i };
        fg_loop_post(poster->loop, &poster->postings[i].task);
    }
    return NULL;
}

static void posts_of_many_threads_reach_the_main_thread_in_their_order(void **state)
{
    struct loop_fixture *fixture = *state;
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){ .loop = &fixture->loop,
                                      .fixture = fixture,
                                      .postings = calloc(POSTS, sizeof(struct posting)) };
        assert_non_null(posters[i].postings);
        assert_int_equal(pthread_create(&threads[i], NULL, post_to_main, &posters[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
        WAIT_FOR(posters[i].arrived == POSTS);
        free(posters[i].postings);
    }
}

#define ONE_WORKER(test) cmocka_unit_test_setup(test, fixture_one_worker)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE_WORKER(a_flood_of_bytes_leaves_others_their_turn),
        ONE_WORKER(a_flood_of_empty_datagrams_leaves_others_their_turn),
        ONE_WORKER(a_flood_of_sends_leaves_others_their_turn),
        ONE_WORKER(a_flood_of_sent_datagrams_leaves_others_their_turn),
        ONE_WORKER(a_flood_of_connections_leaves_others_their_turn),
        ONE_WORKER(a_channel_that_sends_without_end_still_receives),
        ONE_WORKER(timers_and_signals_come_through_a_flood),
        cmocka_unit_test(posts_of_many_threads_reach_the_main_thread_in_their_order),
    };
    return FIXTURE_RUN("fairness", tests);
}
