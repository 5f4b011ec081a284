/*
 * Statistics, told on {base}/stats from time to time, and in the log when asked for.
 */
#ifndef FIELDGATE_GATEWAY_REPORTING_H
#define FIELDGATE_GATEWAY_REPORTING_H

#include "ports.h"

#include "fieldgate/buffer.h"

struct fg_reporting {
    struct fg_publisher *publisher;
    struct fg_ports *ports;
    struct fg_strand strand;
    struct fg_timer timer;
    struct fg_task change;
    atomic_bool changing; /* posted and not yet run */
    _Atomic int64_t interval_ns;
    int64_t started_ns;
    int64_t due_ns;
};

/* Of a loop that is open; nothing is told yet. */
void fg_reporting_init(struct fg_reporting *reporting, struct fg_loop *loop, struct fg_publisher *publisher,
                       struct fg_ports *ports);

/* How often statistics are published from now on; 0: not at all. Main thread. */
void fg_reporting_set_interval(struct fg_reporting *reporting, int64_t interval_ns);

/* Appends the statistics as a JSON object. Any thread. Returns as fg_buffer_append. */
int fg_reporting_render(struct fg_reporting *reporting, struct fg_buffer *json);

/* Publishes them now. Any thread. */
void fg_reporting_publish(struct fg_reporting *reporting);

/* Logs them: the totals, and a line a port. Any thread. */
void fg_reporting_log(struct fg_reporting *reporting);

#endif
