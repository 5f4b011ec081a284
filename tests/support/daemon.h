/*
 * A fieldgated of this build as a process of the test: started with a configuration text, watched through its
 * log and /proc, ended with a deadline. It dies with the test. $FG_TEST_WRAPPER is put before its command
 * line ("valgrind -q").
 */
#ifndef FIELDGATE_TEST_DAEMON_H
#define FIELDGATE_TEST_DAEMON_H

#include "support/tempdir.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct daemon {
    pid_t pid; /* 0: not running */
    char config[TEMPDIR_PATH];
    char log[TEMPDIR_PATH]; /* its stderr */
};

/* Writes config into folder and starts the daemon with it. descriptors is its limit of open files, hard and
 * soft; 0 leaves the test's own. */
void daemon_start(struct daemon *daemon, const char *folder, const char *config, unsigned descriptors);

void daemon_signal(const struct daemon *daemon, int signal);

/* Waits for the end. Returns the exit status, 128 + signal where a signal ended it, or -1 when the deadline
 * is over. */
int daemon_wait_exit(struct daemon *daemon, int64_t ms);

/* SIGTERM and wait. */
int daemon_stop(struct daemon *daemon, int64_t ms);

/* SIGKILL, and what is left behind collected; nothing where it does not run. */
void daemon_kill(struct daemon *daemon);

/* Whether text stands in the log now; or before the deadline. */
bool daemon_log_has(const struct daemon *daemon, const char *text);
bool daemon_wait_log(const struct daemon *daemon, const char *text, int64_t ms);

/* The log's last lines to stderr, for a test that failed. */
void daemon_show_log(const struct daemon *daemon);

/* Resident and proportional set in KiB. */
void daemon_memory(const struct daemon *daemon, unsigned *rss, unsigned *pss);
unsigned daemon_open_descriptors(const struct daemon *daemon);
/* Whether it has the file open. */
bool daemon_has_open(const struct daemon *daemon, const char *target);
/* Times that any of its threads gave up the processor to wait. */
uint64_t daemon_waits(const struct daemon *daemon);
/* Processor time used, user and system. */
uint64_t daemon_cpu_ms(const struct daemon *daemon);

/*
 * Runs the daemon with arguments (NULL at the end) to its end, and collects stdout and stderr together.
 * Returns as daemon_wait_exit. It is killed when the deadline is over.
 */
int daemon_run(const char *const arguments[], int64_t ms, char *output, size_t size);

#endif
