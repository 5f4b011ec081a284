#include "fieldgate/timer.h"

#include "fieldgate/clock.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct fg_timers {
    pthread_mutex_t lock;
    int fd;
    int64_t armed_ns;       /* what the timerfd is set to, 0 for nothing */
    struct fg_timer **heap; /* 1..count; the earliest at 1 */
    size_t count, posted;   /* those in the heap, and those whose task is in a mailbox */
    size_t capacity;        /* of the heap: both find their place in it */
};

static void place(struct fg_timers *timers, struct fg_timer *timer, size_t index)
{
    timers->heap[index] = timer;
    timer->heap_index = index;
}

static void sift(struct fg_timers *timers, struct fg_timer *timer, size_t index)
{
    while (index > 1 && timers->heap[index / 2]->queued_ns > timer->queued_ns) {
        place(timers, timers->heap[index / 2], index);
        index /= 2;
    }
    for (;;) {
        size_t child = index * 2;
        if (child < timers->count && timers->heap[child + 1]->queued_ns < timers->heap[child]->queued_ns) {
            child++;
        }
        if (child > timers->count || timers->heap[child]->queued_ns >= timer->queued_ns) {
            break;
        }
        place(timers, timers->heap[child], index);
        index = child;
    }
    place(timers, timer, index);
}

static void take_out(struct fg_timers *timers, struct fg_timer *timer)
{
    size_t index = timer->heap_index;
    struct fg_timer *last = timers->heap[timers->count--];
    if (last != timer) {
        sift(timers, last, index);
    }
    timer->heap_index = 0;
}

/* Does not fail for a timer that was posted until now: its place was kept. */
static int put_in(struct fg_timers *timers, struct fg_timer *timer)
{
    if (timers->count + timers->posted + 1 >= timers->capacity) {
        size_t capacity = timers->capacity ? timers->capacity * 2 : 16;
        struct fg_timer **heap = realloc(timers->heap, capacity * sizeof(struct fg_timer *));
        if (!heap) {
            return -ENOMEM;
        }
        timers->heap = heap;
        timers->capacity = capacity;
    }
    timers->count++;
    sift(timers, timer, timers->count);
    return 0;
}

/* Sets the timerfd for the earliest timer, unless it will fire early enough already: then expire corrects it.
 */
static void arm(struct fg_timers *timers)
{
    int64_t first_ns = timers->count ? timers->heap[1]->queued_ns : 0;
    if (first_ns == 0 || (timers->armed_ns != 0 && timers->armed_ns <= first_ns)) {
        return;
    }
    struct itimerspec when = { .it_value = { .tv_sec = (time_t)(first_ns / FG_NS_PER_S),
                                             .tv_nsec = (long)(first_ns % FG_NS_PER_S) } };
    timerfd_settime(timers->fd, TFD_TIMER_ABSTIME, &when, NULL);
    timers->armed_ns = first_ns;
}

/* Gives the timer its place in the heap, the old one or a new one. */
static int enter(struct fg_timers *timers, struct fg_timer *timer)
{
    int error = 0;
    timer->queued_ns = timer->deadline_ns;
    if (timer->heap_index) {
        sift(timers, timer, timer->heap_index);
    } else {
        error = put_in(timers, timer);
    }
    arm(timers);
    return error;
}

static void run_timer(struct fg_task *task)
{
    struct fg_timer *timer = (struct fg_timer *)task;
    struct fg_timers *timers = timer->timers;
    bool moved = timer->deadline_ns > fg_clock_now_ns();
    pthread_mutex_lock(&timers->lock);
    timer->posted = false;
    timers->posted--;
    if (moved) {
        int error = enter(timers, timer);
        assert(!error);
        (void)error;
    }
    pthread_mutex_unlock(&timers->lock);
    if (timer->deadline_ns != 0 && !moved) {
        timer->deadline_ns = 0;
        timer->expired(timer);
    }
}

void fg_timer_init(struct fg_timer *timer, struct fg_timers *timers, struct fg_strand *strand,
                   void (*expired)(struct fg_timer *timer))
{
    *timer = (struct fg_timer){
        .task = { .run = run_timer }, .timers = timers, .strand = strand, .expired = expired
    };
}

int fg_timer_set(struct fg_timer *timer, int64_t deadline_ns)
{
    struct fg_timers *timers = timer->timers;
    int error = 0;
    timer->deadline_ns = deadline_ns > 0 ? deadline_ns : 1;
    pthread_mutex_lock(&timers->lock);
    if (!timer->posted) { /* else its task looks at the deadline when it runs */
        error = enter(timers, timer);
    }
    pthread_mutex_unlock(&timers->lock);
    if (error) {
        timer->deadline_ns = 0;
    }
    return error;
}

int fg_timer_start(struct fg_timer *timer, int64_t after_ns)
{
    int64_t deadline_ns = 0;
    if (__builtin_add_overflow(fg_clock_now_ns(), after_ns, &deadline_ns)) {
        deadline_ns = INT64_MAX;
    }
    return fg_timer_set(timer, deadline_ns);
}

void fg_timer_stop(struct fg_timer *timer)
{
    timer->deadline_ns = 0;
    pthread_mutex_lock(&timer->timers->lock);
    if (timer->heap_index) {
        take_out(timer->timers, timer);
    }
    pthread_mutex_unlock(&timer->timers->lock);
}

int64_t fg_timer_next_period(int64_t previous_ns, int64_t period_ns, int64_t now_ns, uint64_t *missed)
{
    int64_t next_ns = previous_ns + period_ns;
    if (next_ns <= now_ns) {
        int64_t skipped = (now_ns - next_ns) / period_ns + 1;
        next_ns += skipped * period_ns;
        *missed += (uint64_t)skipped;
    }
    return next_ns;
}

int fg_timers_new(struct fg_timers **timers)
{
    struct fg_timers *made = calloc(1, sizeof *made);
    if (!made) {
        return -ENOMEM;
    }
    made->fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (made->fd < 0) {
        int error = -errno;
        free(made);
        return error;
    }
    pthread_mutex_init(&made->lock, NULL);
    *timers = made;
    return 0;
}

void fg_timers_free(struct fg_timers *timers)
{
    if (!timers) {
        return;
    }
    close(timers->fd);
    pthread_mutex_destroy(&timers->lock);
    free(timers->heap);
    free(timers);
}

int fg_timers_fd(const struct fg_timers *timers)
{
    return timers->fd;
}

void fg_timers_expire(struct fg_timers *timers)
{
    uint64_t expirations;
    ssize_t got = read(timers->fd, &expirations, sizeof expirations);
    (void)got; /* -EAGAIN when it was set anew meanwhile: looking at the heap is right all the same */
    pthread_mutex_lock(&timers->lock);
    int64_t now_ns = fg_clock_now_ns();
    while (timers->count && timers->heap[1]->queued_ns <= now_ns) {
        struct fg_timer *timer = timers->heap[1];
        take_out(timers, timer);
        timer->posted = true;
        timers->posted++;
        /* Under the lock: whoever stops the timer finds it in the heap or in the mailbox, never between. */
        fg_strand_post(timer->strand, &timer->task);
    }
    timers->armed_ns = 0;
    arm(timers);
    pthread_mutex_unlock(&timers->lock);
}
