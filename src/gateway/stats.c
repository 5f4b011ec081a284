#include "stats.h"

#include "fieldgate/clock.h"
#include "fieldgate/text.h"

#include <string.h>

/* Writes members of JSON objects; the first error stays. */
struct writer {
    struct fg_buffer *out;
    bool first;
    int error;
};

static void put(struct writer *writer, const char *text)
{
    if (!writer->error) {
        writer->error = fg_buffer_append(writer->out, text, strlen(text));
    }
}

static void key(struct writer *writer, const char *name)
{
    if (!writer->first) {
        put(writer, ",");
    }
    writer->first = false;
    if (!writer->error) {
        writer->error = fg_json_put_text(writer->out, name, strlen(name));
    }
    put(writer, ":");
}

static void number(struct writer *writer, const char *name, uint64_t value)
{
    key(writer, name);
    if (!writer->error) {
        writer->error = fg_buffer_printf(writer->out, "%llu", (unsigned long long)value);
    }
}

static void open_object(struct writer *writer, const char *name)
{
    if (name) {
        key(writer, name);
    }
    put(writer, "{");
    writer->first = true;
}

static void close_object(struct writer *writer)
{
    put(writer, "}");
    writer->first = false;
}

static void put_reasons(struct writer *writer, const uint64_t counts[FG_REASON_COUNT])
{
    open_object(writer, "rejected");
    for (int i = FG_REASON_NONE + 1; i < FG_REASON_COUNT; i++) {
        if (counts[i]) {
            number(writer, fg_reason_name((enum fg_reason)i), counts[i]);
        }
    }
    close_object(writer);
}

static void put_losses(struct writer *writer, const uint64_t counts[FG_LOSS_COUNT])
{
    open_object(writer, "lost");
    for (int i = FG_LOSS_NONE + 1; i < FG_LOSS_COUNT; i++) {
        if (counts[i]) {
            number(writer, fg_loss_name((enum fg_loss)i), counts[i]);
        }
    }
    close_object(writer);
}

/* What the devices of a port add up to, gathered while they are written. */
struct devices {
    struct writer *writer;
    bool write;
    uint64_t published, acknowledged, suppressed, count;
    uint64_t lost[FG_LOSS_COUNT];
};

static void visit(struct fg_origin *origin, void *context)
{
    struct devices *devices = context;
    uint64_t rejected[FG_REASON_COUNT];
    uint64_t lost[FG_LOSS_COUNT];
    for (int i = 0; i < FG_REASON_COUNT; i++) {
        rejected[i] = fg_counted(&origin->rejected[i]);
    }
    for (int i = 0; i < FG_LOSS_COUNT; i++) {
        lost[i] = fg_counted(&origin->lost[i]);
        devices->lost[i] += lost[i];
    }
    devices->count++;
    devices->published += fg_counted(&origin->published);
    devices->acknowledged += fg_counted(&origin->acknowledged);
    devices->suppressed += fg_counted(&origin->suppressed);
    if (!devices->write) {
        return;
    }
    struct writer *writer = devices->writer;
    open_object(writer, origin->device);
    key(writer, "port");
    if (!writer->error) {
        writer->error = fg_json_put_text(writer->out, origin->port, strlen(origin->port));
    }
    number(writer, "received", fg_counted(&origin->received));
    put_reasons(writer, rejected);
    number(writer, "suppressed", fg_counted(&origin->suppressed));
    number(writer, "published", fg_counted(&origin->published));
    number(writer, "acknowledged", fg_counted(&origin->acknowledged));
    put_losses(writer, lost);
    close_object(writer);
}

static void put_ports(struct writer *writer, struct fg_port *const *ports, size_t port_count)
{
    open_object(writer, "ports");
    for (size_t i = 0; i < port_count; i++) {
        struct fg_port_stats stats;
        fg_port_get_stats(ports[i], &stats);
        struct devices devices = { .writer = writer };
        fg_port_each_device(ports[i], visit, &devices);
        open_object(writer, fg_port_name(ports[i]));
        number(writer, "links", stats.links);
        number(writer, "devices", devices.count);
        number(writer, "received", stats.received);
        put_reasons(writer, stats.rejected);
        number(writer, "suppressed", devices.suppressed);
        number(writer, "published", devices.published);
        number(writer, "acknowledged", devices.acknowledged);
        put_losses(writer, devices.lost);
        close_object(writer);
    }
    close_object(writer);
    open_object(writer, "devices");
    for (size_t i = 0; i < port_count; i++) {
        struct devices devices = { .writer = writer, .write = true };
        fg_port_each_device(ports[i], visit, &devices);
    }
    close_object(writer);
}

int fg_stats_render(struct fg_buffer *json, struct fg_publisher *publisher, struct fg_port *const *ports,
                    size_t port_count, int64_t uptime_ns)
{
    struct writer writer = { .out = json };
    struct fg_publisher_stats broker;
    fg_publisher_get_stats(publisher, &broker);
    uint64_t received = 0;
    uint64_t rejected[FG_REASON_COUNT] = { 0 };
    for (size_t i = 0; i < port_count; i++) {
        struct fg_port_stats stats;
        fg_port_get_stats(ports[i], &stats);
        received += stats.received;
        for (int reason = 0; reason < FG_REASON_COUNT; reason++) {
            rejected[reason] += stats.rejected[reason];
        }
    }
    open_object(&writer, NULL);
    number(&writer, "uptime_s", (uint64_t)(uptime_ns / FG_NS_PER_S));
    key(&writer, "connected");
    put(&writer, broker.connected ? "true" : "false");
    number(&writer, "received", received);
    put_reasons(&writer, rejected);
    number(&writer, "published", broker.published);
    number(&writer, "acknowledged", broker.acknowledged);
    number(&writer, "queued", broker.queued);
    number(&writer, "queued_bytes", broker.queued_bytes);
    number(&writer, "spooled", 0);
    put_losses(&writer, broker.lost);
    number(&writer, "reconnects", broker.reconnects);
    number(&writer, "disk_bytes", 0);
    put_ports(&writer, ports, port_count);
    close_object(&writer);
    return writer.error;
}
