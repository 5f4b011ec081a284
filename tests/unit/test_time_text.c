#include "fieldgate/text.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static int parse_text(const char *text, int64_t *ms)
{
    struct fg_value value = fg_value_text(text, strlen(text));
    return fg_time_parse(&value, ms);
}

static void assert_time(struct fg_value value, int64_t expected)
{
    int64_t ms = -1;
    assert_int_equal(fg_time_parse(&value, &ms), 0);
    if (ms != expected) {
        fail_msg("%lld instead of %lld", (long long)ms, (long long)expected);
    }
}

static void assert_no_time(struct fg_value value)
{
    int64_t ms = -77;
    assert_int_equal(fg_time_parse(&value, &ms), -EINVAL);
    assert_true(ms == -77);
}

static void numbers_are_seconds_or_milliseconds(void **state)
{
    (void)state;
    assert_time(fg_value_integer(0), 0);
    assert_time(fg_value_integer(1732338000), INT64_C(1732338000000));
    assert_time(fg_value_real(1732338000.123), INT64_C(1732338000123));
    assert_time(fg_value_real(0.5), 500);
    assert_time(fg_value_integer(INT64_C(1732338000123)), INT64_C(1732338000123));
    assert_time(fg_value_real(1732338000123.4), INT64_C(1732338000123));
    assert_time(fg_value_integer(INT64_C(100000000000)), INT64_C(100000000000));
    assert_time(fg_value_integer(INT64_C(7258118399)), INT64_C(7258118399000));
    assert_time(fg_value_integer(INT64_C(7258118399999)), INT64_C(7258118399999));
}

static void numbers_in_text_are_times_too(void **state)
{
    (void)state;
    int64_t ms;
    assert_int_equal(parse_text("1732338000", &ms), 0);
    assert_true(ms == INT64_C(1732338000000));
    assert_int_equal(parse_text("1732338000.25", &ms), 0);
    assert_true(ms == INT64_C(1732338000250));
    assert_int_equal(parse_text("1732338000123", &ms), 0);
    assert_true(ms == INT64_C(1732338000123));
}

static void what_is_outside_the_years_is_no_time(void **state)
{
    (void)state;
    assert_no_time(fg_value_integer(-1));
    assert_no_time(fg_value_integer(INT64_MIN));
    assert_no_time(fg_value_integer(INT64_MAX));
    assert_no_time(fg_value_natural(UINT64_MAX));
    assert_no_time(fg_value_integer(INT64_C(7258118400)));
    assert_no_time(fg_value_integer(INT64_C(99999999999)));
    assert_no_time(fg_value_integer(INT64_C(7258118400000)));
    assert_no_time(fg_value_real(-0.001));
    assert_no_time(fg_value_real(1e300));
    assert_no_time(fg_value_real(7258118399.9999));
    assert_no_time(fg_value_text("1969-12-31T23:59:59Z", 20));
    assert_no_time(fg_value_text("2200-01-01T00:00:00Z", 20));
    assert_no_time(fg_value_text("1970-01-01T00:59:59+01:00", 25));
    assert_no_time(fg_value_text("2199-12-31T23:30:00-01:00", 25));
    assert_no_time(fg_value_text("0000-01-01T00:00:00Z", 20));
    assert_no_time(fg_value_text("9999-12-31T23:59:59Z", 20));
}

static void kinds_without_time_are_none(void **state)
{
    (void)state;
    assert_no_time((struct fg_value){ .kind = FG_VALUE_NULL });
    assert_no_time(fg_value_boolean(true));
    assert_no_time(fg_value_text("nan", 3));
    assert_no_time(fg_value_text("", 0));
}

