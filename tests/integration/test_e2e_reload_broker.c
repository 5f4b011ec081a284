/* SIGHUP with other settings of the broker: the connection is another, and nothing is lost. */
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

/* Each change comes with what the broker's settings are to keep. */
static void change_broker_under_load(struct e2e *e2e, const char *kept)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned lines = wait_load(1000);
    static const char *const others[] = { "keepalive = \"50s\";", "max_inflight = 20;", "linger = \"1ms\";",
                                          "max_inflight = 300; client_id = \"another\";" };
    char more[200];
    e2e->mqtt_more = kept;
    e2e_start_under_load(e2e, &arrivals, port, CONNECTIONS, lines, wait_load(8000));
    for (unsigned i = 0; i < 4; i++) {
        arrivals_wait(&arrivals, &e2e->subscriber, lines * CONNECTIONS / 10 * (2 * i + 1), 30000);
        snprintf(more, sizeof more, "%s %s", kept, others[i]);
        e2e->mqtt_more = more;
        e2e_reload(e2e, E2E_TCP("in") E2E_LOAD "}", port);
        e2e_wait_log(e2e, ": connected, ", i + 2);
    }
    arrivals_wait(&arrivals, &e2e->subscriber, lines * CONNECTIONS, 30000);
    assert_int_equal(load_join(&e2e->load), 0);
    assert_int_equal(arrivals.missing + arrivals.foreign, 0);
    e2e_wait_counter(e2e, "ports.in.received", lines * CONNECTIONS);
    e2e_wait_online(e2e);
}

static void broker_settings_change_under_load_and_nothing_is_lost(struct e2e *e2e)
{
    change_broker_under_load(e2e, "");
}

static void broker_settings_change_with_qos_2_and_nothing_is_lost(struct e2e *e2e)
{
    change_broker_under_load(e2e, "qos = 2;");
}

static void broker_settings_change_with_a_spool_and_nothing_is_lost(struct e2e *e2e)
{
    e2e->spool = "outage";
    change_broker_under_load(e2e, "");
}

static void broker_settings_change_with_all_on_disk_and_nothing_is_lost(struct e2e *e2e)
{
    e2e->spool = "always";
    change_broker_under_load(e2e, "");
}

/* It takes what it is sent and says nothing: what it was handed is handed over again. */
static void what_a_silent_broker_was_handed_is_handed_over_again(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->mqtt_more = "qos = 2;";
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", port);
    int fd = client_tcp(port);
    client_print(fd, "0\n");
    e2e_expect(e2e, "in/state", "0");
    e2e_broker_freeze(&e2e->broker);
    for (unsigned i = 1; i <= 150; i++) { /* more than may be in flight */
        client_print(fd, "%u\n", i);
    }
    e2e->mqtt_more = "qos = 2; keepalive = \"50s\";";
    e2e_reload(e2e, E2E_TCP("in") E2E_RAW "}", port);
    assert_true(daemon_log_has(&e2e->daemon, ": left, for other settings"));
    client_print(fd, "151\n");
    e2e_broker_thaw(&e2e->broker);
    bool came[152] = { true };
    for (unsigned count = 1; count < 152;) {
        unsigned number = (unsigned)strtoul(e2e_next(e2e, "in/state")->payload, NULL, 10);
        assert_in_range(number, 0, 151);
        assert_true(came[number] || number == count); /* in order, but for those that come again */
        count += !came[number];
        came[number] = true;
    }
    close(fd);
}

