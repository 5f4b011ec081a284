#include "fieldgate/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define INTERVAL INT64_C(1000000)
#define START    INT64_C(1000000000)

static void a_quiet_loop_never_rests(void **state)
{
    struct fg_pace pace = { .interval_ns = INTERVAL };
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(fg_pace_turn(&pace, START + i * INTERVAL), 0);
    }
}

static void a_burst_goes_on_without_a_rest(void **state)
{
    struct fg_pace pace = { .interval_ns = INTERVAL };
    (void)state;
    for (int i = 0; i < FG_PACE_BURST; i++) {
        assert_int_equal(fg_pace_turn(&pace, START + i * 2 * FG_PACE_CLOSE_NS), 0);
    }
    int64_t rest = fg_pace_turn(&pace, START + FG_PACE_BURST * 2 * FG_PACE_CLOSE_NS);
    assert_in_range(rest, 1, INTERVAL);
}

/* What arrives in between costs no more turns, but for the bursts that look for a change. */
static void turns_are_about_one_an_interval(void **state)
{
    struct fg_pace pace = { .interval_ns = INTERVAL };
    int64_t now = START;
    const int turns = 10000;
    (void)state;
    for (int i = 0; i < turns; i++) {
        int64_t rest = fg_pace_turn(&pace, now);
        assert_in_range(rest, 0, INTERVAL);
        now += rest + INTERVAL / 10;
    }
    assert_true(now - START > turns * INTERVAL * FG_PACE_RESTS / (FG_PACE_RESTS + FG_PACE_BURST + 8));
}

static void after_a_quiet_time_no_more_than_a_burst_is_spared(void **state)
{
    struct fg_pace pace = { .interval_ns = INTERVAL };
    int without = 0;
    (void)state;
    fg_pace_turn(&pace, START);
    for (int64_t now = 1000 * START; fg_pace_turn(&pace, now) == 0; now += INTERVAL / 1000 * 50) {
        without++;
    }
    assert_in_range(without, FG_PACE_BURST, FG_PACE_BURST + 2);
}

static void what_is_there_already_is_worked_off_without_a_rest(void **state)
{
    struct fg_pace pace = { .interval_ns = INTERVAL };
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(fg_pace_turn(&pace, START + i * FG_PACE_CLOSE_NS / 2), 0);
    }
}

static void a_flood_that_follows_a_trickle_is_found_out(void **state)
{
    struct fg_pace pace = { .interval_ns = INTERVAL };
    int64_t now = START;
    int rests = 0;
    (void)state;
    for (int i = 0; i < 100; i++) {
        now += fg_pace_turn(&pace, now) + INTERVAL / 10;
    }
    for (int i = 0; i < 1000; i++) {
        int64_t rest = fg_pace_turn(&pace, now);
        rests += rest > 0;
        now += rest + FG_PACE_CLOSE_NS / 2;
    }
    assert_in_range(rests, 0, FG_PACE_RESTS);
}

static void without_an_interval_there_is_no_rest(void **state)
{
    struct fg_pace pace = { 0 };
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(fg_pace_turn(&pace, START + i * 2 * FG_PACE_CLOSE_NS), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_loop_never_rests),
        cmocka_unit_test(a_burst_goes_on_without_a_rest),
        cmocka_unit_test(turns_are_about_one_an_interval),
        cmocka_unit_test(after_a_quiet_time_no_more_than_a_burst_is_spared),
        cmocka_unit_test(what_is_there_already_is_worked_off_without_a_rest),
        cmocka_unit_test(a_flood_that_follows_a_trickle_is_found_out),
        cmocka_unit_test(without_an_interval_there_is_no_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
