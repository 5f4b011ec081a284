/* Values on their way to the device, and what is refused before a byte is sent. */
#include "fieldgate/modbus_point.h"
#include "support/modbus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct fg_modbus_request request;
static char why[FG_MODBUS_WHY];

static struct fg_modbus_point_settings writable(enum fg_modbus_type type)
{
    struct fg_modbus_point_settings settings = fg_test_modbus_point(type, 100);
    settings.writable = true;
    return settings;
}

static int encode(const struct fg_modbus_point_settings *settings, struct fg_value value)
{
    struct fg_modbus_point point;
    assert_int_equal(fg_modbus_point_init(&point, settings), 0);
    why[0] = '\0';
    return fg_modbus_point_encode(&point, 1, &value, &request, why);
}

static void refuses(const struct fg_modbus_point_settings *settings, struct fg_value value, int error,
                    const char *wanted)
{
    assert_int_equal(encode(settings, value), error);
    assert_string_equal(why, wanted);
}

static struct fg_value integer(int64_t number)
{
    return fg_value_integer(number);
}

static void writes(const struct fg_modbus_point_settings *settings, struct fg_value value, int function,
                   const char *words)
{
    char text[64] = "";
    assert_int_equal(encode(settings, value), 0);
    assert_int_equal(request.function, function);
    assert_int_equal(request.write.address, settings->address);
    for (size_t i = 0; i < request.write.count; i++) {
        snprintf(text + 4 * i, sizeof text - 4 * i, "%04x", request.registers[i]);
    }
    assert_string_equal(text, words);
}

static void each_type_is_written_high_byte_first(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_INT16);
    writes(&point, integer(-2), 6, "fffe");
    point = writable(FG_MODBUS_UINT16);
    writes(&point, integer(65535), 6, "ffff");
    point = writable(FG_MODBUS_INT32);
    writes(&point, integer(-2), 16, "fffffffe");
    point = writable(FG_MODBUS_UINT32);
    writes(&point, integer(0x12345678), 16, "12345678");
    point = writable(FG_MODBUS_INT64);
    writes(&point, integer(INT64_MIN), 16, "8000000000000000");
    point = writable(FG_MODBUS_UINT64);
    writes(&point, fg_value_natural(UINT64_MAX), 16, "ffffffffffffffff");
    point = writable(FG_MODBUS_FLOAT32);
    writes(&point, fg_value_real(230.5), 16, "43668000");
    point = writable(FG_MODBUS_FLOAT64);
    writes(&point, fg_value_real(1.5), 16, "3ff8000000000000");
    point = writable(FG_MODBUS_BOOL);
    writes(&point, fg_value_boolean(true), 6, "0001");
    point = writable(FG_MODBUS_STRING);
    point.length = 3;
    writes(&point, fg_value_text("AbC", 3), 16, "416243000000");
}

static void orders_are_kept_in_writing(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_UINT32);
    point.order = FG_MODBUS_CDAB;
    writes(&point, integer(0x01020304), 16, "03040102");
    point.order = FG_MODBUS_BADC;
    writes(&point, integer(0x01020304), 16, "02010403");
    point.order = FG_MODBUS_DCBA;
    writes(&point, integer(0x01020304), 16, "04030201");
    point = writable(FG_MODBUS_UINT16);
    point.order = FG_MODBUS_BADC;
    writes(&point, integer(0x0102), 6, "0201");
    point = writable(FG_MODBUS_STRING);
    point.length = 2;
    point.order = FG_MODBUS_BADC;
    writes(&point, fg_value_text("ABCD", 4), 16, "42414443");
}

static void a_coil_is_written_by_function_5(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_BOOL);
    point.table = FG_MODBUS_COIL;
    assert_int_equal(encode(&point, fg_value_boolean(true)), 0);
    assert_int_equal(request.function, FG_MODBUS_WRITE_COIL);
    assert_int_equal(request.coils[0], 1);
    assert_int_equal(encode(&point, integer(0)), 0);
    assert_int_equal(request.coils[0], 0);
    refuses(&point, integer(2), -EINVAL, "expected true or false");
    refuses(&point, fg_value_text("on", 2), -EINVAL, "expected true or false");
}

static void bits_leave_the_others_of_their_register(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_BITS);
    point.bit = 4;
    point.width = 3;
    assert_int_equal(encode(&point, integer(5)), 0);
    assert_int_equal(request.function, FG_MODBUS_MASK_WRITE);
    assert_int_equal(request.and_mask, 0xFF8F);
    assert_int_equal(request.or_mask, 0x0050);
    refuses(&point, integer(8), -ERANGE, "8 is out of the range of the point's type");
    point.order = FG_MODBUS_BADC;
    assert_int_equal(encode(&point, integer(5)), 0);
    assert_int_equal(request.and_mask, 0x8FFF);
    assert_int_equal(request.or_mask, 0x5000);
}

