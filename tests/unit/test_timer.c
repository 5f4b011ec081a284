#include "fieldgate/timer.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* The clock of these tests: it stands at test_now_ns, or is the real one while that is 0. */
static _Atomic int64_t test_now_ns;

int64_t fg_clock_now_ns(void)
{
    int64_t now_ns = atomic_load(&test_now_ns);
    if (now_ns == 0) {
        struct timespec now;
        clock_gettime(CLOCK_BOOTTIME, &now);
        now_ns = now.tv_sec * FG_NS_PER_S + now.tv_nsec;
    }
    return now_ns;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
#define CAN_REFUSE_MEMORY 1
void *__libc_realloc(void *memory, size_t size);

static atomic_bool refuse_memory;

void *realloc(void *memory, size_t size)
{
    return atomic_load(&refuse_memory) ? NULL : __libc_realloc(memory, size);
}
#endif

struct alarm {
    struct fg_timer timer;
    int count;
    int64_t at_ns;    /* the clock at the last call */
    int64_t again_ns; /* set to this in the callback, 0 for not */
};

static struct fg_pool *pool;
static struct fg_timers *timers;
static struct fg_strand strand;
static struct alarm *rung[8192];
static size_t rung_count;

static void ring(struct fg_timer *timer)
{
    struct alarm *alarm = (struct alarm *)timer;
    alarm->count++;
    alarm->at_ns = fg_clock_now_ns();
    if (rung_count < sizeof rung / sizeof *rung) {
        rung[rung_count++] = alarm;
    }
    if (alarm->again_ns) {
        int64_t again_ns = alarm->again_ns;
        alarm->again_ns = 0;
        fg_timer_set(timer, again_ns);
    }
}

static void init(struct alarm *alarm)
{
    *alarm = (struct alarm){ 0 };
    fg_timer_init(&alarm->timer, timers, &strand, ring);
}

static int open_all(void **state)
{
    (void)state;
    rung_count = 0;
    atomic_store(&test_now_ns, 1000);
    if (fg_pool_new(2, &pool) || fg_timers_new(&timers)) {
        return -1;
    }
    fg_strand_init(&strand, pool);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fg_pool_free(pool);
    fg_timers_free(timers);
    return 0;
}

/* Calls of a timer are made on its strand: this runs a function there and waits for it. */
struct call {
    struct fg_task task;
    void (*run)(void *argument);
    void *argument;
    atomic_bool done;
};

static void run_call(struct fg_task *task)
{
    struct call *call = (struct call *)task;
    call->run(call->argument);
    atomic_store(&call->done, true);
}

static void on_strand(void (*run)(void *argument), void *argument)
{
    struct call call = { .task.run = run_call, .run = run, .argument = argument };
    fg_strand_post(&strand, &call.task);
    for (time_t until = time(NULL) + 20; !atomic_load(&call.done);) {
        if (time(NULL) > until) {
            abort(); /* the task uses this stack */
        }
        sched_yield();
    }
}

static void nothing(void *argument)
{
    (void)argument;
}

/* The clock goes to now_ns, and what is due then has run when this returns. */
static void pass_to(int64_t now_ns)
{
    atomic_store(&test_now_ns, now_ns);
    fg_timers_expire(timers);
    on_strand(nothing, NULL);
}

static void timers_run_in_the_order_of_their_deadlines(void **state)
{
    (void)state;
    static const int64_t deadlines[] = { 5000, 2000, 9000, 2500, 7000, 1500 };
    static const int order[] = { 5, 1, 3, 0, 4, 2 };
    struct alarm alarms[6];
    for (int i = 0; i < 6; i++) {
        init(&alarms[i]);
        assert_int_equal(fg_timer_set(&alarms[i].timer, deadlines[i]), 0);
    }
    pass_to(10000);
    assert_int_equal(rung_count, 6);
    for (int i = 0; i < 6; i++) {
        assert_ptr_equal(rung[i], &alarms[order[i]]);
        assert_false(fg_timer_is_set(&alarms[i].timer));
    }
}

static void a_timer_does_not_run_before_its_deadline(void **state)
{
    (void)state;
    struct alarm alarm;
    init(&alarm);
    assert_int_equal(fg_timer_start(&alarm.timer, 1000), 0);
    pass_to(1999);
    assert_int_equal(alarm.count, 0);
    assert_true(fg_timer_is_set(&alarm.timer));
    pass_to(2000);
    assert_int_equal(alarm.count, 1);
    pass_to(100000);
    assert_int_equal(alarm.count, 1);
}

static void a_deadline_moves_later_and_earlier(void **state)
{
    (void)state;
    struct alarm alarm, other;
    init(&alarm);
    init(&other);
    assert_int_equal(fg_timer_set(&alarm.timer, 2000), 0);
    assert_int_equal(fg_timer_set(&other.timer, 3000), 0);
    assert_int_equal(fg_timer_set(&alarm.timer, 5000), 0);
    pass_to(4999);
    assert_int_equal(alarm.count, 0);
    assert_int_equal(other.count, 1);
    assert_int_equal(fg_timer_set(&other.timer, 9000), 0);
    assert_int_equal(fg_timer_set(&other.timer, 4999), 0);
    pass_to(4999);
    assert_int_equal(other.count, 2);
    pass_to(5000);
    assert_int_equal(alarm.count, 1);
}

static void a_stopped_timer_does_not_run(void **state)
{
    (void)state;
    struct alarm alarms[3];
    for (int i = 0; i < 3; i++) {
        init(&alarms[i]);
        assert_int_equal(fg_timer_set(&alarms[i].timer, 2000 + i), 0);
    }
    fg_timer_stop(&alarms[1].timer);
    fg_timer_stop(&alarms[1].timer);
    assert_false(fg_timer_is_set(&alarms[1].timer));
    pass_to(5000);
    assert_int_equal(alarms[0].count, 1);
    assert_int_equal(alarms[1].count, 0);
    assert_int_equal(alarms[2].count, 1);
    assert_int_equal(fg_timer_set(&alarms[1].timer, 6000), 0);
    pass_to(6000);
    assert_int_equal(alarms[1].count, 1);
}

/* Inside a task of the strand: the timer's task is posted, and can run only afterwards. */
static void expire_and_stop(void *argument)
{
    struct alarm *alarm = argument;
    fg_timers_expire(timers);
    fg_timer_stop(&alarm->timer);
}

static void a_timer_that_is_stopped_with_its_task_posted_does_not_run(void **state)
{
    (void)state;
    struct alarm alarm;
    init(&alarm);
    assert_int_equal(fg_timer_set(&alarm.timer, 2000), 0);
    atomic_store(&test_now_ns, 3000);
    on_strand(expire_and_stop, &alarm);
    on_strand(nothing, NULL);
    assert_int_equal(alarm.count, 0);
    assert_int_equal(fg_timer_set(&alarm.timer, 4000), 0);
    pass_to(4000);
    assert_int_equal(alarm.count, 1);
}

static void expire_and_move(void *argument)
{
    struct alarm *alarm = argument;
    fg_timers_expire(timers);
    fg_timer_set(&alarm->timer, 8000);
}

static void a_timer_that_is_moved_with_its_task_posted_runs_at_its_new_deadline(void **state)
{
    (void)state;
    struct alarm alarm;
    init(&alarm);
    assert_int_equal(fg_timer_set(&alarm.timer, 2000), 0);
    atomic_store(&test_now_ns, 3000);
    on_strand(expire_and_move, &alarm);
    on_strand(nothing, NULL);
    assert_int_equal(alarm.count, 0);
    assert_true(fg_timer_is_set(&alarm.timer));
    pass_to(7999);
    assert_int_equal(alarm.count, 0);
    pass_to(8000);
    assert_int_equal(alarm.count, 1);
}

static void expire_stop_and_set_due(void *argument)
{
    struct alarm *alarm = argument;
    fg_timers_expire(timers);
    fg_timer_stop(&alarm->timer);
    fg_timer_set(&alarm->timer, 2500);
    fg_timers_expire(timers);
}

static void a_timer_set_to_the_past_with_its_task_posted_runs_once(void **state)
{
    (void)state;
    struct alarm alarm;
    init(&alarm);
    assert_int_equal(fg_timer_set(&alarm.timer, 2000), 0);
    atomic_store(&test_now_ns, 3000);
    on_strand(expire_stop_and_set_due, &alarm);
    pass_to(3000);
    assert_int_equal(alarm.count, 1);
}

static void a_timer_may_be_set_again_inside_its_callback(void **state)
{
    (void)state;
    struct alarm alarm;
    init(&alarm);
    alarm.again_ns = 6000;
    assert_int_equal(fg_timer_set(&alarm.timer, 2000), 0);
    pass_to(2000);
    assert_int_equal(alarm.count, 1);
    assert_true(fg_timer_is_set(&alarm.timer));
    pass_to(5999);
    assert_int_equal(alarm.count, 1);
    pass_to(6000);
    assert_int_equal(alarm.count, 2);
    assert_false(fg_timer_is_set(&alarm.timer));
}

static void a_deadline_of_zero_or_less_is_due_at_once(void **state)
{
    (void)state;
    struct alarm alarms[2];
    init(&alarms[0]);
    init(&alarms[1]);
    assert_int_equal(fg_timer_set(&alarms[0].timer, 0), 0);
    assert_int_equal(fg_timer_start(&alarms[1].timer, -5000), 0);
    assert_true(fg_timer_is_set(&alarms[0].timer));
    pass_to(1000);
    assert_int_equal(alarms[0].count, 1);
    assert_int_equal(alarms[1].count, 1);
}

static void a_wait_without_end_never_comes(void **state)
{
    (void)state;
    struct alarm alarm, soon;
    init(&alarm);
    init(&soon);
    assert_int_equal(fg_timer_start(&alarm.timer, INT64_MAX), 0);
    assert_int_equal(fg_timer_start(&soon.timer, 1), 0);
    pass_to(INT64_MAX / 2);
    assert_int_equal(alarm.count, 0);
    assert_int_equal(soon.count, 1);
}

static bool is_ready(int timeout_ms)
{
    struct pollfd ready = { .fd = fg_timers_fd(timers), .events = POLLIN };
    return poll(&ready, 1, timeout_ms) == 1;
}

static void the_descriptor_is_ready_when_the_earliest_is_due_and_never_early(void **state)
{
    (void)state;
    atomic_store(&test_now_ns, 0);
    struct alarm alarms[3];
    int64_t deadlines[3];
    for (int i = 0; i < 3; i++) {
        init(&alarms[i]);
        deadlines[i] = fg_clock_now_ns() + (30 - 10 * i) * FG_NS_PER_MS;
        assert_int_equal(fg_timer_set(&alarms[i].timer, deadlines[i]), 0);
    }
    for (int i = 2; i >= 0; i--) {
        while (rung_count < (size_t)(3 - i)) {
            assert_true(is_ready(20000));
            fg_timers_expire(timers);
            on_strand(nothing, NULL);
        }
        assert_int_equal(alarms[i].count, 1);
        assert_true(alarms[i].at_ns >= deadlines[i]);
    }
    assert_false(is_ready(0));
}

static void the_descriptor_is_silent_when_nothing_is_set(void **state)
{
    (void)state;
    atomic_store(&test_now_ns, 0);
    assert_false(is_ready(0));
    struct alarm alarm;
    init(&alarm);
    assert_int_equal(fg_timer_start(&alarm.timer, 3600 * FG_NS_PER_S), 0);
    assert_false(is_ready(0));
    assert_int_equal(fg_timer_set(&alarm.timer, 1), 0);
    assert_true(is_ready(20000));
    fg_timers_expire(timers);
    assert_false(is_ready(0));
    on_strand(nothing, NULL);
}

static void the_next_period_keeps_the_phase(void **state)
{
    (void)state;
    uint64_t missed = 0;
    assert_int_equal(fg_timer_next_period(1000, 100, 1000, &missed), 1100);
    assert_int_equal(fg_timer_next_period(1000, 100, 1099, &missed), 1100);
    assert_int_equal(missed, 0);
}

static void periods_that_are_past_are_left_out_and_counted(void **state)
{
    (void)state;
    uint64_t missed = 0;
    assert_int_equal(fg_timer_next_period(1000, 100, 1100, &missed), 1200);
    assert_int_equal(missed, 1);
    assert_int_equal(fg_timer_next_period(1000, 100, 1399, &missed), 1400);
    assert_int_equal(missed, 4);
    assert_int_equal(fg_timer_next_period(0, 1, INT64_C(1) << 60, &missed), (INT64_C(1) << 60) + 1);
    assert_int_equal(missed, 4 + (UINT64_C(1) << 60));
}

enum { MANY = 4000 };

struct model {
    struct alarm alarms[MANY];
    int64_t deadlines[MANY]; /* 0: not set */
    int expected[MANY];
};

static void check_round(struct model *model, int64_t now_ns)
{
    rung_count = 0;
    pass_to(now_ns);
    int64_t last_ns = 0;
    for (size_t i = 0; i < rung_count; i++) {
        size_t index = (size_t)(rung[i] - model->alarms);
        assert_true(model->deadlines[index] != 0 && model->deadlines[index] <= now_ns);
        assert_true(model->deadlines[index] >= last_ns);
        last_ns = model->deadlines[index];
        model->deadlines[index] = 0;
        model->expected[index]++;
    }
    for (size_t i = 0; i < MANY; i++) {
        assert_true(model->deadlines[i] == 0 || model->deadlines[i] > now_ns);
        assert_int_equal(model->alarms[i].count, model->expected[i]);
        assert_int_equal(fg_timer_is_set(&model->alarms[i].timer), model->deadlines[i] != 0);
    }
}

static void thousands_are_set_moved_and_stopped_and_each_runs_when_it_should(void **state)
{
    (void)state;
    struct model *model = calloc(1, sizeof *model);
    assert_non_null(model);
    for (size_t i = 0; i < MANY; i++) {
        init(&model->alarms[i]);
    }
    uint32_t seed = 4711;
    print_message("seed %u\n", seed);
    int64_t now_ns = 1000;
    for (int round = 0; round < 50; round++) {
        for (int change = 0; change < 1000; change++) {
            seed = seed * 1664525U + 1013904223U;
            size_t index = (seed >> 8) % MANY;
            seed = seed * 1664525U + 1013904223U;
            uint32_t after = (seed >> 8) % 5000;
            if (after < 500) {
                fg_timer_stop(&model->alarms[index].timer);
                model->deadlines[index] = 0;
            } else {
                model->deadlines[index] = now_ns + after;
                assert_int_equal(fg_timer_set(&model->alarms[index].timer, now_ns + after), 0);
            }
        }
        now_ns += 700;
        check_round(model, now_ns);
    }
    check_round(model, now_ns + 5000);
    free(model);
}

#ifdef CAN_REFUSE_MEMORY
/* All in one task of the strand: the first timer is moved while its task is posted, and others are set while
 * memory is short. */
static void move_in_want(void *argument)
{
    struct alarm *alarms = argument;
    fg_timers_expire(timers);
    atomic_store(&refuse_memory, true);
    for (int i = 1; i < 64; i++) {
        if (fg_timer_set(&alarms[i].timer, 5000)) {
            alarms[i].again_ns = -1; /* told */
        }
    }
    fg_timer_set(&alarms[0].timer, 4000);
}

static void a_timer_that_was_set_is_not_lost_for_want_of_memory(void **state)
{
    (void)state;
    if (getenv("FG_TEST_SLOW")) { /* set where something, as valgrind, has an allocator of its own */
        skip();
    }
    struct alarm alarms[64];
    for (int i = 0; i < 64; i++) {
        init(&alarms[i]);
    }
    assert_int_equal(fg_timer_set(&alarms[0].timer, 2000), 0);
    atomic_store(&test_now_ns, 3000);
    on_strand(move_in_want, alarms);
    on_strand(nothing, NULL);
    atomic_store(&refuse_memory, false);
    assert_int_equal(alarms[63].again_ns, -1); /* or the test says nothing */
    pass_to(4000);
    assert_int_equal(alarms[0].count, 1);
    pass_to(5000);
    for (int i = 1; i < 64; i++) {
        assert_int_equal(alarms[i].count, alarms[i].again_ns == 0);
    }
}
#endif

#define TIMER_TEST(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TIMER_TEST(timers_run_in_the_order_of_their_deadlines),
        TIMER_TEST(a_timer_does_not_run_before_its_deadline),
        TIMER_TEST(a_deadline_moves_later_and_earlier),
        TIMER_TEST(a_stopped_timer_does_not_run),
        TIMER_TEST(a_timer_that_is_stopped_with_its_task_posted_does_not_run),
        TIMER_TEST(a_timer_that_is_moved_with_its_task_posted_runs_at_its_new_deadline),
        TIMER_TEST(a_timer_set_to_the_past_with_its_task_posted_runs_once),
        TIMER_TEST(a_timer_may_be_set_again_inside_its_callback),
        TIMER_TEST(a_deadline_of_zero_or_less_is_due_at_once),
#ifdef CAN_REFUSE_MEMORY
        TIMER_TEST(a_timer_that_was_set_is_not_lost_for_want_of_memory),
#endif
        TIMER_TEST(a_wait_without_end_never_comes),
        TIMER_TEST(the_descriptor_is_ready_when_the_earliest_is_due_and_never_early),
        TIMER_TEST(the_descriptor_is_silent_when_nothing_is_set),
        cmocka_unit_test(the_next_period_keeps_the_phase),
        cmocka_unit_test(periods_that_are_past_are_left_out_and_counted),
        TIMER_TEST(thousands_are_set_moved_and_stopped_and_each_runs_when_it_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
