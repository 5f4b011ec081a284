/* What the gateway tells of itself and its devices: status, Will, statistics. */
#include "support/client.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* The device sends a reading and so is online. */
static void say_something(struct e2e *e2e, const struct pty *pty, unsigned opened)
{
    e2e_wait_open(e2e, "in", opened);
    pty_write(pty, "hello\n", 6);
    e2e_expect(e2e, "in/state", "hello");
    e2e_wait_status(e2e, "in/status", "online");
}

static void gateway_status_is_retained_and_ends_offline_at_a_clean_stop(struct e2e *e2e)
{
    const struct pty *pty = e2e_plug_pty(e2e, "tty");
    e2e_start(e2e, E2E_SERIAL("in") E2E_RAW "}", pty->link);
    say_something(e2e, pty, 1);
    e2e_expect_retained(e2e, E2E_BASE "/status", "online");
    e2e_expect_retained(e2e, E2E_BASE "/in/status", "online");
    assert_int_equal(daemon_stop(&e2e->daemon, 5000), 0);
    e2e_wait_status(e2e, "in/status", "offline");
    e2e_wait_status(e2e, "status", "offline");
    e2e_expect_retained(e2e, E2E_BASE "/status", "offline");
    e2e_expect_retained(e2e, E2E_BASE "/in/status", "offline");
}

static void will_says_offline_when_the_gateway_is_killed(struct e2e *e2e)
{
    const char *const protocols[] = { "protocol = \"5\";", "protocol = \"3.1.1\";" };
    e2e_start_broker(e2e);
    e2e_subscribe(e2e);
    for (size_t i = 0; i < 2; i++) {
        e2e->mqtt_more = protocols[i];
        e2e_start_daemon(e2e, E2E_TCP("in") E2E_RAW "}", client_free_port());
        e2e_wait_status(e2e, "status", "online");
        daemon_kill(&e2e->daemon);
        e2e_wait_status(e2e, "status", "offline");
        e2e_expect_retained(e2e, E2E_BASE "/status", "offline");
    }
}

static void serial_device_is_offline_while_it_is_unplugged(struct e2e *e2e)
{
    struct pty *pty = e2e_plug_pty(e2e, "tty");
    e2e_start(e2e, E2E_SERIAL("in") E2E_RAW "}", pty->link);
    say_something(e2e, pty, 1);
    pty_unplug(pty);
    e2e_wait_status(e2e, "in/status", "offline");
    assert_false(daemon_has_open(&e2e->daemon, pty->slave));
    uint64_t cpu_ms = daemon_cpu_ms(&e2e->daemon);
    pty_plug(pty);
    say_something(e2e, pty, 2);
    assert_in_range(daemon_cpu_ms(&e2e->daemon) - cpu_ms, 0, 500); /* no loop on the hang-up */
}

static void silent_device_is_online_while_its_line_is_up(struct e2e *e2e)
{
    struct pty *pty = e2e_plug_pty(e2e, "tty");
    e2e_start(e2e, E2E_SERIAL("in") E2E_RAW "}", pty->link);
    e2e_wait_status(e2e, "in/status", "online");
    pty_unplug(pty);
    e2e_wait_status(e2e, "in/status", "offline");
    pty_plug(pty);
    e2e_wait_status(e2e, "in/status", "online");
}

static void device_with_two_links_is_offline_when_both_are_down(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", port);
    int first = client_tcp(port);
    int second = client_tcp(port);
    client_print(first, "one\n");
    e2e_expect(e2e, "in/state", "one");
    client_print(second, "two\n");
    e2e_expect(e2e, "in/state", "two");
    e2e_wait_status(e2e, "in/status", "online");
    close(second);
    uint64_t links = 2;
    while (links != 1) { /* bounded: each look waits for the next statistics, up to a deadline */
        json_t *stats = e2e_next_stats(e2e);
        links = (uint64_t)e2e_counter(stats, "ports.in.links");
        json_decref(stats);
    }
    e2e_expect_retained(e2e, E2E_BASE "/in/status", "online");
    close(first);
    e2e_wait_status(e2e, "in/status", "offline");
}

