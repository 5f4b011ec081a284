/* Whose turn it is on a Modbus line, and when. */
#include "support/modbus.h"
#include "support/modbus_line.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LINE (&fg_test_line)

static uint64_t missed(size_t device)
{
    struct fg_modbus_poll_stats stats;
    fg_modbus_poll_get_stats(LINE->poll, device, &stats);
    return stats.missed;
}

static void a_device_is_read_once_each_period(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    fg_test_line_start();
    fg_test_line_run(10 * TEST_SECOND + TEST_MS * 500);
    assert_int_equal(device->asked, 11);
    assert_int_equal(device->readings, 11);
    assert_int_equal(device->longest_ns, TEST_SECOND);
    assert_int_equal(missed(0), 0);
}

static void a_reading_is_told_when_all_of_its_points_were_asked_for(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(3);
    LINE->log_requests = true;
    fg_test_line_start();
    fg_test_line_run(900 * TEST_MS);
    fg_test_line_expect("1?3:0+1 1:online 1?3:10+1 1?3:20+1 1:reading ");
    assert_int_equal(device->values, 3);
}

static void a_point_may_have_a_period_of_its_own(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    device->points[1].poll_interval_ns = 250 * TEST_MS;
    fg_test_line_start();
    fg_test_line_run(3900 * TEST_MS);
    assert_int_equal(device->asked, 4 + 16);
    assert_int_equal(device->readings, 4 + 16);
}

static void missed_periods_are_counted_and_not_caught_up(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->settings.timeout_ns = 5 * TEST_SECOND;
    fg_test_line_start();
    fg_test_line_run(500 * TEST_MS);
    device->delay_ns = 3700 * TEST_MS;
    fg_test_line_run(TEST_SECOND);
    device->delay_ns = 5 * TEST_MS;
    fg_test_line_run(10 * TEST_SECOND);
    /* Due at 0 and 1; at 4.7 over, that of 4 late; then 5, 6, … 11. */
    assert_int_equal(missed(0), 2);
    assert_int_equal(device->asked, 2 + 1 + 7);
}

static void a_line_that_is_too_slow_loses_no_time(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->settings.poll_interval_ns = 10 * TEST_MS;
    device->settings.timeout_ns = TEST_SECOND;
    device->delay_ns = 100 * TEST_MS;
    fg_test_line_start();
    fg_test_line_run(10 * TEST_SECOND);
    assert_true(device->asked > 80); /* an exchange is 122 ms */
    assert_true(missed(0) > 800);
}

static void who_has_been_waiting_longer_comes_first(void **state)
{
    (void)state;
    fg_test_line_device_with(1)->settings.poll_interval_ns = 700 * TEST_MS;
    fg_test_line_device_with(1)->settings.poll_interval_ns = 600 * TEST_MS;
    fg_test_line_start();
    fg_test_line_run(300 * TEST_MS);
    LINE->text[0] = '\0';
    LINE->log_requests = true;
    fg_test_line_run(600 * TEST_MS);
    fg_test_line_expect("2?3:0+1 2:reading 1?3:0+1 1:reading ");
}

static void a_device_with_much_to_say_does_not_keep_the_line(void **state)
{
    (void)state;
    struct fg_test_device *heavy = fg_test_line_device_with(50);
    struct fg_test_device *light = fg_test_line_device_with(1);
    heavy->settings.poll_interval_ns = 100 * TEST_MS;
    fg_test_line_start();
    fg_test_line_run(30 * TEST_SECOND);
    assert_int_equal(missed(1), 0);
    assert_true(light->readings >= 30);
    assert_true(light->longest_ns < TEST_SECOND + 100 * TEST_MS);
    assert_true(missed(0) > 100);
}

static void an_overloaded_line_is_shared_evenly(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        fg_test_line_device_with(1)->settings.poll_interval_ns = i % 2 ? 20 * TEST_MS : 30 * TEST_MS;
    }
    fg_test_line_start();
    fg_test_line_run(60 * TEST_SECOND);
    unsigned least = UINT32_MAX, most = 0;
    for (size_t i = 0; i < 8; i++) {
        unsigned readings = LINE->devices[i].readings;
        least = readings < least ? readings : least;
        most = readings > most ? readings : most;
    }
    assert_true(most - least <= 2);
}

