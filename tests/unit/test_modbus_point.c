/* What registers and coils mean. */
#include "fieldgate/modbus_point.h"
#include "support/modbus.h"

#include <errno.h>
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Answers begin here. */
#define BASE 100

static struct fg_record record;
static char text[600];

/* Decodes a point from the registers of an answer that begins at BASE. Returns what the decoder does. */
static int decode_at(const struct fg_modbus_point_settings *settings, uint8_t function,
                     const uint16_t *registers, uint16_t count, struct fg_value *value)
{
    struct fg_modbus_point point;
    struct fg_modbus_request request = { .unit = 1, .function = function, .read = { BASE, count } };
    uint8_t data[250];
    for (size_t i = 0; i < count; i++) {
        data[2 * i] = (uint8_t)(registers[i] >> 8);
        data[2 * i + 1] = (uint8_t)registers[i];
    }
    struct fg_modbus_answer answer = { .request = &request, .data = data, .size = (size_t)count * 2 };
    assert_int_equal(fg_modbus_point_init(&point, settings), 0);
    fg_record_reset(&record);
    return fg_modbus_point_decode(&point, &answer, &record, value);
}

#define WORDS(...)                                                                                           \
    (const uint16_t[]){ __VA_ARGS__ }, (uint16_t)(sizeof((const uint16_t[]){ __VA_ARGS__ }) / 2)

static void decodes(const struct fg_modbus_point_settings *settings, const uint16_t *registers,
                    uint16_t count, const char *wanted)
{
    struct fg_value value = { 0 };
    assert_int_equal(decode_at(settings, FG_MODBUS_READ_HOLDING, registers, count, &value), 0);
    assert_string_equal(fg_test_value_text(&value, text, sizeof text), wanted);
}

static struct fg_modbus_point_settings ordered(enum fg_modbus_type type, enum fg_modbus_order order)
{
    struct fg_modbus_point_settings settings = fg_test_modbus_point(type, BASE);
    settings.order = (int)order;
    return settings;
}

static struct fg_modbus_point_settings scaled(enum fg_modbus_type type, double scale, double offset,
                                              int64_t decimals)
{
    struct fg_modbus_point_settings settings = fg_test_modbus_point(type, BASE);
    settings.scale = scale;
    settings.offset = offset;
    settings.decimals = decimals;
    return settings;
}

static void each_type_is_read_high_byte_first(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point;
    point = fg_test_modbus_point(FG_MODBUS_INT16, BASE);
    decodes(&point, WORDS(0xFFFE), "-2");
    point = fg_test_modbus_point(FG_MODBUS_UINT16, BASE);
    decodes(&point, WORDS(0xFFFE), "65534");
    point = fg_test_modbus_point(FG_MODBUS_INT32, BASE);
    decodes(&point, WORDS(0xFFFF, 0xFFFE), "-2");
    point = fg_test_modbus_point(FG_MODBUS_UINT32, BASE);
    decodes(&point, WORDS(0x1234, 0x5678), "305419896");
    point = fg_test_modbus_point(FG_MODBUS_FLOAT32, BASE);
    decodes(&point, WORDS(0x4366, 0x8000), "230.5");
    point = fg_test_modbus_point(FG_MODBUS_FLOAT64, BASE);
    decodes(&point, WORDS(0x3FF8, 0, 0, 0), "1.5");
    point = fg_test_modbus_point(FG_MODBUS_BOOL, BASE);
    decodes(&point, WORDS(0x0100), "true");
    decodes(&point, WORDS(0), "false");
}

static void integers_keep_their_value_to_64_bits(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_INT64, BASE);
    decodes(&point, WORDS(0x8000, 0, 0, 0), "-9223372036854775808");
    decodes(&point, WORDS(0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF), "9223372036854775807");
    point = fg_test_modbus_point(FG_MODBUS_UINT64, BASE);
    decodes(&point, WORDS(0x0020, 0, 0, 1), "9007199254740993");
    decodes(&point, WORDS(0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF), "18446744073709551615u");
}

