/*
 * A TCP relay on a free port of the loopback, to cut a connection in the middle of a stream while both ends
 * live on. One connection at a time.
 */
#ifndef FIELDGATE_TEST_PROXY_H
#define FIELDGATE_TEST_PROXY_H

#include <pthread.h>
#include <stdatomic.h>

struct test_proxy {
    int port;
    int target_port;
    int listener;
    int control[2]; /* a byte written to [1]: 'c' cuts, 'p' pauses, 'q' ends */
    atomic_int cuts;
    atomic_llong relayed_bytes; /* towards the target */
    pthread_t thread;
};

void test_proxy_start(struct test_proxy *proxy, int target_port);
void test_proxy_cut(struct test_proxy *proxy); /* with a reset, at whatever byte the stream is */
void test_proxy_pause(
    struct test_proxy *proxy); /* takes nothing more from the client, until the next connection */
void test_proxy_stop(struct test_proxy *proxy);

#endif
