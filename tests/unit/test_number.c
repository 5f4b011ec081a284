#include "fieldgate/text.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct fg_value parsed(const char *text)
{
    struct fg_value value = { .kind = FG_VALUE_BOOLEAN };
    if (!fg_number_parse(text, strlen(text), &value)) {
        fail_msg("\"%s\" is no number", text);
    }
    return value;
}

static void assert_real(const char *text, double expected)
{
    struct fg_value value = parsed(text);
    assert_int_equal(value.kind, FG_VALUE_REAL);
    assert_memory_equal(&value.real, &expected, sizeof expected);
}

static void assert_prints(double real, const char *expected)
{
    char text[FG_NUMBER_TEXT];
    size_t length = fg_real_print(real, text);
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
}

static void reals_print_short_and_stay_reals(void **state)
{
    (void)state;
    assert_prints(0.0, "0.0");
    assert_prints(-0.0, "-0.0");
    assert_prints(21, "21.0");
    assert_prints(21.5, "21.5");
    assert_prints(0.1, "0.1");
    assert_prints(-273.15, "-273.15");
    assert_prints(0.1 + 0.2, "0.30000000000000004");
    assert_prints(1e15, "1e+15");
    assert_prints(100000, "100000.0");
    assert_prints(1e-7, "1e-07");
    assert_prints(DBL_MAX, "1.7976931348623157e+308");
    assert_prints(-DBL_MIN, "-2.2250738585072014e-308");
    assert_prints(5e-324, "4.94065645841247e-324");
}

static bool is_json_number(const char *text)
{
    text += *text == '-';
    size_t whole = strspn(text, "0123456789");
    if (whole == 0 || (whole > 1 && text[0] == '0')) {
        return false;
    }
    text += whole;
    if (*text == '.') {
        size_t fraction = strspn(++text, "0123456789");
        if (fraction == 0) {
            return false;
        }
        text += fraction;
    }
    if (*text == 'e') {
        text++;
        text += *text == '-' || *text == '+';
        size_t exponent = strspn(text, "0123456789");
        if (exponent == 0) {
            return false;
        }
        text += exponent;
    }
    return *text == '\0';
}

static void any_double_reads_back_the_same(void **state)
{
    (void)state;
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
    print_message("seed %llx\n", (unsigned long long)seed);
    for (int i = 0; i < 100000; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        double real;
        memcpy(&real, &seed, sizeof real);
        if (!isfinite(real)) {
            continue;
        }
        char text[FG_NUMBER_TEXT];
        size_t length = fg_real_print(real, text);
        struct fg_value value;
        if (length >= FG_NUMBER_TEXT || length != strlen(text) || !is_json_number(text) ||
            !fg_number_parse(text, length, &value) || value.kind != FG_VALUE_REAL ||
            memcmp(&value.real, &real, sizeof real) != 0) {
            fail_msg("%a became %s", real, text);
        }
    }
}

static void integers_are_exact_up_to_64_bits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t expected;
    } integers[] = {
        { "0", 0 },
        { "-0", 0 },
        { "+0", 0 },
        { "7", 7 },
        { "+42", 42 },
        { "-42", -42 },
        { "9007199254740993", INT64_C(9007199254740993) },
        { "9223372036854775807", INT64_MAX },
        { "-9223372036854775807", -INT64_MAX },
        { "-9223372036854775808", INT64_MIN },
    };
    for (size_t i = 0; i < COUNT(integers); i++) {
        struct fg_value value = parsed(integers[i].text);
        assert_int_equal(value.kind, FG_VALUE_INTEGER);
        assert_true(value.integer == integers[i].expected);
    }
}

static void integers_past_int64_are_natural_then_real(void **state)
{
    (void)state;
    struct fg_value value = parsed("9223372036854775808");
    assert_int_equal(value.kind, FG_VALUE_NATURAL);
    assert_true(value.natural == UINT64_C(9223372036854775808));
    value = parsed("+18446744073709551615");
    assert_int_equal(value.kind, FG_VALUE_NATURAL);
    assert_true(value.natural == UINT64_MAX);
    assert_real("18446744073709551616", 18446744073709551616.0);
    assert_real("-9223372036854775809", -9223372036854775808.0);
    assert_real("99999999999999999999999999", 1e26);
}

static void points_and_exponents_make_reals(void **state)
{
    (void)state;
    assert_real("21.0", 21);
    assert_real("-0.0", -0.0);
    assert_real("+.5", 0.5);
    assert_real("5.", 5);
    assert_real("1e3", 1000);
    assert_real("-1.5E-2", -0.015);
    assert_real("2.e+1", 20);
    assert_real("007.5", 7.5);
    assert_real("4807.038", 4807.038);
    assert_real("1e-999", 0);
}

static void what_is_not_finite_is_null(void **state)
{
    (void)state;
    static const char *const texts[] = { "nan",  "NaN",      "NAN",       "-nan",      "inf",   "-inf",
                                         "+INF", "Infinity", "-infinity", "+INFINITY", "1e999", "-1e999" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_int_equal(parsed(texts[i]).kind, FG_VALUE_NULL);
    }
}

static void other_text_is_no_number(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",      "-",   "+",    ".",   "-.", "e5",   ".e5", "1e",   "1e+",   "1.5e-",  "007",   "-007",
        "00",    "+01", "--1",  "+-1", "1 ", " 1",   "1\n", "0x10", "0x1p3", "1_000",  "1,5",   "1.2.3",
        "1e2.5", "1f",  "12ab", "abc", "na", "nano", "in",  "inff", "infin", "nan(1)", "1e5e5", "\xd9\xa1",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct fg_value value = fg_value_integer(77);
        if (fg_number_parse(texts[i], strlen(texts[i]), &value)) {
            fail_msg("\"%s\" became a number", texts[i]);
        }
        assert_true(value.kind == FG_VALUE_INTEGER && value.integer == 77);
    }
}

