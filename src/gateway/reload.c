#include "reload.h"

#include "fieldgate/log.h"
#include "fieldgate/map.h"
#include "notify.h"
#include "parts.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

static void begin(struct fg_reload *reload);

/* ---- the end ---- */

static void tell_waiters(struct fg_reload_waiter **waiters, bool applied, const char *outcome)
{
    struct fg_reload_waiter *waiter = *waiters;
    *waiters = NULL;
    while (waiter) {
        struct fg_reload_waiter *next = waiter->next;
        waiter->done(waiter, applied, outcome);
        waiter = next;
    }
}

/* Every reload that was begun ends here, but one that a stop has overtaken. */
static void finish(struct fg_reload *reload, bool applied, const char *outcome)
{
    reload->state = FG_RELOAD_IDLE;
    malloc_trim(0); /* a configuration and its ports came and went */
    fg_inspection_update(&reload->gateway->inspection);
    tell_waiters(&reload->served, applied, outcome);
    fg_notify_ready();
    if (reload->asked) {
        begin(reload);
    }
}

static void refuse(struct fg_reload *reload, const char *why)
{
    char outcome[FG_RELOAD_TEXT];
    snprintf(outcome, sizeof outcome, "the configuration stays as it was: %s", why);
    fg_log(FG_LOG_ERROR, "reload: the configuration stays as it was");
    finish(reload, false, outcome);
}

static void tell_applied(struct fg_reload *reload)
{
    char outcome[FG_RELOAD_TEXT];
    size_t same = reload->gateway->ports.count - reload->opened - reload->again;
    snprintf(outcome, sizeof outcome, "ports: %zu new, %zu gone, %zu changed, %zu as they were%s%s%s",
             reload->opened, reload->closed, reload->again, same,
             reload->plan.reconnects ? "; a new connection to the broker" : "",
             reload->plan.restart[0] ? "; not before a restart: " : "", reload->plan.restart);
    fg_log(FG_LOG_INFO, "reload: done; %s", outcome);
    finish(reload, true, outcome);
}

/* ---- ports ---- */

static int map_ports(struct fg_map *map, const struct fg_settings *settings)
{
    const struct fg_port_settings *ports = settings->ports.items;
    fg_map_init(map);
    int error = 0;
    for (size_t i = 0; i < settings->ports.count && !error; i++) {
        error = fg_map_add(map, ports[i].name, strlen(ports[i].name), (void *)(uintptr_t)&ports[i]);
    }
    if (error) {
        fg_map_fini(map);
    }
    return error;
}

/* Those that are gone or have changed. What they inherit stands in their own settings. */
static void close_ports(struct fg_reload *reload, const struct fg_map *wanted)
{
    struct fg_ports *ports = &reload->gateway->ports;
    for (size_t i = 0; i < ports->count; i++) {
        const struct fg_port_settings *old = fg_ports_settings(ports, i);
        const struct fg_port_settings *new = fg_map_get(wanted, old->name, strlen(old->name));
        if (!new) {
            reload->closed++;
        } else if (reload->renames || !fg_config_is_same(&fg_port_schema, old, new)) {
            reload->again++;
        } else {
            continue;
        }
        fg_ports_close(ports, i);
    }
}

/* Opens what is wanted and not there. */
static int open_missing(struct fg_ports *ports, struct fg_generation *wanted, size_t *opened)
{
    struct fg_map there;
    fg_map_init(&there);
    int error = 0;
    for (size_t i = 0; i < ports->count && !error; i++) {
        const char *name = fg_ports_settings(ports, i)->name;
        error = fg_map_add(&there, name, strlen(name), ports->opened[i]);
    }
    const struct fg_settings_list *list = &wanted->settings.ports;
    const struct fg_port_settings *settings = list->items;
    for (size_t i = 0; i < list->count && !error; i++) {
        if (!fg_map_get(&there, settings[i].name, strlen(settings[i].name))) {
            error = fg_ports_open(ports, &settings[i], wanted);
            *opened += !error;
        }
    }
    fg_map_fini(&there);
    return error;
}

