#include "fieldgate/modbus_point.h"

#include "fieldgate/text.h"
#include "modbus_number.h"
#include "modbus_points.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* scale and offset as integers over a power of ten, where they are short enough. */
static bool make_exact(struct fg_modbus_point *point)
{
    struct fg_decimal scale, offset;
    if (!fg_decimal_from_real(point->scale, &scale) || !fg_decimal_from_real(point->offset, &offset)) {
        return false;
    }
    int exponent = scale.exponent < offset.exponent ? scale.exponent : offset.exponent;
    exponent = exponent < 0 ? exponent : 0;
    point->digits = -exponent;
    return fg_decimal_shift(scale.mantissa, scale.exponent - exponent, &point->multiplier) &&
           fg_decimal_shift(offset.mantissa, offset.exponent - exponent, &point->addend);
}

uint16_t fg_modbus_point_registers(const struct fg_modbus_point_settings *settings)
{
    switch (settings->type) {
    case FG_MODBUS_INT32:
    case FG_MODBUS_UINT32:
    case FG_MODBUS_FLOAT32:
        return 2;
    case FG_MODBUS_INT64:
    case FG_MODBUS_UINT64:
    case FG_MODBUS_FLOAT64:
        return 4;
    case FG_MODBUS_STRING:
        return (uint16_t)settings->length;
    default:
        return 1;
    }
}

int fg_modbus_point_init(struct fg_modbus_point *point, const struct fg_modbus_point_settings *settings)
{
    char key[FG_MODBUS_KEY], why[FG_MODBUS_WHY];
    if (fg_modbus_point_problem(settings, key, why)) {
        return -EINVAL;
    }
    *point = (struct fg_modbus_point){
        .table = (enum fg_modbus_table)settings->table,
        .type = (enum fg_modbus_type)settings->type,
        .address = (uint16_t)settings->address,
        .count = fg_modbus_point_registers(settings),
        .writable = settings->writable,
        .reverse_words = settings->order == FG_MODBUS_CDAB || settings->order == FG_MODBUS_DCBA,
        .swap_bytes = settings->order == FG_MODBUS_BADC || settings->order == FG_MODBUS_DCBA,
        .scaled = settings->scale != 1 || settings->offset != 0,
        .whole_bool = settings->type == FG_MODBUS_BOOL && settings->bit < 0,
        .decimals = (int)settings->decimals,
        .bit = (uint8_t)(settings->bit < 0 ? 0 : settings->bit),
        .width = (uint8_t)settings->width,
        .scale = settings->scale,
        .offset = settings->offset,
        .minimum = settings->minimum <= FG_MODBUS_MIN_NONE ? (double)-INFINITY : settings->minimum,
        .maximum = settings->maximum >= FG_MODBUS_MAX_NONE ? (double)INFINITY : settings->maximum,
        .poll_interval_ns = settings->poll_interval_ns,
    };
    point->exact = make_exact(point);
    return 0;
}

uint8_t fg_modbus_table_function(enum fg_modbus_table table)
{
    static const uint8_t functions[] = {
        [FG_MODBUS_COIL] = FG_MODBUS_READ_COILS,
        [FG_MODBUS_DISCRETE] = FG_MODBUS_READ_DISCRETE,
        [FG_MODBUS_INPUT] = FG_MODBUS_READ_INPUT,
        [FG_MODBUS_HOLDING] = FG_MODBUS_READ_HOLDING,
    };
    return functions[table];
}

uint16_t fg_modbus_table_most(enum fg_modbus_table table)
{
    return fg_modbus_table_is_bits(table) ? FG_MODBUS_READ_BITS_MAX : FG_MODBUS_READ_REGISTERS_MAX;
}

size_t fg_modbus_point_place(const struct fg_modbus_point *point, size_t byte, size_t words)
{
    size_t word = byte / 2;
    size_t half = byte % 2;
    word = point->reverse_words ? words - 1 - word : word;
    half = point->swap_bytes ? 1 - half : half;
    return word * 2 + half;
}

static uint64_t gather(const struct fg_modbus_point *point, const uint8_t *data)
{
    uint64_t raw = 0;
    for (size_t i = 0; i < (size_t)point->count * 2; i++) {
        raw = raw << 8 | data[fg_modbus_point_place(point, i, point->count)];
    }
    return raw;
}

/* A number that may have gained digits by arithmetic. */
static struct fg_value finish_real(const struct fg_modbus_point *point, double real)
{
    if (!isfinite(real)) {
        return (struct fg_value){ .kind = FG_VALUE_NULL };
    }
    if (point->decimals < 0) {
        return fg_value_real(point->scaled ? fg_real_clean(real) : real);
    }
    double rounded = fg_real_round(real, point->decimals);
    if (point->decimals == 0 && fabs(rounded) < 0x1p63) {
        return fg_value_integer((int64_t)rounded);
    }
    return fg_value_real(rounded);
}