static void a_stop_does_not_wait_for_a_broker_that_is_being_left(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->shutdown_timeout = "500ms";
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", port);
    int fd = client_tcp(port);
    client_print(fd, "one\n");
    e2e_expect(e2e, "in/state", "one");
    e2e_broker_freeze(&e2e->broker);
    client_print(fd, "two\n");
    e2e->mqtt_more = "keepalive = \"50s\";";
    e2e_rewrite(e2e, E2E_TCP("in") E2E_RAW "}, " E2E_TCP("new") E2E_RAW "}", port, client_free_port());
    daemon_signal(&e2e->daemon, SIGHUP);
    assert_true(daemon_wait_log(&e2e->daemon, "port new: listening", 5000)); /* now it waits for the broker */
    assert_int_equal(daemon_stop(&e2e->daemon, 3000), 0);
    assert_false(daemon_log_has(&e2e->daemon, ": left, for other settings"));
    e2e_broker_thaw(&e2e->broker);
    close(fd);
}

static void move_to_new_broker(struct e2e *e2e)
{
    unsigned port = client_free_port();
    char folder[TEMPDIR_PATH + 8];
    snprintf(folder, sizeof folder, "%s/new", e2e->folder);
    assert_int_equal(mkdir(folder, 0755), 0);
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_RAW "}", port);
    int fd = client_tcp(port);
    client_print(fd, "one\ntwo\n");
    assert_true(daemon_wait_log(&e2e->daemon, "trying again", 10000));
    e2e_broker_init(&e2e->broker, folder); /* elsewhere */
    e2e_start_broker(e2e);
    e2e_subscribe(e2e);
    e2e_reload(e2e, E2E_TCP("in") E2E_RAW "}", port);
    e2e_expect(e2e, "in/state", "one");
    e2e_expect(e2e, "in/state", "two");
    client_print(fd, "three\n");
    e2e_expect(e2e, "in/state", "three");
    close(fd);
}

static void readings_that_wait_go_to_the_new_broker(struct e2e *e2e)
{
    move_to_new_broker(e2e);
}

static void readings_on_disk_go_to_the_new_broker(struct e2e *e2e)
{
    e2e->spool = "always";
    move_to_new_broker(e2e);
}

static void another_base_topic_is_taken_and_the_old_one_is_left_offline(struct e2e *e2e)
{
    unsigned port = client_free_port();
    struct subscriber both;
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", port);
    int fd = client_tcp(port);
    client_print(fd, "before\n");
    e2e_expect(e2e, "in/state", "before");
    e2e_wait_status(e2e, "in/status", "online");
    e2e->mqtt_more = "base_topic = \"house/{gateway}\";";
    e2e_reload(e2e, E2E_TCP("in") E2E_RAW "}", port);
    assert_true(client_wait_closed(fd, 5000));
    close(fd);
    e2e_wait_status(e2e, "in/status", "offline");
    e2e_wait_status(e2e, "status", "offline");
    subscriber_open(&both, e2e->broker.port, "both", false, "house/#", 1);
    fd = client_tcp(port);
    client_print(fd, "after\n");
    const struct subscriber_message *message = subscriber_take(&both, "house/gw/in/state", 10000);
    assert_non_null(message);
    assert_string_equal(message->payload, "after");
    subscriber_close(&both);
    e2e_expect_retained(e2e, "house/gw/status", "online");
    e2e_expect_retained(e2e, "house/gw/in/status", "online");
    e2e_expect_retained(e2e, E2E_BASE "/in/status", "offline");
    close(fd);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(broker_settings_change_under_load_and_nothing_is_lost),
        E2E_TEST(broker_settings_change_with_qos_2_and_nothing_is_lost),
        E2E_TEST(broker_settings_change_with_a_spool_and_nothing_is_lost),
        E2E_TEST(broker_settings_change_with_all_on_disk_and_nothing_is_lost),
        E2E_TEST(what_a_silent_broker_was_handed_is_handed_over_again),
        E2E_TEST(a_stop_does_not_wait_for_a_broker_that_is_being_left),
        E2E_TEST(readings_that_wait_go_to_the_new_broker),
        E2E_TEST(readings_on_disk_go_to_the_new_broker),
        E2E_TEST(another_base_topic_is_taken_and_the_old_one_is_left_offline),
    };
    return e2e_main("e2e_reload_broker", tests, sizeof tests / sizeof tests[0]);
}
