/*
 * "nmea0183": one sentence of NMEA 0183 or IEC 61162-1, its checksum verified, behind a TAG block or not.
 *
 * What passes the checksum is decoded: a field that is empty is null, one that cannot be read as what it
 * should be is text, and a sentence whose layout is not known, or is another one than its units tell, has
 * field1, field2 and so on.
 */
#include "decoders.h"
#include "nmea_sentences.h"

#include "checksum.h"
#include "fieldgate/text.h"

#include <stdio.h>
#include <string.h>

#define SENTENCE_MAX 255 /* the standard says 82; receivers with many satellites send longer ones */

static const struct fg_setting table[] = {
    { 0 },
};

static const struct fg_schema schema = {
    .name = "decoder nmea0183",
    .help = "NMEA 0183 sentences as `talker`, `sentence` and their named fields; `datetime` where a sentence "
            "has both "
            "date and time. The checksum is required.",
    .size = 1, /* nothing to set, but something to allocate */
    .settings = table,
};

/* The fields of one sentence that are still to be read, and its date and time as they come up. */
struct reader {
    struct fg_record *record;
    const char *at; /* NULL: none left */
    const char *stop;
    size_t number; /* of the field read last, from 1 */
    struct fg_span time;
    int year, month, day; /* 0 until read */
};

static bool is_digit(char letter)
{
    return letter >= '0' && letter <= '9';
}

static bool all_digits(struct fg_span span)
{
    for (size_t i = 0; i < span.length; i++) {
        if (!is_digit(span.bytes[i])) {
            return false;
        }
    }
    return span.length > 0;
}

/* The next field, empty when there is none. */
static struct fg_span next_field(struct reader *reader)
{
    struct fg_span field = { .bytes = "", .length = 0 };
    if (reader->at) {
        const char *comma = memchr(reader->at, ',', (size_t)(reader->stop - reader->at));
        field = (struct fg_span){ .bytes = reader->at,
                                  .length = (size_t)((comma ? comma : reader->stop) - reader->at) };
        reader->at = comma ? comma + 1 : NULL;
        reader->number++;
    }
    return field;
}

static size_t fields_left(const struct reader *reader)
{
    size_t count = reader->at ? 1 : 0;
    for (const char *at = reader->at; at && (at = memchr(at, ',', (size_t)(reader->stop - at))); at++) {
        count++;
    }
    return count;
}

static struct fg_value text_of(struct fg_span field)
{
    return field.length > 0 ? fg_value_text(field.bytes, field.length)
                            : (struct fg_value){ .kind = FG_VALUE_NULL };
}

/* A number with the leading zeros that NMEA has; else text. */
static struct fg_value number_of(struct fg_span field)
{
    char copy[64];
    struct fg_value value;
    if (field.length == 0 || field.length > sizeof copy) {
        return text_of(field);
    }
    size_t used = 0;
    size_t at = 0;
    if (field.bytes[0] == '-' || field.bytes[0] == '+') {
        copy[used++] = field.bytes[at++];
    }
    while (at + 1 < field.length && field.bytes[at] == '0' && is_digit(field.bytes[at + 1])) {
        at++;
    }
    memcpy(copy + used, field.bytes + at, field.length - at);
    return fg_number_parse(copy, used + field.length - at, &value) ? value : text_of(field);
}

/* The sign that a direction gives, 0 for none. */
static int direction_sign(struct fg_span direction, const char *positive, const char *negative)
{
    if (direction.length != 1 || direction.bytes[0] == '\0') {
        return 0;
    }
    return strchr(positive, direction.bytes[0]) ? 1 : strchr(negative, direction.bytes[0]) ? -1 : 0;
}

static struct fg_value signed_of(struct fg_span field, struct fg_span direction)
{
    struct fg_value value = number_of(field);
    int sign = direction_sign(direction, "NE", "SW");
    double number;
    if (!fg_value_number(&value, &number)) {
        return value;
    }
    /* Subtracted: negating makes a zero negative. */
    return sign == 0 ? text_of(field) : fg_value_real(sign > 0 ? number : 0.0 - number);
}

