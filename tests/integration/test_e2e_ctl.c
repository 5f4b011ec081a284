/* fieldgatectl and a running daemon: what each command tells, and what it does to the daemon. */
#include "support/client.h"
#include "support/ctl.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534

/* "--socket PATH more" */
static const char *words(const struct e2e *e2e, const char *more)
{
    static char text[512];
    snprintf(text, sizeof text, "--socket %s/control.sock %s", e2e->folder, more);
    return text;
}

static void run(struct ctl *ctl, struct e2e *e2e, const char *more)
{
    ctl_run(ctl, e2e->folder, words(e2e, more));
}

/* Runs it and reads what it prints as JSON (json_decref). */
static json_t *run_json(struct e2e *e2e, const char *more, int status)
{
    struct ctl ctl;
    char command[128];
    snprintf(command, sizeof command, "--json %s", more);
    run(&ctl, e2e, command);
    json_t *object = json_loads(ctl.out, 0, NULL);
    if (!object || ctl.status != status) {
        fail_msg("%s: status %d, %s%s", more, ctl.status, ctl.out, ctl.err);
    }
    ctl_free(&ctl);
    return object;
}

static const json_t *named(const json_t *object, const char *list, const char *name)
{
    const json_t *items = json_object_get(object, list);
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0) {
            return item;
        }
    }
    fail_msg("there is no %s in %s", name, list);
    return NULL;
}

static void assert_text(const json_t *object, const char *key, const char *expected)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    assert_string_equal(text, expected);
}

