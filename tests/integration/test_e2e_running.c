/* Starting, signals and stopping: with and without a broker, with devices that are not there. */
#include "support/arrivals.h"
#include "support/client.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTIONS 5

static bool is_read(void *context)
{
    return client_tcp_unread(*(unsigned *)context) == 0;
}

/* Sends readings until the daemon has taken them all from the kernel. */
static void fill_queue(struct e2e *e2e, unsigned port, unsigned total)
{
    e2e->load = (struct load){
        .port = port, .connections = CONNECTIONS, .lines = total / CONNECTIONS, .line = load_line_60
    };
    load_start(&e2e->load);
    assert_int_equal(load_join(&e2e->load), 0);
    assert_true(wait_until(is_read, &port, 10000));
}

static bool refuses(void *context)
{
    int fd = client_try_tcp(*(unsigned *)context);
    if (fd >= 0) {
        close(fd);
    }
    return fd < 0;
}

static void stop_publishes_what_is_queued(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned total = 5000;
    e2e->stats_interval = "0s";
    e2e->shutdown_timeout = "20s";
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    arrivals_watch(&arrivals, &e2e->subscriber);
    e2e_broker_freeze(&e2e->broker); /* so that they are still queued when the stop comes */
    fill_queue(e2e, port, total);
    daemon_signal(&e2e->daemon, SIGTERM);
    assert_true(wait_until(refuses, &port, 5000)); /* no new input */
    e2e_broker_thaw(&e2e->broker);
    arrivals_wait(&arrivals, &e2e->subscriber, total, 10000);
    assert_int_equal(arrivals.again + arrivals.missing + arrivals.foreign, 0);
    e2e_wait_status(e2e, "status", "offline");
    assert_int_equal(daemon_wait_exit(&e2e->daemon, 5000), 0);
}

static void stop_without_a_broker_ends_within_shutdown_timeout(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->shutdown_timeout = "500ms";
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    fill_queue(e2e, port, 1000);
    daemon_signal(&e2e->daemon, SIGTERM);
    assert_int_equal(daemon_wait_exit(&e2e->daemon, 4000), 0);
    assert_true(daemon_log_has(&e2e->daemon, "1000")); /* readings lost are told at least in the log */
}

static void stop_with_a_silent_broker_ends_within_shutdown_timeout(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->shutdown_timeout = "500ms";
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_broker_freeze(&e2e->broker);
    fill_queue(e2e, port, 1000);
    daemon_signal(&e2e->daemon, SIGINT);
    assert_int_equal(daemon_wait_exit(&e2e->daemon, 4000), 0);
    e2e_broker_thaw(&e2e->broker);
}

static void stop_with_waiting_connections_ends_within_shutdown_timeout(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->shutdown_timeout = "500ms";
    e2e->queue_bytes = "64KiB";
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_broker_freeze(&e2e->broker);
    e2e->load =
        (struct load){ .port = port, .connections = CONNECTIONS, .lines = 1000000, .line = load_line_60 };
    load_start(&e2e->load);
    load_wait_stalled(&e2e->load);
    daemon_signal(&e2e->daemon, SIGTERM);
    assert_int_equal(daemon_wait_exit(&e2e->daemon, 4000), 0);
    e2e_broker_thaw(&e2e->broker);
}

static void second_signal_ends_at_once(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->shutdown_timeout = "60s";
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_broker_freeze(&e2e->broker);
    fill_queue(e2e, port, 1000);
    daemon_signal(&e2e->daemon, SIGTERM);
    assert_true(wait_until(refuses, &port, 5000));
    daemon_signal(&e2e->daemon, SIGTERM);
    int status = daemon_wait_exit(&e2e->daemon, 4000);
    assert_int_not_equal(status, -1);
    assert_true(status < 128 || status == 128 + SIGTERM);
    e2e_broker_thaw(&e2e->broker);
}

