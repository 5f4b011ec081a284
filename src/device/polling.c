#include "polling.h"

#include "fieldgate/transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct fg_device_settings *listed(const struct fg_port_settings *port, size_t device)
{
    const struct fg_device_settings *devices = port->devices.items;
    return &devices[device];
}

size_t fg_polling_count(const struct fg_port_settings *port)
{
    return port->devices.count > 0 ? port->devices.count : 1;
}

const char *fg_polling_name(const struct fg_port_settings *port, size_t device)
{
    return port->devices.count > 0 ? listed(port, device)->name : port->name;
}

const struct fg_device_defaults *fg_polling_device(const struct fg_port_settings *port, size_t device)
{
    return port->devices.count > 0 ? &listed(port, device)->defaults : &port->defaults;
}

/* ---- from settings to the protocol's own ---- */

static int init_device(struct fg_modbus_poll_device *made, const struct fg_device_defaults *device)
{
    const struct fg_modbus_device_settings *settings = &device->modbus;
    const struct fg_point_settings *points = device->points.items;
    struct fg_modbus_point *ready = calloc(device->points.count, sizeof *ready);
    *made = (struct fg_modbus_poll_device){ .unit = (uint8_t)settings->unit,
                                            .poll_interval_ns = settings->poll_interval_ns,
                                            .timeout_ns = settings->timeout_ns,
                                            .retries = (int)settings->retries,
                                            .max_gap = (uint16_t)settings->max_gap,
                                            .points = ready,
                                            .count = device->points.count };
    if (!ready) {
        return -ENOMEM;
    }
    int error = 0;
    for (size_t i = 0; i < device->points.count && !error; i++) {
        error = fg_modbus_point_init(&ready[i], &points[i].modbus);
    }
    return error;
}

int fg_polling_init(struct fg_polling *polling, const struct fg_port_settings *port)
{
    *polling = (struct fg_polling){ .settings.mode = FG_MODBUS_TCP };
    if (port->protocol.variant == &fg_protocol_modbus_rtu) {
        const struct fg_modbus_rtu_settings *rtu = port->protocol.settings;
        polling->settings.mode = FG_MODBUS_RTU;
        polling->settings.gap_ns = rtu->gap_ns;
    } else {
        const struct fg_modbus_tcp_settings *tcp = port->protocol.settings;
        polling->settings.pipeline = (size_t)tcp->pipeline;
    }
    int64_t baud = 0;
    const char *format = NULL;
    if (fg_transport_serial_line(&port->transport, &baud, &format)) {
        int error = fg_modbus_line_init(&polling->line, baud, format);
        if (error) {
            return error;
        }
        polling->settings.line = &polling->line;
    }
    size_t count = fg_polling_count(port);
    polling->devices = calloc(count, sizeof *polling->devices);
    if (!polling->devices) {
        return -ENOMEM;
    }
    int error = 0;
    for (size_t i = 0; i < count && !error; i++) {
        error = init_device(&polling->devices[i], fg_polling_device(port, i));
        polling->count = i + 1;
    }
    return error;
}

void fg_polling_fini(struct fg_polling *polling)
{
    for (size_t i = 0; i < polling->count; i++) {
        free((void *)(uintptr_t)polling->devices[i].points);
    }
    free(polling->devices);
}

int fg_port_get_budget(const struct fg_port_settings *port, struct fg_port_budget *budget)
{
    struct fg_polling polling;
    struct fg_modbus_poll *poll = NULL;
    int error = fg_polling_init(&polling, port);
    if (!error) {
        error = fg_modbus_poll_new(&polling.settings, polling.devices, polling.count, NULL, NULL, &poll);
    }
    if (!error) {
        struct fg_modbus_budget made;
        fg_modbus_poll_budget(poll, &made);
        budget->percent = made.percent;
        budget->measured = polling.settings.line != NULL;
        fg_modbus_budget_print(&made, budget->text, sizeof budget->text);
    }
    fg_modbus_poll_free(poll);
    fg_polling_fini(&polling);
    return error;
}

/* ---- what cannot work ---- */

static void check_way(struct fg_check *check, const struct fg_port_settings *port)
{
    const char *protocol = port->protocol.variant->name;
    const char *transport = port->transport.variant->name;
    bool client = strcmp(transport, "tcp-client") == 0;
    if (port->framing.variant || port->decoder.variant) {
        fg_check_problem(check, port->framing.variant ? "framing" : "decoder",
                         "has no place beside protocol, which says itself what the bytes mean; take it out");
    }
    if (strcmp(port->identity, "port") != 0) {
        fg_check_problem(check, "identity",
                         "\"%s\" is for devices that send of themselves; with a protocol unit says it, take "
                         "identity out",
                         port->identity);
    }
    if (port->protocol.variant == &fg_protocol_modbus_tcp && !client) {
        fg_check_problem(check, "protocol.type",
                         "\"%s\" asks over a connection that it makes; on \"%s\" write \"modbus-rtu\", or "
                         "take the transport \"tcp-client\"",
                         protocol, transport);
    } else if (fg_transport_is_datagram(&port->transport)) {
        fg_check_problem(check, "protocol.type",
                         "\"%s\" needs a stream, and this transport has datagrams; take \"serial\" or "
                         "\"tcp-client\"",
                         protocol);
    }
}

