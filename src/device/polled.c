/* What polled devices answer becomes readings. */
#include "poller.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

static int64_t period_of(const struct fg_modbus_poll_device *device, size_t point)
{
    int64_t own_ns = device->points[point].poll_interval_ns;
    return own_ns > 0 ? own_ns : device->poll_interval_ns;
}

/* Groups are numbered by their period: a point's is as many as there are shorter periods. */
static size_t number_groups(const struct fg_modbus_poll_device *device, struct fg_polled_point *points)
{
    size_t most = 0;
    for (size_t i = 0; i < device->count; i++) {
        size_t shorter = 0;
        for (size_t j = 0; j < device->count; j++) {
            bool first = period_of(device, j) < period_of(device, i);
            for (size_t k = 0; k < j && first; k++) {
                first = period_of(device, k) != period_of(device, j);
            }
            shorter += first;
        }
        points[i].group = (uint16_t)shorter;
        most = shorter > most ? shorter : most;
    }
    return most + 1;
}

static int init_device(struct fg_polled_device *device, const struct fg_modbus_poll_device *polled,
                       const struct fg_point_settings *settings)
{
    device->settings = settings;
    device->modbus = polled->points;
    device->count = polled->count;
    device->last = &device->first;
    device->points = calloc(polled->count, sizeof *device->points);
    if (!device->points) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < polled->count; i++) {
        if (polled->points[i].type == FG_MODBUS_STRING) {
            device->points[i].text = malloc((size_t)polled->points[i].count * 2);
            if (!device->points[i].text) {
                return -ENOMEM;
            }
        }
    }
    device->group_count = number_groups(polled, device->points);
    device->groups = calloc(device->group_count, sizeof *device->groups);
    return device->groups ? 0 : -ENOMEM;
}

int fg_polled_init(struct fg_poller *poller)
{
    struct fg_port *port = poller->port;
    poller->devices = calloc(poller->polling.count, sizeof *poller->devices);
    int error = poller->devices ? 0 : -ENOMEM;
    for (size_t i = 0; i < poller->polling.count && !error; i++) {
        const char *name = fg_polling_name(port->settings, i);
        struct fg_device *device = fg_map_get(&port->devices, name, strlen(name));
        poller->devices[i].device = device;
        device->source->origin->polled = true;
        device->number = i;
        error = init_device(&poller->devices[i], &poller->polling.devices[i],
                            fg_polling_device(port->settings, i)->points.items);
    }
    return error;
}

void fg_polled_fini(struct fg_poller *poller)
{
    for (size_t i = 0; poller->devices && i < poller->polling.count; i++) {
        struct fg_polled_device *device = &poller->devices[i];
        for (size_t k = 0; device->points && k < device->count; k++) {
            free(device->points[k].text);
        }
        free(device->points);
        free(device->groups);
    }
    free(poller->devices);
}

/* ---- readings ---- */

static void forget_values(struct fg_polled_device *device, size_t group)
{
    for (size_t i = 0; i < device->count; i++) {
        if (device->points[i].group == group) {
            device->points[i].came = false;
        }
    }
}

static void stop_waiting(struct fg_poller *poller, struct fg_polled_group *group)
{
    if (group->waits) {
        group->waits = false;
        if (--poller->waiting == 0) {
            atomic_store(&poller->port->waited_ns, poller->now_ns);
            atomic_fetch_sub(&poller->port->waiting, 1);
        }
    }
}

/* A reading that waited is overtaken by what comes now. */
static void lose_waiting(struct fg_poller *poller, struct fg_polled_device *device, size_t number)
{
    struct fg_polled_group *group = &device->groups[number];
    if (group->waits) {
        forget_values(device, number);
        fg_device_lose(device->device, FG_LOSS_QUEUE_FULL, fg_clock_wall_at_ms(group->taken_ns));
        fg_count(&poller->port->received, 1);
        stop_waiting(poller, group);
    }
}

static void begin_waiting(struct fg_poller *poller, struct fg_polled_group *group)
{
    if (!group->waits) {
        group->waits = true;
        if (poller->waiting++ == 0) {
            atomic_fetch_add(&poller->port->waiting, 1);
        }
    }
}

/* What came of the group's points, as a reading. It is kept when the sink has no room, and the link lives. */
static void offer(struct fg_poller *poller, struct fg_polled_device *device, size_t number)
{
    struct fg_polled_group *group = &device->groups[number];
    struct fg_field fields[FG_RECORD_MAX_FIELDS];
    struct fg_reading reading = { .taken_ns = group->taken_ns,
                                  .wall_ms = fg_clock_wall_at_ms(group->taken_ns),
                                  .fields = fields };
    reading.unsynchronised = !fg_clock_was_set(reading.wall_ms);
    for (size_t i = 0; i < device->count; i++) {
        if (device->points[i].came && device->points[i].group == number) {
            const char *name = device->settings[i].name;
            fields[reading.count++] = (struct fg_field){ .name = name,
                                                         .name_length = strlen(name),
                                                         .value = device->points[i].value };
        }
    }
    const struct fg_way way = { .can_wait = poller->can_wait };
    if (reading.count > 0 && fg_device_take(device->device, &reading, &way) == -ENOBUFS) {
        begin_waiting(poller, group);
        return;
    }
    forget_values(device, number);
    fg_count(&poller->port->received, reading.count > 0);
    stop_waiting(poller, group);
}