static json_int_t number(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static void start(struct e2e *e2e, unsigned *port)
{
    *port = client_free_port();
    e2e->control = true;
    e2e_start(e2e, E2E_TCP("in") E2E_JSON "identity = \"key:id\"; }, " E2E_SERIAL("tty") E2E_RAW "}", *port,
              "/dev/none");
}

static void status_tells_ports_devices_broker_and_queues(struct e2e *e2e)
{
    unsigned port;
    start(e2e, &port);
    int fd = client_tcp(port);
    client_print(fd, "{\"id\":\"m1\",\"v\":1}\nrubbish\n{\"id\":\"m1\",\"v\":2}\n");
    e2e_expect_json(e2e, "m1/state", "{\"v\":1,\"id\":\"m1\"}");
    e2e_expect_json(e2e, "m1/state", "{\"v\":2,\"id\":\"m1\"}");
    e2e_wait_counter(e2e, "acknowledged", 2);
    assert_true(daemon_wait_log(&e2e->daemon, "port tty: ", 5000));
    json_t *status = run_json(e2e, "status", 0);
    assert_text(status, "gateway", "gw");
    assert_text(status, "event_model", e2e->model);
    assert_text(status, "state", "running");
    assert_int_equal(number(status, "pid"), e2e->daemon.pid);
    assert_int_equal(number(status, "received"), 3);
    assert_int_equal(number(status, "acknowledged"), 2);
    const json_t *in = named(status, "ports", "in");
    assert_text(in, "state", "up");
    assert_text(in, "transport", "tcp-server");
    assert_int_equal(number(in, "links"), 1);
    assert_int_equal(number(in, "online"), 1);
    assert_int_equal(number(json_object_get(in, "rejected"), "malformed"), 1);
    const json_t *tty = named(status, "ports", "tty");
    assert_text(tty, "state", "down");
    assert_non_null(strstr(json_string_value(json_object_get(tty, "problem")), "No such file"));
    const json_t *device = named(status, "devices", "m1");
    assert_true(json_is_true(json_object_get(device, "online")));
    assert_true(json_is_real(json_object_get(device, "last_reading_s")));
    assert_true(json_real_value(json_object_get(device, "last_reading_s")) < 60);
    const json_t *never = named(status, "devices", "tty");
    assert_true(json_is_false(json_object_get(never, "online")));
    assert_true(json_is_null(json_object_get(never, "last_reading_s")));
    const json_t *broker = json_object_get(status, "broker");
    assert_true(json_is_true(json_object_get(broker, "connected")));
    assert_int_equal(number(json_object_get(status, "outbox"), "messages"), 0);
    assert_true(json_is_null(json_object_get(status, "spool")));
    json_decref(status);
    struct ctl ctl;
    run(&ctl, e2e, "status");
    assert_int_equal(ctl.status, 0);
    assert_non_null(strstr(ctl.out, "connected"));
    assert_non_null(strstr(ctl.out, "1 (malformed 1)"));
    assert_non_null(strstr(ctl.out, "\nm1  "));
    assert_null(strchr(ctl.out, '\033')); /* it is no terminal */
    ctl_free(&ctl);
    close(fd);
}

static void status_tells_why_the_broker_is_away_and_what_is_spooled(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->control = true;
    e2e->spool = "always";
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_broker_kill(&e2e->broker);
    int fd = client_tcp(port);
    client_print(fd, "a,1,x\na,2,x\n");
    int64_t deadline = wait_deadline(10000);
    for (bool told = false; !told;) {
        assert_false(wait_over(deadline));
        json_t *status = run_json(e2e, "status", 0);
        const json_t *broker = json_object_get(status, "broker");
        told = json_is_false(json_object_get(broker, "connected")) &&
               json_string_length(json_object_get(broker, "reason")) > 0 &&
               number(json_object_get(status, "spool"), "messages") == 2;
        json_decref(status);
    }
    struct ctl ctl;
    run(&ctl, e2e, "status");
    assert_non_null(strstr(ctl.out, "not connected"));
    assert_non_null(strstr(ctl.out, "spool    2 messages"));
    ctl_free(&ctl);
    close(fd);
    e2e->shutdown_timeout = "1s";
}

static void devices_are_told_with_their_state_and_errors(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e->control = true;
    e2e_start(e2e, E2E_TCP("in") E2E_JSON "}", port);
    int fd = client_tcp(port);
    client_print(fd, "{\"v\":1}\n{}\n");
    e2e_wait_counter(e2e, "devices.in.rejected.empty", 1);
    json_t *devices = run_json(e2e, "devices", 0);
    const json_t *device = named(devices, "devices", "in");
    assert_text(device, "port", "in");
    assert_true(json_is_true(json_object_get(device, "online")));
    assert_int_equal(number(json_object_get(device, "rejected"), "empty"), 1);
    json_decref(devices);
    close(fd);
    e2e_wait_status(e2e, "in/status", "offline");
    struct ctl ctl;
    run(&ctl, e2e, "devices");
    assert_int_equal(ctl.status, 0);
    assert_non_null(strstr(ctl.out, "offline"));
    assert_non_null(strstr(ctl.out, "1 (empty 1)"));
    ctl_free(&ctl);
}

static void stats_are_those_of_the_topic(struct e2e *e2e)
{
    unsigned port;
    start(e2e, &port);
    int fd = client_tcp(port);
    client_print(fd, "{\"id\":\"m1\",\"v\":1}\nrubbish\n");
    e2e_wait_counter(e2e, "ports.in.rejected.malformed", 1);
    e2e_wait_counter(e2e, "acknowledged", 1);
    json_t *published = e2e_next_stats(e2e);
    json_t *stats = run_json(e2e, "stats", 0);
    const char *key;
    json_t *value;
    json_object_foreach(published, key, value)
    {
        const json_t *same = json_object_get(stats, key);
        if (strcmp(key, "uptime_s") != 0 && !json_equal(same, value)) {
            fail_msg("%s differs", key);
        }
    }
    assert_int_equal(json_object_size(stats), json_object_size(published) + 2);
    json_decref(stats);
    json_decref(published);
    struct ctl ctl;
    run(&ctl, e2e, "stats");
    assert_int_equal(ctl.status, 0);
    assert_non_null(strstr(ctl.out, "rejected.malformed"));
    ctl_free(&ctl);
    close(fd);
}

static void watch_shows_every_reading_once(struct e2e *e2e)
{
    struct ctl all;
    struct ctl one;
    unsigned port;
    unsigned count = wait_load(2000);
    start(e2e, &port);
    ctl_start(&all, e2e->folder, words(e2e, "--json watch"), -1, 0);
    ctl_wait_lines(&all, 1, 10000);
    ctl_start(&one, e2e->folder, words(e2e, "watch even"), -1, 0);
    assert_true(ctl_wait_err(&one, "no device even", 10000));
    int fd = client_tcp(port);
    for (unsigned i = 0; i < count; i++) {
        client_print(fd, "{\"id\":\"%s\",\"n\":%u}\n", i % 2 ? "odd" : "even", i);
    }
    ctl_wait_lines(&all, 1 + count, 20000);
    ctl_wait_lines(&one, count / 2, 20000);
    kill(all.pid, SIGINT);
    kill(one.pid, SIGTERM);
    ctl_join(&all, 10000);
    ctl_join(&one, 10000);
    assert_int_equal(all.status, 0);
    assert_int_equal(one.status, 0);
    char *rest = all.out;
    json_decref(json_loads(strsep(&rest, "\n"), 0, NULL));
    for (unsigned i = 0; i < count; i++) {
        json_t *reading = json_loads(strsep(&rest, "\n"), 0, NULL);
        assert_int_equal(number(json_object_get(reading, "values"), "n"), i);
        assert_text(reading, "device", i % 2 ? "odd" : "even");
        json_decref(reading);
    }
    assert_null(strstr(one.out, "odd"));
    assert_non_null(strstr(one.out, "  even  id=\"even\"  n=0\n"));
    ctl_free(&all);
    ctl_free(&one);
    close(fd);
}

static void watch_shows_frames_that_are_no_text_in_hexadecimal(struct e2e *e2e)
{
    static const char binary[12000] = "\xff\x02";
    unsigned port = client_free_port();
    e2e->control = true;
    e2e_start(
        e2e,
        E2E_PORT("in", "tcp-server", "tcp_port = %u;") "framing: { type = \"length\"; header_bytes = 2; "
                                                       "max_bytes = 20000; }; " E2E_RAW "}",
        port);
    struct ctl ctl;
    ctl_start(&ctl, e2e->folder, words(e2e, "--json watch in"), -1, 0);
    ctl_wait_lines(&ctl, 1, 10000);
    int fd = client_tcp(port);
    client_send(fd, "\0\x03hot\0\x02\xff\x01", 9);
    client_send(fd, "\x2e\xe0", 2);
    client_send(fd, binary, sizeof binary);
    ctl_wait_lines(&ctl, 4, 10000);
    kill(ctl.pid, SIGINT);
    ctl_join(&ctl, 10000);
    assert_non_null(strstr(ctl.out, "\"values\":{\"raw\":\"hot\"}}"));
    assert_non_null(strstr(ctl.out, "\"values\":{\"hex\":\"ff01\"}}"));
    assert_non_null(strstr(ctl.out, "\"hex\":\"ff020000"));
    assert_non_null(strstr(ctl.out, "\"bytes\":12000}"));
    ctl_free(&ctl);
    close(fd);
}

static void watch_ends_with_its_reader(struct e2e *e2e)
{
    struct ctl ctl;
    unsigned port;
    int ends[2];
    start(e2e, &port);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    ctl_start(&ctl, e2e->folder, words(e2e, "watch"), ends[1], 0);
    close(ends[1]);
    int fd = client_tcp(port);
    char byte;
    int64_t deadline = wait_deadline(10000);
    for (ssize_t got = 0; got != 1;) { /* until the watch has begun */
        assert_false(wait_over(deadline));
        client_print(fd, "{\"id\":\"m1\"}\n");
        e2e_expect_json(e2e, "m1/state", "{\"id\":\"m1\"}");
        struct pollfd readable = { .fd = ends[0], .events = POLLIN };
        got = poll(&readable, 1, 50) > 0 ? read(ends[0], &byte, 1) : 0;
    }
    close(ends[0]); /* nothing more is sent: it must see that by itself */
    ctl_join(&ctl, 10000);
    assert_int_equal(ctl.status, 0);
    ctl_free(&ctl);
    close(fd);
}

static void watch_tells_when_the_daemon_stops(struct e2e *e2e)
{
    struct ctl ctl;
    unsigned port;
    start(e2e, &port);
    ctl_start(&ctl, e2e->folder, words(e2e, "--json watch"), -1, 0);
    ctl_wait_lines(&ctl, 1, 10000);
    assert_int_equal(daemon_stop(&e2e->daemon, 10000), 0);
    ctl_join(&ctl, 10000);
    assert_int_equal(ctl.status, 1);
    assert_non_null(strstr(ctl.err, "closed the connection"));
    ctl_free(&ctl);
}

static void log_level_is_told_and_set(struct e2e *e2e)
{
    struct ctl ctl;
    unsigned port;
    start(e2e, &port);
    run(&ctl, e2e, "log-level");
    assert_string_equal(ctl.out, "info\n");
    ctl_free(&ctl);
    int fd = client_tcp(port);
    client_print(fd, "{\"id\":\"m1\"}\n");
    e2e_wait_status(e2e, "m1/status", "online");
    run(&ctl, e2e, "log-level debug");
    assert_int_equal(ctl.status, 0);
    assert_string_equal(ctl.out, "debug\n");
    ctl_free(&ctl);
    close(fd);
    assert_true(daemon_wait_log(&e2e->daemon, "<7>port in: device m1: offline", 10000));
    run(&ctl, e2e, "log-level loud");
    assert_int_equal(ctl.status, 1);
    assert_non_null(strstr(ctl.err, "there is no level \"loud\""));
    ctl_free(&ctl);
}

static void reload_is_done_when_it_is_answered(struct e2e *e2e)
{
    struct ctl ctl;
    unsigned first = client_free_port();
    unsigned second = client_free_port();
    e2e->control = true;
    e2e_start(e2e, E2E_TCP("in") E2E_RAW "}", first);
    e2e_rewrite(e2e, E2E_TCP("in") E2E_RAW "}, " E2E_TCP("more") E2E_RAW "}", first, second);
    run(&ctl, e2e, "reload");
    assert_int_equal(ctl.status, 0);
    assert_non_null(strstr(ctl.out, "1 new"));
    ctl_free(&ctl);
    json_t *status = run_json(e2e, "status", 0);
    named(status, "ports", "more");
    json_decref(status);
    e2e_rewrite(e2e, E2E_TCP("in") E2E_RAW "}, " E2E_TCP("in") E2E_RAW "}", first, second);
    run(&ctl, e2e, "reload");
    assert_int_equal(ctl.status, 1);
    assert_non_null(strstr(ctl.err, "the configuration stays as it was: "));
    assert_non_null(strstr(ctl.err, "ports[1].name"));
    ctl_free(&ctl);
}

static void check_says_what_the_daemon_says(struct e2e *e2e)
{
    char path[TEMPDIR_PATH];
    char command[256];
    struct ctl ctl;
    static const char bad[] = "gateway: { workers = 99; };\n";
    tempdir_write(e2e->folder, "bad.cfg", bad, sizeof bad - 1, path);
    snprintf(command, sizeof command, "check %s", path);
    ctl_run(&ctl, e2e->folder, command);
    assert_int_equal(ctl.status, 78);
    assert_non_null(strstr(ctl.err, "bad.cfg:1: gateway.workers: "));
    ctl_free(&ctl);
    snprintf(command, sizeof command, "check %s/config/fieldgate.cfg", FG_TEST_SOURCE_DIR);
    ctl_run(&ctl, e2e->folder, command);
    assert_int_equal(ctl.status, 0);
    assert_non_null(strstr(ctl.out, "fieldgate.cfg: OK\n"));
    ctl_free(&ctl);
}

static void without_a_daemon_the_remedy_is_told(struct e2e *e2e)
{
    struct ctl ctl;
    run(&ctl, e2e, "status");
    assert_int_equal(ctl.status, 1);
    assert_non_null(strstr(ctl.err, "is fieldgated running"));
    ctl_free(&ctl);
    if (geteuid() == 0) { /* who may not is told which group may */
        unsigned port;
        start(e2e, &port);
        assert_int_equal(chmod(e2e->folder, 0755), 0);
        run(&ctl, e2e, "log-level");
        assert_int_equal(ctl.status, 0);
        ctl_free(&ctl);
        ctl_start(&ctl, e2e->folder, words(e2e, "log-level"), -1, NOBODY);
        ctl_join(&ctl, 10000);
        if (ctl.status != 127) { /* this build's folder may be closed to others */
            assert_int_equal(ctl.status, 1);
            assert_non_null(strstr(ctl.err, "is your user in the group"));
        }
        ctl_free(&ctl);
    }
}

static void wrong_usage_is_status_two(struct e2e *e2e)
{
    static const char *const wrong[] = { "", "statsu", "status more", "check", "log-level a b", "--what" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ctl ctl;
        ctl_run(&ctl, e2e->folder, wrong[i]);
        assert_int_equal(ctl.status, 2);
        assert_non_null(strstr(ctl.err, "usage: "));
        ctl_free(&ctl);
    }
}

/* Everything that it prints to a terminal. */
static void read_terminal(struct ctl *ctl, int master, char *text, size_t size)
{
    size_t used = 0;
    ctl_join(ctl, 10000);
    for (ssize_t got; used + 1 < size && (got = read(master, text + used, size - used - 1)) > 0;) {
        used += (size_t)got;
    }
    text[used] = '\0';
}

static void colour_is_for_terminals_that_like_it(struct e2e *e2e)
{
    char text[4096];
    struct ctl ctl;
    unsigned port;
    int master;
    int slave;
    start(e2e, &port);
    for (int liked = 0; liked < 2; liked++) {
        assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
        setenv("TERM", "xterm", 1);
        if (liked) {
            unsetenv("NO_COLOR");
        } else {
            setenv("NO_COLOR", "1", 1);
        }
        ctl_start(&ctl, e2e->folder, words(e2e, "status"), slave, 0);
        close(slave);
        read_terminal(&ctl, master, text, sizeof text);
        assert_int_equal(strchr(text, '\033') != NULL, liked);
        ctl_free(&ctl);
        close(master);
    }
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(status_tells_ports_devices_broker_and_queues),
        E2E_TEST(status_tells_why_the_broker_is_away_and_what_is_spooled),
        E2E_TEST(devices_are_told_with_their_state_and_errors),
        E2E_TEST(stats_are_those_of_the_topic),
        E2E_TEST(watch_shows_every_reading_once),
        E2E_TEST(watch_shows_frames_that_are_no_text_in_hexadecimal),
        E2E_TEST(watch_ends_with_its_reader),
        E2E_TEST(watch_tells_when_the_daemon_stops),
        E2E_TEST(log_level_is_told_and_set),
        E2E_TEST(reload_is_done_when_it_is_answered),
        E2E_TEST(check_says_what_the_daemon_says),
        E2E_TEST(without_a_daemon_the_remedy_is_told),
        E2E_TEST(wrong_usage_is_status_two),
        E2E_TEST(colour_is_for_terminals_that_like_it),
    };
    return e2e_main("e2e_ctl", tests, sizeof tests / sizeof tests[0]);
}
