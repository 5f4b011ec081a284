/*
 * Deadlines and sizes of tests that talk to other processes: how long to wait for a condition, and how much
 * load this build can carry. Sanitizers and $FG_TEST_SLOW (for valgrind and emulators) make deadlines longer
 * and loads smaller.
 */
#ifndef FIELDGATE_TEST_WAIT_H
#define FIELDGATE_TEST_WAIT_H

#include <stdbool.h>
#include <stdint.h>

int64_t wait_now_ms(void);
int64_t wait_now_us(void);

/* A deadline of ms milliseconds from now, longer where everything is slower; to be asked by wait_over. */
int64_t wait_deadline(int64_t ms);
bool wait_over(int64_t deadline);
int wait_left_ms(int64_t deadline);

/* Sleeps 2 ms between two looks at a condition that nothing can announce. */
void wait_nap(void);

/* Looks at a condition until it holds or the deadline is over. Returns whether it holds. */
bool wait_until(bool (*holds)(void *context), void *context, int64_t ms);

/* Whether this build, or the environment, is slowed down by tools: footprints and latencies then say nothing.
 */
bool wait_is_slowed(void);

/* native, or less where tools slow everything down; $FG_TEST_LOAD_PERCENT scales it further. */
unsigned wait_load(unsigned native);

#endif
