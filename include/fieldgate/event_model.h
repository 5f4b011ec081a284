/*
 * The event-model contract: how operations on descriptors are done, whoever performs the system calls.
 *
 * A channel is one open descriptor with a strand of its own. On it at most one operation of each side may be
 * in flight: one that waits for input (RECV, ACCEPT, POLL) and one that waits for output (SEND, CONNECT).
 * Each operation that was submitted (submit returned 0) completes exactly once, on the channel's strand,
 * never from inside submit, cancel or close: its done function is called with op->result, a count >= 0 or a
 * negative errno. After a cancel or a close it still completes, with its result if it was done already, else
 * with -ECANCELED. From submit to completion the operation, and what it points to, belong to the model.
 *
 * Above this line nothing knows who reads and writes: `reactor` lets workers do it on readiness, other models
 * let the main thread or the kernel do it.
 *
 * Threads: every call on a channel is made on its strand (from a completion, a timer or a task posted there),
 * except the first ones after fg_channel_new, before any operation was submitted. None of the calls blocks.
 */
#ifndef FIELDGATE_EVENT_MODEL_H
#define FIELDGATE_EVENT_MODEL_H

#include "fieldgate/strand.h"
#include "fieldgate/timer.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

struct fg_model;
struct fg_channel;

enum fg_op_kind {
    FG_OP_RECV,    /* bytes of a stream, or one datagram */
    FG_OP_ACCEPT,  /* a connection on a listening socket */
    FG_OP_POLL,    /* readiness alone: result is the poll(2) mask */
    FG_OP_SEND,    /* all the bytes of one buffer */
    FG_OP_CONNECT, /* a connection to an address */
};

/* An address of a peer, small: what fits a channel that waits. Unix peers have no address worth keeping. */
union fg_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

struct fg_op {
    enum fg_op_kind kind;
    void (*done)(struct fg_op *op);
    struct fg_channel *channel; /* set by submit */
    int64_t result;
    union {
        /*
         * RECV: result is the number of bytes at data, which are the model's and valid until done returns. On
         * a stream 0 is the end of what the peer sends; on a datagram socket 0 is a datagram without bytes,
         * result is what was stored, truncated says that it was longer, and from names the sender
         * (any.sa_family is 0 for none). When a datagram channel was made with FG_CHANNEL_DATAGRAM.
         * received_ns is when it was read.
         */
        struct {
            const uint8_t *data;
            int64_t received_ns;
            union fg_address from;
            bool truncated;
        } recv;
        /* ACCEPT: result is the new descriptor (non-blocking, close-on-exec), which is the caller's; who
         * connected first comes first. -EMFILE, -ENFILE, -ENOBUFS and -ENOMEM are told, so that the caller
         * can pause; errors of the connection that was just being made (-ECONNABORTED) are not. */
        struct {
            union fg_address from;
        } accept;
        /* POLL: events is the poll(2) mask to wait for; errors and hang-up are always waited for. */
        struct {
            short events;
        } poll;
        /* SEND: result is size when all was written, or a negative errno with sent telling how much was. to
         * is looked at on datagram channels only: NULL or no address, and it goes to the peer that the socket
         * is connected to. */
        struct {
            const void *data;
            size_t size;
            size_t sent;
            const union fg_address *to;
        } send;
        /* CONNECT: result is 0 or a negative errno. */
        struct {
            struct sockaddr_storage *to;
            socklen_t to_length;
        } connect;
    };
};

enum fg_channel_flags {
    FG_CHANNEL_STREAM = 0,
    FG_CHANNEL_DATAGRAM = 1, /* RECV keeps the boundaries of datagrams and names the sender */
    FG_CHANNEL_TTY = 2, /* a character device: readv/write, no socket calls; a read of 0 is told as -EIO */
};

/*
 * Makes a channel of a non-blocking descriptor, which it owns from then on (on failure it stays the
 * caller's). owner is for the caller. Returns 0 and *channel; -ENOMEM, or the errno of the poller. Any
 * thread.
 */
int fg_channel_new(struct fg_model *model, int fd, enum fg_channel_flags flags, void *owner,
                   struct fg_channel **channel);

void *fg_channel_owner(const struct fg_channel *channel);
struct fg_strand *fg_channel_strand(struct fg_channel *channel);

/* The descriptor, for options and names only; -1 after close. */
int fg_channel_fd(const struct fg_channel *channel);

/*
 * Submits an operation: kind, done and the inputs of its kind are set. Returns 0; -EBUSY when one of the same
 * side is in flight; -ECANCELED when the channel is closing: then done is not called.
 */
int fg_channel_submit(struct fg_channel *channel, struct fg_op *op);

/* Asks for an end of the operation; it completes as told above. No effect when it is not in flight. */
void fg_channel_cancel(struct fg_channel *channel, struct fg_op *op);

/*
 * Closes, in two phases: at once nothing new is read or written, operations in flight complete with
 * -ECANCELED, and the descriptor is closed as soon as nothing uses it; then, when its strand has run all that
 * was posted to it, closed is called with the owner, as the very last, and the channel is gone. Tasks that
 * were posted to this strand, and timers of it that were stopped, are over by then; a timer that is still set
 * is not. Call once.
 */
void fg_channel_close(struct fg_channel *channel, void (*closed)(void *owner));

/*
 * The model's side of the contract: what an event model implements. One instance drives everything: channels,
 * and the main thread's own descriptors (signals, timers, wake-ups).
 */
struct fg_model_ops {
    const char *name;
    const char *help;
    /* Whether it can run here: 0, or a negative errno with the reason in why. */
    int (*probe)(char *why, size_t why_size);
    int (*open)(struct fg_pool *pool, struct fg_model **model);
    void (*close)(struct fg_model *model); /* all channels are closed, the pool's workers are joined */
    /* Adds a descriptor of the main thread: ready(context) is called on the main thread, level-triggered. */
    int (*watch)(struct fg_model *model, int fd, void (*ready)(void *context), void *context);
    /* Waits for events and dispatches one batch. Main thread. 0 or a negative errno (not -EINTR). */
    int (*wait)(struct fg_model *model);
    int (*channel_new)(struct fg_model *model, int fd, enum fg_channel_flags flags, void *owner,
                       struct fg_channel **channel);
    int (*submit)(struct fg_channel *channel, struct fg_op *op);
    void (*cancel)(struct fg_channel *channel, struct fg_op *op);
    void (*channel_close)(struct fg_channel *channel, void (*closed)(void *owner));
};

/* All of them, NULL at the end; in the order in which "auto" looks last to first. */
extern const struct fg_model_ops *const fg_models[];

/* Every model's struct fg_model begins with this. */
struct fg_model {
    const struct fg_model_ops *ops;
    struct fg_pool *pool;
    bool hurries; /* wait: what comes next may be lost if it is not read soon */
};

/* Every model's struct fg_channel begins with this. */
struct fg_channel {
    struct fg_strand strand;
    struct fg_model *model;
    void *owner;
    void (*closed)(void *owner);
    struct fg_op *in;  /* in flight: RECV, ACCEPT, POLL */
    struct fg_op *out; /* in flight: SEND, CONNECT */
    int fd;
    uint8_t flags;
    bool closing;
};

/* The most that one turn on a channel reads, or writes, before others have theirs. */
#define FG_TURN_BYTES   65536
#define FG_TURN_ACCEPTS 64

#endif
