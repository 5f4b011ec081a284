#include "tasks.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define MOST_WORKERS 16

struct fg_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct fg_strand *first_ready, *last_ready;
    size_t idle;
    bool stop;
    size_t count;
    pthread_t workers[MOST_WORKERS];
};

/* Stands in a mailbox whose strand is neither queued nor running. */
static struct fg_task idle_mark;

static _Thread_local struct fg_strand *current_strand;
static _Thread_local void *scratch;

static void make_ready(struct fg_pool *pool, struct fg_strand *strand)
{
    strand->next_ready = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->last_ready) {
        pool->last_ready->next_ready = strand;
    } else {
        pool->first_ready = strand;
    }
    pool->last_ready = strand;
    bool wake = pool->idle > 0;
    pthread_mutex_unlock(&pool->lock);
    if (wake) {
        pthread_cond_signal(&pool->work);
    }
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

static void *work(void *argument)
{
    struct fg_pool *pool = argument;
    scratch = malloc(FG_SCRATCH_BYTES);
    if (!scratch) {
        abort(); /* at start only: nothing has been accepted yet */
    }
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct fg_strand *strand = pool->first_ready;
        if (strand) {
            pool->first_ready = strand->next_ready;
            if (!pool->first_ready) {
                pool->last_ready = NULL;
            }
            pthread_mutex_unlock(&pool->lock);
            run_strand(strand);
            pthread_mutex_lock(&pool->lock);
        } else if (pool->stop) {
            break;
        } else {
            pool->idle++;
            pthread_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
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
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->work, NULL);
    while (made->count < count) {
        int error = pthread_create(&made->workers[made->count], NULL, work, made);
        if (error) {
            fg_pool_free(made);
            return -error;
        }
        pthread_setname_np(made->workers[made->count], "fg-worker");
        made->count++;
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
        pthread_join(pool->workers[i], NULL);
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void *fg_pool_scratch(void)
{
    return scratch;
}