static void a_request_waits_for_silence_after_a_frame(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    fg_test_line_start();
    fg_test_line_run(500 * TEST_MS); /* the line asserts that nothing is sent before t3.5 */
    assert_int_equal(device->asked, 2);
    int64_t answer_ns = fg_modbus_line_bytes_ns(&LINE->timing, 7);
    int64_t request_ns = fg_modbus_line_bytes_ns(&LINE->timing, 8);
    assert_int_equal(device->longest_ns, request_ns + 5 * TEST_MS + answer_ns + LINE->timing.t35_ns);
}

static void the_time_that_bytes_take_comes_on_top_of_the_timeout(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device();
    struct fg_modbus_point_settings settings = fg_test_modbus_point(FG_MODBUS_STRING, 0);
    settings.length = 125;
    assert_int_equal(fg_modbus_point_init(&device->points[0], &settings), 0);
    device->count = 1;
    device->settings.timeout_ns = 50 * TEST_MS;
    memset(device->registers, 0x41, sizeof device->registers);
    device->illegal[511] = true;
    fg_modbus_line_init(&LINE->timing, 1200, "8N1"); /* the answer takes 2.1 s */
    device->settings.poll_interval_ns = 5 * TEST_SECOND;
    fg_test_line_start();
    struct fg_modbus_poll_stats stats;
    device->points[0].type = FG_MODBUS_UINT16; /* what the line compares */
    device->points[0].count = 1;
    fg_test_line_run(4 * TEST_SECOND);
    fg_modbus_poll_get_stats(LINE->poll, 0, &stats);
    assert_int_equal(stats.timeouts, 0);
    assert_int_equal(stats.answers, 1);
}

static void what_is_hurried_is_read_ahead_of_its_time(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    device->settings.poll_interval_ns = 60 * TEST_SECOND;
    fg_test_line_start();
    fg_test_line_run(10 * TEST_SECOND);
    LINE->log_requests = true;
    LINE->text[0] = '\0';
    fg_modbus_poll_hurry(LINE->poll, 0, 1, LINE->now_ns);
    fg_test_line_run(TEST_SECOND);
    fg_test_line_expect("1?3:10+1 1:reading ");
    fg_test_line_run(50 * TEST_SECOND); /* and the others when their time comes */
    fg_test_line_expect("1?3:0+1 1?3:10+1 1:reading ");
    assert_int_equal(missed(0), 0);
}

static void what_is_hurried_goes_ahead_of_polls(void **state)
{
    (void)state;
    fg_test_line_device_with(20);
    fg_test_line_device_with(1)->settings.poll_interval_ns = 60 * TEST_SECOND;
    fg_test_line_start();
    fg_test_line_run(1010 * TEST_MS);
    LINE->log_requests = true;
    LINE->text[0] = '\0';
    fg_modbus_poll_hurry(LINE->poll, 1, 0, LINE->now_ns);
    fg_test_line_run(40 * TEST_MS);
    assert_memory_equal(LINE->text, "2?3:0+1 ", 8);
}

static void what_is_hurried_goes_ahead_of_other_devices_that_wait(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        fg_test_line_device_with(2);
    }
    fg_test_line_start();
    fg_test_line_run(1005 * TEST_MS); /* the first is asked, five wait */
    LINE->text[0] = '\0';
    LINE->log_requests = true;
    fg_modbus_poll_hurry(LINE->poll, 5, 1, LINE->now_ns);
    fg_test_line_run(30 * TEST_MS);
    fg_test_line_expect("6?3:10+1 ");
}

static void a_hurried_point_is_read_again_when_it_is_being_read(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->settings.poll_interval_ns = 60 * TEST_SECOND;
    fg_test_line_start();
    fg_test_line_run(TEST_MS); /* asked, not answered */
    fg_modbus_poll_hurry(LINE->poll, 0, 0, LINE->now_ns);
    fg_test_line_run(TEST_SECOND);
    assert_int_equal(device->asked, 2);
    assert_int_equal(device->values, 2);
}

static void pipelining_is_off_by_default(void **state)
{
    (void)state;
    LINE->tcp = true;
    LINE->serial = false;
    struct fg_test_device *device = fg_test_line_device_with(4);
    device->delay_ns = 50 * TEST_MS;
    fg_test_line_start();
    fg_test_line_run(190 * TEST_MS);
    assert_int_equal(device->asked, 4);
    assert_int_equal(device->values, 3);
}

