/*
 * What the programs of the benchmark share: the line that stands for a reading, the tally that finds what was
 * lost, repeated or out of order, and small helpers. No thread safety: each program has one thread.
 */
#ifndef FIELDGATE_BENCH_BENCH_H
#define FIELDGATE_BENCH_BENCH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_NS_PER_S INT64_C(1000000000)

/* "d00042,0000000123,0001234567890123456,xxx…\n": device, sequence from 0, CLOCK_MONOTONIC when it was sent.
 */
#define BENCH_LINE_BYTES   60
#define BENCH_DEVICE_BYTES 6
#define BENCH_DEVICES_MAX  65536u

/* Says "this connection has sent all"; its sequence is the connection's number. */
#define BENCH_END_DEVICE 99999u

struct bench_reading {
    unsigned device;
    uint64_t sequence;
    int64_t sent_ns;
};

void bench_reading_print(const struct bench_reading *reading, char line[BENCH_LINE_BYTES]);

/* Takes a line with or without its newline. False: it is no reading of ours. */
bool bench_reading_parse(const char *line, size_t size, struct bench_reading *reading);

struct bench_track {
    uint64_t next;   /* the sequence that should come */
    uint64_t recent; /* bit i: next - 1 - i has come */
};

struct bench_tally {
    struct bench_track *devices; /* BENCH_DEVICES_MAX of them */
    uint64_t received, missing, repeated, reordered;
    uint64_t other; /* messages that are no readings: status, statistics */
    int64_t first_sent_ns, first_ns, last_ns;
};

/* Returns false without memory. */
bool bench_tally_init(struct bench_tally *tally);
void bench_tally_fini(struct bench_tally *tally);

/* Counts a payload that came at now_ns. Returns whether it was a reading, which is then in *reading. */
bool bench_tally_add(struct bench_tally *tally, const void *payload, size_t size, int64_t now_ns,
                     struct bench_reading *reading);

/* Prints the members of a JSON object, without braces. */
void bench_tally_print(const struct bench_tally *tally, FILE *file);

int64_t bench_now_ns(void);

/* A number of an option within its range; ends the program with 2 if it is not one. */
long bench_number(const char *program, const char *option, const char *text, long least, long most);

struct sockaddr_in bench_loopback(int port);

/* A listening, non-blocking socket on the loopback; port 0 is any, *port is then what was given. -1: errno.
 */
int bench_listen(int *port);

/* Wants as many descriptors as the system grants. */
void bench_raise_files(void);

/* SIGTERM and SIGINT set the flag that this returns; SIGPIPE is ignored. */
const volatile int *bench_stop_on_signals(void);

#endif
