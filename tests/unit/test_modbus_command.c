/* Requests out of turn on a Modbus line. */
#include "support/modbus_line.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LINE (&fg_test_line)

static struct fg_modbus_command commands[40];

static int begin(void **state)
{
    (void)state;
    fg_test_line_begin();
    memset(commands, 0, sizeof commands);
    return 0;
}

static int queue(size_t index, size_t device, struct fg_modbus_request request)
{
    request.unit = (uint8_t)(device + 1);
    commands[index].request = request;
    commands[index].device = device;
    return fg_modbus_poll_command(LINE->poll, &commands[index], LINE->now_ns);
}

static void command(size_t index, size_t device, struct fg_modbus_request request)
{
    assert_int_equal(queue(index, device, request), 0);
}

/* The line has begun, all devices were read, and what comes is logged. */
static void start(void)
{
    fg_test_line_start();
    fg_test_line_run(950 * TEST_MS);
    LINE->text[0] = '\0';
    LINE->log_requests = true;
}

#define WRITE_6(at, word)                                                                                    \
    (struct fg_modbus_request)                                                                               \
    {                                                                                                        \
        .function = 6, .write = { (at), 1 }, .registers = {(word) }                                          \
    }

static void a_write_is_executed_and_acknowledged(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    start();
    command(0, 0, WRITE_6(30, 1234));
    fg_test_line_run(40 * TEST_MS);
    fg_test_line_expect("1?6:30+1234 1:ok ");
    assert_int_equal(device->registers[30], 1234);
}

static void what_is_hurried_after_a_write_shows_it(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    start();
    command(0, 0, WRITE_6(0, 7));
    fg_modbus_poll_hurry(LINE->poll, 0, 0, LINE->now_ns);
    fg_test_line_run(49 * TEST_MS);
    fg_test_line_expect("1?6:0+7 1:ok 1?3:0+1 1:reading ");
    assert_int_equal(device->values, 2);
}

static void commands_go_ahead_of_polls(void **state)
{
    (void)state;
    fg_test_line_device_with(15);
    fg_test_line_device_with(1);
    fg_test_line_start();
    fg_test_line_run(1100 * TEST_MS); /* amidst a round */
    LINE->text[0] = '\0';
    LINE->log_requests = true;
    command(0, 1, WRITE_6(30, 1));
    command(1, 1, WRITE_6(31, 2));
    fg_test_line_run(90 * TEST_MS);
    assert_non_null(strstr(LINE->text, "2?6:30+1 2:ok 2?6:31+2 2:ok "));
}

static void commands_of_a_device_keep_their_order(void **state)
{
    (void)state;
    fg_test_line_device_with(1);
    fg_test_line_device_with(1);
    start();
    command(0, 0, WRITE_6(30, 1));
    command(1, 1, WRITE_6(30, 2));
    command(2, 0, WRITE_6(30, 3));
    fg_test_line_run(49 * TEST_MS);
    LINE->text[0] = '\0';
    fg_test_line_run(120 * TEST_MS);
    assert_int_equal(LINE->devices[0].registers[30], 3);
    assert_int_equal(LINE->devices[1].registers[30], 2);
}

static void polls_are_not_starved_by_commands(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    struct fg_test_device *other = fg_test_line_device_with(1);
    start();
    for (size_t i = 0; i < 16; i++) {
        command(i, 0, WRITE_6(30, (uint16_t)i));
    }
    fg_test_line_run(400 * TEST_MS); /* nine exchanges or so */
    assert_true(device->written >= FG_MODBUS_COMMANDS_IN_A_ROW);
    assert_true(device->values + other->values > 2);
    fg_test_line_run(TEST_SECOND);
    assert_int_equal(device->written, 16);
}

static void a_full_queue_is_busy(void **state)
{
    (void)state;
    fg_test_line_device_with(1);
    fg_test_line_device_with(1);
    start();
    for (size_t i = 0; i < FG_MODBUS_COMMANDS_MAX; i++) {
        command(i, 0, WRITE_6(30, 1));
    }
    assert_int_equal(queue(30, 0, WRITE_6(30, 1)), -EBUSY);
    assert_int_equal(queue(31, 1, WRITE_6(30, 1)), 0); /* of another device it is not */
    fg_test_line_run(60 * TEST_MS);
    assert_int_equal(queue(30, 0, WRITE_6(30, 1)), 0);
}