static void a_pipeline_has_several_requests_outstanding(void **state)
{
    (void)state;
    LINE->tcp = true;
    LINE->serial = false;
    LINE->pipeline = 4;
    struct fg_test_device *device = fg_test_line_device_with(9);
    device->delay_ns = 50 * TEST_MS;
    fg_test_line_start();
    fg_test_line_run(60 * TEST_MS);
    assert_int_equal(device->values, 1); /* until it has answered once, it is asked alone */
    assert_int_equal(device->asked, 5);
    fg_test_line_run(100 * TEST_MS);
    assert_int_equal(device->values, 9);
    assert_int_equal(device->readings, 1);
}

static void nothing_is_sent_while_the_link_is_down(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    fg_test_line_start();
    fg_test_line_run(1500 * TEST_MS);
    LINE->text[0] = '\0';
    fg_modbus_poll_down(LINE->poll, LINE->now_ns);
    fg_test_line_expect("1:offline ");
    fg_test_line_run(5 * TEST_SECOND);
    assert_int_equal(device->asked, 2);
    fg_modbus_poll_up(LINE->poll, LINE->now_ns);
    fg_test_line_run(400 * TEST_MS);
    fg_test_line_expect("1:online 1:reading ");
}

static void a_request_under_way_when_the_link_goes_down_is_asked_again(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    device->delay_ns = 100 * TEST_MS;
    fg_test_line_start();
    fg_test_line_run(130 * TEST_MS);
    assert_int_equal(device->asked, 2);
    assert_int_equal(device->values, 1);
    fg_modbus_poll_down(LINE->poll, LINE->now_ns);
    fg_test_line_expect("1:online 1:reading 1:offline "); /* what came is not lost */
    fg_test_line_run(2 * TEST_SECOND);
    fg_modbus_poll_up(LINE->poll, LINE->now_ns);
    fg_test_line_run(500 * TEST_MS);
    fg_test_line_expect("1:online 1:reading ");
    assert_int_equal(device->values, 3);
}

static void a_line_without_devices_waits_for_ever(void **state)
{
    (void)state;
    uint8_t adu[FG_MODBUS_ADU_MAX];
    int64_t wake_ns = 0;
    fg_test_line_start();
    assert_int_equal(fg_modbus_poll_next(LINE->poll, LINE->now_ns, adu, &wake_ns), 0);
    assert_true(wake_ns == INT64_MAX);
}

static void settings_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct fg_modbus_poll *poll = NULL;
    const struct fg_modbus_poll_settings rtu = { .mode = FG_MODBUS_RTU };
    const struct fg_modbus_poll_settings tcp = { .mode = FG_MODBUS_TCP, .pipeline = 17 };
    const struct fg_modbus_poll_device good = { .unit = 1, .poll_interval_ns = 1, .timeout_ns = 1 };
    struct fg_modbus_poll_device bad = good;
    bad.unit = 0;
    assert_int_equal(fg_modbus_poll_new(&rtu, &bad, 1, NULL, NULL, &poll), -EINVAL);
    bad = good;
    bad.poll_interval_ns = 0;
    assert_int_equal(fg_modbus_poll_new(&rtu, &bad, 1, NULL, NULL, &poll), -EINVAL);
    assert_int_equal(fg_modbus_poll_new(&tcp, &good, 1, NULL, NULL, &poll), -EINVAL);
    assert_null(poll);
    fg_modbus_poll_free(NULL);
}

/* ---- budget ---- */

static void the_budget_is_what_polling_takes_of_the_line(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        fg_test_line_device_with(4);
    }
    fg_test_line_start();
    struct fg_modbus_budget budget;
    struct fg_modbus_request request = { .unit = 1, .function = 3, .read = { 0, 1 } };
    double one_ns = (double)fg_modbus_line_exchange_ns(&LINE->timing, &request, FG_MODBUS_TURNAROUND_NS);
    fg_modbus_poll_budget(LINE->poll, &budget);
    assert_int_equal(budget.devices, 3);
    assert_int_equal(budget.requests, 12);
    assert_true(budget.percent > one_ns * 12 / 1e7 - 1e-6 && budget.percent < one_ns * 12 / 1e7 + 1e-6);
    assert_int_equal(budget.oldest_ns, TEST_SECOND + 12 * (int64_t)one_ns);
    assert_int_equal(budget.dead_ns, budget.oldest_ns + 200 * TEST_MS);
    char text[200];
    fg_modbus_budget_print(&budget, text, sizeof text);
    assert_string_equal(text, "3 devices, 52 % of the line, oldest value 1.5 s");
}

