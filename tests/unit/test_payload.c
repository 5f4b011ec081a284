#include "fieldgate/message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct fg_origin *origin;
    struct fg_topic *topic, *point_topic;
    struct fg_outlet outlet;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    const struct fg_topic_names names = { .gateway = "g", .base = "b", .port = "p", .device = "d" };
    fixture->origin = fg_origin_new("p", "d");
    assert_int_equal(fg_topic_new("{base}/{device}/state", &names, &fixture->topic), 0);
    assert_int_equal(fg_topic_new("{base}/{device}/{point}", &names, &fixture->point_topic), 0);
    fixture->outlet = (struct fg_outlet){ .origin = fixture->origin,
                                          .topic = fixture->topic,
                                          .point_topic = fixture->point_topic,
                                          .qos = 2,
                                          .retain = true };
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(atomic_load(&fixture->origin->references), 1);
    fg_topic_free(fixture->topic);
    fg_topic_free(fixture->point_topic);
    fg_origin_unref(fixture->origin);
    free(fixture);
    return 0;
}

static void assert_payload(const struct fg_message *message, const char *expected)
{
    assert_int_equal(message->payload_size, strlen(expected));
    assert_memory_equal(fg_message_payload(message), expected, strlen(expected));
}

static void assert_json(struct fixture *fixture, const struct fg_field *fields, size_t count,
                        const char *expected)
{
    struct fg_reading reading = { .taken_ns = 5, .wall_ms = 1732338000123, .fields = fields, .count = count };
    struct fg_message *message = NULL;
    assert_int_equal(fg_outlet_render(&fixture->outlet, &reading, &message), 0);
    assert_payload(message, expected);
    assert_null(message->next);
    fg_message_free(message);
}

static void a_reading_becomes_one_object(void **state)
{
    const struct fg_field fields[] = {
        { "temperature", 11, fg_value_real(21.5) },
        { "third", 5, fg_value_real(0.1) },
        { "whole", 5, fg_value_real(21.0) },
        { "tiny", 4, fg_value_real(-1e-300) },
        { "min", 3, fg_value_integer(INT64_MIN) },
        { "max", 3, fg_value_natural(UINT64_MAX) },
        { "on", 2, fg_value_boolean(true) },
        { "none", 4, { .kind = FG_VALUE_NULL } },
        { "text", 4, fg_value_text("a\"b\\\n\x01", 6) },
    };
    assert_json(*state, fields, sizeof fields / sizeof fields[0],
                "{\"ts\":1732338000123,\"temperature\":21.5,\"third\":0.1,\"whole\":21.0,\"tiny\":-1e-300,"
                "\"min\":-9223372036854775808,\"max\":18446744073709551615,\"on\":true,\"none\":null,"
                "\"text\":\"a\\\"b\\\\\\n\\u0001\"}");
}

static void a_hostile_name_is_escaped(void **state)
{
    const struct fg_field field = { "a\"},{", 5, fg_value_integer(1) };
    assert_json(*state, &field, 1, "{\"ts\":1732338000123,\"a\\\"},{\":1}");
}

static void a_field_called_ts_does_not_hide_the_time(void **state)
{
    const struct fg_field field = { "ts", 2, fg_value_integer(1) };
    assert_json(*state, &field, 1, "{\"ts\":1732338000123,\"ts_device\":1}");
}

static void a_message_carries_what_the_outlet_says(void **state)
{
    struct fixture *fixture = *state;
    struct fg_reading reading = { .taken_ns = 5, .wall_ms = 6 };
    struct fg_message *message = NULL;
    assert_int_equal(fg_outlet_render(&fixture->outlet, &reading, &message), 0);
    assert_string_equal(fg_message_topic(message), "b/d/state");
    assert_ptr_equal(message->origin, fixture->origin);
    assert_int_equal(message->qos, 2);
    assert_true(message->retain);
    assert_int_equal(message->taken_ns, 5);
    assert_int_equal(message->wall_ms, 6);
    assert_int_equal(fg_message_bytes(message), sizeof *message + 10 + strlen("{\"ts\":6}"));
    fg_message_free(message);
}