static void check_points(struct fg_check *check, const char *where, const struct fg_settings_list *list)
{
    const struct fg_point_settings *points = list->items;
    char path[80];
    for (size_t i = 0; i < list->count; i++) {
        snprintf(path, sizeof path, "%spoints[%zu].", where, i);
        fg_modbus_point_check(check, path, &points[i].modbus);
    }
}

static void check_device(struct fg_check *check, const char *where, enum fg_modbus_mode mode,
                         const struct fg_device_defaults *device)
{
    char path[80];
    fg_modbus_device_check(check, where, mode, &device->modbus);
    if (device->points.count == 0) {
        snprintf(path, sizeof path, "%spoints", where);
        fg_check_problem(check, path,
                         "is missing: there is nothing to ask for; write, for example, points = ( "
                         "{ name = \"voltage\"; address = 0; } );");
    }
    if (device->payload == FG_PAYLOAD_CHOICE_RAW) {
        snprintf(path, sizeof path, "%spayload", where);
        fg_check_problem(check, path,
                         "\"raw\" is for frames, and what is asked for has none; write \"json\" or "
                         "\"points\"");
    }
    if (device->time_key[0]) {
        snprintf(path, sizeof path, "%stime_key", where);
        fg_check_problem(check, path, "is for decoded frames; take it out");
    }
    if (device->reply) {
        snprintf(path, sizeof path, "%sreply", where);
        fg_check_problem(check, path, "is for devices without a protocol: others always answer; take it out");
    }
    if (!device->writable) {
        snprintf(path, sizeof path, "%swritable", where);
        fg_check_problem(check, path,
                         "is said by each point where there is a protocol, and is false by default; take it "
                         "out");
    }
}

static void check_polled(struct fg_check *check, const struct fg_port_settings *port)
{
    bool tcp = port->protocol.variant == &fg_protocol_modbus_tcp;
    enum fg_modbus_mode mode = tcp ? FG_MODBUS_TCP : FG_MODBUS_RTU;
    char where[32] = "";
    check_way(check, port);
    check_points(check, "", &port->defaults.points);
    for (size_t i = 0; i < fg_polling_count(port); i++) {
        const struct fg_device_defaults *device = fg_polling_device(port, i);
        if (port->devices.count > 0) {
            snprintf(where, sizeof where, "devices[%zu].", i);
        }
        check_device(check, where, mode, device);
        if (device->points.items != port->defaults.points.items) {
            check_points(check, where, &device->points);
        }
    }
}

/* ---- without a protocol ---- */

/* Tells of each key of the table that stands there: a protocol was forgotten, or nobody reads it. */
static void check_keys(struct fg_check *check, const char *where, const struct fg_schema *schema,
                       const char *common)
{
    char path[96];
    for (const struct fg_setting *row = schema->settings; row->key; row++) {
        snprintf(path, sizeof path, "%s%s", where, row->key);
        if (strcmp(row->key, common) != 0 && fg_check_says(check, path)) {
            fg_check_problem(check, path,
                             "is for ports with a protocol; take it out, or write protocol: { type = "
                             "\"modbus-rtu\"; };");
        }
    }
}

/* where is "" for the port, else as in "devices[3]." */
static void check_unpolled(struct fg_check *check, const struct fg_port_settings *port, const char *where,
                           const struct fg_device_defaults *device)
{
    char path[80];
    check_keys(check, where, &fg_modbus_device_schema, "timeout");
    snprintf(path, sizeof path, "%spoints", where);
    if (device->points.count > 0 && fg_check_says(check, path)) {
        for (size_t i = 0; i < device->points.count; i++) {
            snprintf(path, sizeof path, "%spoints[%zu].", where, i);
            check_keys(check, path, &fg_modbus_point_schema, "unit");
        }
    }
    snprintf(path, sizeof path, "%sreply", where);
    if (device->reply && !device->writable) {
        fg_check_problem(check, path, "is about commands, and writable = false forbids them; take one out");
    } else if (device->reply && !fg_transport_can_send(&port->transport)) {
        fg_check_problem(check, path, "is about commands, and this transport has no way back; take it out");
    }
}

void fg_polling_check(struct fg_check *check, const struct fg_port_settings *port)
{
    if (fg_port_is_polled(port)) {
        check_polled(check, port);
        return;
    }
    check_unpolled(check, port, "", &port->defaults);
    for (size_t i = 0; i < port->devices.count; i++) {
        char where[32];
        snprintf(where, sizeof where, "devices[%zu].", i);
        check_unpolled(check, port, where, &listed(port, i)->defaults);
    }
}
