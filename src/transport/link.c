#include "address.h"
#include "endpoint.h"

#include "fieldgate/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WANT_START   1U
#define WANT_CONNECT 2U
#define WANT_TRY     4U
#define WANT_CLOSE   8U
#define WANT_SETTLE  16U

static_assert(offsetof(struct fg_link, node) == 0, "the lists point to the nodes");

static struct fg_link *link_of_op(struct fg_op *op)
{
    return fg_channel_owner(op->channel);
}

static const struct fg_link_events *events_of(const struct fg_link *link)
{
    return link->endpoint->options.events;
}

static void want(struct fg_link *link, unsigned bits)
{
    fg_want(&link->wants, fg_channel_strand(link->channel), bits);
}

void fg_link_want_try(struct fg_link *link)
{
    want(link, WANT_TRY);
}

void fg_link_want_close(struct fg_link *link)
{
    want(link, WANT_CLOSE);
}

/* The channel is gone, and with it the link's strand. */
static void link_gone(void *owner)
{
    struct fg_link *link = owner;
    struct fg_endpoint *endpoint = link->endpoint;
    pthread_mutex_lock(&endpoint->mutex);
    endpoint->children--;
    if (!link->principal) {
        endpoint->connections--;
    }
    /* Asked for under the mutex: with it released, the endpoint may be gone. */
    if (endpoint->closing) {
        if (endpoint->children == 0) {
            fg_endpoint_want(endpoint, FG_ENDPOINT_FINISH);
        }
    } else if (link->principal) {
        endpoint->gone_error = link->error;
        endpoint->gone_up = link->was_up;
        fg_endpoint_want(endpoint, FG_ENDPOINT_LINK_GONE);
    }
    pthread_mutex_unlock(&endpoint->mutex);
    free(link);
}

void fg_link_settle(struct fg_link *link)
{
    if (link->phase != FG_LINK_CLOSING || link->busy || link->sending != NULL) {
        return;
    }
    link->phase = FG_LINK_CLOSED;
    fg_link_give_last(link);
    if (link->endpoint->transport->before_close != NULL) {
        link->endpoint->transport->before_close(link);
    }
    if (link->state != NULL) {
        events_of(link)->down(link->state, link->error);
    }
    fg_channel_close(link->channel, link_gone);
}

void fg_link_shut(struct fg_link *link, int error)
{
    if (link->phase >= FG_LINK_CLOSING) {
        return;
    }
    struct fg_endpoint *endpoint = link->endpoint;
    link->phase = FG_LINK_CLOSING;
    link->error = error;
    if (link->timer) {
        fg_timer_stop(link->timer);
    }
    pthread_mutex_lock(&endpoint->mutex);
    fg_link_unpause_locked(link);
    fg_link_node_remove(&link->node);
    pthread_mutex_unlock(&endpoint->mutex);
    if (link->busy) {
        fg_channel_cancel(link->channel, &link->op);
    }
    if (link->sending != NULL) {
        fg_channel_cancel(link->channel, link->sending);
    }
    /* Not from here: the owner may be in the middle of something. */
    want(link, WANT_SETTLE);
}

static void bring_up(struct fg_link *link)
{
    struct fg_endpoint *endpoint = link->endpoint;
    link->phase = FG_LINK_UP;
    link->active_ns = fg_clock_now_ns();
    if (link->kind == FG_LINK_LISTENER) {
        link->was_up = true;
        fg_endpoint_want(endpoint, FG_ENDPOINT_LINK_UP);
        fg_listener_submit(link);
        return;
    }
    link->state = events_of(link)->up(endpoint->options.port, link);
    if (link->state == NULL) {
        fg_link_shut(link, -ENOMEM);
        return;
    }
    if (link->principal) {
        link->was_up = true;
        fg_endpoint_want(endpoint, FG_ENDPOINT_LINK_UP);
    }
    if (link->phase == FG_LINK_UP && endpoint->idle_ns > 0 &&
        fg_timer_start(link->timer, endpoint->idle_ns) < 0) {
        fg_link_shut(link, -ENOMEM);
    }
    fg_link_receive(link);
}

