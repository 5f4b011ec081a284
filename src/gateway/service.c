#include "service.h"

#include "notify.h"

#include "fieldgate/clock.h"

#include <stdio.h>
#include <string.h>

/* How often the line may change. */
#define LINE_NS (2 * FG_NS_PER_S)

static void tell_line(struct fg_service *service)
{
    struct fg_service_view view = { 0 };
    service->look(service->context, &view);
    const struct fg_publisher_stats *publisher = &view.publisher;
    char line[sizeof service->line];
    int length = snprintf(line, sizeof line, "%zu device%s, broker %s, %llu waiting", view.devices,
                          view.devices == 1 ? "" : "s", publisher->connected ? "up" : "down",
                          (unsigned long long)publisher->queued);
    if (publisher->spooled > 0) {
        snprintf(line + length, sizeof line - (size_t)length, ", %llu on disk",
                 (unsigned long long)publisher->spooled);
    }
    if (strcmp(line, service->line) != 0) {
        memcpy(service->line, line, sizeof line);
        fg_notify_status(line);
    }
}

static void expired(struct fg_timer *timer)
{
    struct fg_service *service = (struct fg_service *)((char *)timer - offsetof(struct fg_service, timer));
    tell_line(service);
    fg_timer_start(timer, LINE_NS);
}

static void stop_timer(struct fg_task *task)
{
    struct fg_service *service = (struct fg_service *)((char *)task - offsetof(struct fg_service, stop));
    fg_timer_stop(&service->timer);
}

void fg_service_start(struct fg_service *service, struct fg_loop *loop, struct fg_publisher *publisher,
                      void (*look)(void *context, struct fg_service_view *view), void *context)
{
    if (!fg_notify_wanted()) {
        return;
    }
    *service = (struct fg_service){ .look = look, .context = context, .stop.run = stop_timer, .runs = true };
    fg_strand_init(&service->strand, loop->pool);
    fg_timer_init(&service->timer, loop->timers, &service->strand, expired);
    tell_line(service);
    fg_notify_ready();
    fg_timer_start(&service->timer, LINE_NS);
    fg_watchdog_start(&service->watchdog, loop, publisher);
}

void fg_service_stop(struct fg_service *service)
{
    if (!service->runs) {
        return;
    }
    service->runs = false;
    fg_notify_stopping();
    fg_watchdog_stop(&service->watchdog);
    fg_strand_post(&service->strand, &service->stop);
}
