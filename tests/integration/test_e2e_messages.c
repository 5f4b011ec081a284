/* What a reading becomes: topics, payloads, times, identities, and what the report policy holds back. */
#include "support/client.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void json_carries_time_and_every_value_unchanged(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_JSON "}", port);
    int fd = client_tcp(port);
    int64_t before_ms = (int64_t)time(NULL) * 1000;
    client_print(fd, "{\"i\":-9223372036854775808,\"r\":0.1,\"t\":\"gr\\u00fc\\u00df "
                     "\\\"x\\\"\",\"b\":true,\"n\":null}\n");
    int64_t time_ms = e2e_expect_json(
        e2e, "in/state",
        "{\"i\":-9223372036854775808,\"r\":0.1,\"t\":\"gr\\u00fc\\u00df \\\"x\\\"\",\"b\":true,\"n\":null}");
    assert_in_range(time_ms, before_ms, ((int64_t)time(NULL) + 1) * 1000);
    client_print(fd, "{\"nested\":{\"deep\":{\"x\":1}},\"third\":0.3333333333333333}\n");
    e2e_expect_json(e2e, "in/state", "{\"nested.deep.x\":1,\"third\":0.3333333333333333}");
    /* jansson does not read what is past 63 bits: the text itself is compared. */
    client_print(fd, "{\"u\":18446744073709551615}\n");
    assert_non_null(strstr(e2e_next(e2e, "in/state")->payload, "\"u\":18446744073709551615"));
    close(fd);
}

static void raw_payload_is_the_frame_whatever_the_decoder(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_CSV "payload = \"raw\"; }", port);
    int fd = client_tcp(port);
    client_print(fd, "a, 1 \r\n\r\n\n\"b\",2\n");
    e2e_expect(e2e, "in/state", "a, 1 ");
    e2e_expect(e2e, "in/state", "\"b\",2");
    client_send(fd, "c\0\xff,3\n", 6);
    client_print(fd, "d,4\n");
    close(fd);
    const struct subscriber_message *message = e2e_next(e2e, "in/state");
    if (message->size == 3) {
        assert_string_equal(message->payload, "d,4"); /* what is not UTF-8 may be refused by a decoder */
    } else {
        assert_memory_equal(message->payload, "c\0\xff,3", 5);
    }
}

static void raw_decoder_passes_every_byte(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_PORT("in", "tcp-server",
                       "tcp_port = %u;") "framing: { type = \"length\"; header_bytes = 2; }; " E2E_RAW "}",
              port);
    uint8_t bytes[2 + 256] = { 1, 0 };
    for (unsigned i = 0; i < 256; i++) {
        bytes[2 + i] = (uint8_t)i;
    }
    int fd = client_tcp(port);
    client_send(fd, bytes, sizeof bytes);
    const struct subscriber_message *message = e2e_next(e2e, "in/state");
    assert_int_equal(message->size, 256);
    assert_memory_equal(message->payload, bytes + 2, 256);
    close(fd);
}

static void points_are_one_message_each(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_JSON "payload = \"points\"; }", port);
    int fd = client_tcp(port);
    client_print(fd, "{\"t\":21.5,\"name\":\"north\",\"ok\":false,\"n\":null,\"in\":{\"h\":40}}\n");
    e2e_expect(e2e, "in/t", "21.5");
    e2e_expect(e2e, "in/name", "north");
    e2e_expect(e2e, "in/ok", "false");
    e2e_expect(e2e, "in/n", "null");
    e2e_expect(e2e, "in/in.h", "40");
    e2e_expect_no_more(e2e, "in/state");
    close(fd);
}

static void topic_template_is_filled_from_names_and_fields(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_TCP("in") E2E_CSV
              "identity = \"key:id\"; topic = \"{base}/x/{gateway}/{port}/{device}/{key:v}\"; }",
              port);
    int fd = client_tcp(port);
    client_print(fd, "a,7\nb/+#,$x\n");
    e2e_expect_fields(e2e, "x/gw/in/a/7", "{\"v\":7}");
    e2e_expect_fields(e2e, "x/gw/in/b___/_x", "{\"v\":\"$x\"}");
    close(fd);
}