static void orders_say_which_byte_comes_first(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point;
    point = ordered(FG_MODBUS_UINT32, FG_MODBUS_ABCD);
    decodes(&point, WORDS(0x0102, 0x0304), "16909060");
    point = ordered(FG_MODBUS_UINT32, FG_MODBUS_CDAB);
    decodes(&point, WORDS(0x0304, 0x0102), "16909060");
    point = ordered(FG_MODBUS_UINT32, FG_MODBUS_BADC);
    decodes(&point, WORDS(0x0201, 0x0403), "16909060");
    point = ordered(FG_MODBUS_UINT32, FG_MODBUS_DCBA);
    decodes(&point, WORDS(0x0403, 0x0201), "16909060");
}

static void orders_of_64_bits_are_those_of_32_continued(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point; /* 0x0102030405060708 */
    point = ordered(FG_MODBUS_UINT64, FG_MODBUS_CDAB);
    decodes(&point, WORDS(0x0708, 0x0506, 0x0304, 0x0102), "72623859790382856");
    point = ordered(FG_MODBUS_UINT64, FG_MODBUS_BADC);
    decodes(&point, WORDS(0x0201, 0x0403, 0x0605, 0x0807), "72623859790382856");
    point = ordered(FG_MODBUS_INT64, FG_MODBUS_DCBA);
    decodes(&point, WORDS(0x0807, 0x0605, 0x0403, 0x0201), "72623859790382856");
    point = ordered(FG_MODBUS_FLOAT64, FG_MODBUS_CDAB);
    decodes(&point, WORDS(0, 0, 0, 0x3FF8), "1.5");
}

static void swapped_bytes_swap_single_registers_too(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = ordered(FG_MODBUS_INT16, FG_MODBUS_BADC);
    decodes(&point, WORDS(0xFEFF), "-2");
    point = ordered(FG_MODBUS_BITS, FG_MODBUS_DCBA);
    point.width = 4;
    decodes(&point, WORDS(0x0500), "5");
}

static void bits_are_a_number_of_their_own(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_BITS, BASE);
    point.bit = 4;
    point.width = 3;
    decodes(&point, WORDS(0xFF5F), "5");
    point.bit = 15;
    point.width = 1;
    decodes(&point, WORDS(0x8000), "1");
    point.bit = 0;
    point.width = 16;
    decodes(&point, WORDS(0xFFFF), "65535");
}

static void a_bool_may_be_one_bit_of_a_register(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_BOOL, BASE);
    point.bit = 9;
    decodes(&point, WORDS(0x0200), "true");
    decodes(&point, WORDS(0xFDFF), "false");
}

static void a_coil_is_a_bool(void **state)
{
    (void)state;
    struct fg_modbus_point_settings settings = fg_test_modbus_point(FG_MODBUS_BOOL, BASE + 10);
    struct fg_modbus_request request = { .unit = 1, .function = 2, .read = { BASE, 16 } };
    struct fg_modbus_answer answer = { .request = &request, .data = (const uint8_t *)"\x00\x04", .size = 2 };
    struct fg_modbus_point point;
    struct fg_value value;
    settings.table = FG_MODBUS_DISCRETE;
    assert_int_equal(fg_modbus_point_init(&point, &settings), 0);
    assert_int_equal(fg_modbus_point_decode(&point, &answer, &record, &value), 0);
    assert_true(value.kind == FG_VALUE_BOOLEAN && value.boolean);
    point.address++;
    assert_int_equal(fg_modbus_point_decode(&point, &answer, &record, &value), 0);
    assert_true(value.kind == FG_VALUE_BOOLEAN && !value.boolean);
}

static void what_is_no_finite_number_is_null(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_FLOAT32, BASE);
    decodes(&point, WORDS(0x7FC0, 0), "null");
    decodes(&point, WORDS(0x7F80, 0), "null");
    decodes(&point, WORDS(0xFF80, 0), "null");
    point = scaled(FG_MODBUS_FLOAT64, 10, 1, 2);
    decodes(&point, WORDS(0xFFF8, 0, 0, 0), "null");
    decodes(&point, WORDS(0x7FEF, 0xFFFF, 0xFFFF, 0xFFFF), "null");
}

