/*
 * The accepting side of a listening link.
 */
#include "endpoint.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <unistd.h>

/* How long to leave the backlog alone when there are no descriptors or no memory. */
#define PAUSE_NS FG_NS_PER_S

static bool is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

static void reject(struct fg_endpoint *endpoint, const union fg_address *peer, enum fg_reason reason,
                   const char *why)
{
    char text[FG_ADDRESS_TEXT];
    if (fg_address_text(peer, text) > 0) {
        fg_log_limited(&endpoint->reject_limit, FG_LOG_WARNING, endpoint->options.name, NULL,
                       "connection from %s refused: %s", text, why);
    } else {
        fg_log_limited(&endpoint->reject_limit, FG_LOG_WARNING, endpoint->options.name, NULL,
                       "connection refused: %s", why);
    }
    endpoint->options.events->rejected(endpoint->options.port, reason, 1);
}

static void take(struct fg_endpoint *endpoint, int fd, union fg_address peer)
{
    if (peer.any.sa_family != AF_INET && peer.any.sa_family != AF_INET6) {
        peer.any.sa_family = AF_UNSPEC;
    }
    if (!fg_networks_contain(&endpoint->allow, &peer)) {
        reject(endpoint, &peer, FG_REASON_NOT_ALLOWED, "not in allow");
        close(fd);
        return;
    }
    const struct fg_link_options options = { .fd = fd, .kind = FG_LINK_STREAM, .peer = &peer };
    struct fg_link *link = NULL;
    int error = fg_link_new(endpoint, &options, &link);
    if (error < 0) {
        close(fd);
        if (error == -ENOBUFS) {
            reject(endpoint, &peer, FG_REASON_MAX_CONNECTIONS, "max_connections is reached");
        } else if (error != -ECANCELED) {
            fg_log_limited(&endpoint->accept_limit, FG_LOG_ERROR, endpoint->options.name, NULL,
                           "connection dropped: %s", fg_error_text(error));
        }
        return;
    }
    if (fg_log_enabled(FG_LOG_DEBUG)) {
        char text[FG_ADDRESS_TEXT];
        fg_address_text(&peer, text);
        fg_log_port(FG_LOG_DEBUG, endpoint->options.name, NULL, "connection from %s",
                    text[0] != '\0' ? text : "a local program");
    }
    if (endpoint->transport->accepted != NULL) {
        endpoint->transport->accepted(endpoint, fd);
    }
    fg_link_start(link);
}

static void accepted(struct fg_op *op)
{
    struct fg_link *link = fg_channel_owner(op->channel);
    struct fg_endpoint *endpoint = link->endpoint;
    link->busy = false;
    if (op->result >= 0 && link->phase != FG_LINK_UP) {
        close((int)op->result);
    } else if (op->result >= 0) {
        take(endpoint, (int)op->result, op->accept.from);
        fg_listener_submit(link);
    } else if (link->phase == FG_LINK_UP && is_shortage((int)op->result)) {
        fg_log_limited(&endpoint->accept_limit, FG_LOG_WARNING, endpoint->options.name, NULL,
                       "cannot accept connections for now: %s", fg_error_text((int)op->result));
        if (fg_timer_start(link->timer, PAUSE_NS) < 0) {
            fg_link_shut(link, -ENOMEM);
        }
    } else if (link->phase == FG_LINK_UP && op->result == -ECONNABORTED) {
        fg_listener_submit(link);
    } else {
        fg_link_shut(link, (int)op->result);
    }
    fg_link_settle(link);
}

void fg_listener_submit(struct fg_link *link)
{
    if (link->phase != FG_LINK_UP || link->busy) {
        return;
    }
    link->op.kind = FG_OP_ACCEPT;
    link->op.done = accepted;
    link->busy = true;
    int error = fg_channel_submit(link->channel, &link->op);
    if (error < 0) {
        link->busy = false;
        fg_link_shut(link, error);
    }
}
