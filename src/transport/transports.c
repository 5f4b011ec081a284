#include "transports.h"

const struct fg_variant *const fg_transports[] = {
    &fg_transport_serial.variant, &fg_transport_tcp_server.variant, &fg_transport_tcp_client.variant,
    &fg_transport_udp.variant,    &fg_transport_unix.variant,       NULL,
};
