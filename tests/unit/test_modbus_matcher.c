/* The answer to a request among the bytes that come; every other byte has its reason. */
#include "support/modbus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct fg_modbus_matcher matcher;
static uint8_t adu[FG_MODBUS_ADU_MAX];
static size_t adu_size;
static char out[8192];

static int begin(void **state)
{
    (void)state;
    fg_modbus_matcher_init(&matcher, FG_MODBUS_RTU);
    out[0] = '\0';
    return 0;
}

static int begin_tcp(void **state)
{
    begin(state);
    fg_modbus_matcher_init(&matcher, FG_MODBUS_TCP);
    return 0;
}

static void ask(const struct fg_modbus_request *request)
{
    assert_int_equal(fg_modbus_matcher_send(&matcher, request, 0, adu, &adu_size), 0);
}

static void expect(const char *wanted)
{
    assert_string_equal(out, wanted);
    out[0] = '\0';
}

static void feed(const void *bytes, size_t size)
{
    fg_test_modbus_feed(&matcher, bytes, size, false, out, sizeof out);
}

static void silence(void)
{
    fg_test_modbus_feed(&matcher, NULL, 0, true, out, sizeof out);
}

/* The frame of a PDU, from that unit. */
static size_t frame(uint8_t unit, const char *pdu, size_t size, uint8_t *to)
{
    return fg_test_modbus_frame(matcher.mode, matcher.transaction, unit, (const uint8_t *)pdu, size, to);
}

static void answer(uint8_t unit, const char *pdu, size_t size)
{
    uint8_t bytes[300];
    feed(bytes, frame(unit, pdu, size, bytes));
}
#define ANSWER(unit, text) answer((unit), (text), sizeof(text) - 1)

static const struct fg_modbus_request a = { .unit = 1, .function = 3, .read = { 100, 2 } };
static const struct fg_modbus_request b = { .unit = 1, .function = 3, .read = { 200, 2 } };
static const struct fg_modbus_request other_shape = { .unit = 1, .function = 3, .read = { 300, 3 } };
static const struct fg_modbus_request other_unit = { .unit = 2, .function = 3, .read = { 200, 2 } };
static const struct fg_modbus_request write_6 = {
    .unit = 1, .function = 6, .write = { 5, 1 }, .registers = { 0x0102 }
};

#define DATA "\x03\x04\x11\x22\x33\x44"

static void an_answer_is_taken_as_soon_as_it_is_whole(void **state)
{
    (void)state;
    uint8_t bytes[32];
    ask(&a);
    size_t size = frame(1, DATA, 6, bytes);
    for (size_t i = 0; i + 1 < size; i++) {
        feed(bytes + i, 1);
        expect("");
    }
    feed(bytes + size - 1, 1);
    expect("answer 11223344 ");
    silence();
    expect("");
}

static void an_exception_is_an_answer(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, "\x83\x02");
    expect("exception 2 ");
}

static void an_exception_without_a_number_is_none(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, "\x83\x00");
    expect("<malformed> ");
}

static void an_answer_of_another_unit_is_dropped_and_the_right_one_taken(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(2, DATA);
    ANSWER(1, DATA);
    expect("<foreign-unit> answer 11223344 ");
}

static void an_answer_to_another_function_is_dropped(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, "\x04\x04\x11\x22\x33\x44");
    ANSWER(1, "\x84\x02");
    expect("<wrong-function> <wrong-function> ");
}

static void an_answer_of_another_size_is_dropped(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, "\x03\x02\x11\x22");
    ANSWER(1, "\x03\x06\x11\x22\x33\x44\x55\x66");
    expect("<byte-count> <byte-count> ");
}

static void a_byte_count_that_is_not_the_frames_is_dropped_at_silence(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, "\x03\x04\x11\x22\x33\x44\x55");
    expect("");
    silence();
    expect("<bad-length> ");
}

