#include "fieldgate/text.h"

#include <string.h>

static bool continues(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The table of RFC 3629 section 4: the bounds of the second byte keep out overlong forms, surrogates and what
 * lies past U+10FFFF. */
size_t fg_utf8_step(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    if (length == 0 || at[0] == 0) {
        return 0;
    }
    uint8_t lead = at[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    size_t need = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (length < need) {
        return 0;
    }
    uint8_t lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < lowest || at[1] > highest) {
        return 0;
    }
    for (size_t i = 2; i < need; i++) {
        if (!continues(at[i])) {
            return 0;
        }
    }
    return need;
}

bool fg_utf8_valid(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    while (length > 0) {
        size_t step = fg_utf8_step(at, length);
        if (step == 0) {
            return false;
        }
        at += step;
        length -= step;
    }
    return true;
}

static int put_escaped(struct fg_buffer *buffer, char byte)
{
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    const char *found = byte ? strchr(from, byte) : NULL;
    if (found) {
        const char text[2] = { '\\', to[found - from] };
        return fg_buffer_append(buffer, text, sizeof text);
    }
    return fg_buffer_printf(buffer, "\\u%04x", (unsigned)(uint8_t)byte);
}

static bool needs_escape(char byte)
{
    return (uint8_t)byte < 0x20 || byte == '"' || byte == '\\';
}

static int put_quoted(struct fg_buffer *buffer, const char *bytes, size_t length)
{
    int error = fg_buffer_append(buffer, "\"", 1);
    size_t at = 0;
    while (!error && at < length) {
        size_t plain = at;
        while (plain < length && !needs_escape(bytes[plain])) {
            plain++;
        }
        error = fg_buffer_append(buffer, bytes + at, plain - at);
        at = plain;
        if (!error && at < length) {
            error = put_escaped(buffer, bytes[at++]);
        }
    }
    return error ? error : fg_buffer_append(buffer, "\"", 1);
}

int fg_json_put_text(struct fg_buffer *buffer, const char *bytes, size_t length)
{
    size_t before = buffer->size;
    int error = put_quoted(buffer, bytes, length);
    if (error) {
        buffer->size = before;
    }
    return error;
}

int fg_json_put_value(struct fg_buffer *buffer, const struct fg_value *value)
{
    char text[FG_NUMBER_TEXT];
    switch (value->kind) {
    case FG_VALUE_NULL:
        return fg_buffer_append(buffer, "null", 4);
    case FG_VALUE_BOOLEAN:
        return value->boolean ? fg_buffer_append(buffer, "true", 4) : fg_buffer_append(buffer, "false", 5);
    case FG_VALUE_INTEGER:
        return fg_buffer_printf(buffer, "%lld", (long long)value->integer);
    case FG_VALUE_NATURAL:
        return fg_buffer_printf(buffer, "%llu", (unsigned long long)value->natural);
    case FG_VALUE_REAL:
        return fg_buffer_append(buffer, text, fg_real_print(value->real, text));
    case FG_VALUE_TEXT:
        return fg_json_put_text(buffer, value->text.bytes, value->text.length);
    }
    return fg_buffer_append(buffer, "null", 4);
}

/* Longer words have no suggestion: what is compared stays on the stack. */
#define NEAREST_MAX 64

static char folded(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, substitutions and swaps of neighbours, each one edit; the case of letters is none.
 */
static size_t edits(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][NEAREST_MAX + 1];
    size_t *older = rows[0], *old = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++) {
        old[j] = j;
        older[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            char left = folded(a[i - 1]), right = folded(b[j - 1]);
            row[j] = least(least(old[j], row[j - 1]) + 1, old[j - 1] + (left != right));
            if (i > 1 && j > 1 && left == folded(b[j - 2]) && folded(a[i - 2]) == right) {
                row[j] = least(row[j], older[j - 2] + 1);
            }
        }
        size_t *spare = older;
        older = old;
        old = row;
        row = spare;
    }
    return old[b_length];
}

const char *fg_text_nearest(const char *word, const char *const *candidates)
{
    size_t length = strnlen(word, NEAREST_MAX + 1);
    if (length == 0 || length > NEAREST_MAX) {
        return NULL;
    }
    const char *nearest = NULL;
    size_t fewest = SIZE_MAX;
    for (; *candidates; candidates++) {
        size_t other = strnlen(*candidates, NEAREST_MAX + 1);
        if (other > NEAREST_MAX) {
            continue;
        }
        size_t distance = edits(word, length, *candidates, other);
        /* More than a third of the letters wrong is another word. */
        if (distance * 3 <= (length > other ? length : other) && distance < fewest) {
            nearest = *candidates;
            fewest = distance;
        }
    }
    return nearest;
}
