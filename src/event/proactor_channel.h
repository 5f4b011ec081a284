/*
 * The proactor from inside. Who owns what:
 *
 *   strand  struct fg_channel, but what it hands over by a request
 *   main    everything else of a channel and of the model, but what is atomic or has a lock
 *   kernel  what an operation in flight points to
 *
 * A request hands an operation from the strand to the main thread (release, acquire on its bits); the task
 * `finished` hands it back. A channel goes only when the kernel has told of the end of everything it was
 * asked for, cancels included: what a completion carries may therefore be a pointer, and never is a stale
 * one.
 */
#ifndef FIELDGATE_EVENT_PROACTOR_CHANNEL_H
#define FIELDGATE_EVENT_PROACTOR_CHANNEL_H

#include "fieldgate/event_model.h"
#include "proactor.h"
#include "proactor_buffers.h"

#include <liburing.h>
#include <stdatomic.h>

#define FG_PROACTOR_WATCHES 8

/* The two sides of a channel. */
enum { FG_IN, FG_OUT, FG_SIDES };

/* What a completion is for, in the lowest bits of user_data beside a pointer. */
enum fg_proactor_tag {
    FG_TAG_OPERATION,  /* + side: the kernel's part of an operation */
    FG_TAG_CANCEL = 2, /* + side */
    FG_TAG_WATCH = 4,  /* a descriptor of the main thread */
    FG_TAG_WAKE,       /* another thread has a request */
    FG_TAG_MASK = 7,
};

/* What a strand asks the main thread for; a cancel and a submit stand behind each other by side. */
enum {
    FG_ASK_SUBMIT = 1, /* << side */
    FG_ASK_CANCEL = 4, /* << side */
    FG_ASK_CLOSE = 16,
    FG_ASK_FEED = 32,   /* a buffer that somebody waits for came back */
    FG_ASK_QUEUED = 64, /* the request stands in the list */
};

struct fg_request {
    struct fg_request *next;
    atomic_uint bits;
};

/*
 * One side of a channel. The kernel works for it while in_kernel, which is for an operation, but for ACCEPT,
 * where one request goes on for many operations and may stand without one.
 *
 *   op: none --submit--> waiting --> in_kernel --completion--> finished (none)
 *       waiting --no buffer--> starved --a buffer--> waiting
 *       waiting, starved --cancel--> finished;  in_kernel --cancel--> still in_kernel, until it completes
 */
struct fg_side {
    struct fg_task finished;
    struct fg_op *op;
    bool cancelled;  /* the operation is to end */
    bool in_kernel;  /* a request whose last completion has not come */
    bool accepting;  /* it is for ACCEPTs */
    bool unwanted;   /* it is to end */
    bool cancelling; /* a cancel whose completion has not come */
    bool poll_first; /* trying without waiting was no use */
};

/* Connections that the kernel made before anybody asked for them. */
struct fg_accepted {
    unsigned first, count, room;
    int fds[];
};

struct fg_proactor_channel {
    struct fg_channel base;
    struct fg_request request;
    struct fg_task end;
    struct fg_side sides[FG_SIDES];
    void *buffer; /* holds what was read, until done has returned; passed on with finished */
    struct fg_proactor_channel *next_work;
    struct fg_proactor_channel *next_starved, *previous_starved;
    struct fg_accepted *accepted; /* NULL before the first */
    int fd;                       /* base.fd, also while the channel closes */
    /* The main thread's alone. */
    bool has_work : 1, starved : 1, fed : 1, closing : 1, connecting : 1;
    /* Datagrams only, for the kernel. */
    struct msghdr message[];
};

struct fg_proactor_queue {
    struct fg_proactor_channel *first, *last;
};

struct fg_proactor_watch {
    void (*ready)(void *context);
    void *context;
    int fd;
    bool armed;
};

struct fg_proactor {
    struct fg_model base;
    struct io_uring ring;
    bool enabled;
    int64_t now_ns; /* when the kernel was last asked what is done */
    struct fg_proactor_watch watches[FG_PROACTOR_WATCHES];
    unsigned watch_count;
    /* Requests, newest first; a mark while the main thread sleeps and has to be woken. */
    _Atomic(struct fg_request *) requests;
    int wake_fd;
    bool wake_armed;
    uint64_t wake_count; /* the kernel's */
    struct fg_request feed;
    struct fg_proactor_buffers buffers[FG_PROACTOR_KINDS];
    struct fg_proactor_queue starved[FG_PROACTOR_KINDS];
    struct fg_proactor_queue work;
    struct fg_proactor_counts counts;
};

static inline struct fg_proactor *fg_proactor_of(const struct fg_proactor_channel *channel)
{
    return (struct fg_proactor *)channel->base.model;
}

static inline enum fg_proactor_kind fg_proactor_kind_of(const struct fg_proactor_channel *channel)
{
    return channel->base.flags & FG_CHANNEL_TTY        ? FG_PROACTOR_TTY
           : channel->base.flags & FG_CHANNEL_DATAGRAM ? FG_PROACTOR_DATAGRAM
                                                       : FG_PROACTOR_STREAM;
}

/* --- proactor_work.c: the main thread gives to the kernel --- */

/* What one turn on a channel may need of the submission queue: an operation or a cancel for each side. */
#define FG_PROACTOR_STEP 4

/* Takes what the strand asks for. */
void fg_proactor_take(struct fg_proactor_channel *channel, unsigned bits);

/* Does what there is to do, as far as the submission queue has room. Returns whether something is left. */
bool fg_proactor_work(struct fg_proactor *proactor);

/* There is something to do for the channel. */
void fg_proactor_push_work(struct fg_proactor_channel *channel);

/* The RECV of the channel waits for a buffer. */
void fg_proactor_starve(struct fg_proactor_channel *channel);

/* The operation is the strand's again. */
void fg_proactor_finish(struct fg_proactor_channel *channel, unsigned side, int64_t result);
void fg_proactor_finish_accept(struct fg_proactor_channel *channel, int fd);

/* --- proactor_complete.c: the kernel answers --- */

void fg_proactor_completed(struct fg_proactor_channel *channel, unsigned side, int result, unsigned flags);
void fg_proactor_cancel_completed(struct fg_proactor_channel *channel, unsigned side);

/* --- proactor_accept.c: connections that nobody asked for yet --- */

/* Closes the connection when there are too many. */
void fg_accepted_push(struct fg_accepted **accepted, int fd);
int fg_accepted_pop(struct fg_accepted *accepted); /* -1 when there is none */
void fg_accepted_free(struct fg_accepted *accepted);

/* Written without io_uring, as soon as there is room: what goes to a terminal, and datagrams to an address.
 */
static inline bool fg_proactor_writes_itself(const struct fg_proactor_channel *channel,
                                             const struct fg_op *op)
{
    return channel->base.flags & FG_CHANNEL_TTY ||
           (channel->base.flags & FG_CHANNEL_DATAGRAM && op->send.to != NULL);
}

static inline unsigned fg_accepted_count(const struct fg_accepted *accepted)
{
    return accepted ? accepted->count : 0;
}

/* No more are taken ahead of who asks for them. */
#define FG_ACCEPTED_AHEAD 16

#endif