static void connected(struct fg_op *op)
{
    struct fg_link *link = link_of_op(op);
    link->busy = false;
    free(op->connect.to);
    if (link->phase == FG_LINK_CONNECTING) {
        fg_timer_stop(link->timer);
        if (op->result < 0) {
            fg_link_shut(link, (int)op->result);
        } else if (fg_socket_is_own_peer(fg_channel_fd(link->channel), &link->peer)) {
            fg_link_shut(link, -ECONNREFUSED);
        } else {
            bring_up(link);
        }
    }
    fg_link_settle(link);
}

static void submit_connect(struct fg_link *link)
{
    struct sockaddr_storage *to = calloc(1, sizeof *to);
    if (to == NULL) {
        fg_link_shut(link, -ENOMEM);
        return;
    }
    memcpy(to, &link->peer, sizeof link->peer);
    link->phase = FG_LINK_CONNECTING;
    link->op.kind = FG_OP_CONNECT;
    link->op.done = connected;
    link->op.connect.to = to;
    link->op.connect.to_length = fg_address_length(&link->peer);
    link->busy = true;
    int error = fg_channel_submit(link->channel, &link->op);
    if (error == 0) {
        error = fg_timer_start(link->timer, link->active_ns);
    } else {
        link->busy = false;
        free(to);
    }
    if (error < 0) {
        fg_link_shut(link, error);
    }
}

static void link_run(struct fg_task *task)
{
    struct fg_link *link = (struct fg_link *)(void *)((char *)task - offsetof(struct fg_link, wants.task));
    unsigned bits = fg_wants_take(&link->wants);
    if (bits & WANT_CLOSE) {
        fg_link_shut(link, -ECANCELED);
    }
    if ((bits & WANT_START) && link->phase == FG_LINK_STARTING) {
        bring_up(link);
    }
    if ((bits & WANT_CONNECT) && link->phase == FG_LINK_STARTING) {
        submit_connect(link);
    }
    if (bits & WANT_TRY) {
        fg_link_try_again(link);
    }
    fg_link_settle(link);
}

struct timed_link {
    struct fg_link link;
    struct fg_timer timer;
};

static void expired(struct fg_timer *timer)
{
    struct fg_link *link =
        &((struct timed_link *)(void *)((char *)timer - offsetof(struct timed_link, timer)))->link;
    if (link->kind == FG_LINK_LISTENER) {
        fg_listener_submit(link);
        return;
    }
    int64_t now_ns = fg_clock_now_ns();
    if (link->phase == FG_LINK_UP) {
        /* A link that waits for room is not idle: it is we who do not read. */
        int64_t since_ns = fg_link_is_waiting(link) ? now_ns : link->active_ns;
        int64_t idle_ns = link->endpoint->idle_ns;
        if (now_ns - since_ns < idle_ns && fg_timer_set(timer, since_ns + idle_ns) == 0) {
            return;
        }
    }
    fg_link_shut(link, -ETIMEDOUT);
}

