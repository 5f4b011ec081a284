#include "fieldgate/topic.h"
#include "fieldgate/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATE_MAX 1024

enum piece_kind { PIECE_TEXT, PIECE_POINT, PIECE_KEY };

struct piece {
    enum piece_kind kind;
    size_t offset; /* of the text, or of the key's name */
    size_t length;
};

struct fg_topic {
    size_t count;
    size_t text_size;
    char *text; /* stands behind the pieces */
    struct piece pieces[];
};

/* What mosquitto and MQTT 5.0, 1.5.4 call fit for a topic: no C0 or C1 control character and no noncharacter.
 * A client that sends one may be disconnected, and would be again each time that the message is sent again.
 */
static size_t fit_step(const char *text, size_t length)
{
    size_t step = fg_utf8_step(text, length);
    const uint8_t *at = (const uint8_t *)text;
    if (step == 1) {
        return at[0] >= 0x20 && at[0] != 0x7f ? 1 : 0;
    }
    if (step == 2) {
        return at[0] == 0xc2 && at[1] < 0xa0 ? 0 : 2;
    }
    if (step == 3) {
        bool specials = at[0] == 0xef && at[1] == 0xbf && at[2] >= 0xbe;
        bool arabic = at[0] == 0xef && at[1] == 0xb7 && at[2] >= 0x90 && at[2] <= 0xaf;
        return specials || arabic ? 0 : 3;
    }
    if (step == 4) {
        return (at[1] & 0x0f) == 0x0f && at[2] == 0xbf && at[3] >= 0xbe ? 0 : 4;
    }
    return 0;
}

/* As fg_topic_clean; returns false when it had to cut. */
static bool clean(const char *text, size_t length, char *out, size_t size, size_t *used)
{
    size_t written = 0;
    size_t at = 0;
    while (at < length) {
        size_t step = fit_step(text + at, length - at);
        bool keep = step > 0 && text[at] != '/' && text[at] != '+' && text[at] != '#' &&
                    !(at == 0 && text[at] == '$');
        size_t skip = step > 0 ? step : fg_utf8_step(text + at, length - at);
        size_t needed = keep ? step : 1;
        if (written + needed + 1 > size) {
            break;
        }
        if (keep) {
            memcpy(out + written, text + at, step);
        } else {
            out[written] = '_';
        }
        written += needed;
        at += skip > 0 ? skip : 1;
    }
    if (length == 0 && size > 1) {
        out[written++] = '_';
    }
    if (size > 0) {
        out[written] = '\0';
    }
    *used = written;
    return at >= length && written > 0;
}

size_t fg_topic_clean(const char *text, size_t length, char *out, size_t size)
{
    size_t used = 0;
    clean(text, length, out, size, &used);
    return used;
}

static int complain(char *why, size_t why_size, const char *sentence)
{
    if (why && why_size > 0) {
        snprintf(why, why_size, "%s", sentence);
    }
    return -EINVAL;
}

enum placeholder { HOLE_UNKNOWN, HOLE_GATEWAY, HOLE_BASE, HOLE_PORT, HOLE_DEVICE, HOLE_POINT, HOLE_KEY };

static bool named(const char *text, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(text, name, length) == 0;
}

/* text is what stands between the braces. */
static enum placeholder placeholder_of(const char *text, size_t length)
{
    static const char *const names[] = { "", "gateway", "base", "port", "device", "point" };
    for (size_t i = 1; i < sizeof names / sizeof names[0]; i++) {
        if (named(text, length, names[i])) {
            return (enum placeholder)i;
        }
    }
    bool key = length > 4 && length <= 4 + FG_NAME_MAX && memcmp(text, "key:", 4) == 0;
    return key ? HOLE_KEY : HOLE_UNKNOWN;
}

