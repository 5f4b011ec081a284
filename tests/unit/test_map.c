#include "fieldgate/map.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MANY 5000

struct item {
    char key[16];
    unsigned visits;
};

static void an_empty_map_has_nothing(void **state)
{
    (void)state;
    struct fg_map map;
    fg_map_init(&map);
    assert_null(fg_map_get(&map, "a", 1));
    assert_null(fg_map_get(&map, "", 0));
    fg_map_fini(&map);
}

static void get_finds_what_was_added(void **state)
{
    (void)state;
    struct fg_map map;
    int a, b;
    fg_map_init(&map);
    assert_int_equal(fg_map_add(&map, "alpha", 5, &a), 0);
    assert_int_equal(fg_map_add(&map, "beta", 4, &b), 0);
    assert_ptr_equal(fg_map_get(&map, "alpha", 5), &a);
    assert_ptr_equal(fg_map_get(&map, "beta", 4), &b);
    assert_null(fg_map_get(&map, "gamma", 5));
    assert_int_equal(map.count, 2);
    fg_map_fini(&map);
}

static void keys_are_compared_by_length_and_bytes(void **state)
{
    (void)state;
    struct fg_map map;
    int values[5];
    fg_map_init(&map);
    assert_int_equal(fg_map_add(&map, "ab", 2, &values[0]), 0);
    assert_int_equal(fg_map_add(&map, "abc", 3, &values[1]), 0);
    assert_int_equal(fg_map_add(&map, "a\0b", 3, &values[2]), 0);
    assert_int_equal(fg_map_add(&map, "a\0c", 3, &values[3]), 0);
    assert_int_equal(fg_map_add(&map, "", 0, &values[4]), 0);
    assert_ptr_equal(fg_map_get(&map, "ab", 2), &values[0]);
    assert_ptr_equal(fg_map_get(&map, "abc", 3), &values[1]);
    assert_ptr_equal(fg_map_get(&map, "a\0b", 3), &values[2]);
    assert_ptr_equal(fg_map_get(&map, "a\0c", 3), &values[3]);
    assert_ptr_equal(fg_map_get(&map, "", 0), &values[4]);
    assert_null(fg_map_get(&map, "a", 1));
    fg_map_fini(&map);
}

static void a_key_is_added_once(void **state)
{
    (void)state;
    struct fg_map map;
    int first, second;
    fg_map_init(&map);
    assert_int_equal(fg_map_add(&map, "key", 3, &first), 0);
    assert_int_equal(fg_map_add(&map, "key", 3, &second), -EEXIST);
    assert_ptr_equal(fg_map_get(&map, "key", 3), &first);
    assert_int_equal(map.count, 1);
    fg_map_fini(&map);
}

static void fill(struct fg_map *map, struct item *items)
{
    for (int i = 0; i < MANY; i++) {
        snprintf(items[i].key, sizeof items[i].key, "device-%d", i);
        items[i].visits = 0;
        assert_int_equal(fg_map_add(map, items[i].key, strlen(items[i].key), &items[i]), 0);
    }
}

static void growing_keeps_every_key(void **state)
{
    (void)state;
    static struct item items[MANY];
    struct fg_map map;
    fg_map_init(&map);
    fill(&map, items);
    assert_int_equal(map.count, MANY);
    assert_true(map.capacity > MANY && (map.capacity & (map.capacity - 1)) == 0);
    for (int i = 0; i < MANY; i++) {
        assert_ptr_equal(fg_map_get(&map, items[i].key, strlen(items[i].key)), &items[i]);
        assert_int_equal(fg_map_add(&map, items[i].key, strlen(items[i].key), &items[0]), -EEXIST);
    }
    assert_null(fg_map_get(&map, "device-5000", 11));
    fg_map_fini(&map);
}

static void count_visit(void *value, void *context)
{
    struct item *item = value;
    item->visits++;
    ++*(unsigned *)context;
}

static void each_visits_every_value_once(void **state)
{
    (void)state;
    static struct item items[MANY];
    struct fg_map map;
    unsigned total = 0;
    fg_map_init(&map);
    fg_map_each(&map, count_visit, &total);
    assert_int_equal(total, 0);
    fill(&map, items);
    fg_map_each(&map, count_visit, &total);
    assert_int_equal(total, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(items[i].visits, 1);
    }
    fg_map_fini(&map);
}

static void fini_leaves_an_empty_map(void **state)
{
    (void)state;
    struct fg_map map;
    int value;
    fg_map_init(&map);
    assert_int_equal(fg_map_add(&map, "key", 3, &value), 0);
    fg_map_fini(&map);
    assert_null(fg_map_get(&map, "key", 3));
    assert_int_equal(fg_map_add(&map, "key", 3, &value), 0);
    assert_ptr_equal(fg_map_get(&map, "key", 3), &value);
    fg_map_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(get_finds_what_was_added),
        cmocka_unit_test(keys_are_compared_by_length_and_bytes),
        cmocka_unit_test(a_key_is_added_once),
        cmocka_unit_test(growing_keeps_every_key),
        cmocka_unit_test(each_visits_every_value_once),
        cmocka_unit_test(fini_leaves_an_empty_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
