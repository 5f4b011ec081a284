#include "support/decoder_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void text_is_text(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("21.5"), "raw=t\"21.5\"" },
        { NULL,
          FG_BYTES("gr\xc3\xbc\xc3\x9f"
                   "e\r"),
          "raw=t\"gr\\xc3\\xbc\\xc3\\x9fe\\x0d\"" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("raw", cases);
}

static void other_bytes_are_hex(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("a\0b"), "hex=t\"610062\"" },
        { NULL, FG_BYTES("\xff\x0a\xc0\x80"), "hex=t\"ff0ac080\"" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("raw", cases);
}

static void what_does_not_fit_is_no_field(void **state)
{
    static char frame[8193];
    static char hex[2 * 8192 + 16];
    (void)state;
    memset(frame, 0xff, sizeof frame);
    fg_decoder_expect("raw", NULL, frame, sizeof frame, "nothing");
    strcpy(hex, "hex=t\"");
    memset(hex + 6, 'f', (size_t)2 * 8192);
    strcpy(hex + 6 + 2 * 8192, "\"");
    fg_decoder_expect("raw", NULL, frame, 8192, hex);
}

static void nothing_is_empty(void **state)
{
    (void)state;
    fg_decoder_expect("raw", NULL, "", 0, "<empty>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_text),
        cmocka_unit_test(other_bytes_are_hex),
        cmocka_unit_test(what_does_not_fit_is_no_field),
        cmocka_unit_test(nothing_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
