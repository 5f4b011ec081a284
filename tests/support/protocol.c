#include "support/protocol.h"

#include "fieldgate/text.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void give_up(const char *what, const char *which)
{
    fprintf(stderr, "%s: %s\n", what, which);
    abort();
}

const struct fg_variant *fg_test_variant(const struct fg_variant *const *registry, const char *name)
{
    for (; *registry; registry++) {
        if (strcmp((*registry)->name, name) == 0) {
            return *registry;
        }
    }
    give_up("no such variant", name);
    return NULL;
}

static struct fg_texts split(const char *text)
{
    struct fg_texts texts = { 0 };
    for (const char *at = text; at && *text;) {
        size_t length = strcspn(at, "/");
        texts.items = realloc(texts.items, (texts.count + 1) * sizeof texts.items[0]);
        texts.items[texts.count++] = strndup(at, length);
        at = at[length] ? at + length + 1 : NULL;
    }
    return texts;
}

static void free_texts(const struct fg_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        free(texts->items[i]);
    }
    free(texts->items);
}

static int choose(const char *const *choices, const char *text)
{
    for (int i = 0; choices[i]; i++) {
        if (strcmp(choices[i], text) == 0) {
            return i;
        }
    }
    give_up("no such choice", text);
    return 0;
}

static void set(const struct fg_setting *setting, char *settings, const char *text)
{
    void *field = settings + setting->offset;
    int64_t number;
    switch (setting->type) {
    case FG_SETTING_INTEGER:
        number = strtoll(text, NULL, 0);
        memcpy(field, &number, sizeof number);
        break;
    case FG_SETTING_DURATION:
        if (fg_duration_parse(text, &number) != 0) {
            give_up("no duration", text);
        }
        memcpy(field, &number, sizeof number);
        break;
    case FG_SETTING_BOOLEAN:
        *(bool *)field = strcmp(text, "true") == 0;
        break;
    case FG_SETTING_CHOICE:
        *(int *)field = choose(setting->choices, text);
        break;
    case FG_SETTING_TEXT:
        free(*(char **)field);
        *(char **)field = strdup(text);
        break;
    case FG_SETTING_TEXTS:
        free_texts(field);
        *(struct fg_texts *)field = split(text);
        break;
    default:
        give_up("no test knows this type of setting", setting->key);
    }
}

void *fg_test_settings_new(const struct fg_schema *schema, const char *text)
{
    char *settings = calloc(1, schema->size);
    for (const struct fg_setting *setting = schema->settings; setting->key; setting++) {
        if (setting->fallback) {
            set(setting, settings, setting->fallback);
        }
    }
    while (text && *text) {
        size_t key = strcspn(text, "=");
        size_t value = strcspn(text + key + 1, "|");
        char *copy = strndup(text + key + 1, value);
        const struct fg_setting *setting = schema->settings;
        while (setting->key && (strlen(setting->key) != key || strncmp(setting->key, text, key) != 0)) {
            setting++;
        }
        if (!setting->key) {
            give_up("no such setting", text);
        }
        set(setting, settings, copy);
        free(copy);
        text += key + 1 + value + (text[key + 1 + value] ? 1 : 0);
    }
    return settings;
}

void fg_test_settings_free(const struct fg_schema *schema, void *settings)
{
    for (const struct fg_setting *setting = schema->settings; settings && setting->key; setting++) {
        void *field = (char *)settings + setting->offset;
        if (setting->type == FG_SETTING_TEXT) {
            free(*(char **)field);
        } else if (setting->type == FG_SETTING_TEXTS) {
            free_texts(field);
        }
    }
    free(settings);
}

uint64_t fg_test_random(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ (mixed >> 31);
}

static void show(struct fg_buffer *out, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        if (isprint(at[i])) {
            fg_buffer_append(out, at + i, 1);
        } else {
            fg_buffer_printf(out, "\\x%02x", at[i]);
        }
    }
}

static void put(struct fg_buffer *out, enum fg_framing_result result, const struct fg_frame *frame,
                enum fg_reason reason)
{
    if (result == FG_FRAMING_FRAME) {
        fg_buffer_append(out, "[", 1);
        show(out, frame->bytes, frame->size);
        fg_buffer_append(out, "]", 1);
    } else if (result == FG_FRAMING_REJECT) {
        fg_buffer_printf(out, "<%s>", fg_reason_name(reason));
    }
}

