#include "poller.h"

#include "fieldgate/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void fg_port_count_rejected(struct fg_port *port, struct fg_device *device, enum fg_reason reason,
                            uint64_t count)
{
    fg_count(&port->rejected[reason], count);
    if (device) {
        fg_count(&device->source->origin->rejected[reason], count);
    }
}

void fg_port_reject(struct fg_port *port, struct fg_device *device, enum fg_reason reason, uint64_t count)
{
    fg_port_count_rejected(port, device, reason, count);
    fg_log_limited(&port->reject_limits[reason], FG_LOG_WARNING, port->settings->name,
                   device ? device->source->origin->device : NULL, "input rejected: %s",
                   fg_reason_name(reason));
}

void fg_port_on_rejected(void *context, enum fg_reason reason, uint64_t count)
{
    if (reason == FG_REASON_OVERRUN) {
        fg_port_reject(context, NULL, reason, count);
    } else {
        fg_port_count_rejected(context, NULL, reason, count); /* the endpoint told who was refused */
    }
}

static int add_listed(struct fg_port *port)
{
    const struct fg_device_settings *listed = port->settings->devices.items;
    bool polled = fg_port_is_polled(port->settings);
    int error = 0;
    for (size_t i = 0; i < port->settings->devices.count && !error; i++) {
        error = fg_device_add(port, &listed[i].defaults, listed[i].name, strlen(listed[i].name));
    }
    if (!error && (port->by_port || polled) && port->settings->devices.count == 0) {
        const char *name = port->settings->name;
        error = fg_device_add(port, &port->settings->defaults, name, strlen(name));
    }
    if (!error && port->by_port && !polled) {
        const char *name = port->settings->devices.count > 0 ? listed->name : port->settings->name;
        port->only = fg_map_get(&port->devices, name, strlen(name));
    }
    return error;
}

int fg_port_open(struct fg_loop *loop, const struct fg_port_settings *settings, const struct fg_sink *sink,
                 struct fg_port **port)
{
    struct fg_port *made = calloc(1, sizeof *made);
    if (!made) {
        return -ENOMEM;
    }
    made->loop = loop;
    made->settings = settings;
    made->sink = sink;
    made->by_port = strcmp(settings->identity, "port") == 0;
    made->by_peer = strcmp(settings->identity, "peer") == 0;
    bool polled = fg_port_is_polled(settings);
    made->own_links = made->by_port && !polled && !fg_transport_is_datagram(&settings->transport);
    made->identity_key = made->by_port || made->by_peer ? "" : settings->identity + strlen("key:");
    made->identity_key_length = strlen(made->identity_key);
    fg_strand_init(&made->strand, loop->pool);
    fg_map_init(&made->devices);
    pthread_mutex_init(&made->lock, NULL);
    made->reject_limits = calloc(FG_REASON_COUNT, sizeof *made->reject_limits);
    int error = made->reject_limits ? add_listed(made) : -ENOMEM;
    if (!error && polled) {
        error = fg_poller_new(made, &made->poller);
    }
    if (!error) {
        struct fg_endpoint_options options = { .loop = loop,
                                               .name = settings->name,
                                               .transport = &settings->transport,
                                               .events = polled ? &fg_poller_events : &fg_stream_events,
                                               .port = made };
        error = fg_endpoint_open(&options, &made->endpoint);
    }
    if (error) {
        fg_port_free(made);
        return error;
    }
    *port = made;
    return 0;
}

void fg_port_resume(struct fg_port *port)
{
    pthread_mutex_lock(&port->lock);
    if (port->endpoint) {
        fg_endpoint_resume(port->endpoint);
    }
    pthread_mutex_unlock(&port->lock);
}

static void stop_device(void *value, void *context)
{
    (void)context;
    fg_device_stop(value);
}

static void strand_closed(struct fg_strand *strand)
{
    struct fg_port *port = (struct fg_port *)((char *)strand - offsetof(struct fg_port, strand));
    port->closed(port->context);
}

/* All links are down: what the devices hold back goes out now. */
static void end(struct fg_task *task)
{
    struct fg_port *port = (struct fg_port *)((char *)task - offsetof(struct fg_port, end));
    pthread_mutex_lock(&port->lock);
    fg_map_each(&port->devices, stop_device, NULL);
    pthread_mutex_unlock(&port->lock);
    fg_strand_close(&port->strand, strand_closed);
}

static void on_endpoint_closed(void *context)
{
    struct fg_port *port = context;
    port->end.run = end;
    fg_strand_post(&port->strand, &port->end);
}

void fg_port_close(struct fg_port *port, void (*closed)(void *context), void *context)
{
    port->closed = closed;
    port->context = context;
    atomic_store(&port->closing, true);
    pthread_mutex_lock(&port->lock);
    struct fg_endpoint *endpoint = port->endpoint;
    port->endpoint = NULL;
    pthread_mutex_unlock(&port->lock);
    fg_endpoint_close(endpoint, on_endpoint_closed);
}

static void free_device(void *value, void *context)
{
    (void)context;
    fg_device_free(value);
}

void fg_port_free(struct fg_port *port)
{
    if (!port) {
        return;
    }
    fg_poller_free(port->poller);
    fg_map_each(&port->devices, free_device, NULL);
    fg_map_fini(&port->devices);
    pthread_mutex_destroy(&port->lock);
    free(port->reject_limits);
    free(port);
}

const char *fg_port_name(const struct fg_port *port)
{
    return port->settings->name;
}

void fg_port_get_state(struct fg_port *port, struct fg_port_state *state)
{
    *state = (struct fg_port_state){ .transport = port->settings->transport.variant->name };
    pthread_mutex_lock(&port->lock);
    state->closed = !port->endpoint;
    if (port->endpoint) {
        fg_endpoint_get_state(port->endpoint, &state->endpoint);
    }
    pthread_mutex_unlock(&port->lock);
}

void fg_port_get_stats(struct fg_port *port, struct fg_port_stats *stats)
{
    *stats =
        (struct fg_port_stats){ .links = fg_counted(&port->links), .received = fg_counted(&port->received) };
    for (int i = 0; i < FG_REASON_COUNT; i++) {
        stats->rejected[i] = fg_counted(&port->rejected[i]);
    }
}

struct visitor {
    void (*visit)(struct fg_origin *origin, void *context);
    void *context;
};

static void visit_device(void *value, void *context)
{
    const struct visitor *visitor = context;
    visitor->visit(((const struct fg_device *)value)->source->origin, visitor->context);
}

void fg_port_each_device(struct fg_port *port, void (*visit)(struct fg_origin *origin, void *context),
                         void *context)
{
    struct visitor visitor = { .visit = visit, .context = context };
    pthread_mutex_lock(&port->lock);
    fg_map_each(&port->devices, visit_device, &visitor);
    pthread_mutex_unlock(&port->lock);
}