static void a_wrong_crc_is_dropped_at_silence(void **state)
{
    (void)state;
    uint8_t bytes[32];
    ask(&a);
    size_t size = frame(1, DATA, 6, bytes);
    bytes[4] ^= 1;
    feed(bytes, size);
    expect("");
    silence();
    expect("<checksum> ");
}

static void a_part_of_an_answer_is_incomplete_at_silence(void **state)
{
    (void)state;
    uint8_t bytes[32];
    ask(&a);
    feed(bytes, frame(1, DATA, 6, bytes) - 1);
    silence();
    expect("<incomplete> ");
}

static void noise_before_an_answer_is_dropped_and_the_answer_taken(void **state)
{
    (void)state;
    ask(&a);
    feed("\xFF\x00\x01", 3);
    ANSWER(1, DATA);
    expect("");
    silence();
    expect("<noise> answer 11223344 ");
}

static void noise_behind_an_answer_is_dropped(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, DATA);
    feed("\xFF\x00\x01", 3);
    silence();
    expect("answer 11223344 <noise> ");
}

static void noise_without_end_does_not_fill_the_matcher(void **state)
{
    (void)state;
    uint8_t noise[5000];
    memset(noise, 0xA5, sizeof noise);
    ask(&a);
    feed(noise, sizeof noise);
    ANSWER(1, DATA);
    silence();
    assert_non_null(strstr(out, "answer 11223344 "));
}

static void a_foreign_frame_hides_what_looks_like_our_answer(void **state)
{
    (void)state;
    uint8_t inner[32], pdu[64] = { 3 }, outer[80];
    ask(&a);
    size_t size = frame(1, DATA, 6, inner);
    pdu[1] = (uint8_t)(size + 1);
    memcpy(pdu + 2, inner, size);
    feed(outer, frame(9, (const char *)pdu, size + 3, outer));
    silence();
    expect("<foreign-unit> ");
}

static void what_comes_unasked_is_dropped(void **state)
{
    (void)state;
    ANSWER(1, DATA);
    expect("<unsolicited> ");
}

static void the_same_answer_twice_is_taken_once(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, DATA);
    ANSWER(1, DATA);
    expect("answer 11223344 <duplicate> ");
}

static void where_answers_come_twice_the_second_is_not_taken_for_the_next(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, DATA);
    ANSWER(1, DATA);
    ask(&b);
    ANSWER(1, DATA);
    ANSWER(1, "\x03\x04\x55\x66\x77\x88");
    expect("answer 11223344 <duplicate> <duplicate> answer 55667788 ");
}

static void equal_answers_to_two_requests_are_taken_in_the_end_on_such_a_line(void **state)
{
    (void)state;
    matcher.duplicates = true;
    ask(&a);
    ANSWER(1, DATA);
    ask(&b);
    ANSWER(1, DATA);
    fg_modbus_matcher_give_up(&matcher, &b);
    ask(&b);
    ANSWER(1, DATA);
    expect("answer 11223344 <duplicate> answer 11223344 ");
}

/* ---- late answers on RTU ---- */

static void an_answer_after_its_request_was_given_up_is_late(void **state)
{
    (void)state;
    ask(&a);
    fg_modbus_matcher_give_up(&matcher, &a);
    ANSWER(1, DATA);
    expect("<late> ");
}

static void a_late_answer_is_not_taken_for_the_next_request(void **state)
{
    (void)state;
    ask(&a);
    fg_modbus_matcher_give_up(&matcher, &a);
    assert_false(fg_modbus_matcher_safe(&matcher, &b));
    ask(&b);
    ANSWER(1, DATA);
    expect("<late> ");
    ANSWER(1, "\x03\x04\x55\x66\x77\x88");
    expect("answer 55667788 ");
}

static void a_late_exception_is_not_taken_for_the_next_request(void **state)
{
    (void)state;
    ask(&a);
    fg_modbus_matcher_give_up(&matcher, &a);
    ask(&other_shape);
    ANSWER(1, "\x83\x02");
    ANSWER(1, "\x83\x06");
    expect("<late> exception 6 ");
}