static void a_write_without_an_answer_is_sent_once(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    start();
    device->dead = true;
    unsigned asked = device->asked;
    command(0, 0, WRITE_6(30, 1));
    fg_test_line_run(45 * TEST_MS);
    assert_int_equal(device->asked, asked + 1);
    fg_test_line_run(190 * TEST_MS);
    fg_test_line_expect("1?6:30+1 1:timeout 1?3:0+1 ");
}

static void a_read_without_an_answer_is_sent_again(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->settings.poll_interval_ns = 60 * TEST_SECOND;
    start();
    device->dead = true;
    command(0, 0, (struct fg_modbus_request){ .function = 3, .read = { 7, 2 } });
    fg_test_line_run(2 * TEST_SECOND);
    fg_test_line_expect("1?3:7+2 1?3:7+2 1?3:7+2 1:timeout ");
}

static void an_exception_is_told_with_its_number(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->illegal[30] = true;
    start();
    command(0, 0, WRITE_6(30, 1));
    fg_test_line_run(40 * TEST_MS);
    fg_test_line_expect("1?6:30+1 1:exception 2 ");
}

static void what_has_expired_is_not_sent(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    struct fg_test_device *dead = fg_test_line_device_with(1);
    start();
    dead->dead = true;
    commands[1].expires_ns = LINE->now_ns + 100 * TEST_MS;
    command(0, 1, WRITE_6(30, 1)); /* keeps the line for 200 ms */
    fg_test_line_run(TEST_MS);
    command(1, 0, WRITE_6(30, 1));
    fg_test_line_run(300 * TEST_MS);
    assert_non_null(strstr(LINE->text, "2?6:30+1 2:timeout 1:expired "));
    assert_int_equal(device->written, 0);
}

static void a_command_to_an_offline_device_is_an_attempt(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->dead = true;
    start();
    device->dead = false;
    command(0, 0, WRITE_6(30, 1));
    fg_test_line_run(40 * TEST_MS);
    fg_test_line_expect("1?1:30+1 1:online 1?6:30+1 "); /* the echo is not known yet */
    fg_test_line_run(40 * TEST_MS);
    assert_memory_equal(LINE->text, "1:ok ", 5);
}

static void commands_to_a_dead_device_do_not_take_the_line(void **state)
{
    (void)state;
    struct fg_test_device *live = fg_test_line_device_with(1);
    struct fg_test_device *dead = fg_test_line_device_with(1);
    start();
    dead->dead = true;
    fg_test_line_run(3 * TEST_SECOND);
    unsigned readings = live->readings;
    for (int i = 0; i < 600; i++) {
        queue((size_t)i % 40, 1, WRITE_6(30, 1));
        fg_test_line_run(100 * TEST_MS);
        if (i % 5 == 0) {
            LINE->text[0] = '\0';
        }
    }
    assert_non_null(strstr(LINE->text, "2:offline "));
    assert_true(live->readings >= readings + 59);
    assert_true(live->longest_ns < 1300 * TEST_MS);
}

static void the_link_that_goes_down_answers_all_commands(void **state)
{
    (void)state;
    fg_test_line_device_with(1);
    start();
    command(0, 0, WRITE_6(30, 1));
    command(1, 0, WRITE_6(31, 1));
    fg_test_line_run(5 * TEST_MS);
    fg_modbus_poll_down(LINE->poll, LINE->now_ns);
    fg_test_line_expect("1?6:30+1 1:link down 1:link down 1:offline ");
    assert_int_equal(queue(2, 0, WRITE_6(30, 1)), -ENOTCONN);
}

static void what_cannot_be_a_request_is_refused(void **state)
{
    (void)state;
    fg_test_line_device_with(1);
    start();
    assert_int_equal(queue(0, 0, (struct fg_modbus_request){ .function = 7 }), -EINVAL);
    assert_int_equal(queue(0, 1, WRITE_6(0, 1)), -EINVAL); /* there is no such device */
    commands[0].request = WRITE_6(0, 1);
    commands[0].device = 0; /* to everyone */
    assert_int_equal(fg_modbus_poll_command(LINE->poll, &commands[0], LINE->now_ns), -EINVAL);
}

