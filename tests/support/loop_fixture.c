#include "support/loop_fixture.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The one that is open, for the counted wait. */
static struct loop_fixture *opened_fixture;

static void init_condition(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void state_lock(void)
{
    pthread_once(&once, init_condition);
    pthread_mutex_lock(&lock);
}

void state_unlock(void)
{
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

int64_t state_deadline(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec + DEADLINE_S) * FG_NS_PER_S + now.tv_nsec;
}

bool state_wait(int64_t deadline_ns)
{
    struct timespec until = { .tv_sec = (time_t)(deadline_ns / FG_NS_PER_S),
                              .tv_nsec = (long)(deadline_ns % FG_NS_PER_S) };
    return pthread_cond_timedwait(&changed, &lock, &until) == 0;
}

void fixture_fault(struct loop_fixture *fixture, const char *fault)
{
    const char *none = NULL;
    atomic_compare_exchange_strong(&fixture->fault, &none, fault);
}

static int counted_wait(struct fg_model *model)
{
    int error = opened_fixture->model->wait(model);
    atomic_fetch_add(&opened_fixture->waits, 1);
    return error;
}

static void on_signal(void *context, int number)
{
    struct loop_fixture *fixture = context;
    if (number == SIGUSR1) {
        state_lock();
        atomic_fetch_add(&fixture->signals, 1);
        state_unlock();
    }
}

static void test_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGUSR1);
    sigaddset(signals, SIGUSR2);
}

/* A loop belongs to the thread that opens it: one model may allow no other to submit. */
static void *run_loop(void *argument)
{
    struct loop_fixture *fixture = argument;
    sigset_t signals;
    test_signals(&signals);
    int error = fg_loop_open(&fixture->loop, fixture->model, fixture->workers, &signals, on_signal, fixture);
    if (!error) {
        fixture->ops = *fixture->model;
        fixture->ops.wait = counted_wait;
        fixture->loop.model->ops = &fixture->ops;
        fg_strand_init(&fixture->strand, fixture->loop.pool);
    }
    state_lock();
    fixture->opened = true;
    fixture->error = error;
    state_unlock();
    if (!error) {
        error = fg_loop_run(&fixture->loop);
        if (error) {
            fixture_fault(fixture, "the loop ended with an error");
        }
        fg_loop_close(&fixture->loop);
    }
    state_lock();
    fixture->ended = true;
    state_unlock();
    return NULL;
}

struct loop_fixture *fixture_open(const struct fg_model_ops *model, size_t workers)
{
    struct loop_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->model = model;
    fixture->workers = workers;
    opened_fixture = fixture;
    assert_int_equal(pthread_create(&fixture->thread, NULL, run_loop, fixture), 0);
    WAIT_FOR(fixture->opened);
    assert_int_equal(fixture->error, 0);
    return fixture;
}

struct main_call {
    struct fg_task task;
    void (*run)(void *argument);
    void *argument;
    bool done;
};

static void run_main_call(struct fg_task *task)
{
    struct main_call *call = (struct main_call *)task;
    call->run(call->argument);
    state_lock();
    call->done = true;
    state_unlock();
}

/* Not by an assertion: what did not come to its end may still use the caller's stack. */
static void wait_or_abort(const bool *done, const char *what)
{
    int64_t deadline_ns = state_deadline();
    state_lock();
    while (!*done) {
        if (!state_wait(deadline_ns) && !*done) {
            fprintf(stderr, "not in time: %s\n", what);
            abort();
        }
    }
    state_unlock();
}

void fixture_on_main(struct loop_fixture *fixture, void (*run)(void *argument), void *argument)
{
    struct main_call call = { .task.run = run_main_call, .run = run, .argument = argument };
    fg_loop_post(&fixture->loop, &call.task);
    wait_or_abort(&call.done, "a task of the main thread");
}

static void stop_loop(void *argument)
{
    fg_loop_stop(argument);
}

