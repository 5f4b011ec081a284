#include "support/framing_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DOWN FG_FRAMING_LINK_DOWN

static void a_frame_stands_between_start_and_end(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "stx-etx", NULL, FG_BYTES("\2abc\3\2d\3\2\3"), DOWN, "[abc][d][]" },
        { "stx-etx", "start=58|end=59", FG_BYTES(":abc;:d;"), DOWN, "[abc][d]" },
        { "stx-etx", NULL, FG_BYTES("\2abc\3\r\n\2d\3\r\n"), DOWN, "[abc][d]" },
        { "stx-etx", NULL, FG_BYTES("\2abc"), DOWN, "<incomplete>" },
        { "stx-etx", NULL, FG_BYTES("\2"), DOWN, "<incomplete>" },
        { "stx-etx", NULL, FG_BYTES("\2abc\3\2de"), FG_FRAMING_DATAGRAM, "[abc]<incomplete>" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void noise_is_counted_once_a_run(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "stx-etx", NULL, FG_BYTES("xyz\r\n!\2abc\3..\3..\2d\3"), DOWN, "<noise>[abc]<noise>[d]" },
        { "stx-etx", NULL, FG_BYTES("\r\nxx"), DOWN, "<noise>" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void a_start_inside_a_frame_begins_it_anew(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "stx-etx", NULL, FG_BYTES("\2ab\2cd\3"), DOWN, "<incomplete>[cd]" },
        { "stx-etx", NULL, FG_BYTES("\2\2\2cd\3"), DOWN, "<incomplete><incomplete>[cd]" },
        { "stx-etx", "checksum=xor", FG_BYTES("\2ab\2a\3\x62"), DOWN, "<incomplete>[a]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void an_oversized_frame_is_discarded_to_the_next_start(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "stx-etx", "max_bytes=3", FG_BYTES("\2abc\3\2abcd\3\2e\3"), DOWN, "[abc]<oversized>[e]" },
        { "stx-etx", "max_bytes=3", FG_BYTES("\2abcdefghijklmnop\2e\3"), DOWN, "<oversized>[e]" },
        { "stx-etx", "max_bytes=3|checksum=sum8", FG_BYTES("\2abcd\3\x12\2\1\3\4"), DOWN,
          "<oversized>[\\x01]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

/* Computed by hand: xor and sum of 'a', 'b', 'c' and 0x03; CRC-16/MODBUS of the same four bytes by another
 * program. */
static void a_checksum_is_verified_over_payload_and_end(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "stx-etx", "checksum=xor", FG_BYTES("\2abc\3\x63"), DOWN, "[abc]" },
        { "stx-etx", "checksum=xor", FG_BYTES("\2\3\3"), DOWN, "[]" },
        { "stx-etx", "checksum=sum8", FG_BYTES("\2abc\3\x29"), DOWN, "[abc]" },
        { "stx-etx", "checksum=crc16-modbus", FG_BYTES("\2abc\3\xd6\xf7"), DOWN, "[abc]" },
        { "stx-etx", "checksum=xor", FG_BYTES("\2abc\3"), DOWN, "<incomplete>" },
        { "stx-etx", "checksum=crc16-modbus", FG_BYTES("\2abc\3\xd6"), DOWN, "<incomplete>" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

static void after_a_bad_checksum_the_next_frame_is_found(void **state)
{
    static const struct fg_framing_case cases[] = {
        { "stx-etx", "checksum=xor", FG_BYTES("\2abc\3x\2abc\3\x63"), DOWN, "<checksum>[abc]" },
        { "stx-etx", "checksum=xor", FG_BYTES("\2abc\3x....\2abc\3\x63"), DOWN, "<checksum>[abc]" },
        /* The checksum was lost: the next frame stands in its place. */
        { "stx-etx", "checksum=xor", FG_BYTES("\2abc\3\2abc\3\x63"), DOWN, "<checksum>[abc]" },
        { "stx-etx", "checksum=crc16-modbus", FG_BYTES("\2abc\3\2abc\3\xd6\xf7"), DOWN, "<checksum>[abc]" },
        { "stx-etx", "checksum=crc16-modbus", FG_BYTES("\2abc\3\xd6\2abc\3\xd6\xf7"), DOWN,
          "<checksum>[abc]" },
        { "stx-etx", "checksum=crc16-modbus", FG_BYTES("\2abc\3\2\2abc\3\xd6\xf7"), DOWN, "<checksum>[abc]" },
        { "stx-etx", "checksum=crc16-modbus", FG_BYTES("\2abc\3\2\3..\2abc\3\xd6\xf7"), DOWN,
          "<checksum><checksum>[abc]" },
    };
    (void)state;
    FG_FRAMING_CASES_RUN(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_stands_between_start_and_end),
        cmocka_unit_test(noise_is_counted_once_a_run),
        cmocka_unit_test(a_start_inside_a_frame_begins_it_anew),
        cmocka_unit_test(an_oversized_frame_is_discarded_to_the_next_start),
        cmocka_unit_test(a_checksum_is_verified_over_payload_and_end),
        cmocka_unit_test(after_a_bad_checksum_the_next_frame_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
