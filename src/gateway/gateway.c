/*
 * Start: signals blocked, loop, publisher, ports, control socket. Stop, in this order: the ports close (no
 * new input), the commands are answered, the publisher delivers what waits, the control socket closes, the
 * loop ends. A second signal during a stop ends the process at once.
 */
#include "fieldgate/gateway.h"

#include "fieldgate/log.h"
#include "model.h"
#include "parts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* On the publisher's thread, or a worker. */
static void on_room(void *context)
{
    struct fg_gateway *gateway = context;
    fg_ports_resume(&gateway->ports);
}

/* On the publisher's thread. */
static void on_arrived(void *context)
{
    struct fg_gateway *gateway = context;
    fg_commands_wake(gateway->commands);
}

static void count_device(struct fg_origin *origin, void *context)
{
    (void)origin;
    ++*(size_t *)context;
}

/* On a worker, or the main thread. */
static void look(void *context, struct fg_service_view *view)
{
    struct fg_gateway *gateway = context;
    pthread_rwlock_rdlock(&gateway->ports.lock);
    for (size_t i = 0; i < gateway->ports.count; i++) {
        fg_port_each_device(gateway->ports.ports[i], count_device, &view->devices);
    }
    pthread_rwlock_unlock(&gateway->ports.lock);
    fg_publisher_get_stats(gateway->publisher, &view->publisher);
}

struct given {
    const char *identity;
    size_t length;
    struct fg_command *command;
};

static void give(void *context, struct fg_port *port)
{
    const struct given *given = context;
    fg_port_command(port, given->identity, given->length, given->command);
}

/* On a worker. */
static bool give_command(void *context, const char *port, const char *identity, size_t length,
                         struct fg_command *command)
{
    struct fg_gateway *gateway = context;
    struct given given = { identity, length, command };
    return fg_ports_use(&gateway->ports, port, give, &given);
}

/* ---- stop ---- */

static void *drain(void *argument)
{
    struct fg_gateway *gateway = argument;
    gateway->lost_by_stop =
        fg_publisher_stop(gateway->publisher, gateway->present->settings.gateway.shutdown_timeout_ns);
    fg_loop_post(&gateway->loop, &gateway->drained);
    return NULL;
}

static void end_loop(struct fg_gateway *gateway)
{
    fg_loop_stop(&gateway->loop);
}

static void on_drained(struct fg_task *task)
{
    struct fg_gateway *gateway = (struct fg_gateway *)((char *)task - offsetof(struct fg_gateway, drained));
    fg_inspection_close(&gateway->inspection, end_loop);
}

/* The publisher is stopped on a thread of its own, so that a second signal is still heard. */
static void on_answered(struct fg_task *task)
{
    struct fg_gateway *gateway = (struct fg_gateway *)((char *)task - offsetof(struct fg_gateway, answered));
    gateway->state = FG_GATEWAY_DRAINING;
    fg_reporting_publish(&gateway->reporting); /* the last ones have all that came in */
    gateway->draining_thread = pthread_create(&gateway->drainer, NULL, drain, gateway) == 0;
    if (!gateway->draining_thread) {
        drain(gateway);
    }
}

/* On a worker. */
static void on_commands_stopped(void *context)
{
    struct fg_gateway *gateway = context;
    fg_loop_post(&gateway->loop, &gateway->answered);
}

static void answer_when_closed(struct fg_gateway *gateway)
{
    if (gateway->state == FG_GATEWAY_CLOSING_PORTS && gateway->ports.closing == 0) {
        gateway->state = FG_GATEWAY_ANSWERING;
        fg_commands_stop(gateway->commands);
    }
}

static void on_port_closed(void *context)
{
    struct fg_gateway *gateway = context;
    answer_when_closed(gateway);
    fg_reload_port_closed(&gateway->reload);
}

static void begin_stop(struct fg_gateway *gateway)
{
    gateway->state = FG_GATEWAY_CLOSING_PORTS;
    fg_service_stop(&gateway->service);
    fg_inspection_update(&gateway->inspection);
    fg_reload_stop(&gateway->reload);
    fg_reporting_set_interval(&gateway->reporting, 0);
    fg_ports_close_all(&gateway->ports);
    answer_when_closed(gateway);
}

