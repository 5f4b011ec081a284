/*
 * Start: signals blocked, loop, publisher, ports, control socket. Stop, in this order: the ports close (no
 * new input), the publisher delivers what waits, the control socket closes, the loop ends.
 *
 *   RUNNING --SIGTERM/SIGINT--> CLOSING_PORTS --all closed--> DRAINING --publisher stopped--> DONE
 *   CLOSING_PORTS, DRAINING --second signal--> the process ends at once
 */
#include "fieldgate/gateway.h"

#include "control.h"
#include "fieldgate/clock.h"
#include "fieldgate/log.h"
#include "outlet.h"
#include "stats.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* More than any board has devices: 100 000 of them with all their counters. */
#define STATS_BYTES ((size_t)64 << 20)

enum state { RUNNING, CLOSING_PORTS, DRAINING };

struct gateway {
    const struct fg_settings *settings;
    struct fg_loop loop;
    struct fg_publisher *publisher;
    struct fg_outlets outlets;
    _Atomic enum state state; /* the main thread's; others may look */
    int64_t started_ns;
    char id[65];
    char base[1100];
    size_t port_count;
    struct fg_port **ports;
    atomic_size_t ports_open;
    pthread_mutex_t
        ports_lock; /* ports is complete, or not yet: room can be told while ports are being opened */
    struct fg_strand strand; /* of the statistics */
    struct fg_timer stats_timer;
    struct fg_task stats_stop;
    int64_t stats_due_ns;
    struct fg_control *control; /* NULL: none */
    struct fg_task ports_closed, drained, control_closed;
    pthread_t drainer;
    bool draining_thread;
    uint64_t lost_by_stop;
};

static void render_stats(struct gateway *gateway, bool to_log)
{
    struct fg_buffer json;
    fg_buffer_init(&json, STATS_BYTES);
    int64_t uptime_ns = fg_clock_now_ns() - gateway->started_ns;
    int error = fg_stats_render(&json, gateway->publisher, gateway->ports, gateway->port_count, uptime_ns);
    if (error) {
        fg_log(FG_LOG_WARNING, "statistics are left out: %s", strerror(-error));
    } else if (to_log) {
        /* A log line is short: the totals, without the parts by port and device. */
        const char *text = (const char *)json.bytes;
        const char *ports = memmem(text, json.size, ",\"ports\":", strlen(",\"ports\":"));
        int length = ports ? (int)(ports - text) : (int)json.size;
        fg_log(FG_LOG_INFO, "statistics: %.*s}", length, text);
    } else {
        fg_publisher_tell_stats(gateway->publisher, (const char *)json.bytes, json.size);
    }
    fg_buffer_fini(&json);
}

static void log_port_stats(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->port_count; i++) {
        struct fg_port_stats stats;
        fg_port_get_stats(gateway->ports[i], &stats);
        uint64_t rejected = 0;
        for (int reason = 0; reason < FG_REASON_COUNT; reason++) {
            rejected += stats.rejected[reason];
        }
        fg_log_port(FG_LOG_INFO, fg_port_name(gateway->ports[i]), NULL,
                    "statistics: %llu links, %llu received, %llu rejected", (unsigned long long)stats.links,
                    (unsigned long long)stats.received, (unsigned long long)rejected);
    }
}

static void stats_expired(struct fg_timer *timer)
{
    struct gateway *gateway = (struct gateway *)((char *)timer - offsetof(struct gateway, stats_timer));
    render_stats(gateway, false);
    uint64_t missed = 0;
    gateway->stats_due_ns = fg_timer_next_period(
        gateway->stats_due_ns, gateway->settings->gateway.stats_interval_ns, fg_clock_now_ns(), &missed);
    fg_timer_set(timer, gateway->stats_due_ns);
}

static void stop_stats(struct fg_task *task)
{
    struct gateway *gateway = (struct gateway *)((char *)task - offsetof(struct gateway, stats_stop));
    fg_timer_stop(&gateway->stats_timer);
}

