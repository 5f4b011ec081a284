#include "fieldgate/loop.h"

#include "fieldgate/clock.h"
#include "tasks.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

void fg_loop_block_signals(const sigset_t *signals)
{
    pthread_sigmask(SIG_BLOCK, signals, NULL);
}

static void on_signal(void *context)
{
    struct fg_loop *loop = context;
    struct signalfd_siginfo info;
    while (read(loop->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        loop->signal(loop->context, (int)info.ssi_signo);
    }
}

static void on_timers(void *context)
{
    struct fg_loop *loop = context;
    fg_timers_expire(loop->timers);
}

/* The eventfd is drained before the mailbox: a post in between leaves it readable, and nothing is lost. */
static void on_wake(void *context)
{
    struct fg_loop *loop = context;
    uint64_t count;
    ssize_t got = read(loop->wake_fd, &count, sizeof count);
    (void)got;
    fg_tasks_run(atomic_exchange_explicit(&loop->mailbox, NULL, memory_order_acquire));
}

void fg_loop_post(struct fg_loop *loop, struct fg_task *task)
{
    int fd = loop->wake_fd;
    struct fg_task *old = atomic_load_explicit(&loop->mailbox, memory_order_relaxed);
    do {
        task->next = old;
    } while (!atomic_compare_exchange_weak_explicit(&loop->mailbox, &old, task, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (!old) {
        uint64_t one = 1;
        ssize_t put = write(fd, &one, sizeof one);
        (void)put; /* fails only when the counter is full, and then the loop wakes anyway */
    }
}

static int watch_own(struct fg_loop *loop)
{
    int error = loop->model->ops->watch(loop->model, loop->wake_fd, on_wake, loop);
    if (!error) {
        error = loop->model->ops->watch(loop->model, loop->signal_fd, on_signal, loop);
    }
    if (!error) {
        error = loop->model->ops->watch(loop->model, fg_timers_fd(loop->timers), on_timers, loop);
    }
    return error;
}

int fg_loop_open(struct fg_loop *loop, const struct fg_model_ops *ops, size_t workers,
                 const sigset_t *signals, void (*signal)(void *context, int number), void *context)
{
    *loop = (struct fg_loop){ .signal_fd = -1, .wake_fd = -1, .signal = signal, .context = context };
    atomic_init(&loop->mailbox, NULL);
    loop->pace.interval_ns = FG_LOOP_TURN_NS;
    int error = 0;
    loop->signal_fd = signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->signal_fd < 0 || loop->wake_fd < 0) {
        error = -errno;
    }
    if (!error) {
        error = fg_timers_new(&loop->timers);
    }
    if (!error) {
        error = fg_pool_new(workers, &loop->pool);
    }
    if (!error) {
        error = ops->open(loop->pool, &loop->model);
    }
    if (!error) {
        error = watch_own(loop);
    }
    if (error) {
        fg_loop_close(loop);
    }
    return error;
}

int64_t fg_loop_turn_ns(int64_t turn_ns)
{
    return turn_ns < FG_LOOP_TURN_NS       ? FG_LOOP_TURN_NS
           : turn_ns > FG_LOOP_TURN_MAX_NS ? FG_LOOP_TURN_MAX_NS
                                           : turn_ns;
}

void fg_loop_set_turn(struct fg_loop *loop, int64_t turn_ns)
{
    loop->pace.interval_ns = fg_loop_turn_ns(turn_ns);
}

static void rest(int64_t rest_ns)
{
    const struct timespec time = { .tv_nsec = (long)rest_ns };
    nanosleep(&time, NULL);
}

int fg_loop_run(struct fg_loop *loop)
{
    int error = 0;
    fg_pool_gather(loop->pool);
    while (!error && !loop->stop) {
        loop->model->hurries = false;
        error = loop->model->ops->wait(loop->model);
        fg_pool_release(loop->pool);
        int64_t rest_ns = fg_pace_turn(&loop->pace, fg_clock_now_ns());
        if (rest_ns > 0 && !loop->stop && !loop->model->hurries) {
            rest(rest_ns);
        }
    }
    fg_pool_gather(NULL);
    loop->stop = false;
    return error;
}

void fg_loop_stop(struct fg_loop *loop)
{
    loop->stop = true;
}

void fg_loop_close(struct fg_loop *loop)
{
    fg_pool_free(loop->pool);
    loop->pool = NULL;
    if (loop->model) {
        loop->model->ops->close(loop->model);
        loop->model = NULL;
    }
    fg_timers_free(loop->timers);
    loop->timers = NULL;
    if (loop->signal_fd >= 0) {
        close(loop->signal_fd);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    loop->signal_fd = loop->wake_fd = -1;
}
