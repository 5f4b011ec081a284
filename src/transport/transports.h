/*
 * What each transport's file gives to the registry.
 */
#ifndef FIELDGATE_TRANSPORT_TRANSPORTS_H
#define FIELDGATE_TRANSPORT_TRANSPORTS_H

#include "endpoint.h"

/* The transports: one line each. X(NAME) stands for fg_transport_NAME, in a file of its own. */
#define FG_TRANSPORTS(X)                                                                                     \
    X(serial)                                                                                                \
    X(tcp_server)                                                                                            \
    X(tcp_client)                                                                                            \
    X(udp)                                                                                                   \
    X(unix)

#define FG_TRANSPORT_DECLARE(name) extern const struct fg_transport fg_transport_##name;
FG_TRANSPORTS(FG_TRANSPORT_DECLARE)
#undef FG_TRANSPORT_DECLARE

#endif
