#include "inspection.h"

#include "parts.h"

#include <errno.h>
#include <stdio.h>

static void look(void *context, struct fg_control_view *view)
{
    struct fg_inspection *inspection = context;
    struct fg_gateway *gateway = inspection->gateway;
    pthread_rwlock_rdlock(&gateway->ports.lock);
    pthread_mutex_lock(&inspection->lock);
    *view = (struct fg_control_view){ .publisher = gateway->publisher,
                                      .commands = gateway->commands,
                                      .ports = gateway->ports.ports,
                                      .port_count = gateway->ports.count,
                                      .queue_bytes = inspection->queue_bytes,
                                      .spools = inspection->spools,
                                      .stopping = inspection->stopping };
    snprintf(view->gateway, sizeof view->gateway, "%s", inspection->id);
    pthread_mutex_unlock(&inspection->lock);
}

static void seen(void *context)
{
    struct fg_inspection *inspection = context;
    pthread_rwlock_unlock(&inspection->gateway->ports.lock);
}

static void reloaded(struct fg_reload_waiter *waiter, bool applied, const char *outcome)
{
    struct fg_inspection *inspection =
        (struct fg_inspection *)((char *)waiter - offsetof(struct fg_inspection, waiter));
    fg_control_reloaded(inspection->control, applied, outcome);
}

/* The control asks for one at a time: there is one waiter. */
static int reload(void *context, char *outcome, size_t size)
{
    struct fg_inspection *inspection = context;
    (void)outcome;
    (void)size;
    inspection->waiter = (struct fg_reload_waiter){ .done = reloaded };
    fg_reload_request(&inspection->gateway->reload, &inspection->waiter);
    return -EINPROGRESS;
}

void fg_inspection_update(struct fg_inspection *inspection)
{
    const struct fg_gateway *gateway = inspection->gateway;
    pthread_mutex_lock(&inspection->lock);
    snprintf(inspection->id, sizeof inspection->id, "%s", gateway->names.id);
    inspection->queue_bytes = gateway->broker->settings.gateway.queue_bytes;
    inspection->spools = gateway->broker->settings.spool != NULL;
    inspection->stopping = gateway->state != FG_GATEWAY_RUNNING;
    pthread_mutex_unlock(&inspection->lock);
}

static void on_closed(struct fg_task *task)
{
    struct fg_inspection *inspection =
        (struct fg_inspection *)((char *)task - offsetof(struct fg_inspection, closed));
    inspection->then(inspection->gateway);
}

static void closed(void *context)
{
    struct fg_inspection *inspection = context;
    fg_loop_post(&inspection->gateway->loop, &inspection->closed);
}

void fg_inspection_open(struct fg_inspection *inspection, struct fg_gateway *gateway, const char *event_model)
{
    const struct fg_gateway_settings *settings = &gateway->present->settings.gateway;
    *inspection = (struct fg_inspection){ .gateway = gateway, .closed.run = on_closed };
    pthread_mutex_init(&inspection->lock, NULL);
    fg_inspection_update(inspection);
    struct fg_control_options options = {
        .loop = &gateway->loop,
        .path = settings->control_socket,
        .tap = &gateway->outlets.tap,
        .event_model = event_model,
        .workers = (size_t)settings->workers,
        .started_ns = gateway->reporting.started_ns,
        .hooks = { .context = inspection, .look = look, .seen = seen, .reload = reload }
    };
    inspection->control = fg_control_open(&options);
}

void fg_inspection_close(struct fg_inspection *inspection, void (*then)(struct fg_gateway *gateway))
{
    inspection->then = then;
    if (inspection->control) {
        fg_control_close(inspection->control, closed, inspection);
    } else {
        then(inspection->gateway);
    }
}

void fg_inspection_fini(struct fg_inspection *inspection)
{
    fg_control_free(inspection->control);
    pthread_mutex_destroy(&inspection->lock);
}
