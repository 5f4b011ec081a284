/*
 * The two clocks. Intervals are taken on the first only; the second stamps readings and may jump.
 * Any thread; neither call blocks or fails.
 */
#ifndef FIELDGATE_CLOCK_H
#define FIELDGATE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define FG_NS_PER_MS INT64_C(1000000)
#define FG_NS_PER_S  INT64_C(1000000000)

/* Nanoseconds on CLOCK_BOOTTIME: monotonic, and it goes on while the board sleeps. */
int64_t fg_clock_now_ns(void);

/* Unix time in milliseconds on CLOCK_REALTIME. */
int64_t fg_clock_wall_ms(void);

/* Unix time in milliseconds of a moment on the other clock, as the wall clock stands now. */
int64_t fg_clock_wall_at_ms(int64_t then_ns);

/* Whether the wall clock had been set when it said so. A board without a battery starts in 1970, or where it
 * was built: what says that it is not yet 2025 cannot be right. */
static inline bool fg_clock_was_set(int64_t wall_ms)
{
    return wall_ms >= INT64_C(1735689600) * 1000;
}

#endif
