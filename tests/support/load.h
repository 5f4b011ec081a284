/*
 * Many TCP connections sending numbered lines as fast as they are taken, or at a rate, from a thread of its
 * own. Each connection's lines carry its number and a sequence number from 0.
 */
#ifndef FIELDGATE_TEST_LOAD_H
#define FIELDGATE_TEST_LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LOAD_LINE_MAX 256

struct load {
    unsigned port;
    unsigned connections;
    unsigned lines;  /* of each connection */
    unsigned rate;   /* lines a second of all together; 0: as fast as they are taken */
    int send_buffer; /* bytes the kernel keeps for a connection; 0: as it likes */
    /* Writes line number of connection, with its delimiter, at most LOAD_LINE_MAX bytes. Returns its length.
     */
    unsigned (*line)(unsigned connection, unsigned number, char *out);
    /* The load's own: */
    atomic_uint sent; /* whole lines given to the kernel */
    atomic_bool stop;
    int error; /* a negative errno that ended it, after load_join */
    bool running;
    pthread_t thread;
    int *descriptors;
};

/* "dNNN,SSSSSSS,xxxx…\n", 60 bytes. load_line_read takes it apart; returns whether it is one. */
unsigned load_line_60(unsigned connection, unsigned number, char *out);
bool load_line_read(const char *line, unsigned size, unsigned *connection, unsigned *number);

/* Connects (as soon as somebody listens) and starts to send. */
void load_start(struct load *load);

/* Waits until all is sent, closes the connections. Returns 0 or the error. */
int load_join(struct load *load);

/* Waits until so many lines were sent; fails the test when they were not after ms milliseconds. */
void load_wait_sent(const struct load *load, unsigned lines, int64_t ms);

/* Waits until the other side has taken nothing for a while. Returns the lines sent by then; fails the test
 * when they flow on. */
unsigned load_wait_stalled(const struct load *load);

/* Ends early; load_join follows. */
void load_stop(struct load *load);

#endif
