#include "reporting.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"
#include "stats.h"

#include <string.h>

/* More than any board has devices: 100 000 of them with all their counters. */
#define STATS_BYTES ((size_t)64 << 20)

int fg_reporting_render(struct fg_reporting *reporting, struct fg_buffer *json)
{
    struct fg_ports *ports = reporting->ports;
    int64_t uptime_ns = fg_clock_now_ns() - reporting->started_ns;
    pthread_rwlock_rdlock(&ports->lock);
    int error = fg_stats_render(json, reporting->publisher, ports->ports, ports->count, uptime_ns);
    pthread_rwlock_unlock(&ports->lock);
    return error;
}

static bool render(struct fg_reporting *reporting, struct fg_buffer *json)
{
    fg_buffer_init(json, STATS_BYTES);
    int error = fg_reporting_render(reporting, json);
    if (error) {
        fg_log(FG_LOG_WARNING, "statistics are left out: %s", strerror(-error));
    }
    return !error;
}

void fg_reporting_publish(struct fg_reporting *reporting)
{
    struct fg_buffer json;
    if (render(reporting, &json)) {
        fg_publisher_tell_stats(reporting->publisher, (const char *)json.bytes, json.size);
    }
    fg_buffer_fini(&json);
}

static void log_ports(struct fg_ports *ports)
{
    pthread_rwlock_rdlock(&ports->lock);
    for (size_t i = 0; i < ports->count; i++) {
        struct fg_port_stats stats;
        fg_port_get_stats(ports->ports[i], &stats);
        uint64_t rejected = 0;
        for (int reason = 0; reason < FG_REASON_COUNT; reason++) {
            rejected += stats.rejected[reason];
        }
        fg_log_port(FG_LOG_INFO, fg_port_name(ports->ports[i]), NULL,
                    "statistics: %llu links, %llu received, %llu rejected", (unsigned long long)stats.links,
                    (unsigned long long)stats.received, (unsigned long long)rejected);
    }
    pthread_rwlock_unlock(&ports->lock);
}

void fg_reporting_log(struct fg_reporting *reporting)
{
    struct fg_buffer json;
    if (render(reporting, &json)) {
        /* A log line is short: the totals, without the parts by port and device. */
        const char *text = (const char *)json.bytes;
        const char *ports = memmem(text, json.size, ",\"ports\":", strlen(",\"ports\":"));
        int length = ports ? (int)(ports - text) : (int)json.size;
        fg_log(FG_LOG_INFO, "statistics: %.*s}", length, text);
    }
    fg_buffer_fini(&json);
    log_ports(reporting->ports);
}

static void expired(struct fg_timer *timer)
{
    struct fg_reporting *reporting =
        (struct fg_reporting *)((char *)timer - offsetof(struct fg_reporting, timer));
    int64_t interval_ns = atomic_load(&reporting->interval_ns);
    if (interval_ns == 0) {
        return;
    }
    fg_reporting_publish(reporting);
    uint64_t missed = 0;
    reporting->due_ns = fg_timer_next_period(reporting->due_ns, interval_ns, fg_clock_now_ns(), &missed);
    fg_timer_set(timer, reporting->due_ns);
}

static void change(struct fg_task *task)
{
    struct fg_reporting *reporting =
        (struct fg_reporting *)((char *)task - offsetof(struct fg_reporting, change));
    atomic_store(&reporting->changing, false);
    int64_t interval_ns = atomic_load(&reporting->interval_ns);
    if (interval_ns > 0) {
        reporting->due_ns = fg_clock_now_ns() + interval_ns;
        fg_timer_set(&reporting->timer, reporting->due_ns);
    } else {
        fg_timer_stop(&reporting->timer);
    }
}

void fg_reporting_set_interval(struct fg_reporting *reporting, int64_t interval_ns)
{
    if (atomic_exchange(&reporting->interval_ns, interval_ns) != interval_ns &&
        !atomic_exchange(&reporting->changing, true)) {
        fg_strand_post(&reporting->strand, &reporting->change);
    }
}

void fg_reporting_init(struct fg_reporting *reporting, struct fg_loop *loop, struct fg_publisher *publisher,
                       struct fg_ports *ports)
{
    *reporting = (struct fg_reporting){
        .publisher = publisher, .ports = ports, .change.run = change, .started_ns = fg_clock_now_ns()
    };
    atomic_init(&reporting->interval_ns, 0);
    atomic_init(&reporting->changing, false);
    fg_strand_init(&reporting->strand, loop->pool);
    fg_timer_init(&reporting->timer, loop->timers, &reporting->strand, expired);
}
