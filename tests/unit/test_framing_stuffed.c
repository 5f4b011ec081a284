/* SLIP and COBS. */
#include "support/framing_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DOWN FG_FRAMING_LINK_DOWN

static void slip_frames_end_with_end(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "slip", NULL,
          FG_BYTES("\xc0"
                   "abc"
                   "\xc0"
                   "d"
                   "\xc0"),
          DOWN, "[abc][d]" },
        { "slip", NULL,
          FG_BYTES("\xc0\xc0\xc0"
                   "d"
                   "\xc0\xc0"),
          DOWN, "[d]" },
        { "slip", NULL,
          FG_BYTES("a"
                   "\xdb\xdc"
                   "b"
                   "\xdb\xdd\xc0"),
          DOWN, "[a\\xc0b\\xdb]" },
        { "slip", NULL, FG_BYTES("\xdb\xdd\xdb\xdc\xc0"), DOWN, "[\\xdb\\xc0]" },
        { "slip", NULL, FG_BYTES("abc"), DOWN, "<incomplete>" },
        { "slip", NULL, FG_BYTES("\xdb"), DOWN, "<incomplete>" },
        { "slip", NULL, FG_BYTES("abc"), FG_FRAMING_DATAGRAM, "<incomplete>" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void a_slip_escape_that_cannot_be_rejects_its_frame(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "slip", NULL,
          FG_BYTES("a"
                   "\xdb"
                   "bcd"
                   "\xdb"
                   "e"
                   "\xc0"
                   "ok"
                   "\xc0"),
          DOWN, "<bad-escape>[ok]" },
        { "slip", NULL,
          FG_BYTES("a"
                   "\xdb\xc0"
                   "ok"
                   "\xc0"),
          DOWN, "<bad-escape>[ok]" },
        { "slip", NULL,
          FG_BYTES("a"
                   "\xdb\xdb\xdc\xc0"
                   "ok"
                   "\xc0"),
          DOWN, "<bad-escape>[ok]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void an_oversized_slip_frame_is_discarded_to_its_end(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "slip", "max_bytes=3",
          FG_BYTES("abc"
                   "\xc0"
                   "abcd"
                   "\xc0"
                   "ok"
                   "\xc0"),
          DOWN, "[abc]<oversized>[ok]" },
        { "slip", "max_bytes=3",
          FG_BYTES("abcdefghijkl"
                   "\xdb"
                   "z"
                   "\xc0"
                   "ok"
                   "\xc0"),
          DOWN, "<oversized>[ok]" },
        { "slip", "max_bytes=3",
          FG_BYTES("ab"
                   "\xdb\xdc\xc0"
                   "abc"
                   "\xdb\xdd\xc0"
                   "ok"
                   "\xc0"),
          DOWN, "[ab\\xc0]<oversized>[ok]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

/* The examples of the paper and of the encyclopedia. */
static void cobs_blocks_stand_for_zeros(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "cobs", NULL, FG_BYTES("\1\1\0"), DOWN, "[\\x00]" },
        { "cobs", NULL, FG_BYTES("\1\1\1\0"), DOWN, "[\\x00\\x00]" },
        { "cobs", NULL, FG_BYTES("\1\2\x11\1\0"), DOWN, "[\\x00\\x11\\x00]" },
        { "cobs", NULL, FG_BYTES("\3\x11\x22\2\x33\0"), DOWN, "[\\x11\"\\x003]" },
        { "cobs", NULL, FG_BYTES("\5\x11\x22\x33\x44\0"), DOWN, "[\\x11\"3D]" },
        { "cobs", NULL, FG_BYTES("\2\x11\1\1\1\0"), DOWN, "[\\x11\\x00\\x00\\x00]" },
        { "cobs", NULL, FG_BYTES("\1\0"), DOWN, "[]" },
        { "cobs", NULL, FG_BYTES("\0\0\2a\0\0"), DOWN, "[a]" },
        { "cobs", NULL, FG_BYTES("\3a"), DOWN, "<incomplete>" },
        { "cobs", NULL, FG_BYTES("\2a"), FG_FRAMING_DATAGRAM, "<incomplete>" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void a_cobs_block_cut_short_rejects_its_frame(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "cobs", NULL, FG_BYTES("\3a\0\3ok\0"), DOWN, "<bad-escape>[ok]" },
        { "cobs", NULL, FG_BYTES("\2a\5bc\0\3ok\0"), DOWN, "<bad-escape>[ok]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void an_oversized_cobs_frame_is_discarded_to_its_delimiter(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "cobs", "max_bytes=3", FG_BYTES("\4abc\0\5abcd\0\3ok\0"), DOWN, "[abc]<oversized>[ok]" },
        { "cobs", "max_bytes=3", FG_BYTES("\2a\2b\0\3ab\1\0\3ab\2c\0\3ok\0"), DOWN,
          "[a\\x00b][ab\\x00]<oversized>[ok]" },
        { "cobs", "max_bytes=3",
          FG_BYTES("\x30"
                   "abcdefghijklmn\x7f\0\3ok\0"),
          DOWN, "<oversized>[ok]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slip_frames_end_with_end),
        cmocka_unit_test(a_slip_escape_that_cannot_be_rejects_its_frame),
        cmocka_unit_test(an_oversized_slip_frame_is_discarded_to_its_end),
        cmocka_unit_test(cobs_blocks_stand_for_zeros),
        cmocka_unit_test(a_cobs_block_cut_short_rejects_its_frame),
        cmocka_unit_test(an_oversized_cobs_frame_is_discarded_to_its_delimiter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
