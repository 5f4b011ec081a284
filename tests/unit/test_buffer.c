#include "fieldgate/buffer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_holds(const struct fg_buffer *buffer, const char *expected)
{
    assert_int_equal(buffer->size, strlen(expected));
    assert_memory_equal(buffer->bytes, expected, buffer->size);
}

static void init_allocates_nothing(void **state)
{
    (void)state;
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 100);
    assert_null(buffer.bytes);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(buffer.capacity, 0);
    assert_int_equal(buffer.limit, 100);
    assert_int_equal(fg_buffer_append(&buffer, NULL, 0), 0);
    assert_null(buffer.bytes);
    fg_buffer_fini(&buffer);
}

static void append_keeps_the_order_of_bytes(void **state)
{
    (void)state;
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 100000);
    for (int i = 0; i < 50000; i++) {
        const uint8_t pair[2] = { (uint8_t)i, (uint8_t)(i >> 8) };
        assert_int_equal(fg_buffer_append(&buffer, pair, sizeof pair), 0);
    }
    assert_int_equal(buffer.size, 100000);
    for (size_t i = 0; i < 50000; i++) {
        if (buffer.bytes[2 * i] != (uint8_t)i || buffer.bytes[2 * i + 1] != (uint8_t)(i >> 8)) {
            fail_msg("pair %zu", i);
        }
    }
    fg_buffer_fini(&buffer);
}

static void append_stops_at_the_limit(void **state)
{
    (void)state;
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 5);
    assert_int_equal(fg_buffer_append(&buffer, "abc", 3), 0);
    assert_int_equal(fg_buffer_append(&buffer, "def", 3), -EMSGSIZE);
    assert_holds(&buffer, "abc");
    assert_int_equal(fg_buffer_append(&buffer, "de", 2), 0);
    assert_int_equal(fg_buffer_append(&buffer, "f", 1), -EMSGSIZE);
    assert_int_equal(fg_buffer_append(&buffer, "", 0), 0);
    assert_holds(&buffer, "abcde");
    fg_buffer_fini(&buffer);
}

static void append_refuses_a_size_that_would_wrap(void **state)
{
    (void)state;
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 1000);
    assert_int_equal(fg_buffer_append(&buffer, "abc", 3), 0);
    /* Through volatile: compilers warn of sizes that cannot be. */
    volatile size_t huge = SIZE_MAX;
    assert_int_equal(fg_buffer_append(&buffer, "abc", huge), -EMSGSIZE);
    assert_holds(&buffer, "abc");
    fg_buffer_fini(&buffer);
}

static void memory_never_passes_the_limit(void **state)
{
    (void)state;
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(fg_buffer_append(&buffer, "x", 1), 0);
        assert_true(buffer.capacity <= 1000);
    }
    assert_int_equal(fg_buffer_append(&buffer, "x", 1), -EMSGSIZE);
    fg_buffer_fini(&buffer);
}

static void printf_appends_without_the_nul(void **state)
{
    (void)state;
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 1000);
    assert_int_equal(fg_buffer_printf(&buffer, "%d-%s", 42, "x"), 0);
    assert_int_equal(fg_buffer_printf(&buffer, "%s", ""), 0);
    assert_int_equal(fg_buffer_printf(&buffer, "!"), 0);
    assert_holds(&buffer, "42-x!");
    fg_buffer_fini(&buffer);
}

static void printf_of_long_text_is_whole(void **state)
{
    (void)state;
    for (int length = 254; length <= 258; length++) {
        struct fg_buffer buffer;
        fg_buffer_init(&buffer, 1000);
        assert_int_equal(fg_buffer_printf(&buffer, "%*d", length, 7), 0);
        assert_int_equal(buffer.size, length);
        assert_int_equal(buffer.bytes[0], ' ');
        assert_int_equal(buffer.bytes[length - 1], '7');
        fg_buffer_fini(&buffer);
    }
}

static void printf_past_the_limit_appends_nothing(void **state)
{
    (void)state;
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 300);
    assert_int_equal(fg_buffer_append(&buffer, "abc", 3), 0);
    assert_int_equal(fg_buffer_printf(&buffer, "%298d", 7), -EMSGSIZE);
    assert_holds(&buffer, "abc");
    assert_int_equal(fg_buffer_printf(&buffer, "%297d", 7), 0);
    assert_int_equal(buffer.size, 300);
    fg_buffer_fini(&buffer);
}

static void consume_drops_from_the_front(void **state)
{
    (void)state;
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 100);
    assert_int_equal(fg_buffer_append(&buffer, "abcdef", 6), 0);
    fg_buffer_consume(&buffer, 0);
    assert_holds(&buffer, "abcdef");
    fg_buffer_consume(&buffer, 2);
    assert_holds(&buffer, "cdef");
    assert_int_equal(fg_buffer_append(&buffer, "gh", 2), 0);
    assert_holds(&buffer, "cdefgh");
    fg_buffer_fini(&buffer);
}

static void consume_of_all_frees_the_memory(void **state)
{
    (void)state;
    for (size_t count = 3; count < 6; count++) {
        struct fg_buffer buffer;
        fg_buffer_init(&buffer, 100);
        assert_int_equal(fg_buffer_append(&buffer, "abc", 3), 0);
        fg_buffer_consume(&buffer, count);
        assert_null(buffer.bytes);
        assert_int_equal(buffer.size, 0);
        assert_int_equal(buffer.capacity, 0);
        assert_int_equal(fg_buffer_append(&buffer, "d", 1), 0);
        assert_holds(&buffer, "d");
        fg_buffer_fini(&buffer);
    }
}

static void fini_leaves_a_buffer_that_may_be_used_on(void **state)
{
    (void)state;
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 4);
    assert_int_equal(fg_buffer_append(&buffer, "abc", 3), 0);
    fg_buffer_fini(&buffer);
    fg_buffer_fini(&buffer);
    assert_null(buffer.bytes);
    assert_int_equal(buffer.limit, 4);
    assert_int_equal(fg_buffer_append(&buffer, "wxyz", 4), 0);
    assert_holds(&buffer, "wxyz");
    fg_buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_allocates_nothing),
        cmocka_unit_test(append_keeps_the_order_of_bytes),
        cmocka_unit_test(append_stops_at_the_limit),
        cmocka_unit_test(append_refuses_a_size_that_would_wrap),
        cmocka_unit_test(memory_never_passes_the_limit),
        cmocka_unit_test(printf_appends_without_the_nul),
        cmocka_unit_test(printf_of_long_text_is_whole),
        cmocka_unit_test(printf_past_the_limit_appends_nothing),
        cmocka_unit_test(consume_drops_from_the_front),
        cmocka_unit_test(consume_of_all_frees_the_memory),
        cmocka_unit_test(fini_leaves_a_buffer_that_may_be_used_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
