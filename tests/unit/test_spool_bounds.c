#include "support/spool_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct spool_rig rig;

static int set_up(void **state)
{
    (void)state;
    spool_rig_start(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    spool_rig_stop(&rig);
    return 0;
}

#define MIB (INT64_C(1) << 20)

static void opened(void)
{
    assert_int_equal(spool_rig_open(&rig), 0);
}

static int64_t on_disk(void)
{
    struct fg_spool_counts counts;
    fg_spool_get_counts(rig.spool, &counts);
    return (int64_t)counts.disk_bytes;
}

static uint64_t waiting(void)
{
    struct fg_spool_counts counts;
    fg_spool_get_counts(rig.spool, &counts);
    return counts.messages;
}

static void the_oldest_make_room_and_are_told(void **state)
{
    (void)state;
    rig.settings.max_bytes = MIB;
    rig.padding = 300;
    opened();
    int64_t began = rig.time.wall_ms;
    for (int i = 0; i < 200; i++) {
        rig.time.wall_ms += 1000;
        rig.time.now_ns += 1000000000;
        assert_int_equal(spool_rig_append(&rig, 20), 0);
        assert_true(on_disk() <= MIB);
        assert_int_equal(rig.lost + waiting(), rig.made);
    }
    assert_true(rig.lost > 1000);
    assert_int_equal(rig.reason, FG_LOSS_SPOOL_FULL);
    assert_int_equal(rig.lost_from_ms, began + 1000);
    assert_int_equal(rig.lost_to_ms, began + 1000 + (int64_t)(rig.lost - 1) / 20 * 1000);
    assert_true(rig.lost_bytes >= 302 * rig.lost && rig.lost_bytes <= 305 * rig.lost);
    assert_int_equal(rig.lost_of[0] + rig.lost_of[1] + rig.lost_of[2], rig.lost);
    assert_true(rig.lost_of[0] >= rig.lost / 3 && rig.lost_of[0] <= rig.lost / 3 + 1);
    spool_rig_expect(&rig, (unsigned)rig.lost + 1, rig.made);
}

static void what_is_in_flight_is_not_dropped(void **state)
{
    (void)state;
    rig.settings.max_bytes = MIB;
    rig.padding = 300;
    opened();
    assert_int_equal(spool_rig_append(&rig, 50), 0);
    fg_spool_hold(rig.spool, 50);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(spool_rig_append(&rig, 50), 0);
    }
    static unsigned numbers[SPOOL_RIG_MAX];
    int count = spool_rig_read(&rig, numbers, NULL, SPOOL_RIG_MAX);
    assert_true(count > 100);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(numbers[i], i + 1);
    }
    assert_int_equal(rig.lost + (uint64_t)count, rig.made);
    fg_spool_hold(rig.spool, INT64_MAX);
    int error = 0;
    while (!error) {
        error = spool_rig_append(&rig, 50);
    }
    assert_int_equal(error, -ENOBUFS); /* nothing may be dropped */
}

static void the_newest_are_left_to_their_owner_to_drop(void **state)
{
    (void)state;
    rig.settings.max_bytes = MIB;
    rig.settings.when_full = FG_SPOOL_DROP_NEWEST;
    rig.padding = 300;
    opened();
    int error;
    while ((error = spool_rig_append(&rig, 20)) == 0) {
        assert_true(on_disk() <= MIB);
    }
    assert_int_equal(error, -EDQUOT);
    assert_true(fg_spool_is_open(rig.spool));
    assert_int_equal(rig.lost, 0);
    spool_rig_expect(&rig, 1, rig.made - 20);
}

