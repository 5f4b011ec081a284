#include "report.h"

#include "fieldgate/map.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct memory {
    struct fg_value last; /* a text's bytes are owned */
    int64_t sent_ns;
    size_t name_length;
    char name[];
};

struct fg_report {
    const struct fg_device_defaults *settings;
    struct fg_map points; /* struct memory by name */
};

static bool is_set(const struct fg_report_settings *settings)
{
    return settings->on_change || settings->deadband > 0 || settings->deadband_percent > 0 ||
           settings->min_interval_ns > 0;
}

bool fg_report_is_needed(const struct fg_device_defaults *device)
{
    const struct fg_point_settings *points = device->points.items;
    for (size_t i = 0; i < device->points.count; i++) {
        if (is_set(&points[i].report)) {
            return true;
        }
    }
    return is_set(&device->report);
}

struct fg_report *fg_report_new(const struct fg_device_defaults *settings)
{
    struct fg_report *report = calloc(1, sizeof *report);
    if (report) {
        report->settings = settings;
        fg_map_init(&report->points);
    }
    return report;
}

static void forget_text(struct memory *memory)
{
    if (memory->last.kind == FG_VALUE_TEXT) {
        free((void *)(uintptr_t)memory->last.text.bytes);
    }
    memory->last.kind = FG_VALUE_NULL;
}

static void free_memory(void *value, void *context)
{
    (void)context;
    forget_text(value);
    free(value);
}

void fg_report_free(struct fg_report *report)
{
    if (report) {
        fg_map_each(&report->points, free_memory, NULL);
        fg_map_fini(&report->points);
        free(report);
    }
}

static const struct fg_report_settings *settings_of(const struct fg_report *report,
                                                    const struct fg_field *field)
{
    const struct fg_point_settings *points = report->settings->points.items;
    for (size_t i = 0; i < report->settings->points.count; i++) {
        if (strlen(points[i].name) == field->name_length &&
            memcmp(points[i].name, field->name, field->name_length) == 0) {
            return &points[i].report;
        }
    }
    return &report->settings->report;
}

/* Whether the value is different enough from the one last published. */
static bool has_changed(const struct fg_report_settings *settings, const struct fg_value *last,
                        const struct fg_value *value)
{
    bool banded = settings->deadband > 0 || settings->deadband_percent > 0;
    if (!banded && !settings->on_change) {
        return true;
    }
    double before = 0;
    double now = 0;
    if (!banded || !fg_value_number(last, &before) || !fg_value_number(value, &now)) {
        return !fg_value_equal(last, value);
    }
    double difference = fabs(now - before);
    return difference > settings->deadband && difference > fabs(before) * settings->deadband_percent / 100.0;
}

struct fg_report_verdict fg_report_judge(const struct fg_report *report, const struct fg_reading *reading,
                                         int64_t now_ns, bool passes[FG_RECORD_MAX_FIELDS])
{
    struct fg_report_verdict verdict = { 0 };
    for (size_t i = 0; i < reading->count; i++) {
        const struct fg_field *field = &reading->fields[i];
        const struct fg_report_settings *settings = settings_of(report, field);
        const struct memory *memory = fg_map_get(&report->points, field->name, field->name_length);
        passes[i] = !memory || has_changed(settings, &memory->last, &field->value) ||
                    (settings->max_interval_ns > 0 && now_ns - memory->sent_ns >= settings->max_interval_ns);
        if (passes[i] && memory && now_ns - memory->sent_ns < settings->min_interval_ns) {
            passes[i] = false;
            verdict.later[i] = true;
            int64_t due_ns = memory->sent_ns + settings->min_interval_ns;
            if (verdict.retry_ns == 0 || due_ns < verdict.retry_ns) {
                verdict.retry_ns = due_ns;
            }
        }
        verdict.passed += passes[i];
    }
    return verdict;
}

static struct memory *memory_for(struct fg_report *report, const struct fg_field *field)
{
    struct memory *memory = fg_map_get(&report->points, field->name, field->name_length);
    if (memory || report->points.count >= FG_RECORD_MAX_FIELDS) {
        return memory;
    }
    memory = calloc(1, sizeof *memory + field->name_length);
    if (!memory) {
        return NULL;
    }
    memory->name_length = field->name_length;
    memcpy(memory->name, field->name, field->name_length);
    if (fg_map_add(&report->points, memory->name, memory->name_length, memory)) {
        free(memory);
        return NULL;
    }
    return memory;
}

void fg_report_published(struct fg_report *report, const struct fg_field *fields, size_t count,
                         int64_t now_ns)
{
    for (size_t i = 0; i < count; i++) {
        struct memory *memory = memory_for(report, &fields[i]);
        if (!memory) {
            continue;
        }
        struct fg_value value = fields[i].value;
        if (value.kind != FG_VALUE_TEXT) {
            value.text.bytes = NULL; /* how a number was written is not compared */
            value.text.length = 0;
        } else {
            char *copy = malloc(value.text.length + 1);
            if (copy) {
                memcpy(copy, value.text.bytes, value.text.length);
                value.text.bytes = copy;
            } else {
                value = (struct fg_value){ .kind = FG_VALUE_NULL };
            }
        }
        forget_text(memory);
        memory->last = value;
        memory->sent_ns = now_ns;
    }
}
