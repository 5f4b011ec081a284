/*
 * "keyvalue": temp=21.5 hum=40. Runs of separators are one, blanks around names and values do not count. A
 * value may be quoted, and is text then; inside, \" is a quote and \\ a backslash. A name that comes twice
 * has its last value.
 */
#include "decoders.h"

#include "fieldgate/text.h"

#include <string.h>

struct keyvalue_settings {
    char *separator;
    char *assign;
};

static void check_text(struct fg_check *check, const char *key, const void *field)
{
    const char *text = *(char *const *)field;
    if (strchr(text, '"') || !fg_utf8_valid(text, strlen(text))) {
        fg_check_problem(check, key, "must be UTF-8 without a quote");
    }
}

static const struct fg_setting table[] = {
    { .key = "separator",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct keyvalue_settings, separator),
      .fallback = " ",
      .minimum = 1,
      .maximum = 16,
      .unit = "bytes",
      .help = "What stands between two pairs; a run of them counts as one.",
      .check = check_text },
    { .key = "assign",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct keyvalue_settings, assign),
      .fallback = "=",
      .minimum = 1,
      .maximum = 16,
      .unit = "bytes",
      .help = "What stands between a name and its value.",
      .check = check_text },
    { 0 },
};

static void check(struct fg_check *check, const void *settings)
{
    const struct keyvalue_settings *own = settings;
    if (strstr(own->assign, own->separator)) {
        fg_check_problem(check, "assign", "contains the separator; the two must differ");
    }
}

static const struct fg_schema schema = {
    .name = "decoder keyvalue",
    .help =
        "Pairs of name and value. Numbers become numbers, values in quotes are text, empty ones null; a part "
        "without `assign` is malformed.",
    .size = sizeof(struct keyvalue_settings),
    .settings = table,
    .check = check,
};

struct cursor {
    const char *at;
    const char *stop;
    struct fg_span separator;
    struct fg_span assign;
};

static bool stands_at(const struct cursor *cursor, struct fg_span word)
{
    return (size_t)(cursor->stop - cursor->at) >= word.length &&
           memcmp(cursor->at, word.bytes, word.length) == 0;
}

static const char *find(const struct cursor *cursor, struct fg_span word)
{
    return memmem(cursor->at, (size_t)(cursor->stop - cursor->at), word.bytes, word.length);
}

static bool is_blank(char letter)
{
    return letter == ' ' || letter == '\t' || letter == '\r' || letter == '\n';
}

static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->stop && !stands_at(cursor, cursor->separator) && is_blank(*cursor->at)) {
        cursor->at++;
    }
}

/* To the next pair: past separators and blanks. */
static void skip_separators(struct cursor *cursor)
{
    const char *before;
    do {
        before = cursor->at;
        skip_blanks(cursor);
        if (stands_at(cursor, cursor->separator)) {
            cursor->at += cursor->separator.length;
        }
    } while (cursor->at > before);
}

/* Reads a quoted value, at whose first quote the cursor stands, and what may follow it: blanks, then a
 * separator. */
static enum fg_reason read_quoted(struct cursor *cursor, struct fg_record *record, struct fg_value *value)
{
    const char *begin = cursor->at + 1;
    const char *end = begin;
    size_t escapes = 0;
    while (end < cursor->stop && *end != '"') {
        bool escape = *end == '\\' && end + 1 < cursor->stop && (end[1] == '"' || end[1] == '\\');
        escapes += escape ? 1 : 0;
        end += escape ? 2 : 1;
    }
    if (end >= cursor->stop) {
        return FG_REASON_MALFORMED;
    }
    cursor->at = end + 1;
    skip_blanks(cursor);
    if (cursor->at < cursor->stop && !stands_at(cursor, cursor->separator)) {
        return FG_REASON_MALFORMED;
    }
    size_t length = (size_t)(end - begin);
    if (escapes == 0) {
        *value = fg_value_text(begin, length);
        return FG_REASON_NONE;
    }
    if (length - escapes > sizeof record->text - record->text_used) {
        return FG_REASON_OVERSIZED;
    }
    char *kept = record->text + record->text_used;
    size_t used = 0;
    for (const char *at = begin; at < end; at++) {
        at += *at == '\\' && (at[1] == '"' || at[1] == '\\') ? 1 : 0;
        kept[used++] = *at;
    }
    record->text_used += used;
    *value = fg_value_text(kept, used);
    return FG_REASON_NONE;
}

/* Reads the pair at which the cursor stands. */
static enum fg_reason read_pair(struct cursor *cursor, struct fg_record *record)
{
    const char *assign = find(cursor, cursor->assign);
    if (!assign) {
        return FG_REASON_MALFORMED;
    }
    struct fg_span name = { .bytes = cursor->at, .length = (size_t)(assign - cursor->at) };
    if (memmem(name.bytes, name.length, cursor->separator.bytes, cursor->separator.length)) {
        return FG_REASON_MALFORMED;
    }
    name = fg_span_trim(name);
    cursor->at = assign + cursor->assign.length;
    skip_blanks(cursor);
    struct fg_value value;
    if (cursor->at < cursor->stop && *cursor->at == '"') {
        enum fg_reason reason = read_quoted(cursor, record, &value);
        if (reason) {
            return reason;
        }
    } else {
        const char *end = find(cursor, cursor->separator);
        end = end ? end : cursor->stop;
        value = fg_span_value(
            fg_span_trim((struct fg_span){ .bytes = cursor->at, .length = (size_t)(end - cursor->at) }));
        cursor->at = end;
    }
    return fg_decoder_add(record, name.bytes, name.length, value);
}

static enum fg_reason decode(const void *settings, const uint8_t *frame, size_t size,
                             struct fg_record *record)
{
    const struct keyvalue_settings *own = settings;
    if (!fg_utf8_valid(frame, size)) {
        return FG_REASON_ENCODING;
    }
    struct cursor cursor = {
        .at = (const char *)frame,
        .stop = (const char *)frame + size,
        .separator = { .bytes = own->separator, .length = strlen(own->separator) },
        .assign = { .bytes = own->assign, .length = strlen(own->assign) },
    };
    skip_separators(&cursor);
    while (cursor.at < cursor.stop) {
        enum fg_reason reason = read_pair(&cursor, record);
        if (reason) {
            return reason;
        }
        skip_separators(&cursor);
    }
    return record->count > 0 ? FG_REASON_NONE : FG_REASON_EMPTY;
}

const struct fg_decoder fg_decoder_keyvalue = {
    .variant = { .name = "keyvalue",
                 .help = "Pairs of name and value, `temp=21.5 hum=40`.",
                 .schema = &schema },
    .decode = decode,
};
