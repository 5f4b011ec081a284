/* Devices on a Modbus line that do not answer, or not as they should. */
#include "support/modbus.h"
#include "support/modbus_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define LINE (&fg_test_line)

static void forget(void)
{
    LINE->text[0] = '\0';
}

/* ---- who does not answer ---- */

static void a_device_that_does_not_answer_goes_offline_after_its_retries(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    fg_test_line_start();
    fg_test_line_run(500 * TEST_MS);
    fg_test_line_expect("1:online 1:reading ");
    device->dead = true;
    fg_test_line_run(1000 * TEST_MS); /* at 1 s, 1.2 s, and until 1.6 s */
    fg_test_line_expect("");
    fg_test_line_run(250 * TEST_MS);
    fg_test_line_expect("1:offline ");
    assert_int_equal(device->asked, 4);
}

static void one_lost_answer_is_asked_for_again(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    fg_test_line_start();
    fg_test_line_run(500 * TEST_MS);
    forget();
    device->dead = true;
    fg_test_line_run(700 * TEST_MS);
    device->dead = false;
    fg_test_line_run(200 * TEST_MS);
    fg_test_line_expect("1:reading ");
    assert_int_equal(device->asked, 3);
}

static void a_device_never_heard_is_offline_at_its_first_silence(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->dead = true;
    fg_test_line_start();
    fg_test_line_run(300 * TEST_MS);
    fg_test_line_expect("1:offline ");
    assert_int_equal(device->asked, 1);
}

static void an_offline_device_is_asked_after_1_s_and_then_ever_more_rarely(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->dead = true;
    fg_test_line_start();
    int64_t begin_ns = LINE->now_ns;
    /* Each costs its timeout and the line's time; after it 1, 2, 4, … 60, 60 s pass. */
    static const int64_t waits_s[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };
    struct fg_modbus_request request = { .unit = 1, .function = 3, .read = { 0, 1 } };
    int64_t cost_ns = fg_modbus_line_exchange_ns(&LINE->timing, &request, 0) + 200 * TEST_MS;
    int64_t wanted_ns = begin_ns;
    for (unsigned i = 0; i < 9; i++) {
        wanted_ns += cost_ns + waits_s[i] * TEST_SECOND;
        fg_test_line_run(wanted_ns - TEST_MS - LINE->now_ns);
        assert_int_equal(device->asked, i + 1);
        fg_test_line_run(2 * TEST_MS);
        assert_int_equal(device->asked, i + 2);
    }
    fg_test_line_expect("1:offline ");
}

static void an_offline_device_is_online_with_its_first_answer(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    device->dead = true;
    fg_test_line_start();
    fg_test_line_run(100 * TEST_SECOND);
    fg_test_line_expect("1:offline ");
    device->dead = false;
    fg_test_line_run(60 * TEST_SECOND);
    assert_memory_equal(LINE->text, "1:online 1:reading ", 19);
    fg_test_line_run(5 * TEST_SECOND);
    unsigned readings = device->readings;
    fg_test_line_run(10 * TEST_SECOND);
    assert_int_equal(device->readings, readings + 10);
}

static void what_came_of_a_round_before_it_went_offline_is_not_lost(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    fg_test_line_start();
    fg_test_line_run(1022 * TEST_MS); /* the first of two is answered for the second time */
    forget();
    device->dead = true;
    fg_test_line_run(TEST_SECOND);
    fg_test_line_expect("1:reading 1:offline ");
    assert_int_equal(device->values, 3);
}

static void requests_that_time_out_together_are_one_failure(void **state)
{
    (void)state;
    LINE->tcp = true;
    LINE->serial = false;
    LINE->pipeline = 4;
    struct fg_test_device *device = fg_test_line_device_with(8);
    device->settings.retries = 0;
    fg_test_line_start();
    fg_test_line_run(500 * TEST_MS);
    forget();
    device->dead = true;
    fg_test_line_run(750 * TEST_MS); /* four at 1 s, offline at 1.2 s */
    fg_test_line_expect("1:offline ");
    device->dead = false;
    fg_test_line_run(1000 * TEST_MS); /* and asked again a second later */
    assert_memory_equal(LINE->text, "1:online ", 9);
}

