#include "fieldgate/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct bytes {
    const char *at;
    size_t length;
};

#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        literal, sizeof literal - 1                                                                          \
    }

static void utf8_step_takes_first_and_last_of_each_length(void **state)
{
    (void)state;
    static const struct bytes sequences[] = {
        BYTES("\x01"),         BYTES("\x7f"),         BYTES("\xc2\x80"),         BYTES("\xdf\xbf"),
        BYTES("\xe0\xa0\x80"), BYTES("\xef\xbf\xbf"), BYTES("\xf0\x90\x80\x80"), BYTES("\xf4\x8f\xbf\xbf"),
        BYTES("\xed\x9f\xbf"), BYTES("\xee\x80\x80"), BYTES("\xec\xbf\xbf"),     BYTES("\xf3\xbf\xbf\xbf"),
    };
    for (size_t i = 0; i < COUNT(sequences); i++) {
        assert_int_equal(fg_utf8_step(sequences[i].at, sequences[i].length), sequences[i].length);
        assert_true(fg_utf8_valid(sequences[i].at, sequences[i].length));
    }
}

static void utf8_step_refuses_what_rfc_3629_forbids(void **state)
{
    (void)state;
    static const struct bytes sequences[] = {
        BYTES("\0"),               /* NUL */
        BYTES("\x80"),             /* continuation alone */
        BYTES("\xbf"),             /* the same */
        BYTES("\xc0\x80"),         /* overlong NUL */
        BYTES("\xc1\xbf"),         /* overlong */
        BYTES("\xe0\x80\x80"),     /* overlong */
        BYTES("\xe0\x9f\xbf"),     /* overlong */
        BYTES("\xf0\x80\x80\x80"), /* overlong */
        BYTES("\xf0\x8f\xbf\xbf"), /* overlong */
        BYTES("\xed\xa0\x80"),     /* first surrogate */
        BYTES("\xed\xbf\xbf"),     /* last surrogate */
        BYTES("\xf4\x90\x80\x80"), /* U+110000 */
        BYTES("\xf5\x80\x80\x80"), /* lead that cannot be */
        BYTES("\xfe"),             /* the same */
        BYTES("\xff"),             /* the same */
        BYTES("\xc3\x28"),         /* second byte is no continuation */
        BYTES("\xe2\x28\xa1"),     /* the same */
        BYTES("\xe2\x82\x28"),     /* third byte */
        BYTES("\xf0\x9f\x92\x28"), /* fourth byte */
        BYTES("\xf0\x9f\x28\xa9"), /* third of four */
        BYTES("\xc3\xc3"),         /* a lead as continuation */
    };
    for (size_t i = 0; i < COUNT(sequences); i++) {
        assert_int_equal(fg_utf8_step(sequences[i].at, sequences[i].length), 0);
        assert_false(fg_utf8_valid(sequences[i].at, sequences[i].length));
    }
}

static void utf8_step_refuses_sequences_that_lack_their_end(void **state)
{
    (void)state;
    static const char *const whole[] = { "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x92\xa9" };
    for (size_t i = 0; i < COUNT(whole); i++) {
        for (size_t length = 0; length < strlen(whole[i]); length++) {
            assert_int_equal(fg_utf8_step(whole[i], length), 0);
        }
        assert_int_equal(fg_utf8_step(whole[i], strlen(whole[i]) + 1), strlen(whole[i]));
    }
}

static void utf8_valid_agrees_with_the_code_points_of_rfc_3629(void **state)
{
    (void)state;
    for (uint32_t point = 1; point < 0x120000; point++) {
        uint8_t bytes[4];
        size_t length = 0;
        if (point < 0x80) {
            bytes[length++] = (uint8_t)point;
        } else if (point < 0x800) {
            bytes[length++] = (uint8_t)(0xc0 | point >> 6);
            bytes[length++] = (uint8_t)(0x80 | (point & 0x3f));
        } else if (point < 0x10000) {
            bytes[length++] = (uint8_t)(0xe0 | point >> 12);
            bytes[length++] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
            bytes[length++] = (uint8_t)(0x80 | (point & 0x3f));
        } else {
            bytes[length++] = (uint8_t)(0xf0 | point >> 18);
            bytes[length++] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
            bytes[length++] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
            bytes[length++] = (uint8_t)(0x80 | (point & 0x3f));
        }
        bool allowed = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        if (fg_utf8_valid(bytes, length) != allowed) {
            fail_msg("U+%04X", (unsigned)point);
        }
    }
}

static void utf8_valid_looks_at_the_whole_text(void **state)
{
    (void)state;
    assert_true(fg_utf8_valid("", 0));
    assert_true(fg_utf8_valid("caf\xc3\xa9 \xe2\x82\xac", 9));
    assert_false(fg_utf8_valid("caf\xc3\xa9 \xe2\x82", 8));
    assert_false(fg_utf8_valid("a\0b", 3));
    assert_false(fg_utf8_valid("good\xff", 5));
}

static void assert_holds(const struct fg_buffer *buffer, const char *expected)
{
    assert_int_equal(buffer->size, strlen(expected));
    assert_memory_equal(buffer->bytes, expected, buffer->size);
}

static void assert_json_text(const char *bytes, size_t length, const char *expected)
{
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 4096);
    assert_int_equal(fg_json_put_text(&buffer, bytes, length), 0);
    assert_holds(&buffer, expected);
    fg_buffer_fini(&buffer);
}