static void time_key_gives_the_devices_own_time(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_JSON "time_key = \"at\"; }", port);
    int fd = client_tcp(port);
    client_print(fd, "{\"at\":\"2024-11-23T06:00:00Z\",\"v\":1}\n");
    e2e_expect_fields(e2e, "in/state", "{\"ts\":1732341600000,\"v\":1}");
    client_print(fd, "{\"at\":1732341601,\"v\":2}\n");
    e2e_expect_fields(e2e, "in/state", "{\"ts\":1732341601000,\"v\":2}");
    client_print(fd, "{\"at\":1732341602123,\"v\":3}\n");
    e2e_expect_fields(e2e, "in/state", "{\"ts\":1732341602123,\"v\":3}");
    client_print(fd, "{\"at\":\"yesterday\",\"v\":4}\n");
    e2e_expect_fields(e2e, "in/state", "{\"v\":4}");
    e2e_wait_counter(e2e, "ports.in.rejected.bad-time", 1);
    close(fd);
}

static void identity_by_key_splits_a_port_into_devices(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_TCP("in") E2E_CSV
              "identity = \"key:id\"; devices = ( { name = \"b\"; payload = \"raw\"; } ); }",
              port);
    int fd = client_tcp(port);
    client_print(fd, "a,1\nb,2\na,3\n42,4\n,5\n");
    e2e_expect_fields(e2e, "a/state", "{\"v\":1}");
    e2e_expect(e2e, "b/state", "b,2");
    e2e_expect_fields(e2e, "a/state", "{\"v\":3}");
    e2e_expect_fields(e2e, "42/state", "{\"v\":4}");
    e2e_wait_counter(e2e, "ports.in.rejected.no-identity", 1);
    close(fd);
}

static void identity_by_peer_is_the_address(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "identity = \"peer\"; }", port);
    int near = client_tcp(port);
    int far = client_tcp_from(port, "127.0.0.9");
    client_print(near, "near\n");
    client_print(far, "far\n");
    e2e_expect(e2e, "127.0.0.1/state", "near");
    e2e_expect(e2e, "127.0.0.9/state", "far");
    close(near);
    close(far);
}

static void identity_by_port_takes_the_one_device(struct e2e *e2e)
{
    unsigned named = client_free_port();
    unsigned bare = client_free_port();
    e2e_start(e2e,
              E2E_TCP("named") E2E_RAW "devices = ( { name = \"tank\"; } ); }, " E2E_TCP("bare") E2E_RAW "}",
              named, bare);
    int fd = client_tcp(named);
    client_print(fd, "full\n");
    e2e_expect(e2e, "tank/state", "full");
    close(fd);
    fd = client_tcp(bare);
    client_print(fd, "plain\n");
    e2e_expect(e2e, "bare/state", "plain");
    close(fd);
}

static void unknown_devices_are_refused_where_they_are_not_allowed(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_TCP("in") E2E_CSV
              "identity = \"key:id\"; allow_unknown = false; devices = ( { name = \"known\"; } ); }",
              port);
    int fd = client_tcp(port);
    client_print(fd, "stranger,1\nknown,2\nother,3\nknown,4\n");
    e2e_expect_fields(e2e, "known/state", "{\"v\":2}");
    e2e_expect_fields(e2e, "known/state", "{\"v\":4}");
    e2e_expect_no_more(e2e, "stranger/state");
    e2e_wait_counter(e2e, "ports.in.rejected.unknown-device", 2);
    close(fd);
}

static void devices_past_max_devices_are_refused(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_CSV "identity = \"key:id\"; max_devices = 2; }", port);
    int fd = client_tcp(port);
    client_print(fd, "a,1\nb,2\nc,3\na,4\nd,5\nb,6\n");
    e2e_expect_fields(e2e, "a/state", "{\"v\":1}");
    e2e_expect_fields(e2e, "b/state", "{\"v\":2}");
    e2e_expect_fields(e2e, "a/state", "{\"v\":4}");
    e2e_expect_fields(e2e, "b/state", "{\"v\":6}");
    e2e_expect_no_more(e2e, "c/state");
    e2e_wait_counter(e2e, "ports.in.rejected.max-devices", 2);
    close(fd);
}

