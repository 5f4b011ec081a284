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

#define SECOND  INT64_C(1000000000)
#define NOT_SET INT64_C(86400000) /* a wall clock that began in 1970 */
#define HAS_SET INT64_C(1750000000000)

static void opened(void)
{
    assert_int_equal(spool_rig_open(&rig), 0);
}

static void pass(int64_t seconds)
{
    rig.time.now_ns += seconds * SECOND;
    rig.time.wall_ms += seconds * 1000;
}

static struct fg_message *first_of(void)
{
    struct fg_message *chain = NULL;
    assert_int_equal(fg_spool_read(rig.spool, 0, 1, SIZE_MAX, &chain), 0);
    assert_non_null(chain);
    return chain;
}

static void a_message_comes_back_with_its_times(void **state)
{
    (void)state;
    opened();
    rig.time.wall_ms += 123;
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    int64_t taken = rig.time.now_ns, wall = rig.time.wall_ms;
    rig.time.wall_ms += 3600000; /* the wall clock is put right within one start */
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    pass(100);
    opened();
    struct fg_message *chain = NULL;
    assert_int_equal(fg_spool_read(rig.spool, 0, 2, SIZE_MAX, &chain), 0);
    assert_int_equal(chain->taken_ns, taken);
    assert_int_equal(chain->wall_ms, wall);
    assert_int_equal(chain->next->wall_ms, wall + 3600000);
    assert_false(chain->unsynchronised);
    assert_false(chain->earlier_boot);
    assert_int_equal(fg_spool_wall_ms(rig.spool, chain), wall);
    fg_message_free_all(chain);
}

static void once_the_clock_is_set_the_right_time_is_known_within_the_same_start(void **state)
{
    (void)state;
    rig.time = (struct fg_spool_time){ 100 * SECOND, NOT_SET, false };
    rig.unsynchronised = true;
    opened();
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    pass(50);
    struct fg_message *message = first_of();
    assert_true(message->unsynchronised);
    assert_int_equal(fg_spool_wall_ms(rig.spool, message), NOT_SET);
    fg_message_free(message);
    rig.time.wall_ms = HAS_SET;
    rig.time.synchronised = true;
    opened(); /* a new process of the same start knows it too */
    message = first_of();
    assert_true(message->unsynchronised);
    assert_false(message->earlier_boot);
    assert_int_equal(message->wall_ms, NOT_SET);
    assert_int_equal(fg_spool_wall_ms(rig.spool, message), HAS_SET - 50000);
    fg_message_free(message);
    int64_t oldest;
    assert_int_equal(fg_spool_oldest(rig.spool, &oldest), 0);
    assert_int_equal(oldest, HAS_SET - 50000);
}

static void in_a_later_start_a_time_that_was_not_set_stays_marked(void **state)
{
    (void)state;
    rig.time = (struct fg_spool_time){ 100 * SECOND, NOT_SET, false };
    rig.unsynchronised = true;
    opened();
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    rig.boot = "boot-2";
    rig.time = (struct fg_spool_time){ 5 * SECOND, HAS_SET, true };
    opened();
    struct fg_message *message = first_of();
    assert_true(message->unsynchronised);
    assert_true(message->earlier_boot);
    assert_int_equal(message->wall_ms, NOT_SET);
    assert_int_equal(fg_spool_wall_ms(rig.spool, message), NOT_SET);
    fg_message_free(message);
}

static void both_kinds_of_time_stand_in_one_chain_of_appends(void **state)
{
    (void)state;
    rig.time = (struct fg_spool_time){ 100 * SECOND, NOT_SET, false };
    opened();
    for (int i = 0; i < 20; i++) {
        rig.unsynchronised = i % 2 == 0;
        rig.time.wall_ms = i % 2 == 0 ? NOT_SET : HAS_SET;
        assert_int_equal(spool_rig_append(&rig, 1), 0);
    }
    struct fg_message *chain = NULL;
    assert_int_equal(fg_spool_read(rig.spool, 0, 20, SIZE_MAX, &chain), 0);
    int i = 0;
    for (const struct fg_message *message = chain; message; message = message->next, i++) {
        assert_int_equal(message->unsynchronised, i % 2 == 0);
        assert_int_equal(message->wall_ms, i % 2 == 0 ? NOT_SET : HAS_SET);
    }
    fg_message_free_all(chain);
    assert_int_equal(i, 20);
}

static void a_step_of_the_wall_clock_expires_nothing(void **state)
{
    (void)state;
    rig.settings.max_age_ns = 60 * SECOND;
    opened();
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    rig.time.wall_ms += 1000000000;
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    spool_rig_expect(&rig, 1, 5);
    rig.time.wall_ms -= 2000000000;
    pass(61);
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    assert_int_equal(rig.lost, 5);
}

static void messages_of_an_earlier_start_age_by_the_wall_clock_once_it_is_set(void **state)
{
    (void)state;
    rig.settings.max_age_ns = 60 * SECOND;
    opened();
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    pass(40);
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    rig.boot = "boot-2";
    rig.time = (struct fg_spool_time){ 5 * SECOND, NOT_SET, false };
    opened();
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    spool_rig_expect(&rig, 1, 10);
    rig.time.wall_ms = HAS_SET + 70000;
    rig.time.synchronised = true;
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    assert_int_equal(rig.lost, 5);
    spool_rig_expect(&rig, 6, 10);
    pass(31);
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    assert_int_equal(rig.lost, 10);
}

static void an_age_that_is_not_known_does_not_expire_and_hides_nothing(void **state)
{
    (void)state;
    rig.settings.max_age_ns = 60 * SECOND;
    rig.time = (struct fg_spool_time){ 100 * SECOND, NOT_SET, false };
    rig.unsynchronised = true;
    opened();
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    rig.boot = "boot-2";
    rig.time = (struct fg_spool_time){ 5 * SECOND, HAS_SET, true };
    rig.unsynchronised = false;
    opened();
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    pass(100);
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    assert_int_equal(rig.lost, 5); /* 6..10 */
    static unsigned numbers[16];
    assert_int_equal(spool_rig_read(&rig, numbers, NULL, 16), 10);
    assert_int_equal(numbers[4], 5);
    assert_int_equal(numbers[5], 11);
}

static void losses_are_told_with_times_set_right(void **state)
{
    (void)state;
    rig.settings.max_age_ns = 60 * SECOND;
    rig.time = (struct fg_spool_time){ 100 * SECOND, NOT_SET, false };
    rig.unsynchronised = true;
    opened();
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    pass(100);
    rig.time.wall_ms = HAS_SET;
    rig.time.synchronised = true;
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    assert_int_equal(rig.lost, 5);
    assert_int_equal(rig.lost_from_ms, HAS_SET - 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_message_comes_back_with_its_times),
        TEST(once_the_clock_is_set_the_right_time_is_known_within_the_same_start),
        TEST(in_a_later_start_a_time_that_was_not_set_stays_marked),
        TEST(both_kinds_of_time_stand_in_one_chain_of_appends),
        TEST(a_step_of_the_wall_clock_expires_nothing),
        TEST(messages_of_an_earlier_start_age_by_the_wall_clock_once_it_is_set),
        TEST(an_age_that_is_not_known_does_not_expire_and_hides_nothing),
        TEST(losses_are_told_with_times_set_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
