#include "event/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static int things[4096];

static void a_value_is_found_by_its_tag(void **state)
{
    (void)state;
    struct fg_slots slots = { 0 };
    uint64_t first = 0;
    uint64_t second = 0;
    assert_int_equal(fg_slots_add(&slots, &things[0], &first), 0);
    assert_int_equal(fg_slots_add(&slots, &things[1], &second), 0);
    assert_true(first != second);
    assert_ptr_equal(fg_slots_find(&slots, first), &things[0]);
    assert_ptr_equal(fg_slots_find(&slots, second), &things[1]);
    fg_slots_fini(&slots);
}

static void a_removed_tag_finds_nothing(void **state)
{
    (void)state;
    struct fg_slots slots = { 0 };
    uint64_t tag = 0;
    assert_int_equal(fg_slots_add(&slots, &things[0], &tag), 0);
    fg_slots_remove(&slots, tag);
    assert_null(fg_slots_find(&slots, tag));
    fg_slots_fini(&slots);
}

static void a_stale_tag_does_not_find_who_came_after(void **state)
{
    (void)state;
    struct fg_slots slots = { 0 };
    uint64_t old = 0;
    uint64_t new = 0;
    assert_int_equal(fg_slots_add(&slots, &things[0], &old), 0);
    fg_slots_remove(&slots, old);
    assert_int_equal(fg_slots_add(&slots, &things[1], &new), 0);
    assert_int_equal((uint32_t)old, (uint32_t) new); /* the same slot, or the test says nothing */
    assert_null(fg_slots_find(&slots, old));
    assert_ptr_equal(fg_slots_find(&slots, new), &things[1]);
    fg_slots_fini(&slots);
}

static void removing_by_a_stale_tag_leaves_who_came_after(void **state)
{
    (void)state;
    struct fg_slots slots = { 0 };
    uint64_t old = 0;
    uint64_t new = 0;
    assert_int_equal(fg_slots_add(&slots, &things[0], &old), 0);
    fg_slots_remove(&slots, old);
    fg_slots_remove(&slots, old);
    assert_int_equal(fg_slots_add(&slots, &things[1], &new), 0);
    fg_slots_remove(&slots, old);
    assert_ptr_equal(fg_slots_find(&slots, new), &things[1]);
    /* A slot that was given back twice would now be handed out twice. */
    uint64_t other = 0;
    assert_int_equal(fg_slots_add(&slots, &things[2], &other), 0);
    assert_true((uint32_t)other != (uint32_t) new);
    fg_slots_fini(&slots);
}

static void tags_outside_the_table_find_nothing(void **state)
{
    (void)state;
    struct fg_slots slots = { 0 };
    assert_null(fg_slots_find(&slots, 0));
    uint64_t tag = 0;
    assert_int_equal(fg_slots_add(&slots, &things[0], &tag), 0);
    assert_null(fg_slots_find(&slots, (uint64_t)FG_SLOTS_MAX + 1));
    assert_null(fg_slots_find(&slots, UINT64_MAX));
    fg_slots_remove(&slots, UINT64_MAX);
    assert_ptr_equal(fg_slots_find(&slots, tag), &things[0]);
    fg_slots_fini(&slots);
}

static void thousands_come_and_go_and_none_is_mixed_up(void **state)
{
    (void)state;
    enum { COUNT = sizeof things / sizeof *things, ROUNDS = 100000 };
    struct fg_slots slots = { 0 };
    uint64_t *tags = calloc(COUNT, sizeof *tags);
    unsigned char *there = calloc(COUNT, 1);
    assert_true(tags && there);
    uint32_t seed = 20240611;
    print_message("seed %u\n", seed);
    for (int round = 0; round < ROUNDS; round++) {
        seed = seed * 1664525U + 1013904223U;
        uint32_t i = (seed >> 8) % COUNT;
        if (there[i]) {
            assert_ptr_equal(fg_slots_find(&slots, tags[i]), &things[i]);
            fg_slots_remove(&slots, tags[i]);
            there[i] = 0;
        } else {
            assert_true(tags[i] == 0 || !fg_slots_find(&slots, tags[i]));
            assert_int_equal(fg_slots_add(&slots, &things[i], &tags[i]), 0);
            there[i] = 1;
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (there[i]) {
            assert_ptr_equal(fg_slots_find(&slots, tags[i]), &things[i]);
        }
    }
    assert_in_range(slots.count, 1, COUNT); /* places are used again */
    free(there);
    free(tags);
    fg_slots_fini(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_found_by_its_tag),
        cmocka_unit_test(a_removed_tag_finds_nothing),
        cmocka_unit_test(a_stale_tag_does_not_find_who_came_after),
        cmocka_unit_test(removing_by_a_stale_tag_leaves_who_came_after),
        cmocka_unit_test(tags_outside_the_table_find_nothing),
        cmocka_unit_test(thousands_come_and_go_and_none_is_mixed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
