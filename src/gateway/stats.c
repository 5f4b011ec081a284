#include "stats.h"

#include "fieldgate/clock.h"
#include "fieldgate/map.h"
#include "fieldgate/text.h"

#include <errno.h>
#include <stdlib.h>
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

/* What some devices add up to. */
struct sums {
    uint64_t received, published, acknowledged, suppressed, count;
    uint64_t polled, polls, timeouts, exceptions, missed; /* polled: devices that are asked */
    uint64_t rejected[FG_REASON_COUNT];
    uint64_t lost[FG_LOSS_COUNT];
};

static void add(struct fg_origin *origin, void *context)
{
    struct sums *sums = context;
    sums->count++;
    sums->received += fg_counted(&origin->received);
    sums->published += fg_counted(&origin->published);
    sums->acknowledged += fg_counted(&origin->acknowledged);
    sums->suppressed += fg_counted(&origin->suppressed);
    sums->polled += origin->polled;
    sums->polls += fg_counted(&origin->polls);
    sums->timeouts += fg_counted(&origin->timeouts);
    sums->exceptions += fg_counted(&origin->exceptions);
    sums->missed += fg_counted(&origin->missed);
    for (int i = 0; i < FG_REASON_COUNT; i++) {
        sums->rejected[i] += fg_counted(&origin->rejected[i]);
    }
    for (int i = 0; i < FG_LOSS_COUNT; i++) {
        sums->lost[i] += fg_counted(&origin->lost[i]);
    }
}

/* Only of devices that are asked. */
static void put_polls(struct writer *writer, const struct sums *sums)
{
    if (sums->polled > 0) {
        number(writer, "polls", sums->polls);
        number(writer, "timeouts", sums->timeouts);
        number(writer, "exceptions", sums->exceptions);
        number(writer, "missed", sums->missed);
    }
}

/*
 * Devices by their name in topics. Two can have one name: on two ports, or where identities differ only in
 * characters that no topic takes. They are told as one, for an object has each key once.
 */
struct named {
    struct named *next; /* of the same name */
    struct fg_origin *origin;
};

struct names {
    struct writer *writer;
    struct fg_map map; /* struct named, the first of each name */
};

static void collect(struct fg_origin *origin, void *context)
{
    struct names *names = context;
    size_t length = strlen(origin->device);
    struct named *named = calloc(1, sizeof *named);
    struct named *first = fg_map_get(&names->map, origin->device, length);
    if (!named || (!first && fg_map_add(&names->map, origin->device, length, named))) {
        free(named);
        names->writer->error = -ENOMEM;
        return;
    }
    named->origin = origin;
    if (first) {
        named->next = first->next;
        first->next = named;
    }
}

/* Writes the devices of one name, and frees the list of them. */
static void put_device(void *value, void *context)
{
    struct writer *writer = ((struct names *)context)->writer;
    const struct fg_origin *first = ((struct named *)value)->origin;
    struct sums sums = { 0 };
    for (struct named *named = value, *next; named; named = next) {
        add(named->origin, &sums);
        next = named->next;
        free(named);
    }
    open_object(writer, first->device);
    key(writer, "port");
    if (!writer->error) {
        writer->error = fg_json_put_text(writer->out, first->port, strlen(first->port));
    }
    number(writer, "received", sums.received);
    put_reasons(writer, sums.rejected);
    put_polls(writer, &sums);
    number(writer, "suppressed", sums.suppressed);
    number(writer, "published", sums.published);
    number(writer, "acknowledged", sums.acknowledged);
    put_losses(writer, sums.lost);
    close_object(writer);
}

static void put_devices(struct writer *writer, struct fg_port *const *ports, size_t port_count)
{
    struct names names = { .writer = writer };
    fg_map_init(&names.map);
    for (size_t i = 0; i < port_count; i++) {
        fg_port_each_device(ports[i], collect, &names);
    }
    open_object(writer, "devices");
    fg_map_each(&names.map, put_device, &names);
    close_object(writer);
    fg_map_fini(&names.map);
}

static void put_ports(struct writer *writer, struct fg_port *const *ports, size_t port_count)
{
    open_object(writer, "ports");
    for (size_t i = 0; i < port_count; i++) {
        struct fg_port_stats stats;
        struct sums sums = { 0 };
        fg_port_get_stats(ports[i], &stats);
        fg_port_each_device(ports[i], add, &sums);
        open_object(writer, fg_port_name(ports[i]));
        number(writer, "links", stats.links);
        number(writer, "devices", sums.count);
        number(writer, "received", stats.received);
        put_reasons(writer, stats.rejected);
        put_polls(writer, &sums);
        number(writer, "suppressed", sums.suppressed);
        number(writer, "published", sums.published);
        number(writer, "acknowledged", sums.acknowledged);
        put_losses(writer, sums.lost);
        close_object(writer);
    }
    close_object(writer);
}

static void put_commands(struct writer *writer, const struct fg_commands *commands,
                         const struct fg_publisher_stats *broker)
{
    struct fg_command_counts counts;
    fg_commands_get_counts(commands, &counts);
    number(writer, "commands", counts.received);
    number(writer, "commands_repeated", counts.repeated);
    open_object(writer, "commands_rejected");
    for (int i = 0; i < FG_OUTCOME_COUNT; i++) {
        if (counts.rejected[i]) {
            number(writer, fg_outcome_name((enum fg_outcome)i), counts.rejected[i]);
        }
    }
    if (broker->arrivals_retained) {
        number(writer, "retained", broker->arrivals_retained);
    }
    if (broker->arrivals_overrun) {
        number(writer, "overrun", broker->arrivals_overrun);
    }
    close_object(writer);
    number(writer, "results_dropped", broker->answers_dropped);
}

int fg_stats_render(struct fg_buffer *json, struct fg_publisher *publisher,
                    const struct fg_commands *commands, struct fg_port *const *ports, size_t port_count,
                    int64_t uptime_ns)
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
    number(&writer, "spooled", broker.spooled);
    put_losses(&writer, broker.lost);
    number(&writer, "reconnects", broker.reconnects);
    number(&writer, "disk_bytes", broker.disk_bytes);
    number(&writer, "disk_written_bytes", broker.disk_written_bytes);
    put_commands(&writer, commands, &broker);
    put_ports(&writer, ports, port_count);
    put_devices(&writer, ports, port_count);
    close_object(&writer);
    return writer.error;
}
