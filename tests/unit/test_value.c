#include "fieldgate/value.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct fg_record record;

static int reset(void **state)
{
    (void)state;
    fg_record_reset(&record);
    return 0;
}

static int add(const char *name, int64_t integer)
{
    return fg_record_add(&record, name, strlen(name), fg_value_integer(integer));
}

static const struct fg_field *find(const char *name)
{
    return fg_record_find(&record, name, strlen(name));
}

static void add_keeps_the_order_of_fields(void **state)
{
    (void)state;
    assert_int_equal(add("b", 1), 0);
    assert_int_equal(add("a", 2), 0);
    assert_int_equal(record.count, 2);
    assert_memory_equal(record.fields[0].name, "b", 1);
    assert_memory_equal(record.fields[1].name, "a", 1);
    assert_int_equal(find("a")->value.integer, 2);
    assert_null(find("c"));
    assert_null(find("ab"));
}

static void the_last_of_equal_names_wins_in_the_first_place(void **state)
{
    (void)state;
    assert_int_equal(add("a", 1), 0);
    assert_int_equal(add("b", 2), 0);
    assert_int_equal(add("a", 3), 0);
    assert_int_equal(record.count, 2);
    assert_int_equal(record.fields[0].value.integer, 3);
}

static void names_have_bounds(void **state)
{
    (void)state;
    char name[FG_NAME_MAX + 1];
    memset(name, 'n', sizeof name);
    assert_int_equal(fg_record_add(&record, name, 0, fg_value_integer(1)), -EINVAL);
    assert_int_equal(fg_record_add(&record, name, FG_NAME_MAX + 1, fg_value_integer(1)), -EINVAL);
    assert_int_equal(record.count, 0);
    assert_int_equal(fg_record_add(&record, name, FG_NAME_MAX, fg_value_integer(1)), 0);
    assert_int_equal(fg_record_add(&record, name, 1, fg_value_integer(2)), 0);
    assert_int_equal(record.count, 2);
}

static void a_full_record_takes_no_new_name(void **state)
{
    (void)state;
    static char names[FG_RECORD_MAX_FIELDS][8];
    for (int i = 0; i < FG_RECORD_MAX_FIELDS; i++) {
        snprintf(names[i], sizeof names[i], "%d", i);
        assert_int_equal(add(names[i], i), 0);
    }
    assert_int_equal(add("one more", 1), -ENOSPC);
    assert_int_equal(add("17", 1700), 0);
    assert_int_equal(find("17")->value.integer, 1700);
    fg_record_remove(&record, "0", 1);
    assert_int_equal(add("one more", 1), 0);
    assert_int_equal(record.count, FG_RECORD_MAX_FIELDS);
}

static void remove_keeps_the_order_of_the_others(void **state)
{
    (void)state;
    assert_int_equal(add("a", 1), 0);
    assert_int_equal(add("b", 2), 0);
    assert_int_equal(add("c", 3), 0);
    fg_record_remove(&record, "none", 4);
    assert_int_equal(record.count, 3);
    fg_record_remove(&record, "b", 1);
    assert_int_equal(record.count, 2);
    assert_int_equal(record.fields[0].value.integer, 1);
    assert_int_equal(record.fields[1].value.integer, 3);
    fg_record_remove(&record, "c", 1);
    fg_record_remove(&record, "a", 1);
    assert_int_equal(record.count, 0);
}

static void keep_copies_until_the_room_is_full(void **state)
{
    (void)state;
    static char bytes[FG_RECORD_TEXT_BYTES];
    memset(bytes, 'x', sizeof bytes);
    const char *first = fg_record_keep(&record, "abc", 3);
    assert_non_null(first);
    assert_ptr_not_equal(first, bytes);
    assert_null(fg_record_keep(&record, bytes, sizeof bytes - 2));
    const char *second = fg_record_keep(&record, bytes, sizeof bytes - 3);
    assert_non_null(second);
    assert_memory_equal(first, "abc", 3);
    assert_memory_equal(second, bytes, sizeof bytes - 3);
    assert_null(fg_record_keep(&record, "y", 1));
    assert_non_null(fg_record_keep(&record, NULL, 0));
    fg_record_reset(&record);
    assert_non_null(fg_record_keep(&record, bytes, sizeof bytes));
}

static void reals_that_are_not_finite_are_null(void **state)
{
    (void)state;
    assert_int_equal(fg_value_real(1.5).kind, FG_VALUE_REAL);
    assert_int_equal(fg_value_real((double)NAN).kind, FG_VALUE_NULL);
    assert_int_equal(fg_value_real((double)INFINITY).kind, FG_VALUE_NULL);
    assert_int_equal(fg_value_real(-(double)INFINITY).kind, FG_VALUE_NULL);
}

static void naturals_that_fit_are_integers(void **state)
{
    (void)state;
    struct fg_value value = fg_value_natural(INT64_MAX);
    assert_int_equal(value.kind, FG_VALUE_INTEGER);
    assert_true(value.integer == INT64_MAX);
    value = fg_value_natural((uint64_t)INT64_MAX + 1);
    assert_int_equal(value.kind, FG_VALUE_NATURAL);
    assert_true(value.natural == UINT64_C(9223372036854775808));
}

static void values_are_equal_in_kind_and_content(void **state)
{
    (void)state;
    char other[] = "text";
    const struct fg_value values[] = {
        { .kind = FG_VALUE_NULL },
        fg_value_boolean(false),
        fg_value_boolean(true),
        fg_value_integer(0),
        fg_value_integer(1),
        fg_value_integer(-1),
        fg_value_natural(UINT64_MAX),
        fg_value_natural(UINT64_MAX - 1),
        fg_value_real(0),
        fg_value_real(1),
        fg_value_text("text", 4),
        fg_value_text("text", 3),
        fg_value_text("", 0),
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        for (size_t j = 0; j < sizeof values / sizeof values[0]; j++) {
            assert_int_equal(fg_value_equal(&values[i], &values[j]), i == j);
        }
    }
    struct fg_value same = fg_value_text(other, 4);
    assert_true(fg_value_equal(&same, &values[10]));
}

static void numbers_are_for_deadbands(void **state)
{
    (void)state;
    double number = 77;
    struct fg_value value = fg_value_integer(-3);
    assert_true(fg_value_number(&value, &number) && number == -3);
    value = fg_value_natural(UINT64_C(1) << 63);
    assert_true(fg_value_number(&value, &number) && number == 9223372036854775808.0);
    value = fg_value_real(2.5);
    assert_true(fg_value_number(&value, &number) && number == 2.5);
    value = fg_value_boolean(true);
    assert_false(fg_value_number(&value, &number));
    value = fg_value_text("5", 1);
    assert_false(fg_value_number(&value, &number));
    value = (struct fg_value){ .kind = FG_VALUE_NULL };
    assert_false(fg_value_number(&value, &number));
    assert_true(number == 2.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(add_keeps_the_order_of_fields, reset),
        cmocka_unit_test_setup(the_last_of_equal_names_wins_in_the_first_place, reset),
        cmocka_unit_test_setup(names_have_bounds, reset),
        cmocka_unit_test_setup(a_full_record_takes_no_new_name, reset),
        cmocka_unit_test_setup(remove_keeps_the_order_of_the_others, reset),
        cmocka_unit_test_setup(keep_copies_until_the_room_is_full, reset),
        cmocka_unit_test(reals_that_are_not_finite_are_null),
        cmocka_unit_test(naturals_that_fit_are_integers),
        cmocka_unit_test(values_are_equal_in_kind_and_content),
        cmocka_unit_test(numbers_are_for_deadbands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
