#include "gateway/results.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *transaction, enum fg_command_kind kind, const struct fg_command_result *result,
                   bool brief, const char *wanted)
{
    struct fg_buffer out;
    fg_buffer_init(&out, FG_RESULT_MAX);
    assert_int_equal(
        fg_result_render(&out, transaction, transaction ? strlen(transaction) : 0, kind, result, brief), 0);
    assert_int_equal(fg_buffer_append(&out, "", 1), 0);
    assert_string_equal((const char *)out.bytes, wanted);
    fg_buffer_fini(&out);
}

static void a_write_that_was_acknowledged_is_ok(void **state)
{
    const struct fg_command_result result = { .outcome = FG_OUTCOME_DONE };
    (void)state;
    expect(NULL, FG_COMMAND_SET, &result, false, "{\"ok\":true}");
    expect("\"a\\u0041\"", FG_COMMAND_SET, &result, false, "{\"transaction\":\"a\\u0041\",\"ok\":true}");
}

static void a_failure_says_what_where_and_why(void **state)
{
    (void)state;
    struct fg_command_result result = {
        .outcome = FG_OUTCOME_EXCEPTION, .exception = 2, .point = "relay", .why = "say \"please\""
    };
    expect("7", FG_COMMAND_SET, &result, false,
           "{\"transaction\":7,\"ok\":false,\"error\":\"exception 2 (illegal data "
           "address)\",\"point\":\"relay\","
           "\"why\":\"say \\\"please\\\"\"}");
    result = (struct fg_command_result){ .outcome = FG_OUTCOME_TIMEOUT, .why = "\xff" };
    expect(NULL, FG_COMMAND_SEND, &result, false, "{\"ok\":false,\"error\":\"timeout\"}");
}

static void what_was_read_is_told(void **state)
{
    (void)state;
    const struct fg_field fields[] = { { "voltage", 7, { .kind = FG_VALUE_REAL, .real = 230.1 } },
                                       { "on", 2, { .kind = FG_VALUE_BOOLEAN, .boolean = true } },
                                       { "none", 4, { .kind = FG_VALUE_NULL } } };
    struct fg_command_result result = { .outcome = FG_OUTCOME_DONE, .fields = fields, .count = 3 };
    expect(NULL, FG_COMMAND_GET, &result, false,
           "{\"ok\":true,\"values\":{\"voltage\":230.1,\"on\":true,\"none\":null}}");
    expect(NULL, FG_COMMAND_GET, &result, true, "{\"ok\":true}");
    result = (struct fg_command_result){ .outcome = FG_OUTCOME_DONE };
    expect(NULL, FG_COMMAND_GET, &result, false, "{\"ok\":true,\"values\":{}}");
}

static void a_reply_is_text_or_hexadecimal(void **state)
{
    (void)state;
    struct fg_command_result result = { .outcome = FG_OUTCOME_DONE };
    result.reply = (const uint8_t *)"OK \"1\"";
    result.reply_size = 6;
    expect(NULL, FG_COMMAND_SEND, &result, false, "{\"ok\":true,\"reply\":\"OK \\\"1\\\"\"}");
    result.reply = (const uint8_t *)"\x00\xff\x1a";
    result.reply_size = 3;
    expect(NULL, FG_COMMAND_SEND, &result, false, "{\"ok\":true,\"reply_hex\":\"00ff1a\"}");
    expect(NULL, FG_COMMAND_SEND, &result, true, "{\"ok\":true}");
}

static void more_than_the_limit_is_refused(void **state)
{
    struct fg_buffer out;
    uint8_t reply[64] = { 0 };
    const struct fg_command_result result = { .outcome = FG_OUTCOME_DONE, .reply = reply, .reply_size = 64 };
    (void)state;
    fg_buffer_init(&out, 64);
    assert_int_equal(fg_result_render(&out, NULL, 0, FG_COMMAND_SEND, &result, false), -EMSGSIZE);
    fg_buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_was_acknowledged_is_ok),
        cmocka_unit_test(a_failure_says_what_where_and_why),
        cmocka_unit_test(what_was_read_is_told),
        cmocka_unit_test(a_reply_is_text_or_hexadecimal),
        cmocka_unit_test(more_than_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
