/*
 * Transport "tcp-server": devices connect to us.
 */
#include "address.h"
#include "fieldgate/clock.h"
#include "transports.h"

#include <errno.h>
#include <unistd.h>

#define BACKLOG 512

struct tcp_server_settings {
    char *bind;
    int64_t tcp_port;
    int64_t max_connections;
    int64_t idle_timeout_ns;
    int64_t keepalive_ns;
    struct fg_texts allow;
};

static const struct fg_setting settings_table[] = {
    { .key = "bind",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct tcp_server_settings, bind),
      .fallback = "127.0.0.1",
      .minimum = 1,
      .maximum = FG_ADDRESS_TEXT,
      .check = fg_bind_check,
      .help = "The address to listen on. \"*\" and \"::\" are all addresses, IPv6 and IPv4." },
    { .key = "tcp_port",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct tcp_server_settings, tcp_port),
      .minimum = 0,
      .maximum = UINT16_MAX,
      .help = "The TCP port to listen on. With 0 the system chooses one, and the log tells which." },
    { .key = "max_connections",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct tcp_server_settings, max_connections),
      .fallback = "256",
      .minimum = 1,
      .maximum = 100000,
      .help = "Connections beyond this number are closed at once and counted." },
    { .key = "idle_timeout",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct tcp_server_settings, idle_timeout_ns),
      .fallback = "0s",
      .minimum = 0,
      .maximum = 30 * 86400 * FG_NS_PER_S,
      .help = "A connection on which nothing came for so long is closed. \"0s\" is never." },
    { .key = "keepalive",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct tcp_server_settings, keepalive_ns),
      .fallback = "60s",
      .minimum = 0,
      .maximum = 86400 * FG_NS_PER_S,
      .help = "How long it may take to find out that a silent peer is gone. \"0s\" does not try to." },
    { .key = "allow",
      .type = FG_SETTING_TEXTS,
      .offset = offsetof(struct tcp_server_settings, allow),
      .fallback = "",
      .minimum = 0,
      .maximum = 256,
      .check = fg_networks_check,
      .help = "The networks whose addresses may connect, as \"192.168.1.0/24\". Empty: everyone." },
    { .key = NULL },
};

static const struct fg_schema schema = {
    .name = "tcp-server",
    .help = "Listens for devices that connect over TCP.",
    .size = sizeof(struct tcp_server_settings),
    .settings = settings_table,
};

static int tcp_server_start(struct fg_endpoint *endpoint)
{
    const struct tcp_server_settings *settings = endpoint->settings;
    endpoint->idle_ns = settings->idle_timeout_ns;
    endpoint->max_connections = settings->max_connections;
    return fg_networks_init(&endpoint->allow, &settings->allow);
}

static int listen_on(struct fg_endpoint *endpoint)
{
    const struct tcp_server_settings *settings = endpoint->settings;
    union fg_address bound;
    int fd = fg_socket_bind(settings->bind, (uint16_t)settings->tcp_port, SOCK_STREAM, &bound);
    if (fd < 0) {
        return fd;
    }
    const struct fg_link_options options = { .fd = fd, .kind = FG_LINK_LISTENER, .principal = true };
    struct fg_link *link = NULL;
    int error = listen(fd, BACKLOG) < 0 ? -errno : fg_link_new(endpoint, &options, &link);
    if (error < 0) {
        close(fd);
        return error;
    }
    char text[FG_ADDRESS_PORT_TEXT];
    fg_address_port_text(&bound, text);
    fg_endpoint_describe(endpoint, "listening on TCP %s", text);
    fg_link_start(link);
    return 0;
}

static void tcp_server_open(struct fg_endpoint *endpoint)
{
    const struct tcp_server_settings *settings = endpoint->settings;
    int error = listen_on(endpoint);
    if (error < 0) {
        fg_endpoint_fail(endpoint, "cannot listen on TCP %s port %d: %s", settings->bind,
                         (int)settings->tcp_port, fg_error_text(error));
    }
}

static void tcp_server_accepted(struct fg_endpoint *endpoint, int fd)
{
    const struct tcp_server_settings *settings = endpoint->settings;
    fg_socket_keepalive(fd, settings->keepalive_ns);
    fg_socket_no_delay(fd);
}

const struct fg_transport fg_transport_tcp_server = {
    .variant = { .name = "tcp-server",
                 .help = "Devices connect to the gateway over TCP.",
                 .schema = &schema },
    .state_size = 1,
    .retry_min_ns = 500 * FG_NS_PER_MS,
    .retry_max_ns = 10 * FG_NS_PER_S,
    .can_wait = true,
    .start = tcp_server_start,
    .open = tcp_server_open,
    .accepted = tcp_server_accepted,
};
