/* What is told of each kind of mistake, word by word: people and scripts read it. */
#include "support/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT "ports = ( { name = \"p\"; transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n"
/* Line 3 is the text, within the transport of the first port. */
#define IN_SERIAL(text)                                                                                      \
    "ports = ( { name = \"p\"; transport: {\n type = \"serial\"; path = \"/dev/x\";\n" text "\n }; } );\n"
#define IN_TCP(text)     "ports = ( { name = \"p\"; transport: {\n type = \"tcp-server\";\n" text "\n }; } );\n"
#define IN_GATEWAY(text) "gateway: {\n" text "\n};\n" PORT

static void unknown_keys_are_told_with_the_nearest(void **state)
{
    (void)state;
    assert_problem(IN_SERIAL("bauds = 9600;"),
                   "x.cfg:3: ports[0].transport.bauds: is not known; did you mean baud?");
    assert_problem("gatway: { };\n" PORT, "x.cfg:1: gatway: is not known; did you mean gateway?");
    assert_problem("zzzzzzzz = 1;\n" PORT,
                   "x.cfg:1: zzzzzzzz: is not known; here can stand: gateway, tls, ports");
    /* a key that stands inline */
    assert_problem("ports = ( { name = \"p\"; stale_aftr = \"5s\";\n"
                   "  transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n",
                   "x.cfg:1: ports[0].stale_aftr: is not known; did you mean stale_after?");
}

static void a_key_of_another_type_is_told_so(void **state)
{
    (void)state;
    assert_problem(IN_TCP("baud = 9600;"),
                   "x.cfg:3: ports[0].transport.baud: is not known here; baud belongs to type \"serial\"");
}

static void missing_settings_are_told_at_their_group(void **state)
{
    (void)state;
    assert_problem("\n\nports = ( {\n transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n",
                   "x.cfg:3: ports[0].name: is missing; expected a text in quotes");
    assert_problem("gateway: { };\n",
                   "x.cfg:1: ports: is missing; expected a list of groups ( { ... }, { ... } )");
    assert_problem("ports = (\n { name = \"p\"; } );\n",
                   "x.cfg:2: ports[0].transport: is missing; expected a group { type = \"...\"; ... }");
}

static void types_of_a_variant_are_told(void **state)
{
    (void)state;
    assert_problem(
        "ports = ( { name = \"p\";\n transport: { path = \"/dev/x\"; }; } );\n",
        "x.cfg:2: ports[0].transport.type: is missing; expected one of \"serial\" or \"tcp-server\"");
    assert_problem("ports = ( { name = \"p\"; transport: {\n type = \"seral\"; path = \"/dev/x\"; }; } );\n",
                   "x.cfg:2: ports[0].transport.type: \"seral\" is not known; expected one of \"serial\" or "
                   "\"tcp-server\"; did you mean \"serial\"?");
    assert_problem(
        "ports = ( { name = \"p\"; decoder = \"raw\";\n"
        " transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n",
        "x.cfg:1: ports[0].decoder: expected a group { type = \"...\"; ... }, found the text \"raw\"");
}

static void numbers_out_of_range_are_told_with_range_and_unit(void **state)
{
    (void)state;
    assert_problem(
        IN_SERIAL("baud = 20;"),
        "x.cfg:3: ports[0].transport.baud: 20 is out of range; it must be within 50..4000000 bit/s");
    assert_problem(
        IN_TCP("max_bytes = \"2MiB\";"),
        "x.cfg:3: ports[0].transport.max_bytes: \"2MiB\" is out of range; it must be within 1B..1MiB");
    assert_problem(IN_GATEWAY("minimum = \"2h\";"),
                   "x.cfg:2: gateway.minimum: \"2h\" is out of range; it must be within 1ms..1h");
    assert_problem(IN_GATEWAY("queue_bytes = \"1KiB\";"),
                   "x.cfg:2: gateway.queue_bytes: \"1KiB\" is out of range; it must be at least 64KiB");
    assert_problem("ports = ( { name = \"p\"; report: { deadband = -0.5; };\n"
                   "  transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n",
                   "x.cfg:1: ports[0].report.deadband: -0.5 is out of range; it must be within 0..1000");
    assert_problem(
        "ports = ( { name = \"p\"; report: { deadband = 1e999; };\n"
        "  transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n",
        "x.cfg:1: ports[0].report.deadband: the number is too large for a real; write a smaller one");
}