/* On the publisher's thread. */
static void on_room(void *context)
{
    struct gateway *gateway = context;
    pthread_mutex_lock(&gateway->ports_lock);
    for (size_t i = 0; i < gateway->port_count; i++) {
        fg_port_resume(gateway->ports[i]);
    }
    pthread_mutex_unlock(&gateway->ports_lock);
}

static void *drain(void *argument)
{
    struct gateway *gateway = argument;
    gateway->lost_by_stop =
        fg_publisher_stop(gateway->publisher, gateway->settings->gateway.shutdown_timeout_ns);
    fg_loop_post(&gateway->loop, &gateway->drained);
    return NULL;
}

static void on_control_closed(struct fg_task *task)
{
    struct gateway *gateway = (struct gateway *)((char *)task - offsetof(struct gateway, control_closed));
    fg_loop_stop(&gateway->loop);
}

static void control_closed(void *context)
{
    struct gateway *gateway = context;
    fg_loop_post(&gateway->loop, &gateway->control_closed);
}

static void on_drained(struct fg_task *task)
{
    struct gateway *gateway = (struct gateway *)((char *)task - offsetof(struct gateway, drained));
    if (gateway->control) {
        fg_control_close(gateway->control, control_closed, gateway);
    } else {
        fg_loop_stop(&gateway->loop);
    }
}

/* The publisher is stopped on a thread of its own, so that a second signal is still heard. */
static void on_ports_closed(struct fg_task *task)
{
    struct gateway *gateway = (struct gateway *)((char *)task - offsetof(struct gateway, ports_closed));
    gateway->state = DRAINING;
    render_stats(gateway, false); /* the last ones have all that came in */
    gateway->draining_thread = pthread_create(&gateway->drainer, NULL, drain, gateway) == 0;
    if (!gateway->draining_thread) {
        drain(gateway);
    }
}

static void port_closed(void *context)
{
    struct gateway *gateway = context;
    if (atomic_fetch_sub(&gateway->ports_open, 1) == 1) {
        fg_loop_post(&gateway->loop, &gateway->ports_closed);
    }
}

static void begin_stop(struct gateway *gateway)
{
    gateway->state = CLOSING_PORTS;
    fg_strand_post(&gateway->strand, &gateway->stats_stop);
    size_t count = gateway->port_count;
    if (count == 0) {
        fg_loop_post(&gateway->loop, &gateway->ports_closed);
    }
    for (size_t i = 0; i < count; i++) {
        fg_port_close(gateway->ports[i], port_closed, gateway);
    }
}

