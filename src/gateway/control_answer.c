/* What the answers on the control socket say. docs/control.md describes them. */
#include "control_parts.h"
#include "stats.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* {"protocol":1,"ok":… */
static struct fg_json_writer begin(struct fg_buffer *out, bool ok)
{
    struct fg_json_writer writer = { .out = out, .first = true };
    fg_json_open(&writer, NULL);
    fg_json_number(&writer, "protocol", FG_CONTROL_PROTOCOL);
    fg_json_boolean(&writer, "ok", ok);
    return writer;
}

static int end(struct fg_json_writer *writer)
{
    fg_json_close(writer);
    fg_json_put(writer, "\n");
    return writer->error;
}

int fg_control_answer_error(struct fg_buffer *out, const char *why)
{
    struct fg_json_writer writer = begin(out, false);
    fg_json_text(&writer, "error", why);
    return end(&writer);
}

int fg_control_answer_reload(struct fg_buffer *out, bool applied, const char *outcome)
{
    if (!applied) {
        return fg_control_answer_error(out, outcome);
    }
    struct fg_json_writer writer = begin(out, true);
    fg_json_text(&writer, "outcome", outcome);
    return end(&writer);
}

static const char *level_name(void)
{
    int level = FG_LOG_DEBUG;
    while (level > FG_LOG_ERROR && !fg_log_enabled((enum fg_log_level)level)) {
        level--;
    }
    return fg_log_level_names[level];
}

int fg_control_answer_level(struct fg_buffer *out)
{
    struct fg_json_writer writer = begin(out, true);
    fg_json_text(&writer, "log_level", level_name());
    return end(&writer);
}

/* ---- devices ---- */

struct devices {
    struct fg_json_writer *writer;
    int64_t now_ns;
    uint64_t count, available;
};

static void put_reading_age(struct devices *devices, const struct fg_origin *origin)
{
    int64_t taken_ns = atomic_load_explicit(&origin->taken_ns, memory_order_relaxed);
    if (taken_ns != 0) {
        fg_json_seconds(devices->writer, "last_reading_s", devices->now_ns - taken_ns);
    } else {
        fg_json_key(devices->writer, "last_reading_s");
        fg_json_put(devices->writer, "null");
    }
}

static void put_device(struct fg_origin *origin, void *context)
{
    struct devices *devices = context;
    struct fg_json_writer *writer = devices->writer;
    struct fg_sums sums = { 0 };
    fg_sums_add(origin, &sums);
    fg_json_open(writer, NULL);
    fg_json_text(writer, "name", origin->device);
    fg_json_text(writer, "port", origin->port);
    fg_json_boolean(writer, "online", atomic_load_explicit(&origin->available, memory_order_relaxed));
    put_reading_age(devices, origin);
    fg_json_number(writer, "received", sums.received);
    fg_json_reasons(writer, sums.rejected);
    fg_sums_put(writer, &sums);
    fg_json_close(writer);
}

static void put_devices(struct fg_json_writer *writer, const struct fg_control_view *view)
{
    struct devices devices = { .writer = writer, .now_ns = fg_clock_now_ns() };
    fg_json_open_array(writer, "devices");
    for (size_t i = 0; i < view->port_count; i++) {
        fg_port_each_device(view->ports[i], put_device, &devices);
    }
    fg_json_close_array(writer);
}

int fg_control_answer_devices(struct fg_buffer *out, struct fg_control *control)
{
    const struct fg_control_hooks *hooks = &control->options.hooks;
    struct fg_control_view view = { 0 };
    struct fg_json_writer writer = begin(out, true);
    hooks->look(hooks->context, &view);
    put_devices(&writer, &view);
    hooks->seen(hooks->context);
    return end(&writer);
}

/* ---- status ---- */

static void count_device(struct fg_origin *origin, void *context)
{
    struct devices *devices = context;
    devices->count++;
    devices->available += atomic_load_explicit(&origin->available, memory_order_relaxed);
}

static const char *state_name(const struct fg_port_state *state)
{
    if (state->closed) {
        return "closed";
    }
    if (state->endpoint.up) {
        return "up";
    }
    return state->endpoint.trouble[0] ? "down" : "opening";
}

static void put_port(struct fg_json_writer *writer, struct fg_port *port)
{
    struct fg_port_stats stats;
    struct fg_port_state state;
    struct devices devices = { .count = 0 };
    fg_port_get_stats(port, &stats);
    fg_port_get_state(port, &state);
    fg_port_each_device(port, count_device, &devices);
    fg_json_open(writer, NULL);
    fg_json_text(writer, "name", fg_port_name(port));
    fg_json_text(writer, "transport", state.transport);
    fg_json_text(writer, "state", state_name(&state));
    fg_json_text(writer, "problem", state.endpoint.trouble);
    fg_json_number(writer, "links", stats.links);
    fg_json_number(writer, "devices", devices.count);
    fg_json_number(writer, "online", devices.available);
    fg_json_number(writer, "received", stats.received);
    fg_json_reasons(writer, stats.rejected);
    fg_json_close(writer);
}