/* Signed decimal degrees of dddmm.mmm: the last two digits before the point are minutes. */
static struct fg_value degrees_of(struct fg_span field, int sign, int most)
{
    size_t whole = 0;
    int degrees = 0;
    while (whole < field.length && is_digit(field.bytes[whole])) {
        whole++;
    }
    if (sign == 0 || whole < 3 || whole > 5 || (whole < field.length && field.bytes[whole] != '.')) {
        return text_of(field);
    }
    for (size_t i = 0; i < whole - 2; i++) {
        degrees = degrees * 10 + (field.bytes[i] - '0');
    }
    struct fg_span rest = { .bytes = field.bytes + whole - 2, .length = field.length - whole + 2 };
    struct fg_value value = number_of(rest);
    double minutes;
    if (!fg_value_number(&value, &minutes) || minutes >= 60.0 || degrees + minutes / 60.0 > most) {
        return text_of(field);
    }
    double angle = degrees + minutes / 60.0;
    return fg_value_real(sign > 0 ? angle : 0.0 - angle);
}

static int two_digits(const char *at)
{
    return (at[0] - '0') * 10 + (at[1] - '0');
}

/* Keeps a text made here. Without room it is the field as it stands. */
static struct fg_value kept(struct reader *reader, struct fg_span field, const char *text, int length)
{
    const char *bytes = fg_record_keep(reader->record, text, (size_t)length);
    return bytes ? fg_value_text(bytes, (size_t)length) : text_of(field);
}

static struct fg_value time_of(struct reader *reader, struct fg_span field)
{
    const char *at = field.bytes;
    bool whole = field.length == 6 || (field.length > 7 && field.length <= 16 && at[6] == '.' &&
                                       all_digits((struct fg_span){ at + 7, field.length - 7 }));
    if (!whole || !all_digits((struct fg_span){ at, 6 }) || two_digits(at) > 23 || two_digits(at + 2) > 59 ||
        two_digits(at + 4) > 60) {
        return text_of(field);
    }
    char text[32];
    int length = snprintf(text, sizeof text, "%.2s:%.2s:%.*s", at, at + 2, (int)field.length - 4, at + 4);
    struct fg_value value = kept(reader, field, text, length);
    reader->time = (struct fg_span){ value.text.bytes, value.text.length };
    return value;
}

static struct fg_value date_of(struct reader *reader, struct fg_span field)
{
    const char *at = field.bytes;
    if (field.length != 6 || !all_digits(field)) {
        return text_of(field);
    }
    int day = two_digits(at), month = two_digits(at + 2), year = two_digits(at + 4);
    if (day < 1 || day > 31 || month < 1 || month > 12) {
        return text_of(field);
    }
    reader->day = day;
    reader->month = month;
    reader->year = year + (year < 80 ? 2000 : 1900);
    char text[32];
    int length = snprintf(text, sizeof text, "%04d-%02d-%02d", reader->year, month, day);
    return kept(reader, field, text, length);
}

/* A part of a date; remembered in *part when it is one. */
static struct fg_value part_of(struct fg_span field, int least, int most, int *part)
{
    struct fg_value value = number_of(field);
    if (value.kind == FG_VALUE_INTEGER && value.integer >= least && value.integer <= most) {
        *part = (int)value.integer;
    }
    return value;
}

static struct fg_value read_value(struct reader *reader, enum nmea_kind kind)
{
    struct fg_span field = next_field(reader);
    switch (kind) {
    case NMEA_NUMBER:
        return number_of(field);
    case NMEA_LATITUDE:
        return degrees_of(field, direction_sign(next_field(reader), "N", "S"), 90);
    case NMEA_LONGITUDE:
        return degrees_of(field, direction_sign(next_field(reader), "E", "W"), 180);
    case NMEA_SIGNED:
        return signed_of(field, next_field(reader));
    case NMEA_TIME:
        return time_of(reader, field);
    case NMEA_DATE:
        return date_of(reader, field);
    case NMEA_DAY:
        return part_of(field, 1, 31, &reader->day);
    case NMEA_MONTH:
        return part_of(field, 1, 12, &reader->month);
    case NMEA_YEAR:
        return part_of(field, 1970, 2199, &reader->year);
    case NMEA_TEXT:
    case NMEA_UNIT:
        break;
    }
    return text_of(field);
}