/* One device for each policy; "plain" has none and shows that what came before it has been handled. */
#define POLICY(name, report) "{ name = \"" name "\"; report: { " report " }; }"

static void report_policy_holds_back_what_does_not_matter(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_TCP("in") E2E_CSV
              "identity = \"key:id\"; payload = \"raw\"; devices = ( " POLICY("change", "on_change = true;") ", " POLICY(
                  "band",
                  "deadband = 0.5;") ", " POLICY("percent",
                                                 "deadband_percent = 10.0;") ", " POLICY("slow",
                                                                                         "min_interval = "
                                                                                         "\"1h\";") ", { "
                                                                                                    "name = "
                                                                                                    "\"plain"
                                                                                                    "\"; } "
                                                                                                    "); }",
              port);
    int fd = client_tcp(port);
    client_print(fd, "change,1\nchange,1\nchange,2\nchange,2\nchange,1\nband,20.0\nband,20.4\nband,19."
                     "6\nband,20.75\nband,20.5\npercent,100\npercent,109\npercent,91\npercent,111\npercent,"
                     "102\nslow,1\nslow,2\nslow,3\nplain,1\nplain,1\n");
    e2e_expect(e2e, "plain/state", "plain,1");
    e2e_expect(e2e, "plain/state", "plain,1");
    e2e_expect(e2e, "change/state", "change,1");
    e2e_expect(e2e, "change/state", "change,2");
    e2e_expect(e2e, "change/state", "change,1");
    e2e_expect_no_more(e2e, "change/state");
    e2e_expect(e2e, "band/state", "band,20.0");
    e2e_expect(e2e, "band/state", "band,20.75");
    e2e_expect_no_more(e2e, "band/state");
    e2e_expect(e2e, "percent/state", "percent,100");
    e2e_expect(e2e, "percent/state", "percent,111");
    e2e_expect_no_more(e2e, "percent/state");
    e2e_expect(e2e, "slow/state", "slow,1");
    e2e_expect_no_more(e2e, "slow/state");
    close(fd);
}

static void max_interval_reports_what_did_not_change(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_TCP("in") E2E_CSV "identity = \"key:id\"; payload = \"raw\"; devices = ( " POLICY(
                  "beat", "on_change = true; max_interval = \"200ms\";") " ); }",
              port);
    int fd = client_tcp(port);
    int64_t began_ms = wait_now_ms();
    client_print(fd, "beat,1\n");
    e2e_expect(e2e, "beat/state", "beat,1");
    int64_t deadline = wait_deadline(10000);
    const struct subscriber_message *again = NULL;
    while (!again && !wait_over(deadline)) {
        client_print(fd, "beat,1\n");
        again = subscriber_take(&e2e->subscriber, E2E_BASE "/beat/state", 10);
    }
    assert_non_null(again);
    assert_true(wait_now_ms() - began_ms >= 190);
    close(fd);
}

static void min_interval_lets_the_next_pass_when_it_is_over(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_TCP("in") E2E_CSV "identity = \"key:id\"; payload = \"raw\"; devices = ( " POLICY(
                  "slow", "min_interval = \"200ms\";") " ); }",
              port);
    int fd = client_tcp(port);
    int64_t began_ms = wait_now_ms();
    client_print(fd, "slow,0\n");
    e2e_expect(e2e, "slow/state", "slow,0");
    int64_t deadline = wait_deadline(10000);
    const struct subscriber_message *next = NULL;
    for (unsigned i = 1; !next && !wait_over(deadline); i++) {
        client_print(fd, "slow,%u\n", i);
        next = subscriber_take(&e2e->subscriber, E2E_BASE "/slow/state", 10);
    }
    assert_non_null(next);
    assert_true(wait_now_ms() - began_ms >= 190);
    close(fd);
}

