/*
 * The main loop: one wait call for descriptors, signals, timers and wake-ups by other threads, through the
 * event model.
 */
#ifndef FIELDGATE_LOOP_H
#define FIELDGATE_LOOP_H

#include "fieldgate/event_model.h"
#include "fieldgate/pace.h"
#include "fieldgate/timer.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

struct fg_loop {
    struct fg_pool *pool;
    struct fg_model *model;
    struct fg_timers *timers;
    int signal_fd;
    int wake_fd;
    _Atomic(struct fg_task *) mailbox; /* newest first */
    void (*signal)(void *context, int number);
    void *context;
    struct fg_pace pace;
    bool stop;
};

/* On average the loop turns no more often than once in this time, which is what a reading may be late on a
 * busy gateway; who wants less CPU may have it longer. Both are short beside the silences that end a frame on
 * a serial line (1.75 ms and more). */
#define FG_LOOP_TURN_NS     (500 * INT64_C(1000))
#define FG_LOOP_TURN_MAX_NS (1000 * INT64_C(1000))

/* Blocks the signals for the calling thread and all that it makes later. Call before any thread exists. */
void fg_loop_block_signals(const sigset_t *signals);

/*
 * Opens the loop with a model and workers; signal is called on the main thread for each of the signals.
 * Returns 0, or a negative errno (nothing is left open).
 */
int fg_loop_open(struct fg_loop *loop, const struct fg_model_ops *ops, size_t workers,
                 const sigset_t *signals, void (*signal)(void *context, int number), void *context);

/* How long a turn will be when it is to be so long: within the bounds above. */
int64_t fg_loop_turn_ns(int64_t turn_ns);

/* How long a turn is to be. Main thread. */
void fg_loop_set_turn(struct fg_loop *loop, int64_t turn_ns);

/* Runs until fg_loop_stop. Returns 0, or a negative errno when waiting fails. */
int fg_loop_run(struct fg_loop *loop);

/* Ends fg_loop_run after the present batch. Main thread; from others, post a task that calls it. */
void fg_loop_stop(struct fg_loop *loop);

/* Runs a task on the main thread, soon. Any thread. */
void fg_loop_post(struct fg_loop *loop, struct fg_task *task);

/* Joins the workers (whose tasks are run first) and closes everything. All channels are closed and the loop
 * is not running. Main thread. */
void fg_loop_close(struct fg_loop *loop);

#endif
