#include "fieldgate/clock.h"
#include "tasks.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MOST_WORKERS 16

/* Strands for which one more worker is woken, when several are made ready at once. Waking one costs more than
 * a few short turns. */
#define STRANDS_A_WORKER 32

/* Strands after which a worker that finds no rest calls rest all the same. */
#define STRANDS_A_REST 64

struct strands {
    struct fg_strand *first, *last;
    size_t count;
};

struct worker {
    struct fg_pool *pool;
    pthread_t thread;
    atomic_uint heard; /* the latest call of fg_pool_ask that it has come across */
};

struct fg_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct strands ready;
    size_t idle;  /* workers that sleep and were not called */
    size_t calls; /* to workers that sleep still */
    bool stop;
    void (*rest)(void *context);
    void *rest_context;
    struct strands gathered; /* the gathering thread's */
    int64_t prove_ns;        /* how long a worker may sleep at a time; 0: for ever */
    atomic_uint asked;
    size_t count;
    struct worker workers[MOST_WORKERS];
};

/* Stands in a mailbox whose strand is neither queued nor running. */
static struct fg_task idle_mark;

static _Thread_local struct fg_strand *current_strand;
static _Thread_local void *scratch;

/* The pool that this thread gathers strands for. */
static _Thread_local struct fg_pool *gathers;

static void append(struct strands *list, struct fg_strand *strand)
{
    strand->next_ready = NULL;
    *(list->last ? &list->last->next_ready : &list->first) = strand;
    list->last = strand;
    list->count++;
}

static struct fg_strand *take_first(struct strands *list)
{
    struct fg_strand *strand = list->first;
    if (strand) {
        list->first = strand->next_ready;
        list->last = list->first ? list->last : NULL;
        list->count--;
    }
    return strand;
}

/* Under the pool's lock. */
static void call_worker(struct fg_pool *pool)
{
    if (pool->idle > 0) {
        pool->idle--;
        pool->calls++;
        pthread_cond_signal(&pool->work);
    }
}

