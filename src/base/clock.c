#include "fieldgate/clock.h"

#include <time.h>

_Static_assert(sizeof(time_t) >= sizeof(int64_t), "32-bit systems need glibc 2.34 and _TIME_BITS=64");

int64_t fg_clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * FG_NS_PER_S + now.tv_nsec;
}

int64_t fg_clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / FG_NS_PER_MS;
}

int64_t fg_clock_wall_at_ms(int64_t then_ns)
{
    return fg_clock_wall_ms() - (fg_clock_now_ns() - then_ns) / FG_NS_PER_MS;
}
