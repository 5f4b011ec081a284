#include "fieldgate/clock.h"
#include "fieldgate/text.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Longer runs of digits are no number but noise: it bounds the copy that strtod needs. */
#define NUMBER_MAX 1023

/* snprintf and strtod take the decimal point from LC_NUMERIC: the daemon never calls setlocale, so it is '.'.
 */
size_t fg_real_print(double real, char text[FG_NUMBER_TEXT])
{
    assert(isfinite(real));
    int length = 0;
    for (int digits = 15; digits <= 17; digits++) {
        length = snprintf(text, FG_NUMBER_TEXT, "%.*g", digits, real);
        if (strtod(text, NULL) == real) {
            break;
        }
    }
    size_t used = (size_t)length;
    if (!strpbrk(text, ".e")) {
        memcpy(text + used, ".0", 3);
        used += 2;
    }
    return used;
}

static bool is_digit(char letter)
{
    return letter >= '0' && letter <= '9';
}

static size_t digits_at(const char *text, size_t length)
{
    size_t count = 0;
    while (count < length && is_digit(text[count])) {
        count++;
    }
    return count;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return length == strlen(word) && strncasecmp(text, word, length) == 0;
}

/* What stands behind the sign. */
enum shape { SHAPE_NONE, SHAPE_INTEGER, SHAPE_REAL, SHAPE_NOT_FINITE };

static enum shape shape_of(const char *text, size_t length)
{
    if (is_word(text, length, "nan") || is_word(text, length, "inf") || is_word(text, length, "infinity")) {
        return SHAPE_NOT_FINITE;
    }
    size_t whole = digits_at(text, length);
    size_t at = whole;
    size_t fraction = 0;
    if (at < length && text[at] == '.') {
        fraction = digits_at(text + at + 1, length - at - 1);
        at += 1 + fraction;
    }
    if (whole + fraction == 0) {
        return SHAPE_NONE;
    }
    if (at == length && at == whole) {
        return whole > 1 && text[0] == '0' ? SHAPE_NONE : SHAPE_INTEGER;
    }
    if (at < length && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < length && (text[at] == '+' || text[at] == '-')) {
            at++;
        }
        size_t exponent = digits_at(text + at, length - at);
        if (exponent == 0) {
            return SHAPE_NONE;
        }
        at += exponent;
    }
    return at == length ? SHAPE_REAL : SHAPE_NONE;
}

/* Returns false past 64 bits. */
static bool read_natural(const char *digits, size_t length, uint64_t *natural)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < length; i++) {
        if (__builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(digits[i] - '0'), &sum)) {
            return false;
        }
    }
    *natural = sum;
    return true;
}

static struct fg_value read_real(const char *text, size_t length)
{
    char copy[NUMBER_MAX + 1];
    memcpy(copy, text, length);
    copy[length] = '\0';
    return fg_value_real(strtod(copy, NULL));
}

bool fg_number_parse(const char *text, size_t length, struct fg_value *value)
{
    if (length == 0 || length > NUMBER_MAX) {
        return false;
    }
    bool negative = text[0] == '-';
    size_t sign = negative || text[0] == '+';
    uint64_t natural;
    switch (shape_of(text + sign, length - sign)) {
    case SHAPE_NONE:
        return false;
    case SHAPE_NOT_FINITE:
        *value = (struct fg_value){ .kind = FG_VALUE_NULL };
        return true;
    case SHAPE_INTEGER:
        if (read_natural(text + sign, length - sign, &natural)) {
            if (!negative) {
                *value = fg_value_natural(natural);
                return true;
            }
            if (natural <= (uint64_t)INT64_MAX + 1) {
                *value = fg_value_integer(natural == 0 ? 0 : -(int64_t)(natural - 1) - 1);
                return true;
            }
        }
        break;
    case SHAPE_REAL:
        break;
    }
    *value = read_real(text, length);
    return true;
}

struct unit {
    const char *name;
    int64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units, bool may_have_fraction,
                           int64_t *result)
{
    if (strcmp(text, "0") == 0) {
        *result = 0;
        return 0;
    }
    size_t length = strnlen(text, NUMBER_MAX + 1);
    size_t whole = digits_at(text, length);
    if (whole == 0 || length > NUMBER_MAX) {
        return -EINVAL;
    }
    const char *fraction = text + whole;
    size_t fraction_digits = 0;
    size_t at = whole;
    if (may_have_fraction && text[at] == '.') {
        fraction = text + at + 1;
        fraction_digits = digits_at(fraction, length - at - 1);
        if (fraction_digits == 0) {
            return -EINVAL;
        }
        at += 1 + fraction_digits;
    }
    while (units->name && strcmp(text + at, units->name) != 0) {
        units++;
    }
    if (!units->name) {
        return -EINVAL;
    }
    uint64_t natural;
    int64_t sum;
    if (!read_natural(text, whole, &natural) || __builtin_mul_overflow(natural, units->factor, &sum)) {
        return -ERANGE;
    }
    int64_t scale = units->factor;
    for (size_t i = 0; i < fraction_digits; i++) {
        scale /= 10;
        if (__builtin_add_overflow(sum, scale * (fraction[i] - '0'), &sum)) {
            return -ERANGE;
        }
    }
    *result = sum;
    return 0;
}

int fg_duration_parse(const char *text, int64_t *ns)
{
    static const struct unit units[] = {
        { "us", 1000 },
        { "ms", FG_NS_PER_MS },
        { "s", FG_NS_PER_S },
        { "min", 60 * FG_NS_PER_S },
        { "h", 3600 * FG_NS_PER_S },
        { "d", 86400 * FG_NS_PER_S },
        { NULL, 0 },
    };
    return parse_with_unit(text, units, true, ns);
}

int fg_size_parse(const char *text, int64_t *bytes)
{
    static const struct unit units[] = {
        { "B", 1 },  { "KiB", INT64_C(1) << 10 }, { "MiB", INT64_C(1) << 20 }, { "GiB", INT64_C(1) << 30 },
        { NULL, 0 },
    };
    return parse_with_unit(text, units, false, bytes);
}
