#include "device.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Copies what a reading points to into one allocation. NULL without memory. */
static struct fg_held_reading *hold(const struct fg_reading *reading)
{
    size_t texts = reading->frame_size;
    for (size_t i = 0; i < reading->count; i++) {
        texts += reading->fields[i].name_length;
        texts += reading->fields[i].value.kind == FG_VALUE_TEXT ? reading->fields[i].value.text.length : 0;
    }
    struct fg_held_reading *held = malloc(sizeof *held + reading->count * sizeof held->fields[0] + texts + 1);
    if (!held) {
        return NULL;
    }
    char *room = (char *)&held->fields[reading->count];
    held->reading = *reading;
    held->reading.fields = held->fields;
    for (size_t i = 0; i < reading->count; i++) {
        struct fg_field *field = &held->fields[i];
        *field = reading->fields[i];
        field->name = memcpy(room, field->name, field->name_length);
        room += field->name_length;
        if (field->value.kind == FG_VALUE_TEXT && field->value.text.length > 0) {
            field->value.text.bytes = memcpy(room, field->value.text.bytes, field->value.text.length);
            room += field->value.text.length;
        }
    }
    if (reading->frame) {
        held->reading.frame = (const uint8_t *)room;
        if (reading->frame_size > 0) {
            memcpy(room, reading->frame, reading->frame_size);
        }
    }
    return held;
}

static void drop_held(struct fg_device *device)
{
    if (device->held) {
        free(device->held);
        device->held = NULL;
        fg_count(&device->source->origin->suppressed, 1);
    }
}

static bool is_by_points(const struct fg_device *device)
{
    return device->settings->payload == FG_PAYLOAD_CHOICE_POINTS;
}

/* Judges and offers, under the device's lock. A reading of which something is held back is kept for later. */
static int judge_and_offer(struct fg_device *device, const struct fg_reading *reading, int64_t now_ns,
                           bool again)
{
    const struct fg_sink *sink = device->port->sink;
    if (!device->report || device->stopping) {
        return sink->offer(device->source, reading);
    }
    bool passes[FG_RECORD_MAX_FIELDS];
    struct fg_report_verdict verdict = fg_report_judge(device->report, reading, now_ns, passes);
    struct fg_held_reading *kept = NULL;
    bool partly = is_by_points(device) && verdict.passed < reading->count;
    if (verdict.retry_ns != 0 && (verdict.passed == 0 || partly)) {
        kept = hold(reading);
    }
    if (verdict.passed > 0) {
        struct fg_reading publish = *reading;
        struct fg_field fields[FG_RECORD_MAX_FIELDS];
        if (partly) {
            publish.fields = fields;
            publish.count = 0;
            for (size_t i = 0; i < reading->count; i++) {
                if (passes[i]) {
                    fields[publish.count++] = reading->fields[i];
                }
            }
        }
        int error = sink->offer(device->source, &publish);
        if (error == -ENOBUFS) {
            free(kept);
            return error;
        }
        fg_report_published(device->report, publish.fields, publish.count, now_ns);
    } else if (!kept && !again) {
        fg_count(&device->source->origin->suppressed, 1);
    }
    if (!again) {
        drop_held(device); /* superseded */
    }
    if (kept) {
        device->held = kept;
        device->retry_ns = verdict.retry_ns;
    }
    return 0;
}

/* Asks the port's strand to set the timer. Under the device's lock. */
static void ask_for_timer(struct fg_device *device)
{
    if (!device->wake_posted && !device->stopping) {
        device->wake_posted = true;
        fg_strand_post(&device->port->strand, &device->wake);
    }
}

static int64_t next_deadline(const struct fg_device *device)
{
    int64_t deadline_ns = device->held ? device->retry_ns : 0;
    if (device->online && device->settings->stale_after_ns > 0) {
        int64_t stale_ns = device->seen_ns + device->settings->stale_after_ns;
        if (deadline_ns == 0 || stale_ns < deadline_ns) {
            deadline_ns = stale_ns;
        }
    }
    return deadline_ns;
}

static void set_available(struct fg_device *device, bool online)
{
    if (device->online != online) {
        device->online = online;
        device->port->sink->available(device->source, online);
    }
}

/* Something is due: on the port's strand, under the device's lock. */
static void act(struct fg_device *device)
{
    int64_t now_ns = fg_clock_now_ns();
    struct fg_held_reading *held = device->held;
    if (held && device->retry_ns <= now_ns) {
        device->held = NULL;
        if (judge_and_offer(device, &held->reading, now_ns, true) == -ENOBUFS) {
            device->held = held;
            device->retry_ns = now_ns + FG_NS_PER_S / 10;
        } else {
            free(held);
        }
    }
    if (device->online && device->settings->stale_after_ns > 0 &&
        device->seen_ns + device->settings->stale_after_ns <= now_ns) {
        fg_log_port(FG_LOG_WARNING, device->port->settings->name, device->source->origin->device,
                    "offline: nothing came for %lld ms",
                    (long long)(device->settings->stale_after_ns / FG_NS_PER_MS));
        set_available(device, false);
    }
    int64_t deadline_ns = next_deadline(device);
    if (deadline_ns != 0) {
        fg_timer_set(&device->timer, deadline_ns);
    }
}

