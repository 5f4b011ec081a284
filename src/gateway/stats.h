/*
 * The statistics: one JSON object of counters since the start.
 */
#ifndef FIELDGATE_GATEWAY_STATS_H
#define FIELDGATE_GATEWAY_STATS_H

#include "commands.h"

#include "fieldgate/buffer.h"
#include "fieldgate/port.h"
#include "fieldgate/publisher.h"

/* Appends the object for {base}/stats. Any thread. Returns as fg_buffer_append. */
int fg_stats_render(struct fg_buffer *json, struct fg_publisher *publisher,
                    const struct fg_commands *commands, struct fg_port *const *ports, size_t port_count,
                    int64_t uptime_ns);

#endif
