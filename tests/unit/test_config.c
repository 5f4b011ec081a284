#include "support/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <locale.h>
#include <string.h>

#define MINIMAL "ports = ( { name = \"p\"; transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n"

static const struct sample_port *port_at(const struct outcome *outcome, size_t index)
{
    assert_non_null(outcome->sample);
    assert_true(index < outcome->sample->ports.count);
    return (const struct sample_port *)outcome->sample->ports.items + index;
}

static const struct sample_device *device_at(const struct sample_port *port, size_t index)
{
    assert_true(index < port->devices.count);
    return (const struct sample_device *)port->devices.items + index;
}

static struct outcome read_good(const char *text)
{
    struct outcome outcome = fixture_read(text);
    if (outcome.count > 0) {
        fail_msg("%s", outcome.problems[0]);
    }
    return outcome;
}

static void each_type_is_read(void **state)
{
    (void)state;
    struct outcome outcome = read_good(sample_text);
    assert_string_equal(outcome.sample->gateway.id, "shed");
    assert_int_equal(outcome.sample->gateway.workers, 3);
    assert_int_equal(outcome.sample->gateway.log_level, 3);
    assert_int_equal(outcome.sample->gateway.queue_bytes, 1 << 20);
    assert_string_equal(outcome.sample->tls->ca_file, "/etc/ca");
    assert_int_equal(outcome.sample->ports.count, 2);
    const struct sample_port *port = port_at(&outcome, 0);
    assert_string_equal(port->name, "weather");
    assert_int_equal(port->common.qos, 2);
    assert_true(port->common.stale_after_ns == INT64_C(90000000000));
    assert_true(port->common.report.deadband == 1.0);
    assert_int_equal(port->common.report.min_interval_ns, 1500000000);
    assert_string_equal(port->transport.variant->name, "serial");
    assert_int_equal(port->transport.line, 8);
    const struct sample_serial *serial = port->transport.settings;
    assert_string_equal(serial->path, "/dev/ttyUSB0");
    assert_int_equal(serial->flow, 1);
    const struct sample_tcp *tcp = port_at(&outcome, 1)->transport.settings;
    assert_int_equal(tcp->allow.count, 2);
    assert_string_equal(tcp->allow.items[1], "::/0");
    outcome_fini(&outcome);
}

static void what_the_file_does_not_say_has_its_default(void **state)
{
    (void)state;
    struct outcome outcome = read_good(MINIMAL);
    assert_string_equal(outcome.sample->gateway.id, "");
    assert_int_equal(outcome.sample->gateway.workers, 2);
    assert_int_equal(outcome.sample->gateway.log_level, 2);
    assert_int_equal(outcome.sample->gateway.queue_bytes, 4 << 20);
    assert_true(outcome.sample->gateway.maximum_ns == INT64_C(60000000000));
    assert_null(outcome.sample->tls);
    const struct sample_port *port = port_at(&outcome, 0);
    assert_string_equal(port->common.topic, "{base}/{device}/state");
    assert_null(port->common.proof);
    assert_int_equal(port->devices.count, 0);
    assert_null(port->decoder.variant);
    assert_int_equal(port->decoder.line, 0);
    assert_int_equal(((const struct sample_serial *)port->transport.settings)->baud, 9600);
    outcome_fini(&outcome);
}

static void items_inherit_from_the_group_around_them_whatever_the_order(void **state)
{
    (void)state;
    struct outcome outcome = read_good(sample_text);
    const struct sample_port *port = port_at(&outcome, 0);
    const struct sample_device *one = device_at(port, 0);
    assert_string_equal(one->name, "one");
    assert_int_equal(one->common.qos, 2);
    assert_true(one->common.stale_after_ns == INT64_C(90000000000));
    assert_true(one->common.report.deadband == 1.0);
    assert_ptr_equal(one->common.topic, port->common.topic);
    assert_ptr_equal(one->common.proof, port->common.proof);
    outcome_fini(&outcome);
}