static void json_text_is_quoted_and_escaped(void **state)
{
    (void)state;
    assert_json_text("", 0, "\"\"");
    assert_json_text("plain", 5, "\"plain\"");
    assert_json_text("say \"hi\"", 8, "\"say \\\"hi\\\"\"");
    assert_json_text("a\\b/c", 5, "\"a\\\\b/c\"");
    assert_json_text("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
    assert_json_text("\x01\x1f\x7f", 3, "\"\\u0001\\u001f\x7f\"");
    assert_json_text("\0", 1, "\"\\u0000\"");
    assert_json_text("\xc2\xb0"
                     "C \xf0\x9f\x92\xa9",
                     8,
                     "\"\xc2\xb0"
                     "C \xf0\x9f\x92\xa9\"");
}

static void json_text_that_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    for (size_t limit = 1; limit < 10; limit++) {
        struct fg_buffer buffer;
        fg_buffer_init(&buffer, limit);
        assert_int_equal(fg_buffer_append(&buffer, "x", 1), 0);
        assert_int_equal(fg_json_put_text(&buffer, "a\nb\"c", 5), -EMSGSIZE);
        assert_holds(&buffer, "x");
        fg_buffer_fini(&buffer);
    }
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 10);
    assert_int_equal(fg_buffer_append(&buffer, "x", 1), 0);
    assert_int_equal(fg_json_put_text(&buffer, "a\nb\"c", 5), 0);
    assert_holds(&buffer, "x\"a\\nb\\\"c\"");
    fg_buffer_fini(&buffer);
}

static void assert_json_value(struct fg_value value, const char *expected)
{
    struct fg_buffer buffer;
    fg_buffer_init(&buffer, 4096);
    assert_int_equal(fg_json_put_value(&buffer, &value), 0);
    assert_holds(&buffer, expected);
    fg_buffer_fini(&buffer);
}

static void json_value_of_each_kind(void **state)
{
    (void)state;
    assert_json_value((struct fg_value){ .kind = FG_VALUE_NULL }, "null");
    assert_json_value(fg_value_boolean(true), "true");
    assert_json_value(fg_value_boolean(false), "false");
    assert_json_value(fg_value_integer(0), "0");
    assert_json_value(fg_value_integer(INT64_MIN), "-9223372036854775808");
    assert_json_value(fg_value_integer(INT64_MAX), "9223372036854775807");
    assert_json_value(fg_value_natural(UINT64_MAX), "18446744073709551615");
    assert_json_value(fg_value_real(21), "21.0");
    assert_json_value(fg_value_real(0.1), "0.1");
    assert_json_value(fg_value_real(1e300), "1e+300");
    assert_json_value(fg_value_text("a\"b", 3), "\"a\\\"b\"");
}

static void nearest_finds_slips_of_the_finger(void **state)
{
    (void)state;
    static const char *const keys[] = { "baud", "path", "format", "max_bytes", "delimiter", NULL };
    assert_string_equal(fg_text_nearest("buad", keys), "baud");     /* swapped */
    assert_string_equal(fg_text_nearest("bauds", keys), "baud");    /* one more */
    assert_string_equal(fg_text_nearest("pth", keys), "path");      /* one less */
    assert_string_equal(fg_text_nearest("fornat", keys), "format"); /* another */
    assert_string_equal(fg_text_nearest("max-bytes", keys), "max_bytes");
    assert_string_equal(fg_text_nearest("maxbyte", keys), "max_bytes");
    assert_string_equal(fg_text_nearest("BAUD", keys), "baud");
    assert_string_equal(fg_text_nearest("delimeter", keys), "delimiter");
}

static void nearest_prefers_fewer_edits_then_the_first(void **state)
{
    (void)state;
    static const char *const rates[] = { "4800", "9600", "19200", NULL };
    assert_string_equal(fg_text_nearest("9601", rates), "9600");
    assert_string_equal(fg_text_nearest("1920", rates), "19200");
    static const char *const tied[] = { "line1", "line2", NULL };
    assert_string_equal(fg_text_nearest("line3", tied), "line1");
}

static void nearest_is_null_for_another_word(void **state)
{
    (void)state;
    static const char *const keys[] = { "baud", "path", "x", NULL };
    static const char *const none[] = { NULL };
    assert_null(fg_text_nearest("temperature", keys));
    assert_null(fg_text_nearest("pain", keys)); /* half of it is wrong */
    assert_null(fg_text_nearest("y", keys));
    assert_null(fg_text_nearest("", keys));
    assert_null(fg_text_nearest("baud", none));
}

static void nearest_leaves_out_words_past_its_bound(void **state)
{
    (void)state;
    char word[200];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    const char *const keys[] = { word, "aaaa", NULL };
    assert_null(fg_text_nearest(word, keys));
    assert_string_equal(fg_text_nearest("aaab", keys), "aaaa");
    word[64] = '\0';
    assert_string_equal(fg_text_nearest(word, keys), word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_step_takes_first_and_last_of_each_length),
        cmocka_unit_test(utf8_step_refuses_what_rfc_3629_forbids),
        cmocka_unit_test(utf8_step_refuses_sequences_that_lack_their_end),
        cmocka_unit_test(utf8_valid_agrees_with_the_code_points_of_rfc_3629),
        cmocka_unit_test(utf8_valid_looks_at_the_whole_text),
        cmocka_unit_test(json_text_is_quoted_and_escaped),
        cmocka_unit_test(json_text_that_does_not_fit_leaves_the_buffer_as_it_was),
        cmocka_unit_test(json_value_of_each_kind),
        cmocka_unit_test(nearest_finds_slips_of_the_finger),
        cmocka_unit_test(nearest_prefers_fewer_edits_then_the_first),
        cmocka_unit_test(nearest_is_null_for_another_word),
        cmocka_unit_test(nearest_leaves_out_words_past_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
