/*
 * Transports: ways onto a wire. An endpoint is one port's transport at work: it opens descriptors, opens them
 * again with backoff when they go away, accepts connections, and gives each open link to whoever owns the
 * port.
 *
 * To add a transport: one file with its table of settings and its functions, one line in the list of
 * transports.h.
 *
 * What fails outside (no such device, connection refused, name not found) is logged here, once, with the
 * port's name, until it changes; what comes back is logged at the level at which it went away.
 */
#ifndef FIELDGATE_TRANSPORT_H
#define FIELDGATE_TRANSPORT_H

#include "fieldgate/event_model.h"
#include "fieldgate/loop.h"
#include "fieldgate/reason.h"
#include "fieldgate/setting.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All transports as variants, NULL at the end. Each is the first member of its struct fg_transport. */
extern const struct fg_variant *const fg_transports[];

struct fg_endpoint; /* one port's transport at work */
struct fg_link;     /* one open link: a channel of the endpoint */

/* What came on a link at one time. */
struct fg_packet {
    const uint8_t *data;
    size_t size;
    int64_t received_ns;          /* fg_clock_now_ns when it was read */
    const union fg_address *from; /* sender of a datagram, or peer of the connection; NULL: none */
    bool datagram;                /* data is one datagram, whole */
    bool truncated;               /* the datagram was longer */
};

/* How the owner of a port hears of its links. Calls about one link come on that link's strand, one after the
 * other. */
struct fg_link_events {
    /* A link is up. Returns the owner's state for it, or NULL to have it closed (no down follows then). */
    void *(*up)(void *port, struct fg_link *link);
    /*
     * Something came. Returns how many bytes were taken: fewer than packet->size means that the owner has no
     * room; the rest is kept, reading stops, and the rest is given again after fg_endpoint_resume (and once
     * at once, in case that room came meanwhile). Links that cannot make their device wait (fg_link_can_wait
     * is false) must always take all.
     */
    size_t (*received)(void *link_state, const struct fg_packet *packet);
    /*
     * The link is down, and this is the last call about it: nothing is in flight any more. error is 0 for an
     * orderly end by the peer, else a negative errno (-ECANCELED: the endpoint is closing; -ETIMEDOUT:
     * idle_timeout). Until this returns, others may post to the link's strand; what was posted still runs. So
     * a state that has timers or tasks on the strand stops them here and is freed by a task posted from here.
     */
    void (*down)(void *link_state, int error);
    /* Something was refused before a link was (a connection not allowed or beyond max_connections), or a
     * fault of the line was told by the driver. Any thread. */
    void (*rejected)(void *port, enum fg_reason reason, uint64_t count);
};

struct fg_endpoint_options {
    struct fg_loop *loop;
    const char *name;                  /* the port's, for logs; lives as long as the endpoint */
    const struct fg_chosen *transport; /* variant and settings; live as long as the endpoint */
    const struct fg_link_events *events;
    void *port; /* the owner */
};

/* Whether what comes on this transport keeps the boundaries of datagrams. */
bool fg_transport_is_datagram(const struct fg_chosen *transport);

/* Whether something can be sent to those who send here: not to programs that send datagrams to a Unix socket,
 * they have no address. */
bool fg_transport_can_send(const struct fg_chosen *transport);

/* Whether it is a serial line; then *baud and *format ("8N1"). */
bool fg_transport_serial_line(const struct fg_chosen *transport, int64_t *baud, const char **format);

/*
 * Starts an endpoint: it opens its descriptors as soon as it can, now or later. Returns 0 and *endpoint, or
 * -ENOMEM. Any thread.
 */
int fg_endpoint_open(const struct fg_endpoint_options *options, struct fg_endpoint **endpoint);

/* Links that stopped reading for want of room go on. Any thread; cheap when there are none. */
void fg_endpoint_resume(struct fg_endpoint *endpoint);

/*
 * Closes all: listening ends, links go down. When everything is gone, closed(port) is called on a worker, and
 * the endpoint is no more. Any thread, once; may be called while the endpoint is still opening.
 */
void fg_endpoint_close(struct fg_endpoint *endpoint, void (*closed)(void *port));

/* For the owner of a link, on its strand. */
struct fg_strand *fg_link_strand(struct fg_link *link);
struct fg_timers *fg_link_timers(struct fg_link *link);
bool fg_link_can_wait(const struct fg_link *link);   /* reading can stop, and the device then waits */
void fg_link_close(struct fg_link *link, int error); /* down(error) follows, later */

/*
 * Sends: op->send.data, op->send.size and op->done are set; done is called on the link's strand, once, and
 * before down. One at a time. Returns 0; -EBUSY when one is in flight; -ECANCELED when the link is closing:
 * then done is not called. On a link that takes datagrams from anyone (udp, unix) op->send.to says where to;
 * without an address there: -EDESTADDRREQ.
 */
int fg_link_send(struct fg_link *link, struct fg_op *op);

/* For the owner, inside received or a timer of the link's strand: reading stops, and received is called again
 * after fg_endpoint_resume, with what was not taken, or with nothing. A link that goes down before calls
 * received with the rest a last time; by then it can no longer wait. */
void fg_link_pause(struct fg_link *link);

/* The address without port, as text ("192.168.1.7", "fe80::1"); an IPv4 address in IPv6 form is written as
 * IPv4. Returns its length, 0 for no address (size is then left with an empty text). */
#define FG_ADDRESS_TEXT 64
size_t fg_address_text(const union fg_address *address, char text[FG_ADDRESS_TEXT]);

#endif
