/* `check FILE` is the daemon's own --check: there is one reader of configurations. */
#include "ctl.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAEMON "fieldgated"

static void run(const char *program, const char *file, bool in_path)
{
    const char *arguments[] = { DAEMON, "--check", "-c", file, NULL };
    char *const *list = (char *const *)(uintptr_t)arguments;
    if (in_path) {
        execvp(program, list);
    } else {
        execv(program, list);
    }
}

int ctl_check(const char *file)
{
    /* As it is installed: beside us, or in sbin where we are in bin. */
    static const char *const beside[] = { "", "../sbin/" };
    char own[PATH_MAX];
    char program[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    own[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(own, '/');
    for (size_t i = 0; slash && i < sizeof beside / sizeof beside[0]; i++) {
        slash[1] = '\0';
        snprintf(program, sizeof program, "%s%s%s", own, beside[i], DAEMON);
        run(program, file, false);
    }
    run(DAEMON, file, true);
    fprintf(stderr, "fieldgatectl: %s: %s: it is looked for beside fieldgatectl, in ../sbin and in PATH\n",
            DAEMON, strerror(errno));
    return CTL_FAILED;
}