static void device_is_offline_when_nothing_comes_for_stale_after(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_UDP("in") E2E_RAW "stale_after = \"300ms\"; }", port);
    int fd = client_udp(port);
    client_print(fd, "one");
    e2e_expect(e2e, "in/state", "one");
    e2e_wait_status(e2e, "in/status", "online");
    int64_t began_ms = wait_now_ms();
    e2e_wait_status(e2e, "in/status", "offline");
    assert_true(wait_now_ms() - began_ms >= 100);
    client_print(fd, "two");
    e2e_wait_status(e2e, "in/status", "online");
    close(fd);
}

static void everything_is_told_again_to_a_broker_that_forgot(struct e2e *e2e)
{
    const struct pty *pty = e2e_plug_pty(e2e, "tty");
    e2e_start(e2e, E2E_SERIAL("in") E2E_RAW "}", pty->link);
    say_something(e2e, pty, 1);
    e2e_wait_counter(e2e, "acknowledged", 1); /* else it is sent again */
    e2e_broker_kill(&e2e->broker);
    subscriber_close(&e2e->subscriber);
    e2e_start_broker_unseen(e2e);
    e2e_wait_status(e2e, "status", "online");
    e2e_wait_status(e2e, "in/status", "online");
    pty_write(pty, "still\n", 6);
    e2e_expect(e2e, "in/state", "still");
    e2e_wait_counter(e2e, "reconnects", 1);
}

static void statistics_have_every_counter(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_JSON "identity = \"key:id\"; }", port);
    int fd = client_tcp(port);
    client_print(fd, "{\"id\":\"a\"}\n{\"id\":\"b\"}\nnonsense\n{\"id\":\"a\"}\n");
    e2e_wait_counter(e2e, "acknowledged", 3);
    json_t *stats = e2e_next_stats(e2e);
    const char *const numbers[] = { "uptime_s", "received", "published",  "acknowledged",
                                    "queued",   "spooled",  "reconnects", "disk_bytes" };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (!json_is_number(json_object_get(stats, numbers[i]))) {
            fail_msg("%s is no number in the statistics", numbers[i]);
        }
    }
    assert_true(json_is_object(json_object_get(stats, "rejected")));
    assert_true(json_is_object(json_object_get(stats, "lost")));
    assert_int_equal(e2e_counter(stats, "received"), 4);
    assert_int_equal(e2e_counter(stats, "rejected.malformed"), 1);
    assert_int_equal(e2e_counter(stats, "published"), 3);
    assert_int_equal(e2e_counter(stats, "queued"), 0);
    assert_int_equal(e2e_counter(stats, "ports.in.received"), 4);
    assert_int_equal(e2e_counter(stats, "ports.in.rejected.malformed"), 1);
    assert_int_equal(e2e_counter(stats, "ports.in.acknowledged"), 3);
    assert_int_equal(e2e_counter(stats, "devices.a.received"), 2);
    assert_int_equal(e2e_counter(stats, "devices.a.acknowledged"), 2);
    assert_int_equal(e2e_counter(stats, "devices.b.acknowledged"), 1);
    json_decref(stats);
    close(fd);
}

static void devices_whose_names_become_one_are_counted_as_one(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_CSV "identity = \"key:id\"; }", port);
    int fd = client_tcp(port);
    client_print(fd, "a/b,1\na+b,2\na#b,3\n");
    e2e_wait_counter(e2e, "devices.a_b.received", 3); /* and the object has the key once */
    close(fd);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(gateway_status_is_retained_and_ends_offline_at_a_clean_stop),
        E2E_TEST(will_says_offline_when_the_gateway_is_killed),
        E2E_TEST(serial_device_is_offline_while_it_is_unplugged),
        E2E_TEST(silent_device_is_online_while_its_line_is_up),
        E2E_TEST(device_with_two_links_is_offline_when_both_are_down),
        E2E_TEST(device_is_offline_when_nothing_comes_for_stale_after),
        E2E_TEST(everything_is_told_again_to_a_broker_that_forgot),
        E2E_TEST(statistics_have_every_counter),
        E2E_TEST(devices_whose_names_become_one_are_counted_as_one),
    };
    return e2e_main("e2e_status", tests, sizeof tests / sizeof tests[0]);
}