static void an_item_changes_only_what_it_says(void **state)
{
    (void)state;
    struct outcome outcome = read_good(sample_text);
    const struct sample_port *port = port_at(&outcome, 0);
    const struct sample_device *two = device_at(port, 1);
    assert_int_equal(two->common.qos, 0);
    assert_true(two->common.report.on_change);
    assert_true(two->common.report.deadband == 1.0);
    assert_ptr_not_equal(two->common.proof, port->common.proof);
    assert_true(two->common.proof->insecure);
    assert_string_equal(two->common.proof->ca_file, "/ca");
    assert_false(port->common.proof->insecure);
    assert_false(port->common.report.on_change);
    outcome_fini(&outcome);
}

static void a_single_text_stands_for_a_list_of_one(void **state)
{
    (void)state;
    struct outcome outcome = read_good(
        "ports = ( { name = \"p\"; transport: { type = \"tcp-server\"; allow = \"a/1\"; }; },\n"
        "  { name = \"q\"; transport: { type = \"tcp-server\"; allow = ( \"b/1\", \"c/\" \"1\" ); }; } );\n");
    const struct sample_tcp *first = port_at(&outcome, 0)->transport.settings;
    assert_int_equal(first->allow.count, 1);
    assert_string_equal(first->allow.items[0], "a/1");
    const struct sample_tcp *second = port_at(&outcome, 1)->transport.settings;
    assert_int_equal(second->allow.count, 2);
    assert_string_equal(second->allow.items[1], "c/1");
    outcome_fini(&outcome);
}

static void texts_keep_escapes_and_line_ends(void **state)
{
    (void)state;
    struct outcome outcome =
        read_good("gateway: { id = \"a\\n\\t\\\"\\\\\\x41\nb\\\nc\\\\\nd\"; workers = 0x0AL; };\n" MINIMAL);
    assert_string_equal(outcome.sample->gateway.id, "a\n\t\"\\A\nb\\\nc\\\nd");
    assert_int_equal(outcome.sample->gateway.workers, 10);
    outcome_fini(&outcome);
}

static void long_numbers_are_not_cut_off(void **state)
{
    (void)state;
    assert_problem("gateway: { workers = 0x100000002; };\n" MINIMAL,
                   "x.cfg:1: gateway.workers: 4294967298 is out of range; it must be within 1..16 threads");
    assert_problem(
        "gateway: { workers = -9223372036854775808L; };\n" MINIMAL,
        "x.cfg:1: gateway.workers: -9223372036854775808 is out of range; it must be within 1..16 threads");
    assert_problem(
        "gateway: { workers = 18446744073709551618; };\n" MINIMAL,
        "x.cfg:1: gateway.workers: 18446744073709551618 does not fit 64 bits; write a smaller number");
}

static void the_decimal_point_does_not_depend_on_the_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) {
        skip(); /* no locale with a decimal comma is installed */
    }
    struct outcome outcome = read_good("ports = ( { name = \"p\"; report: { deadband = 2.5e1; };\n"
                                       "  transport: { type = \"serial\"; path = \"/dev/x\"; }; } );");
    assert_true(port_at(&outcome, 0)->common.report.deadband == 25.0);
    outcome_fini(&outcome);
    setlocale(LC_ALL, "C");
}

static void all_three_kinds_of_comment_and_a_byte_order_mark_are_skipped(void **state)
{
    (void)state;
    struct outcome outcome = read_good("\xEF\xBB\xBF# { \"\n// ( \n/* [ \" \n */ " MINIMAL "# no line end");
    outcome_fini(&outcome);
}

static void output_stays_untouched_on_failure(void **state)
{
    (void)state;
    struct outcome outcome = fixture_read("nothing = 1;");
    assert_int_equal(outcome.error, -EINVAL);
    assert_null(outcome.config);
    outcome_fini(&outcome);
    fg_config_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_is_read),
        cmocka_unit_test(what_the_file_does_not_say_has_its_default),
        cmocka_unit_test(items_inherit_from_the_group_around_them_whatever_the_order),
        cmocka_unit_test(an_item_changes_only_what_it_says),
        cmocka_unit_test(a_single_text_stands_for_a_list_of_one),
        cmocka_unit_test(texts_keep_escapes_and_line_ends),
        cmocka_unit_test(long_numbers_are_not_cut_off),
        cmocka_unit_test(the_decimal_point_does_not_depend_on_the_locale),
        cmocka_unit_test(all_three_kinds_of_comment_and_a_byte_order_mark_are_skipped),
        cmocka_unit_test(output_stays_untouched_on_failure),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
