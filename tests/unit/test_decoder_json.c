#include "support/decoder_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define JSON(text) NULL, FG_BYTES(text)

static void values_keep_their_kinds(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { JSON("{\"i\":1,\"r\":1.0,\"t\":\"1\",\"b\":true,\"f\":false,\"n\":null}"),
          "i=i1 r=r1.0 t=t\"1\" b=true f=false n=null" },
        { JSON(" {\"a\" : -0.5e1 , \"b\":\"\"}\r\n"), "a=r-5.0 b=t\"\"" },
        { JSON("{\"t\":\"\\u00fc\\ud83d\\ude00\\n\\\\u0000\"}"),
          "t=t\"\\xc3\\xbc\\xf0\\x9f\\x98\\x80\\x0a\\u0000\"" },
        { JSON("{\"\xc3\xbc\":\"\xe2\x82\xac\"}"), "\\xc3\\xbc=t\"\\xe2\\x82\\xac\"" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("json", cases);
}

static void nested_names_are_joined_by_dots(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { JSON("{\"a\":{\"b\":1,\"c\":{\"d\":2}},\"e\":3}"), "a.b=i1 a.c.d=i2 e=i3" },
        { JSON("{\"a\":[1,[2,3],{\"b\":4}]}"), "a.0=i1 a.1.0=i2 a.1.1=i3 a.2.b=i4" },
        { JSON("{\"a\":{},\"b\":[],\"c\":1}"), "c=i1" },
        { JSON("{\"a\":{\"\":1}}"), "a.=i1" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("json", cases);
}

static void integers_are_exact_to_64_bits(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { JSON("{\"a\":9223372036854775807,\"b\":-9223372036854775808}"),
          "a=i9223372036854775807 b=i-9223372036854775808" },
        { JSON("{\"a\":9223372036854775808,\"b\":18446744073709551615}"),
          "a=n9223372036854775808 b=n18446744073709551615" },
        { JSON("{\"a\":1234567890123456789}"), "a=i1234567890123456789" },
        { JSON("{\"a\":18446744073709551616,\"b\":[-9223372036854775809]}"),
          "a=r1.8446744073709552e+19 b.0=r-9.223372036854776e+18" },
        { JSON("{\"a\":100000000000000000000000000000,\"b\":\"100000000000000000000000000000\"}"),
          "a=r1e+29 b=t\"100000000000000000000000000000\"" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("json", cases);
}

static void numbers_beyond_doubles_are_null(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { JSON("{\"a\":1e999,\"b\":-1E+999,\"c\":1e-999,\"d\":1}"), "a=null b=null c=r0.0 d=i1" },
        { JSON("{\"a\":1e2,\"b\":1E-2}"), "a=r100.0 b=r0.01" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("json", cases);
}

static void what_is_no_json_is_malformed(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { JSON("{\"a\":NaN}"), "<malformed>" },
        { JSON("{\"a\":Infinity}"), "<malformed>" },
        { JSON("{\"a\":-Infinity}"), "<malformed>" },
        { JSON("{\"a\":01}"), "<malformed>" },
        { JSON("{\"a\":0123456789012345678901234567890}"), "<malformed>" },
        { JSON("{\"a\":12345678901234567890x}"), "<malformed>" },
        { JSON("{\"a\":x12345678901234567890}"), "<malformed>" },
        { JSON("{\"a\":1-12345678901234567890}"), "<malformed>" },
        { JSON("{\"a\":12345678901234567890.}"), "<malformed>" },
        { JSON("{12345678901234567890:1}"), "<malformed>" },
        { JSON("{\"a\":1e5e5}"), "<malformed>" },
        { JSON("{\"a\":1e}"), "<malformed>" },
        { JSON("{\"a\":1}{"), "<malformed>" },
        { JSON("{\"a\":1} x"), "<malformed>" },
        { JSON("{\"a\":1"), "<malformed>" },
        { JSON("{\"a\":\"x"), "<malformed>" },
        { JSON("{\"a\":\"x\\"), "<malformed>" },
        { JSON("{\"a\":\"x\\u12\"}"), "<malformed>" },
        { JSON("{\"a\":\"\ttab\"}"), "<malformed>" },
        { JSON("{'a':1}"), "<malformed>" },
        { JSON("{\"a\":1,}"), "<malformed>" },
        { JSON("[1]"), "<malformed>" },
        { JSON("1"), "<malformed>" },
        { JSON("\"a\""), "<malformed>" },
        { JSON("null"), "<malformed>" },
        { JSON(" "), "<malformed>" },
        { JSON("{\"\":1}"), "<malformed>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("json", cases);
}

static void a_name_that_comes_twice_is_malformed(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { JSON("{\"a\":1,\"a\":2}"), "<malformed>" },
        { JSON("{\"a\":{\"b\":1,\"b\":2}}"), "<malformed>" },
        { JSON("{\"a.b\":1,\"a\":{\"b\":2}}"), "<malformed>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("json", cases);
}

static void text_that_is_not_utf8_is_rejected(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { JSON("{\"a\":\"\xff\"}"), "<encoding>" },
        { JSON("{\"a\":\"\xc0\x80\"}"), "<encoding>" },
        { JSON("{\"a\":\"\xed\xa0\x80\"}"), "<encoding>" },
        { JSON("{\"\xb0\":1}"), "<encoding>" },
        { JSON("{\"a\":\"\\u0000\"}"), "<encoding>" },
        { JSON("{\"a\\u0000\":1}"), "<encoding>" },
        { JSON("{\"a\":\"x\\u0000\",\"b\":1e1}"), "<encoding>" },
        { JSON("{\"a\":\"\\ud800\"}"), "<encoding>" },
        { JSON("{\"a\":\"\\udc00\"}"), "<encoding>" },
        { JSON("{\"a\":\"\\ud800\\u0041\"}"), "<encoding>" },
        { JSON("{\"a\":1}\0"), "<encoding>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("json", cases);
}

static void depth_is_bounded(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { "max_depth=1", FG_BYTES("{\"a\":1}"), "a=i1" },
        { "max_depth=1", FG_BYTES("{\"a\":[1]}"), "<too-deep>" },
        { "max_depth=2", FG_BYTES("{\"a\":[1],\"b\":{\"c\":2}}"), "a.0=i1 b.c=i2" },
        { "max_depth=2", FG_BYTES("{\"a\":\"[[[[{{{{\"}"), "a=t\"[[[[{{{{\"" },
        { "max_depth=2", FG_BYTES("{\"a\":\"\\\"[[[[\"}"), "a=t\"\"[[[[\"" },
    };
    static char deep[1000000];
    (void)state;
    FG_DECODER_CASES_RUN("json", cases);
    memset(deep, '[', sizeof deep);
    fg_decoder_expect("json", NULL, deep, sizeof deep, "<too-deep>");
    /* {"a":[[...1...]]}, sixty deep. */
    char name[256] = "a";
    size_t size = 5;
    memcpy(deep, "{\"a\":", size);
    size += 59;
    deep[size++] = '1';
    memset(deep + size, ']', 59);
    size += 59;
    deep[size++] = '}';
    for (int i = 0; i < 59; i++) {
        strcat(name, ".0");
    }
    strcat(name, "=i1");
    fg_decoder_expect("json", "max_depth=60", deep, size, name);
    fg_decoder_expect("json", "max_depth=59", deep, size, "<too-deep>");
}

static void nothing_in_it_is_empty(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { JSON("{}"), "<empty>" },
        { JSON("{\"a\":{},\"b\":[]}"), "<empty>" },
        { JSON(""), "<empty>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("json", cases);
}

static void a_record_bounds_what_is_taken(void **state)
{
    static char frame[20000];
    static char expected[20000];
    int used = sprintf(frame, "{\"a\":[");
    (void)state;
    for (int i = 0; i < 256; i++) {
        used += sprintf(frame + used, "%s1", i ? "," : "");
    }
    size_t size = (size_t)used;
    memcpy(frame + size, "]}", 2);
    int shown = 0;
    for (int i = 0; i < 256; i++) {
        shown += sprintf(expected + shown, "%sa.%d=i1", i ? " " : "", i);
    }
    fg_decoder_expect("json", NULL, frame, size + 2, expected);
    memcpy(frame + size, ",1]}", 4);
    fg_decoder_expect("json", NULL, frame, size + 4, "<too-many-fields>");

    used = sprintf(frame, "{\"a\":\"");
    memset(frame + used, 'x', 16384);
    memcpy(frame + used + 16384, "\"}", 2);
    fg_decoder_expect("json", NULL, frame, (size_t)used + 16384 + 2, "<oversized>");

    used = sprintf(frame, "{\"%0256d\":1}", 0);
    fg_decoder_expect("json", NULL, frame, (size_t)used, "<malformed>");
    used = sprintf(frame, "{\"%0255d\":1}", 0);
    sprintf(expected, "%0255d=i1", 0);
    fg_decoder_expect("json", NULL, frame, (size_t)used, expected);
    used = sprintf(frame, "{\"a\":{\"%0254d\":1}}", 0);
    fg_decoder_expect("json", NULL, frame, (size_t)used, "<malformed>");
    used = sprintf(frame, "{\"a\":{\"%0253d\":1}}", 0);
    sprintf(expected, "a.%0253d=i1", 0);
    fg_decoder_expect("json", NULL, frame, (size_t)used, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_keep_their_kinds),
        cmocka_unit_test(nested_names_are_joined_by_dots),
        cmocka_unit_test(integers_are_exact_to_64_bits),
        cmocka_unit_test(numbers_beyond_doubles_are_null),
        cmocka_unit_test(what_is_no_json_is_malformed),
        cmocka_unit_test(a_name_that_comes_twice_is_malformed),
        cmocka_unit_test(text_that_is_not_utf8_is_rejected),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(nothing_in_it_is_empty),
        cmocka_unit_test(a_record_bounds_what_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
