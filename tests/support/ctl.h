/*
 * A fieldgatectl of this build as a process of the test, and bare connections to the control socket.
 * $FG_TEST_WRAPPER is put before its command line.
 */
#ifndef FIELDGATE_TEST_CTL_H
#define FIELDGATE_TEST_CTL_H

#include "support/tempdir.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ctl {
    pid_t pid;
    char out_path[TEMPDIR_PATH], err_path[TEMPDIR_PATH];
    int status;      /* once it has ended */
    char *out, *err; /* what it said; ctl_free */
};

/* Starts it with words separated by blanks. Its stdout is out where that is a descriptor (which stays the
 * caller's), else a file in folder. uid: whose process it is; 0: the test's own. */
void ctl_start(struct ctl *ctl, const char *folder, const char *words, int out, unsigned uid);

/* Waits for its end and collects what it said; fails the test when it does not end. */
void ctl_join(struct ctl *ctl, int64_t ms);

/* ctl_start and ctl_join. */
void ctl_run(struct ctl *ctl, const char *folder, const char *words);

/* Waits until its stdout has so many lines. */
void ctl_wait_lines(const struct ctl *ctl, unsigned lines, int64_t ms);
bool ctl_wait_err(const struct ctl *ctl, const char *text, int64_t ms);

void ctl_free(struct ctl *ctl);

/* Sends a line on a connection and reads the answer, which must be JSON (json_decref). */
json_t *ctl_request(int fd, const char *line);

/* The next line, which must come (free). NULL: the connection ended before one. */
char *ctl_read_line(int fd);

#endif