static int check_literal(const char *text, size_t length, char *why, size_t why_size)
{
    for (size_t at = 0; at < length;) {
        size_t step = fit_step(text + at, length - at);
        if (step == 0) {
            return complain(why, why_size, "holds a control character or bad UTF-8");
        }
        if (text[at] == '+' || text[at] == '#') {
            return complain(why, why_size, "holds '+' or '#', which cannot stand in a topic");
        }
        if (text[at] == '}') {
            return complain(why, why_size, "has a '}' without its '{'");
        }
        at += step;
    }
    return 0;
}

int fg_topic_check(const char *template, char *why, size_t why_size)
{
    size_t length = strlen(template);
    if (length == 0) {
        return complain(why, why_size, "is empty");
    }
    if (length > TEMPLATE_MAX) {
        return complain(why, why_size, "is longer than 1024 bytes");
    }
    if (template[0] == '$') {
        return complain(why, why_size, "begins with '$', which is the broker's own");
    }
    const char *at = template;
    while (*at) {
        size_t literal = strcspn(at, "{");
        int error = check_literal(at, literal, why, why_size);
        if (error) {
            return error;
        }
        at += literal;
        if (!*at) {
            break;
        }
        size_t inside = strcspn(at + 1, "{}");
        if (at[1 + inside] != '}') {
            return complain(why, why_size, "has a '{' without its '}'");
        }
        if (placeholder_of(at + 1, inside) == HOLE_UNKNOWN) {
            return complain(
                why, why_size,
                "has an unknown placeholder; known are {gateway}, {base}, {port}, {device}, {point} and "
                "{key:NAME}");
        }
        at += inside + 2;
    }
    return 0;
}

static void put_text(struct fg_topic *topic, const char *text, size_t length)
{
    struct piece *last = topic->count > 0 ? &topic->pieces[topic->count - 1] : NULL;
    memcpy(topic->text + topic->text_size, text, length);
    if (last && last->kind == PIECE_TEXT) {
        last->length += length;
    } else {
        topic->pieces[topic->count++] = (struct piece){ PIECE_TEXT, topic->text_size, length };
    }
    topic->text_size += length;
}

static void put_cleaned(struct fg_topic *topic, const char *text)
{
    size_t length = strlen(text);
    char cleaned[FG_NAME_MAX + 1];
    size_t cleaned_length = fg_topic_clean(text, length, cleaned, sizeof cleaned);
    put_text(topic, cleaned, cleaned_length);
}

static void put_placeholder(struct fg_topic *topic, const struct fg_topic_names *names, const char *text,
                            size_t length)
{
    switch (placeholder_of(text, length)) {
    case HOLE_GATEWAY:
        put_cleaned(topic, names->gateway);
        break;
    case HOLE_BASE:
        put_text(topic, names->base, strlen(names->base));
        break;
    case HOLE_PORT:
        put_cleaned(topic, names->port);
        break;
    case HOLE_DEVICE:
        put_cleaned(topic, names->device);
        break;
    case HOLE_POINT:
        topic->pieces[topic->count++] = (struct piece){ .kind = PIECE_POINT };
        break;
    case HOLE_KEY:
        memcpy(topic->text + topic->text_size, text + 4, length - 4);
        topic->pieces[topic->count++] = (struct piece){ PIECE_KEY, topic->text_size, length - 4 };
        topic->text_size += length - 4;
        break;
    case HOLE_UNKNOWN:
        break; /* fg_topic_check has passed */
    }
}

int fg_topic_new(const char *template, const struct fg_topic_names *names, struct fg_topic **result)
{
    if (fg_topic_check(template, NULL, 0) != 0) {
        return -EINVAL;
    }
    size_t holes = 0;
    for (const char *at = template; *at; at++) {
        holes += *at == '{';
    }
    size_t pieces = 2 * holes + 1;
    size_t longest = strlen(names->base) > FG_NAME_MAX ? strlen(names->base) : FG_NAME_MAX;
    size_t text = strlen(template) + holes * (longest + 1);
    struct fg_topic *topic = calloc(1, sizeof *topic + pieces * sizeof(struct piece) + text);
    if (!topic) {
        return -ENOMEM;
    }
    topic->text = (char *)(topic->pieces + pieces);
    for (const char *at = template; *at;) {
        size_t literal = strcspn(at, "{");
        if (literal > 0) {
            put_text(topic, at, literal);
        }
        at += literal;
        if (*at) {
            size_t inside = strcspn(at + 1, "}");
            put_placeholder(topic, names, at + 1, inside);
            at += inside + 2;
        }
    }
    *result = topic;
    return 0;
}