static void an_answer_that_is_coming_in_is_waited_for(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    LINE->serial = false;
    device->dead = true;
    fg_test_line_start();
    fg_test_line_run(190 * TEST_MS);
    uint8_t frame[FG_MODBUS_ADU_MAX];
    uint8_t pdu[] = { 3, 2, (uint8_t)(device->registers[0] >> 8), (uint8_t)device->registers[0] };
    size_t size = fg_test_modbus_frame(FG_MODBUS_RTU, 0, 1, pdu, sizeof pdu, frame);
    fg_modbus_poll_feed(LINE->poll, frame, 3, LINE->now_ns);
    fg_test_line_run(40 * TEST_MS);
    fg_modbus_poll_feed(LINE->poll, frame + 3, size - 3, LINE->now_ns);
    fg_test_line_expect("1:online 1:reading ");
}

static void periods_offline_are_missed_and_not_caught_up(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    struct fg_modbus_poll_stats stats;
    device->dead = true;
    fg_test_line_start();
    fg_test_line_run(3 * TEST_SECOND); /* asked at 0 and 1.2; next at 3.4 */
    device->dead = false;
    fg_test_line_run(900 * TEST_MS);
    assert_int_equal(device->readings, 1);
    fg_modbus_poll_get_stats(LINE->poll, 0, &stats);
    assert_int_equal(stats.missed, 3);
}

static void an_exception_is_an_answer_too(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->lacks = 1u << 3;
    fg_test_line_start();
    fg_test_line_run(500 * TEST_MS);
    fg_test_line_expect("1:online 1:failed 1 ");
    fg_test_line_run(TEST_SECOND);
    fg_test_line_expect("1:refused 0:1 1:failed 1 ");
}

static void a_gateways_word_that_nobody_answers_is_no_answer(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    LINE->tcp = true;
    LINE->serial = false;
    fg_test_line_start();
    fg_test_line_run(500 * TEST_MS);
    device->dead = true;
    device->behind_gateway = true;
    fg_test_line_run(TEST_SECOND);
    fg_test_line_expect("1:online 1:reading 1:offline ");
}

/* ---- the others ---- */

static void a_dead_device_delays_the_others_by_one_timeout_at_most(void **state)
{
    (void)state;
    struct fg_test_device *dead = fg_test_line_device_with(3);
    struct fg_test_device *live[3];
    for (size_t i = 0; i < 3; i++) {
        live[i] = fg_test_line_device_with(1);
    }
    fg_test_line_start();
    fg_test_line_run(5 * TEST_SECOND);
    dead->dead = true;
    fg_test_line_run(120 * TEST_SECOND);
    for (size_t i = 0; i < 3; i++) {
        /* its timeout with the line's time, and the others' turns */
        assert_true(live[i]->longest_ns < TEST_SECOND + 220 * TEST_MS + 4 * 40 * TEST_MS);
        assert_true(live[i]->readings >= 124);
    }
}

static void live_devices_keep_their_rate_among_dead_ones(void **state)
{
    (void)state;
    unsigned alone = 0, together = 0;
    for (int dead = 0; dead < 2; dead++) {
        fg_test_line_end();
        fg_test_line_begin();
        for (int i = 0; i < 32; i++) {
            struct fg_test_device *device = fg_test_line_device_with(4);
            device->settings.timeout_ns = 500 * TEST_MS;
            device->settings.max_gap = 30;
            device->settings.poll_interval_ns = 2 * TEST_SECOND;
            device->dead = i % 4 == 3;
            device->count = device->dead && !dead ? 0 : device->count;
        }
        fg_test_line_start();
        fg_test_line_run(600 * TEST_SECOND);
        unsigned *readings = dead ? &together : &alone;
        for (size_t i = 0; i < 32; i++) {
            *readings += LINE->devices[i].readings;
        }
    }
    print_message("%u readings alone, %u among dead devices\n", alone, together);
    assert_true(together >= alone * 9 / 10);
}

/* ---- who refuses ---- */

static void a_refused_point_is_named_and_the_rest_keep_their_values(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(5);
    device->settings.max_gap = 20;
    device->illegal[20] = true;
    fg_test_line_start();
    fg_test_line_run(800 * TEST_MS);
    fg_test_line_expect("1:online 1:failed 2 1:reading ");
    assert_int_equal(device->values, 4);
    fg_test_line_run(3 * TEST_SECOND);
    fg_test_line_expect("1:refused 20:2 1:failed 2 1:reading 1:reading 1:reading ");
    assert_int_equal(device->values, 16);
}

