/*
 * Addresses in settings, and the socket options that the transports share. Nothing here looks names up.
 */
#ifndef FIELDGATE_TRANSPORT_ADDRESS_H
#define FIELDGATE_TRANSPORT_ADDRESS_H

#include "fieldgate/event_model.h"
#include "fieldgate/setting.h"
#include "fieldgate/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FG_HOST_TEXT 254 /* the longest name of a host, and NUL */
/* An address with its port as text, "[v6%scope]:port". */
#define FG_ADDRESS_PORT_TEXT (FG_ADDRESS_TEXT + 8)

/*
 * Reads a numeric address ("127.0.0.1", "::1", "fe80::1%eth0"). Returns 0; -EINVAL for what is none; -ENODEV
 * when there is no such interface (now).
 */
int fg_address_parse(const char *text, uint16_t port, union fg_address *address);

/* Splits "host:port" or "[v6]:port". Returns 0 or -EINVAL; the host is not looked at closely. */
int fg_host_port_parse(const char *text, char host[FG_HOST_TEXT], uint16_t *port);

/* "192.168.1.7:7001", "[fe80::1]:7001". */
void fg_address_port_text(const union fg_address *address, char text[FG_ADDRESS_PORT_TEXT]);
uint16_t fg_address_port(const union fg_address *address);
socklen_t fg_address_length(const union fg_address *address);

/*
 * A non-blocking socket bound to `bind` ("*": every address, IPv6 and IPv4 where there is IPv6). Returns the
 * descriptor, and the address that it has, or a negative errno.
 */
int fg_socket_bind(const char *bind, uint16_t port, int type, union fg_address *bound);

/* Finds out that a silent peer is gone after about ns. 0: does not. Failing is no harm. */
void fg_socket_keepalive(int fd, int64_t ns);
void fg_socket_no_delay(int fd);

/* Whether a connection ends where it begins: what connect(2) can make of a local port on which nobody
 * listens. */
bool fg_socket_is_own_peer(int fd, const union fg_address *peer);

/* For tables of settings. */
void fg_bind_check(struct fg_check *check, const char *key, const void *field);
void fg_host_port_check(struct fg_check *check, const char *key, const void *field);

#endif
