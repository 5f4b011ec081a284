/*
 * "csv": one record of RFC 4180, its fields named by the configuration. Blanks around a field do not count; a
 * number is a number, a quoted field always text, an empty one no value.
 */
#include "decoders.h"

#include "fieldgate/text.h"

#include <string.h>

struct csv_settings {
    struct fg_texts columns;
    char *separator;
};

static void check_column(struct fg_check *check, const char *key, const void *field)
{
    const char *name = *(char *const *)field;
    if (strlen(name) > FG_NAME_MAX) {
        fg_check_problem(check, key, "a column's name is longer than %d bytes", FG_NAME_MAX);
    } else if (!fg_utf8_valid(name, strlen(name))) {
        fg_check_problem(check, key, "a column's name is not UTF-8");
    }
}

static void check_separator(struct fg_check *check, const char *key, const void *field)
{
    const char *separator = *(char *const *)field;
    if (strchr("\"\r\n", separator[0]) || (unsigned char)separator[0] >= 0x80) {
        fg_check_problem(check, key, "must be one ASCII character that is no quote and no line end");
    }
}

static const struct fg_setting table[] = {
    { .key = "columns",
      .type = FG_SETTING_TEXTS,
      .offset = offsetof(struct csv_settings, columns),
      .minimum = 1,
      .maximum = FG_RECORD_MAX_FIELDS,
      .help = "Names of the columns in their order; an empty name skips the column. A frame with more or "
              "fewer columns "
              "is malformed.",
      .check = check_column },
    { .key = "separator",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct csv_settings, separator),
      .fallback = ",",
      .minimum = 1,
      .maximum = 1,
      .help = "The character between two columns.",
      .check = check_separator },
    { 0 },
};

static void check(struct fg_check *check, const void *settings)
{
    const struct csv_settings *csv = settings;
    size_t named = 0;
    for (size_t i = 0; i < csv->columns.count; i++) {
        const char *name = csv->columns.items[i];
        named += name[0] ? 1 : 0;
        for (size_t j = 0; name[0] && j < i; j++) {
            if (strcmp(name, csv->columns.items[j]) == 0) {
                fg_check_problem(check, "columns", "\"%s\" names two columns; names must differ", name);
                break;
            }
        }
    }
    if (named == 0) {
        fg_check_problem(check, "columns", "no column has a name; at least one must");
    }
}

static const struct fg_schema schema = {
    .name = "decoder csv",
    .help = "Comma-separated values, one record a frame, quoted as in RFC 4180. Numbers become numbers, "
            "quoted fields "
            "are text, empty ones null.",
    .size = sizeof(struct csv_settings),
    .settings = table,
    .check = check,
};

/* Reads a quoted field: *at is behind its first quote, and moves behind its last. */
static enum fg_reason read_quoted(const char **at, const char *stop, struct fg_record *record,
                                  struct fg_value *value)
{
    const char *begin = *at;
    size_t doubled = 0;
    const char *end = begin;
    for (;;) {
        end = memchr(end, '"', (size_t)(stop - end));
        if (!end) {
            return FG_REASON_MALFORMED;
        }
        if (end + 1 == stop || end[1] != '"') {
            break;
        }
        doubled++;
        end += 2;
    }
    *at = end + 1;
    size_t length = (size_t)(end - begin);
    if (doubled == 0) {
        *value = fg_value_text(begin, length);
        return FG_REASON_NONE;
    }
    if (length - doubled > sizeof record->text - record->text_used) {
        return FG_REASON_OVERSIZED;
    }
    char *kept = record->text + record->text_used;
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        kept[used++] = begin[i];
        i += begin[i] == '"' ? 1 : 0;
    }
    record->text_used += used;
    *value = fg_value_text(kept, used);
    return FG_REASON_NONE;
}

/* Reads the field at *at, and moves to the separator behind it or to stop. */
static enum fg_reason read_field(const char **at, const char *stop, char separator, struct fg_record *record,
                                 struct fg_value *value)
{
    const char *begin = *at;
    while (begin < stop && *begin != separator && (*begin == ' ' || *begin == '\t')) {
        begin++;
    }
    bool quoted = begin < stop && *begin == '"';
    if (quoted) {
        begin++;
        enum fg_reason reason = read_quoted(&begin, stop, record, value);
        if (reason) {
            return reason;
        }
    }
    const char *end = memchr(begin, separator, (size_t)(stop - begin));
    end = end ? end : stop;
    struct fg_span span = { .bytes = begin, .length = (size_t)(end - begin) };
    if (memchr(begin, '"', span.length) || memchr(begin, '\n', span.length) ||
        memchr(begin, '\r', span.length)) {
        return FG_REASON_MALFORMED;
    }
    span = fg_span_trim(span);
    if (!quoted) {
        *value = fg_span_value(span);
    } else if (span.length > 0) {
        return FG_REASON_MALFORMED;
    }
    *at = end;
    return FG_REASON_NONE;
}

static enum fg_reason decode(const void *settings, const uint8_t *frame, size_t size,
                             struct fg_record *record)
{
    const struct csv_settings *csv = settings;
    if (!fg_utf8_valid(frame, size)) {
        return FG_REASON_ENCODING;
    }
    while (size > 0 && (frame[size - 1] == '\n' || frame[size - 1] == '\r')) {
        size--;
    }
    const char *at = (const char *)frame;
    const char *stop = at + size;
    for (size_t column = 0; column < csv->columns.count; column++) {
        if (column > 0) {
            if (at == stop) {
                return FG_REASON_MALFORMED;
            }
            at++;
        }
        struct fg_value value;
        enum fg_reason reason = read_field(&at, stop, csv->separator[0], record, &value);
        const char *name = csv->columns.items[column];
        if (!reason && name[0]) {
            reason = fg_decoder_add(record, name, strlen(name), value);
        }
        if (reason) {
            return reason;
        }
    }
    return at == stop ? FG_REASON_NONE : FG_REASON_MALFORMED;
}

const struct fg_decoder fg_decoder_csv = {
    .variant = { .name = "csv", .help = "Comma-separated values with named columns.", .schema = &schema },
    .decode = decode,
};
