/*
 * What the transports share: the endpoint (backoff, what was told in the log, the list of links) and the link
 * (one descriptor at work, be it a connection, a device, a datagram socket or a listening socket).
 *
 * Strands: everything of an endpoint is its own strand's, everything of a link is its channel's strand's, but
 * for what stands under the endpoint's mutex. Other threads reach either one by "wants": bits that one task
 * of the strand looks at. A link in one of the endpoint's lists can be reached; a link that leaves them,
 * under the mutex, gets nothing posted any more by anyone but itself and its owner.
 */
#ifndef FIELDGATE_TRANSPORT_ENDPOINT_H
#define FIELDGATE_TRANSPORT_ENDPOINT_H

#include "fieldgate/log.h"
#include "fieldgate/transport.h"
#include "networks.h"

#include <pthread.h>
#include <stdatomic.h>

/* Called on the endpoint's strand, but where told otherwise. */
struct fg_transport {
    struct fg_variant variant; /* first: fg_transports points to it */
    size_t state_size;         /* of the transport's own state: fg_endpoint.state, zeroed */
    int64_t retry_min_ns, retry_max_ns;
    bool can_wait;  /* a peer waits while nothing is read */
    bool addressed; /* who sends a datagram can be sent to */

    /* Whether packets are datagrams. NULL: never. Any thread. */
    bool (*is_datagram)(const void *settings);
    /* Once, before the first open; 0 or -ENOMEM. May be NULL. */
    int (*start)(struct fg_endpoint *endpoint);
    /* Tries to open: makes the endpoint's principal link, now or later, or calls fg_endpoint_fail. */
    void (*open)(struct fg_endpoint *endpoint);
    /* The principal link is gone before it was up: opens another one or calls fg_endpoint_fail. May be NULL.
     */
    void (*not_up)(struct fg_endpoint *endpoint, int error);
    /* Once, when the endpoint closes: what is not a link ends here. May be NULL. */
    void (*stop)(struct fg_endpoint *endpoint);

    /* On the link's strand: after something was read, and before the descriptor is closed. May be NULL. */
    void (*was_read)(struct fg_link *link);
    void (*before_close)(struct fg_link *link);
    /* On the strand of the listening link: sets up a new connection. May be NULL. */
    void (*accepted)(struct fg_endpoint *endpoint, int fd);
};

/* Work that other threads want from a strand: bits, and one task that looks at them. */
struct fg_wants {
    struct fg_task task;
    atomic_uint bits;
};

struct fg_link_node {
    struct fg_link_node *next, *previous;
};

#define FG_ENDPOINT_TEXT 384

struct fg_endpoint {
    struct fg_strand strand;
    struct fg_endpoint_options options;
    const struct fg_transport *transport;
    const void *settings;
    void *state;
    struct fg_wants wants;
    struct fg_timer retry;
    void (*closed)(void *port);
    bool stopped; /* closing, as the strand knows it */

    /* Set by the transport's start; not changed afterwards. */
    struct fg_networks allow;
    int64_t idle_ns;         /* links without input for so long go down; 0: never */
    int64_t max_connections; /* of a listening link */

    /* Backoff and log; the strand's. */
    uint64_t random;
    int64_t delay_ns;            /* the last one */
    int64_t up_ns;               /* when the principal link came up last */
    bool is_up;                  /* the principal link */
    unsigned flaps;              /* how often in a row it was up only shortly */
    char told[FG_ENDPOINT_TEXT]; /* what the log says is wrong; "" when nothing is */
    char what[FG_ENDPOINT_TEXT]; /* what is logged when the principal link is up */

    struct fg_log_limit accept_limit, reject_limit, flap_limit;

    pthread_mutex_t mutex;
    /* Under the mutex. */
    struct fg_link_node open,
        paused;          /* heads of lists: a link is in one of them from start until it closes */
    size_t children;     /* links that are not gone, whatever their kind */
    int64_t connections; /* those of them that were accepted */
    bool closing;
    int gone_error; /* of the principal link, until the strand has seen it */
    bool gone_up;   /* it had been up */

    atomic_uint paused_count;
};

enum fg_link_kind {
    FG_LINK_STREAM,
    FG_LINK_DATAGRAM,
    FG_LINK_TTY,
    FG_LINK_LISTENER,
};

/*
 * STARTING -> UP (start) | CONNECTING (connect) | CLOSING
 * CONNECTING -> UP (connected) | CLOSING
 * UP -> CLOSING (end, error, fg_link_close, closing endpoint)
 * CLOSING -> CLOSED (nothing is in flight any more: the owner was told, the channel closes)
 */
enum fg_link_phase {
    FG_LINK_STARTING,
    FG_LINK_CONNECTING,
    FG_LINK_UP,
    FG_LINK_CLOSING,
    FG_LINK_CLOSED,
};