static void one_bit_of_a_register_is_written_as_a_bool(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_BOOL);
    point.bit = 15;
    assert_int_equal(encode(&point, fg_value_boolean(true)), 0);
    assert_int_equal(request.function, FG_MODBUS_MASK_WRITE);
    assert_int_equal(request.and_mask, 0x7FFF);
    assert_int_equal(request.or_mask, 0x8000);
}

static void scaled_values_are_unscaled(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_INT16);
    point.scale = 0.1;
    writes(&point, fg_value_real(21.3), 6, "00d5");
    writes(&point, integer(-7), 6, "ffba");
    point.offset = -273.1;
    writes(&point, fg_value_real(20.0), 6, "0b73");
    point = writable(FG_MODBUS_FLOAT32);
    point.scale = 1000;
    writes(&point, integer(1500), 16, "3fc00000");
}

static void a_value_between_the_devices_steps_is_refused(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_UINT16);
    point.scale = 0.5;
    refuses(&point, fg_value_real(21.3), -EDOM, "21.3 is between the device's steps of 0.5");
    point.scale = 1;
    refuses(&point, fg_value_real(21.5), -EDOM, "21.5 is not an integer");
    writes(&point, fg_value_real(21.0), 6, "0015");
}

static void a_value_past_the_types_range_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum fg_modbus_type type;
        int64_t least, most;
    } cases[] = {
        { FG_MODBUS_INT16, INT16_MIN, INT16_MAX },
        { FG_MODBUS_UINT16, 0, UINT16_MAX },
        { FG_MODBUS_INT32, INT32_MIN, INT32_MAX },
        { FG_MODBUS_UINT32, 0, UINT32_MAX },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fg_modbus_point_settings point = writable(cases[i].type);
        assert_int_equal(encode(&point, integer(cases[i].least)), 0);
        assert_int_equal(encode(&point, integer(cases[i].most)), 0);
        assert_int_equal(encode(&point, integer(cases[i].least - 1)), -ERANGE);
        assert_int_equal(encode(&point, integer(cases[i].most + 1)), -ERANGE);
        assert_int_equal(encode(&point, fg_value_natural(UINT64_MAX)), -ERANGE);
    }
    struct fg_modbus_point_settings point = writable(FG_MODBUS_INT64);
    refuses(&point, fg_value_natural(UINT64_C(1) << 63), -ERANGE,
            "9223372036854775808 is out of the range of the point's type");
    point = writable(FG_MODBUS_UINT64);
    refuses(&point, integer(-1), -ERANGE, "-1 is out of the range of the point's type");
    point = writable(FG_MODBUS_FLOAT32);
    refuses(&point, fg_value_real(3.5e38), -ERANGE, "3.5e+38 is out of the range of the point's type");
}

static void the_scaled_range_is_that_of_the_register(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_INT16);
    point.scale = 0.1;
    writes(&point, fg_value_real(3276.7), 6, "7fff");
    refuses(&point, fg_value_real(3276.8), -ERANGE, "3276.8 is out of the range of the point's type");
}

static void min_and_max_bound_what_is_written(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_INT16);
    point.scale = 0.5;
    point.minimum = 5;
    point.maximum = 30.5;
    writes(&point, integer(5), 6, "000a");
    writes(&point, fg_value_real(30.5), 6, "003d");
    refuses(&point, fg_value_real(4.5), -ERANGE, "4.5 is less than the point's min, 5");
    refuses(&point, integer(31), -ERANGE, "31 is more than the point's max, 30.5");
    refuses(&point, fg_value_natural(UINT64_MAX), -ERANGE,
            "18446744073709551615 is more than the point's max, 30.5");
}

static void what_is_not_writable_is_not_written(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = fg_test_modbus_point(FG_MODBUS_UINT16, 100);
    refuses(&point, integer(1), -EACCES, "not writable");
}

static void other_kinds_of_values_are_refused(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_UINT16);
    refuses(&point, fg_value_text("1", 1), -EINVAL, "expected a number");
    refuses(&point, fg_value_boolean(true), -EINVAL, "expected a number");
    refuses(&point, (struct fg_value){ .kind = FG_VALUE_NULL }, -EINVAL, "expected a number");
    point = writable(FG_MODBUS_STRING);
    point.length = 1;
    refuses(&point, integer(1), -EINVAL, "expected a text");
    refuses(&point, fg_value_text("ABC", 3), -ERANGE, "the text has 3 bytes, the point holds 2");
}