static void run_wake(struct fg_task *task)
{
    struct fg_device *device = (struct fg_device *)((char *)task - offsetof(struct fg_device, wake));
    pthread_mutex_lock(&device->lock);
    device->wake_posted = false;
    if (!device->stopping) {
        act(device);
    }
    pthread_mutex_unlock(&device->lock);
}

static void expired(struct fg_timer *timer)
{
    struct fg_device *device = (struct fg_device *)((char *)timer - offsetof(struct fg_device, timer));
    pthread_mutex_lock(&device->lock);
    if (!device->stopping) {
        act(device);
    }
    pthread_mutex_unlock(&device->lock);
}

/* Under the device's lock: something was heard of the device. */
static void come_online(struct fg_device *device, int64_t now_ns)
{
    device->seen_ns = now_ns;
    if (device->online) {
        return;
    }
    fg_log_port(FG_LOG_INFO, device->port->settings->name, device->source->origin->device, "online");
    set_available(device, true);
    if (device->settings->stale_after_ns > 0) {
        ask_for_timer(device);
    }
}

void fg_device_own_link_up(struct fg_device *device)
{
    pthread_mutex_lock(&device->lock);
    device->links++;
    come_online(device, fg_clock_now_ns());
    pthread_mutex_unlock(&device->lock);
}

void fg_device_own_link_down(struct fg_device *device)
{
    pthread_mutex_lock(&device->lock);
    if (--device->links == 0) {
        set_available(device, false);
    }
    pthread_mutex_unlock(&device->lock);
}

int fg_device_take(struct fg_device *device, const struct fg_reading *reading, const void *link)
{
    pthread_mutex_lock(&device->lock);
    bool had_held = device->held != NULL;
    int error = judge_and_offer(device, reading, reading->taken_ns, false);
    if (error != -ENOBUFS) {
        error = 0;
        fg_count(&device->source->origin->received, 1);
        device->link = link;
        come_online(device, reading->taken_ns);
        if (device->held && !had_held) {
            ask_for_timer(device);
        }
    }
    pthread_mutex_unlock(&device->lock);
    return error;
}

void fg_device_link_down(struct fg_device *device, const void *link)
{
    pthread_mutex_lock(&device->lock);
    if (device->link == link) {
        device->link = NULL;
        set_available(device, false);
    }
    pthread_mutex_unlock(&device->lock);
}

void fg_device_stop(struct fg_device *device)
{
    pthread_mutex_lock(&device->lock);
    device->stopping = true;
    fg_timer_stop(&device->timer);
    struct fg_held_reading *held = device->held;
    device->held = NULL;
    if (held && judge_and_offer(device, &held->reading, fg_clock_now_ns(), true) == -ENOBUFS) {
        device->port->sink->lose(device->source, FG_LOSS_QUEUE_FULL, held->reading.wall_ms);
    }
    free(held);
    pthread_mutex_unlock(&device->lock);
}

void fg_device_free(struct fg_device *device)
{
    fg_report_free(device->report);
    free(device->held);
    device->port->sink->source_free(device->source);
    pthread_mutex_destroy(&device->lock);
    free(device);
}

static int make(struct fg_port *port, const struct fg_device_defaults *settings, const char *identity,
                size_t length, struct fg_device **made)
{
    struct fg_device *device = calloc(1, sizeof *device + length + 1);
    if (!device) {
        return -ENOMEM;
    }
    memcpy(device->identity, identity, length);
    device->identity_length = length;
    device->settings = settings;
    device->port = port;
    device->wake.run = run_wake;
    fg_timer_init(&device->timer, port->loop->timers, &port->strand, expired);
    pthread_mutex_init(&device->lock, NULL);
    bool reports = fg_report_is_needed(settings);
    device->report = reports ? fg_report_new(settings) : NULL;
    device->source = port->sink->source_new(port->sink->context, port->settings, settings, device->identity);
    if (!device->source || (reports && !device->report) ||
        fg_map_add(&port->devices, device->identity, length, device)) {
        fg_report_free(device->report);
        if (device->source) {
            port->sink->source_free(device->source);
        }
        pthread_mutex_destroy(&device->lock);
        free(device);
        return -ENOMEM;
    }
    *made = device;
    return 0;
}

int fg_device_add(struct fg_port *port, const struct fg_device_defaults *settings, const char *identity,
                  size_t length)
{
    struct fg_device *device = NULL;
    pthread_mutex_lock(&port->lock);
    int error = fg_map_get(&port->devices, identity, length)
                    ? -EEXIST
                    : make(port, settings, identity, length, &device);
    pthread_mutex_unlock(&port->lock);
    if (!error) {
        port->sink->available(device->source, false);
    }
    return error;
}

struct fg_device *fg_device_find(struct fg_port *port, const char *identity, size_t length,
                                 enum fg_reason *reason)
{
    pthread_mutex_lock(&port->lock);
    struct fg_device *device = fg_map_get(&port->devices, identity, length);
    if (!device && !port->settings->allow_unknown) {
        *reason = FG_REASON_UNKNOWN_DEVICE;
    } else if (!device && port->devices.count >= (size_t)port->settings->max_devices) {
        *reason = FG_REASON_MAX_DEVICES;
    } else if (!device && make(port, &port->settings->defaults, identity, length, &device)) {
        *reason = FG_REASON_MAX_DEVICES; /* no memory for one more */
    }
    pthread_mutex_unlock(&port->lock);
    return device;
}
