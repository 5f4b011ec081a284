#include "watchdog.h"

#include "notify.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* How long the look-up of a name may last. The C library's is bounded by its settings, far below. */
#define HELD_MOST_NS (10 * 60 * FG_NS_PER_S)

/* Sleeps, unless the end comes. Returns whether it has. */
static bool sleep_until_end(struct fg_watchdog *watchdog, int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = (int64_t)until.tv_sec * FG_NS_PER_S + until.tv_nsec + (ns > 0 ? ns : 0);
    until.tv_sec = (time_t)(at_ns / FG_NS_PER_S);
    until.tv_nsec = (long)(at_ns % FG_NS_PER_S);
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->end && pthread_cond_timedwait(&watchdog->ended, &watchdog->lock, &until) == 0) {
    }
    bool end = watchdog->end;
    pthread_mutex_unlock(&watchdog->lock);
    return end;
}

static void on_beat(struct fg_task *task)
{
    struct fg_watchdog *watchdog = (struct fg_watchdog *)((char *)task - offsetof(struct fg_watchdog, beat));
    atomic_store(&watchdog->beat_due, false);
}

static bool publisher_moves(struct fg_watchdog *watchdog, int64_t now_ns)
{
    enum fg_proof proof = fg_publisher_proof(watchdog->publisher);
    if (proof != FG_PROOF_MAY_BE_HELD) {
        watchdog->held_ns = 0;
        return proof == FG_PROOF_MOVES;
    }
    if (watchdog->held_ns == 0) {
        watchdog->held_ns = now_ns;
    }
    return now_ns - watchdog->held_ns < HELD_MOST_NS;
}

static void tell(const char *who, int64_t silence_ns)
{
    char line[80];
    int64_t tenths = silence_ns / (FG_NS_PER_S / 10);
    snprintf(line, sizeof line, "%s has not moved for %g s", who, (double)tenths / 10);
    fg_log(FG_LOG_ERROR, "%s: the service manager is not told any more that the gateway is alive", line);
    fg_notify_status(line);
}

/* Whether all have moved since they were asked; tells: who has not is named. */
static bool all_move(struct fg_watchdog *watchdog, bool tells, int64_t silence_ns, int64_t now_ns)
{
    bool loop = !atomic_load(&watchdog->beat_due);
    bool publisher = publisher_moves(watchdog, now_ns);
    const struct fg_pool *pool = watchdog->loop->pool;
    size_t worker = fg_pool_silent(pool, 0);
    if (tells && !loop) {
        tell("the main loop", silence_ns);
    }
    if (tells && !publisher) {
        tell("the publisher", silence_ns);
    }
    for (size_t next = tells ? worker : 0; next > 0; next = fg_pool_silent(pool, next)) {
        char who[32];
        snprintf(who, sizeof who, "worker %zu", next);
        tell(who, silence_ns);
    }
    return loop && publisher && worker == 0;
}

/* Asks all, and waits until they have moved. Returns whether they have, and not the end has come. */
static bool prove(struct fg_watchdog *watchdog, int64_t asked_ns)
{
    if (!atomic_exchange(&watchdog->beat_due, true)) {
        fg_loop_post(watchdog->loop, &watchdog->beat);
    }
    fg_pool_ask(watchdog->loop->pool);
    fg_publisher_ask(watchdog->publisher);
    bool told = false;
    for (bool moved = false; !moved;) {
        if (sleep_until_end(watchdog, watchdog->timeout_ns / 20)) {
            return false;
        }
        int64_t now_ns = fg_clock_now_ns();
        bool tells = !told && now_ns - asked_ns >= watchdog->timeout_ns / 3;
        moved = all_move(watchdog, tells, now_ns - asked_ns, now_ns);
        told |= tells && !moved;
    }
    if (told) {
        fg_log(FG_LOG_ERROR, "all threads move again");
    }
    return true;
}

static void *run(void *argument)
{
    struct fg_watchdog *watchdog = argument;
    for (bool end = false; !end;) {
        int64_t asked_ns = fg_clock_now_ns();
        if (!prove(watchdog, asked_ns)) {
            break;
        }
        fg_notify_alive();
        end = sleep_until_end(watchdog, asked_ns + watchdog->timeout_ns / 2 - fg_clock_now_ns());
    }
    return NULL;
}

void fg_watchdog_start(struct fg_watchdog *watchdog, struct fg_loop *loop, struct fg_publisher *publisher)
{
    *watchdog = (struct fg_watchdog){
        .loop = loop, .publisher = publisher, .timeout_ns = fg_notify_watchdog_ns(), .beat.run = on_beat
    };
    if (watchdog->timeout_ns == 0) {
        return;
    }
    fg_pool_prove(loop->pool, watchdog->timeout_ns / 10);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&watchdog->lock, NULL);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&watchdog->thread, NULL, run, watchdog);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        fg_log(FG_LOG_ERROR, "cannot tell the service manager that the gateway is alive: %s",
               strerror(error));
        return;
    }
    pthread_setname_np(watchdog->thread, "fg-watchdog");
    watchdog->runs = true;
}

void fg_watchdog_stop(struct fg_watchdog *watchdog)
{
    if (!watchdog->runs) {
        return;
    }
    watchdog->runs = false;
    pthread_mutex_lock(&watchdog->lock);
    watchdog->end = true;
    pthread_cond_signal(&watchdog->ended);
    pthread_mutex_unlock(&watchdog->lock);
    pthread_join(watchdog->thread, NULL);
    pthread_cond_destroy(&watchdog->ended);
    pthread_mutex_destroy(&watchdog->lock);
}
