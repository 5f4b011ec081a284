#include "support/decoder_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void pairs_become_fields(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("temp=21.5 hum=40 name=shed"), "temp=r21.5 hum=i40 name=t\"shed\"" },
        { NULL, FG_BYTES("a=1"), "a=i1" },
        { NULL, FG_BYTES("url=x=y a="), "url=t\"x=y\" a=null" },
        { NULL, FG_BYTES("a= b=2"), "a=null b=i2" },
        { NULL, FG_BYTES("a=1 b=2 a=3"), "a=i3 b=i2" },
        { "separator=,|assign=:", FG_BYTES("a:1, b : 2 ,c:x y"), "a=i1 b=i2 c=t\"x y\"" },
        { "separator=;|assign= ", FG_BYTES("temp 21.5;hum  40"), "temp=r21.5 hum=i40" },
        { "separator=&&|assign=->", FG_BYTES("a->1&&b->2&c"), "a=i1 b=t\"2&c\"" },
        { "separator=\n", FG_BYTES("a=1\r\nb=2\r\n"), "a=i1 b=i2" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("keyvalue", cases);
}

static void runs_of_separators_are_one(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("  a=1   b=2  \r"), "a=i1 b=i2" },
        { "separator=;", FG_BYTES(";; a=1 ; ;;b=2;"), "a=i1 b=i2" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("keyvalue", cases);
}

static void quoted_values_are_text(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("a=\"1\" b=\"x y=z\" c=\"\""), "a=t\"1\" b=t\"x y=z\" c=t\"\"" },
        { NULL, FG_BYTES("a=\"say \\\"hi\\\" \\\\ \\n\""), "a=t\"say \"hi\" \\ \\n\"" },
        { "separator=;", FG_BYTES("a= \"1;2\" ;b=3"), "a=t\"1;2\" b=i3" },
        { NULL, FG_BYTES("a=5\""), "a=t\"5\"\"" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("keyvalue", cases);
}

static void what_is_no_pair_is_malformed(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("hello"), "<malformed>" },         { NULL, FG_BYTES("a=1 hello"), "<malformed>" },
        { NULL, FG_BYTES("hello a=1"), "<malformed>" },     { NULL, FG_BYTES("=1"), "<malformed>" },
        { "separator=;", FG_BYTES("  =1"), "<malformed>" }, { NULL, FG_BYTES("a=\"1"), "<malformed>" },
        { NULL, FG_BYTES("a=\"1\\\""), "<malformed>" },     { NULL, FG_BYTES("a=\"1\\"), "<malformed>" },
        { NULL, FG_BYTES("a=\"1\"b=2"), "<malformed>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("keyvalue", cases);
}

static void nothing_in_it_is_empty(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("   \r\n"), "<empty>" },
        { NULL, FG_BYTES(""), "<empty>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("keyvalue", cases);
}

static void text_that_is_not_utf8_is_rejected(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("a=\xff"), "<encoding>" },
        { NULL, FG_BYTES("\xff=1"), "<encoding>" },
        { NULL, FG_BYTES("a=1\0"), "<encoding>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("keyvalue", cases);
}

static void a_record_bounds_what_is_taken(void **state)
{
    static char frame[20000];
    int used = 0;
    (void)state;
    for (int i = 0; i < 257; i++) {
        used += sprintf(frame + used, "k%d=1 ", i);
    }
    fg_decoder_expect("keyvalue", NULL, frame, (size_t)used, "<too-many-fields>");
    used = sprintf(frame, "%0256d=1", 0);
    fg_decoder_expect("keyvalue", NULL, frame, (size_t)used, "<malformed>");
    memset(frame, 'x', sizeof frame);
    memcpy(frame, "a=\"\\\"", 5);
    frame[sizeof frame - 1] = '"';
    fg_decoder_expect("keyvalue", NULL, frame, sizeof frame, "<oversized>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_become_fields),           cmocka_unit_test(runs_of_separators_are_one),
        cmocka_unit_test(quoted_values_are_text),        cmocka_unit_test(what_is_no_pair_is_malformed),
        cmocka_unit_test(nothing_in_it_is_empty),        cmocka_unit_test(text_that_is_not_utf8_is_rejected),
        cmocka_unit_test(a_record_bounds_what_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