static void a_float_is_the_number_that_the_fewest_digits_tell(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_FLOAT32, BASE);
    decodes(&point, WORDS(0x3DCC, 0xCCCD), "0.1");
    decodes(&point, WORDS(0x4366, 0x8F5C), "230.56");
    decodes(&point, WORDS(0x8000, 0), "0.0");
    decodes(&point, WORDS(0x0000, 0x0001), "1.4013e-45");
    decodes(&point, WORDS(0x7F7F, 0xFFFF), "3.4028234663852886e+38");
}

static void scaling_an_integer_adds_no_digits(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = scaled(FG_MODBUS_UINT16, 0.1, 0, -1);
    decodes(&point, WORDS(2303), "230.3");
    decodes(&point, WORDS(2300), "230.0");
    point = scaled(FG_MODBUS_INT16, 0.01, -273.15, -1);
    decodes(&point, WORDS(29315), "20.0");
    point = scaled(FG_MODBUS_UINT64, 0.001, 0, -1);
    decodes(&point, WORDS(0, 0x0011, 0x2233, 0x4455), "73588229.205");
}

static void scaling_by_an_integer_gives_an_integer(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = scaled(FG_MODBUS_INT64, 1000, 7, -1);
    decodes(&point, WORDS(0x0020, 0, 0, 1), "9007199254740993007");
    point = scaled(FG_MODBUS_UINT16, 0.5, 0.5, -1);
    decodes(&point, WORDS(3), "2.0");
}

static void a_product_past_64_bits_is_a_real(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = scaled(FG_MODBUS_INT64, 1000, 0, -1);
    decodes(&point, WORDS(0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF), "9.22337203685478e+21");
    point = scaled(FG_MODBUS_UINT64, 0.5, 0, -1);
    decodes(&point, WORDS(0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF), "9.22337203685478e+18");
}

static void decimals_round_ties_away_from_zero(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = scaled(FG_MODBUS_INT16, 0.01, 0, 1);
    decodes(&point, WORDS(2325), "23.3");
    decodes(&point, WORDS((uint16_t)-2325), "-23.3");
    decodes(&point, WORDS(2324), "23.2");
    point = scaled(FG_MODBUS_FLOAT32, 1, 0, 1);
    decodes(&point, WORDS(0x3E80, 0), "0.3"); /* 0.25 */
    decodes(&point, WORDS(0x4366, 0x8F5C), "230.6");
    point = scaled(FG_MODBUS_FLOAT64, 1, 0, 2);
    decodes(&point, WORDS(0x3FF0, 0x147A, 0xE147, 0xAE14), "1.01"); /* 1.005 stands below it */
}

static void no_decimals_give_an_integer(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = scaled(FG_MODBUS_UINT16, 0.1, 0, 0);
    decodes(&point, WORDS(2305), "231");
    point = scaled(FG_MODBUS_FLOAT32, 1, 0, 0);
    decodes(&point, WORDS(0x4366, 0x8000), "231");
    decodes(&point, WORDS(0x7F7F, 0xFFFF), "3.4028234663852886e+38");
}

static void a_string_ends_at_a_nul_and_loses_its_blanks(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_STRING, BASE);
    point.length = 4;
    decodes(&point, WORDS(0x4142, 0x4344, 0x4546, 0x4748), "'ABCDEFGH'");
    decodes(&point, WORDS(0x4142, 0x4300, 0x5858, 0x5858), "'ABC'");
    decodes(&point, WORDS(0x2041, 0x2020, 0x4220, 0x2020), "' A  B'");
    decodes(&point, WORDS(0, 0, 0, 0), "''");
    point.order = FG_MODBUS_BADC;
    decodes(&point, WORDS(0x4241, 0x4443, 0x4645, 0x4847), "'ABCDEFGH'");
}

static void text_that_is_not_utf_8_is_refused(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_STRING, BASE);
    struct fg_value value;
    point.length = 1;
    assert_int_equal(decode_at(&point, FG_MODBUS_READ_HOLDING, WORDS(0x41FF), &value), -EILSEQ);
    decodes(&point, WORDS(0xC3A4), "'ä'");
}

