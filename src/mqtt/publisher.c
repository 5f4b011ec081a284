#include "publisher_change.h"
#include "publisher_connect.h"
#include "publisher_parts.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Of a stop's time, what is kept for the good-byes. */
#define FAREWELL_NS (500 * FG_NS_PER_MS)

/* How often acknowledgements are read while there are slots enough. */
#define READ_EVERY_NS (5 * FG_NS_PER_MS)

void fg_publisher_wake(struct fg_publisher *publisher, unsigned kind)
{
    if ((atomic_load(&publisher->wants) & kind) && (atomic_fetch_and(&publisher->wants, ~kind) & kind)) {
        const uint64_t one = 1;
        ssize_t written = write(publisher->wake_fd, &one, sizeof one);
        (void)written; /* it fails only when the counter is full: the thread is woken already */
    }
}

void fg_publisher_count_lost(struct fg_publisher *publisher, struct fg_origin *origin, enum fg_loss reason,
                             int64_t wall_ms, uint64_t count)
{
    fg_count(&origin->lost[reason], count);
    fg_count(&publisher->lost[reason], count);
    int64_t now_ns = fg_clock_now_ns();
    pthread_mutex_lock(&publisher->lock);
    bool sooner = fg_losses_add(&publisher->losses, origin, reason, wall_ms, count, now_ns);
    pthread_mutex_unlock(&publisher->lock);
    if (sooner) {
        fg_publisher_wake(publisher, FG_WANT_CONTROL);
    }
    if (reason != FG_LOSS_SHUTDOWN) { /* those are told by one line at the end */
        fg_log_limited(&publisher->loss_limits[reason], FG_LOG_WARNING, origin->port, origin->device,
                       "readings are lost: %s", fg_loss_name(reason));
    }
}

/* --- the stop --- */

static void begin_farewell(struct fg_publisher *publisher)
{
    publisher->phase = FG_FAREWELL;
    uint64_t lost = fg_flow_give_up(publisher, false);
    pthread_mutex_lock(&publisher->lock);
    publisher->lost_by_stop += lost;
    fg_availability_all_offline(&publisher->availability);
    fg_losses_hurry(&publisher->losses);
    pthread_mutex_unlock(&publisher->lock);
    publisher->status_due = FG_STATUS_OFFLINE;
}

static bool farewell_done(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    bool done = publisher->availability.pending == 0 && publisher->losses.open == 0 &&
                publisher->inflight.count == 0 && publisher->status_due == FG_STATUS_TOLD;
    pthread_mutex_unlock(&publisher->lock);
    return done;
}

static int64_t farewell_ns(const struct fg_publisher *publisher)
{
    int64_t reserve = publisher->stop_timeout_ns / 5;
    return publisher->stop_deadline_ns - (reserve < FAREWELL_NS ? reserve : FAREWELL_NS);
}

/* Takes a stop further. Returns whether the thread is to end. */
static bool stop_step(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_session *session = publisher->session;
    if (publisher->phase == FG_RUNNING) {
        publisher->phase = FG_DELIVERING;
        pthread_mutex_lock(&publisher->lock);
        fg_losses_hurry(&publisher->losses);
        pthread_mutex_unlock(&publisher->lock);
        if (session->state == FG_SESSION_DOWN) {
            publisher->retry_ns = now_ns;
        }
    }
    if (now_ns >= publisher->stop_deadline_ns) {
        return true;
    }
    bool work = fg_flow_has_work(publisher);
    if (session->state != FG_SESSION_UP) {
        return !work || publisher->keep.spool || publisher->phase == FG_LEAVING;
    }
    if (publisher->phase == FG_DELIVERING && fg_keep_bars(publisher)) {
        work = false; /* all this has to go behind what is on the disk, and there it goes now */
    }
    if (publisher->phase == FG_DELIVERING &&
        ((!work && publisher->inflight.count == 0) || now_ns >= farewell_ns(publisher))) {
        begin_farewell(publisher);
        fg_flow_feed(publisher, now_ns);
    }
    if (publisher->phase == FG_FAREWELL && session->state == FG_SESSION_UP && farewell_done(publisher)) {
        publisher->phase = FG_LEAVING;
        fg_session_disconnect(session);
    }
    return publisher->phase == FG_LEAVING && session->state == FG_SESSION_DOWN;
}

static void finish(struct fg_publisher *publisher)
{
    uint64_t lost = fg_flow_give_up(publisher, true);
    /* Without a good-bye the broker publishes the will, which is what a stop that did not get through is
     * worth. */
    fg_session_drop(publisher->session, "stopped");
    publisher->session->ack_count = 0;
    fg_connect_fini(publisher);
    pthread_mutex_unlock(&publisher->turn);
    atomic_store_explicit(&publisher->connected, false, memory_order_relaxed);
    pthread_mutex_lock(&publisher->lock);
    publisher->lost_by_stop += lost;
    lost = publisher->lost_by_stop;
    pthread_mutex_unlock(&publisher->lock);
    if (lost > 0) {
        fg_log(FG_LOG_WARNING, "%llu readings are lost: the broker did not take them before the stop",
               (unsigned long long)lost);
    }
    pthread_mutex_lock(&publisher->lock);
    publisher->finished = true;
    pthread_cond_broadcast(&publisher->finished_condition);
    pthread_mutex_unlock(&publisher->lock);
}

/* --- the thread --- */

