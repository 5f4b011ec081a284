/* The contract of the event models: many channels, timers, signals and threads at once. */
#include "support/loop_fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void allow_many_descriptors(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

enum { CHANNELS = 16, CHANNEL_BYTES = 200000 };

struct writer {
    struct link **links;
    uint32_t seed;
};

/* Each link's bytes count up, written in pieces of random size to links in random order. */
static void *write_all(void *argument)
{
    struct writer *writer = argument;
    size_t at[CHANNELS] = { 0 };
    size_t left = CHANNELS;
    while (left > 0) {
        size_t i = next_random(&writer->seed) % CHANNELS;
        size_t size = next_random(&writer->seed) % 3000 + 1;
        uint8_t piece[3000];
        if (at[i] == CHANNEL_BYTES) {
            continue;
        }
        size = size < CHANNEL_BYTES - at[i] ? size : CHANNEL_BYTES - at[i];
        for (size_t j = 0; j < size; j++) {
            piece[j] = (uint8_t)((at[i] + j) * 31 >> 3);
        }
        peer_write(writer->links[i]->peer, piece, size);
        at[i] += size;
        left -= at[i] == CHANNEL_BYTES;
    }
    return NULL;
}

static void bytes_of_each_channel_stay_in_order_under_load(void **state)
{
    struct link *links[2][CHANNELS];
    struct writer writers[2];
    pthread_t threads[2];
    for (uint32_t w = 0; w < 2; w++) {
        for (int i = 0; i < CHANNELS; i++) {
            links[w][i] = i % 2 ? link_open_tcp(*state) : link_open_pair(*state, SOCK_STREAM);
            links[w][i]->then = link_again;
            assert_int_equal(ask_submit(links[w][i], FG_OP_RECV), 0);
        }
        writers[w] = (struct writer){ .links = links[w], .seed = 100 + w };
        print_message("seed %u\n", writers[w].seed);
        assert_int_equal(pthread_create(&threads[w], NULL, write_all, &writers[w]), 0);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    for (int w = 0; w < 2; w++) {
        for (int i = 0; i < CHANNELS; i++) {
            struct link *link = links[w][i];
            WAIT_FOR(link->size == CHANNEL_BYTES);
            for (size_t j = 0; j < CHANNEL_BYTES; j++) {
                assert_int_equal(link->bytes[j], (uint8_t)(j * 31 >> 3));
            }
        }
    }
}

/* What comes to one strand from all sides: bytes, a timer and posts of other threads. */
struct crowd {
    struct fg_timer timer;
    struct link *link;
    unsigned expired, ran; /* without a lock: the strand's */
};

struct crowd_task {
    struct fg_task task;
    struct crowd *crowd;
};

enum { CROWDS = 8, CROWD_POSTS = 300, CROWD_TURNS = 50 };

static struct crowd crowds[CROWDS];
static struct crowd_task crowd_tasks[2][CROWDS * CROWD_POSTS];

static void enter(struct crowd *crowd, unsigned *count)
{
    if (atomic_fetch_add(&crowd->link->inside, 1) != 0) {
        fixture_fault(crowd->link->fixture, "two workers in one strand");
    }
    state_lock();
    ++*count;
    state_unlock();
    atomic_fetch_sub(&crowd->link->inside, 1);
}

static void crowd_expired(struct fg_timer *timer)
{
    struct crowd *crowd = (struct crowd *)timer;
    enter(crowd, &crowd->expired);
    if (crowd->expired < CROWD_TURNS) {
        fg_timer_start(timer, 50000);
    }
}

static void crowd_ran(struct fg_task *task)
{
    struct crowd *crowd = ((struct crowd_task *)task)->crowd;
    enter(crowd, &crowd->ran);
}

static void start_crowd(struct link *link, void *argument)
{
    struct crowd *crowd = argument;
    *crowd = (struct crowd){ .link = link };
    fg_timer_init(&crowd->timer, link->fixture->loop.timers, fg_channel_strand(link->channel), crowd_expired);
    fg_timer_start(&crowd->timer, 0);
}

static void *post_crowd(void *argument)
{
    struct crowd_task *tasks = argument;
    for (int i = 0; i < CROWDS * CROWD_POSTS; i++) {
        struct crowd *crowd = &crowds[i % CROWDS];
        tasks[i] = (struct crowd_task){ .task.run = crowd_ran, .crowd = crowd };
        fg_strand_post(fg_channel_strand(crowd->link->channel), &tasks[i].task);
        if (i % 7 == 0) {
            peer_write(crowd->link->peer, "x", 1);
        }
    }
    return NULL;
}

static void no_two_workers_stand_in_one_strand_whatever_comes(void **state)
{
    pthread_t threads[2];
    for (int i = 0; i < CROWDS; i++) {
        struct link *link = link_open_pair(*state, SOCK_STREAM);
        link->then = link_again;
        link_on_strand(link, start_crowd, &crowds[i]);
        assert_int_equal(ask_submit(link, FG_OP_RECV), 0);
    }
    for (int t = 0; t < 2; t++) {
        assert_int_equal(pthread_create(&threads[t], NULL, post_crowd, crowd_tasks[t]), 0);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    for (int i = 0; i < CROWDS; i++) {
        WAIT_FOR(crowds[i].ran == 2 * CROWD_POSTS && crowds[i].expired == CROWD_TURNS);
    }
}

/* A channel that lives by chance: the next step of each is drawn in its completions. */
struct mayfly {
    struct link *link;
    uint32_t seed;
};

static void live_on(struct link *link, struct fg_op *op)
{
    struct mayfly *mayfly = link->context;
    uint32_t chance = next_random(&mayfly->seed) % 100;
    if (link->close_asked) {
        return;
    }
    if (chance < 10 || op->result < 0) {
        link_close(link);
    } else if (chance < 20 && link->in_flight[op == &link->in]) {
        link_cancel(link, op == &link->in ? &link->out : &link->in);
    } else if (link_submit(link, op->kind)) {
        fixture_fault(link->fixture, "an operation could not be submitted again");
    }
}

static void hatch(struct link *link, void *argument)
{
    static const uint8_t data[70000];
    struct mayfly *mayfly = argument;
    link->context = mayfly;
    link->then = live_on;
    link->out.send.data = data;
    link->out.send.size = next_random(&mayfly->seed) % sizeof data;
    if (link_submit(link, FG_OP_RECV) || link_submit(link, FG_OP_SEND)) {
        fixture_fault(link->fixture, "an operation could not be submitted");
    }
}

/* Takes what there is, so that SENDs go on; its end is no news here. */
static void drain(struct link *link)
{
    static char data[65536];
    ssize_t got = read(link->peer, data, sizeof data);
    (void)got;
}

static void thousands_of_channels_come_and_go(void **state)
{
    enum { TOTAL = 2000, ALIVE = 200 };
    struct mayfly *mayflies = calloc(ALIVE, sizeof *mayflies);
    assert_non_null(mayflies);
    allow_many_descriptors();
    uint32_t seed = 90210;
    print_message("seed %u\n", seed);
    int64_t begun_ns = state_deadline();
    for (unsigned opened = 0, alive = ALIVE; alive > 0;) {
        struct mayfly *mayfly = &mayflies[next_random(&seed) % ALIVE];
        if (!mayfly->link && opened < TOTAL) {
            mayfly->link = opened % 2 ? link_open_tcp(*state) : link_open_pair(*state, SOCK_STREAM);
            mayfly->seed = next_random(&seed);
            opened++;
            link_on_strand(mayfly->link, hatch, mayfly);
        } else if (!mayfly->link && opened == TOTAL) {
            alive = 0;
            for (int i = 0; i < ALIVE; i++) {
                alive += mayflies[i].link != NULL;
            }
        } else if (mayfly->link->closed) {
            close(mayfly->link->peer);
            mayfly->link->peer = -1;
            mayfly->link = NULL;
        } else {
            ssize_t put = send(mayfly->link->peer, "twenty bytes of text", 20, MSG_NOSIGNAL);
            (void)put; /* it may have gone just now */
            drain(mayfly->link);
        }
        assert_true(state_deadline() - begun_ns < INT64_C(1000000000) * DEADLINE_S);
    }
    free(mayflies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_each_channel_stay_in_order_under_load),
        cmocka_unit_test(no_two_workers_stand_in_one_strand_whatever_comes),
        cmocka_unit_test(thousands_of_channels_come_and_go),
    };
    return FIXTURE_RUN("load", tests);
}