static enum fg_reason read_fields(struct reader *reader, const struct nmea_field *fields)
{
    enum fg_reason reason = FG_REASON_NONE;
    for (; fields && fields->name && reader->at && !reason; fields++) {
        struct fg_value value = read_value(reader, fields->kind);
        if (fields->kind != NMEA_UNIT) {
            reason = fg_decoder_add(reader->record, fields->name, strlen(fields->name), value);
        }
    }
    return reason;
}

/* Adds a field whose name has a number in it. */
static enum fg_reason add_numbered(struct fg_record *record, const char *group, size_t number,
                                   const char *name, struct fg_value value)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%s%zu%s%s", group, number, name[0] ? "_" : "", name);
    const char *bytes = fg_record_keep(record, text, (size_t)length);
    return bytes ? fg_decoder_add(record, bytes, (size_t)length, value) : FG_REASON_OVERSIZED;
}

static enum fg_reason read_groups(struct reader *reader, const struct nmea_sentence *sentence)
{
    size_t width = 0;
    while (sentence->group_fields && sentence->group_fields[width].name) {
        width++;
    }
    size_t count = width == 0 ? 0 : fields_left(reader) / width;
    if (sentence->group_count > 0 && count > sentence->group_count) {
        count = sentence->group_count;
    }
    enum fg_reason reason = FG_REASON_NONE;
    for (size_t i = 0; i < count && !reason; i++) {
        for (size_t j = 0; j < width && !reason; j++) {
            const struct nmea_field *field = &sentence->group_fields[j];
            reason = add_numbered(reader->record, sentence->group, i + 1, field->name,
                                  read_value(reader, field->kind));
        }
    }
    return reason;
}

/* Whether every unit stands where the layout has it, or is left out. */
static bool layout_fits(const struct reader *from, const struct nmea_field *fields)
{
    struct reader reader = *from;
    for (; fields && fields->name && reader.at; fields++) {
        struct fg_span field = next_field(&reader);
        bool pair =
            fields->kind == NMEA_LATITUDE || fields->kind == NMEA_LONGITUDE || fields->kind == NMEA_SIGNED;
        if (pair) {
            next_field(&reader);
        }
        if (fields->kind == NMEA_UNIT && field.length > 0 &&
            (field.length != 1 || field.bytes[0] != fields->name[0])) {
            return false;
        }
    }
    return true;
}

static enum fg_reason add_datetime(struct reader *reader)
{
    if (reader->time.length == 0 || reader->year == 0 || reader->month == 0 || reader->day == 0) {
        return FG_REASON_NONE;
    }
    char text[48];
    int length = snprintf(text, sizeof text, "%04d-%02d-%02dT%.*sZ", reader->year, reader->month, reader->day,
                          (int)reader->time.length, reader->time.bytes);
    const char *bytes = fg_record_keep(reader->record, text, (size_t)length);
    return bytes ? fg_decoder_add(reader->record, "datetime", 8, fg_value_text(bytes, (size_t)length))
                 : FG_REASON_OVERSIZED;
}

static enum fg_reason read_sentence(struct reader *reader, const struct nmea_sentence *sentence)
{
    enum fg_reason reason = FG_REASON_NONE;
    if (sentence && layout_fits(reader, sentence->fields)) {
        reason = read_fields(reader, sentence->fields);
        if (!reason) {
            reason = read_groups(reader, sentence);
        }
        if (!reason) {
            reason = read_fields(reader, sentence->tail);
        }
        if (!reason) {
            reason = add_datetime(reader);
        }
    }
    while (reader->at && !reason) {
        struct fg_span field = next_field(reader);
        reason = add_numbered(reader->record, "field", reader->number, "", fg_span_value(field));
    }
    return reason;
}