static int64_t next_ns(struct fg_publisher *publisher)
{
    int64_t next = fg_connect_next_ns(publisher);
    if (publisher->session->state == FG_SESSION_UP) {
        if (publisher->linger_until_ns > 0) {
            next = fg_sooner(next, publisher->linger_until_ns);
        }
        if (publisher->pauses) {
            next = fg_sooner(next, publisher->read_ns);
        }
        pthread_mutex_lock(&publisher->lock);
        next = fg_sooner(next, publisher->losses.due_ns);
        pthread_mutex_unlock(&publisher->lock);
    }
    if (publisher->keep.spool) {
        next = fg_sooner(next, publisher->keep.watch_ns);
    }
    if (publisher->phase == FG_DELIVERING && publisher->session->state == FG_SESSION_UP) {
        next = fg_sooner(next, farewell_ns(publisher));
    }
    next = fg_sooner(next, publisher->change_ns);
    return publisher->phase == FG_RUNNING ? next : fg_sooner(next, publisher->stop_deadline_ns);
}

static int poll_ms(struct fg_publisher *publisher, unsigned wants)
{
    int64_t now_ns = fg_clock_now_ns();
    if (fg_change_is_news(publisher)) {
        return 0;
    }
    if (fg_flow_is_due(publisher, wants, now_ns)) {
        return 0;
    }
    if (publisher->keep.spool && publisher->keep.watch_ns <= now_ns) {
        return 0;
    }
    int64_t left_ns = next_ns(publisher) - now_ns;
    if (left_ns <= 0) {
        /* What is due but has no room to go must wait for an acknowledgement. */
        return wants & (FG_WANT_CONTROL | FG_WANT_MESSAGES) || publisher->session->state != FG_SESSION_UP
                   ? 0
                   : 100;
    }
    int64_t left_ms = (left_ns + FG_NS_PER_MS - 1) / FG_NS_PER_MS;
    return left_ms < 3600000 ? (int)left_ms : 3600000;
}

bool fg_publisher_take_room(struct fg_publisher *publisher)
{
    bool due = publisher->room_due && publisher->room;
    publisher->room_due = false;
    return due;
}

/* Gives the turn away for as long as there is nothing to do. */
static int wait_for(struct fg_publisher *publisher, struct pollfd fds[2])
{
    /* First say what to be woken for, then look whether it is there already: who comes between the two wakes.
     */
    int64_t now_ns = fg_clock_now_ns();
    unsigned wants = fg_flow_wants(publisher, now_ns) | fg_keep_wants(publisher, now_ns) | FG_WANT_TURN;
    atomic_store(&publisher->wants, wants | FG_WANT_PROOF);
    atomic_store(&publisher->heard, atomic_load(&publisher->asked));
    bool room = fg_publisher_take_room(publisher);
    bool arrived = fg_calls_take_news(publisher);
    int timeout_ms = room || arrived ? 0 : poll_ms(publisher, wants);
    pthread_mutex_unlock(&publisher->turn);
    if (arrived) {
        publisher->arrived(publisher->context);
    }
    if (room) {
        publisher->room(publisher->context);
    }
    int ready = poll(fds, 2, timeout_ms);
    atomic_store(&publisher->wants, 0);
    pthread_mutex_lock(&publisher->turn);
    publisher->pauses = false;
    return ready;
}

static void wait_and_io(struct fg_publisher *publisher)
{
    struct fg_session *session = publisher->session;
    struct pollfd fds[2] = {
        { .fd = publisher->wake_fd, .events = POLLIN },
        { .fd = fg_session_fd(session), .events = 0 },
    };
    if (fds[1].fd >= 0) {
        fds[1].events = fg_session_events(session);
        publisher->pauses = session->state == FG_SESSION_UP && !fg_flow_is_tight(publisher) &&
                            fg_clock_now_ns() < publisher->read_ns && publisher->phase == FG_RUNNING;
        fds[1].events = (short)(publisher->pauses ? fds[1].events & ~POLLIN : fds[1].events);
    }
    if (wait_for(publisher, fds) <= 0) {
        return;
    }
    if (fds[0].revents) {
        uint64_t count;
        ssize_t taken = read(publisher->wake_fd, &count, sizeof count);
        (void)taken;
    }
    if (fds[1].revents && fg_session_fd(session) == fds[1].fd) {
        fg_session_io(session, fds[1].revents);
        publisher->read_ns = fg_clock_now_ns() + READ_EVERY_NS;
    }
}

static void *run(void *argument)
{
    struct fg_publisher *publisher = argument;
    pthread_mutex_lock(&publisher->turn);
    for (;;) {
        int64_t now_ns = fg_clock_now_ns();
        fg_connect_note(publisher);
        if (atomic_load(&publisher->stopping)) {
            bool over = stop_step(publisher, now_ns);
            if (over) {
                break;
            }
            fg_connect_note(publisher);
        }
        publisher->change_ns = fg_change_step(publisher, now_ns);
        fg_keep_step(publisher, now_ns);
        fg_connect_step(publisher, now_ns);
        if (publisher->session->state == FG_SESSION_UP) {
            fg_flow_feed(publisher, now_ns);
        }
        fg_connect_note(publisher);
        wait_and_io(publisher);
    }
    finish(publisher); /* gives the turn back */
    return NULL;
}

int fg_publisher_start(struct fg_publisher *publisher)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&publisher->thread, NULL, run, publisher);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        return -error;
    }
    publisher->started = true;
    pthread_setname_np(publisher->thread, "fg-publisher");
    return 0;
}