static void nothing_is_there_and_it_starts_and_stops(struct e2e *e2e)
{
    e2e->shutdown_timeout = "500ms";
    e2e_start_daemon(e2e,
                     E2E_PORT("tty", "serial", "path = \"%s/none\";") E2E_LINE E2E_RAW
                     "}, " E2E_PORT("out", "tcp-client", "address = \"127.0.0.1:%u\";") E2E_LINE E2E_RAW
                     "}, " E2E_PORT("name", "tcp-client", "address = \"no-such-host.invalid:1\";")
                         E2E_LINE E2E_RAW "}, " E2E_PORT("sock", "unix", "path = \"%s/none/sock\";")
                             E2E_LINE E2E_RAW "}",
                     e2e->folder, client_free_port(), e2e->folder);
    assert_true(daemon_wait_log(&e2e->daemon, "port tty: ", 5000));
    assert_true(daemon_wait_log(&e2e->daemon, "port out: ", 5000));
    assert_true(daemon_wait_log(&e2e->daemon, "port sock: ", 5000));
    assert_int_equal(daemon_stop(&e2e->daemon, 5000), 0);
}

static void devices_that_come_later_are_served(struct e2e *e2e)
{
    struct pty *pty = &e2e->ptys[e2e->pty_count++];
    pty_init(pty, e2e->folder, "tty");
    e2e_start(e2e, E2E_SERIAL("tty") E2E_RAW "}", pty->link);
    assert_true(daemon_wait_log(&e2e->daemon, "port tty: ", 5000));
    pty_plug(pty);
    e2e_wait_open(e2e, "tty", 1);
    pty_write(pty, "late\n", 5);
    e2e_expect(e2e, "tty/state", "late");
}

static void usr1_logs_the_statistics(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->stats_interval = "0s";
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    int fd = client_tcp(port);
    client_print(fd, "a,1,x\n");
    e2e_expect(e2e, "a/state", "a,1,x");
    assert_false(daemon_log_has(&e2e->daemon, "acknowledged"));
    daemon_signal(&e2e->daemon, SIGUSR1);
    assert_true(daemon_wait_log(&e2e->daemon, "acknowledged", 5000));
    client_print(fd, "a,2,x\n");
    e2e_expect(e2e, "a/state", "a,2,x");
    close(fd);
}

static void hup_does_not_disturb(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    int fd = client_tcp(port);
    client_print(fd, "a,1,x\n");
    e2e_expect(e2e, "a/state", "a,1,x");
    daemon_signal(&e2e->daemon, SIGHUP);
    assert_true(daemon_wait_log(&e2e->daemon, "reload: done", 5000));
    client_print(fd, "a,2,x\n");
    e2e_expect(e2e, "a/state", "a,2,x");
    close(fd);
}

static void log_lines_carry_a_priority(struct e2e *e2e)
{
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", client_free_port());
    assert_int_equal(daemon_stop(&e2e->daemon, 5000), 0);
    size_t size = 0;
    char *log = tempdir_read(e2e->daemon.log, &size);
    assert_true(size > 0);
    for (char *rest = NULL, *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (!(line[0] == '<' && line[1] >= '0' && line[1] <= '7' && line[2] == '>')) {
            fail_msg("a line without priority: %s", line);
        }
    }
    free(log);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(stop_publishes_what_is_queued),
        E2E_TEST(stop_without_a_broker_ends_within_shutdown_timeout),
        E2E_TEST(stop_with_a_silent_broker_ends_within_shutdown_timeout),
        E2E_TEST(stop_with_waiting_connections_ends_within_shutdown_timeout),
        E2E_TEST(second_signal_ends_at_once),
        E2E_TEST(nothing_is_there_and_it_starts_and_stops),
        E2E_TEST(devices_that_come_later_are_served),
        E2E_TEST(usr1_logs_the_statistics),
        E2E_TEST(hup_does_not_disturb),
        E2E_TEST(log_lines_carry_a_priority),
    };
    return e2e_main("e2e_running", tests, sizeof tests / sizeof tests[0]);
}