static void a_range_counts_the_bytes_of_a_text_and_the_items_of_a_list(void **state)
{
    (void)state;
    assert_problem(IN_GATEWAY("id = \"\";"), "x.cfg:2: gateway.id: is empty; it must have 1..64 bytes");
    assert_problem("ports = ( );", "x.cfg:1: ports: has 0 items; it must have 1..4 items");
    assert_problem(IN_TCP("allow = [ \"/\", \"/\", \"/\", \"/\" ];"),
                   "x.cfg:3: ports[0].transport.allow: has 4 items; it must have at most 3 items");
}

static void numbers_where_a_unit_is_wanted_are_told_how(void **state)
{
    (void)state;
    assert_problem(IN_GATEWAY("maximum = 5;"),
                   "x.cfg:2: gateway.maximum: 5 has no unit; write it with a unit, for example \"5s\"");
    assert_problem(IN_GATEWAY("maximum = \"5\";"),
                   "x.cfg:2: gateway.maximum: \"5\" is no duration; write it with a "
                   "unit, for example \"5s\" (us, ms, s, min, h, d)");
    assert_problem(IN_GATEWAY("maximum = 10min;"),
                   "x.cfg:2: gateway.maximum: 10min is no number; a text stands in quotes: \"10min\"");
    assert_problem(
        IN_GATEWAY("queue_bytes = 4096;"),
        "x.cfg:2: gateway.queue_bytes: 4096 has no unit; write it with a unit, for example \"64KiB\"");
    assert_problem(
        IN_GATEWAY("queue_bytes = \"4XB\";"),
        "x.cfg:2: gateway.queue_bytes: \"4XB\" is no size; write it with a unit, for example \"64KiB\" "
        "(B, KiB, MiB, GiB)");
}

static void wrong_kinds_are_told_with_what_was_found(void **state)
{
    (void)state;
    assert_problem(IN_GATEWAY("workers = 2.5;"),
                   "x.cfg:2: gateway.workers: expected a whole number, found the number 2.5");
    assert_problem(
        IN_GATEWAY("workers = \"2\";"),
        "x.cfg:2: gateway.workers: expected a whole number, found the text \"2\"; take the quotes off");
    assert_problem(IN_GATEWAY("workers = true;"),
                   "x.cfg:2: gateway.workers: expected a whole number, found true");
    assert_problem(IN_GATEWAY("workers = { a = 1; };"),
                   "x.cfg:2: gateway.workers: expected a whole number, found a group { ... }");
    assert_problem(IN_GATEWAY("id = 5;"),
                   "x.cfg:2: gateway.id: expected a text in quotes, found the number 5; put it in quotes");
    assert_problem(IN_GATEWAY("id = shed;"),
                   "x.cfg:2: gateway.id: shed is no value; a text stands in quotes: \"shed\"");
    assert_problem("tls: { insecure = 1; };\n" PORT,
                   "x.cfg:1: tls.insecure: expected true or false, found the number 1");
    assert_problem("tls: { insecure = yes; };\n" PORT, "x.cfg:1: tls.insecure: yes is no value; write true");
    assert_problem(
        "tls: { insecure = \"true\"; };\n" PORT,
        "x.cfg:1: tls.insecure: expected true or false, found the text \"true\"; take the quotes off");
    assert_problem("tls = true;\n" PORT, "x.cfg:1: tls: expected a group { ... }, found true");
    assert_problem(
        IN_TCP("allow = [ 1 ];"),
        "x.cfg:3: ports[0].transport.allow[0]: expected a text or a list of texts, for example [ \"a\", "
        "\"b\" ], found the number 1");
}

static void unknown_choices_are_told_with_all_and_the_nearest(void **state)
{
    (void)state;
    assert_problem(
        IN_GATEWAY("log_level = \"warn\";"),
        "x.cfg:2: gateway.log_level: \"warn\" is not known; expected one of \"error\", \"warning\", \"info\" "
        "or \"debug\"; did you mean \"warning\"?");
    assert_problem(
        IN_GATEWAY("log_level = 3;"),
        "x.cfg:2: gateway.log_level: expected one of \"error\", \"warning\", \"info\" or \"debug\", found "
        "the number 3; put it in quotes");
}