static void a_record_without_room_takes_no_text(void **state)
{
    (void)state;
    struct fg_modbus_point_settings settings = fg_test_modbus_point(FG_MODBUS_STRING, BASE);
    struct fg_modbus_request request = { .unit = 1, .function = 3, .read = { BASE, 1 } };
    struct fg_modbus_answer answer = { .request = &request, .data = (const uint8_t *)"AB", .size = 2 };
    struct fg_modbus_point point;
    struct fg_value value;
    settings.length = 1;
    assert_int_equal(fg_modbus_point_init(&point, &settings), 0);
    fg_record_reset(&record);
    record.text_used = sizeof record.text - 1;
    assert_int_equal(fg_modbus_point_decode(&point, &answer, &record, &value), -ENOSPC);
}

static void no_value_is_taken_from_another_table_or_range(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_UINT32, BASE + 1);
    struct fg_value value = { 0 };
    assert_int_equal(decode_at(&point, FG_MODBUS_READ_HOLDING, WORDS(1, 2, 3), &value), 0);
    assert_int_equal(decode_at(&point, FG_MODBUS_READ_WRITE, WORDS(1, 2, 3), &value), 0);
    assert_int_equal(decode_at(&point, FG_MODBUS_READ_INPUT, WORDS(1, 2, 3), &value), -ERANGE);
    assert_int_equal(decode_at(&point, FG_MODBUS_READ_HOLDING, WORDS(1, 2), &value), -ERANGE);
    point.address = BASE - 1;
    assert_int_equal(decode_at(&point, FG_MODBUS_READ_HOLDING, WORDS(1, 2, 3), &value), -ERANGE);
}

static void an_exception_has_no_value(void **state)
{
    (void)state;
    struct fg_modbus_point_settings settings = fg_test_modbus_point(FG_MODBUS_UINT16, BASE);
    struct fg_modbus_request request = { .unit = 1, .function = 3, .read = { BASE, 1 } };
    struct fg_modbus_answer answer = { .request = &request, .exception = 2 };
    struct fg_modbus_point point;
    struct fg_value value;
    assert_int_equal(fg_modbus_point_init(&point, &settings), 0);
    assert_int_equal(fg_modbus_point_decode(&point, &answer, &record, &value), -ERANGE);
}

static void a_value_is_taken_from_where_it_stands_in_a_longer_answer(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_UINT32, BASE + 2);
    decodes(&point, WORDS(9, 9, 0x0001, 0x0002, 9), "65538");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_is_read_high_byte_first),
        cmocka_unit_test(integers_keep_their_value_to_64_bits),
        cmocka_unit_test(orders_say_which_byte_comes_first),
        cmocka_unit_test(orders_of_64_bits_are_those_of_32_continued),
        cmocka_unit_test(swapped_bytes_swap_single_registers_too),
        cmocka_unit_test(bits_are_a_number_of_their_own),
        cmocka_unit_test(a_bool_may_be_one_bit_of_a_register),
        cmocka_unit_test(a_coil_is_a_bool),
        cmocka_unit_test(what_is_no_finite_number_is_null),
        cmocka_unit_test(a_float_is_the_number_that_the_fewest_digits_tell),
        cmocka_unit_test(scaling_an_integer_adds_no_digits),
        cmocka_unit_test(scaling_by_an_integer_gives_an_integer),
        cmocka_unit_test(a_product_past_64_bits_is_a_real),
        cmocka_unit_test(decimals_round_ties_away_from_zero),
        cmocka_unit_test(no_decimals_give_an_integer),
        cmocka_unit_test(a_string_ends_at_a_nul_and_loses_its_blanks),
        cmocka_unit_test(text_that_is_not_utf_8_is_refused),
        cmocka_unit_test(a_record_without_room_takes_no_text),
        cmocka_unit_test(no_value_is_taken_from_another_table_or_range),
        cmocka_unit_test(an_exception_has_no_value),
        cmocka_unit_test(a_value_is_taken_from_where_it_stands_in_a_longer_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