static void make_ready(struct fg_pool *pool, struct fg_strand *strand)
{
    if (gathers == pool) {
        append(&pool->gathered, strand);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    append(&pool->ready, strand);
    call_worker(pool);
    pthread_mutex_unlock(&pool->lock);
}

void fg_pool_gather(struct fg_pool *pool)
{
    gathers = pool;
}

void fg_pool_release(struct fg_pool *pool)
{
    struct strands *gathered = &pool->gathered;
    if (!gathered->first) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    *(pool->ready.last ? &pool->ready.last->next_ready : &pool->ready.first) = gathered->first;
    pool->ready.last = gathered->last;
    pool->ready.count += gathered->count;
    for (size_t i = 0; i < gathered->count; i += STRANDS_A_WORKER) {
        call_worker(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    *gathered = (struct strands){ 0 };
}

void fg_pool_may_block(struct fg_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->ready.count > 0) {
        call_worker(pool);
    }
    pthread_mutex_unlock(&pool->lock);
}

void fg_pool_on_rest(struct fg_pool *pool, void (*rest)(void *context), void *context)
{
    pthread_mutex_lock(&pool->lock);
    pool->rest = rest;
    pool->rest_context = context;
    pthread_mutex_unlock(&pool->lock);
}

void fg_strand_init(struct fg_strand *strand, struct fg_pool *pool)
{
    *strand = (struct fg_strand){ .pool = pool };
    atomic_init(&strand->mailbox, &idle_mark);
    atomic_init(&strand->entered, false);
}

void fg_strand_post(struct fg_strand *strand, struct fg_task *task)
{
    struct fg_pool *pool = strand->pool;
    struct fg_task *old = atomic_load_explicit(&strand->mailbox, memory_order_relaxed);
    do {
        task->next = old == &idle_mark ? NULL : old;
    } while (!atomic_compare_exchange_weak_explicit(&strand->mailbox, &old, task, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (old == &idle_mark) {
        make_ready(pool, strand);
    }
}

void fg_strand_close(struct fg_strand *strand, void (*closed)(struct fg_strand *strand))
{
    assert(fg_strand_is_current(strand) && !strand->closed);
    strand->closed = closed;
}

bool fg_strand_is_current(const struct fg_strand *strand)
{
    return current_strand == strand;
}

void fg_tasks_run(struct fg_task *newest)
{
    struct fg_task *first = NULL;
    while (newest) {
        struct fg_task *next = newest->next;
        newest->next = first;
        first = newest;
        newest = next;
    }
    while (first) {
        struct fg_task *next = first->next;
        first->run(first);
        first = next;
    }
}

/* Runs what is in the mailbox now; what comes meanwhile waits behind the other strands. */
static void run_strand(struct fg_strand *strand)
{
    bool occupied = atomic_exchange_explicit(&strand->entered, true, memory_order_acquire);
    assert(!occupied);
    (void)occupied;
    current_strand = strand;
    fg_tasks_run(atomic_exchange_explicit(&strand->mailbox, NULL, memory_order_acquire));
    current_strand = NULL;
    void (*closed)(struct fg_strand *) = strand->closed;
    struct fg_pool *pool = strand->pool;
    atomic_store_explicit(&strand->entered, false, memory_order_release);
    struct fg_task *empty = NULL;
    if (!atomic_compare_exchange_strong_explicit(&strand->mailbox, &empty, &idle_mark, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        make_ready(pool, strand);
    } else if (closed) {
        closed(strand);
    }
}

/* Under the pool's lock. */
static void answer(struct worker *worker)
{
    unsigned asked = atomic_load_explicit(&worker->pool->asked, memory_order_relaxed);
    atomic_store_explicit(&worker->heard, asked, memory_order_relaxed);
}

static void wait_for_work(struct fg_pool *pool)
{
    if (pool->prove_ns == 0) {
        pthread_cond_wait(&pool->work, &pool->lock);
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = until.tv_nsec + pool->prove_ns;
    until.tv_sec += (time_t)(at_ns / FG_NS_PER_S);
    until.tv_nsec = (long)(at_ns % FG_NS_PER_S);
    pthread_cond_timedwait(&pool->work, &pool->lock, &until);
}

static void sleep_until_called(struct worker *worker)
{
    struct fg_pool *pool = worker->pool;
    pool->idle++;
    while (pool->calls == 0 && !pool->stop) {
        wait_for_work(pool);
        answer(worker);
    }
    pool->calls -= pool->calls > 0;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct fg_pool *pool = worker->pool;
    scratch = malloc(FG_SCRATCH_BYTES);
    if (!scratch) {
        abort(); /* at start only: nothing has been accepted yet */
    }
    unsigned ran = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        answer(worker);
        struct fg_strand *strand = ran < STRANDS_A_REST ? take_first(&pool->ready) : NULL;
        if (strand) {
            ran++;
            pthread_mutex_unlock(&pool->lock);
            run_strand(strand);
            pthread_mutex_lock(&pool->lock);
        } else if (ran > 0) {
            ran = 0;
            void (*rest)(void *) = pool->rest;
            if (rest) {
                pthread_mutex_unlock(&pool->lock);
                rest(pool->rest_context);
                pthread_mutex_lock(&pool->lock);
            }
        } else if (pool->stop) {
            break;
        } else {
            sleep_until_called(worker);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    free(scratch);
    scratch = NULL;
    return NULL;
}

int fg_pool_new(size_t count, struct fg_pool **pool)
{
    assert(count >= 1 && count <= MOST_WORKERS);
    struct fg_pool *made = calloc(1, sizeof *made);
    if (!made) {
        return -ENOMEM;
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->work, &attributes);
    pthread_condattr_destroy(&attributes);
    while (made->count < count) {
        struct worker *worker = &made->workers[made->count];
        worker->pool = made;
        int error = pthread_create(&worker->thread, NULL, work, worker);
        if (error) {
            fg_pool_free(made);
            return -error;
        }
        made->count++;
        char name[16];
        snprintf(name, sizeof name, "fg-worker-%zu", made->count);
        pthread_setname_np(worker->thread, name);
    }
    *pool = made;
    return 0;
}

void fg_pool_free(struct fg_pool *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->count; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void fg_pool_prove(struct fg_pool *pool, int64_t every_ns)
{
    pthread_mutex_lock(&pool->lock);
    pool->prove_ns = every_ns;
    pthread_cond_broadcast(&pool->work); /* who is not called goes back to sleep */
    pthread_mutex_unlock(&pool->lock);
}

void fg_pool_ask(struct fg_pool *pool)
{
    atomic_fetch_add_explicit(&pool->asked, 1, memory_order_relaxed);
}

size_t fg_pool_silent(const struct fg_pool *pool, size_t after)
{
    unsigned asked = atomic_load_explicit(&pool->asked, memory_order_relaxed);
    for (size_t i = after; i < pool->count; i++) {
        if (atomic_load_explicit(&pool->workers[i].heard, memory_order_relaxed) != asked) {
            return i + 1;
        }
    }
    return 0;
}

void *fg_pool_scratch(void)
{
    return scratch;
}