/* There may be a hundred thousand of these. */
struct fg_link {
    struct fg_link_node node; /* under the endpoint's mutex */
    struct fg_channel *channel;
    struct fg_endpoint *endpoint;
    void *state;                    /* the owner's; NULL: none */
    struct fg_op op;                /* CONNECT, then RECV; of a listener ACCEPT */
    struct fg_op *sending;          /* the owner's SEND in flight, */
    void (*sent)(struct fg_op *op); /* and its done */
    struct fg_wants wants;
    struct fg_timer
        *timer;        /* connect_timeout, then idle_timeout; of a listener the pause; NULL: it needs none */
    int64_t active_ns; /* when something was read last; before CONNECT: the connect_timeout */
    uint8_t *rest;     /* what the owner had no room for, NULL: nothing */
    uint32_t rest_size;
    int error; /* told to down */
    union fg_address peer;
    uint8_t kind;   /* enum fg_link_kind */
    uint8_t phase;  /* enum fg_link_phase */
    bool busy;      /* op is in flight */
    bool principal; /* the endpoint opens another one when this one goes */
    bool was_up;    /* it came up once */
    bool held;      /* the owner asked for a pause, and was not asked again since */
    bool giving;    /* the owner is in received */
    bool paused;    /* under the endpoint's mutex: in the list of paused ones */
};

_Static_assert(sizeof(struct fg_link) <= 240, "a link that idles is small");

/* Runs fire on the strand some time after want was called; bits are cleared by fg_wants_take there. */
void fg_wants_init(struct fg_wants *wants, void (*fire)(struct fg_task *task));
void fg_want(struct fg_wants *wants, struct fg_strand *strand, unsigned bits);
unsigned fg_wants_take(struct fg_wants *wants);

/* For transports, on the endpoint's strand. */

/* Logs what is wrong, once until it changes, and opens again after a while. */
void fg_endpoint_fail(struct fg_endpoint *endpoint, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What is to be logged when the principal link comes up. */
void fg_endpoint_describe(struct fg_endpoint *endpoint, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What errno value (negative or positive) means, as text. */
const char *fg_error_text(int error);

/* For links. */
#define FG_ENDPOINT_LINK_UP   1U /* the principal link came up */
#define FG_ENDPOINT_LINK_GONE 2U /* the principal link is gone */
#define FG_ENDPOINT_FINISH    4U /* closing, and the last link is gone */
#define FG_ENDPOINT_START     8U
#define FG_ENDPOINT_CLOSE     16U
void fg_endpoint_want(struct fg_endpoint *endpoint, unsigned bits);

/*
 * Makes a link of a descriptor, which it owns from then on (on failure it stays the caller's). peer may be
 * NULL. Returns 0 and *link; -ENOMEM, -ECANCELED when the endpoint is closing, -ENOBUFS when it was accepted
 * and max_connections is reached, or the errno of the poller. The link does nothing until it is started.
 */
struct fg_link_options {
    int fd;
    enum fg_link_kind kind;
    bool principal;
    const union fg_address *peer;
};
int fg_link_new(struct fg_endpoint *endpoint, const struct fg_link_options *options, struct fg_link **link);

/* Gives the link to the port's owner, or starts to listen. Each new link is started, at once. */
void fg_link_start(struct fg_link *link);

/* As fg_link_start, but connects to the link's peer first. Takes at most timeout_ns; on failure the link goes
 * without having been up. */
void fg_link_start_connect(struct fg_link *link, int64_t timeout_ns);

/* Between link.c, link_input.c and listener.c, on the link's strand. */
void fg_link_shut(struct fg_link *link, int error); /* UP -> CLOSING: cancels what is in flight */
void fg_link_settle(struct fg_link *link);          /* CLOSING -> CLOSED, when nothing is */
void fg_listener_submit(struct fg_link *link);      /* accepts, unless it does already */
void fg_link_receive(struct fg_link *link);         /* reads, unless it does already or the link waits */
void fg_link_try_again(struct fg_link *link);       /* a link that waits: whether there is room now */
void fg_link_give_last(struct fg_link *link);       /* what is left, before the link goes down */
/* Whether nothing is to be read for now: the owner has no room for the rest, or asked for a pause. */
bool fg_link_is_waiting(const struct fg_link *link);

/* From anywhere, to a link that cannot go meanwhile: on its strand, or under the endpoint's mutex. */
void fg_link_want_close(struct fg_link *link);
void fg_link_want_try(struct fg_link *link);

/* Under the endpoint's mutex: takes the link out of the list of paused ones, when it is there. */
void fg_link_unpause_locked(struct fg_link *link);

static inline void fg_link_node_remove(struct fg_link_node *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
}

static inline void fg_link_node_append(struct fg_link_node *head, struct fg_link_node *node)
{
    node->previous = head->previous;
    node->next = head;
    head->previous->next = node;
    head->previous = node;
}

#endif