void fg_polled_offer_waiting(struct fg_poller *poller)
{
    for (size_t i = 0; i < poller->polling.count && poller->waiting > 0; i++) {
        struct fg_polled_device *device = &poller->devices[i];
        for (size_t k = 0; k < device->group_count; k++) {
            if (device->groups[k].waits) {
                offer(poller, device, k);
            }
        }
    }
}

/* ---- what the protocol tells ---- */

/* Keeps a point's value: a text's bytes go into the point's own room. */
static void keep(struct fg_polled_point *point, struct fg_value value)
{
    if (value.kind == FG_VALUE_TEXT) {
        memcpy(point->text, value.text.bytes, value.text.length);
        value.text.bytes = point->text;
    }
    point->value = value;
    point->came = true;
}

static void on_values(void *context, size_t index, const uint16_t *points, size_t count,
                      const struct fg_modbus_answer *answer)
{
    struct fg_poller *poller = context;
    struct fg_polled_device *device = &poller->devices[index];
    struct fg_record record; /* room for a text */
    for (size_t i = 0; i < count; i++) {
        struct fg_polled_point *point = &device->points[points[i]];
        struct fg_polled_group *group = &device->groups[point->group];
        struct fg_value value;
        fg_record_reset(&record);
        int error = fg_modbus_point_decode(&device->modbus[points[i]], answer, &record, &value);
        lose_waiting(poller, device, point->group);
        group->taken_ns = poller->now_ns;
        if (error) {
            point->came = false;
            fg_port_reject(poller->port, device->device, FG_REASON_ENCODING, 1);
        } else {
            keep(point, value);
        }
    }
}

static void on_reading(void *context, size_t index, size_t group)
{
    struct fg_poller *poller = context;
    offer(poller, &poller->devices[index], group);
}

void fg_polled_take_values(struct fg_poller *poller, size_t device, const uint16_t *points, size_t count,
                           const struct fg_modbus_answer *answer)
{
    on_values(poller, device, points, count, answer);
    for (size_t i = 0; i < count; i++) {
        offer(poller, &poller->devices[device], poller->devices[device].points[points[i]].group);
    }
}

static void on_online(void *context, size_t index, bool online)
{
    struct fg_poller *poller = context;
    struct fg_polled_device *device = &poller->devices[index];
    if (online) {
        fg_device_answers(device->device);
        device->silent = false;
    } else if (!poller->can_wait) {
        fg_device_fails(device->device, NULL);
    } else if (!device->silent) {
        fg_device_fails(device->device, "it does not answer");
        device->silent = true;
    }
}

static void on_rejected(void *context, enum fg_reason reason)
{
    struct fg_poller *poller = context;
    fg_count(&poller->port->received, 1);
    fg_port_reject(poller->port, NULL, reason, 1);
}

/* The names of points as one text, as far as there is room. */
static void name_points(const struct fg_polled_device *device, const uint16_t *points, size_t count,
                        char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "",
                                 device->settings[points[i]].name);
    }
}

static void on_failed(void *context, size_t index, const uint16_t *points, size_t count, uint8_t exception)
{
    struct fg_poller *poller = context;
    struct fg_polled_device *device = &poller->devices[index];
    char names[200];
    name_points(device, points, count, names, sizeof names);
    fg_log_limited(&poller->exception_limit, FG_LOG_WARNING, poller->port->settings->name,
                   device->device->source->origin->device, "exception %u (%s) for %s", exception,
                   fg_modbus_exception_name(exception), names);
}

static void on_refused(void *context, size_t index, const uint16_t *points, size_t count, uint8_t exception)
{
    struct fg_poller *poller = context;
    struct fg_polled_device *device = &poller->devices[index];
    char names[200];
    name_points(device, points, count, names, sizeof names);
    const char *name = device->device->source->origin->device;
    if (exception) {
        fg_log_limited(&device->refusal_limit, FG_LOG_WARNING, poller->port->settings->name, name,
                       "refused with exception %u (%s), and asked for only once an hour from now on: %s",
                       exception, fg_modbus_exception_name(exception), names);
    } else {
        fg_log_limited(&device->refusal_limit, FG_LOG_WARNING, poller->port->settings->name, name,
                       "not refused any more: %s", names);
    }
}

static void on_commanded(void *context, struct fg_modbus_command *command, enum fg_modbus_outcome outcome,
                         const struct fg_modbus_answer *answer)
{
    fg_polled_commanded(context, command, outcome, answer);
}

const struct fg_modbus_poll_events fg_poller_poll_events = {
    .values = on_values,
    .failed = on_failed,
    .refused = on_refused,
    .reading = on_reading,
    .online = on_online,
    .rejected = on_rejected,
    .commanded = on_commanded,
};

void fg_polled_count(const struct fg_poller *poller)
{
    for (size_t i = 0; i < poller->polling.count; i++) {
        struct fg_modbus_poll_stats stats;
        struct fg_origin *origin = poller->devices[i].device->source->origin;
        fg_modbus_poll_get_stats(poller->poll, i, &stats);
        atomic_store_explicit(&origin->polls, stats.requests, memory_order_relaxed);
        atomic_store_explicit(&origin->timeouts, stats.timeouts, memory_order_relaxed);
        atomic_store_explicit(&origin->exceptions, stats.exceptions, memory_order_relaxed);
        atomic_store_explicit(&origin->missed, stats.missed, memory_order_relaxed);
    }
}
