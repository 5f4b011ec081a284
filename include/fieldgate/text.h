/*
 * Text: UTF-8, numbers that read back the same, the times and numbers that devices write. Pure functions.
 */
#ifndef FIELDGATE_TEXT_H
#define FIELDGATE_TEXT_H

#include "fieldgate/buffer.h"
#include "fieldgate/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the bytes are valid UTF-8 (RFC 3629: no surrogates, no overlong forms) without a NUL. */
bool fg_utf8_valid(const void *bytes, size_t length);

/* Length of the valid UTF-8 sequence at the start of bytes, 0 when there is none. NUL counts as none. */
size_t fg_utf8_step(const void *bytes, size_t length);

/* Room for any number that fg_number_print makes, its NUL included. */
#define FG_NUMBER_TEXT 32

/* Prints a finite double in the fewest of 15..17 digits that read back as the same double, with ".0" or an
 * exponent so that it stays a real (21 becomes "21.0"). The text is a JSON number. Returns its length. */
size_t fg_real_print(double real, char text[FG_NUMBER_TEXT]);

/*
 * Reads a number as devices write them, the whole text: [+-]digits is an integer up to 64 bits; digits with
 * point or exponent, and integers beyond 64 bits, are a real. "nan", "inf", "-inf", "infinity" in any case
 * are NULL values. Integers with leading zeros ("007") are no numbers: they are names. The decimal point is
 * '.', whatever the locale. More than 1023 bytes are no number. Returns true and sets *value, or false when
 * the text is no number.
 */
bool fg_number_parse(const char *text, size_t length, struct fg_value *value);

/*
 * Reads a device's time: Unix seconds (may have a fraction), Unix milliseconds (numbers from 1e11), or RFC
 * 3339 / ISO 8601 text ("2026-01-31T12:00:00.5Z", "+01:00"; without a zone it is UTC). Returns 0 and Unix
 * milliseconds, or -EINVAL for what is none of these or outside the years 1970..2199.
 */
int fg_time_parse(const struct fg_value *value, int64_t *wall_ms);

/* Appends a JSON string with its quotes; length bytes of valid UTF-8. Returns as fg_buffer_append. */
int fg_json_put_text(struct fg_buffer *buffer, const char *bytes, size_t length);

/* Appends a value as JSON (RFC 8259). Returns as fg_buffer_append. */
int fg_json_put_value(struct fg_buffer *buffer, const struct fg_value *value);

/* The nearest of the NULL-terminated candidates to word (by edits), or NULL when none is near: for "did you
 * mean". */
const char *fg_text_nearest(const char *word, const char *const *candidates);

/*
 * Reads a duration ("250ms", "5s", "10min", "6h", "7d"; also "us"; a decimal fraction is allowed) into
 * nanoseconds, a size ("64KiB", "16MiB", "1GiB", "512B") into bytes. The unit is needed, except for a plain
 * 0. Return 0, -EINVAL for no such form, -ERANGE past 64 bits.
 */
int fg_duration_parse(const char *text, int64_t *ns);
int fg_size_parse(const char *text, int64_t *bytes);

#endif
