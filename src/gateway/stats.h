/*
 * The statistics: one JSON object of counters since the start.
 */
#ifndef FIELDGATE_GATEWAY_STATS_H
#define FIELDGATE_GATEWAY_STATS_H

#include "commands.h"
#include "json_writer.h"

#include "fieldgate/buffer.h"
#include "fieldgate/port.h"
#include "fieldgate/publisher.h"

/* What some devices add up to. */
struct fg_sums {
    uint64_t received, published, acknowledged, suppressed, count;
    uint64_t polled, polls, timeouts, exceptions, missed; /* polled: devices that are asked */
    uint64_t rejected[FG_REASON_COUNT];
    uint64_t lost[FG_LOSS_COUNT];
};

/* Adds a device to a struct fg_sums: for fg_port_each_device. */
void fg_sums_add(struct fg_origin *origin, void *sums);

/* What stands behind the frames in every account of devices: requests, where any is asked, and messages. */
void fg_sums_put(struct fg_json_writer *writer, const struct fg_sums *sums);

/* Appends the object for {base}/stats. Any thread. Returns as fg_buffer_append. */
int fg_stats_render(struct fg_buffer *json, struct fg_publisher *publisher,
                    const struct fg_commands *commands, struct fg_port *const *ports, size_t port_count,
                    int64_t uptime_ns);

#endif
