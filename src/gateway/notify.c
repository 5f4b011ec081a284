#include "notify.h"

#ifdef FG_HAVE_SYSTEMD

#include "fieldgate/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define STATUS_BYTES 256

bool fg_notify_wanted(void)
{
    const char *socket = getenv("NOTIFY_SOCKET");
    return socket && *socket;
}

void fg_notify_ready(void)
{
    sd_notify(0, "READY=1");
}

void fg_notify_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    char text[64];
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    sd_notify(0, text);
}

void fg_notify_stopping(void)
{
    sd_notify(0, "STOPPING=1\nSTATUS=stopping");
}

void fg_notify_status(const char *line)
{
    char text[STATUS_BYTES];
    snprintf(text, sizeof text, "STATUS=%s", line);
    sd_notify(0, text);
}

int64_t fg_notify_watchdog_ns(void)
{
    uint64_t us = 0;
    /* Longer than a day is as good as never, and fits. */
    return sd_watchdog_enabled(0, &us) > 0 && us < UINT64_C(86400000000) ? (int64_t)us * 1000 : 0;
}

void fg_notify_alive(void)
{
    sd_notify(0, "WATCHDOG=1");
}

#else

bool fg_notify_wanted(void)
{
    return false;
}

void fg_notify_ready(void)
{
}

void fg_notify_reloading(void)
{
}

void fg_notify_stopping(void)
{
}

void fg_notify_status(const char *line)
{
    (void)line;
}

int64_t fg_notify_watchdog_ns(void)
{
    return 0;
}

void fg_notify_alive(void)
{
}

#endif