static void a_request_sent_again_takes_the_answer_to_its_first_sending(void **state)
{
    (void)state;
    ask(&a);
    fg_modbus_matcher_give_up(&matcher, &a);
    assert_true(fg_modbus_matcher_safe(&matcher, &a));
    ask(&a);
    ANSWER(1, DATA);
    expect("answer 11223344 ");
    /* and the answer to the second one is late for the next request */
    ask(&b);
    ANSWER(1, DATA);
    ANSWER(1, "\x03\x04\x55\x66\x77\x88");
    expect("<late> answer 55667788 ");
}

static void a_write_of_another_value_is_not_confirmed_by_a_late_answer(void **state)
{
    (void)state;
    struct fg_modbus_request one = { .unit = 1, .function = 16, .write = { 5, 2 }, .registers = { 1, 2 } };
    struct fg_modbus_request two = { .unit = 1, .function = 16, .write = { 5, 2 }, .registers = { 3, 4 } };
    ask(&one);
    fg_modbus_matcher_give_up(&matcher, &one);
    ask(&two);
    ANSWER(1, "\x10\x00\x05\x00\x02");
    ANSWER(1, "\x10\x00\x05\x00\x02");
    expect("<late> answer ");
}

static void an_answer_of_another_shape_shows_that_none_comes_late(void **state)
{
    (void)state;
    ask(&a);
    fg_modbus_matcher_give_up(&matcher, &a);
    ask(&other_shape);
    ANSWER(1, "\x03\x06\x11\x22\x33\x44\x55\x66");
    ask(&b);
    ANSWER(1, DATA);
    expect("answer 112233445566 answer 11223344 ");
}

static void what_was_settled_does_not_come_late(void **state)
{
    (void)state;
    ask(&a);
    fg_modbus_matcher_give_up(&matcher, &a);
    fg_modbus_matcher_settle(&matcher, 1, 1);
    assert_true(fg_modbus_matcher_safe(&matcher, &b));
    ask(&b);
    ANSWER(1, DATA);
    expect("answer 11223344 ");
}

static void settling_spares_what_was_sent_since(void **state)
{
    (void)state;
    assert_int_equal(fg_modbus_matcher_send(&matcher, &a, 10, adu, &adu_size), 0);
    fg_modbus_matcher_give_up(&matcher, &a);
    assert_int_equal(fg_modbus_matcher_send(&matcher, &a, 20, adu, &adu_size), 0);
    fg_modbus_matcher_give_up(&matcher, &a);
    fg_modbus_matcher_settle(&matcher, 1, 15);
    ask(&b);
    ANSWER(1, DATA);
    ANSWER(1, DATA);
    expect("<late> answer 11223344 ");
}

static void other_units_are_not_in_doubt(void **state)
{
    (void)state;
    ask(&a);
    fg_modbus_matcher_give_up(&matcher, &a);
    assert_true(fg_modbus_matcher_safe(&matcher, &other_unit));
    ask(&other_unit);
    ANSWER(1, DATA);
    ANSWER(2, DATA);
    expect("<late> answer 11223344 ");
}

static void too_much_given_up_is_not_forgotten_but_refused(void **state)
{
    (void)state;
    struct fg_modbus_request request = a;
    for (int i = 0; i < FG_MODBUS_SENT_MAX; i++) {
        request.read.address = (uint16_t)i;
        ask(&request);
        fg_modbus_matcher_give_up(&matcher, &request);
    }
    assert_int_equal(fg_modbus_matcher_send(&matcher, &b, 0, adu, &adu_size), -EAGAIN);
    fg_modbus_matcher_settle(&matcher, 1, 1);
    ask(&b);
}

/* ---- duplicates ---- */

