/*
 * Values and readings: what decoders and protocols make of bytes, and what payloads are made of.
 * Nothing here is thread-safe; a record belongs to the worker that fills it.
 */
#ifndef FIELDGATE_VALUE_H
#define FIELDGATE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fg_value_kind {
    FG_VALUE_NULL, /* no value: NaN and infinities included */
    FG_VALUE_BOOLEAN,
    FG_VALUE_INTEGER, /* -2^63 .. 2^63-1 */
    FG_VALUE_NATURAL, /* 2^63 .. 2^64-1: what does not fit FG_VALUE_INTEGER */
    FG_VALUE_REAL,    /* always finite */
    FG_VALUE_TEXT,    /* always valid UTF-8, not NUL-terminated */
};

struct fg_value {
    enum fg_value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        uint64_t natural;
        double real;
    };
    /* The text of a TEXT. Of other kinds: what the device wrote, where it wrote text, else NULL; it tells
     * apart what is one number ("12e5" and "1200e3", or integers beyond 64 bits) and names a device. */
    struct {
        const char *bytes;
        size_t length;
    } text;
};

/* One named value. Names are valid UTF-8, 1..FG_NAME_MAX bytes, not NUL-terminated. */
struct fg_field {
    const char *name;
    size_t name_length;
    struct fg_value value;
};

#define FG_NAME_MAX          255
#define FG_RECORD_MAX_FIELDS 256
#define FG_RECORD_TEXT_BYTES 16384

/*
 * The fields of one frame, with room for the names and texts that do not stand in the frame itself. Some 26
 * kB: it lives on a worker's stack or in its scratch, and is used again for the next frame.
 */
struct fg_record {
    size_t count;
    size_t text_used;
    struct fg_field fields[FG_RECORD_MAX_FIELDS];
    char text[FG_RECORD_TEXT_BYTES];
};

void fg_record_reset(struct fg_record *record);

/* Copies length bytes into the record's own room. Returns where they stand, or NULL when there is no room. */
const char *fg_record_keep(struct fg_record *record, const void *bytes, size_t length);

/* Adds a field; name and text must live as long as the record is used. Returns 0, -ENOSPC when full, -EINVAL
 * for a name that is empty or longer than FG_NAME_MAX. A name that is there already is replaced (the last one
 * wins). */
int fg_record_add(struct fg_record *record, const char *name, size_t name_length, struct fg_value value);

/* The field of that name, or NULL. */
const struct fg_field *fg_record_find(const struct fg_record *record, const char *name, size_t name_length);

/* Removes the field of that name, if it is there; the others keep their order. */
void fg_record_remove(struct fg_record *record, const char *name, size_t name_length);

struct fg_value fg_value_real(double real); /* NULL for NaN and infinities */
struct fg_value fg_value_integer(int64_t integer);
struct fg_value fg_value_natural(uint64_t natural); /* INTEGER where it fits */
struct fg_value fg_value_boolean(bool boolean);
struct fg_value fg_value_text(const char *bytes, size_t length); /* the caller has checked the UTF-8 */

/* Whether two values are equal in kind and content. */
bool fg_value_equal(const struct fg_value *a, const struct fg_value *b);

/* The value as a number for deadbands; false when it is none. */
bool fg_value_number(const struct fg_value *value, double *number);

/*
 * What a worker hands over: the points of one device taken at one time. Everything it points to is borrowed
 * for the call.
 */
struct fg_reading {
    int64_t taken_ns;    /* fg_clock_now_ns when the frame's last byte came */
    int64_t wall_ms;     /* Unix time of the same moment, or the device's own time */
    bool unsynchronised; /* it is of a clock that had not been set */
    const struct fg_field *fields;
    size_t count;
    const uint8_t *frame; /* the frame's bytes without delimiter, or NULL */
    size_t frame_size;
};

#endif
