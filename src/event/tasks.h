/*
 * What strands and the main loop share.
 */
#ifndef FIELDGATE_EVENT_TASKS_H
#define FIELDGATE_EVENT_TASKS_H

#include "fieldgate/strand.h"

/* Runs a list of tasks that stands newest first, oldest first. A task may be gone, or posted again, once it
 * has run. */
void fg_tasks_run(struct fg_task *newest);

/* Has the calling thread keep the strands that it makes ready until fg_pool_release, for the workers to be
 * woken once for all of them. One thread a pool: the main thread. */
void fg_pool_gather(struct fg_pool *pool);
void fg_pool_release(struct fg_pool *pool);

#endif
