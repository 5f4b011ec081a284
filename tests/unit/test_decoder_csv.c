#include "support/decoder_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ABC "columns=a/b/c"

static void columns_are_named(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { ABC, FG_BYTES("1,2.5,x y"), "a=i1 b=r2.5 c=t\"x y\"" },
        { ABC, FG_BYTES("1,2.5,x\r\n"), "a=i1 b=r2.5 c=t\"x\"" },
        { "columns=a//c", FG_BYTES("1,2,3"), "a=i1 c=i3" },
        { "columns=a/b|separator=;", FG_BYTES("1,5;2"), "a=t\"1,5\" b=i2" },
        { "columns=a/b|separator=\t", FG_BYTES("1 \t\"x\"\t"), "<malformed>" },
        { "columns=a/b/c|separator=\t", FG_BYTES("1 \t\"x\"\t"), "a=i1 b=t\"x\" c=null" },
        { "columns=a/b/c|separator= ", FG_BYTES("1  3"), "a=i1 b=null c=i3" },
        { "columns=a", FG_BYTES("007"), "a=t\"007\"" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("csv", cases);
}

static void blanks_around_fields_do_not_count(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { ABC, FG_BYTES("  1 ,\t2\t, x y "), "a=i1 b=i2 c=t\"x y\"" },
        { ABC, FG_BYTES(" \"1\" , \" 2 \" ,3"), "a=t\"1\" b=t\" 2 \" c=i3" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("csv", cases);
}

static void empty_fields_are_null(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { ABC, FG_BYTES(",,"), "a=null b=null c=null" },
        { ABC, FG_BYTES("1, ,\"\""), "a=i1 b=null c=t\"\"" },
        { ABC, FG_BYTES("nan,-inf,1"), "a=null b=null c=i1" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("csv", cases);
}

static void quoted_fields_are_text(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { ABC, FG_BYTES("\"1\",\"a,b\",\"a\nb\""), "a=t\"1\" b=t\"a,b\" c=t\"a\\x0ab\"" },
        { ABC, FG_BYTES("\"say \"\"hi\"\"\",\"\"\"\",\"\"\"\"\"\""),
          "a=t\"say \"hi\"\" b=t\"\"\" c=t\"\"\"\"" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("csv", cases);
}

static void what_is_no_record_of_these_columns_is_malformed(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { ABC, FG_BYTES("1,2"), "<malformed>" },        { ABC, FG_BYTES("1,2,3,4"), "<malformed>" },
        { ABC, FG_BYTES("1,2,3,"), "<malformed>" },     { ABC, FG_BYTES("\"1,2,3"), "<malformed>" },
        { ABC, FG_BYTES("\"1\"x,2,3"), "<malformed>" }, { ABC, FG_BYTES("1\",2,3"), "<malformed>" },
        { ABC, FG_BYTES("1,2\n,3"), "<malformed>" },    { ABC, FG_BYTES("1,2,\"3\"\""), "<malformed>" },
        { ABC, FG_BYTES("\r\n"), "<malformed>" },       { ABC, FG_BYTES(""), "<empty>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("csv", cases);
}

static void text_that_is_not_utf8_is_rejected(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { ABC,
          FG_BYTES("1,2,\xb0"
                   "C"),
          "<encoding>" },
        { ABC, FG_BYTES("1,2,a\0b"), "<encoding>" },
        { ABC,
          FG_BYTES("1,2,\xc2\xb0"
                   "C"),
          "a=i1 b=i2 c=t\"\\xc2\\xb0C\"" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("csv", cases);
}

static void quotes_without_room_are_oversized(void **state)
{
    static char frame[20000];
    (void)state;
    memset(frame, 'x', sizeof frame);
    frame[0] = frame[1] = frame[2] = frame[sizeof frame - 1] = '"';
    fg_decoder_expect("csv", "columns=a", frame, sizeof frame, "<oversized>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_named),
        cmocka_unit_test(blanks_around_fields_do_not_count),
        cmocka_unit_test(empty_fields_are_null),
        cmocka_unit_test(quoted_fields_are_text),
        cmocka_unit_test(what_is_no_record_of_these_columns_is_malformed),
        cmocka_unit_test(text_that_is_not_utf8_is_rejected),
        cmocka_unit_test(quotes_without_room_are_oversized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