static void a_list_of_groups_written_otherwise_is_told_how(void **state)
{
    (void)state;
    assert_problem(
        "ports = [ { name = \"p\"; transport: { type = \"serial\"; path = \"/dev/x\"; }; } ];\n",
        "x.cfg:1: ports: [ ] holds plain values only; a list of groups is written ( { ... }, { ... } )");
    assert_problem(
        "ports = { name = \"p\"; };\n",
        "x.cfg:1: ports: expected a list of groups ( { ... }, { ... } ), found a group { ... }; put it in "
        "round brackets: ( { ... } )");
    assert_problem("ports = [ \"p\" ];\n",
                   "x.cfg:1: ports: expected a list of groups ( { ... }, { ... } ), found an array [ ... ]");
    assert_problem(
        "ports = (\n \"p\",\n { name = \"q\"; transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n",
        "x.cfg:2: ports[0]: expected a group { ... }, found the text \"p\"");
}

static void checks_of_a_value_tell_at_its_line(void **state)
{
    (void)state;
    assert_problem(IN_SERIAL("\n baud = 9601;"),
                   "x.cfg:4: ports[0].transport.baud: 9601 is not a standard rate; did you mean 9600?");
    assert_problem(IN_TCP("allow = [ \"10.0.0.0/8\",\n \"10.0.0.7\" ];"),
                   "x.cfg:4: ports[0].transport.allow[1]: \"10.0.0.7\" is no network; write \"10.0.0.7/32\"");
    assert_problem("ports = ( { name = \"p\";\n topic = \"a/#\";\n"
                   "  transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n",
                   "x.cfg:2: ports[0].topic: \"#\" cannot stand in a topic; take it out");
}

static void checks_of_a_group_tell_at_the_setting_that_they_name(void **state)
{
    (void)state;
    assert_problem(IN_GATEWAY("\nmaximum = \"2s\";\nminimum = \"3s\";"),
                   "x.cfg:4: gateway.minimum: is longer than maximum; make it shorter");
    /* it is not in the file: the group's line */
    assert_problem(IN_GATEWAY("maximum = \"1ms\";"),
                   "x.cfg:1: gateway.minimum: is longer than maximum; make it shorter");
    assert_problem("ports = ( { name = \"p\"; transport: { type = \"serial\"; path = \"/dev/x\"; }; },\n"
                   " {\n name = \"p\"; transport: { type = \"serial\"; path = \"/dev/x\"; }; } );\n",
                   "x.cfg:3: ports[1].name: \"p\" is the name of ports[0] too; choose another");
}

static void settings_that_stand_twice_are_told(void **state)
{
    (void)state;
    assert_problem(IN_SERIAL("baud = 9600;\nbaud = 115200;"),
                   "x.cfg:4: ports[0].transport.baud: is set twice; the first stands in line 3");
}

static void texts_that_are_not_utf8_are_told(void **state)
{
    (void)state;
    assert_problem(IN_GATEWAY("id = \"a\xff\";"),
                   "x.cfg:2: gateway.id: \"a\\xff\" is not valid UTF-8; save the file as UTF-8");
    assert_problem(IN_GATEWAY("id = \"\\x80\";"),
                   "x.cfg:2: gateway.id: \"\\x80\" is not valid UTF-8; save the file as UTF-8");
    assert_problem(IN_GATEWAY("id = \"a\\x00b\";"),
                   "x.cfg:2: gateway.id: a text cannot hold \\x00; take it out");
}

static void every_problem_is_told_in_the_order_of_the_file(void **state)
{
    (void)state;
    struct outcome outcome = fixture_read("ports = (\n"
                                          "  { name = \"\";\n"
                                          "    qos = 3;\n"
                                          "    qos = 4;\n"
                                          "    transport: { type = \"serial\";\n"
                                          "      baud = 9601; };\n"
                                          "    devices = ( { nam = \"a\"; } );\n"
                                          "  } );\n"
                                          "gateway: { workers = 99x;\n"
                                          "  log_level = \"loud\"; };\n");
    static const char *const places[] = {
        "x.cfg:2: ports[0].name: ",
        "x.cfg:3: ports[0].qos: ",
        "x.cfg:4: ports[0].qos: ",
        "x.cfg:5: ports[0].transport.path: ",
        "x.cfg:6: ports[0].transport.baud: ",
        "x.cfg:7: ports[0].devices[0].name: ",
        "x.cfg:7: ports[0].devices[0].nam: ",
        "x.cfg:9: gateway.workers: ",
        "x.cfg:10: gateway.log_level: ",
    };
    assert_int_equal(outcome.count, sizeof places / sizeof *places);
    for (size_t i = 0; i < outcome.count; i++) {
        assert_memory_equal(outcome.problems[i], places[i], strlen(places[i]));
    }
    outcome_fini(&outcome);
}

