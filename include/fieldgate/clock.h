/*
 * The two clocks. Intervals are taken on the first only; the second stamps readings and may jump.
 * Any thread; neither call blocks or fails.
 */
#ifndef FIELDGATE_CLOCK_H
#define FIELDGATE_CLOCK_H

#include <stdint.h>

#define FG_NS_PER_MS INT64_C(1000000)
#define FG_NS_PER_S  INT64_C(1000000000)

/* Nanoseconds on CLOCK_BOOTTIME: monotonic, and it goes on while the board sleeps. */
int64_t fg_clock_now_ns(void);

/* Unix time in milliseconds on CLOCK_REALTIME. */
int64_t fg_clock_wall_ms(void);

#endif
