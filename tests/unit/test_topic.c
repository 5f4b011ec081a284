#include "fieldgate/topic.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct fg_topic_names names = {
    .gateway = "shed-pi", .base = "fieldgate/shed-pi", .port = "meters", .device = "meter1"
};

static const char *render(const char *template, const struct fg_reading *reading, const char *point)
{
    static char out[512];
    struct fg_topic *topic = NULL;
    assert_int_equal(fg_topic_new(template, &names, &topic), 0);
    int length = fg_topic_render(topic, reading, point, point ? strlen(point) : 0, out, sizeof out);
    fg_topic_free(topic);
    assert_int_equal(length, strlen(out));
    return out;
}

static void fixed_placeholders_are_put_in(void **state)
{
    (void)state;
    struct fg_reading reading = { 0 };
    assert_string_equal(render("{base}/{device}/state", &reading, NULL), "fieldgate/shed-pi/meter1/state");
    assert_string_equal(render("x/{gateway}/{port}", &reading, NULL), "x/shed-pi/meters");
    assert_string_equal(render("plain", &reading, NULL), "plain");
    assert_string_equal(render("{base}/{point}", &reading, "voltage"), "fieldgate/shed-pi/voltage");
}

static void fields_fill_keys(void **state)
{
    (void)state;
    const struct fg_field fields[] = {
        { "sentence", 8, fg_value_text("GGA", 3) }, { "n", 1, fg_value_integer(-7) },
        { "big", 3, fg_value_natural(UINT64_MAX) }, { "r", 1, fg_value_real(21.5) },
        { "b", 1, fg_value_boolean(true) },         { "null", 4, { .kind = FG_VALUE_NULL } },
        { "empty", 5, fg_value_text("", 0) },
    };
    struct fg_reading reading = { .fields = fields, .count = sizeof fields / sizeof fields[0] };
    assert_string_equal(render("nmea/{key:sentence}", &reading, NULL), "nmea/GGA");
    assert_string_equal(render("{key:n}/{key:big}/{key:r}/{key:b}", &reading, NULL),
                        "-7/18446744073709551615/21.5/true");
    assert_string_equal(render("a/{key:missing}/{key:null}/{key:empty}", &reading, NULL), "a/_/_/_");
}

static void a_hostile_value_stays_in_its_level(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *clean;
    } cases[] = {
        { "a/b+c#d", 7, "a_b_c_d" },
        { "$SYS", 4, "_SYS" },
        { "a$b", 3, "a$b" },
        { "a\0b\n\x7f", 5, "a_b__" },
        { "\xff\xc0\xaf", 3, "___" },
        { "caf\xc3\xa9", 5, "caf\xc3\xa9" },
        { "\xc2\x85x", 3, "_x" },       /* C1 control */
        { "\xef\xbf\xbf!", 4, "_!" },   /* noncharacter U+FFFF */
        { "\xf0\x9f\xbf\xbe", 4, "_" }, /* noncharacter U+1FFFE */
        { "\xef\xb7\x90", 3, "_" },     /* noncharacter U+FDD0 */
        { "\xed\xa0\x80", 3, "___" },   /* surrogate */
        { "", 0, "_" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct fg_field field = { "id", 2, fg_value_text(cases[i].bytes, cases[i].length) };
        struct fg_reading reading = { .fields = &field, .count = 1 };
        assert_string_equal(render("{key:id}", &reading, NULL), cases[i].clean);
    }
}

static void a_rendered_topic_never_begins_with_a_dollar(void **state)
{
    (void)state;
    const struct fg_topic_names dollar = { .gateway = "g", .base = "$SYS", .port = "p", .device = "d" };
    struct fg_topic *topic = NULL;
    struct fg_reading reading = { 0 };
    char out[64];
    assert_int_equal(fg_topic_new("{base}/x", &dollar, &topic), 0);
    assert_int_equal(fg_topic_render(topic, &reading, NULL, 0, out, sizeof out), 6);
    assert_string_equal(out, "_SYS/x");
    fg_topic_free(topic);
}

static void cleaning_cuts_at_a_character(void **state)
{
    (void)state;
    char out[5];
    assert_int_equal(fg_topic_clean("abc\xc3\xa9", 5, out, sizeof out), 3);
    assert_string_equal(out, "abc");
    assert_int_equal(fg_topic_clean("abcdef", 6, out, sizeof out), 4);
    assert_string_equal(out, "abcd");
}

static void what_does_not_fit_is_told_not_cut(void **state)
{
    (void)state;
    char out[16];
    char text[64];
    memset(text, 'x', sizeof text);
    const struct fg_field field = { "id", 2, fg_value_text(text, sizeof text) };
    struct fg_reading reading = { .fields = &field, .count = 1 };
    struct fg_topic *topic = NULL;
    assert_int_equal(fg_topic_new("a/{key:id}", &names, &topic), 0);
    assert_int_equal(fg_topic_render(topic, &reading, NULL, 0, out, sizeof out), -EMSGSIZE);
    fg_topic_free(topic);
    assert_int_equal(fg_topic_new("0123456789abcdef", &names, &topic), 0);
    assert_int_equal(fg_topic_render(topic, &reading, NULL, 0, out, sizeof out), -EMSGSIZE);
    fg_topic_free(topic);
}

static void bad_templates_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "", "empty" },
        { "a/{nope}", "unknown placeholder" },
        { "a/{", "without its '}'" },
        { "a/{device", "without" },
        { "a}b", "without its '{'" },
        { "a/+/b", "'+' or '#'" },
        { "a/#", "'+' or '#'" },
        { "$SYS/x", "'$'" },
        { "a\nb", "control character" },
        { "a\xff", "bad UTF-8" },
        { "{key:}", "unknown placeholder" },
        { "{{device}}", "without" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[160] = "";
        struct fg_topic *topic = NULL;
        assert_int_equal(fg_topic_check(cases[i][0], why, sizeof why), -EINVAL);
        assert_non_null(strstr(why, cases[i][1]));
        assert_int_equal(fg_topic_new(cases[i][0], &names, &topic), -EINVAL);
        assert_null(topic);
    }
    char long_one[1026];
    memset(long_one, 'a', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    assert_int_equal(fg_topic_check(long_one, NULL, 0), -EINVAL);
    long_one[1024] = '\0';
    assert_int_equal(fg_topic_check(long_one, NULL, 0), 0);
}

static void the_topic_of_points_drops_state(void **state)
{
    (void)state;
    char out[64];
    assert_int_equal(fg_topic_for_points("{base}/{device}/state", out, sizeof out), 0);
    assert_string_equal(out, "{base}/{device}/{point}");
    assert_int_equal(fg_topic_for_points("x/{point}/state", out, sizeof out), 0);
    assert_string_equal(out, "x/{point}/state");
    assert_int_equal(fg_topic_for_points("x/y", out, sizeof out), 0);
    assert_string_equal(out, "x/y/{point}");
    assert_int_equal(fg_topic_for_points("x/y", out, 8), -EMSGSIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_placeholders_are_put_in),
        cmocka_unit_test(fields_fill_keys),
        cmocka_unit_test(a_hostile_value_stays_in_its_level),
        cmocka_unit_test(a_rendered_topic_never_begins_with_a_dollar),
        cmocka_unit_test(cleaning_cuts_at_a_character),
        cmocka_unit_test(what_does_not_fit_is_told_not_cut),
        cmocka_unit_test(bad_templates_are_refused_with_a_reason),
        cmocka_unit_test(the_topic_of_points_drops_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
