/*
 * The event layer under test: a loop with its workers on threads of their own, and links, which are channels
 * that keep account of what their operations told. The account is kept by the rules of the contract alone, so
 * that it holds for every event model: each broken rule is remembered as a fault, and fails the test at its
 * end.
 *
 * The test runs on its own thread. It reads the account inside WAIT_FOR, which takes the lock, or when
 * nothing is in flight.
 */
#ifndef FIELDGATE_TESTS_LOOP_FIXTURE_H
#define FIELDGATE_TESTS_LOOP_FIXTURE_H

#include "fieldgate/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Every wait ends by then; what it waits for takes milliseconds. */
#define DEADLINE_S 20

struct link;

struct loop_fixture {
    struct fg_loop loop;
    struct fg_model_ops ops; /* the model's, with wait counted */
    const struct fg_model_ops *model;
    size_t workers;
    pthread_t thread;
    bool opened, ended;
    int error;
    struct fg_strand strand; /* for timers of the test */
    struct link *links;
    atomic_ulong waits;          /* how often the loop came back from its wait */
    atomic_uint signals;         /* SIGUSR1 */
    _Atomic(const char *) fault; /* the first rule that was found broken */
};

/* A channel and the account of its operations: in is RECV, ACCEPT and POLL, out is SEND and CONNECT. */
struct link {
    struct loop_fixture *fixture;
    struct link *next;
    struct fg_channel *channel;
    int peer; /* the other end, the test's own and non-blocking; -1 for none */
    struct fg_op in, out;
    bool in_flight[2];               /* in, out */
    atomic_uint in_count, out_count; /* completions */
    _Atomic int64_t in_result, out_result;
    uint8_t *bytes; /* what the RECVs brought */
    size_t size, room;
    bool forgets; /* them instead, in a flood */
    bool close_asked;
    atomic_uint closed;
    atomic_int inside;
    /* Called by done on the strand, after the account. */
    void (*then)(struct link *link, struct fg_op *op);
    /* Called at the very last. */
    void (*gone)(struct link *link);
    void *context;
};

/* --- the lock and the waiting --- */

void state_lock(void);
void state_unlock(void); /* tells who waits */
int64_t state_deadline(void);
bool state_wait(int64_t deadline_ns); /* false when it has passed */

/* Waits until the condition holds, which is looked at under the lock. */
#define WAIT_FOR(condition)                                                                                  \
    do {                                                                                                     \
        int64_t wait_until_ = state_deadline();                                                              \
        state_lock();                                                                                        \
        bool held_ = (condition);                                                                            \
        while (!held_ && state_wait(wait_until_)) {                                                          \
            held_ = (condition);                                                                             \
        }                                                                                                    \
        state_unlock();                                                                                      \
        if (!held_) {                                                                                        \
            fail_msg("not in time: %s", #condition);                                                         \
        }                                                                                                    \
    } while (0)

/* --- the loop --- */

struct loop_fixture *fixture_open(const struct fg_model_ops *model, size_t workers);

/* Closes what links are open, ends the loop and frees all. Returns the fault, NULL for none. */
const char *fixture_close(struct loop_fixture *fixture);

void fixture_fault(struct loop_fixture *fixture, const char *fault);

/* Runs on the loop's thread, and waits until it has run. */
void fixture_on_main(struct loop_fixture *fixture, void (*run)(void *argument), void *argument);

/* Waits for a timer of that many milliseconds. */
void fixture_let_pass(struct loop_fixture *fixture, int64_t ms);

/* Lets so much time pass and fails when the process was not at rest in it. */
void fixture_expect_rest(struct loop_fixture *fixture, int64_t ms);

/*
 * Runs a group of tests once for each event model; one that cannot run here is shown as skipped. Each test
 * gets a fixture with two workers, or with one after fixture_one_worker.
 */
int fixture_run(const char *name, const struct CMUnitTest *tests, size_t count);
int fixture_one_worker(void **state);
#define FIXTURE_RUN(name, tests) fixture_run(name, tests, sizeof(tests) / sizeof *(tests))

/* --- links --- */

/* Makes a channel of fd. */
struct link *link_open(struct loop_fixture *fixture, int fd, enum fg_channel_flags flags, int peer);
struct link *link_open_pair(struct loop_fixture *fixture, int type); /* of Unix sockets */
struct link *link_open_tcp(struct loop_fixture *fixture);
struct link *link_open_listener(struct loop_fixture *fixture, struct sockaddr_in *address, int backlog);
struct link *link_open_pty(struct loop_fixture *fixture); /* the peer is the master */

/* On the link's strand, or as the first call after opening. The operation is the link's in or out, whose
 * inputs are set. Returns what fg_channel_submit returned. */
int link_submit(struct link *link, enum fg_op_kind kind);
void link_cancel(struct link *link, struct fg_op *op);
void link_close(struct link *link);

/* The same from the test's thread; each has been done when it returns. */
void link_on_strand(struct link *link, void (*run)(struct link *link, void *argument), void *argument);
int ask_submit(struct link *link, enum fg_op_kind kind);
void ask_cancel(struct link *link, struct fg_op *op);
void ask_close(struct link *link); /* and waits until it is closed */

/* Sets the link's SEND and submits it. The data stays the caller's. */
int ask_send(struct link *link, const void *data, size_t size);

/* A then that submits the operation again as long as it succeeds. */
void link_again(struct link *link, struct fg_op *op);

/* --- the other end --- */

void peer_write(int fd, const void *data, size_t size);
size_t peer_read(int fd, void *data, size_t size); /* until size or the end */
size_t peer_skip(int fd, size_t size);             /* the same, and forgets it */
void peer_reset(int fd);                           /* closes a TCP socket by a reset */
int tcp_connect(const struct sockaddr_in *address);
int non_blocking(int fd);

/* Numbers from a seed, the same on every machine. */
uint32_t next_random(uint32_t *seed);

#endif