static void a_point_has_a_policy_of_its_own(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_TCP("in") E2E_JSON
              "payload = \"points\"; report: { on_change = true; }; points = ( { name = \"t\"; "
              "report: { deadband = 1.0; }; } ); }",
              port);
    int fd = client_tcp(port);
    client_print(fd,
                 "{\"t\":20.0,\"n\":1}\n{\"t\":20.5,\"n\":1}\n{\"t\":20.9,\"n\":2}\n{\"t\":21.5,\"n\":2}\n"
                 "{\"t\":21.5,\"n\":3}\n");
    e2e_expect(e2e, "in/n", "1");
    e2e_expect(e2e, "in/n", "2");
    e2e_expect(e2e, "in/n", "3");
    e2e_expect_no_more(e2e, "in/n");
    assert_float_equal(strtof(e2e_next(e2e, "in/t")->payload, NULL), 20.0F, 0.0F);
    assert_float_equal(strtof(e2e_next(e2e, "in/t")->payload, NULL), 21.5F, 0.0F);
    e2e_expect_no_more(e2e, "in/t");
    close(fd);
}

static void order_is_kept_with_one_in_flight_and_with_linger(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->mqtt_more = "max_inflight = 1; linger = \"20ms\";";
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", port);
    int fd = client_tcp(port);
    for (unsigned i = 0; i < 200; i++) {
        client_print(fd, "%u\n", i);
    }
    for (unsigned i = 0; i < 200; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%u", i);
        e2e_expect(e2e, "in/state", payload);
    }
    close(fd);
}

static void qos_and_retain_are_the_devices_own(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_TCP("in") E2E_CSV
              "identity = \"key:id\"; devices = ( { name = \"zero\"; qos = 0; }, { name = \"one\"; }, { name "
              "= \"kept\"; retain = true; }, { name = \"two\"; qos = 2; } ); }",
              port);
    int fd = client_tcp(port);
    client_print(fd, "zero,1\none,1\nkept,1\ntwo,1\n");
    assert_int_equal(e2e_next(e2e, "zero/state")->qos, 0);
    assert_int_equal(e2e_next(e2e, "one/state")->qos, 1);
    e2e_next(e2e, "kept/state");
    assert_int_equal(e2e_next(e2e, "two/state")->qos, 1); /* the subscription's most */
    close(fd);
    struct subscriber late;
    subscriber_open(&late, e2e->broker.port, "late", false, E2E_BASE "/+/state", 0);
    const struct subscriber_message *kept = subscriber_take(&late, E2E_BASE "/kept/state", 5000);
    assert_true(kept && kept->retained);
    assert_int_equal(late.count, 1);
    subscriber_close(&late);
}

static void mqtt_311_carries_readings_as_well(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->mqtt_more = "protocol = \"3.1.1\";";
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "devices = ( { name = \"in\"; qos = 2; } ); }", port);
    int fd = client_tcp(port);
    client_print(fd, "one\ntwo\n");
    e2e_expect(e2e, "in/state", "one");
    e2e_expect(e2e, "in/state", "two");
    close(fd);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(json_carries_time_and_every_value_unchanged),
        E2E_TEST(raw_payload_is_the_frame_whatever_the_decoder),
        E2E_TEST(raw_decoder_passes_every_byte),
        E2E_TEST(points_are_one_message_each),
        E2E_TEST(topic_template_is_filled_from_names_and_fields),
        E2E_TEST(time_key_gives_the_devices_own_time),
        E2E_TEST(identity_by_key_splits_a_port_into_devices),
        E2E_TEST(identity_by_peer_is_the_address),
        E2E_TEST(identity_by_port_takes_the_one_device),
        E2E_TEST(unknown_devices_are_refused_where_they_are_not_allowed),
        E2E_TEST(devices_past_max_devices_are_refused),
        E2E_TEST(report_policy_holds_back_what_does_not_matter),
        E2E_TEST(max_interval_reports_what_did_not_change),
        E2E_TEST(min_interval_lets_the_next_pass_when_it_is_over),
        E2E_TEST(a_point_has_a_policy_of_its_own),
        E2E_TEST(order_is_kept_with_one_in_flight_and_with_linger),
        E2E_TEST(qos_and_retain_are_the_devices_own),
        E2E_TEST(mqtt_311_carries_readings_as_well),
    };
    return e2e_main("e2e_messages", tests, sizeof tests / sizeof tests[0]);
}