static void an_answer_like_anothers_is_doubted_until_it_is_asked_for_again(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, DATA);
    expect("answer 11223344 ");
    ask(&b);
    ANSWER(1, DATA);
    expect("<duplicate> ");
    assert_true(fg_modbus_matcher_doubts(&matcher));
    fg_modbus_matcher_give_up(&matcher, &b);
    ask(&b);
    ANSWER(1, DATA);
    expect("answer 11223344 ");
    assert_true(fg_modbus_matcher_safe(&matcher, &a)); /* both sendings are answered */
}

static void an_answers_duplicate_is_not_given_to_another_request(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, DATA);
    ask(&b);
    ANSWER(1, DATA);
    ANSWER(1, DATA);
    ANSWER(1, "\x03\x04\x55\x66\x77\x88");
    expect("answer 11223344 <duplicate> <duplicate> answer 55667788 ");
    assert_false(fg_modbus_matcher_doubts(&matcher));
}

static void a_line_on_which_answers_are_merely_alike_is_trusted(void **state)
{
    (void)state;
    struct fg_modbus_request request = a;
    ask(&a);
    ANSWER(1, DATA);
    for (int i = 0; i < FG_MODBUS_REPEATS_ENOUGH; i++) {
        request.read.address++;
        ask(&request);
        ANSWER(1, DATA);
        fg_modbus_matcher_give_up(&matcher, &request);
        ask(&request);
        ANSWER(1, DATA);
    }
    out[0] = '\0';
    request.read.address++;
    ask(&request);
    ANSWER(1, DATA);
    expect("answer 11223344 ");
}

static void a_trusted_line_is_not_trusted_after_a_duplicate(void **state)
{
    a_line_on_which_answers_are_merely_alike_is_trusted(state);
    ANSWER(1, DATA);
    expect("<duplicate> ");
    ask(&b);
    ANSWER(1, DATA);
    expect("<duplicate> ");
}

static void an_exception_like_anothers_is_doubted_too(void **state)
{
    a_line_on_which_answers_are_merely_alike_is_trusted(state);
    ask(&a);
    ANSWER(1, "\x83\x02");
    ask(&b);
    ANSWER(1, "\x83\x02");
    expect("exception 2 <duplicate> ");
}

static void the_confirmation_of_a_write_is_not_doubted(void **state)
{
    (void)state;
    struct fg_modbus_request one = { .unit = 1, .function = 16, .write = { 5, 1 }, .registers = { 1 } };
    struct fg_modbus_request other = { .unit = 1, .function = 16, .write = { 5, 1 }, .registers = { 2 } };
    ask(&one);
    ANSWER(1, "\x10\x00\x05\x00\x01");
    ask(&other);
    ANSWER(1, "\x10\x00\x05\x00\x01");
    expect("answer answer ");
}

/* ---- echoes ---- */

static void the_echo_of_a_read_is_dropped_and_its_answer_taken(void **state)
{
    (void)state;
    ask(&a);
    feed(adu, adu_size);
    ANSWER(1, DATA);
    expect("<echo> answer 11223344 ");
    assert_int_equal(matcher.echo, FG_MODBUS_ECHO_YES);
}

static void on_a_line_without_echo_a_write_is_confirmed_by_its_copy(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, DATA);
    ask(&write_6);
    feed(adu, adu_size);
    expect("answer 11223344 answer ");
}

static void on_a_line_with_echo_a_write_is_confirmed_by_the_second_copy(void **state)
{
    (void)state;
    ask(&a);
    feed(adu, adu_size);
    ANSWER(1, DATA);
    ask(&write_6);
    feed(adu, adu_size);
    expect("<echo> answer 11223344 <echo> ");
    feed(adu, adu_size);
    expect("answer ");
}

static void as_long_as_it_is_not_known_a_copy_is_an_echo(void **state)
{
    (void)state;
    ask(&write_6);
    feed(adu, adu_size);
    expect("<echo> ");
    assert_int_equal(matcher.echo, FG_MODBUS_ECHO_UNKNOWN);
    feed(adu, adu_size);
    expect("answer ");
}

