#include "fieldgate/message.h"
#include "fieldgate/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest topic that is rendered; MQTT allows 65535 bytes, and nobody subscribes to those. */
#define TOPIC_ROOM 4096

/* A payload is made on the stack where it fits, and else on the heap up to this. */
#define STACK_ROOM  8192
#define PAYLOAD_MAX (16u << 20)

const char *const fg_payload_names[] = { "json", "raw", "points", NULL };

static int put_field(struct fg_buffer *buffer, const struct fg_field *field)
{
    /* "ts" is the reading's time; a device's own field of that name stands beside it, under another. */
    bool clash = field->name_length == 2 && memcmp(field->name, "ts", 2) == 0;
    int error = fg_buffer_append(buffer, ",", 1);
    if (!error) {
        error = clash ? fg_json_put_text(buffer, "ts_device", 9)
                      : fg_json_put_text(buffer, field->name, field->name_length);
    }
    if (!error) {
        error = fg_buffer_append(buffer, ":", 1);
    }
    return error ? error : fg_json_put_value(buffer, &field->value);
}

static int put_json(struct fg_buffer *buffer, const struct fg_reading *reading)
{
    int error = fg_buffer_printf(buffer, "{\"ts\":%lld", (long long)reading->wall_ms);
    for (size_t i = 0; i < reading->count && !error; i++) {
        error = put_field(buffer, &reading->fields[i]);
    }
    return error ? error : fg_buffer_append(buffer, "}", 1);
}

static int make(const struct fg_outlet *outlet, const struct fg_reading *reading,
                const struct fg_field *point, const void *payload, size_t size, struct fg_message **message)
{
    char topic[TOPIC_ROOM];
    int length =
        fg_topic_render(point ? outlet->point_topic : outlet->topic, reading, point ? point->name : NULL,
                        point ? point->name_length : 0, topic, sizeof topic);
    if (length < 0) {
        return length;
    }
    struct fg_message *made = fg_message_new(outlet->origin, topic, (size_t)length, payload, size);
    if (!made) {
        return -ENOMEM;
    }
    made->taken_ns = reading->taken_ns;
    made->wall_ms = reading->wall_ms;
    made->unsynchronised = reading->unsynchronised;
    made->stamped = !point && outlet->payload == FG_PAYLOAD_JSON;
    made->qos = outlet->qos;
    made->retain = outlet->retain;
    *message = made;
    return 0;
}

static int render_json(const struct fg_outlet *outlet, const struct fg_reading *reading,
                       struct fg_message **first)
{
    uint8_t room[STACK_ROOM];
    /* Its capacity is its limit, so that the buffer never grows and never frees what stands on the stack. */
    struct fg_buffer buffer = { .bytes = room, .capacity = sizeof room, .limit = sizeof room };
    int error = put_json(&buffer, reading);
    if (error != -EMSGSIZE) {
        return error ? error : make(outlet, reading, NULL, buffer.bytes, buffer.size, first);
    }
    fg_buffer_init(&buffer, PAYLOAD_MAX);
    error = put_json(&buffer, reading);
    if (!error) {
        error = make(outlet, reading, NULL, buffer.bytes, buffer.size, first);
    }
    fg_buffer_fini(&buffer);
    return error;
}

static int render_point(const struct fg_outlet *outlet, const struct fg_reading *reading,
                        const struct fg_field *field, struct fg_message **message)
{
    if (field->value.kind == FG_VALUE_TEXT) {
        return make(outlet, reading, field, field->value.text.bytes, field->value.text.length, message);
    }
    uint8_t room[FG_NUMBER_TEXT * 2];
    struct fg_buffer buffer = { .bytes = room, .capacity = sizeof room, .limit = sizeof room };
    int error = fg_json_put_value(&buffer, &field->value);
    return error ? error : make(outlet, reading, field, buffer.bytes, buffer.size, message);
}

static int render_points(const struct fg_outlet *outlet, const struct fg_reading *reading,
                         struct fg_message **first)
{
    struct fg_message *chain = NULL;
    struct fg_message **tail = &chain;
    for (size_t i = 0; i < reading->count; i++) {
        int error = render_point(outlet, reading, &reading->fields[i], tail);
        if (error) {
            fg_message_free_all(chain);
            return error;
        }
        tail = &(*tail)->next;
    }
    if (!chain) {
        return -EINVAL;
    }
    *first = chain;
    return 0;
}

int fg_outlet_render(const struct fg_outlet *outlet, const struct fg_reading *reading,
                     struct fg_message **first)
{
    switch (outlet->payload) {
    case FG_PAYLOAD_JSON:
        return render_json(outlet, reading, first);
    case FG_PAYLOAD_RAW:
        return reading->frame ? make(outlet, reading, NULL, reading->frame, reading->frame_size, first)
                              : -EINVAL;
    case FG_PAYLOAD_POINTS:
        return render_points(outlet, reading, first);
    }
    return -EINVAL;
}

int fg_message_restamp(const struct fg_message *message, int64_t wall_ms, bool unsynchronised, char **payload,
                       size_t *size)
{
    const char *old = fg_message_payload(message);
    char begin[96];
    int length = snprintf(begin, sizeof begin, "{\"ts\":%lld", (long long)message->wall_ms);
    size_t skip = (size_t)length < message->payload_size ? (size_t)length : message->payload_size;
    length = snprintf(begin, sizeof begin, "{\"ts\":%lld%s", (long long)wall_ms,
                      unsynchronised ? ",\"ts_quality\":\"unsynchronised\"" : "");
    *size = (size_t)length + message->payload_size - skip;
    *payload = malloc(*size);
    if (!*payload) {
        return -ENOMEM;
    }
    memcpy(*payload, begin, (size_t)length);
    memcpy(*payload + length, old + skip, message->payload_size - skip);
    return 0;
}
