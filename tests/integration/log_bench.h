/* The log of a test: from log_begin to log_end what would go to stderr is kept, and can be looked at. */
#ifndef FIELDGATE_TEST_LOG_BENCH_H
#define FIELDGATE_TEST_LOG_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int log_fd = -1, real_stderr = -1;

static void log_begin(void)
{
    log_fd = memfd_create("log", MFD_CLOEXEC);
    real_stderr = dup(STDERR_FILENO);
    assert_true(log_fd >= 0 && dup2(log_fd, STDERR_FILENO) >= 0);
}

static int log_count(const char *text)
{
    static char all[1 << 16];
    ssize_t size = pread(log_fd, all, sizeof all - 1, 0);
    int count = 0;
    all[size > 0 ? size : 0] = '\0';
    for (const char *at = all; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

/* May be called without log_begin. */
static void log_end(void)
{
    if (log_fd >= 0) {
        dup2(real_stderr, STDERR_FILENO);
        close(real_stderr);
        close(log_fd);
        log_fd = -1;
    }
}

#endif
