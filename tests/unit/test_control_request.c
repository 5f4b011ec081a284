#include "gateway/control_request.h"

#include "fieldgate/log.h"
#include "fieldgate/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fg_control_request request;
static char why[FG_CONTROL_ERROR_BYTES];

static enum fg_control_verdict parse(const char *line)
{
    memset(&request, 0, sizeof request);
    why[0] = '\0';
    return fg_control_parse(line, strlen(line), &request, why);
}

static void assert_refused(const char *line, const char *expected)
{
    assert_int_equal(parse(line), FG_CONTROL_REFUSED);
    assert_non_null(strstr(why, expected));
}

static void assert_malformed(const char *line)
{
    assert_int_equal(parse(line), FG_CONTROL_MALFORMED);
    assert_true(why[0] != '\0');
}

static void commands_are_known_by_name(void **state)
{
    (void)state;
    static const char *const names[] = { "status", "devices", "watch", "stats", "reload", "log-level" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, " { \"command\" : \"%s\" } ", names[i]);
        assert_int_equal(parse(line), FG_CONTROL_GOOD);
        assert_int_equal(request.command, i);
        assert_string_equal(request.device, "");
        assert_int_equal(request.level, -1);
    }
}

static void arguments_are_taken_whatever_their_place(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"device\":\"m\xc3\xa4\",\"protocol\":1,\"command\":\"watch\"}"),
                     FG_CONTROL_GOOD);
    assert_string_equal(request.device, "m\xc3\xa4");
    assert_int_equal(parse("{\"command\":\"log-level\",\"level\":\"debug\"}"), FG_CONTROL_GOOD);
    assert_int_equal(request.level, FG_LOG_DEBUG);
}

static void unknown_commands_are_refused_with_a_near_one(void **state)
{
    (void)state;
    assert_refused("{\"command\":\"statsu\"}", "did you mean \"stat");
    assert_refused("{\"command\":\"x\"}", "status, devices, watch");
    assert_refused("{\"command\":\"\"}", "there is no command");
}

static void arguments_that_a_command_does_not_take_are_refused(void **state)
{
    (void)state;
    assert_refused("{\"command\":\"status\",\"device\":\"a\"}", "\"status\" takes no \"device\"");
    assert_refused("{\"command\":\"watch\",\"level\":\"info\"}", "\"watch\" takes no \"level\"");
    assert_refused("{\"command\":\"watch\",\"device\":7}", "text");
    assert_refused("{\"command\":\"log-level\",\"level\":\"loud\"}", "there is no level \"loud\"");
    assert_refused("{\"command\":\"log-level\",\"level\":null}", "there is no level");
    assert_refused("{\"command\":\"status\",\"protocol\":2}", "protocol 1");
    assert_refused("{\"command\":\"status\",\"protocol\":\"1\"}", "protocol 1");
}

static void what_is_no_object_with_a_command_is_malformed(void **state)
{
    (void)state;
    static const char *const lines[] = { "",
                                         "status",
                                         "[]",
                                         "{}",
                                         "7",
                                         "{\"command\":7}",
                                         "{\"command\":\"status\"",
                                         "{\"command\":\"status\"}}",
                                         "{\"command\":\"status\",\"command\":\"stats\"}",
                                         "{\"command\":\"sta\\u0000tus\"}",
                                         "{\"command\":\"\xff\"}" };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_malformed(lines[i]);
    }
    assert_int_equal(fg_control_parse("{\"command\":\0\"status\"}", 21, &request, why), FG_CONTROL_MALFORMED);
}

static void names_that_are_too_long_are_refused_and_cut_between_characters(void **state)
{
    (void)state;
    char line[FG_CONTROL_LINE_BYTES + 2];
    size_t used = (size_t)snprintf(line, sizeof line, "{\"command\":\"x");
    while (used < 1000) {
        memcpy(line + used, "\xe2\x82\xac", 3);
        used += 3;
    }
    memcpy(line + used, "\"}", 3);
    assert_int_equal(parse(line), FG_CONTROL_REFUSED);
    assert_true(strlen(why) < FG_CONTROL_ERROR_BYTES);
    assert_true(fg_utf8_valid(why, strlen(why)));
    snprintf(line, sizeof line, "{\"command\":\"watch\",\"device\":\"%0*d\"}", FG_NAME_MAX + 1, 0);
    assert_refused(line, "at most 255 bytes");
    snprintf(line, sizeof line, "{\"command\":\"watch\",\"device\":\"%0*d\"}", FG_NAME_MAX, 0);
    assert_int_equal(parse(line), FG_CONTROL_GOOD);
}

static void lines_that_are_too_long_are_malformed(void **state)
{
    (void)state;
    static char line[FG_CONTROL_LINE_BYTES + 2];
    memset(line, ' ', sizeof line);
    memcpy(line, "{\"command\":\"stats\"}", 19);
    assert_int_equal(fg_control_parse(line, FG_CONTROL_LINE_BYTES, &request, why), FG_CONTROL_GOOD);
    assert_int_equal(fg_control_parse(line, FG_CONTROL_LINE_BYTES + 1, &request, why), FG_CONTROL_MALFORMED);
}

static void spoilt_requests_are_never_more_than_an_error(void **state)
{
    (void)state;
    unsigned seed = 4711;
    for (unsigned i = 0; i < 20000; i++) {
        char line[] = "{\"command\":\"watch\",\"device\":\"meter1\",\"protocol\":1}";
        for (unsigned changes = 1 + (unsigned)rand_r(&seed) % 4; changes > 0; changes--) {
            line[(unsigned)rand_r(&seed) % (sizeof line - 1)] = (char)(rand_r(&seed) & 0xff);
        }
        if (fg_control_parse(line, sizeof line - 1, &request, why) != FG_CONTROL_GOOD) {
            assert_true(fg_utf8_valid(why, strnlen(why, sizeof why)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_known_by_name),
        cmocka_unit_test(arguments_are_taken_whatever_their_place),
        cmocka_unit_test(unknown_commands_are_refused_with_a_near_one),
        cmocka_unit_test(arguments_that_a_command_does_not_take_are_refused),
        cmocka_unit_test(what_is_no_object_with_a_command_is_malformed),
        cmocka_unit_test(names_that_are_too_long_are_refused_and_cut_between_characters),
        cmocka_unit_test(lines_that_are_too_long_are_malformed),
        cmocka_unit_test(spoilt_requests_are_never_more_than_an_error),
    };
    return cmocka_run_group_tests_name("control_request", tests, NULL, NULL);
}
