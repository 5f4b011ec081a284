#include "support/framing_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DOWN     FG_FRAMING_LINK_DOWN
#define DATAGRAM FG_FRAMING_DATAGRAM

static void a_line_ends_with_its_delimiter(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "line", NULL, FG_BYTES("one\ntwo\n"), DOWN, "[one][two]" },
        { "line", "delimiter=;", FG_BYTES("one;two\n;"), DOWN, "[one][two\\x0a]" },
        { "line", "delimiter=\r\n", FG_BYTES("one\r\ntwo\rthree\n\r\n"), DOWN, "[one][two\\x0dthree\\x0a]" },
        { "line", "delimiter=aab", FG_BYTES("1aaab2aab"), DOWN, "[1a][2]" },
        { "line", "delimiter=abab", FG_BYTES("xabaababababab!abab"), DOWN, "[xaba][ab!]" },
        { "line", "delimiter=0123456789abcdef", FG_BYTES("0123456789abcde0123456789abcdefz0123456789abcdef"),
          DOWN, "[0123456789abcde][z]" },
        { "line", NULL, FG_BYTES("a\0b\n"), DOWN, "[a\\x00b]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void a_carriage_return_belongs_to_a_line_feed_alone(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "line", NULL, FG_BYTES("one\r\ntwo\r\n"), DOWN, "[one][two]" },
        { "line", NULL, FG_BYTES("one\r\r\nt\rwo\n"), DOWN, "[one\\x0d][t\\x0dwo]" },
        { "line", "delimiter=;", FG_BYTES("one\r;"), DOWN, "[one\\x0d]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void empty_lines_are_skipped(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "line", NULL, FG_BYTES("\n\r\n\none\n\n\r\n"), DOWN, "[one]" },
        { "line", "delimiter=--", FG_BYTES("-----a--"), DOWN, "[-a]" },
        { "line", NULL, FG_BYTES(""), DOWN, "" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void an_oversized_line_is_rejected_once_and_discarded(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "line", "max_bytes=4", FG_BYTES("1234\n"), DOWN, "[1234]" },
        { "line", "max_bytes=4", FG_BYTES("1234\r\n"), DOWN, "[1234]" },
        { "line", "max_bytes=4", FG_BYTES("12345\nok\n"), DOWN, "<oversized>[ok]" },
        { "line", "max_bytes=4", FG_BYTES("12345\r\nok\n"), DOWN, "<oversized>[ok]" },
        { "line", "max_bytes=4", FG_BYTES("1234567890123456789012345678901234567890\nok\n"), DOWN,
          "<oversized>[ok]" },
        { "line", "max_bytes=4", FG_BYTES("1234567890\n1234567890\nok\n"), DOWN,
          "<oversized><oversized>[ok]" },
        { "line", "max_bytes=4|delimiter=END", FG_BYTES("1234END12345END1234567890ENENDok"), DATAGRAM,
          "[1234]<oversized><oversized>[ok]" },
        { "line", "max_bytes=4", FG_BYTES("123456789"), DOWN, "<oversized>" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void the_rest_is_a_frame_in_a_datagram_only(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "line", NULL, FG_BYTES("one\ntwo"), DOWN, "[one]<incomplete>" },
        { "line", NULL, FG_BYTES("one\ntwo"), FG_FRAMING_SILENCE, "[one]<incomplete>" },
        { "line", NULL, FG_BYTES("one\ntwo"), DATAGRAM, "[one][two]" },
        { "line", NULL, FG_BYTES("one\ntwo\r"), DATAGRAM, "[one][two]" },
        { "line", NULL, FG_BYTES("one\n\r"), DATAGRAM, "[one]" },
        { "line", "max_bytes=4", FG_BYTES("12345"), DATAGRAM, "<oversized>" },
        { "line", "max_bytes=4", FG_BYTES("1234\r"), DATAGRAM, "[1234]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_ends_with_its_delimiter),
        cmocka_unit_test(a_carriage_return_belongs_to_a_line_feed_alone),
        cmocka_unit_test(empty_lines_are_skipped),
        cmocka_unit_test(an_oversized_line_is_rejected_once_and_discarded),
        cmocka_unit_test(the_rest_is_a_frame_in_a_datagram_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
