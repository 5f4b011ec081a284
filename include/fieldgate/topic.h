/*
 * Topic templates: text with placeholders that becomes the topic of a reading. Pure; any thread.
 */
#ifndef FIELDGATE_TOPIC_H
#define FIELDGATE_TOPIC_H

#include "fieldgate/value.h"

#include <stddef.h>

/*
 * A topic template: text with {gateway}, {base}, {port}, {device}, {point} and {key:NAME}. Everything but
 * {point} and {key:NAME} is fixed when it is compiled.
 */
struct fg_topic;

struct fg_topic_names {
    const char *gateway;
    const char *base;
    const char *port;
    const char *device;
};

/*
 * Checks a template (names may be NULL for a check alone): unknown placeholders, unbalanced braces, '+' or
 * '#', a leading '$', control characters, bad UTF-8, longer than 1024 bytes. Returns 0; or -EINVAL with a
 * sentence in why.
 */
int fg_topic_check(const char *template, char *why, size_t why_size);

/* Compiles. Returns 0 and *topic (fg_topic_free), -EINVAL, -ENOMEM. */
int fg_topic_new(const char *template, const struct fg_topic_names *names, struct fg_topic **topic);
void fg_topic_free(struct fg_topic *topic);

/*
 * Renders a topic for a reading, into room for size bytes with the NUL; point is NULL but for payload
 * "points". A field that is missing renders as "_". What fills a placeholder brings no '/', '+', '#', control
 * character or bad UTF-8 (each such character becomes '_'), and the topic never begins with '$'
 * (MQTT 5.0, 4.7). Returns its length, or -EMSGSIZE.
 */
int fg_topic_render(const struct fg_topic *topic, const struct fg_reading *reading, const char *point,
                    size_t point_length, char *out, size_t size);

/* Makes text fit for one level of a topic, as above, into room for size bytes; an empty text becomes "_".
 * Returns its length; what does not fit is cut at a character's boundary. '$' at the start becomes '_'. */
size_t fg_topic_clean(const char *text, size_t length, char *out, size_t size);

/* The template of point_topic from that of topic: a trailing "/state" is dropped, "/{point}" is added (unless
 * {point} is in the template already). Into room for size bytes; returns 0 or -EMSGSIZE. */
int fg_topic_for_points(const char *template, char *out, size_t size);

#endif
