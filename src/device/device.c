#include "device.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A held reading that the sink has no room for is offered again after this. */
#define HELD_RETRY_NS (FG_NS_PER_S / 10)

/* Copies what a reading points to into one allocation. NULL without memory. */
static struct fg_held_reading *hold(const struct fg_reading *reading)
{
    size_t texts = reading->frame_size;
    for (size_t i = 0; i < reading->count; i++) {
        texts += reading->fields[i].name_length;
        texts += reading->fields[i].value.text.length;
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
        if (field->value.text.length > 0) {
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

static bool is_by_points(const struct fg_device *device)
{
    return device->settings->payload == FG_PAYLOAD_CHOICE_POINTS;
}

/* What becomes of a reading. A reading without fields is none. */
struct judged {
    struct fg_reading now;   /* goes now */
    struct fg_reading later; /* goes at retry_ns, unless something newer replaces it */
    int64_t retry_ns;
    bool older_stays; /* later has fields of the reading that was held before */
    struct fg_field now_fields[FG_RECORD_MAX_FIELDS], later_fields[FG_RECORD_MAX_FIELDS];
};

static bool brings(const struct fg_reading *reading, const struct fg_field *field)
{
    for (size_t i = 0; i < reading->count; i++) {
        if (reading->fields[i].name_length == field->name_length &&
            memcmp(reading->fields[i].name, field->name, field->name_length) == 0) {
            return true;
        }
    }
    return false;
}

/* Each point goes its own way: what is held of a point stays until that point comes again. */
static void judge_points(const struct fg_device *device, const struct fg_reading *reading,
                         const struct fg_report_verdict *verdict, const bool *passes, struct judged *judged)
{
    judged->now.fields = judged->now_fields;
    judged->later.fields = judged->later_fields;
    judged->later.frame = NULL;
    for (size_t i = 0; i < reading->count; i++) {
        if (passes[i]) {
            judged->now_fields[judged->now.count++] = reading->fields[i];
        } else if (verdict->later[i]) {
            judged->later_fields[judged->later.count++] = reading->fields[i];
        }
    }
    const struct fg_held_reading *older = device->held;
    for (size_t i = 0; older && i < older->reading.count; i++) {
        if (judged->later.count < FG_RECORD_MAX_FIELDS && !brings(reading, &older->fields[i])) {
            judged->later_fields[judged->later.count++] = older->fields[i];
            judged->older_stays = true;
        }
    }
    if (judged->older_stays && (judged->retry_ns == 0 || device->retry_ns < judged->retry_ns)) {
        judged->retry_ns = device->retry_ns;
    }
}

static void judge(const struct fg_device *device, const struct fg_reading *reading, int64_t now_ns,
                  struct judged *judged)
{
    bool passes[FG_RECORD_MAX_FIELDS];
    struct fg_report_verdict verdict = fg_report_judge(device->report, reading, now_ns, passes);
    judged->now = judged->later = *reading;
    judged->retry_ns = verdict.retry_ns;
    judged->older_stays = false;
    if (is_by_points(device)) {
        judged->now.count = judged->later.count = 0;
        judge_points(device, reading, &verdict, passes, judged);
    } else if (verdict.passed > 0) {
        judged->later.count = 0;
    } else {
        judged->now.count = 0;
        judged->later.count = verdict.retry_ns != 0 ? reading->count : 0;
    }
}

/* Judges and offers, under the device's lock. A reading that was held is not device->held any more. Returns
 * 0, or -ENOBUFS: nothing has changed. */
static int judge_and_offer(struct fg_device *device, const struct fg_reading *reading, int64_t now_ns)
{
    const struct fg_sink *sink = device->port->sink;
    if (!device->report || device->stopping || reading->count == 0) {
        return sink->offer(device->source, reading) == -ENOBUFS ? -ENOBUFS : 0;
    }
    struct judged judged;
    judge(device, reading, now_ns, &judged);
    if (judged.now.count > 0) {
        if (sink->offer(device->source, &judged.now) == -ENOBUFS) {
            return -ENOBUFS;
        }
        fg_report_published(device->report, judged.now.fields, judged.now.count, now_ns);
    }
    struct fg_held_reading *kept = judged.later.count > 0 ? hold(&judged.later) : NULL;
    if (judged.later.count > 0 && !kept) {
        sink->lose(device->source, FG_LOSS_NO_MEMORY, reading->wall_ms);
    } else if (judged.now.count == 0 && !kept) {
        fg_count(&device->source->origin->suppressed, 1);
    }
    if (device->held && !judged.older_stays) {
        fg_count(&device->source->origin->suppressed, 1);
    }
    free(device->held);
    device->held = kept;
    device->retry_ns = judged.retry_ns;
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

/* Since when the device is silent, as far as anybody listened. */
static int64_t silent_since(const struct fg_device *device, int64_t now_ns)
{
    const struct fg_port *port = device->port;
    if (atomic_load(&port->waiting) > 0) {
        return now_ns;
    }
    int64_t waited_ns = atomic_load(&port->waited_ns);
    return waited_ns > device->seen_ns ? waited_ns : device->seen_ns;
}

static int64_t next_deadline(const struct fg_device *device, int64_t now_ns)
{
    int64_t deadline_ns = device->held ? device->retry_ns : 0;
    if (device->online && device->settings->stale_after_ns > 0) {
        int64_t stale_ns = silent_since(device, now_ns) + device->settings->stale_after_ns;
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

static void log_device(const struct fg_device *device, enum fg_log_level level, const char *text)
{
    fg_log_port(level, device->port->settings->name, device->source->origin->device, "%s", text);
}

static void offer_held(struct fg_device *device, int64_t now_ns)
{
    struct fg_held_reading *held = device->held;
    device->held = NULL;
    if (judge_and_offer(device, &held->reading, now_ns) == -ENOBUFS) {
        device->held = held;
        device->retry_ns = now_ns + HELD_RETRY_NS;
    } else {
        free(held);
    }
}

/* Something is due: on the port's strand, under the device's lock. */
static void act(struct fg_device *device)
{
    int64_t now_ns = fg_clock_now_ns();
    int64_t stale_after_ns = device->settings->stale_after_ns;
    if (device->held && device->retry_ns <= now_ns) {
        offer_held(device, now_ns);
    }
    if (device->online && stale_after_ns > 0 && silent_since(device, now_ns) + stale_after_ns <= now_ns) {
        fg_log_port(FG_LOG_WARNING, device->port->settings->name, device->source->origin->device,
                    "offline: nothing came for %lld ms", (long long)(stale_after_ns / FG_NS_PER_MS));
        device->away = FG_LOG_WARNING;
        set_available(device, false);
    }
    int64_t deadline_ns = next_deadline(device, now_ns);
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
static void come_online(struct fg_device *device)
{
    device->seen_ns = fg_clock_now_ns();
    if (device->online) {
        return;
    }
    log_device(device, device->away, "online");
    set_available(device, true);
    if (device->settings->stale_after_ns > 0) {
        ask_for_timer(device);
    }
}

/* Under the device's lock. Devices that connect for each reading would fill the log; a line that is down is
 * told by its endpoint. */
static void go_with_link(struct fg_device *device)
{
    if (device->online) {
        device->away = FG_LOG_DEBUG;
        log_device(device, FG_LOG_DEBUG, "offline: its link is down");
    }
    set_available(device, false);
}

void fg_device_own_link_up(struct fg_device *device, void *link)
{
    pthread_mutex_lock(&device->lock);
    device->links++;
    device->links_sum ^= (uintptr_t)link;
    come_online(device);
    pthread_mutex_unlock(&device->lock);
}

void fg_device_own_link_down(struct fg_device *device, void *link)
{
    pthread_mutex_lock(&device->lock);
    device->links_sum ^= (uintptr_t)link;
    device->link = device->link == link ? NULL : device->link;
    if (--device->links == 0) {
        go_with_link(device);
    }
    pthread_mutex_unlock(&device->lock);
}

int fg_device_take(struct fg_device *device, const struct fg_reading *reading, const struct fg_way *way)
{
    pthread_mutex_lock(&device->lock);
    device->link = way->link;
    if (way->sender) {
        device->peer = *way->sender;
    }
    come_online(device);
    bool had_held = device->held != NULL;
    int error = judge_and_offer(device, reading, reading->taken_ns);
    if (error == -ENOBUFS && !way->can_wait) {
        device->port->sink->lose(device->source, FG_LOSS_QUEUE_FULL, reading->wall_ms);
        error = 0;
    }
    if (error == 0) {
        fg_count(&device->source->origin->received, 1);
    }
    if (device->held && !had_held) {
        ask_for_timer(device);
    }
    pthread_mutex_unlock(&device->lock);
    return error;
}

void fg_device_lose(struct fg_device *device, enum fg_loss reason, int64_t wall_ms)
{
    pthread_mutex_lock(&device->lock);
    fg_count(&device->source->origin->received, 1);
    device->port->sink->lose(device->source, reason, wall_ms);
    pthread_mutex_unlock(&device->lock);
}

void fg_device_link_down(struct fg_device *device, const void *link)
{
    pthread_mutex_lock(&device->lock);
    if (device->link == link) {
        device->link = NULL;
        go_with_link(device);
    }
    pthread_mutex_unlock(&device->lock);
}

void fg_device_answers(struct fg_device *device)
{
    pthread_mutex_lock(&device->lock);
    come_online(device);
    pthread_mutex_unlock(&device->lock);
}

void fg_device_fails(struct fg_device *device, const char *why)
{
    pthread_mutex_lock(&device->lock);
    if (why) {
        fg_log_port(FG_LOG_WARNING, device->port->settings->name, device->source->origin->device,
                    "offline: %s", why);
        device->away = FG_LOG_WARNING;
        set_available(device, false);
    } else {
        go_with_link(device);
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
    if (held && judge_and_offer(device, &held->reading, fg_clock_now_ns()) == -ENOBUFS) {
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
    device->away = FG_LOG_INFO;
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