/* What holds after each call. */
static void check_promises(const struct fg_framer *framer, enum fg_framing_result result,
                           const uint8_t *input, const struct fg_frame *frame, size_t before, size_t after,
                           struct fg_buffer *out)
{
    size_t max = (size_t)framer->settings->max_bytes;
    if (framer->pending.capacity > max + 32) {
        fg_buffer_printf(out, FG_BROKEN "holds %zu bytes", framer->pending.capacity);
    }
    if (framer->pending.size == 0 && framer->pending.capacity > 0 && !framer->release) {
        fg_buffer_printf(out, FG_BROKEN "holds memory while nothing is pending");
    }
    if (framer->discarding && framer->pending.size > 0) {
        fg_buffer_printf(out, FG_BROKEN "holds what it discards");
    }
    if (result == FG_FRAMING_FRAME && frame->size > max) {
        fg_buffer_printf(out, FG_BROKEN "frame longer than max_bytes");
    }
    if (result == FG_FRAMING_FRAME && !framer->release && frame->size > 0 &&
        (frame->bytes < input || frame->bytes + frame->size > input + before)) {
        fg_buffer_printf(out, FG_BROKEN "frame neither in the input nor in pending");
    }
    if (before > 0 && after >= before) {
        fg_buffer_printf(out, FG_BROKEN "takes nothing");
    }
    if (result == FG_FRAMING_MORE && after > 0) {
        fg_buffer_printf(out, FG_BROKEN "leaves input");
    }
}

static void feed(struct fg_framer *framer, const uint8_t *bytes, size_t size, struct fg_buffer *out)
{
    enum fg_framing_result result;
    const uint8_t *input = bytes;
    do {
        struct fg_frame frame = { 0 };
        enum fg_reason reason = FG_REASON_NONE;
        size_t before = size;
        const uint8_t *from = input;
        result = fg_framer_next(framer, &input, &size, &frame, &reason);
        check_promises(framer, result, from, &frame, before, size, out);
        put(out, result, &frame, reason);
    } while (result != FG_FRAMING_MORE);
}

void fg_test_frames(const struct fg_variant *variant, const void *settings, const void *bytes, size_t size,
                    size_t piece, uint64_t *seed, enum fg_framing_end why, struct fg_buffer *out)
{
    struct fg_framer framer;
    fg_framer_init(&framer, variant, settings);
    const uint8_t *at = bytes;
    while (size > 0) {
        size_t count = piece == 0 ? size : piece;
        if (seed && piece > 0) {
            count = 1 + (size_t)(fg_test_random(seed) % piece);
        }
        count = count < size ? count : size;
        uint8_t *block = malloc(count);
        memcpy(block, at, count);
        feed(&framer, block, count, out);
        free(block);
        at += count;
        size -= count;
    }
    struct fg_frame frame = { 0 };
    enum fg_reason reason = FG_REASON_NONE;
    enum fg_framing_result result = fg_framer_end(&framer, why, &frame, &reason);
    put(out, result, &frame, reason);
    if (fg_framer_pending(&framer) || framer.phase || framer.number || framer.discarding ||
        (result != FG_FRAMING_FRAME && framer.pending.bytes)) {
        fg_buffer_printf(out, FG_BROKEN "not as new after the end");
    }
    fg_framer_fini(&framer);
}

static void put_value(struct fg_buffer *out, const struct fg_value *value)
{
    static const char kinds[] = { [FG_VALUE_INTEGER] = 'i', [FG_VALUE_NATURAL] = 'n', [FG_VALUE_REAL] = 'r' };
    switch (value->kind) {
    case FG_VALUE_INTEGER:
    case FG_VALUE_NATURAL:
    case FG_VALUE_REAL:
        fg_buffer_printf(out, "%c", kinds[value->kind]);
        if (value->kind == FG_VALUE_REAL && !isfinite(value->real)) {
            fg_buffer_printf(out, FG_BROKEN "not finite");
            break;
        }
        fg_json_put_value(out, value);
        break;
    case FG_VALUE_TEXT:
        fg_buffer_printf(out, "t\"");
        show(out, value->text.bytes, value->text.length);
        fg_buffer_printf(out, "\"");
        if (!fg_utf8_valid(value->text.bytes, value->text.length)) {
            fg_buffer_printf(out, FG_BROKEN "not UTF-8");
        }
        break;
    default:
        fg_json_put_value(out, value);
    }
}

void fg_test_decode(const struct fg_variant *variant, const void *settings, const void *frame, size_t size,
                    struct fg_buffer *out)
{
    struct fg_record *record = malloc(sizeof *record);
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (size > 0) {
        memcpy(copy, frame, size);
    }
    memset(record, 0xA5, sizeof *record);
    enum fg_reason reason = fg_decode(variant, settings, copy, size, record);
    if (reason != FG_REASON_NONE) {
        fg_buffer_printf(out, "<%s>", fg_reason_name(reason));
        record->count = 0;
    } else if (record->count == 0) {
        fg_buffer_printf(out, "nothing");
    }
    for (size_t i = 0; i < record->count; i++) {
        const struct fg_field *field = &record->fields[i];
        fg_buffer_printf(out, "%s", i > 0 ? " " : "");
        show(out, field->name, field->name_length);
        fg_buffer_printf(out, "=");
        put_value(out, &field->value);
        if (field->name_length == 0 || field->name_length > FG_NAME_MAX ||
            !fg_utf8_valid(field->name, field->name_length)) {
            fg_buffer_printf(out, FG_BROKEN "no name");
        }
        if (fg_record_find(record, field->name, field->name_length) != field) {
            fg_buffer_printf(out, FG_BROKEN "name comes twice");
        }
    }
    free(copy);
    free(record);
}