static void an_integer_is_not_rounded_into_a_float(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_FLOAT32);
    writes(&point, integer(16777216), 16, "4b800000");
    refuses(&point, integer(16777217), -EDOM, "16777217 has more digits than the point's type holds");
    writes(&point, fg_value_real(0.1), 16, "3dcccccd");
    point = writable(FG_MODBUS_FLOAT64);
    refuses(&point, integer(9007199254740993), -EDOM,
            "9007199254740993 has more digits than the point's type holds");
}

static void the_least_integer_is_refused_where_scale_turns_it_around(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_INT64);
    point.scale = -1;
    writes(&point, integer(INT64_MAX), 16, "8000000000000001");
    assert_true(encode(&point, integer(INT64_MIN)) < 0);
}

static void a_refused_value_leaves_the_request_alone(void **state)
{
    (void)state;
    struct fg_modbus_point_settings point = writable(FG_MODBUS_UINT16);
    memset(&request, 0x5A, sizeof request);
    struct fg_modbus_request before = request;
    assert_int_equal(encode(&point, integer(-1)), -ERANGE);
    assert_memory_equal(&request, &before, sizeof request);
}

/* What a device has after a request, as the answer to a read of the point. */
static void apply(const struct fg_modbus_point *point, uint8_t *data)
{
    for (size_t i = 0; i < point->count && request.function != FG_MODBUS_MASK_WRITE; i++) {
        data[2 * i] = (uint8_t)(request.registers[i] >> 8);
        data[2 * i + 1] = (uint8_t)request.registers[i];
    }
    if (request.function == FG_MODBUS_MASK_WRITE) {
        unsigned word = (unsigned)(data[0] << 8 | data[1]);
        word = (word & request.and_mask) | (request.or_mask & ~(unsigned)request.and_mask);
        data[0] = (uint8_t)(word >> 8);
        data[1] = (uint8_t)word;
    }
}

static void what_was_read_can_be_written_and_reads_the_same(void **state)
{
    (void)state;
    static const double scales[] = { 1, 0.1, 0.01, 0.001, 10, 0.5, -1, -0.1, 1000, 0.25 };
    static const double offsets[] = { 0, 0, -40, 273.15, 1000000, -0.05 };
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 200000; round++) {
        struct fg_modbus_point_settings settings = writable((enum fg_modbus_type)(rand() % 9));
        bool is_bool = settings.type == FG_MODBUS_BOOL;
        settings.order = rand() % 4;
        settings.bit = is_bool ? rand() % 16 : -1;
        bool unscaled = is_bool || settings.type >= FG_MODBUS_FLOAT32; /* have more digits than are kept */
        settings.scale = unscaled ? 1 : scales[rand() % 10];
        settings.offset = unscaled ? 0 : offsets[rand() % 6];
        struct fg_modbus_point point;
        assert_int_equal(fg_modbus_point_init(&point, &settings), 0);
        uint8_t data[8], back[8];
        for (size_t i = 0; i < sizeof data; i++) {
            data[i] = (uint8_t)(rand() >> 4);
        }
        if (point.count == 4 && point.scaled) {
            memset(data + (point.reverse_words ? 4 : 0), 0, 4); /* what a double tells in 15 digits */
        }
        memcpy(back, data, sizeof data);
        struct fg_modbus_request read = { .unit = 1, .function = 3, .read = { 100, point.count } };
        struct fg_modbus_answer answer = { .request = &read, .data = data, .size = 2u * point.count };
        struct fg_value value, again;
        char one[64], other[64];
        assert_int_equal(fg_modbus_point_decode(&point, &answer, NULL, &value), 0);
        if (value.kind == FG_VALUE_NULL) {
            continue;
        }
        int error = fg_modbus_point_encode(&point, 1, &value, &request, why);
        fg_test_value_text(&value, one, sizeof one);
        if (error) {
            fail_msg("type %d scale %g offset %g: %s: %s", settings.type, settings.scale, settings.offset,
                     one, why);
        }
        apply(&point, back);
        answer.data = back;
        assert_int_equal(fg_modbus_point_decode(&point, &answer, NULL, &again), 0);
        assert_string_equal(fg_test_value_text(&again, other, sizeof other), one);
    }
}

/* ---- several writes as one ---- */