static void at_most_a_hundred_are_told(void **state)
{
    (void)state;
    char text[8192] = "gateway: {\n";
    for (int i = 0; i < 150; i++) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "wrong%d = 1;\n", i);
    }
    strcat(text, "};\n" PORT);
    struct outcome outcome = fixture_read(text);
    assert_int_equal(outcome.count, 101);
    assert_string_equal(outcome.problems[100], "… and more");
    outcome_fini(&outcome);
}

static void syntax_errors_tell_line_place_and_remedy(void **state)
{
    (void)state;
    assert_problem(
        "gateway: {\n id = \"a\"\n workers 3;\n};\n",
        "x.cfg:3: gateway.workers: syntax error at \"3\"; = or : must follow a name; a text stands in "
        "quotes");
    assert_problem("ports = (\n { name = \"p\" }\n { name = \"q\" } );\n",
                   "x.cfg:3: ports: syntax error at \"{\"; items are separated by commas");
    assert_problem(
        "gateway: {\n id = \"a\";\n",
        "x.cfg:1: gateway: syntax error at the end of the file; the { that opens here is never closed");
    assert_problem("};\n", "x.cfg:1: file: syntax error at \"}\"; no { is open here");
    assert_problem("\n[section]\n",
                   "x.cfg:2: file: syntax error at \"[\"; a setting is written NAME = VALUE; its "
                   "name begins with a letter and has no quotes");
    assert_problem("gateway: { id = \"a;\n};\n",
                   "x.cfg:1: gateway.id: the text that begins here never ends; close it with \"");
    assert_problem("/* gateway\n",
                   "x.cfg:1: file: the comment that begins here never ends; close it with */");
    assert_problem("gateway: { id = ; };\n",
                   "x.cfg:1: gateway.id: syntax error at \";\"; a value is missing: true, a "
                   "number, \"a text\", { ... }, ( ... ) or [ ... ]");
    assert_problem("~\n", "x.cfg:1: file: syntax error at \"~\"; outside of quotes stand NAME = VALUE; and "
                          "comments after #");
}

static void one_comma_or_semicolon_too_many_does_not_hide_the_rest(void **state)
{
    (void)state;
    assert_problem(
        "ports = ( { name = \"p\"; transport: { type = \"serial\"; path = \"/dev/x\"; }; },\n );\n",
        "x.cfg:1: ports: a comma stands after the last item; take it out");
    assert_problem("gateway: { workers = 2;; };\n" PORT,
                   "x.cfg:1: gateway.workers: two ; end this setting; one is enough");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_keys_are_told_with_the_nearest),
        cmocka_unit_test(a_key_of_another_type_is_told_so),
        cmocka_unit_test(missing_settings_are_told_at_their_group),
        cmocka_unit_test(types_of_a_variant_are_told),
        cmocka_unit_test(numbers_out_of_range_are_told_with_range_and_unit),
        cmocka_unit_test(a_range_counts_the_bytes_of_a_text_and_the_items_of_a_list),
        cmocka_unit_test(numbers_where_a_unit_is_wanted_are_told_how),
        cmocka_unit_test(wrong_kinds_are_told_with_what_was_found),
        cmocka_unit_test(unknown_choices_are_told_with_all_and_the_nearest),
        cmocka_unit_test(a_list_of_groups_written_otherwise_is_told_how),
        cmocka_unit_test(checks_of_a_value_tell_at_its_line),
        cmocka_unit_test(checks_of_a_group_tell_at_the_setting_that_they_name),
        cmocka_unit_test(settings_that_stand_twice_are_told),
        cmocka_unit_test(texts_that_are_not_utf8_are_told),
        cmocka_unit_test(every_problem_is_told_in_the_order_of_the_file),
        cmocka_unit_test(at_most_a_hundred_are_told),
        cmocka_unit_test(syntax_errors_tell_line_place_and_remedy),
        cmocka_unit_test(one_comma_or_semicolon_too_many_does_not_hide_the_rest),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