static void one_wrong_refusal_costs_one_value(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    device->settings.max_gap = 20;
    fg_test_line_start();
    fg_test_line_run(800 * TEST_MS);
    fg_test_line_expect("1:online 1:reading ");
    device->illegal[10] = true;
    fg_test_line_run(TEST_SECOND);
    fg_test_line_expect("1:failed 2 1:reading ");
    device->illegal[10] = false;
    unsigned values = device->values;
    fg_test_line_run(TEST_SECOND);
    fg_test_line_expect("1:reading ");
    assert_int_equal(device->values, values + 2);
    unsigned asked = device->asked;
    fg_test_line_run(TEST_SECOND);
    assert_int_equal(device->asked, asked + 1); /* and both are read together again */
}

static void a_refused_hole_costs_no_value(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(5);
    device->settings.max_gap = 20;
    device->illegal[15] = true;
    fg_test_line_start();
    fg_test_line_run(800 * TEST_MS);
    fg_test_line_expect("1:online 1:reading ");
    assert_int_equal(device->values, 5);
    unsigned asked = device->asked;
    fg_test_line_run(TEST_SECOND);
    assert_true(device->asked <= asked + 3);
}

static void a_refused_point_is_asked_for_again_after_an_hour(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    device->settings.poll_interval_ns = 60 * TEST_SECOND;
    device->illegal[10] = true;
    fg_test_line_start();
    fg_test_line_run(30 * 60 * TEST_SECOND);
    assert_int_equal(device->asked, 32);
    device->illegal[10] = false;
    forget();
    fg_test_line_run(35 * 60 * TEST_SECOND);
    assert_non_null(strstr(LINE->text, "1:refused 10:0 "));
    assert_int_equal(device->values, 65 + 3);
}

static void a_device_that_refuses_all_is_still_known_to_answer(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(3);
    device->illegal[0] = device->illegal[10] = device->illegal[20] = true;
    fg_test_line_start();
    fg_test_line_run(1800 * TEST_MS);
    forget();
    unsigned asked = device->asked;
    fg_test_line_run(10 * TEST_SECOND);
    assert_int_equal(device->asked, asked + 10); /* one of them each period */
    forget();
    device->dead = true;
    fg_test_line_run(2 * TEST_SECOND);
    fg_test_line_expect("1:offline ");
}

static void a_point_that_is_refused_is_read_when_it_is_hurried(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    device->illegal[10] = true;
    fg_test_line_start();
    fg_test_line_run(1800 * TEST_MS);
    forget();
    device->illegal[10] = false;
    fg_modbus_poll_hurry(LINE->poll, 0, 1, LINE->now_ns);
    fg_test_line_run(100 * TEST_MS);
    fg_test_line_expect("1:refused 10:0 1:reading ");
}

/* ---- who answers wrongly ---- */

static void no_late_answer_is_taken_for_another_points(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(4);
    fg_test_line_start();
    fg_test_line_run(500 * TEST_MS);
    forget();
    device->delay_ns = 450 * TEST_MS;   /* each answer comes when the second retry is out */
    fg_test_line_run(20 * TEST_SECOND); /* the line compares every value with the registers */
    device->delay_ns = 5 * TEST_MS;
    fg_test_line_run(30 * TEST_SECOND);
    unsigned readings = device->readings;
    fg_test_line_run(10 * TEST_SECOND);
    assert_int_equal(device->readings, readings + 10);
}

static void points_that_have_the_same_value_are_all_read(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(6);
    memset(device->registers, 0, sizeof device->registers);
    fg_test_line_start();
    fg_test_line_run(10 * TEST_SECOND); /* the first times each is asked for twice */
    assert_int_equal(device->values, 60);
    unsigned asked = device->asked;
    fg_test_line_run(10 * TEST_SECOND);
    assert_int_equal(device->values, 120);
    assert_int_equal(device->asked, asked + 60);
}

static void a_slow_device_is_not_interrupted_by_a_doubt(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(2);
    device->delay_ns = 150 * TEST_MS;
    fg_test_line_start();
    fg_test_line_run(210 * TEST_MS); /* the first is answered, the second asked */
    uint8_t frame[FG_MODBUS_ADU_MAX];
    uint8_t pdu[] = { 3, 2, (uint8_t)(device->registers[0] >> 8), (uint8_t)device->registers[0] };
    size_t size = fg_test_modbus_frame(FG_MODBUS_RTU, 0, 1, pdu, sizeof pdu, frame);
    fg_modbus_poll_feed(LINE->poll, frame, size, LINE->now_ns);
    LINE->quiet_ns = LINE->now_ns + LINE->timing.t35_ns;
    fg_test_line_run(500 * TEST_MS);
    assert_int_equal(LINE->rejected, 1);
    assert_int_equal(device->asked, 2);
    assert_int_equal(device->values, 2);
}

