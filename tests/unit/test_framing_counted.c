/* The framings that know a frame's size beforehand, and the one that knows it by silence. */
#include "support/framing_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DOWN     FG_FRAMING_LINK_DOWN
#define DATAGRAM FG_FRAMING_DATAGRAM
#define SILENCE  FG_FRAMING_SILENCE

static void a_length_counts_the_bytes_behind_it(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "length", NULL, FG_BYTES("\0\3abc\0\0\0\1d"), DOWN, "[abc][][d]" },
        { "length", "header_bytes=1", FG_BYTES("\3abc\1d"), DOWN, "[abc][d]" },
        { "length", "header_bytes=4", FG_BYTES("\0\0\0\3abc\0\0\0\1d"), DOWN, "[abc][d]" },
        { "length", "endian=little", FG_BYTES("\3\0abc\1\0d"), DOWN, "[abc][d]" },
        { "length", "header_bytes=4|endian=little", FG_BYTES("\3\0\0\0abc"), DOWN, "[abc]" },
        { "length", "includes_header=true", FG_BYTES("\0\5abc\0\2\0\3d"), DOWN, "[abc][][d]" },
        { "length", NULL, FG_BYTES("\0\3ab"), DOWN, "<incomplete>" },
        { "length", NULL, FG_BYTES("\0"), DOWN, "<incomplete>" },
        { "length", NULL, FG_BYTES("\0\3abc\0\3ab"), DATAGRAM, "[abc]<incomplete>" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void a_length_beyond_max_bytes_skips_that_many(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "length", "header_bytes=1|max_bytes=3", FG_BYTES("\3abc\4abcd\1e"), DOWN, "[abc]<oversized>[e]" },
        { "length", "header_bytes=1|max_bytes=3|includes_header=true", FG_BYTES("\4abc\5abcd\2e"), DOWN,
          "[abc]<oversized>[e]" },
        { "length", "header_bytes=4", FG_BYTES("\xff\xff\xff\xff..."), DOWN, "<oversized>" },
        { "length", "header_bytes=1|max_bytes=1", FG_BYTES("\2ab\2cd\1e"), DOWN,
          "<oversized><oversized>[e]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void a_length_less_than_itself_skips_its_field(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "length", "includes_header=true", FG_BYTES("\0\1\0\3d"), DOWN, "<bad-length>[d]" },
        { "length", "includes_header=true|header_bytes=1", FG_BYTES("\0\0\2a"), DOWN,
          "<bad-length><bad-length>[a]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void fixed_frames_have_one_size(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "fixed", "bytes=3", FG_BYTES("abcdefgh"), DOWN, "[abc][def]<incomplete>" },
        { "fixed", "bytes=1", FG_BYTES("ab\n"), DATAGRAM, "[a][b][\\x0a]" },
        { "fixed", "bytes=3", FG_BYTES("abcde"), DATAGRAM, "[abc]<incomplete>" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void a_gap_ends_a_frame(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "gap", NULL, FG_BYTES("abc\ndef"), SILENCE, "[abc\\x0adef]" },
        { "gap", NULL, FG_BYTES("abc"), DOWN, "[abc]" },
        { "gap", NULL, FG_BYTES("abc"), DATAGRAM, "[abc]" },
        { "gap", NULL, FG_BYTES(""), SILENCE, "" },
        { "gap", "max_bytes=3", FG_BYTES("abc"), SILENCE, "[abc]" },
        { "gap", "max_bytes=3", FG_BYTES("abcdefghijklm"), SILENCE, "<oversized>" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_counts_the_bytes_behind_it),
        cmocka_unit_test(a_length_beyond_max_bytes_skips_that_many),
        cmocka_unit_test(a_length_less_than_itself_skips_its_field),
        cmocka_unit_test(fixed_frames_have_one_size),
        cmocka_unit_test(a_gap_ends_a_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
