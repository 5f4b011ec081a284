/*
 * Transport "tcp-client": we connect to a device.
 */
#include "address.h"
#include "fieldgate/clock.h"
#include "resolver.h"
#include "transports.h"

#include <errno.h>
#include <netdb.h>
#include <unistd.h>

struct tcp_client_settings {
    char *address;
    int64_t connect_timeout_ns;
    int64_t keepalive_ns;
};

/* The endpoint's strand's. */
struct tcp_client {
    struct fg_lookup *lookup; /* under way, NULL: none */
    size_t count, next;       /* of the addresses that are tried in turn */
    union fg_address addresses[FG_LOOKUP_ADDRESSES];
};

static const struct fg_setting settings_table[] = {
    { .key = "address",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct tcp_client_settings, address),
      .minimum = 3,
      .maximum = FG_HOST_TEXT + 8,
      .check = fg_host_port_check,
      .help =
          "Where the device listens, as \"10.0.0.7:502\", \"meter.lan:502\" or \"[fe80::1%eth0]:502\". All "
          "addresses of a name are tried in turn." },
    { .key = "connect_timeout",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct tcp_client_settings, connect_timeout_ns),
      .fallback = "5s",
      .minimum = 10 * FG_NS_PER_MS,
      .maximum = 600 * FG_NS_PER_S,
      .help = "How long one attempt to connect may take." },
    { .key = "keepalive",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct tcp_client_settings, keepalive_ns),
      .fallback = "60s",
      .minimum = 0,
      .maximum = 86400 * FG_NS_PER_S,
      .help = "How long it may take to find out that a silent device is gone. \"0s\" does not try to." },
    { .key = NULL },
};

static const struct fg_schema schema = {
    .name = "tcp-client",
    .help = "Connects to a device over TCP, and again when the connection is lost.",
    .size = sizeof(struct tcp_client_settings),
    .settings = settings_table,
};

static int connect_to(struct fg_endpoint *endpoint, const union fg_address *address)
{
    const struct tcp_client_settings *settings = endpoint->settings;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    fg_socket_no_delay(fd);
    fg_socket_keepalive(fd, settings->keepalive_ns);
    const struct fg_link_options options = {
        .fd = fd, .kind = FG_LINK_STREAM, .principal = true, .peer = address
    };
    struct fg_link *link = NULL;
    int error = fg_link_new(endpoint, &options, &link);
    if (error < 0) {
        close(fd);
        return error;
    }
    char text[FG_ADDRESS_PORT_TEXT];
    fg_address_port_text(address, text);
    fg_endpoint_describe(endpoint, "connected to %s", text);
    fg_link_start_connect(link, settings->connect_timeout_ns);
    return 0;
}

static void tcp_client_not_up(struct fg_endpoint *endpoint, int error)
{
    const struct tcp_client_settings *settings = endpoint->settings;
    struct tcp_client *client = endpoint->state;
    while (client->next < client->count) {
        error = connect_to(endpoint, &client->addresses[client->next++]);
        if (error == 0) {
            return;
        }
    }
    fg_endpoint_fail(endpoint, "cannot connect to %s: %s", settings->address, fg_error_text(error));
}

static void found(void *context, const struct fg_lookup_result *result)
{
    struct fg_endpoint *endpoint = context;
    const struct tcp_client_settings *settings = endpoint->settings;
    struct tcp_client *client = endpoint->state;
    client->lookup = NULL;
    if (result->error != 0) {
        fg_endpoint_fail(endpoint, "cannot look up %s: %s", settings->address, gai_strerror(result->error));
        return;
    }
    client->next = 0;
    client->count = result->count;
    for (size_t i = 0; i < result->count; i++) {
        client->addresses[i] = result->addresses[i];
    }
    tcp_client_not_up(endpoint, -ENOENT);
}

static void tcp_client_open(struct fg_endpoint *endpoint)
{
    const struct tcp_client_settings *settings = endpoint->settings;
    struct tcp_client *client = endpoint->state;
    char host[FG_HOST_TEXT];
    uint16_t port = 0;
    int error = fg_host_port_parse(settings->address, host, &port);
    client->next = client->count = 0;
    if (error == 0) {
        error = fg_address_parse(host, port, &client->addresses[0]);
        if (error == 0) {
            client->count = 1;
            tcp_client_not_up(endpoint, 0);
            return;
        }
    }
    if (error == -EINVAL) {
        error = fg_lookup_start(host, port, &endpoint->strand, found, endpoint, &client->lookup);
    }
    if (error < 0) {
        fg_endpoint_fail(endpoint, "cannot look up %s: %s", settings->address, fg_error_text(error));
    }
}

static void tcp_client_stop(struct fg_endpoint *endpoint)
{
    struct tcp_client *client = endpoint->state;
    fg_lookup_cancel(client->lookup);
    client->lookup = NULL;
}

const struct fg_transport fg_transport_tcp_client = {
    .variant = { .name = "tcp-client",
                 .help = "The gateway connects to a device over TCP.",
                 .schema = &schema },
    .state_size = sizeof(struct tcp_client),
    .retry_min_ns = 500 * FG_NS_PER_MS,
    .retry_max_ns = 30 * FG_NS_PER_S,
    .can_wait = true,
    .open = tcp_client_open,
    .not_up = tcp_client_not_up,
    .stop = tcp_client_stop,
};
