/* SIGHUP: what changed in the configuration changes in the running gateway, and nothing else does. */
#include "support/arrivals.h"
#include "support/client.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECTIONS 10

static void other_ports_come_and_go_and_an_unchanged_one_loses_nothing(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned others[] = { client_free_port(), client_free_port() };
    unsigned lines = wait_load(2000);
    e2e_start_under_load(e2e, &arrivals, port, CONNECTIONS, lines, wait_load(5000));
    for (unsigned i = 0; i < 6; i++) {
        arrivals_wait(&arrivals, &e2e->subscriber, lines * CONNECTIONS / 10 * (i + 1), 30000);
        e2e_reload(e2e, E2E_TCP("in") E2E_LOAD "}, " E2E_TCP("%s") E2E_RAW "stale_after = \"%us\"; }", port,
                   i % 3 == 2 ? "third" : "other", others[i % 2], i + 1);
    }
    arrivals_wait(&arrivals, &e2e->subscriber, lines * CONNECTIONS, 30000);
    assert_int_equal(load_join(&e2e->load), 0); /* no connection was broken */
    assert_int_equal(arrivals.again + arrivals.missing + arrivals.foreign, 0);
    e2e_wait_counter(e2e, "ports.in.received", lines * CONNECTIONS); /* counted on */
}

static void reading_that_waits_for_room_is_not_lost_with_its_port(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->queue_bytes = "16KiB";
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_broker_freeze(&e2e->broker);
    e2e->load = (struct load){
        .port = port, .connections = CONNECTIONS, .lines = 1000000, .send_buffer = 4096, .line = load_line_60
    };
    load_start(&e2e->load);
    load_wait_stalled(&e2e->load);
    e2e_reload(e2e, E2E_TCP("in") E2E_LOAD "stale_after = \"1h\"; }", port);
    load_stop(&e2e->load);
    load_join(&e2e->load);
    e2e_broker_thaw(&e2e->broker);
    json_t *stats = e2e_next_stats(e2e);
    while (e2e_counter(stats, "queued") > 0) { /* each look waits for the next, up to a deadline */
        json_decref(stats);
        stats = e2e_next_stats(e2e);
    }
    assert_int_equal(e2e_counter(stats, "lost.queue-full"), 0);
    json_decref(stats);
    e2e_expect_no_more(e2e, "loss");
}

static void changed_serial_port_opens_again(struct e2e *e2e)
{
    const struct pty *pty = e2e_plug_pty(e2e, "tty");
    e2e_start(e2e, E2E_SERIAL("in") E2E_RAW "}", pty->link);
    e2e_wait_open(e2e, "in", 1);
    pty_write(pty, "one\n", 4);
    e2e_expect(e2e, "in/state", "one");
    e2e_reload(e2e, E2E_PORT("in", "serial", "path = \"%s\"; baud = 9600;") E2E_LINE E2E_RAW "}", pty->link);
    e2e_wait_open(e2e, "in", 2);
    assert_true(daemon_log_has(&e2e->daemon, "9600"));
    pty_write(pty, "two\n", 4);
    e2e_expect(e2e, "in/state", "two");
}

static void port_with_another_name_takes_over_the_address(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("old") E2E_RAW "devices = ( { name = \"it\"; } ); }", port);
    int fd = client_tcp(port);
    client_print(fd, "one\n");
    e2e_expect(e2e, "it/state", "one");
    e2e_wait_status(e2e, "it/status", "online");
    e2e_reload(e2e, E2E_TCP("new") E2E_RAW "devices = ( { name = \"it\"; } ); }", port);
    assert_true(client_wait_closed(fd, 5000));
    close(fd);
    assert_int_equal(e2e_count_log(e2e, "trying again"), 0); /* the address was free */
    fd = client_tcp(port);
    client_print(fd, "two\n");
    e2e_expect(e2e, "it/state", "two");
    e2e_wait_status(e2e, "it/status", "online");
    e2e_expect_retained(e2e, E2E_BASE "/it/status",
                        "online"); /* what is left of the old port says nothing more */
    close(fd);
}

static void device_of_a_port_that_is_gone_is_offline(struct e2e *e2e)
{
    unsigned ports[] = { client_free_port(), client_free_port() };
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}, " E2E_TCP("out") E2E_RAW "}", ports[0], ports[1]);
    int fd = client_tcp(ports[1]);
    client_print(fd, "one\n");
    e2e_expect(e2e, "out/state", "one");
    e2e_wait_status(e2e, "out/status", "online");
    e2e_reload(e2e, E2E_TCP("in") E2E_RAW "}", ports[0]);
    e2e_wait_status(e2e, "out/status", "offline");
    assert_true(client_wait_closed(fd, 5000));
    assert_true(client_try_tcp(ports[1]) < 0);
    json_t *stats = e2e_next_stats(e2e);
    while (json_object_get(json_object_get(stats, "ports"), "out")) {
        json_decref(stats);
        stats = e2e_next_stats(e2e);
    }
    json_decref(stats);
    close(fd);
}