static void an_echo_does_not_disturb(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(3);
    LINE->echo = true;
    fg_test_line_start();
    fg_test_line_run(10500 * TEST_MS);
    assert_int_equal(device->readings, 11);
    assert_int_equal(device->values, 33);
}

static void noise_on_an_idle_line_is_dropped(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    fg_test_line_start();
    for (int i = 0; i < 20; i++) {
        fg_test_line_run(330 * TEST_MS);
        fg_modbus_poll_feed(LINE->poll, (const uint8_t *)"\x01\x03\x02\x00", 4, LINE->now_ns);
        LINE->quiet_ns = LINE->now_ns + LINE->timing.t35_ns;
    }
    fg_test_line_run(200 * TEST_MS);
    assert_int_equal(device->readings, 7);
    assert_int_equal(LINE->rejected, 20);
}

/* Devices of all kinds and their faults: no value but the registers', and all is well when the faults end. */
static void among_faults_no_value_is_anothers(void **state)
{
    const char *given = getenv("FG_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    unsigned values = 0, rejected = 0;
    for (int round = 0; round < 30; round++) {
        fg_test_line_tear_down(state);
        fg_test_line_begin();
        LINE->serial = round % 3 != 0;
        LINE->echo = round % 4 == 1;
        fg_modbus_line_init(&LINE->timing, round % 2 ? 19200 : 9600, "8E1");
        for (int i = 0; i < 1 + round % 5; i++) {
            struct fg_test_device *device = fg_test_line_device_with(1 + (size_t)rand() % 8);
            device->faulty = (unsigned)(rand() % 40);
            device->settings.poll_interval_ns = (500 + rand() % 3000) * TEST_MS;
            device->settings.max_gap = (uint16_t)(rand() % 2 * 12);
            device->illegal[10 * (rand() % 12)] = rand() % 2;
        }
        LINE->log_requests = true; /* for the failure's sake */
        fg_test_line_start();
        for (int i = 0; i < 300; i++) {
            fg_test_line_run(2 * TEST_SECOND);
            forget();
        }
        rejected += LINE->rejected;
        for (size_t i = 0; i < LINE->count; i++) {
            LINE->devices[i].faulty = 0;
        }
        fg_test_line_run(70 * TEST_SECOND);
        forget();
        for (size_t i = 0; i < LINE->count; i++) {
            struct fg_modbus_poll_stats stats;
            values += LINE->devices[i].values;
            fg_modbus_poll_get_stats(LINE->poll, i, &stats);
            assert_true(stats.online);
        }
    }
    print_message("%u values, %u rejected\n", values, rejected);
    assert_true(values > 10000 && rejected > 1000);
}

int main(void)
{
#define LINES(test) cmocka_unit_test_setup_teardown(test, fg_test_line_set_up, fg_test_line_tear_down)
    const struct CMUnitTest tests[] = {
        LINES(a_device_that_does_not_answer_goes_offline_after_its_retries),
        LINES(one_lost_answer_is_asked_for_again),
        LINES(a_device_never_heard_is_offline_at_its_first_silence),
        LINES(an_offline_device_is_asked_after_1_s_and_then_ever_more_rarely),
        LINES(an_offline_device_is_online_with_its_first_answer),
        LINES(what_came_of_a_round_before_it_went_offline_is_not_lost),
        LINES(requests_that_time_out_together_are_one_failure),
        LINES(an_answer_that_is_coming_in_is_waited_for),
        LINES(periods_offline_are_missed_and_not_caught_up),
        LINES(an_exception_is_an_answer_too),
        LINES(a_gateways_word_that_nobody_answers_is_no_answer),
        LINES(a_dead_device_delays_the_others_by_one_timeout_at_most),
        LINES(live_devices_keep_their_rate_among_dead_ones),
        LINES(a_refused_point_is_named_and_the_rest_keep_their_values),
        LINES(one_wrong_refusal_costs_one_value),
        LINES(a_refused_hole_costs_no_value),
        LINES(a_refused_point_is_asked_for_again_after_an_hour),
        LINES(a_device_that_refuses_all_is_still_known_to_answer),
        LINES(a_point_that_is_refused_is_read_when_it_is_hurried),
        LINES(no_late_answer_is_taken_for_another_points),
        LINES(points_that_have_the_same_value_are_all_read),
        LINES(a_slow_device_is_not_interrupted_by_a_doubt),
        LINES(an_echo_does_not_disturb),
        LINES(noise_on_an_idle_line_is_dropped),
        LINES(among_faults_no_value_is_anothers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