static void a_budget_of_more_than_the_line_says_what_to_do(void **state)
{
    (void)state;
    fg_test_line_device_with(1);
    fg_test_line_device_with(40);
    fg_test_line_start();
    struct fg_modbus_budget budget;
    fg_modbus_poll_budget(LINE->poll, &budget);
    assert_int_equal(budget.heaviest, 1);
    assert_true(budget.percent > 100 && budget.heaviest_percent > 100);
    char text[200];
    fg_modbus_budget_print(&budget, text, sizeof text);
    assert_string_equal(text,
                        "2 devices, 176 % of the line, oldest value 3.5 s; more than it can carry: make "
                        "poll_interval 2.2 times as long, or raise baud, or read fewer points");
}

static void the_budget_holds_on_the_line(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct fg_test_device *device = fg_test_line_device_with(5);
        device->delay_ns = FG_MODBUS_TURNAROUND_NS;
        device->settings.poll_interval_ns = TEST_SECOND + i * 300 * TEST_MS;
    }
    fg_test_line_start();
    struct fg_modbus_budget budget;
    fg_modbus_poll_budget(LINE->poll, &budget);
    assert_true(budget.percent < 100);
    fg_test_line_run(60 * TEST_SECOND);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(missed(i), 0);
    }
}

static void the_rest_of_a_frame_cut_short_has_time_to_come_on_tcp(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    LINE->tcp = true;
    LINE->serial = false;
    fg_test_line_start();
    fg_test_line_run(900 * TEST_MS);
    device->dead = true;
    fg_test_line_run(200 * TEST_MS);
    assert_int_equal(device->asked, 2); /* the second time at 1 s */
    static const uint8_t cut[] = { 0, 2, 0, 0, 0, 5, 1, 3, 2 };
    fg_modbus_poll_feed(LINE->poll, cut, sizeof cut, LINE->now_ns);
    fg_test_line_run(390 * TEST_MS); /* 200 ms until it counts as cut short, and as many for its rest */
    assert_int_equal(device->asked, 2);
    fg_test_line_run(20 * TEST_MS);
    assert_int_equal(device->asked, 3);
}

int main(void)
{
#define POLL(test) cmocka_unit_test_setup_teardown(test, fg_test_line_set_up, fg_test_line_tear_down)
    const struct CMUnitTest tests[] = {
        POLL(a_device_is_read_once_each_period),
        POLL(a_reading_is_told_when_all_of_its_points_were_asked_for),
        POLL(a_point_may_have_a_period_of_its_own),
        POLL(missed_periods_are_counted_and_not_caught_up),
        POLL(a_line_that_is_too_slow_loses_no_time),
        POLL(who_has_been_waiting_longer_comes_first),
        POLL(a_device_with_much_to_say_does_not_keep_the_line),
        POLL(an_overloaded_line_is_shared_evenly),
        POLL(a_request_waits_for_silence_after_a_frame),
        POLL(the_time_that_bytes_take_comes_on_top_of_the_timeout),
        POLL(what_is_hurried_is_read_ahead_of_its_time),
        POLL(what_is_hurried_goes_ahead_of_polls),
        POLL(what_is_hurried_goes_ahead_of_other_devices_that_wait),
        POLL(a_hurried_point_is_read_again_when_it_is_being_read),
        POLL(pipelining_is_off_by_default),
        POLL(a_pipeline_has_several_requests_outstanding),
        POLL(the_rest_of_a_frame_cut_short_has_time_to_come_on_tcp),
        POLL(nothing_is_sent_while_the_link_is_down),
        POLL(a_request_under_way_when_the_link_goes_down_is_asked_again),
        POLL(a_line_without_devices_waits_for_ever),
        POLL(settings_that_cannot_be_are_refused),
        POLL(the_budget_is_what_polling_takes_of_the_line),
        POLL(a_budget_of_more_than_the_line_says_what_to_do),
        POLL(the_budget_holds_on_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
