/*
 * Strands and the worker pool. A strand is a mailbox drained by at most one worker at a time; what is queued
 * for the workers is the strand. Tasks of one strand run in the order in which they were posted.
 */
#ifndef FIELDGATE_STRAND_H
#define FIELDGATE_STRAND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fg_pool;

/* A piece of work, embedded in what it works on. From post until run begins it belongs to the strand and must
 * not be posted again. */
struct fg_task {
    struct fg_task *next;
    void (*run)(struct fg_task *task);
};

/* Embedded; init before use. */
struct fg_strand {
    struct fg_pool *pool;
    _Atomic(struct fg_task *) mailbox; /* newest first; a mark while idle */
    struct fg_strand *next_ready;      /* the pool's */
    void (*closed)(struct fg_strand *strand);
    atomic_bool entered; /* a worker is inside: detects two */
};

void fg_strand_init(struct fg_strand *strand, struct fg_pool *pool);

/* Queues a task. Any thread; does not block but for the pool's short lock. */
void fg_strand_post(struct fg_strand *strand, struct fg_task *task);

/*
 * Ends a strand: when the tasks posted so far have run and nothing more is waiting, closed() is called by the
 * worker as its very last step with the strand, which may then be freed. Call from a task of the strand
 * itself, once; whoever calls it knows that no post follows the tasks already posted, except by those tasks.
 */
void fg_strand_close(struct fg_strand *strand, void (*closed)(struct fg_strand *strand));

/* Whether the calling thread is inside a task of this strand. For assertions. */
bool fg_strand_is_current(const struct fg_strand *strand);

/*
 * Starts count worker threads (1..16). Signals must be blocked before. Returns 0 and *pool, or a negative
 * errno.
 */
int fg_pool_new(size_t count, struct fg_pool **pool);

/* Waits until every strand's tasks have run and joins the workers. Not from a worker. */
void fg_pool_free(struct fg_pool *pool);

/*
 * Has each worker call rest when it has run out of strands, and now and then while it does not: the place for
 * what is cheaper done once for several tasks. The worker stands in no strand then. Call before the first
 * task is posted; context must live as long as the pool.
 */
void fg_pool_on_rest(struct fg_pool *pool, void (*rest)(void *context), void *context);

/* For a task that is about to wait in a system call: lets another worker have what stands behind it. */
void fg_pool_may_block(struct fg_pool *pool);

/*
 * Whether each worker moves: from fg_pool_prove on none sleeps for longer than every_ns (more than 0). One
 * thread asks, and sees after that time who has not come across it. Asking and looking take no lock and wake
 * nobody: where a thread is stuck, locks and condition variables can be, too.
 */
void fg_pool_prove(struct fg_pool *pool, int64_t every_ns);
void fg_pool_ask(struct fg_pool *pool);

/* The first worker after this one that has not moved since fg_pool_ask; they count from 1, as in the names of
 * their threads. 0: all have. */
size_t fg_pool_silent(const struct fg_pool *pool, size_t after);

#define FG_SCRATCH_BYTES 65536

/* The calling worker's own scratch of FG_SCRATCH_BYTES: where Reactor reads into. NULL on other threads. */
void *fg_pool_scratch(void);

#endif
