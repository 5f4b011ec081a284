#include "fieldgate/command_payload.h"

#include "support/modbus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char text[8192]; /* what was read, as one line */

/* In memory of exactly its size, so that a reader that goes too far is noticed. */
static int read_bytes(enum fg_payload_form form, const void *bytes, size_t size,
                      struct fg_command_payload *payload, const char **why)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    int error = fg_command_payload_read(form, "point", strlen("point"), copy, size, payload, why);
    free(copy);
    return error;
}

static const char *show(enum fg_payload_form form, const char *bytes)
{
    struct fg_command_payload payload;
    const char *why = NULL;
    int error = read_bytes(form, bytes, strlen(bytes), &payload, &why);
    size_t used = 0;
    text[0] = '\0';
    if (error) {
        assert_int_equal(error, -EINVAL);
        used = (size_t)snprintf(text, sizeof text, "%s", why);
    }
    for (size_t i = 0; i < payload.count && !error; i++) {
        char value[512];
        const struct fg_field *field = &payload.fields[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%.*s=%s ", (int)field->name_length,
                                 field->name, fg_test_value_text(&field->value, value, sizeof value));
    }
    if (payload.transaction) {
        used += (size_t)snprintf(text + used, sizeof text - used, "transaction %.*s ",
                                 (int)payload.transaction_length, payload.transaction);
    }
    if (payload.expires) {
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "expires %lld ", (long long)payload.expires_ms);
    }
    fg_command_payload_fini(&payload);
    return text;
}

static void expect_set(const char *bytes, const char *wanted)
{
    assert_string_equal(show(FG_PAYLOAD_SET, bytes), wanted);
}

static void expect_point(const char *bytes, const char *wanted)
{
    assert_string_equal(show(FG_PAYLOAD_SET_POINT, bytes), wanted);
}

static void expect_get(const char *bytes, const char *wanted)
{
    assert_string_equal(show(FG_PAYLOAD_GET, bytes), wanted);
}

static void points_are_read_in_their_order(void **state)
{
    (void)state;
    expect_set("{\"b\":true,\"a\":-7,\"c\":1.5,\"d\":\"x\\u00e4\\n\",\"e\":null}",
               "b=true a=-7 c=1.5 d='x\xc3\xa4\n' e=null ");
    expect_set(" { \"a\" : 1 , \"b\" : false } \r\n", "a=1 b=false ");
}

static void integers_keep_their_64_bits(void **state)
{
    (void)state;
    expect_set("{\"a\":9223372036854775807,\"b\":-9223372036854775808,\"c\":18446744073709551615}",
               "a=9223372036854775807 b=-9223372036854775808 c=18446744073709551615u ");
}

static void a_transaction_is_kept_as_it_was_given(void **state)
{
    (void)state;
    expect_set("{\"transaction\":\"\\u0041\\\"7\",\"a\":1}", "a=1 transaction \"\\u0041\\\"7\" ");
    expect_set("{\"a\":1,\"transaction\":12345678901234567890123}",
               "a=1 transaction 12345678901234567890123 ");
    expect_set("{\"a\":1,\"transaction\":1.50}", "a=1 transaction 1.50 ");
    expect_set("{\"a\":1,\"transaction\":true}", "a=1 transaction true ");
    expect_set("{\"a\":1,\"transaction\":null}", "a=1 ");
}

static void a_bad_request_tells_its_transaction_where_it_can_be_read(void **state)
{
    (void)state;
    expect_set("{\"transaction\":5,\"a\":[1]}",
               "it is no JSON of a form that is known: an object of plain valuestransaction 5 ");
    expect_set("{\"transaction\":5}", "it names no value to writetransaction 5 ");
}

static void a_transaction_has_at_most_128_bytes(void **state)
{
    (void)state;
    char bytes[512];
    snprintf(bytes, sizeof bytes, "{\"a\":1,\"transaction\":\"%0128d\"}", 1);
    assert_non_null(strstr(show(FG_PAYLOAD_SET, bytes), "a=1 transaction"));
    snprintf(bytes, sizeof bytes, "{\"a\":1,\"transaction\":\"%0129d\"}", 1);
    expect_set(bytes, "the transaction is longer than 128 bytes");
}

static void expires_ms_is_a_number_from_0_on(void **state)
{
    (void)state;
    expect_set("{\"a\":1,\"expires_ms\":2000}", "a=1 expires 2000 ");
    expect_set("{\"a\":1,\"expires_ms\":0}", "a=1 expires 0 ");
    expect_set("{\"a\":1,\"expires_ms\":1.5e3}", "a=1 expires 1500 ");
    expect_set("{\"a\":1,\"expires_ms\":9223372036854775807}", "a=1 expires 4398046511104 ");
    expect_set("{\"a\":1,\"expires_ms\":1e300}", "a=1 expires 4398046511104 ");
    static const char *const bad[] = { "-1", "\"5\"", "null", "true", "5,\"expires_ms\":5" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char bytes[64];
        snprintf(bytes, sizeof bytes, "{\"a\":1,\"expires_ms\":%s}", bad[i]);
        assert_non_null(strstr(show(FG_PAYLOAD_SET, bytes), "\"expires_ms\" is one number"));
    }
}

