#include "support/wait.h"

#include <stdlib.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

int64_t wait_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t wait_now_ms(void)
{
    return wait_now_us() / 1000;
}

bool wait_is_slowed(void)
{
    return SANITIZED || getenv("FG_TEST_SLOW");
}

int64_t wait_deadline(int64_t ms)
{
    int64_t factor = getenv("FG_TEST_SLOW") ? 10 : SANITIZED ? 4 : 1;
    return wait_now_ms() + ms * factor;
}

bool wait_over(int64_t deadline)
{
    return wait_now_ms() >= deadline;
}

int wait_left_ms(int64_t deadline)
{
    int64_t left = deadline - wait_now_ms();
    return left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left;
}

void wait_nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

bool wait_until(bool (*holds)(void *context), void *context, int64_t ms)
{
    int64_t deadline = wait_deadline(ms);
    while (!holds(context)) {
        if (wait_over(deadline)) {
            return holds(context);
        }
        wait_nap();
    }
    return true;
}

unsigned wait_load(unsigned native)
{
    const char *percent = getenv("FG_TEST_LOAD_PERCENT");
    unsigned scaled = native;
    if (getenv("FG_TEST_SLOW")) {
        scaled /= 40;
    } else if (SANITIZED) {
        scaled /= 10;
    }
    if (percent) {
        scaled = (unsigned)((uint64_t)scaled * strtoul(percent, NULL, 10) / 100);
    }
    return scaled ? scaled : 1;
}