static void neighbouring_registers_are_joined_to_function_16(void **state)
{
    (void)state;
    struct fg_modbus_request first = { .unit = 1, .function = 6, .write = { 7, 1 }, .registers = { 1 } };
    struct fg_modbus_request second = { .unit = 1, .function = 16, .write = { 8, 2 }, .registers = { 2, 3 } };
    assert_true(fg_modbus_request_join(&first, &second));
    assert_int_equal(first.function, FG_MODBUS_WRITE_REGISTERS);
    assert_int_equal(first.write.address, 7);
    assert_int_equal(first.write.count, 3);
    assert_int_equal(first.registers[2], 3);
}

static void neighbouring_coils_are_joined_to_function_15(void **state)
{
    (void)state;
    struct fg_modbus_request coils = { .unit = 1, .function = 5, .write = { 0, 1 }, .coils = { 1 } };
    for (uint16_t i = 1; i < 20; i++) {
        struct fg_modbus_request next = {
            .unit = 1, .function = 5, .write = { i, 1 }, .coils = { i % 3 == 0 }
        };
        assert_true(fg_modbus_request_join(&coils, &next));
    }
    assert_int_equal(coils.function, FG_MODBUS_WRITE_COILS);
    assert_int_equal(coils.write.count, 20);
    assert_memory_equal(coils.coils, "\x49\x92\x04", 3);
}

static void what_is_not_neighbouring_is_not_joined(void **state)
{
    (void)state;
    const struct fg_modbus_request first = { .unit = 1, .function = 6, .write = { 7, 1 } };
    static const struct fg_modbus_request others[] = {
        { .unit = 2, .function = 6, .write = { 8, 1 } },    { .unit = 1, .function = 6, .write = { 9, 1 } },
        { .unit = 1, .function = 6, .write = { 7, 1 } },    { .unit = 1, .function = 6, .write = { 6, 1 } },
        { .unit = 1, .function = 5, .write = { 8, 1 } },    { .unit = 1, .function = 22, .write = { 8, 1 } },
        { .unit = 1, .function = 16, .write = { 8, 123 } },
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct fg_modbus_request joined = first;
        assert_false(fg_modbus_request_join(&joined, &others[i]));
        assert_memory_equal(&joined, &first, sizeof joined);
    }
}

static void a_write_may_read_too_by_function_23(void **state)
{
    (void)state;
    struct fg_modbus_request both = { .unit = 1, .function = 6, .write = { 7, 1 }, .registers = { 1 } };
    struct fg_modbus_request coil = { .unit = 1, .function = 5, .write = { 7, 1 }, .coils = { 1 } };
    assert_false(fg_modbus_request_read_too(&both, (struct fg_modbus_range){ 0, 126 }));
    assert_true(fg_modbus_request_read_too(&both, (struct fg_modbus_range){ 3, 2 }));
    assert_int_equal(both.function, FG_MODBUS_READ_WRITE);
    assert_true(fg_modbus_request_valid(&both, FG_MODBUS_RTU));
    assert_false(fg_modbus_request_read_too(&coil, (struct fg_modbus_range){ 3, 2 }));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_is_written_high_byte_first),
        cmocka_unit_test(orders_are_kept_in_writing),
        cmocka_unit_test(a_coil_is_written_by_function_5),
        cmocka_unit_test(bits_leave_the_others_of_their_register),
        cmocka_unit_test(one_bit_of_a_register_is_written_as_a_bool),
        cmocka_unit_test(scaled_values_are_unscaled),
        cmocka_unit_test(a_value_between_the_devices_steps_is_refused),
        cmocka_unit_test(a_value_past_the_types_range_is_refused),
        cmocka_unit_test(the_scaled_range_is_that_of_the_register),
        cmocka_unit_test(min_and_max_bound_what_is_written),
        cmocka_unit_test(what_is_not_writable_is_not_written),
        cmocka_unit_test(other_kinds_of_values_are_refused),
        cmocka_unit_test(an_integer_is_not_rounded_into_a_float),
        cmocka_unit_test(the_least_integer_is_refused_where_scale_turns_it_around),
        cmocka_unit_test(a_refused_value_leaves_the_request_alone),
        cmocka_unit_test(what_was_read_can_be_written_and_reads_the_same),
        cmocka_unit_test(neighbouring_registers_are_joined_to_function_16),
        cmocka_unit_test(neighbouring_coils_are_joined_to_function_15),
        cmocka_unit_test(what_is_not_neighbouring_is_not_joined),
        cmocka_unit_test(a_write_may_read_too_by_function_23),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