static void broken_file_changes_nothing_and_says_why(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", port);
    int fd = client_tcp(port);
    e2e_rewrite(e2e, E2E_TCP("in") E2E_RAW "stale_after = 5; bogus = 1; }", port);
    daemon_signal(&e2e->daemon, SIGHUP);
    e2e_wait_log(e2e, "reload: the configuration stays as it was", 1);
    assert_true(daemon_log_has(&e2e->daemon, "fieldgate.cfg:"));
    assert_true(daemon_log_has(&e2e->daemon, "ports[0].stale_after: 5 has no unit"));
    assert_true(daemon_log_has(&e2e->daemon, "ports[0].bogus: is not known"));
    client_print(fd, "one\n");
    e2e_expect(e2e, "in/state", "one");
    assert_int_equal(unlink(e2e->daemon.config), 0);
    daemon_signal(&e2e->daemon, SIGHUP);
    e2e_wait_log(e2e, "reload: the configuration stays as it was", 2);
    e2e->mqtt_more = "username = \"u\"; password_file = \"/nowhere/password\";";
    e2e_rewrite(e2e, E2E_TCP("in") E2E_RAW "}, " E2E_TCP("new") E2E_RAW "}", port, client_free_port());
    daemon_signal(&e2e->daemon, SIGHUP);
    e2e_wait_log(e2e, "reload: the configuration stays as it was", 3);
    assert_true(daemon_log_has(&e2e->daemon, "/nowhere/password"));
    assert_false(daemon_log_has(&e2e->daemon, "port new"));
    client_print(fd, "two\n");
    e2e_expect(e2e, "in/state", "two");
    close(fd);
}

static void what_needs_a_restart_is_named_and_the_rest_is_applied(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", port);
    e2e->spool = "outage";
    e2e->gateway_more = "workers = 3; log_level = \"debug\";";
    for (unsigned times = 1; times <= 2; times++) { /* each time until it is restarted */
        e2e_reload(e2e, E2E_TCP("in") E2E_RAW "qos = 0; }", port);
        e2e_wait_log(e2e, "these changes need a restart: gateway.workers, spool\n", times);
    }
    assert_int_equal(e2e_count_log(e2e, "1 changed, 0 as they were"), 1);
    assert_int_equal(e2e_count_log(e2e, "0 changed, 1 as they were"), 1);
    int fd = client_tcp(port);
    client_print(fd, "one\n");
    assert_int_equal(e2e_next(e2e, "in/state")->qos, 0);
    assert_true(daemon_wait_log(&e2e->daemon, "<7>", 5000)); /* at level debug now */
    close(fd);
}

static void what_a_port_inherits_changes_the_port(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", port);
    e2e->mqtt_more = "qos = 0;";
    e2e_reload(e2e, E2E_TCP("in") E2E_RAW "}", port);
    assert_int_equal(e2e_count_log(e2e, "1 changed, 0 as they were"), 1);
    assert_int_equal(e2e_count_log(e2e, ": connected, "), 1);
    int fd = client_tcp(port);
    client_print(fd, "one\n");
    assert_int_equal(e2e_next(e2e, "in/state")->qos, 0);
    close(fd);
}

static void statistics_come_as_often_as_the_new_file_says(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->stats_interval = "0s";
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", port);
    e2e->stats_interval = "50ms";
    e2e_reload(e2e, E2E_TCP("in") E2E_RAW "}", port);
    json_decref(e2e_next_stats(e2e));
    json_decref(e2e_next_stats(e2e));
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(other_ports_come_and_go_and_an_unchanged_one_loses_nothing),
        E2E_TEST(reading_that_waits_for_room_is_not_lost_with_its_port),
        E2E_TEST(changed_serial_port_opens_again),
        E2E_TEST(port_with_another_name_takes_over_the_address),
        E2E_TEST(device_of_a_port_that_is_gone_is_offline),
        E2E_TEST(broken_file_changes_nothing_and_says_why),
        E2E_TEST(what_needs_a_restart_is_named_and_the_rest_is_applied),
        E2E_TEST(what_a_port_inherits_changes_the_port),
        E2E_TEST(statistics_come_as_often_as_the_new_file_says),
    };
    return e2e_main("e2e_reload", tests, sizeof tests / sizeof tests[0]);
}
