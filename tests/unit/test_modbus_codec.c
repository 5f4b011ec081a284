/* Frames of requests, with the examples of the specification; time on a serial line. */
#include "fieldgate/modbus.h"
#include "support/modbus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define REGISTERS(...) .registers = { __VA_ARGS__ }

/* MODBUS Application Protocol V1.1b3, the examples of 6.1 to 6.17. */
static const struct {
    struct fg_modbus_request request;
    const char *pdu;
    size_t size, answer;
} examples[] = {
#define PDU(text) (text), sizeof(text) - 1
    { { .function = 1, .read = { 19, 19 } }, PDU("\x01\x00\x13\x00\x13"), 5 },
    { { .function = 2, .read = { 196, 22 } }, PDU("\x02\x00\xC4\x00\x16"), 5 },
    { { .function = 3, .read = { 107, 3 } }, PDU("\x03\x00\x6B\x00\x03"), 8 },
    { { .function = 4, .read = { 8, 1 } }, PDU("\x04\x00\x08\x00\x01"), 4 },
    { { .function = 5, .write = { 172, 1 }, .coils = { 1 } }, PDU("\x05\x00\xAC\xFF\x00"), 5 },
    { { .function = 6, .write = { 1, 1 }, REGISTERS(3) }, PDU("\x06\x00\x01\x00\x03"), 5 },
    { { .function = 15, .write = { 19, 10 }, .coils = { 0xCD, 0xFD } },
      PDU("\x0F\x00\x13\x00\x0A\x02\xCD\x01"),
      5 },
    { { .function = 16, .write = { 1, 2 }, REGISTERS(0x000A, 0x0102) },
      PDU("\x10\x00\x01\x00\x02\x04\x00\x0A\x01\x02"),
      5 },
    { { .function = 22, .write = { 4, 1 }, .and_mask = 0x00F2, .or_mask = 0x0025 },
      PDU("\x16\x00\x04\x00\xF2\x00\x25"),
      7 },
    { { .function = 23, .read = { 3, 6 }, .write = { 14, 3 }, REGISTERS(0xFF, 0xFF, 0xFF) },
      PDU("\x17\x00\x03\x00\x06\x00\x0E\x00\x03\x06\x00\xFF\x00\xFF\x00\xFF"),
      14 },
};

static void requests_are_as_in_the_examples_of_the_specification(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        struct fg_modbus_request request = examples[i].request;
        uint8_t adu[FG_MODBUS_ADU_MAX];
        uint8_t wanted[FG_MODBUS_ADU_MAX];
        request.unit = 17;
        for (int mode = FG_MODBUS_RTU; mode <= FG_MODBUS_TCP; mode++) {
            size_t size = fg_modbus_request_encode(&request, mode, 0x1501, adu);
            size_t want = fg_test_modbus_frame(mode, 0x1501, 17, (const uint8_t *)examples[i].pdu,
                                               examples[i].size, wanted);
            assert_int_equal(size, want);
            assert_memory_equal(adu, wanted, want);
            assert_int_equal(fg_modbus_request_bytes(&request, mode), want);
            assert_int_equal(fg_modbus_answer_bytes(&request, mode),
                             examples[i].answer + (mode == FG_MODBUS_RTU ? 3 : 7));
        }
    }
}

static void an_rtu_frame_ends_in_its_crc_low_byte_first(void **state)
{
    (void)state;
    /* Widely published: read ten holding registers of unit 1. */
    struct fg_modbus_request request = { .unit = 1, .function = 3, .read = { 0, 10 } };
    uint8_t adu[FG_MODBUS_ADU_MAX];
    assert_int_equal(fg_modbus_request_encode(&request, FG_MODBUS_RTU, 0, adu), 8);
    assert_memory_equal(adu, "\x01\x03\x00\x00\x00\x0A\xC5\xCD", 8);
}

