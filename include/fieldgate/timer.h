/*
 * Timers: a heap behind one timerfd on CLOCK_BOOTTIME. A timer belongs to a strand: it is set and stopped
 * there, and its callback runs there. Rounding is up: a callback never comes early.
 */
#ifndef FIELDGATE_TIMER_H
#define FIELDGATE_TIMER_H

#include "fieldgate/strand.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fg_timers;

/* Embedded. */
struct fg_timer {
    struct fg_task task;
    struct fg_timers *timers;
    struct fg_strand *strand;
    void (*expired)(struct fg_timer *timer);
    int64_t deadline_ns; /* as last set, 0 when stopped; the strand's */
    int64_t queued_ns;   /* key in the heap; the heap's */
    size_t heap_index;   /* 0: not in the heap; the heap's */
    bool posted;         /* its task is in the strand's mailbox; the heap's */
};

void fg_timer_init(struct fg_timer *timer, struct fg_timers *timers, struct fg_strand *strand,
                   void (*expired)(struct fg_timer *timer));

/* Sets or moves the deadline (fg_clock_now_ns). Only on the timer's strand (or before the strand is in use).
 * Does not block. Returns 0; -ENOMEM leaves the timer stopped. */
int fg_timer_set(struct fg_timer *timer, int64_t deadline_ns);

/* As fg_timer_set, from now. */
int fg_timer_start(struct fg_timer *timer, int64_t after_ns);

/*
 * Stops: the callback does not run any more. On the strand only. Its task may still stand in the mailbox,
 * where it does nothing: the timer's memory may go only after the strand has closed or a task posted later
 * has run.
 */
void fg_timer_stop(struct fg_timer *timer);

static inline bool fg_timer_is_set(const struct fg_timer *timer)
{
    return timer->deadline_ns != 0;
}

/* Next deadline of a period: previous + period, or, when that is past, the first one of the same phase after
 * now; *missed grows by the periods left out. */
int64_t fg_timer_next_period(int64_t previous_ns, int64_t period_ns, int64_t now_ns, uint64_t *missed);

/* For the loop: the heap, its descriptor (timerfd), and what to do when it is readable. */
int fg_timers_new(struct fg_timers **timers);
void fg_timers_free(struct fg_timers *timers);
int fg_timers_fd(const struct fg_timers *timers);
void fg_timers_expire(struct fg_timers *timers);

#endif