const char *fixture_close(struct loop_fixture *fixture)
{
    for (struct link *link = fixture->links; link; link = link->next) {
        state_lock();
        bool asked = link->close_asked;
        state_unlock();
        if (!asked) {
            ask_close(link);
        }
    }
    for (struct link *link = fixture->links, *next; link; link = next) {
        next = link->next;
        WAIT_FOR(link->closed > 0);
        if (link->closed != 1 || link->in_flight[0] || link->in_flight[1]) {
            fixture_fault(fixture, "an operation did not complete, or a channel closed twice");
        }
        if (link->peer >= 0) {
            close(link->peer);
        }
        free(link->bytes);
        free(link);
    }
    fixture_on_main(fixture, stop_loop, &fixture->loop);
    wait_or_abort(&fixture->ended, "the end of the loop");
    pthread_join(fixture->thread, NULL);
    const char *fault = atomic_load(&fixture->fault);
    opened_fixture = NULL;
    free(fixture);
    return fault;
}

struct pass {
    struct fg_task task;
    struct fg_timer timer;
    struct loop_fixture *fixture;
    int64_t after_ns;
    bool done;
};

static void passed(struct fg_timer *timer)
{
    struct pass *pass = (struct pass *)((char *)timer - offsetof(struct pass, timer));
    state_lock();
    pass->done = true;
    state_unlock();
}

static void start_pass(struct fg_task *task)
{
    struct pass *pass = (struct pass *)task;
    fg_timer_init(&pass->timer, pass->fixture->loop.timers, &pass->fixture->strand, passed);
    if (fg_timer_start(&pass->timer, pass->after_ns)) {
        fixture_fault(pass->fixture, "no timer");
        passed(&pass->timer);
    }
}

void fixture_let_pass(struct loop_fixture *fixture, int64_t ms)
{
    struct pass pass = { .task.run = start_pass, .fixture = fixture, .after_ns = ms * FG_NS_PER_MS };
    fg_strand_post(&fixture->strand, &pass.task);
    wait_or_abort(&pass.done, "a timer");
}

static int64_t cpu_ns(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return spent.tv_sec * FG_NS_PER_S + spent.tv_nsec;
}

void fixture_expect_rest(struct loop_fixture *fixture, int64_t ms)
{
    unsigned long waits = atomic_load(&fixture->waits);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    int64_t spent_ns = cpu_ns();
    fixture_let_pass(fixture, ms);
    spent_ns = cpu_ns() - spent_ns;
    getrusage(RUSAGE_SELF, &after);
    /* The timer itself: one wake-up of the loop, two hand-overs. What runs on wakes a thousand times. */
    assert_in_range(atomic_load(&fixture->waits) - waits, 0, 8);
    assert_in_range(after.ru_nvcsw - before.ru_nvcsw, 0, 40);
    assert_in_range(spent_ns, 0, ms * FG_NS_PER_MS / 2);
}

/* --- the groups --- */

static const struct fg_model_ops *model_under_test;
static char why_not[256];

static int open_fixture(void **state)
{
    *state = fixture_open(model_under_test, 2);
    return 0;
}

int fixture_one_worker(void **state)
{
    *state = fixture_open(model_under_test, 1);
    return 0;
}

static int close_fixture(void **state)
{
    const char *fault = fixture_close(*state);
    if (fault) {
        print_error("rule broken: %s\n", fault);
    }
    return fault ? -1 : 0;
}

static void cannot_run_here(void **state)
{
    (void)state;
    print_message("model %s cannot run here: %s\n", model_under_test->name, why_not);
    skip();
}

int fixture_run(const char *name, const struct CMUnitTest *tests, size_t count)
{
    sigset_t signals;
    test_signals(&signals);
    fg_loop_block_signals(&signals);
    int failed = 0;
    for (size_t i = 0; fg_models[i]; i++) {
        model_under_test = fg_models[i];
        char group[64];
        snprintf(group, sizeof group, "%s, %s", name, model_under_test->name);
        if (model_under_test->probe(why_not, sizeof why_not)) {
            const struct CMUnitTest skipped = { .name = group, .test_func = cannot_run_here };
            failed += _cmocka_run_group_tests(group, &skipped, 1, NULL, NULL);
            continue;
        }
        struct CMUnitTest *filled = calloc(count, sizeof *filled);
        if (!filled) {
            return -1;
        }
        memcpy(filled, tests, count * sizeof *filled);
        for (size_t j = 0; j < count; j++) {
            filled[j].setup_func = filled[j].setup_func ? filled[j].setup_func : open_fixture;
            filled[j].teardown_func = close_fixture;
        }
        failed += _cmocka_run_group_tests(group, filled, count, NULL, NULL);
        free(filled);
    }
    return failed;
}
