/* Values of points on their way to the device. */
#include "fieldgate/text.h"
#include "modbus_number.h"
#include "modbus_points.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct encoding {
    const struct fg_modbus_point *point;
    const struct fg_value *value;
    struct fg_modbus_request *request;
    char *why;
};

static int refuse(const struct encoding *encoding, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const struct encoding *encoding, int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(encoding->why, FG_MODBUS_WHY, format, arguments);
    va_end(arguments);
    return error;
}

/* A number in words. */
struct words {
    char text[FG_NUMBER_TEXT];
};

static struct words words_of_real(double real)
{
    struct words words = { "" };
    size_t length = fg_real_print(real, words.text);
    if (length > 2 && strcmp(words.text + length - 2, ".0") == 0) {
        words.text[length - 2] = '\0';
    }
    return words;
}

static struct words words_of(const struct fg_value *value)
{
    struct words words = { "" };
    switch (value->kind) {
    case FG_VALUE_INTEGER:
        snprintf(words.text, sizeof words.text, "%lld", (long long)value->integer);
        return words;
    case FG_VALUE_NATURAL:
        snprintf(words.text, sizeof words.text, "%llu", (unsigned long long)value->natural);
        return words;
    default:
        return words_of_real(value->real);
    }
}

static bool is_number(const struct fg_value *value)
{
    return value->kind == FG_VALUE_INTEGER || value->kind == FG_VALUE_NATURAL || value->kind == FG_VALUE_REAL;
}

#define PAST_NATURAL  18446744073709551616.0   /* 2^64 */
#define LEAST_INTEGER (-9223372036854775808.0) /* -2^63 */

/* Negative, 0 or positive as value is less, equal or more: without rounding the value. */
static int compare(const struct fg_value *value, double bound)
{
    if (value->kind == FG_VALUE_REAL) {
        return value->real < bound ? -1 : value->real > bound;
    }
    if (bound >= PAST_NATURAL || bound < LEAST_INTEGER) {
        return bound > 0 ? -1 : 1;
    }
    double whole = floor(bound);
    int at_whole; /* how value stands to it */
    if (value->kind == FG_VALUE_NATURAL) {
        uint64_t limit = whole < 0 ? 0 : (uint64_t)whole;
        at_whole = value->natural < limit ? -1 : value->natural > limit;
    } else if (whole >= 0x1p63) {
        at_whole = -1;
    } else {
        int64_t limit = (int64_t)whole;
        at_whole = value->integer < limit ? -1 : value->integer > limit;
    }
    return at_whole == 0 && bound > whole ? -1 : at_whole;
}

static int check_limits(const struct encoding *encoding)
{
    const struct fg_modbus_point *point = encoding->point;
    const struct fg_value *value = encoding->value;
    if (compare(value, point->minimum) < 0) {
        return refuse(encoding, -ERANGE, "%s is less than the point's min, %s", words_of(value).text,
                      words_of_real(point->minimum).text);
    }
    if (compare(value, point->maximum) > 0) {
        return refuse(encoding, -ERANGE, "%s is more than the point's max, %s", words_of(value).text,
                      words_of_real(point->maximum).text);
    }
    return 0;
}

/* ---- requests ---- */

static void put_single(const struct encoding *encoding, uint16_t word)
{
    const struct fg_modbus_point *point = encoding->point;
    encoding->request->function = FG_MODBUS_WRITE_REGISTER;
    encoding->request->registers[0] = (uint16_t)(point->swap_bytes ? word << 8 | word >> 8 : word);
}

