/*
 * The other side of the echo: a process that sends on every pair and sends again when its message has come
 * back.
 */
#ifndef FIELDGATE_BENCH_ECHO_CLIENT_H
#define FIELDGATE_BENCH_ECHO_CLIENT_H

#include <stddef.h>

/* For each of the pairs count / pairs messages of BENCH_LINE_BYTES; closes a pair that is through. Never
 * returns: the process ends with 0, or with 1 when an echo was wrong. */
_Noreturn void echo_client_run(const int *fds, size_t pairs, size_t count);

#endif
