/*
 * A link of a port whose devices speak of themselves.
 */
#ifndef FIELDGATE_DEVICE_STREAM_H
#define FIELDGATE_DEVICE_STREAM_H

#include "sender.h"

/* One link of a port, on the link's strand. */
struct fg_stream_link {
    struct fg_port *port;
    struct fg_link *link;
    struct fg_framer framer;
    struct fg_device *device;     /* of the latest frame: saves the look-up */
    bool several;                 /* devices were on it */
    struct refused *refused;      /* it waits for room for this; counted in port->waiting */
    const union fg_address *peer; /* of the connection: the link's */
    struct gap *gap;              /* where silence ends a frame */
    /* Commands; NULL: there were none yet. Set under the port's lock by who posts the first. */
    _Atomic(struct fg_sender *) sender;
};

_Static_assert(sizeof(struct fg_stream_link) <= 120, "a link that idles is small");

#endif