static void the_late_answer_of_a_write_does_not_look_like_an_echo(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(1, DATA);
    ask(&write_6);
    fg_modbus_matcher_give_up(&matcher, &write_6);
    feed(adu, adu_size);
    expect("answer 11223344 <late> ");
    assert_int_equal(matcher.echo, FG_MODBUS_ECHO_NO);
}

static void the_echo_of_a_broadcast_is_dropped(void **state)
{
    (void)state;
    struct fg_modbus_request request = write_6;
    request.unit = 0;
    ask(&request);
    assert_int_equal(matcher.outstanding, 0);
    feed(adu, adu_size);
    expect("<echo> ");
}

/* ---- writes ---- */

static void a_write_confirmed_with_something_else_is_not_confirmed(void **state)
{
    (void)state;
    static const struct {
        struct fg_modbus_request request;
        const char *right, *wrong[3];
        size_t size;
    } cases[] = {
        { { .function = 5, .write = { 3, 1 }, .coils = { 1 } },
          "\x05\x00\x03\xFF\x00",
          { "\x05\x00\x04\xFF\x00", "\x05\x00\x03\x00\x00" },
          5 },
        { { .function = 6, .write = { 3, 1 }, .registers = { 7 } },
          "\x06\x00\x03\x00\x07",
          { "\x06\x01\x03\x00\x07", "\x06\x00\x03\x00\x08" },
          5 },
        { { .function = 15, .write = { 3, 9 } },
          "\x0F\x00\x03\x00\x09",
          { "\x0F\x00\x02\x00\x09", "\x0F\x00\x03\x00\x08" },
          5 },
        { { .function = 16, .write = { 3, 9 } },
          "\x10\x00\x03\x00\x09",
          { "\x10\x00\x02\x00\x09", "\x10\x00\x03\x00\x08" },
          5 },
        { { .function = 22, .write = { 3, 1 }, .and_mask = 1, .or_mask = 2 },
          "\x16\x00\x03\x00\x01\x00\x02",
          { "\x16\x00\x02\x00\x01\x00\x02", "\x16\x00\x03\x00\x02\x00\x02", "\x16\x00\x03\x00\x01\x00\x03" },
          7 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fg_modbus_request request = cases[i].request;
        request.unit = 1;
        begin(state);
        matcher.echo = FG_MODBUS_ECHO_NO;
        ask(&request);
        for (size_t j = 0; j < 3 && cases[i].wrong[j]; j++) {
            answer(1, cases[i].wrong[j], cases[i].size);
            expect("<write-mismatch> ");
        }
        answer(1, cases[i].right, cases[i].size);
        expect("answer ");
    }
}

static void one_request_at_a_time_is_outstanding_on_a_line(void **state)
{
    (void)state;
    ask(&a);
    assert_int_equal(fg_modbus_matcher_send(&matcher, &b, 0, adu, &adu_size), -EBUSY);
    fg_modbus_matcher_give_up(&matcher, &a);
    feed("\x01", 1);
    assert_int_equal(fg_modbus_matcher_send(&matcher, &b, 0, adu, &adu_size), -EBUSY);
    silence();
    ask(&b);
}

/* ---- TCP ---- */

static void a_tcp_answer_is_known_by_its_transaction(void **state)
{
    (void)state;
    uint8_t bytes[32];
    ask(&a);
    size_t size = fg_test_modbus_frame(FG_MODBUS_TCP, (uint16_t)(matcher.transaction + 1), 1,
                                       (const uint8_t *)DATA, 6, bytes);
    feed(bytes, size);
    ANSWER(1, DATA);
    ANSWER(1, DATA);
    expect("<wrong-transaction> answer 11223344 <duplicate> ");
}

static void a_tcp_answer_to_a_request_given_up_is_late(void **state)
{
    (void)state;
    uint8_t bytes[32];
    ask(&a);
    size_t size = frame(1, DATA, 6, bytes);
    fg_modbus_matcher_give_up(&matcher, &a);
    assert_true(fg_modbus_matcher_safe(&matcher, &b));
    ask(&b);
    feed(bytes, size);
    ANSWER(1, "\x03\x04\x55\x66\x77\x88");
    expect("<late> answer 55667788 ");
}

static void a_tcp_answer_must_be_right_in_everything(void **state)
{
    (void)state;
    ask(&a);
    ANSWER(2, DATA);
    ANSWER(1, "\x04\x04\x11\x22\x33\x44");
    ANSWER(1, "\x03\x02\x11\x22");
    ANSWER(1, "\x03\x04\x11\x22\x33\x44\x55");
    ANSWER(1, "\x03\x04\x11\x22\x33");
    ANSWER(1, "\x83\x02\x01");
    ANSWER(1, "\x83\x00");
    ANSWER(1, "\x83\x03");
    expect("<foreign-unit> <wrong-function> <byte-count> <bad-length> <bad-length> <bad-length> <malformed> "
           "exception 3 ");
}

static void pipelined_answers_are_taken_in_any_order(void **state)
{
    (void)state;
    uint8_t first[32];
    ask(&a);
    size_t size = frame(1, DATA, 6, first);
    ask(&b);
    ANSWER(1, "\x03\x04\x55\x66\x77\x88");
    feed(first, size);
    expect("answer 55667788 answer 11223344 ");
    assert_int_equal(matcher.outstanding, 0);
}

static void the_pipeline_has_an_end(void **state)
{
    (void)state;
    for (int i = 0; i < FG_MODBUS_PIPELINE_MAX; i++) {
        ask(&a);
    }
    assert_int_equal(fg_modbus_matcher_send(&matcher, &a, 0, adu, &adu_size), -EBUSY);
}

static void any_number_given_up_does_not_stop_tcp(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * FG_MODBUS_SENT_MAX; i++) {
        ask(&a);
        fg_modbus_matcher_give_up(&matcher, &a);
    }
    ask(&a);
    ANSWER(1, DATA);
    expect("answer 11223344 ");
}

