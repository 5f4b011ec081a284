/*
 * Meters that are asked by the gateway, over a serial line and over TCP: what the broker's subscribers see.
 */
#include "support/client.h"
#include "support/e2e.h"
#include "support/meter.h"
#include "support/modbus.h"
#include "support/wait.h"

#include "fieldgate/clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POINTS                                                                                               \
    "points = ( { name = \"power\"; table = \"input\"; address = 12; type = \"uint32\"; unit = \"W\"; },"    \
    " { name = \"relay\"; table = \"coil\"; address = 3; type = \"bool\"; report: { on_change = true; }; } " \
    ");"
#define RTU                                                                                                  \
    "{ name = \"rs485\"; transport: { type = \"serial\"; path = \"%s\"; baud = 115200; }; protocol: { type " \
    "= \"modbus-rtu\"; }; timeout = \"100ms\"; "
#define TCP                                                                                                  \
    "{ name = \"inverter\"; transport: { type = \"tcp-client\"; address = \"127.0.0.1:%u\"; }; protocol: { " \
    "type = \"modbus-tcp\"; }; timeout = \"500ms\"; "

/* The power that a device measured: never older than before. */
static void expect_power(struct e2e *e2e, const char *topic, unsigned unit, uint32_t *number)
{
    const struct subscriber_message *message = e2e_next(e2e, topic);
    json_t *object = json_loads(message->payload, 0, NULL);
    assert_non_null(object);
    uint32_t power = (uint32_t)json_integer_value(json_object_get(object, "power"));
    assert_int_equal(power >> 28, unit);
    assert_int_equal(power >> 20 & 0xFF, 12);
    assert_true((power & 0xFFFFF) > *number);
    *number = power & 0xFFFFF;
    assert_int_equal(json_is_true(json_object_get(object, "relay")), fg_test_discrete(3));
    assert_true(json_integer_value(json_object_get(object, "ts")) > 1600000000000);
    json_decref(object);
}

static void expect_counters(struct e2e *e2e)
{
    bool good = false;
    for (int64_t deadline = wait_deadline(10000); !good;) {
        assert_false(wait_over(deadline));
        json_t *stats = e2e_next_stats(e2e); /* the first ones are from before */
        uint64_t polls = e2e_counter(stats, "devices.m1.polls");
        good = e2e_counter(stats, "devices.m1.timeouts") > 0 && e2e_counter(stats, "devices.m2.missed") > 0 &&
               polls > 5 && e2e_counter(stats, "ports.rs485.polls") > polls;
        json_decref(stats);
    }
}

static void meters_on_a_serial_line_are_published_and_are_offline_while_they_are_dead(struct e2e *e2e)
{
    struct pty *pty = e2e_plug_pty(e2e, "tty");
    struct meter meter = { .fd = pty->master, .mode = FG_MODBUS_RTU, .listener = -1, .random = 7 };
    uint32_t first = 0, second = 0;
    atomic_store(&meter.dead, 1U << 2);
    meter_start(&meter);
    e2e_start(e2e,
              RTU "poll_interval = \"50ms\"; " POINTS
                  "devices = ( { name = \"m1\"; unit = 1; }, { name = \"m2\"; unit = 2; } ); }",
              pty->link);
    expect_power(e2e, "m1/state", 1, &first);
    e2e_wait_status(e2e, "m1/status", "online");
    e2e_wait_status(e2e, "m2/status", "offline");
    e2e_expect_no_more(e2e, "m2/state");
    atomic_store(&meter.dead, 1U << 1);
    expect_power(e2e, "m2/state", 2, &second);
    e2e_wait_status(e2e, "m2/status", "online");
    e2e_wait_status(e2e, "m1/status", "offline");
    atomic_store(&meter.dead, 0);
    e2e_wait_status(e2e, "m1/status", "online");
    for (int i = 0; i < 5; i++) {
        expect_power(e2e, "m2/state", 2, &second);
    }
    assert_true(daemon_log_has(&e2e->daemon, "port rs485: 2 devices, "));
    assert_true(daemon_log_has(&e2e->daemon, "device m1: offline: it does not answer"));
    expect_counters(e2e);
    assert_int_equal(daemon_stop(&e2e->daemon, 10000), 0);
    e2e_wait_status(e2e, "m1/status", "offline");
    meter_stop(&meter);
}

static void a_modbus_tcp_device_is_published_point_by_point(struct e2e *e2e)
{
    struct meter meter = { .mode = FG_MODBUS_TCP, .random = 7 };
    unsigned port = 0;
    meter.listener = client_listen(&port);
    e2e_start(e2e, TCP "poll_interval = \"50ms\"; payload = \"points\"; unit = 5; " POINTS "}", port);
    meter.fd = client_accept(meter.listener);
    meter_start(&meter);
    e2e_wait_status(e2e, "inverter/status", "online");
    for (int i = 0; i < 5; i++) {
        uint32_t power = (uint32_t)strtoul(e2e_next(e2e, "inverter/power")->payload, NULL, 10);
        assert_int_equal(power >> 20, 5 << 8 | 12);
    }
    e2e_expect(e2e, "inverter/relay", fg_test_discrete(3) ? "true" : "false");
    e2e_expect_no_more(e2e, "inverter/relay"); /* it did not change */
    daemon_kill(&e2e->daemon);
    meter_stop(&meter);
    close(meter.fd);
    close(meter.listener);
}

static void faults_of_a_meter_bring_no_wrong_value_to_the_broker(struct e2e *e2e)
{
    struct pty *pty = e2e_plug_pty(e2e, "tty");
    struct meter meter = { .fd = pty->master,
                           .mode = FG_MODBUS_RTU,
                           .listener = -1,
                           .random = 20261123,
                           .timeout_ns = 100 * FG_NS_PER_MS };
    uint32_t number = 0;
    atomic_store(&meter.percent, 30);
    atomic_store(&meter.faults,
                 UINT32_MAX & ~(1U << METER_EXCEPTION_1 | 1U << METER_EXCEPTION_4 | 1U << METER_EXCEPTION_6));
    meter_start(&meter);
    e2e_start(e2e, RTU "poll_interval = \"10ms\"; retries = 5; unit = 1; " POINTS "}", pty->link);
    int64_t deadline = wait_deadline(30000);
    while (number < 60) {
        assert_false(wait_over(deadline));
        const struct subscriber_message *message = e2e_next(e2e, "rs485/state");
        json_t *object = json_loads(message->payload, 0, NULL);
        const json_t *power = json_object_get(object, "power");
        if (power) { /* its round was not cut short */
            uint32_t value = (uint32_t)json_integer_value(power);
            assert_int_equal(value >> 20, 1 << 8 | 12);
            assert_true((value & 0xFFFFF) > number);
            number = value & 0xFFFFF;
        }
        json_decref(object);
    }
    assert_int_equal(daemon_stop(&e2e->daemon, 10000), 0);
    meter_stop(&meter);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(meters_on_a_serial_line_are_published_and_are_offline_while_they_are_dead),
        E2E_TEST(a_modbus_tcp_device_is_published_point_by_point),
        E2E_TEST(faults_of_a_meter_bring_no_wrong_value_to_the_broker),
    };
    return e2e_main("e2e_modbus", tests, sizeof tests / sizeof tests[0]);
}