static void a_full_spool_that_blocks_goes_on_once_there_is_room(void **state)
{
    (void)state;
    rig.settings.max_bytes = MIB;
    rig.settings.when_full = FG_SPOOL_BLOCK;
    rig.padding = 300;
    opened();
    int error;
    while ((error = spool_rig_append(&rig, 20)) == 0) {
    }
    assert_int_equal(error, -ENOBUFS);
    assert_int_equal(rig.lost, 0);
    unsigned kept = rig.made -= 20;
    assert_int_equal(fg_spool_remove(rig.spool, &(struct fg_spool_range){ 1, 100 }, 1), 0);
    assert_int_equal(spool_rig_append(&rig, 20), 0);
    assert_true(on_disk() <= MIB);
    spool_rig_expect(&rig, 101, kept + 20);
}

static void large_messages_keep_within_the_bound(void **state)
{
    (void)state;
    rig.settings.max_bytes = MIB;
    opened();
    for (unsigned i = 0; i < 600; i++) {
        rig.padding = 8100 - i * 37 % 8000;
        assert_int_equal(spool_rig_append(&rig, 1 + i % 8), 0);
        assert_true(on_disk() <= MIB);
        assert_int_equal(rig.lost + waiting(), rig.made);
    }
    spool_rig_expect(&rig, (unsigned)rig.lost + 1, rig.made);
}

static void a_bound_that_was_lowered_holds_after_the_next_start(void **state)
{
    (void)state;
    rig.padding = 300;
    opened();
    for (int i = 0; i < 200; i++) {
        assert_int_equal(spool_rig_append(&rig, 50), 0);
    }
    assert_true(on_disk() > 3 * MIB);
    rig.settings.max_bytes = MIB;
    opened();
    assert_true(on_disk() <= MIB);
    assert_int_equal(rig.lost + waiting(), rig.made);
    assert_true(waiting() > 500);
    spool_rig_expect(&rig, (unsigned)rig.lost + 1, rig.made);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(spool_rig_append(&rig, 50), 0);
        assert_true(on_disk() <= MIB);
    }
}

static void where_nothing_may_be_dropped_a_lowered_bound_only_stops_growth(void **state)
{
    (void)state;
    rig.padding = 300;
    opened();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(spool_rig_append(&rig, 50), 0);
    }
    rig.settings.max_bytes = MIB;
    rig.settings.when_full = FG_SPOOL_BLOCK;
    opened();
    unsigned kept = rig.made;
    spool_rig_expect(&rig, 1, kept);
    int error = 0;
    while (!error) {
        error = spool_rig_append(&rig, 20);
    }
    assert_int_equal(error, -ENOBUFS);
    assert_true(rig.made < kept + 100);
    assert_int_equal(rig.lost, 0);
}

static void what_is_older_than_max_age_is_dropped_and_told(void **state)
{
    (void)state;
    rig.settings.max_age_ns = 60 * INT64_C(1000000000);
    opened();
    for (int i = 0; i < 10; i++) {
        assert_int_equal(spool_rig_append(&rig, 10), 0);
        rig.time.now_ns += 10 * INT64_C(1000000000);
        rig.time.wall_ms += 10000;
    }
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    assert_int_equal(rig.lost, 40); /* of 100, 90, 80 and 70 seconds */
    assert_int_equal(rig.reason, FG_LOSS_EXPIRED);
    assert_int_equal(rig.lost_to_ms - rig.lost_from_ms, 30000);
    spool_rig_expect(&rig, 41, 100);
    rig.time.now_ns += 1000 * INT64_C(1000000000);
    fg_spool_hold(rig.spool, 50);
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    spool_rig_expect(&rig, 41, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(the_oldest_make_room_and_are_told),
        TEST(what_is_in_flight_is_not_dropped),
        TEST(the_newest_are_left_to_their_owner_to_drop),
        TEST(a_full_spool_that_blocks_goes_on_once_there_is_room),
        TEST(large_messages_keep_within_the_bound),
        TEST(a_bound_that_was_lowered_holds_after_the_next_start),
        TEST(where_nothing_may_be_dropped_a_lowered_bound_only_stops_growth),
        TEST(what_is_older_than_max_age_is_dropped_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