void fg_topic_free(struct fg_topic *topic)
{
    free(topic);
}

/* A field's value as the text of a topic level, as the device wrote it where it wrote text; what has none (""
 * and NULL values) stays empty. */
static size_t value_text(const struct fg_value *value, char small[FG_NUMBER_TEXT], const char **text)
{
    if (value->text.length > 0) {
        *text = value->text.bytes;
        return value->text.length;
    }
    *text = small;
    switch (value->kind) {
    case FG_VALUE_NULL:
        return 0;
    case FG_VALUE_BOOLEAN:
        return (size_t)snprintf(small, FG_NUMBER_TEXT, "%s", value->boolean ? "true" : "false");
    case FG_VALUE_INTEGER:
        return (size_t)snprintf(small, FG_NUMBER_TEXT, "%lld", (long long)value->integer);
    case FG_VALUE_NATURAL:
        return (size_t)snprintf(small, FG_NUMBER_TEXT, "%llu", (unsigned long long)value->natural);
    case FG_VALUE_REAL:
        return fg_real_print(value->real, small);
    case FG_VALUE_TEXT:
        return 0;
    }
    return 0;
}

static const struct fg_field *find_field(const struct fg_reading *reading, const char *name, size_t length)
{
    for (size_t i = 0; i < reading->count; i++) {
        const struct fg_field *field = &reading->fields[i];
        if (field->name_length == length && memcmp(field->name, name, length) == 0) {
            return field;
        }
    }
    return NULL;
}

static bool render_piece(const struct fg_topic *topic, const struct piece *piece,
                         const struct fg_reading *reading, const char *point, size_t point_length, char *out,
                         size_t size, size_t *used)
{
    char small[FG_NUMBER_TEXT];
    const char *text = "";
    size_t length = 0;
    if (piece->kind == PIECE_TEXT) {
        if (piece->length >= size) {
            return false;
        }
        memcpy(out, topic->text + piece->offset, piece->length);
        *used = piece->length;
        return true;
    }
    if (piece->kind == PIECE_POINT) {
        text = point ? point : "";
        length = point ? point_length : 0;
    } else {
        const struct fg_field *field = find_field(reading, topic->text + piece->offset, piece->length);
        if (field) {
            length = value_text(&field->value, small, &text);
        }
    }
    return clean(text, length, out, size, used);
}

int fg_topic_render(const struct fg_topic *topic, const struct fg_reading *reading, const char *point,
                    size_t point_length, char *out, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < topic->count; i++) {
        size_t used = 0;
        if (length >= size || !render_piece(topic, &topic->pieces[i], reading, point, point_length,
                                            out + length, size - length, &used)) {
            return -EMSGSIZE;
        }
        length += used;
    }
    if (length == 0 || length >= size || length > UINT16_MAX) {
        return -EMSGSIZE;
    }
    if (out[0] == '$') {
        out[0] = '_';
    }
    out[length] = '\0';
    return (int)length;
}

int fg_topic_for_points(const char *template, char *out, size_t size)
{
    static const char state[] = "/state";
    size_t length = strlen(template);
    bool has_point = strstr(template, "{point}") != NULL;
    if (!has_point && length > sizeof state - 1 &&
        strcmp(template + length - (sizeof state - 1), state) == 0) {
        length -= sizeof state - 1;
    }
    int written = snprintf(out, size, "%.*s%s", (int)length, template, has_point ? "" : "/{point}");
    return written < 0 || (size_t)written >= size ? -EMSGSIZE : 0;
}