static void date_times_of_rfc_3339(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } times[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "2026-01-31T12:00:00Z", INT64_C(1769860800000) },
        { "2026-01-31T12:00:00.5Z", INT64_C(1769860800500) },
        { "2026-01-31t12:00:00z", INT64_C(1769860800000) },
        { "2026-01-31 12:00:00", INT64_C(1769860800000) },
        { "2026-01-31T12:00:00", INT64_C(1769860800000) },
        { "2026-01-31T12:00", INT64_C(1769860800000) },
        { "2026-01-31T12:00Z", INT64_C(1769860800000) },
        { "20260131T120000Z", INT64_C(1769860800000) },
        { "20260131T1200", INT64_C(1769860800000) },
        { "20260131T120000.5+0100", INT64_C(1769857200500) },
        { "2026-01-31T12:00:00+01:00", INT64_C(1769857200000) },
        { "2026-01-31T12:00:00+0100", INT64_C(1769857200000) },
        { "2026-01-31T12:00:00+01", INT64_C(1769857200000) },
        { "2026-01-31T12:00:00-03:30", INT64_C(1769873400000) },
        { "2026-01-31T12:00:00-00:00", INT64_C(1769860800000) },
        { "2026-01-31T12:00:00,25Z", INT64_C(1769860800250) },
        { "2026-01-31T12:00:00.1239999999999999Z", INT64_C(1769860800123) },
        { "2026-01-31T12:00:00.9999Z", INT64_C(1769860800999) },
        { "2024-02-29T00:00:00Z", INT64_C(1709164800000) },
        { "2000-02-29T00:00:00Z", INT64_C(951782400000) },
        { "2100-03-01T00:00:00Z", INT64_C(4107542400000) },
        { "1970-01-01T01:00:00+01:00", 0 },
        { "1969-12-31T23:00:00-01:00", 0 },
        { "2016-12-31T23:59:60Z", INT64_C(1483228800000) },
        { "2016-12-31T23:59:60.5Z", INT64_C(1483228800500) },
        { "2017-01-01T05:29:60+05:30", INT64_C(1483228800000) },
        { "2199-12-31T23:59:59.999Z", INT64_C(7258118399999) },
    };
    for (size_t i = 0; i < COUNT(times); i++) {
        int64_t ms = -1;
        int error = parse_text(times[i].text, &ms);
        if (error || ms != times[i].ms) {
            fail_msg("%s: %d, %lld", times[i].text, error, (long long)ms);
        }
    }
}

static void dates_that_are_not_there_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "2023-02-29T00:00:00Z",      "2100-02-29T00:00:00Z",      "2026-04-31T00:00:00Z",
        "2026-00-10T00:00:00Z",      "2026-13-10T00:00:00Z",      "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z",      "2026-01-31T24:00:00Z",      "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z",      "2026-01-31T12:00:60Z",      "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+01:60", "2016-12-31T23:59:60+01:00",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        int64_t ms = -77;
        if (parse_text(texts[i], &ms) != -EINVAL || ms != -77) {
            fail_msg("%s", texts[i]);
        }
    }
}

static void malformed_times_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "yesterday",
        "2026-01-31",
        "2026-01-31T",
        "2026-01-31T12",
        "2026-1-31T12:00:00Z",
        "2026-01-31X12:00:00Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00ZZ",
        "2026-01-31T12:00:00Z ",
        " 2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00+",
        "2026-01-31T12:00:00+1",
        "2026-01-31T12:00:00+01:",
        "2026-01-31T12:00:00+01:0",
        "2026-01-31T12:00:00 +01:00",
        "2026-0131T12:00:00Z",
        "202601-31T12:00:00Z",
        "20260131T12:00:00Z",
        "2026-01-31T120000Z",
        "-2026-01-31T12:00:00Z",
        "2026-01-31T12:00:-1Z",
        "2026-01-31T12:00:0",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        int64_t ms = -77;
        if (parse_text(texts[i], &ms) != -EINVAL || ms != -77) {
            fail_msg("%s", texts[i]);
        }
    }
}

static void every_day_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = 0; day < INT64_C(7258118400) / 86400; day++) {
        time_t seconds = (time_t)(day * 86400 + 86399);
        struct tm broken;
        char text[64];
        gmtime_r(&seconds, &broken);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &broken);
        int64_t ms = -1;
        if (parse_text(text, &ms) != 0 || ms != (int64_t)seconds * 1000) {
            fail_msg("%s: %lld", text, (long long)ms);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_seconds_or_milliseconds),
        cmocka_unit_test(numbers_in_text_are_times_too),
        cmocka_unit_test(what_is_outside_the_years_is_no_time),
        cmocka_unit_test(kinds_without_time_are_none),
        cmocka_unit_test(date_times_of_rfc_3339),
        cmocka_unit_test(dates_that_are_not_there_are_refused),
        cmocka_unit_test(malformed_times_are_refused),
        cmocka_unit_test(every_day_agrees_with_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
