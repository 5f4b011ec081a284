/*
 * What the mailboxes of strands and of the main loop share.
 */
#ifndef FIELDGATE_EVENT_TASKS_H
#define FIELDGATE_EVENT_TASKS_H

#include "fieldgate/strand.h"

/* Runs a list of tasks that stands newest first, oldest first. A task may be gone, or posted again, once it
 * has run. */
void fg_tasks_run(struct fg_task *newest);

#endif
