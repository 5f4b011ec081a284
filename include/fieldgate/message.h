/*
 * Messages, and how readings become messages: topic templates and payloads.
 */
#ifndef FIELDGATE_MESSAGE_H
#define FIELDGATE_MESSAGE_H

#include "fieldgate/origin.h"
#include "fieldgate/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A topic and a payload on their way to the broker: one allocation. Owned by whoever holds it. */
struct fg_message {
    struct fg_message *next;
    struct fg_origin *origin; /* a reference */
    int64_t taken_ns;
    int64_t wall_ms;
    uint32_t payload_size;
    uint16_t topic_length; /* without the NUL that follows the topic */
    uint8_t qos;
    bool retain;
    char data[]; /* topic, NUL, payload */
};

static inline const char *fg_message_topic(const struct fg_message *message)
{
    return message->data;
}

static inline const void *fg_message_payload(const struct fg_message *message)
{
    return message->data + message->topic_length + 1;
}

/* What a message counts for against queue_bytes: its allocation. */
size_t fg_message_bytes(const struct fg_message *message);

/* Copies topic and payload; takes a reference of origin. NULL without memory or past 65535 bytes of topic. */
struct fg_message *fg_message_new(struct fg_origin *origin, const char *topic, size_t topic_length, const void *payload,
                                  size_t payload_size);
void fg_message_free(struct fg_message *message);
void fg_message_free_all(struct fg_message *first);

/*
 * A topic template: text with {gateway}, {base}, {port}, {device}, {point} and {key:NAME}. Everything but {point} and
 * {key:NAME} is fixed when it is compiled.
 */
struct fg_topic;

struct fg_topic_names {
    const char *gateway;
    const char *base;
    const char *port;
    const char *device;
};

/*
 * Checks a template (names may be NULL for a check alone): unknown placeholders, unbalanced braces, '+' or '#', a
 * leading '$', control characters, bad UTF-8, longer than 1024 bytes. Returns 0; or -EINVAL with a sentence in why.
 */
int fg_topic_check(const char *template, char *why, size_t why_size);

/* Compiles. Returns 0 and *topic (fg_topic_free), -EINVAL, -ENOMEM. */
int fg_topic_new(const char *template, const struct fg_topic_names *names, struct fg_topic **topic);
void fg_topic_free(struct fg_topic *topic);

/*
 * Renders a topic for a reading, into room for size bytes with the NUL; point is NULL but for payload "points".
 * A field that is missing renders as "_". What fills a placeholder brings no '/', '+', '#', control character or bad
 * UTF-8 (each such character becomes '_'), and the topic never begins with '$' (MQTT 5.0, 4.7). Returns its length,
 * or -EMSGSIZE.
 */
int fg_topic_render(const struct fg_topic *topic, const struct fg_reading *reading, const char *point,
                    size_t point_length, char *out, size_t size);

/* Makes text fit for one level of a topic, as above, into room for size bytes; an empty text becomes "_". Returns its
 * length; what does not fit is cut at a character's boundary. '$' at the start becomes '_'. */
size_t fg_topic_clean(const char *text, size_t length, char *out, size_t size);

/* Payload kinds, in the order of fg_payload_names (NULL at the end). */
enum fg_payload { FG_PAYLOAD_JSON, FG_PAYLOAD_RAW, FG_PAYLOAD_POINTS };
extern const char *const fg_payload_names[];

/* How one device's readings become messages. */
struct fg_outlet {
    struct fg_origin *origin;
    const struct fg_topic *topic;       /* for json and raw */
    const struct fg_topic *point_topic; /* for points: the template less "/state", plus "/{point}" */
    enum fg_payload payload;
    uint8_t qos;
    bool retain;
};

/* The template of point_topic from that of topic: a trailing "/state" is dropped, "/{point}" is added (unless {point}
 * is in the template already). Into room for size bytes; returns 0 or -EMSGSIZE. */
int fg_topic_for_points(const char *template, char *out, size_t size);

/*
 * Renders a reading: one message, or for "points" one a field in their order (NULL values as "null"; texts as they
 * are). json: {"ts":…,name:value,…}; a field that is itself called "ts" is told as "ts_device". Returns 0 and the
 * chain *first (at least one); -EMSGSIZE; -ENOMEM; -EINVAL when there is nothing to tell (points without fields, raw
 * without a frame). Any thread.
 */
int fg_outlet_render(const struct fg_outlet *outlet, const struct fg_reading *reading, struct fg_message **first);

#endif