int fg_link_new(struct fg_endpoint *endpoint, const struct fg_link_options *options, struct fg_link **link)
{
    static const enum fg_channel_flags flags[] = {
        [FG_LINK_STREAM] = FG_CHANNEL_STREAM,
        [FG_LINK_DATAGRAM] = FG_CHANNEL_DATAGRAM,
        [FG_LINK_TTY] = FG_CHANNEL_TTY,
        [FG_LINK_LISTENER] = FG_CHANNEL_STREAM,
    };
    bool timed = options->principal || endpoint->idle_ns > 0;
    struct fg_link *made = calloc(1, timed ? sizeof(struct timed_link) : sizeof(struct fg_link));
    if (made == NULL) {
        return -ENOMEM;
    }
    made->endpoint = endpoint;
    made->kind = (uint8_t)options->kind;
    made->principal = options->principal;
    if (options->peer != NULL) {
        made->peer = *options->peer;
    }
    fg_wants_init(&made->wants, link_run);
    pthread_mutex_lock(&endpoint->mutex);
    int error = 0;
    if (endpoint->closing) {
        error = -ECANCELED;
    } else if (!made->principal && endpoint->connections >= endpoint->max_connections) {
        error = -ENOBUFS;
    } else {
        error = fg_channel_new(endpoint->options.loop->model, options->fd, flags[options->kind], made,
                               &made->channel);
    }
    if (error == 0) {
        endpoint->children++;
        endpoint->connections += made->principal ? 0 : 1;
        made->timer = timed ? &((struct timed_link *)made)->timer : NULL;
    }
    if (made->timer != NULL) {
        fg_timer_init(made->timer, endpoint->options.loop->timers, fg_channel_strand(made->channel), expired);
    }
    pthread_mutex_unlock(&endpoint->mutex);
    if (error < 0) {
        free(made);
        return error;
    }
    *link = made;
    return 0;
}

/* From here on the link can be reached by others, and may be gone at any time. */
static void start(struct fg_link *link, unsigned bits)
{
    struct fg_endpoint *endpoint = link->endpoint;
    pthread_mutex_lock(&endpoint->mutex);
    fg_link_node_append(&endpoint->open, &link->node);
    want(link, endpoint->closing ? bits | WANT_CLOSE : bits);
    pthread_mutex_unlock(&endpoint->mutex);
}

void fg_link_start(struct fg_link *link)
{
    start(link, WANT_START);
}

void fg_link_start_connect(struct fg_link *link, int64_t timeout_ns)
{
    link->active_ns = timeout_ns;
    start(link, WANT_CONNECT);
}

struct fg_strand *fg_link_strand(struct fg_link *link)
{
    return fg_channel_strand(link->channel);
}

struct fg_timers *fg_link_timers(struct fg_link *link)
{
    return link->endpoint->options.loop->timers;
}

bool fg_link_can_wait(const struct fg_link *link)
{
    return link->endpoint->transport->can_wait && link->kind != FG_LINK_DATAGRAM &&
           link->phase < FG_LINK_CLOSING;
}

static void sent(struct fg_op *op)
{
    struct fg_link *link = link_of_op(op);
    op->done = link->sent;
    link->sending = NULL;
    op->done(op);
    fg_link_settle(link);
}

int fg_link_send(struct fg_link *link, struct fg_op *op)
{
    if (link->phase != FG_LINK_UP) {
        return -ECANCELED;
    }
    if (link->kind == FG_LINK_DATAGRAM && !(op->send.to && op->send.to->any.sa_family != AF_UNSPEC)) {
        return -EDESTADDRREQ;
    }
    if (link->sending != NULL) {
        return -EBUSY;
    }
    void (*done)(struct fg_op * op) = op->done;
    op->kind = FG_OP_SEND;
    op->done = sent;
    int error = fg_channel_submit(link->channel, op);
    if (error < 0) {
        op->done = done;
        return error;
    }
    link->sending = op;
    link->sent = done;
    return 0;
}

void fg_link_close(struct fg_link *link, int error)
{
    fg_link_shut(link, error);
}

bool fg_transport_is_datagram(const struct fg_chosen *chosen)
{
    const struct fg_transport *transport = (const struct fg_transport *)(const void *)chosen->variant;
    return transport->is_datagram != NULL && transport->is_datagram(chosen->settings);
}

bool fg_transport_can_send(const struct fg_chosen *chosen)
{
    const struct fg_transport *transport = (const struct fg_transport *)(const void *)chosen->variant;
    return transport->addressed || !fg_transport_is_datagram(chosen);
}
