#include "device/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static struct fg_device_defaults device;
static struct fg_report *report;

static int start(void **state)
{
    (void)state;
    memset(&device, 0, sizeof device);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fg_report_free(report);
    report = NULL;
    return 0;
}

static struct fg_report *the_report(void)
{
    if (!report) {
        report = fg_report_new(&device);
        assert_non_null(report);
    }
    return report;
}

/* One reading of one point: publishes it when it passes, as the caller does. */
static bool goes(const char *name, struct fg_value value, int64_t now_ns, int64_t *retry_ns)
{
    struct fg_field field = { .name = name, .name_length = strlen(name), .value = value };
    struct fg_reading reading = { .fields = &field, .count = 1 };
    bool passes[FG_RECORD_MAX_FIELDS];
    struct fg_report_verdict verdict = fg_report_judge(the_report(), &reading, now_ns, passes);
    if (retry_ns) {
        *retry_ns = verdict.retry_ns;
    }
    if (verdict.passed) {
        fg_report_published(the_report(), &field, 1, now_ns);
    }
    return verdict.passed == 1;
}

static void without_settings_no_state_is_needed(void **state)
{
    (void)state;
    assert_false(fg_report_is_needed(&device));
    struct fg_point_settings point = { .report.on_change = true };
    device.points = (struct fg_settings_list){ .count = 1, .items = &point };
    assert_true(fg_report_is_needed(&device));
}

static void on_change_holds_back_equal_values_of_every_kind(void **state)
{
    (void)state;
    device.report.on_change = true;
    assert_true(goes("a", fg_value_integer(1), 1, NULL));
    assert_false(goes("a", fg_value_integer(1), 2, NULL));
    assert_true(goes("a", fg_value_real(1.0), 3, NULL));
    assert_true(goes("a", fg_value_text("on", 2), 4, NULL));
    assert_false(goes("a", fg_value_text("on", 2), 5, NULL));
    assert_true(goes("a", fg_value_text("off", 3), 6, NULL));
    assert_true(goes("a", fg_value_boolean(true), 7, NULL));
    assert_true(goes("b", fg_value_boolean(true), 8, NULL));
}

static void a_deadband_is_measured_from_the_published_value(void **state)
{
    (void)state;
    device.report.deadband = 0.5;
    assert_true(goes("t", fg_value_real(20.0), 1, NULL));
    assert_false(goes("t", fg_value_real(20.4), 2, NULL));
    assert_false(goes("t", fg_value_real(20.5), 3, NULL));
    assert_true(goes("t", fg_value_real(20.6), 4, NULL));
    assert_false(goes("t", fg_value_real(20.2), 5, NULL));
    assert_true(goes("t", fg_value_integer(20), 6, NULL));
}

static void a_deadband_in_percent_grows_with_the_value(void **state)
{
    (void)state;
    device.report.deadband_percent = 10;
    assert_true(goes("p", fg_value_integer(-100), 1, NULL));
    assert_false(goes("p", fg_value_integer(-110), 2, NULL));
    assert_true(goes("p", fg_value_integer(-111), 3, NULL));
    assert_true(goes("zero", fg_value_integer(0), 4, NULL));
    assert_true(goes("zero", fg_value_real(0.001), 5, NULL));
}

static void null_after_a_number_is_a_change(void **state)
{
    (void)state;
    device.report.deadband = 5;
    assert_true(goes("t", fg_value_integer(1), 1, NULL));
    assert_true(goes("t", (struct fg_value){ .kind = FG_VALUE_NULL }, 2, NULL));
    assert_false(goes("t", (struct fg_value){ .kind = FG_VALUE_NULL }, 3, NULL));
    assert_true(goes("t", fg_value_integer(1), 4, NULL));
}

static void min_interval_tells_when_to_try_again(void **state)
{
    (void)state;
    int64_t retry_ns = 0;
    device.report.min_interval_ns = 10 * SECOND;
    assert_true(goes("t", fg_value_integer(1), SECOND, &retry_ns));
    assert_int_equal(retry_ns, 0);
    assert_false(goes("t", fg_value_integer(2), 2 * SECOND, &retry_ns));
    assert_int_equal(retry_ns, 11 * SECOND);
    assert_true(goes("t", fg_value_integer(2), 11 * SECOND, &retry_ns));
}

static void max_interval_lets_an_unchanged_value_through(void **state)
{
    (void)state;
    device.report.on_change = true;
    device.report.max_interval_ns = 60 * SECOND;
    assert_true(goes("t", fg_value_integer(1), SECOND, NULL));
    assert_false(goes("t", fg_value_integer(1), 60 * SECOND, NULL));
    assert_true(goes("t", fg_value_integer(1), 61 * SECOND, NULL));
    assert_false(goes("t", fg_value_integer(1), 62 * SECOND, NULL));
}

static void a_point_has_its_own_settings(void **state)
{
    (void)state;
    struct fg_point_settings point = { .name = (char *)(uintptr_t) "noisy", .report.deadband = 100 };
    device.points = (struct fg_settings_list){ .count = 1, .items = &point };
    assert_true(goes("noisy", fg_value_integer(1), 1, NULL));
    assert_false(goes("noisy", fg_value_integer(2), 2, NULL));
    assert_true(goes("other", fg_value_integer(1), 3, NULL));
    assert_true(goes("other", fg_value_integer(1), 4, NULL));
}

static void points_beyond_the_bound_pass_without_being_remembered(void **state)
{
    (void)state;
    device.report.on_change = true;
    char name[16];
    for (int i = 0; i < FG_RECORD_MAX_FIELDS; i++) {
        snprintf(name, sizeof name, "p%d", i);
        assert_true(goes(name, fg_value_integer(1), 1, NULL));
    }
    assert_true(goes("one more", fg_value_integer(1), 1, NULL));
    assert_true(goes("one more", fg_value_integer(1), 2, NULL));
    assert_false(goes("p0", fg_value_integer(1), 2, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_settings_no_state_is_needed, start, stop),
        cmocka_unit_test_setup_teardown(on_change_holds_back_equal_values_of_every_kind, start, stop),
        cmocka_unit_test_setup_teardown(a_deadband_is_measured_from_the_published_value, start, stop),
        cmocka_unit_test_setup_teardown(a_deadband_in_percent_grows_with_the_value, start, stop),
        cmocka_unit_test_setup_teardown(null_after_a_number_is_a_change, start, stop),
        cmocka_unit_test_setup_teardown(min_interval_tells_when_to_try_again, start, stop),
        cmocka_unit_test_setup_teardown(max_interval_lets_an_unchanged_value_through, start, stop),
        cmocka_unit_test_setup_teardown(a_point_has_its_own_settings, start, stop),
        cmocka_unit_test_setup_teardown(points_beyond_the_bound_pass_without_being_remembered, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