static void function_6_becomes_16_where_it_is_not_known(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->lacks = 1u << 6;
    device->settings.poll_interval_ns = 60 * TEST_SECOND;
    start();
    command(0, 0, WRITE_6(30, 77));
    command(1, 0, WRITE_6(31, 78)); /* and is remembered */
    fg_test_line_run(200 * TEST_MS);
    fg_test_line_expect("1?6:30+77 1?16:30+1 1:ok 1?16:31+1 1:ok ");
    assert_int_equal(device->registers[30], 77);
    assert_int_equal(device->registers[31], 78);
}

static void function_5_becomes_15_where_it_is_not_known(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->lacks = 1u << 5;
    device->settings.poll_interval_ns = 60 * TEST_SECOND;
    start();
    command(0, 0, (struct fg_modbus_request){ .function = 5, .write = { 30, 1 }, .coils = { 1 } });
    fg_test_line_run(200 * TEST_MS);
    fg_test_line_expect("1?5:30+65280 1?15:30+1 1:ok ");
    assert_int_equal(device->registers[30], 1);
}

static void bits_are_read_and_written_where_function_22_is_not_known(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    device->lacks = 1u << 22;
    device->settings.poll_interval_ns = 60 * TEST_SECOND;
    device->registers[30] = 0xABCD;
    start();
    command(0, 0,
            (struct fg_modbus_request){
                .function = 22, .write = { 30, 1 }, .and_mask = 0xFF0F, .or_mask = 0x0070 });
    fg_test_line_run(200 * TEST_MS);
    fg_test_line_expect("1?22:30+65295 1?3:30+1 1?6:30+43901 1:ok ");
    assert_int_equal(device->registers[30], 0xAB7D);
}

static void the_first_write_on_a_line_with_an_echo_is_executed_once(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    LINE->echo = true;
    LINE->log_requests = true;
    fg_test_line_start();
    command(0, 0, WRITE_6(30, 77));
    fg_test_line_run(200 * TEST_MS);
    assert_non_null(strstr(LINE->text, "1?3:30+1 <echo> 1:online 1?6:30+77 <echo> 1:ok "));
    assert_int_equal(device->written, 1);
}

static void the_echo_of_a_write_is_not_its_answer(void **state)
{
    (void)state;
    struct fg_test_device *device = fg_test_line_device_with(1);
    LINE->echo = true;
    start();
    device->dead = true; /* the adapter still gives the echo */
    command(0, 0, WRITE_6(30, 77));
    fg_test_line_run(240 * TEST_MS);
    assert_memory_equal(LINE->text, "1?6:30+77 <echo> 1:timeout ", 27);
}

static void on_tcp_a_write_needs_nothing_before_it(void **state)
{
    (void)state;
    fg_test_line_device_with(0);
    LINE->tcp = true;
    LINE->serial = false;
    start();
    command(0, 0, WRITE_6(30, 1));
    fg_test_line_run(40 * TEST_MS);
    fg_test_line_expect("1?6:30+1 1:online 1:ok ");
}

int main(void)
{
#define COMMAND(test) cmocka_unit_test_setup_teardown(test, begin, fg_test_line_tear_down)
    const struct CMUnitTest tests[] = {
        COMMAND(a_write_is_executed_and_acknowledged),
        COMMAND(what_is_hurried_after_a_write_shows_it),
        COMMAND(commands_go_ahead_of_polls),
        COMMAND(commands_of_a_device_keep_their_order),
        COMMAND(polls_are_not_starved_by_commands),
        COMMAND(a_full_queue_is_busy),
        COMMAND(a_write_without_an_answer_is_sent_once),
        COMMAND(a_read_without_an_answer_is_sent_again),
        COMMAND(an_exception_is_told_with_its_number),
        COMMAND(what_has_expired_is_not_sent),
        COMMAND(a_command_to_an_offline_device_is_an_attempt),
        COMMAND(commands_to_a_dead_device_do_not_take_the_line),
        COMMAND(the_link_that_goes_down_answers_all_commands),
        COMMAND(what_cannot_be_a_request_is_refused),
        COMMAND(function_6_becomes_16_where_it_is_not_known),
        COMMAND(function_5_becomes_15_where_it_is_not_known),
        COMMAND(bits_are_read_and_written_where_function_22_is_not_known),
        COMMAND(the_first_write_on_a_line_with_an_echo_is_executed_once),
        COMMAND(the_echo_of_a_write_is_not_its_answer),
        COMMAND(on_tcp_a_write_needs_nothing_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
