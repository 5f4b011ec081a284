/*
 * What each transport's file gives to the registry.
 */
#ifndef FIELDGATE_TRANSPORT_TRANSPORTS_H
#define FIELDGATE_TRANSPORT_TRANSPORTS_H

#include "endpoint.h"

extern const struct fg_transport fg_transport_serial;
extern const struct fg_transport fg_transport_tcp_server;
extern const struct fg_transport fg_transport_tcp_client;
extern const struct fg_transport fg_transport_udp;
extern const struct fg_transport fg_transport_unix;

#endif