static void put_raw(const struct encoding *encoding, uint64_t raw)
{
    const struct fg_modbus_point *point = encoding->point;
    uint8_t bytes[8] = { 0 };
    if (point->count == 1) {
        put_single(encoding, (uint16_t)raw);
        return;
    }
    size_t size = (size_t)point->count * 2;
    for (size_t i = 0; i < size; i++) {
        bytes[fg_modbus_point_place(point, i, point->count)] = (uint8_t)(raw >> 8 * (size - 1 - i));
    }
    encoding->request->function = FG_MODBUS_WRITE_REGISTERS;
    for (size_t i = 0; i < point->count; i++) {
        encoding->request->registers[i] = (uint16_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
    }
}

/* Application Protocol 6.16: the register becomes (register AND and_mask) OR (or_mask AND NOT and_mask). */
static void put_bits(const struct encoding *encoding, uint64_t raw)
{
    const struct fg_modbus_point *point = encoding->point;
    unsigned bits = ((1u << point->width) - 1) << point->bit;
    unsigned set = (unsigned)raw << point->bit;
    if (point->width == 16) {
        put_single(encoding, (uint16_t)raw);
        return;
    }
    if (point->swap_bytes) {
        bits = (bits << 8 | bits >> 8) & 0xFFFF;
        set = (set << 8 | set >> 8) & 0xFFFF;
    }
    encoding->request->function = FG_MODBUS_MASK_WRITE;
    encoding->request->and_mask = (uint16_t)~bits;
    encoding->request->or_mask = (uint16_t)set;
}

/* ---- kinds of values ---- */

static int encode_bool(const struct encoding *encoding)
{
    const struct fg_modbus_point *point = encoding->point;
    const struct fg_value *value = encoding->value;
    bool on = value->kind == FG_VALUE_BOOLEAN ? value->boolean : value->integer == 1;
    if (value->kind != FG_VALUE_BOOLEAN &&
        (value->kind != FG_VALUE_INTEGER || value->integer < 0 || value->integer > 1)) {
        return refuse(encoding, -EINVAL, "expected true or false");
    }
    if (point->table == FG_MODBUS_COIL) {
        encoding->request->function = FG_MODBUS_WRITE_COIL;
        encoding->request->coils[0] = on;
    } else if (point->whole_bool) {
        put_single(encoding, on);
    } else {
        put_bits(encoding, on);
    }
    return 0;
}

static int encode_text(const struct encoding *encoding)
{
    const struct fg_modbus_point *point = encoding->point;
    const struct fg_value *value = encoding->value;
    size_t room = (size_t)point->count * 2;
    if (value->kind != FG_VALUE_TEXT) {
        return refuse(encoding, -EINVAL, "expected a text");
    }
    if (value->text.length > room) {
        return refuse(encoding, -ERANGE, "the text has %zu bytes, the point holds %zu", value->text.length,
                      room);
    }
    uint8_t bytes[FG_MODBUS_WRITE_REGISTERS_MAX * 2] = { 0 };
    for (size_t i = 0; i < value->text.length; i++) {
        bytes[point->swap_bytes ? i ^ 1 : i] = (uint8_t)value->text.bytes[i];
    }
    encoding->request->function = FG_MODBUS_WRITE_REGISTERS;
    for (size_t i = 0; i < point->count; i++) {
        encoding->request->registers[i] = (uint16_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
    }
    return 0;
}

/* What the type can hold. */
struct limits {
    int64_t minimum;
    uint64_t maximum;
};

static struct limits limits_of(const struct fg_modbus_point *point)
{
    switch (point->type) {
    case FG_MODBUS_INT16:
        return (struct limits){ INT16_MIN, INT16_MAX };
    case FG_MODBUS_UINT16:
        return (struct limits){ 0, UINT16_MAX };
    case FG_MODBUS_INT32:
        return (struct limits){ INT32_MIN, INT32_MAX };
    case FG_MODBUS_UINT32:
        return (struct limits){ 0, UINT32_MAX };
    case FG_MODBUS_INT64:
        return (struct limits){ INT64_MIN, INT64_MAX };
    case FG_MODBUS_BITS:
        return (struct limits){ 0, (UINT64_C(1) << point->width) - 1 };
    default:
        return (struct limits){ 0, UINT64_MAX };
    }
}

/* Whether the device would tell just this value, were it asked for raw. */
static bool reads_back(const struct fg_modbus_point *point, int64_t raw, double real)
{
    return fg_real_clean((double)raw * point->scale + point->offset) == fg_real_clean(real);
}

/* raw * scale + offset = value, for an integer raw. */
static bool unscale(const struct fg_modbus_point *point, const struct fg_value *value, int64_t *raw)
{
    struct fg_decimal decimal = { 0 };
    int64_t number;
    double real = 0;
    if (value->kind == FG_VALUE_INTEGER) {
        decimal.mantissa = value->integer;
    }
    bool known = value->kind == FG_VALUE_INTEGER ||
                 (value->kind == FG_VALUE_REAL && fg_decimal_from_real(value->real, &decimal));
    if (point->exact && known) {
        int shift = decimal.exponent + point->digits;
        if (fg_decimal_shift(decimal.mantissa, shift, &number) &&
            !__builtin_sub_overflow(number, point->addend, &number) &&
            !(number == INT64_MIN && point->multiplier == -1)) { /* the one quotient past 64 bits */
            *raw = number / point->multiplier;
            return number % point->multiplier == 0;
        }
    }
    fg_value_number(value, &real);
    double nearest = nearbyint((real - point->offset) / point->scale);
    if (fabs(nearest) > 0x1p53) {
        return false;
    }
    *raw = (int64_t)nearest;
    return reads_back(point, *raw, real);
}

/* The value as an integer, without scale. */
static bool whole(const struct fg_value *value, struct fg_value *integer)
{
    if (value->kind != FG_VALUE_REAL) {
        *integer = *value;
        return true;
    }
    if (value->real != trunc(value->real) || fabs(value->real) >= 0x1p63) {
        return false;
    }
    *integer = fg_value_integer((int64_t)value->real);
    return true;
}

static int encode_integer(const struct encoding *encoding)
{
    const struct fg_modbus_point *point = encoding->point;
    struct fg_value raw;
    int64_t number;
    if (!point->scaled) {
        if (!whole(encoding->value, &raw)) {
            return refuse(encoding, -EDOM, "%s is not an integer", words_of(encoding->value).text);
        }
    } else if (unscale(point, encoding->value, &number)) {
        raw = fg_value_integer(number);
    } else {
        return refuse(encoding, -EDOM, "%s is between the device's steps of %s",
                      words_of(encoding->value).text, words_of_real(fabs(point->scale)).text);
    }
    struct limits limits = limits_of(point);
    bool fits =
        raw.kind == FG_VALUE_NATURAL
            ? raw.natural <= limits.maximum
            : raw.integer >= limits.minimum && (raw.integer < 0 || (uint64_t)raw.integer <= limits.maximum);
    if (!fits) {
        return refuse(encoding, -ERANGE, "%s is out of the range of the point's type",
                      words_of(encoding->value).text);
    }
    uint64_t bits = raw.kind == FG_VALUE_NATURAL ? raw.natural : (uint64_t)raw.integer;
    if (point->type == FG_MODBUS_BITS) {
        put_bits(encoding, bits);
    } else {
        put_raw(encoding, bits);
    }
    return 0;
}

/* Whether an integer is still itself as a double. */
static bool survives(const struct fg_value *value, double real)
{
    return value->kind == FG_VALUE_REAL || compare(value, real) == 0;
}

static int encode_float(const struct encoding *encoding)
{
    const struct fg_modbus_point *point = encoding->point;
    double real = 0;
    fg_value_number(encoding->value, &real);
    bool exact = survives(encoding->value, real);
    if (point->scaled) {
        real = fg_real_clean((real - point->offset) / point->scale);
    }
    uint64_t raw;
    if (point->type == FG_MODBUS_FLOAT32) {
        if (fabs(real) >= 0x1.ffffffp127) { /* rounds to infinity */
            return refuse(encoding, -ERANGE, "%s is out of the range of the point's type",
                          words_of(encoding->value).text);
        }
        float number = (float)real;
        uint32_t bits;
        exact = exact && (point->scaled || survives(encoding->value, (double)number));
        memcpy(&bits, &number, sizeof bits);
        raw = bits;
    } else {
        memcpy(&raw, &real, sizeof raw);
    }
    if (!isfinite(real)) {
        return refuse(encoding, -ERANGE, "%s is out of the range of the point's type",
                      words_of(encoding->value).text);
    }
    if (!exact) {
        return refuse(encoding, -EDOM, "%s has more digits than the point's type holds",
                      words_of(encoding->value).text);
    }
    put_raw(encoding, raw);
    return 0;
}

static int encode(const struct encoding *encoding)
{
    switch (encoding->point->type) {
    case FG_MODBUS_BOOL:
        return encode_bool(encoding);
    case FG_MODBUS_STRING:
        return encode_text(encoding);
    default:
        break;
    }
    if (!is_number(encoding->value)) {
        return refuse(encoding, -EINVAL, "expected a number");
    }
    int error = check_limits(encoding);
    if (error) {
        return error;
    }
    bool real = encoding->point->type == FG_MODBUS_FLOAT32 || encoding->point->type == FG_MODBUS_FLOAT64;
    return real ? encode_float(encoding) : encode_integer(encoding);
}

int fg_modbus_point_encode(const struct fg_modbus_point *point, uint8_t unit, const struct fg_value *value,
                           struct fg_modbus_request *request, char why[FG_MODBUS_WHY])
{
    struct fg_modbus_request made = { .unit = unit, .write = { point->address, point->count } };
    struct encoding encoding = { .point = point, .value = value, .request = &made, .why = why };
    if (!point->writable) {
        return refuse(&encoding, -EACCES, "not writable");
    }
    int error = encode(&encoding);
    if (!error) {
        *request = made;
    }
    return error;
}
