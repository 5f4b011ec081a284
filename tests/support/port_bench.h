/*
 * For tests of ports: one port on a rig's loop, and a sink that writes down what it is told and whose room
 * can be taken away.
 */
#ifndef FIELDGATE_TEST_PORT_BENCH_H
#define FIELDGATE_TEST_PORT_BENCH_H

#include "support/transport_rig.h"

#include "fieldgate/port.h"

#define BENCH_LINES 40000

/* What the sink was told, as a line of text:
 *   "dev: a=1 b=2"  a reading was taken      "dev! queue-full"  one was lost
 *   "dev+", "dev-"  online, offline */
struct told {
    char *text;
    int64_t at_ns, wall_ms;
};

struct bench {
    struct rig *rig;
    struct fg_config *config;
    struct fg_port *port;
    struct fg_sink sink;
    uint16_t number; /* of its TCP or UDP port */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool limited;
    size_t room;     /* readings that are taken while limited */
    uint64_t random; /* not 0: every third offer, about, is refused */
    size_t refusals;
    bool overlapped; /* two calls about one device at once */
    bool closed;
    size_t count;
    struct told told[BENCH_LINES];
};

/* A port as in a configuration, without its name: it is "p". Not opened yet. */
struct bench *bench_new(void **state, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bench_open(struct bench *bench);
void bench_close(struct bench *bench);
void bench_free(struct bench *bench); /* closes, if it was not */

/* Room for so many more readings. */
void bench_give_room(struct bench *bench, size_t room);

/* How many lines are text, with the mutex held; a text that ends in '*' stands for a beginning. */
size_t bench_count(const struct bench *bench, const char *text);

#define WAIT_TOLD(bench, text)          RIG_WAIT(bench, bench_count(bench, text) > 0)
#define WAIT_TOLD_OFTEN(bench, text, n) RIG_WAIT(bench, bench_count(bench, text) >= (n))

/* All that was told, from first on, with line ends between. */
const char *bench_story(struct bench *bench, size_t first);

struct fg_port_stats bench_stats(struct bench *bench);

#endif