static void noise_on_tcp_is_passed_over(void **state)
{
    (void)state;
    for (size_t noise = 1; noise <= 12; noise++) {
        begin_tcp(state);
        ask(&a);
        feed("\xA5\x5A\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A", noise);
        ANSWER(1, DATA);
        if (strcmp(out, "<noise> answer 11223344 ") != 0) {
            fail_msg("%zu: %s", noise, out);
        }
    }
}

static void a_header_with_an_impossible_length_is_passed_over(void **state)
{
    (void)state;
    ask(&a);
    feed("\x77\x77\x00\x00\x01\x00\x01\x03", 8);
    ANSWER(1, DATA);
    expect("<bad-length> answer 11223344 ");
}

static void half_a_tcp_frame_is_incomplete_after_the_timeout(void **state)
{
    (void)state;
    uint8_t bytes[32];
    ask(&a);
    feed(bytes, frame(1, DATA, 6, bytes) - 3);
    fg_modbus_matcher_give_up(&matcher, &a);
    silence();
    expect("<incomplete> ");
    ask(&a);
    ANSWER(1, DATA);
    expect("answer 11223344 ");
}

static void registers_and_bits_are_found_by_address(void **state)
{
    (void)state;
    static const uint8_t data[] = { 0x11, 0x22, 0x33, 0x44 };
    struct fg_modbus_answer found = { .request = &a, .data = data, .size = 4 };
    assert_int_equal(fg_modbus_answer_register(&found, 101), 0x3344);
    struct fg_modbus_request coils = { .function = 1, .read = { 20, 32 } };
    found.request = &coils;
    assert_true(fg_modbus_answer_bit(&found, 20));
    assert_false(fg_modbus_answer_bit(&found, 21));
    assert_true(fg_modbus_answer_bit(&found, 29));
}

