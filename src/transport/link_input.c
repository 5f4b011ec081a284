/*
 * What comes in on a link: read, given to the owner, kept while the owner has no room.
 */
#include "endpoint.h"

#include "fieldgate/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct fg_link_events *events_of(const struct fg_link *link)
{
    return link->endpoint->options.events;
}

void fg_link_unpause_locked(struct fg_link *link)
{
    if (link->paused) {
        link->paused = false;
        atomic_fetch_sub(&link->endpoint->paused_count, 1);
        fg_link_node_remove(&link->node);
        fg_link_node_append(&link->endpoint->open, &link->node);
    }
}

static void unpause(struct fg_link *link)
{
    pthread_mutex_lock(&link->endpoint->mutex);
    fg_link_unpause_locked(link);
    pthread_mutex_unlock(&link->endpoint->mutex);
}

static void pause_link(struct fg_link *link)
{
    struct fg_endpoint *endpoint = link->endpoint;
    pthread_mutex_lock(&endpoint->mutex);
    if (!link->paused) {
        link->paused = true;
        fg_link_node_remove(&link->node);
        fg_link_node_append(&endpoint->paused, &link->node);
        atomic_fetch_add(&endpoint->paused_count, 1);
    }
    pthread_mutex_unlock(&endpoint->mutex);
}

bool fg_link_is_waiting(const struct fg_link *link)
{
    return link->rest != NULL || link->held;
}

/* Gives the owner a packet. Returns how much of it remains. */
static size_t give(struct fg_link *link, struct fg_packet *packet)
{
    link->held = false;
    link->giving = true;
    size_t taken = events_of(link)->received(link->state, packet);
    link->giving = false;
    assert(taken <= packet->size);
    assert(taken == packet->size || fg_link_can_wait(link) || link->phase >= FG_LINK_CLOSING);
    packet->data += taken;
    packet->size -= taken;
    return fg_link_can_wait(link) ? packet->size : 0;
}

/* Gives the owner the rest, or nothing when there is none. */
static void give_rest(struct fg_link *link)
{
    struct fg_packet packet = {
        .data = link->rest != NULL ? link->rest : (const uint8_t *)"",
        .size = link->rest_size,
        .received_ns = link->active_ns,
        .from = link->peer.any.sa_family != AF_UNSPEC ? &link->peer : NULL,
    };
    size_t left = give(link, &packet);
    if (left > 0) {
        memmove(link->rest, packet.data, left);
    } else {
        free(link->rest);
        link->rest = NULL;
    }
    link->rest_size = (uint32_t)left;
}

static void received(struct fg_op *op);

void fg_link_receive(struct fg_link *link)
{
    if (link->phase != FG_LINK_UP || link->busy || fg_link_is_waiting(link)) {
        return;
    }
    link->op.kind = FG_OP_RECV;
    link->op.done = received;
    link->busy = true;
    int error = fg_channel_submit(link->channel, &link->op);
    if (error < 0) {
        link->busy = false;
        fg_link_shut(link, error);
    }
}

void fg_link_give_last(struct fg_link *link)
{
    if (link->state != NULL && fg_link_is_waiting(link)) {
        give_rest(link);
    }
    free(link->rest);
    link->rest = NULL;
}

/* The owner has no room: marks the link as paused, or finds that there is room after all. */
static void wait_for_room(struct fg_link *link)
{
    pause_link(link);
    /* The room may have come before the mark, and nobody would tell. */
    give_rest(link);
    if (link->phase == FG_LINK_UP && !fg_link_is_waiting(link)) {
        unpause(link);
        link->active_ns = fg_clock_now_ns(); /* it was not idle while we did not read */
    }
}

static void keep_rest(struct fg_link *link, const struct fg_packet *packet)
{
    link->rest = malloc(packet->size);
    if (link->rest == NULL) {
        fg_log_limited(&link->endpoint->accept_limit, FG_LOG_ERROR, link->endpoint->options.name, NULL,
                       "no memory to keep %zu bytes: the link is closed", packet->size);
        fg_link_shut(link, -ENOMEM);
        return;
    }
    memcpy(link->rest, packet->data, packet->size);
    link->rest_size = (uint32_t)packet->size;
}

void fg_link_try_again(struct fg_link *link)
{
    if (link->phase == FG_LINK_UP && fg_link_is_waiting(link)) {
        wait_for_room(link);
        fg_link_receive(link);
    }
}

static bool sender_allowed(struct fg_link *link, const union fg_address *from)
{
    struct fg_endpoint *endpoint = link->endpoint;
    if (fg_networks_contain(&endpoint->allow, from)) {
        return true;
    }
    char text[FG_ADDRESS_TEXT];
    fg_address_text(from, text);
    fg_log_limited(&endpoint->reject_limit, FG_LOG_WARNING, endpoint->options.name, NULL,
                   "datagram from %s refused: not in allow", text);
    events_of(link)->rejected(endpoint->options.port, FG_REASON_NOT_ALLOWED, 1);
    return false;
}

static void receive_packet(struct fg_link *link)
{
    struct fg_op *op = &link->op;
    struct fg_packet packet = {
        .data = op->recv.data,
        .size = (size_t)op->result,
        .received_ns = op->recv.received_ns,
        .datagram = link->kind == FG_LINK_DATAGRAM,
    };
    /* Copied: the operation is used again, while the owner may look. */
    union fg_address from = packet.datagram ? op->recv.from : link->peer;
    packet.from = from.any.sa_family != AF_UNSPEC ? &from : NULL;
    packet.truncated = packet.datagram && op->recv.truncated;
    link->active_ns = packet.received_ns;
    if (link->held) {
        keep_rest(link, &packet); /* was under way when the owner paused the link; a try is under way too */
    } else if (!packet.datagram || sender_allowed(link, &from)) {
        if (give(link, &packet) > 0) {
            keep_rest(link, &packet);
        }
        if (link->phase == FG_LINK_UP && fg_link_is_waiting(link)) {
            wait_for_room(link);
        }
    }
    if (link->endpoint->transport->was_read != NULL && link->phase == FG_LINK_UP) {
        link->endpoint->transport->was_read(link);
    }
}

static void received(struct fg_op *op)
{
    struct fg_link *link = fg_channel_owner(op->channel);
    link->busy = false;
    if (link->phase == FG_LINK_UP) {
        if (op->result < 0) {
            fg_link_shut(link, (int)op->result);
        } else if (op->result == 0 && link->kind != FG_LINK_DATAGRAM) {
            fg_link_shut(link, 0);
        } else {
            receive_packet(link);
            fg_link_receive(link);
        }
    }
    fg_link_settle(link);
}

void fg_link_pause(struct fg_link *link)
{
    if (link->phase != FG_LINK_UP || !fg_link_can_wait(link)) {
        return;
    }
    link->held = true;
    if (!link->giving) {
        fg_link_want_try(link); /* marks the link, and tries once more */
    }
}