static struct fg_value scaled_integer(const struct fg_modbus_point *point, int64_t raw)
{
    int64_t number;
    int digits = point->digits;
    if (!point->exact || __builtin_mul_overflow(raw, point->multiplier, &number) ||
        __builtin_add_overflow(number, point->addend, &number)) {
        return finish_real(point, (double)raw * point->scale + point->offset);
    }
    if (point->decimals >= 0 && point->decimals < digits) {
        number = fg_decimal_round(number, digits - point->decimals);
        digits = point->decimals;
    }
    return digits == 0 ? fg_value_integer(number) : fg_value_real(fg_decimal_real(number, digits));
}

static struct fg_value integer_value(const struct fg_modbus_point *point, uint64_t raw)
{
    int64_t number = (int64_t)raw;
    switch (point->type) {
    case FG_MODBUS_INT16:
        number = (int16_t)raw;
        break;
    case FG_MODBUS_INT32:
        number = (int32_t)raw;
        break;
    case FG_MODBUS_UINT64:
        if (raw > INT64_MAX) {
            return point->scaled ? finish_real(point, (double)raw * point->scale + point->offset)
                                 : fg_value_natural(raw);
        }
        break;
    default:
        break;
    }
    return point->scaled ? scaled_integer(point, number) : fg_value_integer(number);
}

static struct fg_value float_value(const struct fg_modbus_point *point, uint64_t raw)
{
    double real;
    if (point->type == FG_MODBUS_FLOAT64) {
        memcpy(&real, &raw, sizeof real);
    } else {
        uint32_t half = (uint32_t)raw;
        float number;
        memcpy(&number, &half, sizeof number);
        /* What is rounded to decimals is what the device has; else the digits that it meant. */
        real = isfinite(number) && point->decimals < 0 ? fg_real_from_float(number) : (double)number;
    }
    if (!isfinite(real)) {
        return (struct fg_value){ .kind = FG_VALUE_NULL };
    }
    return finish_real(point, point->scaled ? real * point->scale + point->offset : real);
}

static int text_value(const struct fg_modbus_point *point, const uint8_t *data, struct fg_record *record,
                      struct fg_value *value)
{
    char text[FG_MODBUS_READ_REGISTERS_MAX * 2];
    size_t length = (size_t)point->count * 2;
    for (size_t i = 0; i < length; i++) {
        text[i] = (char)data[point->swap_bytes ? i ^ 1 : i];
    }
    length = strnlen(text, length);
    while (length > 0 && text[length - 1] == ' ') {
        length--;
    }
    if (!fg_utf8_valid(text, length)) {
        return -EILSEQ;
    }
    const char *kept = fg_record_keep(record, text, length);
    if (!kept) {
        return -ENOSPC;
    }
    *value = fg_value_text(kept, length);
    return 0;
}

static bool covers(const struct fg_modbus_point *point, const struct fg_modbus_answer *answer)
{
    const struct fg_modbus_request *request = answer->request;
    uint8_t function = request->function == FG_MODBUS_READ_WRITE ? FG_MODBUS_READ_HOLDING : request->function;
    return !answer->exception && function == fg_modbus_table_function(point->table) &&
           point->address >= request->read.address &&
           (uint32_t)point->address + point->count <= (uint32_t)request->read.address + request->read.count;
}

int fg_modbus_point_decode(const struct fg_modbus_point *point, const struct fg_modbus_answer *answer,
                           struct fg_record *record, struct fg_value *value)
{
    if (!covers(point, answer)) {
        return -ERANGE;
    }
    if (fg_modbus_table_is_bits(point->table)) {
        *value = fg_value_boolean(fg_modbus_answer_bit(answer, point->address));
        return 0;
    }
    const uint8_t *data = answer->data + (size_t)(point->address - answer->request->read.address) * 2;
    if (point->type == FG_MODBUS_STRING) {
        return text_value(point, data, record, value);
    }
    uint64_t raw = gather(point, data);
    switch (point->type) {
    case FG_MODBUS_BOOL:
        *value = fg_value_boolean(point->whole_bool ? raw != 0 : raw >> point->bit & 1);
        break;
    case FG_MODBUS_FLOAT32:
    case FG_MODBUS_FLOAT64:
        *value = float_value(point, raw);
        break;
    case FG_MODBUS_BITS:
        *value = integer_value(point, raw >> point->bit & ((UINT64_C(1) << point->width) - 1));
        break;
    default:
        *value = integer_value(point, raw);
        break;
    }
    return 0;
}