#define RTU(test) cmocka_unit_test_setup(test, begin)
#define TCP(test) cmocka_unit_test_setup(test, begin_tcp)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RTU(an_answer_is_taken_as_soon_as_it_is_whole),
        RTU(an_exception_is_an_answer),
        RTU(an_exception_without_a_number_is_none),
        RTU(an_answer_of_another_unit_is_dropped_and_the_right_one_taken),
        RTU(an_answer_to_another_function_is_dropped),
        RTU(an_answer_of_another_size_is_dropped),
        RTU(a_byte_count_that_is_not_the_frames_is_dropped_at_silence),
        RTU(a_wrong_crc_is_dropped_at_silence),
        RTU(a_part_of_an_answer_is_incomplete_at_silence),
        RTU(noise_before_an_answer_is_dropped_and_the_answer_taken),
        RTU(noise_behind_an_answer_is_dropped),
        RTU(noise_without_end_does_not_fill_the_matcher),
        RTU(a_foreign_frame_hides_what_looks_like_our_answer),
        RTU(what_comes_unasked_is_dropped),
        RTU(the_same_answer_twice_is_taken_once),
        RTU(where_answers_come_twice_the_second_is_not_taken_for_the_next),
        RTU(equal_answers_to_two_requests_are_taken_in_the_end_on_such_a_line),
        RTU(an_answer_after_its_request_was_given_up_is_late),
        RTU(a_late_answer_is_not_taken_for_the_next_request),
        RTU(a_late_exception_is_not_taken_for_the_next_request),
        RTU(a_request_sent_again_takes_the_answer_to_its_first_sending),
        RTU(a_write_of_another_value_is_not_confirmed_by_a_late_answer),
        RTU(an_answer_of_another_shape_shows_that_none_comes_late),
        RTU(what_was_settled_does_not_come_late),
        RTU(an_answer_like_anothers_is_doubted_until_it_is_asked_for_again),
        RTU(an_answers_duplicate_is_not_given_to_another_request),
        RTU(a_line_on_which_answers_are_merely_alike_is_trusted),
        RTU(a_trusted_line_is_not_trusted_after_a_duplicate),
        RTU(an_exception_like_anothers_is_doubted_too),
        RTU(the_confirmation_of_a_write_is_not_doubted),
        RTU(settling_spares_what_was_sent_since),
        RTU(other_units_are_not_in_doubt),
        RTU(too_much_given_up_is_not_forgotten_but_refused),
        RTU(the_echo_of_a_read_is_dropped_and_its_answer_taken),
        RTU(on_a_line_without_echo_a_write_is_confirmed_by_its_copy),
        RTU(on_a_line_with_echo_a_write_is_confirmed_by_the_second_copy),
        RTU(as_long_as_it_is_not_known_a_copy_is_an_echo),
        RTU(the_late_answer_of_a_write_does_not_look_like_an_echo),
        RTU(the_echo_of_a_broadcast_is_dropped),
        RTU(a_write_confirmed_with_something_else_is_not_confirmed),
        RTU(one_request_at_a_time_is_outstanding_on_a_line),
        TCP(a_tcp_answer_is_known_by_its_transaction),
        TCP(a_tcp_answer_to_a_request_given_up_is_late),
        TCP(a_tcp_answer_must_be_right_in_everything),
        TCP(pipelined_answers_are_taken_in_any_order),
        TCP(the_pipeline_has_an_end),
        TCP(any_number_given_up_does_not_stop_tcp),
        TCP(noise_on_tcp_is_passed_over),
        TCP(a_header_with_an_impossible_length_is_passed_over),
        TCP(half_a_tcp_frame_is_incomplete_after_the_timeout),
        RTU(registers_and_bits_are_found_by_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