/* ---- signals ---- */

static void end_at_once(const struct fg_gateway *gateway)
{
    struct fg_publisher_stats stats;
    fg_publisher_get_stats(gateway->publisher, &stats);
    fg_log(FG_LOG_WARNING, "second signal: ending at once, %llu readings not delivered",
           (unsigned long long)stats.queued);
    _exit(1);
}

static void on_signal(void *context, int number)
{
    struct fg_gateway *gateway = context;
    switch (number) {
    case SIGUSR1:
        fg_reporting_log(&gateway->reporting);
        break;
    case SIGHUP:
        fg_reload_request(&gateway->reload, NULL);
        break;
    default:
        if (gateway->state != FG_GATEWAY_RUNNING) {
            end_at_once(gateway);
        }
        fg_log(FG_LOG_INFO, "%s: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
        begin_stop(gateway);
        break;
    }
}

static void block_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
    sigaddset(signals, SIGUSR1);
    fg_loop_block_signals(signals);
    signal(SIGPIPE, SIG_IGN); /* the MQTT library writes to sockets without MSG_NOSIGNAL */
}

/* ---- start ---- */

/* Each device is a descriptor: as many as the system grants. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* A worker has run out of readings for now. */
static void flush(void *publisher)
{
    fg_publisher_flush(publisher);
}

struct fg_publisher_options fg_gateway_publisher_options(struct fg_gateway *gateway,
                                                         const struct fg_settings *settings,
                                                         const struct fg_names *names)
{
    return (struct fg_publisher_options){ .settings = &settings->mqtt,
                                          .gateway = names->id,
                                          .queue_bytes = settings->gateway.queue_bytes,
                                          .gathered_ns = fg_loop_turn_ns(settings->mqtt.linger_ns),
                                          .spool = settings->spool,
                                          .room = on_room,
                                          .arrived = on_arrived,
                                          .context = gateway };
}

/* What was executed is remembered beside the spool, or where the gateway keeps its state. */
static int make_commands(struct fg_gateway *gateway)
{
    const struct fg_settings *settings = &gateway->present->settings;
    char journal[512];
    const char *slash = settings->spool ? strrchr(settings->spool->path, '/') : NULL;
    if (settings->spool) {
        snprintf(journal, sizeof journal, "%.*s/commands", slash ? (int)(slash - settings->spool->path) : 1,
                 slash ? settings->spool->path : ".");
    } else {
        snprintf(journal, sizeof journal, "%s/commands", settings->gateway.state_directory);
    }
    const struct fg_commands_options options = { .publisher = gateway->publisher,
                                                 .pool = gateway->loop.pool,
                                                 .base = gateway->names.base,
                                                 .journal = journal,
                                                 .give = give_command,
                                                 .stopped = on_commands_stopped,
                                                 .context = gateway };
    return fg_commands_new(&options, &gateway->commands);
}

static int open_publisher(struct fg_gateway *gateway)
{
    const struct fg_settings *settings = &gateway->present->settings;
    struct fg_publisher_options options = fg_gateway_publisher_options(gateway, settings, &gateway->names);
    fg_loop_set_turn(&gateway->loop, settings->mqtt.linger_ns);
    fg_ports_init(&gateway->ports, &gateway->loop, &gateway->outlets.sink, on_port_closed, gateway);
    int error = fg_publisher_new(&options, &gateway->publisher);
    if (!error) {
        error = make_commands(gateway);
    }
    if (!error) {
        fg_pool_on_rest(gateway->loop.pool, flush, gateway->publisher);
        fg_outlets_init(&gateway->outlets, gateway->publisher, gateway->commands, gateway->names.id,
                        gateway->names.base);
        fg_reporting_init(&gateway->reporting, &gateway->loop, gateway->publisher, gateway->commands,
                          &gateway->ports);
        fg_reload_init(&gateway->reload, gateway);
        error = fg_publisher_start(gateway->publisher);
    }
    return error;
}