static void open_ports(struct fg_reload *reload)
{
    struct fg_gateway *gateway = reload->gateway;
    size_t opened = 0;
    int error = open_missing(&gateway->ports, gateway->present, &opened);
    if (error) {
        fg_log(FG_LOG_ERROR, "reload: not all ports could be opened: %s; the next reload tries again",
               strerror(-error));
    }
    reload->again = reload->again < opened ? reload->again : opened;
    reload->opened = opened - reload->again;
}

/* ---- applying ---- */

/* On the publisher's thread. */
static void tell_changed(void *context)
{
    struct fg_reload *reload = context;
    fg_loop_post(&reload->gateway->loop, &reload->changed);
}

static void take_names(struct fg_reload *reload)
{
    struct fg_gateway *gateway = reload->gateway;
    gateway->names = reload->names; /* the outlets look at them when a device is new: none can be */
    fg_commands_rename(gateway->commands, gateway->names.base);
    open_ports(reload);
}

static void on_changed(struct fg_task *task)
{
    struct fg_reload *reload = (struct fg_reload *)((char *)task - offsetof(struct fg_reload, changed));
    struct fg_gateway *gateway = reload->gateway;
    fg_generation_unref(gateway->broker);
    gateway->broker = fg_generation_ref(gateway->present);
    if (gateway->state != FG_GATEWAY_RUNNING) {
        return;
    }
    if (reload->renames) {
        take_names(reload);
    }
    tell_applied(reload);
}

/* Nothing that is to be closed is open any more: lines and addresses are free. */
static void go_on(struct fg_reload *reload)
{
    struct fg_gateway *gateway = reload->gateway;
    if (!reload->renames) {
        open_ports(reload);
    }
    if (!reload->change) {
        tell_applied(reload);
        return;
    }
    struct fg_publisher_change *change = reload->change;
    reload->change = NULL;
    reload->state = FG_RELOAD_CHANGING;
    fg_loop_set_turn(&gateway->loop, gateway->present->settings.mqtt.linger_ns);
    fg_publisher_change(gateway->publisher, change, tell_changed, reload);
}

void fg_reload_port_closed(struct fg_reload *reload)
{
    const struct fg_gateway *gateway = reload->gateway;
    if (reload->state == FG_RELOAD_CLOSING && gateway->state == FG_GATEWAY_RUNNING &&
        gateway->ports.closing == 0) {
        go_on(reload);
    }
}

static void apply(struct fg_reload *reload, struct fg_generation *next, const struct fg_map *wanted)
{
    struct fg_gateway *gateway = reload->gateway;
    const struct fg_gateway_settings *old = &gateway->present->settings.gateway;
    const struct fg_gateway_settings *new = &next->settings.gateway;
    if (new->log_level != old->log_level) {
        fg_log_set_level((enum fg_log_level) new->log_level);
    }
    fg_reporting_set_interval(&gateway->reporting, new->stats_interval_ns);
    if (reload->plan.restart[0]) {
        fg_log(FG_LOG_WARNING, "reload: these changes need a restart: %s", reload->plan.restart);
    }
    fg_generation_unref(gateway->present);
    gateway->present = next;
    reload->opened = reload->closed = reload->again = 0;
    reload->state = FG_RELOAD_CLOSING;
    close_ports(reload, wanted);
    if (gateway->ports.closing == 0) {
        go_on(reload);
    }
}

/* ---- judging ---- */

/* Makes all that can fail. Returns 0; or a negative errno, the reason being in why or logged. */
static int prepare(struct fg_reload *reload, const struct fg_settings *next)
{
    struct fg_gateway *gateway = reload->gateway;
    int error = fg_names_choose(next, &reload->names);
    if (error) {
        fg_log(FG_LOG_ERROR, "reload: mqtt.base_topic: %s", strerror(-error));
        return error;
    }
    reload->renames = strcmp(reload->names.id, gateway->names.id) != 0 ||
                      strcmp(reload->names.base, gateway->names.base) != 0;
    fg_reload_plan_make(&reload->plan, &gateway->started->settings, &gateway->present->settings, next);
    reload->plan.reconnects |= reload->renames;
    if (!reload->plan.reconnects) {
        return 0;
    }
    struct fg_publisher_options options = fg_gateway_publisher_options(gateway, next, &reload->names);
    return fg_publisher_prepare(gateway->publisher, &options, &reload->change);
}