static void a_number_ends_at_its_length(void **state)
{
    (void)state;
    struct fg_value value;
    assert_true(fg_number_parse("12345", 3, &value));
    assert_int_equal(value.integer, 123);
    assert_true(fg_number_parse("1.2345", 4, &value));
    assert_true(value.real == 1.23);
    assert_false(fg_number_parse("1\0", 2, &value));
}

static void runs_of_digits_are_bounded(void **state)
{
    (void)state;
    char digits[4096];
    memset(digits, '1', sizeof digits);
    struct fg_value value;
    assert_true(fg_number_parse(digits, 300, &value));
    assert_int_equal(value.kind, FG_VALUE_REAL);
    assert_true(fg_number_parse(digits, 1023, &value));
    assert_int_equal(value.kind, FG_VALUE_NULL);
    assert_false(fg_number_parse(digits, 1024, &value));
    assert_false(fg_number_parse(digits, sizeof digits, &value));
}

static void durations_have_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } durations[] = {
        { "0", 0 },
        { "0s", 0 },
        { "1us", 1000 },
        { "250ms", 250000000 },
        { "5s", INT64_C(5000000000) },
        { "10min", INT64_C(600000000000) },
        { "6h", INT64_C(21600000000000) },
        { "7d", INT64_C(604800000000000) },
        { "1.5s", 1500000000 },
        { "0.25ms", 250000 },
        { "0.5d", INT64_C(43200000000000) },
        { "0.1min", INT64_C(6000000000) },
        { "0.001us", 1 },
        { "0.0001us", 0 },
        { "1.123456789s", 1123456789 },
        { "010s", INT64_C(10000000000) },
        { "106751d", INT64_C(9223286400000000000) },
        { "9223372036.854775807s", INT64_MAX },
        { "9223372036854775.807us", INT64_MAX },
    };
    for (size_t i = 0; i < COUNT(durations); i++) {
        int64_t ns = -1;
        assert_int_equal(fg_duration_parse(durations[i].text, &ns), 0);
        if (ns != durations[i].ns) {
            fail_msg("%s became %lld", durations[i].text, (long long)ns);
        }
    }
}

static void durations_past_64_bits_are_out_of_range(void **state)
{
    (void)state;
    static const char *const texts[] = { "106752d",
                                         "9223372037s",
                                         "9223372036.854775808s",
                                         "9223372036854775.808us",
                                         "18446744073709551615us",
                                         "18446744073709551616us",
                                         "99999999999999999999999999h" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        int64_t ns = 77;
        assert_int_equal(fg_duration_parse(texts[i], &ns), -ERANGE);
        assert_true(ns == 77);
    }
}

static void other_text_is_no_duration(void **state)
{
    (void)state;
    static const char *const texts[] = { "",      "5",    "00",  "0.0",  "5 s",  "s",     "-5s", "+5s",
                                         "5S",    ".5s",  "5.s", "5sec", "5m",   "1.s",   "5s ", " 5s",
                                         "5ms5s", "1e3s", "nan", "infs", "5,5s", "1.2.3s" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        int64_t ns = 77;
        if (fg_duration_parse(texts[i], &ns) != -EINVAL || ns != 77) {
            fail_msg("\"%s\" became a duration", texts[i]);
        }
    }
}

static void sizes_have_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } sizes[] = {
        { "0", 0 },
        { "0B", 0 },
        { "512B", 512 },
        { "64KiB", 65536 },
        { "16MiB", 16777216 },
        { "1GiB", 1073741824 },
        { "8589934591GiB", INT64_C(9223372035781033984) },
        { "9223372036854775807B", INT64_MAX },
    };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        int64_t bytes = -1;
        assert_int_equal(fg_size_parse(sizes[i].text, &bytes), 0);
        assert_true(bytes == sizes[i].bytes);
    }
}

static void other_text_is_no_size(void **state)
{
    (void)state;
    static const char *const bad[] = { "",       "64",  "64K",    "64kB", "64KB", "64kib",
                                       "64 KiB", "-1B", "1.5MiB", "B",    "1TiB" };
    static const char *const large[] = { "8589934592GiB", "9223372036854775808B", "99999999999999999999B" };
    int64_t bytes = 77;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(fg_size_parse(bad[i], &bytes), -EINVAL);
    }
    for (size_t i = 0; i < COUNT(large); i++) {
        assert_int_equal(fg_size_parse(large[i], &bytes), -ERANGE);
    }
    assert_true(bytes == 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reals_print_short_and_stay_reals),
        cmocka_unit_test(any_double_reads_back_the_same),
        cmocka_unit_test(integers_are_exact_up_to_64_bits),
        cmocka_unit_test(integers_past_int64_are_natural_then_real),
        cmocka_unit_test(points_and_exponents_make_reals),
        cmocka_unit_test(what_is_not_finite_is_null),
        cmocka_unit_test(other_text_is_no_number),
        cmocka_unit_test(a_number_ends_at_its_length),
        cmocka_unit_test(runs_of_digits_are_bounded),
        cmocka_unit_test(durations_have_a_unit),
        cmocka_unit_test(durations_past_64_bits_are_out_of_range),
        cmocka_unit_test(other_text_is_no_duration),
        cmocka_unit_test(sizes_have_a_unit),
        cmocka_unit_test(other_text_is_no_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