static void on_signal(void *context, int number)
{
    struct gateway *gateway = context;
    switch (number) {
    case SIGUSR1:
        render_stats(gateway, true);
        log_port_stats(gateway);
        break;
    case SIGHUP:
        fg_log(FG_LOG_WARNING,
               "reload is not available in this version: the configuration stays as it is; restart to "
               "change it");
        break;
    default:
        if (gateway->state == RUNNING) {
            fg_log(FG_LOG_INFO, "%s: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
            begin_stop(gateway);
        } else {
            struct fg_publisher_stats stats;
            fg_publisher_get_stats(gateway->publisher, &stats);
            fg_log(FG_LOG_WARNING, "second signal: ending at once, %llu readings not delivered",
                   (unsigned long long)stats.queued);
            _exit(1);
        }
        break;
    }
}

/* Each device is a descriptor: as many as the system grants. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static const struct fg_model_ops *find_model(const char *name)
{
    for (size_t i = 0; fg_models[i]; i++) {
        if (strcmp(fg_models[i]->name, name) == 0) {
            return fg_models[i];
        }
    }
    return NULL;
}

/* The model of that name when it can run here; else NULL and why not. */
static const struct fg_model_ops *try_model(const char *name, char *why, size_t why_size)
{
    const struct fg_model_ops *ops = find_model(name);
    if (!ops) {
        snprintf(why, why_size, "it is not built in");
        return NULL;
    }
    return ops->probe(why, why_size) == 0 ? ops : NULL;
}

/* The model that was asked for, or with "auto" the first in the order of preference that can run. NULL, the
 * reason being logged, when it cannot. */
static const struct fg_model_ops *choose_model(const char *name)
{
    static const char *const preferred[] = { "proactor", "simulated-proactor", "reactor" };
    char why[160] = "";
    if (strcmp(name, "auto") != 0) {
        const struct fg_model_ops *ops = try_model(name, why, sizeof why);
        if (!ops) {
            fg_log(FG_LOG_ERROR, "event model %s cannot run here: %s", name, why);
        }
        return ops;
    }
    char passed_over[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof preferred / sizeof preferred[0]; i++) {
        const struct fg_model_ops *ops = try_model(preferred[i], why, sizeof why);
        if (ops) {
            fg_log(FG_LOG_INFO, "event model auto: %s%s", ops->name, passed_over);
            return ops;
        }
        used += (size_t)snprintf(passed_over + used, sizeof passed_over - used, "; not %s: %s", preferred[i],
                                 why);
        used = used < sizeof passed_over ? used : sizeof passed_over - 1;
    }
    fg_log(FG_LOG_ERROR, "no event model can run here%s", passed_over);
    return NULL;
}

static int choose_names(struct gateway *gateway)
{
    const struct fg_settings *settings = gateway->settings;
    if (settings->gateway.id[0]) {
        memcpy(gateway->id, settings->gateway.id, strlen(settings->gateway.id) + 1);
    } else {
        if (gethostname(gateway->id, sizeof gateway->id) < 0 || !gateway->id[0]) {
            memcpy(gateway->id, "fieldgate", sizeof "fieldgate");
        }
        for (char *at = gateway->id; *at; at++) {
            *at = (char)(*at == '/' || *at == '+' || *at == '#' ? '_' : *at);
        }
    }
    return fg_mqtt_expand(settings->mqtt.base_topic, gateway->id, gateway->base, sizeof gateway->base);
}

static int open_ports(struct gateway *gateway)
{
    const struct fg_settings_list *list = &gateway->settings->ports;
    const struct fg_port_settings *settings = list->items;
    gateway->ports = calloc(list->count, sizeof(struct fg_port *));
    int error = gateway->ports ? 0 : -ENOMEM;
    for (size_t i = 0; i < list->count && !error; i++) {
        struct fg_port *port = NULL;
        error = fg_port_open(&gateway->loop, &settings[i], &gateway->outlets.sink, &port);
        if (!error) {
            pthread_mutex_lock(&gateway->ports_lock);
            gateway->ports[gateway->port_count++] = port;
            atomic_fetch_add(&gateway->ports_open, 1);
            pthread_mutex_unlock(&gateway->ports_lock);
        }
    }
    return error;
}

/* For the control socket. */
static void look(void *context, struct fg_control_view *view)
{
    struct gateway *gateway = context;
    pthread_mutex_lock(&gateway->ports_lock);
    *view = (struct fg_control_view){ .publisher = gateway->publisher,
                                      .ports = gateway->ports,
                                      .port_count = gateway->port_count,
                                      .queue_bytes = gateway->settings->gateway.queue_bytes,
                                      .spools = gateway->settings->spool != NULL,
                                      .stopping = gateway->state != RUNNING };
    snprintf(view->gateway, sizeof view->gateway, "%s", gateway->id);
}

static void seen(void *context)
{
    struct gateway *gateway = context;
    pthread_mutex_unlock(&gateway->ports_lock);
}

static void open_control(struct gateway *gateway)
{
    const struct fg_gateway_settings *settings = &gateway->settings->gateway;
    struct fg_control_options options = { .loop = &gateway->loop,
                                          .path = settings->control_socket,
                                          .tap = &gateway->outlets.tap,
                                          .event_model = gateway->loop.model->ops->name,
                                          .workers = (size_t)settings->workers,
                                          .started_ns = gateway->started_ns,
                                          .hooks = { .context = gateway, .look = look, .seen = seen } };
    gateway->control = fg_control_open(&options);
}

/* A worker has run out of readings for now. */
static void flush(void *publisher)
{
    fg_publisher_flush(publisher);
}

static int open_publisher(struct gateway *gateway)
{
    struct fg_publisher_options options = { .settings = &gateway->settings->mqtt,
                                            .gateway = gateway->id,
                                            .queue_bytes = gateway->settings->gateway.queue_bytes,
                                            .gathered_ns = fg_loop_set_turn(
                                                &gateway->loop, gateway->settings->mqtt.linger_ns),
                                            .spool = gateway->settings->spool,
                                            .room = on_room,
                                            .context = gateway };
    int error = fg_publisher_new(&options, &gateway->publisher);
    if (!error) {
        error = fg_publisher_start(gateway->publisher);
    }
    if (!error) {
        fg_pool_on_rest(gateway->loop.pool, flush, gateway->publisher);
        fg_outlets_init(&gateway->outlets, gateway->publisher, gateway->id, gateway->base);
    }
    return error;
}

static void start_stats(struct gateway *gateway)
{
    int64_t interval_ns = gateway->settings->gateway.stats_interval_ns;
    if (interval_ns > 0) {
        gateway->stats_due_ns = gateway->started_ns + interval_ns;
        fg_timer_set(&gateway->stats_timer, gateway->stats_due_ns);
    }
}

static void init(struct gateway *gateway, const struct fg_settings *settings)
{
    *gateway = (struct gateway){ .settings = settings, .started_ns = fg_clock_now_ns() };
    gateway->ports_closed.run = on_ports_closed;
    gateway->drained.run = on_drained;
    gateway->stats_stop.run = stop_stats;
    gateway->control_closed.run = on_control_closed;
    pthread_mutex_init(&gateway->ports_lock, NULL);
}

static void fini(struct gateway *gateway)
{
    if (gateway->draining_thread) {
        pthread_join(gateway->drainer, NULL);
    }
    fg_loop_close(&gateway->loop);
    for (size_t i = 0; i < gateway->port_count; i++) {
        fg_port_free(gateway->ports[i]);
    }
    free(gateway->ports);
    fg_control_free(gateway->control);
    fg_publisher_free(gateway->publisher);
    pthread_mutex_destroy(&gateway->ports_lock);
}

int fg_gateway_run(const struct fg_settings *settings)
{
    const struct fg_model_ops *model = choose_model(fg_event_model_names[settings->gateway.event_model]);
    if (!model) {
        return 1;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    fg_loop_block_signals(&signals);
    signal(SIGPIPE, SIG_IGN); /* the MQTT library writes to sockets without MSG_NOSIGNAL */
    raise_file_limit();

    struct gateway *gateway = malloc(sizeof *gateway);
    if (!gateway) {
        fg_log(FG_LOG_ERROR, "cannot start: no memory");
        return 1;
    }
    init(gateway, settings);
    int error = choose_names(gateway);
    if (!error) {
        error = fg_loop_open(&gateway->loop, model, (size_t)settings->gateway.workers, &signals, on_signal,
                             gateway);
    }
    if (error) {
        fg_log(FG_LOG_ERROR, "cannot start: %s", strerror(-error));
        free(gateway);
        return 1;
    }
    fg_strand_init(&gateway->strand, gateway->loop.pool);
    fg_timer_init(&gateway->stats_timer, gateway->loop.timers, &gateway->strand, stats_expired);
    error = open_publisher(gateway);
    if (!error) {
        error = open_ports(gateway);
    }
    if (error) {
        fg_log(FG_LOG_ERROR, "cannot start: %s", strerror(-error));
        _exit(1); /* threads are under way, and nothing has been accepted */
    }
    start_stats(gateway);
    open_control(gateway);
    fg_log(FG_LOG_INFO, "fieldgated %s: gateway %s, event model %s, %zu workers, %zu ports", FG_VERSION,
           gateway->id, model->name, (size_t)settings->gateway.workers, gateway->port_count);
    error = fg_loop_run(&gateway->loop);
    if (error) {
        fg_log(FG_LOG_ERROR, "the event loop failed: %s", strerror(-error));
        _exit(1);
    }
    uint64_t lost = gateway->lost_by_stop;
    fini(gateway);
    free(gateway);
    if (lost) {
        fg_log(FG_LOG_WARNING, "stopped; %llu readings were not delivered", (unsigned long long)lost);
    } else {
        fg_log(FG_LOG_INFO, "stopped");
    }
    return 0;
}