/* Adds talker and sentence. A proprietary address is P and whatever the manufacturer makes of the rest. */
static enum fg_reason read_address(struct fg_record *record, struct fg_span address, struct fg_span *name)
{
    size_t talker = address.length > 0 && address.bytes[0] == 'P' ? 1 : 2;
    if (address.length <= talker) {
        return FG_REASON_MALFORMED;
    }
    if (!fg_utf8_valid(address.bytes, talker)) {
        return FG_REASON_ENCODING; /* the talker would end inside a character */
    }
    *name = (struct fg_span){ .bytes = address.bytes + talker, .length = address.length - talker };
    enum fg_reason reason = fg_decoder_add(record, "talker", 6, fg_value_text(address.bytes, talker));
    return reason ? reason : fg_decoder_add(record, "sentence", 8, fg_value_text(name->bytes, name->length));
}

static int hex_digit(char letter)
{
    static const char digits[] = "0123456789ABCDEF";
    letter = letter >= 'a' && letter <= 'f' ? (char)(letter - 'a' + 'A') : letter;
    const char *found = letter ? strchr(digits, letter) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Takes "*hh" off the end, when it is the checksum of what stands before it. */
static bool take_checksum(struct fg_span *span)
{
    if (span->length < 3 || span->bytes[span->length - 3] != '*') {
        return false;
    }
    int high = hex_digit(span->bytes[span->length - 2]);
    int low = hex_digit(span->bytes[span->length - 1]);
    span->length -= 3;
    return high >= 0 && low >= 0 && fg_checksum_xor(0, span->bytes, span->length) == (high << 4 | low);
}

/* Takes the TAG block of IEC 61162-450, \...*hh\, off the begin; its own fields are not decoded. */
static enum fg_reason take_tag_block(struct fg_span *span)
{
    if (span->length == 0 || span->bytes[0] != '\\') {
        return FG_REASON_NONE;
    }
    const char *end = memchr(span->bytes + 1, '\\', span->length - 1);
    if (!end) {
        return FG_REASON_MALFORMED;
    }
    struct fg_span block = { .bytes = span->bytes + 1, .length = (size_t)(end - span->bytes) - 1 };
    span->length -= block.length + 2;
    span->bytes = end + 1;
    return take_checksum(&block) ? FG_REASON_NONE : FG_REASON_CHECKSUM;
}

static enum fg_reason decode(const void *settings, const uint8_t *frame, size_t size,
                             struct fg_record *record)
{
    (void)settings;
    struct fg_span span = fg_span_trim((struct fg_span){ .bytes = (const char *)frame, .length = size });
    enum fg_reason reason = take_tag_block(&span);
    if (reason) {
        return reason;
    }
    if (span.length > SENTENCE_MAX) {
        return FG_REASON_OVERSIZED;
    }
    if (span.length == 0 || (span.bytes[0] != '$' && span.bytes[0] != '!')) {
        return FG_REASON_MALFORMED;
    }
    span.bytes++;
    span.length--;
    if (!take_checksum(&span)) {
        return FG_REASON_CHECKSUM;
    }
    if (!fg_utf8_valid(span.bytes, span.length)) {
        return FG_REASON_ENCODING;
    }
    struct reader reader = { .record = record, .at = span.bytes, .stop = span.bytes + span.length };
    struct fg_span name;
    reason = read_address(record, next_field(&reader), &name);
    reader.number = 0;
    return reason ? reason : read_sentence(&reader, fg_nmea_sentence(name.bytes, name.length));
}

const struct fg_decoder fg_decoder_nmea0183 = {
    .variant = { .name = "nmea0183",
                 .help = "Sentences of GPS receivers and marine instruments.",
                 .schema = &schema },
    .decode = decode,
};
