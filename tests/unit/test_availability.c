#include "mqtt/availability.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

/* A device that comes online, was told of, and is let go of by its port. */
static void come_and_go(struct fg_availability *known, unsigned number)
{
    char name[16];
    snprintf(name, sizeof name, "d%u", number);
    struct fg_origin *origin = fg_origin_new("port", name);
    assert_non_null(origin);
    assert_int_equal(fg_availability_set(known, origin, true), 1);
    assert_int_equal(fg_availability_retire(known, origin), 1);
    fg_origin_unref(origin);
}

static size_t tell_all(struct fg_availability *known, bool *online)
{
    size_t count = 0;
    struct fg_origin *origin;
    while ((origin = fg_availability_take(known, online))) {
        fg_origin_unref(origin);
        count++;
    }
    return count;
}

static void a_device_that_is_gone_is_told_to_be_offline(void **state)
{
    (void)state;
    struct fg_availability known;
    bool online = true;
    fg_availability_init(&known);
    come_and_go(&known, 1);
    assert_int_equal(tell_all(&known, &online), 1);
    assert_false(online);
    fg_availability_fini(&known);
}

static void devices_that_are_gone_do_not_add_up(void **state)
{
    (void)state;
    struct fg_availability known;
    bool online;
    fg_availability_init(&known);
    for (unsigned i = 0; i < 1000; i++) {
        come_and_go(&known, i);
        assert_int_equal(tell_all(&known, &online), 1);
        assert_in_range(known.count, 1, FG_AVAILABILITY_GONE_MAX);
    }
    fg_availability_fini(&known);
}

static void the_latest_that_are_gone_are_told_again_on_the_next_connection(void **state)
{
    (void)state;
    struct fg_availability known;
    bool online = true;
    fg_availability_init(&known);
    come_and_go(&known, 1);
    assert_int_equal(tell_all(&known, &online), 1);
    fg_availability_forget(&known);
    assert_int_equal(tell_all(&known, &online), 1);
    assert_false(online);
    fg_availability_fini(&known);
}

static void none_that_is_gone_is_forgotten_before_it_was_told(void **state)
{
    (void)state;
    struct fg_availability known;
    bool online;
    fg_availability_init(&known);
    for (unsigned i = 0; i < 1000; i++) {
        come_and_go(&known, i);
    }
    assert_int_equal(tell_all(&known, &online), 1000);
    fg_availability_fini(&known);
}

static void a_device_that_came_back_is_not_gone(void **state)
{
    (void)state;
    struct fg_availability known;
    bool online = false;
    fg_availability_init(&known);
    struct fg_origin *old = fg_origin_new("one", "device");
    struct fg_origin *new = fg_origin_new("two", "device");
    assert_int_equal(fg_availability_set(&known, old, true), 1);
    assert_int_equal(fg_availability_set(&known, new, true), 1);
    assert_int_equal(fg_availability_retire(&known, old), 0);
    assert_int_equal(tell_all(&known, &online), 1);
    assert_true(online);
    assert_int_equal(known.count, 1);
    fg_availability_fini(&known);
    fg_origin_unref(old);
    fg_origin_unref(new);
}

static void a_new_device_takes_the_place_of_one_that_is_gone(void **state)
{
    (void)state;
    struct fg_availability known;
    bool online;
    fg_availability_init(&known);
    come_and_go(&known, 0);
    assert_int_equal(tell_all(&known, &online), 1);
    struct fg_origin *fresh = fg_origin_new("port", "fresh");
    size_t held = known.count;
    known.count = FG_AVAILABILITY_MAX; /* as if there were so many */
    assert_int_equal(fg_availability_set(&known, fresh, true), 1);
    assert_int_equal(known.count, FG_AVAILABILITY_MAX);
    known.count = held;
    assert_int_equal(tell_all(&known, &online), 1);
    fg_availability_fini(&known);
    fg_origin_unref(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_gone_is_told_to_be_offline),
        cmocka_unit_test(devices_that_are_gone_do_not_add_up),
        cmocka_unit_test(the_latest_that_are_gone_are_told_again_on_the_next_connection),
        cmocka_unit_test(none_that_is_gone_is_forgotten_before_it_was_told),
        cmocka_unit_test(a_device_that_came_back_is_not_gone),
        cmocka_unit_test(a_new_device_takes_the_place_of_one_that_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