static void on_judge(struct fg_task *task)
{
    struct fg_reload *reload = (struct fg_reload *)((char *)task - offsetof(struct fg_reload, judge));
    struct fg_gateway *gateway = reload->gateway;
    struct fg_config *config = reload->config;
    reload->config = NULL;
    if (gateway->state != FG_GATEWAY_RUNNING) {
        fg_config_free(config);
        return;
    }
    if (reload->error) {
        refuse(reload, reload->problem[0] ? reload->problem : strerror(-reload->error));
        return;
    }
    struct fg_generation *next = fg_generation_new(config, gateway->options);
    struct fg_map wanted;
    int error = next ? map_ports(&wanted, &next->settings) : -ENOMEM;
    if (error) {
        fg_generation_unref(next);
        refuse(reload, strerror(-error));
        return;
    }
    error = prepare(reload, &next->settings);
    if (error) {
        fg_generation_unref(next);
        refuse(reload, "see the log");
    } else {
        apply(reload, next, &wanted);
    }
    fg_map_fini(&wanted);
}

/* ---- reading ---- */

static void note_problem(void *context, const char *problem)
{
    struct fg_reload *reload = context;
    const struct fg_gateway_options *options = reload->gateway->options;
    if (!reload->problem[0]) {
        snprintf(reload->problem, sizeof reload->problem, "%s", problem);
    }
    options->problem(options->context, problem);
}

/* On a worker: the disk may take its time. */
static void on_read(struct fg_task *task)
{
    struct fg_reload *reload = (struct fg_reload *)((char *)task - offsetof(struct fg_reload, read));
    struct fg_gateway *gateway = reload->gateway;
    fg_pool_may_block(gateway->loop.pool);
    reload->config = NULL;
    reload->problem[0] = '\0';
    reload->error =
        fg_config_read(gateway->options->file, &fg_settings_schema, note_problem, reload, &reload->config);
    fg_loop_post(&gateway->loop, &reload->judge);
}

static void begin(struct fg_reload *reload)
{
    reload->asked = false;
    reload->served = reload->askers;
    reload->askers = NULL;
    reload->state = FG_RELOAD_READING;
    fg_notify_reloading();
    fg_log(FG_LOG_INFO, "reload: reading %s", reload->gateway->options->file);
    fg_strand_post(&reload->strand, &reload->read);
}

void fg_reload_request(struct fg_reload *reload, struct fg_reload_waiter *waiter)
{
    if (reload->gateway->state != FG_GATEWAY_RUNNING) {
        if (waiter) {
            waiter->next = NULL;
            tell_waiters(&waiter, false, "the gateway is stopping");
        }
        return;
    }
    if (waiter) {
        waiter->next = reload->askers;
        reload->askers = waiter;
    }
    reload->asked = true;
    if (reload->state == FG_RELOAD_IDLE) {
        begin(reload);
    }
}

void fg_reload_stop(struct fg_reload *reload)
{
    reload->asked = false;
    tell_waiters(&reload->served, false, "the gateway is stopping");
    tell_waiters(&reload->askers, false, "the gateway is stopping");
}

void fg_reload_init(struct fg_reload *reload, struct fg_gateway *gateway)
{
    *reload = (struct fg_reload){ .gateway = gateway };
    reload->read.run = on_read;
    reload->judge.run = on_judge;
    reload->changed.run = on_changed;
    fg_strand_init(&reload->strand, gateway->loop.pool);
}

void fg_reload_fini(struct fg_reload *reload)
{
    fg_config_free(reload->config);
    fg_publisher_change_free(reload->change);
}
