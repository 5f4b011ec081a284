/*
 * Transport "udp": devices send datagrams.
 */
#include "address.h"
#include "fieldgate/clock.h"
#include "transports.h"

#include <errno.h>
#include <unistd.h>

/* Room for a burst of many devices that report at the same moment; the system's own limit may be less. */
#define RECEIVE_ROOM (512 * 1024)

struct udp_settings {
    char *bind;
    int64_t udp_port;
    struct fg_texts allow;
};

static const struct fg_setting settings_table[] = {
    { .key = "bind",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct udp_settings, bind),
      .fallback = "127.0.0.1",
      .minimum = 1,
      .maximum = FG_ADDRESS_TEXT,
      .check = fg_bind_check,
      .help = "The address to receive on. \"*\" and \"::\" are all addresses, IPv6 and IPv4." },
    { .key = "udp_port",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct udp_settings, udp_port),
      .minimum = 0,
      .maximum = UINT16_MAX,
      .help = "The UDP port to receive on. With 0 the system chooses one, and the log tells which." },
    { .key = "allow",
      .type = FG_SETTING_TEXTS,
      .offset = offsetof(struct udp_settings, allow),
      .fallback = "",
      .minimum = 0,
      .maximum = 256,
      .check = fg_networks_check,
      .help = "The networks whose addresses may send, as \"192.168.1.0/24\". Empty: everyone." },
    { .key = NULL },
};

static const struct fg_schema schema = {
    .name = "udp",
    .help = "Receives datagrams. One datagram is one frame, unless framing is given.",
    .size = sizeof(struct udp_settings),
    .settings = settings_table,
};

static bool is_datagram(const void *settings)
{
    (void)settings;
    return true;
}

static int udp_start(struct fg_endpoint *endpoint)
{
    const struct udp_settings *settings = endpoint->settings;
    return fg_networks_init(&endpoint->allow, &settings->allow);
}

static int receive_on(struct fg_endpoint *endpoint)
{
    const struct udp_settings *settings = endpoint->settings;
    union fg_address bound;
    int fd = fg_socket_bind(settings->bind, (uint16_t)settings->udp_port, SOCK_DGRAM, &bound);
    if (fd < 0) {
        return fd;
    }
    int room = RECEIVE_ROOM;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    const struct fg_link_options options = { .fd = fd, .kind = FG_LINK_DATAGRAM, .principal = true };
    struct fg_link *link = NULL;
    int error = fg_link_new(endpoint, &options, &link);
    if (error < 0) {
        close(fd);
        return error;
    }
    char text[FG_ADDRESS_PORT_TEXT];
    fg_address_port_text(&bound, text);
    fg_endpoint_describe(endpoint, "receiving on UDP %s", text);
    fg_link_start(link);
    return 0;
}

static void udp_open(struct fg_endpoint *endpoint)
{
    const struct udp_settings *settings = endpoint->settings;
    int error = receive_on(endpoint);
    if (error < 0) {
        fg_endpoint_fail(endpoint, "cannot receive on UDP %s port %d: %s", settings->bind,
                         (int)settings->udp_port, fg_error_text(error));
    }
}

const struct fg_transport fg_transport_udp = {
    .variant = { .name = "udp", .help = "Devices send datagrams over UDP.", .schema = &schema },
    .state_size = 1,
    .retry_min_ns = 500 * FG_NS_PER_MS,
    .retry_max_ns = 10 * FG_NS_PER_S,
    .addressed = true,
    .is_datagram = is_datagram,
    .start = udp_start,
    .open = udp_open,
};