static void put_broker(struct fg_json_writer *writer, const struct fg_control_view *view)
{
    struct fg_publisher_stats stats;
    struct fg_broker_state broker;
    fg_publisher_get_stats(view->publisher, &stats);
    fg_publisher_get_broker(view->publisher, &broker);
    fg_json_number(writer, "published", stats.published);
    fg_json_number(writer, "acknowledged", stats.acknowledged);
    fg_json_losses(writer, stats.lost);
    fg_json_open(writer, "broker");
    fg_json_text(writer, "address", broker.address);
    fg_json_boolean(writer, "connected", broker.connected);
    fg_json_seconds(writer, "since_s", fg_clock_now_ns() - broker.since_ns);
    fg_json_text(writer, "reason", broker.reason);
    fg_json_number(writer, "reconnects", stats.reconnects);
    fg_json_close(writer);
    fg_json_open(writer, "outbox");
    fg_json_number(writer, "messages", stats.queued);
    fg_json_number(writer, "bytes", stats.queued_bytes);
    fg_json_number(writer, "limit_bytes", (uint64_t)view->queue_bytes);
    fg_json_close(writer);
    if (view->spools) {
        fg_json_open(writer, "spool");
        fg_json_number(writer, "messages", stats.spooled);
        fg_json_number(writer, "bytes", stats.disk_bytes);
        fg_json_close(writer);
    } else {
        fg_json_key(writer, "spool");
        fg_json_put(writer, "null");
    }
}

static void put_view(struct fg_json_writer *writer, const struct fg_control_view *view)
{
    uint64_t received = 0;
    for (size_t i = 0; i < view->port_count; i++) {
        struct fg_port_stats stats;
        fg_port_get_stats(view->ports[i], &stats);
        received += stats.received;
    }
    fg_json_text(writer, "gateway", view->gateway);
    fg_json_text(writer, "state", view->stopping ? "stopping" : "running");
    fg_json_number(writer, "received", received);
    put_broker(writer, view);
    fg_json_open_array(writer, "ports");
    for (size_t i = 0; i < view->port_count; i++) {
        put_port(writer, view->ports[i]);
    }
    fg_json_close_array(writer);
    put_devices(writer, view);
}

int fg_control_answer_status(struct fg_buffer *out, struct fg_control *control)
{
    const struct fg_control_options *options = &control->options;
    struct fg_control_view view = { 0 };
    struct fg_json_writer writer = begin(out, true);
    fg_json_text(&writer, "version", FG_VERSION);
    fg_json_number(&writer, "pid", (uint64_t)getpid());
    fg_json_seconds(&writer, "uptime_s", fg_clock_now_ns() - options->started_ns);
    fg_json_text(&writer, "event_model", options->event_model);
    fg_json_number(&writer, "workers", options->workers);
    fg_json_text(&writer, "log_level", level_name());
    options->hooks.look(options->hooks.context, &view);
    put_view(&writer, &view);
    options->hooks.seen(options->hooks.context);
    return end(&writer);
}

/* ---- the others ---- */

int fg_control_answer_stats(struct fg_buffer *out, struct fg_control *control)
{
    const struct fg_control_options *options = &control->options;
    struct fg_control_view view = { 0 };
    struct fg_buffer json;
    fg_buffer_init(&json, FG_CONTROL_ANSWER_BYTES);
    options->hooks.look(options->hooks.context, &view);
    int error = fg_stats_render(&json, view.publisher, view.commands, view.ports, view.port_count,
                                fg_clock_now_ns() - options->started_ns);
    options->hooks.seen(options->hooks.context);
    if (!error) {
        struct fg_json_writer writer = begin(out, true);
        fg_json_put(&writer, ",");
        error = writer.error ? writer.error : fg_buffer_append(out, json.bytes + 1, json.size - 1);
    }
    if (!error) {
        error = fg_buffer_append(out, "\n", 1);
    }
    fg_buffer_fini(&json);
    return error;
}

struct search {
    const char *device;
    bool found;
};

static void compare(struct fg_origin *origin, void *context)
{
    struct search *search = context;
    search->found = search->found || strcmp(origin->device, search->device) == 0;
}

int fg_control_answer_watch(struct fg_buffer *out, struct fg_control *control, const char *device)
{
    const struct fg_control_hooks *hooks = &control->options.hooks;
    struct search search = { .device = device, .found = !device[0] };
    struct fg_control_view view = { 0 };
    if (device[0]) {
        hooks->look(hooks->context, &view);
        for (size_t i = 0; i < view.port_count; i++) {
            fg_port_each_device(view.ports[i], compare, &search);
        }
        hooks->seen(hooks->context);
    }
    struct fg_json_writer writer = begin(out, true);
    fg_json_text(&writer, "watching", device);
    fg_json_boolean(&writer, "known", search.found);
    return end(&writer);
}