static void a_time_is_set_right_afterwards(void **state)
{
    struct fixture *fixture = *state;
    const struct fg_field field = { "a", 1, fg_value_integer(1) };
    struct fg_reading reading = { .wall_ms = 12345, .unsynchronised = true, .fields = &field, .count = 1 };
    struct fg_message *message = NULL;
    assert_int_equal(fg_outlet_render(&fixture->outlet, &reading, &message), 0);
    assert_true(message->unsynchronised && message->stamped);
    char *payload = NULL;
    size_t size = 0;
    assert_int_equal(fg_message_restamp(message, 1735689600001, false, &payload, &size), 0);
    assert_int_equal(size, strlen("{\"ts\":1735689600001,\"a\":1}"));
    assert_memory_equal(payload, "{\"ts\":1735689600001,\"a\":1}", size);
    free(payload);
    static const char marked[] = "{\"ts\":12345,\"ts_quality\":\"unsynchronised\",\"a\":1}";
    assert_int_equal(fg_message_restamp(message, 12345, true, &payload, &size), 0);
    assert_int_equal(size, strlen(marked));
    assert_memory_equal(payload, marked, size);
    free(payload);
    fg_message_free(message);
}

static void a_large_reading_is_not_cut(void **state)
{
    struct fixture *fixture = *state;
    static char text[60000];
    memset(text, 'x', sizeof text);
    const struct fg_field field = { "t", 1, fg_value_text(text, sizeof text) };
    struct fg_reading reading = { .wall_ms = 1, .fields = &field, .count = 1 };
    struct fg_message *message = NULL;
    assert_int_equal(fg_outlet_render(&fixture->outlet, &reading, &message), 0);
    assert_int_equal(message->payload_size, sizeof text + strlen("{\"ts\":1,\"t\":\"\"}"));
    fg_message_free(message);
}

static void raw_is_the_frame(void **state)
{
    struct fixture *fixture = *state;
    struct fg_reading reading = { .frame = (const uint8_t *)"\0\xff!", .frame_size = 3 };
    struct fg_message *message = NULL;
    fixture->outlet.payload = FG_PAYLOAD_RAW;
    assert_int_equal(fg_outlet_render(&fixture->outlet, &reading, &message), 0);
    assert_int_equal(message->payload_size, 3);
    assert_memory_equal(fg_message_payload(message), "\0\xff!", 3);
    fg_message_free(message);
    reading.frame = NULL;
    assert_int_equal(fg_outlet_render(&fixture->outlet, &reading, &message), -EINVAL);
}

static void points_are_one_message_each(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *topic, *payload;
    } expected[] = {
        { "b/d/v", "230.1" }, { "b/d/a_b", "hi \"x\"" }, { "b/d/n", "null" }, { "b/d/on", "false" }
    };
    const struct fg_field fields[] = {
        { "v", 1, fg_value_real(230.1) },
        { "a/b", 3, fg_value_text("hi \"x\"", 6) },
        { "n", 1, { .kind = FG_VALUE_NULL } },
        { "on", 2, fg_value_boolean(false) },
    };
    struct fg_reading reading = { .fields = fields, .count = 4 };
    struct fg_message *first = NULL;
    fixture->outlet.payload = FG_PAYLOAD_POINTS;
    assert_int_equal(fg_outlet_render(&fixture->outlet, &reading, &first), 0);
    const struct fg_message *message = first;
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(message);
        assert_string_equal(fg_message_topic(message), expected[i].topic);
        assert_payload(message, expected[i].payload);
        message = message->next;
    }
    assert_null(message);
    fg_message_free_all(first);
}

static void points_without_fields_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct fg_reading reading = { 0 };
    struct fg_message *first = NULL;
    fixture->outlet.payload = FG_PAYLOAD_POINTS;
    assert_int_equal(fg_outlet_render(&fixture->outlet, &reading, &first), -EINVAL);
    assert_null(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reading_becomes_one_object, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hostile_name_is_escaped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_field_called_ts_does_not_hide_the_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_message_carries_what_the_outlet_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_time_is_set_right_afterwards, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_reading_is_not_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(raw_is_the_frame, set_up, tear_down),
        cmocka_unit_test_setup_teardown(points_are_one_message_each, set_up, tear_down),
        cmocka_unit_test_setup_teardown(points_without_fields_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