static int open_ports(struct fg_gateway *gateway)
{
    const struct fg_settings_list *list = &gateway->present->settings.ports;
    const struct fg_port_settings *ports = list->items;
    int error = 0;
    for (size_t i = 0; i < list->count && !error; i++) {
        error = fg_ports_open(&gateway->ports, &ports[i], gateway->present);
    }
    return error;
}

static int start(struct fg_gateway *gateway, const struct fg_model_ops *model, const sigset_t *signals)
{
    int error = fg_names_choose(&gateway->present->settings, &gateway->names);
    if (!error) {
        error = fg_loop_open(&gateway->loop, model, (size_t)gateway->present->settings.gateway.workers,
                             signals, on_signal, gateway);
    }
    if (error) {
        fg_log(FG_LOG_ERROR, "cannot start: %s", strerror(-error));
        return error;
    }
    error = open_publisher(gateway);
    if (!error) {
        error = open_ports(gateway);
    }
    if (error) {
        fg_log(FG_LOG_ERROR, "cannot start: %s", strerror(-error));
        _exit(1); /* threads are under way, and nothing has been accepted */
    }
    fg_commands_ready(gateway->commands);
    return 0;
}

static void run(struct fg_gateway *gateway)
{
    int error = fg_loop_run(&gateway->loop);
    if (error) {
        fg_log(FG_LOG_ERROR, "the event loop failed: %s", strerror(-error));
        _exit(1);
    }
    if (gateway->draining_thread) {
        pthread_join(gateway->drainer, NULL);
    }
    fg_loop_close(&gateway->loop);
    fg_inspection_fini(&gateway->inspection);
    fg_reload_fini(&gateway->reload);
    fg_ports_fini(&gateway->ports);
    fg_commands_free(gateway->commands);
    fg_publisher_free(gateway->publisher);
}

static int run_generation(const struct fg_gateway_options *options, struct fg_generation *generation)
{
    const struct fg_gateway_settings *settings = &generation->settings.gateway;
    const struct fg_model_ops *model = fg_model_choose(fg_event_model_names[settings->event_model]);
    if (!model) {
        return 1;
    }
    struct fg_gateway gateway = { .options = options,
                                  .started = fg_generation_ref(generation),
                                  .present = fg_generation_ref(generation),
                                  .broker = fg_generation_ref(generation) };
    gateway.answered.run = on_answered;
    gateway.drained.run = on_drained;
    fg_log_set_level((enum fg_log_level)settings->log_level);
    sigset_t signals;
    block_signals(&signals);
    raise_file_limit();
    int error = start(&gateway, model, &signals);
    if (!error) {
        fg_reporting_set_interval(&gateway.reporting, settings->stats_interval_ns);
        fg_inspection_open(&gateway.inspection, &gateway, model->name);
        fg_service_start(&gateway.service, &gateway.loop, gateway.publisher, look, &gateway);
        fg_log(FG_LOG_INFO, "fieldgated %s: gateway %s, event model %s, %zu workers, %zu ports", FG_VERSION,
               gateway.names.id, model->name, (size_t)settings->workers, gateway.ports.count);
        run(&gateway);
    }
    fg_generation_unref(gateway.broker);
    fg_generation_unref(gateway.present);
    fg_generation_unref(gateway.started);
    if (error) {
        return 1;
    }
    if (gateway.lost_by_stop) {
        fg_log(FG_LOG_WARNING, "stopped; %llu readings were not delivered",
               (unsigned long long)gateway.lost_by_stop);
    } else {
        fg_log(FG_LOG_INFO, "stopped");
    }
    return 0;
}

int fg_gateway_run(const struct fg_gateway_options *options)
{
    struct fg_generation *generation = fg_generation_new(options->config, options);
    if (!generation) {
        fg_log(FG_LOG_ERROR, "cannot start: no memory");
        return 1;
    }
    int status = run_generation(options, generation);
    fg_generation_unref(generation);
    return status;
}