static void what_is_no_flat_object_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "1",
        "[]",
        "{",
        "{}",
        "{\"a\"}",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "{\"a\":1}x",
        "{\"a\":1}{}",
        "{\"a\":{}}",
        "{\"a\":[]}",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":1e999}",
        "{\"a\":NaN}",
        "{\"a\":'x'}",
        "{\"a\" 1}",
        "{1:1}",
        "{\"\":1}",
        "{\"a\":\"x}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\\u0000\"}",
        "{,}",
        "{\"a\":1,,\"b\":1}",
        "{\"a\":tru}",
        "{\"a\":1 2}",
        "{\"a\":\"x\"\"y\"}",
        "{\"a\"::1}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fg_command_payload payload;
        const char *why = NULL;
        assert_int_equal(read_bytes(FG_PAYLOAD_SET, bad[i], strlen(bad[i]), &payload, &why), -EINVAL);
        assert_true(why && why[0]);
        fg_command_payload_fini(&payload);
    }
}

static void a_point_that_stands_twice_is_refused(void **state)
{
    (void)state;
    expect_set("{\"a\":1,\"\\u0061\":2}", "a point stands in it twice");
    expect_set("{\"transaction\":1,\"transaction\":2,\"a\":1}",
               "\"transaction\" stands in it twicetransaction 1 ");
    expect_get("[\"a\",\"a\"]", "a point stands in it twice");
}

static void more_than_256_points_are_refused(void **state)
{
    (void)state;
    char bytes[8192] = "[";
    for (int i = 0; i < 256; i++) {
        snprintf(bytes + strlen(bytes), 16, "%s\"p%d\"", i > 0 ? "," : "", i);
    }
    char whole[8192 + 16];
    snprintf(whole, sizeof whole, "%s]", bytes);
    assert_non_null(strstr(show(FG_PAYLOAD_GET, whole), "p255=null"));
    snprintf(whole, sizeof whole, "%s,\"p\"]", bytes);
    expect_get(whole, "it has more than 256 points");
}

static void a_single_value_is_json_or_text(void **state)
{
    (void)state;
    expect_point("true", "point=true ");
    expect_point(" 12.5 ", "point=12.5 ");
    expect_point("\"a b\"", "point='a b' ");
    expect_point("ON", "point='ON' ");
    expect_point("007", "point='007' ");
    expect_point("a b", "point='a b' ");
    expect_point("\"open", "point='\"open' ");
    expect_point("12,5", "point='12,5' ");
    expect_point("null", "point=null ");
    expect_point("", "it is empty");
    expect_point("\xff", "it is not UTF-8");
    expect_point("[1]", "a list is no value of a point");
}

static void a_single_value_may_stand_in_an_object(void **state)
{
    (void)state;
    expect_point("{\"value\":3,\"transaction\":\"t\",\"expires_ms\":5}",
                 "point=3 transaction \"t\" expires 5 ");
    expect_point("{}", "it names no value to write");
    expect_point("{\"transaction\":1}", "it names no value to writetransaction 1 ");
    expect_point("{\"valve\":3}", "it has one \"value\", and may have \"transaction\" and \"expires_ms\"");
    expect_point("{\"value\":3,\"value\":3}",
                 "it has one \"value\", and may have \"transaction\" and \"expires_ms\"");
}

static void what_is_to_be_read_is_named_in_a_list(void **state)
{
    (void)state;
    expect_get("", "");
    expect_get("[]", "");
    expect_get("[\"b\",\"a\"]", "b=null a=null ");
    expect_get("{\"points\":[\"b\"],\"transaction\":1,\"expires_ms\":7}", "b=null transaction 1 expires 7 ");
    expect_get("{}", "");
    expect_get("{\"points\":\"b\"}", "\"points\" is a list of names");
    expect_get("{\"point\":[\"b\"]}",
               "it has one \"points\", and may have \"transaction\" and \"expires_ms\"");
    expect_get("[1]", "the names of points are texts");
    expect_get("[\"a\"", "the list of points does not end");
    expect_get("voltage", "it is no list of names");
}

/* Cut, and with each byte changed, nothing worse comes of it than a refusal. */
static void damaged_payloads_are_read_without_harm(void **state)
{
    static const char good[] =
        "{\"a\":1.5,\"transaction\":\"x\\u00e4\",\"b\":\"\\ud83d\\ude00\",\"expires_ms\":5,"
        "\"points\":[\"a\",\"b\"],\"value\":null}";
    struct fg_command_payload payload;
    const char *why = NULL;
    (void)state;
    for (int form = FG_PAYLOAD_SET; form <= FG_PAYLOAD_GET; form++) {
        for (size_t at = 0; at < sizeof good; at++) {
            char bytes[sizeof good];
            read_bytes((enum fg_payload_form)form, good, at, &payload, &why);
            fg_command_payload_fini(&payload);
            for (int byte = 0; byte < 256; byte++) {
                memcpy(bytes, good, sizeof good);
                bytes[at] = (char)byte;
                read_bytes((enum fg_payload_form)form, bytes, sizeof good - 1, &payload, &why);
                fg_command_payload_fini(&payload);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_are_read_in_their_order),
        cmocka_unit_test(integers_keep_their_64_bits),
        cmocka_unit_test(a_transaction_is_kept_as_it_was_given),
        cmocka_unit_test(a_bad_request_tells_its_transaction_where_it_can_be_read),
        cmocka_unit_test(a_transaction_has_at_most_128_bytes),
        cmocka_unit_test(expires_ms_is_a_number_from_0_on),
        cmocka_unit_test(what_is_no_flat_object_is_refused),
        cmocka_unit_test(a_point_that_stands_twice_is_refused),
        cmocka_unit_test(more_than_256_points_are_refused),
        cmocka_unit_test(a_single_value_is_json_or_text),
        cmocka_unit_test(a_single_value_may_stand_in_an_object),
        cmocka_unit_test(what_is_to_be_read_is_named_in_a_list),
        cmocka_unit_test(damaged_payloads_are_read_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
