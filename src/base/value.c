#include "fieldgate/value.h"

#include <errno.h>
#include <math.h>
#include <string.h>

void fg_record_reset(struct fg_record *record)
{
    record->count = 0;
    record->text_used = 0;
}

const char *fg_record_keep(struct fg_record *record, const void *bytes, size_t length)
{
    if (length > sizeof record->text - record->text_used) {
        return NULL;
    }
    char *kept = record->text + record->text_used;
    if (length > 0) {
        memcpy(kept, bytes, length);
    }
    record->text_used += length;
    return kept;
}

const struct fg_field *fg_record_find(const struct fg_record *record, const char *name, size_t name_length)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct fg_field *field = &record->fields[i];
        if (field->name_length == name_length && memcmp(field->name, name, name_length) == 0) {
            return field;
        }
    }
    return NULL;
}

int fg_record_add(struct fg_record *record, const char *name, size_t name_length, struct fg_value value)
{
    if (name_length == 0 || name_length > FG_NAME_MAX) {
        return -EINVAL;
    }
    const struct fg_field *found = fg_record_find(record, name, name_length);
    if (found) {
        record->fields[found - record->fields].value = value;
        return 0;
    }
    if (record->count == FG_RECORD_MAX_FIELDS) {
        return -ENOSPC;
    }
    record->fields[record->count++] =
        (struct fg_field){ .name = name, .name_length = name_length, .value = value };
    return 0;
}

void fg_record_remove(struct fg_record *record, const char *name, size_t name_length)
{
    const struct fg_field *found = fg_record_find(record, name, name_length);
    if (!found) {
        return;
    }
    size_t at = (size_t)(found - record->fields);
    memmove(&record->fields[at], &record->fields[at + 1],
            (record->count - at - 1) * sizeof record->fields[0]);
    record->count--;
}

struct fg_value fg_value_real(double real)
{
    if (!isfinite(real)) {
        return (struct fg_value){ .kind = FG_VALUE_NULL };
    }
    return (struct fg_value){ .kind = FG_VALUE_REAL, .real = real };
}

struct fg_value fg_value_integer(int64_t integer)
{
    return (struct fg_value){ .kind = FG_VALUE_INTEGER, .integer = integer };
}

struct fg_value fg_value_natural(uint64_t natural)
{
    if (natural <= INT64_MAX) {
        return fg_value_integer((int64_t)natural);
    }
    return (struct fg_value){ .kind = FG_VALUE_NATURAL, .natural = natural };
}

struct fg_value fg_value_boolean(bool boolean)
{
    return (struct fg_value){ .kind = FG_VALUE_BOOLEAN, .boolean = boolean };
}

struct fg_value fg_value_text(const char *bytes, size_t length)
{
    return (struct fg_value){ .kind = FG_VALUE_TEXT, .text = { .bytes = bytes, .length = length } };
}

bool fg_value_equal(const struct fg_value *a, const struct fg_value *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case FG_VALUE_NULL:
        return true;
    case FG_VALUE_BOOLEAN:
        return a->boolean == b->boolean;
    case FG_VALUE_INTEGER:
        return a->integer == b->integer;
    case FG_VALUE_NATURAL:
        return a->natural == b->natural;
    case FG_VALUE_REAL:
        return a->real == b->real;
    case FG_VALUE_TEXT:
        return a->text.length == b->text.length && memcmp(a->text.bytes, b->text.bytes, a->text.length) == 0;
    }
    return false;
}

bool fg_value_number(const struct fg_value *value, double *number)
{
    switch (value->kind) {
    case FG_VALUE_INTEGER:
        *number = (double)value->integer;
        return true;
    case FG_VALUE_NATURAL:
        *number = (double)value->natural;
        return true;
    case FG_VALUE_REAL:
        *number = value->real;
        return true;
    default:
        return false;
    }
}
