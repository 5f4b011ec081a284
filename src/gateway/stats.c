#include "stats.h"

#include "fieldgate/clock.h"
#include "fieldgate/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void fg_sums_add(struct fg_origin *origin, void *context)
{
    struct fg_sums *sums = context;
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

void fg_sums_put(struct fg_json_writer *writer, const struct fg_sums *sums)
{
    if (sums->polled > 0) {
        fg_json_number(writer, "polls", sums->polls);
        fg_json_number(writer, "timeouts", sums->timeouts);
        fg_json_number(writer, "exceptions", sums->exceptions);
        fg_json_number(writer, "missed", sums->missed);
    }
    fg_json_number(writer, "suppressed", sums->suppressed);
    fg_json_number(writer, "published", sums->published);
    fg_json_number(writer, "acknowledged", sums->acknowledged);
    fg_json_losses(writer, sums->lost);
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
    struct fg_json_writer *writer;
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
    struct fg_json_writer *writer = ((struct names *)context)->writer;
    const struct fg_origin *first = ((struct named *)value)->origin;
    struct fg_sums sums = { 0 };
    for (struct named *named = value, *next; named; named = next) {
        fg_sums_add(named->origin, &sums);
        next = named->next;
        free(named);
    }
    fg_json_open(writer, first->device);
    fg_json_text(writer, "port", first->port);
    fg_json_number(writer, "received", sums.received);
    fg_json_reasons(writer, sums.rejected);
    fg_sums_put(writer, &sums);
    fg_json_close(writer);
}

static void put_devices(struct fg_json_writer *writer, struct fg_port *const *ports, size_t port_count)
{
    struct names names = { .writer = writer };
    fg_map_init(&names.map);
    for (size_t i = 0; i < port_count; i++) {
        fg_port_each_device(ports[i], collect, &names);
    }
    fg_json_open(writer, "devices");
    fg_map_each(&names.map, put_device, &names);
    fg_json_close(writer);
    fg_map_fini(&names.map);
}

static void put_ports(struct fg_json_writer *writer, struct fg_port *const *ports, size_t port_count)
{
    fg_json_open(writer, "ports");
    for (size_t i = 0; i < port_count; i++) {
        struct fg_port_stats stats;
        struct fg_sums sums = { 0 };
        fg_port_get_stats(ports[i], &stats);
        fg_port_each_device(ports[i], fg_sums_add, &sums);
        fg_json_open(writer, fg_port_name(ports[i]));
        fg_json_number(writer, "links", stats.links);
        fg_json_number(writer, "devices", sums.count);
        fg_json_number(writer, "received", stats.received);
        fg_json_reasons(writer, stats.rejected);
        fg_sums_put(writer, &sums);
        fg_json_close(writer);
    }
    fg_json_close(writer);
}

static void put_commands(struct fg_json_writer *writer, const struct fg_commands *commands,
                         const struct fg_publisher_stats *broker)
{
    struct fg_command_counts counts;
    fg_commands_get_counts(commands, &counts);
    fg_json_number(writer, "commands", counts.received);
    fg_json_number(writer, "commands_repeated", counts.repeated);
    fg_json_open(writer, "commands_rejected");
    for (int i = 0; i < FG_OUTCOME_COUNT; i++) {
        if (counts.rejected[i]) {
            fg_json_number(writer, fg_outcome_name((enum fg_outcome)i), counts.rejected[i]);
        }
    }
    if (broker->arrivals_retained) {
        fg_json_number(writer, "retained", broker->arrivals_retained);
    }
    if (broker->arrivals_overrun) {
        fg_json_number(writer, "overrun", broker->arrivals_overrun);
    }
    fg_json_close(writer);
    fg_json_number(writer, "results_dropped", broker->answers_dropped);
}

int fg_stats_render(struct fg_buffer *json, struct fg_publisher *publisher,
                    const struct fg_commands *commands, struct fg_port *const *ports, size_t port_count,
                    int64_t uptime_ns)
{
    struct fg_json_writer writer = { .out = json, .first = true };
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
    fg_json_open(&writer, NULL);
    fg_json_number(&writer, "uptime_s", (uint64_t)(uptime_ns / FG_NS_PER_S));
    fg_json_boolean(&writer, "connected", broker.connected);
    fg_json_number(&writer, "received", received);
    fg_json_reasons(&writer, rejected);
    fg_json_number(&writer, "published", broker.published);
    fg_json_number(&writer, "acknowledged", broker.acknowledged);
    fg_json_number(&writer, "queued", broker.queued);
    fg_json_number(&writer, "queued_bytes", broker.queued_bytes);
    fg_json_number(&writer, "spooled", broker.spooled);
    fg_json_losses(&writer, broker.lost);
    fg_json_number(&writer, "reconnects", broker.reconnects);
    fg_json_number(&writer, "disk_bytes", broker.disk_bytes);
    fg_json_number(&writer, "disk_written_bytes", broker.disk_written_bytes);
    put_commands(&writer, commands, &broker);
    put_ports(&writer, ports, port_count);
    put_devices(&writer, ports, port_count);
    fg_json_close(&writer);
    return writer.error;
}