static void what_passes_the_limits_is_no_request(void **state)
{
    (void)state;
    static const struct {
        struct fg_modbus_request request;
        bool valid;
    } cases[] = {
        { { .unit = 1, .function = 1, .read = { 0, 2000 } }, true },
        { { .unit = 1, .function = 1, .read = { 0, 2001 } }, false },
        { { .unit = 1, .function = 2, .read = { 0, 0 } }, false },
        { { .unit = 1, .function = 3, .read = { 0, 125 } }, true },
        { { .unit = 1, .function = 3, .read = { 0, 126 } }, false },
        { { .unit = 1, .function = 4, .read = { 65535, 1 } }, true },
        { { .unit = 1, .function = 4, .read = { 65535, 2 } }, false },
        { { .unit = 1, .function = 5, .write = { 65535, 1 } }, true },
        { { .unit = 1, .function = 6, .write = { 0, 2 } }, false },
        { { .unit = 1, .function = 15, .write = { 0, 1968 } }, true },
        { { .unit = 1, .function = 15, .write = { 0, 1969 } }, false },
        { { .unit = 1, .function = 16, .write = { 0, 123 } }, true },
        { { .unit = 1, .function = 16, .write = { 0, 124 } }, false },
        { { .unit = 1, .function = 16, .write = { 65500, 37 } }, false },
        { { .unit = 1, .function = 23, .read = { 0, 125 }, .write = { 0, 121 } }, true },
        { { .unit = 1, .function = 23, .read = { 0, 125 }, .write = { 0, 122 } }, false },
        { { .unit = 1, .function = 7 }, false },
        { { .unit = 0, .function = 3, .read = { 0, 1 } }, false },
        { { .unit = 0, .function = 6, .write = { 0, 1 } }, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t adu[FG_MODBUS_ADU_MAX];
        if ((fg_modbus_request_encode(&cases[i].request, FG_MODBUS_RTU, 0, adu) > 0) != cases[i].valid) {
            fail_msg("case %zu", i);
        }
    }
}

static void tcp_reads_from_unit_0(void **state)
{
    (void)state;
    struct fg_modbus_request request = { .unit = 0, .function = 3, .read = { 0, 1 } };
    uint8_t adu[FG_MODBUS_ADU_MAX];
    assert_int_equal(fg_modbus_request_encode(&request, FG_MODBUS_TCP, 1, adu), 12);
    assert_true(fg_modbus_request_answered(&request, FG_MODBUS_TCP));
    assert_false(fg_modbus_request_answered(&request, FG_MODBUS_RTU));
}

static void single_writes_are_widened_to_writes_of_many(void **state)
{
    (void)state;
    struct fg_modbus_request request = { .unit = 1, .function = 6, .write = { 7, 1 }, REGISTERS(0x1234) };
    uint8_t adu[FG_MODBUS_ADU_MAX];
    assert_true(fg_modbus_request_widen(&request));
    assert_int_equal(fg_modbus_request_encode(&request, FG_MODBUS_TCP, 0x101, adu), 15);
    assert_memory_equal(adu + 7, "\x10\x00\x07\x00\x01\x02\x12\x34", 8);
    assert_false(fg_modbus_request_widen(&request));
    request = (struct fg_modbus_request){ .unit = 1, .function = 5, .write = { 7, 1 }, .coils = { 1 } };
    assert_true(fg_modbus_request_widen(&request));
    assert_int_equal(fg_modbus_request_encode(&request, FG_MODBUS_TCP, 0x101, adu), 14);
    assert_memory_equal(adu + 7, "\x0F\x00\x07\x00\x01\x01\x01", 7);
}

static void silent_intervals_follow_baud_and_format(void **state)
{
    (void)state;
    static const struct {
        int64_t baud;
        const char *format;
        int64_t t15_ns, t35_ns;
    } cases[] = {
        { 9600, "8E1", 1718750, 4010417 },   { 9600, "8N1", 1562500, 3645834 },
        { 19200, "8E1", 859375, 2005209 },   { 1200, "8N2", 13750000, 32083334 },
        { 19201, "8E1", 750000, 1750000 },   { 115200, "8N1", 750000, 1750000 },
        { 4000000, "8O1", 750000, 1750000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fg_modbus_line line;
        assert_int_equal(fg_modbus_line_init(&line, cases[i].baud, cases[i].format), 0);
        assert_int_equal(line.t15_ns, cases[i].t15_ns);
        assert_int_equal(line.t35_ns, cases[i].t35_ns);
    }
}

static void a_line_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct fg_modbus_line line;
    assert_true(fg_modbus_line_init(&line, 0, "8N1") < 0);
    assert_true(fg_modbus_line_init(&line, 9600, "9N1") < 0);
    assert_true(fg_modbus_line_init(&line, 9600, "8X1") < 0);
    assert_true(fg_modbus_line_init(&line, 9600, "8N") < 0);
}

static void an_exchange_is_both_frames_the_turnaround_and_two_silences(void **state)
{
    (void)state;
    struct fg_modbus_line line;
    struct fg_modbus_request request = { .unit = 1, .function = 3, .read = { 0, 10 } };
    fg_modbus_line_init(&line, 9600, "8E1");
    assert_int_equal(fg_modbus_line_bytes_ns(&line, 8), 9166667);
    assert_int_equal(fg_modbus_line_exchange_ns(&line, &request, 1000000),
                     fg_modbus_line_bytes_ns(&line, 8) + fg_modbus_line_bytes_ns(&line, 25) +
                         2 * line.t35_ns + 1000000);
    request = (struct fg_modbus_request){ .unit = 0, .function = 6, .write = { 0, 1 } };
    assert_int_equal(fg_modbus_line_exchange_ns(&line, &request, 1000000),
                     fg_modbus_line_bytes_ns(&line, 8) + line.t35_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_as_in_the_examples_of_the_specification),
        cmocka_unit_test(an_rtu_frame_ends_in_its_crc_low_byte_first),
        cmocka_unit_test(what_passes_the_limits_is_no_request),
        cmocka_unit_test(tcp_reads_from_unit_0),
        cmocka_unit_test(single_writes_are_widened_to_writes_of_many),
        cmocka_unit_test(silent_intervals_follow_baud_and_format),
        cmocka_unit_test(a_line_that_cannot_be_is_refused),
        cmocka_unit_test(an_exchange_is_both_frames_the_turnaround_and_two_silences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
