/*
 * Ports whose devices are asked: what their settings mean for the protocol. For one kind of protocol so far,
 * Modbus.
 */
#ifndef FIELDGATE_DEVICE_POLLING_H
#define FIELDGATE_DEVICE_POLLING_H

#include "fieldgate/modbus_poll.h"
#include "fieldgate/port.h"

/* What the protocol wants to know; made from settings, which it borrows. */
struct fg_polling {
    struct fg_modbus_poll_settings settings;
    struct fg_modbus_line line; /* settings.line points here when the port is a serial line */
    size_t count;
    struct fg_modbus_poll_device *devices; /* in the order of fg_polling_name */
};

static inline bool fg_port_is_polled(const struct fg_port_settings *port)
{
    return port->protocol.variant != NULL;
}

/* The devices of a polled port: those listed, or the port itself when none is. */
size_t fg_polling_count(const struct fg_port_settings *port);
const char *fg_polling_name(const struct fg_port_settings *port, size_t device);
const struct fg_device_defaults *fg_polling_device(const struct fg_port_settings *port, size_t device);

/* Of settings without a problem. Must not be moved. Returns 0, -EINVAL, -ENOMEM; fini in every case. */
int fg_polling_init(struct fg_polling *polling, const struct fg_port_settings *port);
void fg_polling_fini(struct fg_polling *polling);

/* Tells what cannot work together on a port with a protocol; and on one without what is only for these. */
void fg_polling_check(struct fg_check *check, const struct fg_port_settings *port);

#endif
