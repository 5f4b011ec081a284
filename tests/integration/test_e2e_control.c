/* The control socket itself: who may have it, and clients that do not behave. */
#include "support/arrivals.h"
#include "support/client.h"
#include "support/ctl.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENTS     8 /* that the daemon serves at a time */
#define CONNECTIONS 20
#define STATUS      "{\"command\":\"status\"}"

static void control_path(const struct e2e *e2e, char path[TEMPDIR_PATH])
{
    snprintf(path, TEMPDIR_PATH, "%.80s/control.sock", e2e->folder);
}

static int connect_to(const struct e2e *e2e)
{
    char path[TEMPDIR_PATH];
    control_path(e2e, path);
    return client_unix(path, SOCK_STREAM);
}

static void start(struct e2e *e2e, unsigned *port)
{
    *port = client_free_port();
    e2e->control = true;
    e2e_start(e2e, E2E_TCP("in") E2E_LOAD "}", *port);
}

static void expect_ok(int fd, const char *request, bool ok)
{
    json_t *answer = ctl_request(fd, request);
    assert_int_equal(json_is_true(json_object_get(answer, "ok")), ok);
    json_decref(answer);
}

/* Whether the daemon still serves, on a connection that is made as soon as there is a place. */
static void expect_served(struct e2e *e2e)
{
    int64_t deadline = wait_deadline(10000);
    for (bool served = false; !served;) {
        assert_false(wait_over(deadline));
        int fd = connect_to(e2e);
        client_print(fd, "{\"command\":\"log-level\"}\n");
        char *line = ctl_read_line(fd);
        served = line && strstr(line, "\"ok\":true");
        free(line);
        close(fd);
    }
}

/* ---- the socket ---- */

static void socket_is_for_owner_and_group_whatever_the_umask(struct e2e *e2e)
{
    char path[TEMPDIR_PATH];
    struct stat found;
    unsigned port;
    mode_t before = umask(0);
    start(e2e, &port);
    umask(before);
    control_path(e2e, path);
    expect_served(e2e);
    assert_int_equal(stat(path, &found), 0);
    assert_true(S_ISSOCK(found.st_mode));
    assert_int_equal(found.st_mode & 07777, 0660);
    assert_int_equal(found.st_uid, geteuid());
    assert_int_equal(daemon_stop(&e2e->daemon, 5000), 0);
    assert_int_equal(stat(path, &found), -1);
}

static void stale_socket_is_replaced(struct e2e *e2e)
{
    unsigned port;
    char path[TEMPDIR_PATH];
    struct stat found;
    start(e2e, &port);
    expect_served(e2e);
    daemon_kill(&e2e->daemon);
    control_path(e2e, path);
    assert_int_equal(stat(path, &found), 0);
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    expect_served(e2e);
}

static void live_socket_of_another_daemon_is_left_alone(struct e2e *e2e)
{
    char folder[TEMPDIR_PATH];
    char config[1024];
    char owner[64];
    struct daemon rival = { 0 };
    unsigned port;
    start(e2e, &port);
    expect_served(e2e);
    tempdir_make(folder);
    snprintf(config, sizeof config,
             "gateway: { id = \"rival\"; control_socket = \"%s/control.sock\"; };\n"
             "mqtt: { address = \"127.0.0.1:%u\"; };\nports = ( " E2E_TCP("rival") E2E_RAW "} );\n",
             e2e->folder, e2e->broker.port, client_free_port());
    daemon_start(&rival, folder, config, 0);
    snprintf(owner, sizeof owner, "it is served by process %d", (int)e2e->daemon.pid);
    bool told = daemon_wait_log(&rival, owner, 5000) && daemon_wait_log(&rival, "gateway rival", 5000);
    int fd = connect_to(e2e);
    json_t *status = ctl_request(fd, STATUS);
    int status_of_rival = daemon_stop(&rival, 5000);
    tempdir_remove(folder);
    assert_true(told);
    assert_string_equal(json_string_value(json_object_get(status, "gateway")), "gw");
    assert_int_equal(status_of_rival, 0);
    json_decref(status);
    close(fd);
    expect_served(e2e); /* the rival's end has not taken the socket away */
}

static void what_is_no_socket_stays_and_the_gateway_works(struct e2e *e2e)
{
    char path[TEMPDIR_PATH];
    struct stat found;
    unsigned port;
    tempdir_write(e2e->folder, "control.sock", "mine", 4, path);
    start(e2e, &port);
    assert_true(daemon_wait_log(&e2e->daemon, "<4>control socket ", 5000));
    int fd = client_tcp(port);
    client_print(fd, "a,1,x\n");
    e2e_expect(e2e, "a/state", "a,1,x");
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_size, 4);
    close(fd);
}

static void without_its_folder_the_gateway_works_and_it_may_come_later(struct e2e *e2e)
{
    char folder[TEMPDIR_PATH];
    char config[1024];
    struct daemon lone = { 0 };
    tempdir_make(folder);
    snprintf(
        config, sizeof config,
        "gateway: { id = \"lone\"; control_socket = \"%s/none/control.sock\"; shutdown_timeout = \"1s\"; };\n"
        "mqtt: { address = \"127.0.0.1:1\"; };\nports = ( " E2E_TCP("lone") E2E_RAW "} );\n",
        folder, client_free_port());
    daemon_start(&lone, folder, config, 0);
    bool told = daemon_wait_log(&lone, "(its folder is not there)", 5000) &&
                daemon_wait_log(&lone, "gateway lone", 5000);
    char none[TEMPDIR_PATH + 8];
    snprintf(none, sizeof none, "%s/none", folder);
    int made = mkdir(none, 0755);
    bool comes = daemon_wait_log(&lone, "control.sock: listening", 15000);
    int status = daemon_stop(&lone, 5000);
    tempdir_remove(folder);
    (void)e2e;
    assert_true(told);
    assert_int_equal(made, 0);
    assert_true(comes);
    assert_int_equal(status, 0);
}

/* ---- requests ---- */

static void requests_are_answered_in_their_order(struct e2e *e2e)
{
    unsigned port;
    start(e2e, &port);
    int fd = connect_to(e2e);
    client_print(fd, "\r\n{\"command\":\"log-level\"}\r\n" STATUS
                     "\n{\"command\":\"no\"}\n{\"command\":\"devices\"");
    client_print(fd, "}\n");
    static const char *const expected[] = { "\"log_level\":\"info\"}", "\"gateway\":\"gw\"", "\"ok\":false",
                                            "\"devices\":[" };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char *line = ctl_read_line(fd);
        assert_non_null(line);
        assert_non_null(strstr(line, expected[i]));
        free(line);
    }
    close(fd);
}

static void answers_reach_who_has_said_all(struct e2e *e2e)
{
    unsigned port;
    start(e2e, &port);
    int fd = connect_to(e2e);
    client_print(fd, STATUS "\n" STATUS); /* the last one has no newline */
    shutdown(fd, SHUT_WR);
    for (unsigned i = 0; i < 2; i++) {
        char *line = ctl_read_line(fd);
        assert_non_null(line);
        assert_non_null(strstr(line, "\"ok\":true"));
        free(line);
    }
    assert_true(client_wait_closed(fd, 5000));
    close(fd);
}

static void who_does_not_speak_the_protocol_is_told_and_disconnected(struct e2e *e2e)
{
    static char long_line[10000];
    unsigned port;
    start(e2e, &port);
    memset(long_line, '{', sizeof long_line - 1);
    const char *const rubbish[] = { "GET / HTTP/1.1\n" STATUS "\n", "\xff\xfe\n", "{\"command\":1}\n",
                                    long_line, "[]\n" };
    for (size_t i = 0; i < sizeof rubbish / sizeof rubbish[0]; i++) {
        int fd = connect_to(e2e);
        client_send(fd, rubbish[i], strlen(rubbish[i]));
        char *line = ctl_read_line(fd);
        assert_non_null(line);
        assert_non_null(strstr(line, "\"ok\":false"));
        free(line);
        assert_true(client_wait_closed(fd, 5000));
        close(fd);
    }
    int fd = connect_to(e2e);
    expect_ok(fd, "{\"command\":\"stat\"}", false); /* this is only a wrong word */
    expect_ok(fd, STATUS, true);
    close(fd);
}

/* ---- hostile clients ---- */

/* Until it has so many at most. */
static void wait_descriptors(struct e2e *e2e, unsigned most)
{
    int64_t deadline = wait_deadline(10000);
    for (unsigned open; (open = daemon_open_descriptors(&e2e->daemon)) > most;) {
        if (wait_over(deadline)) {
            fail_msg("%u descriptors, not %u", open, most);
        }
        wait_nap();
    }
}

static void hundred_connections_leave_eight_and_do_not_stay(struct e2e *e2e)
{
    int fds[100];
    unsigned refused = 0;
    unsigned port;
    start(e2e, &port);
    expect_served(e2e);
    unsigned before = daemon_open_descriptors(&e2e->daemon);
    for (unsigned i = 0; i < 100; i++) {
        fds[i] = connect_to(e2e);
    }
    for (unsigned i = 0; i < 100; i++) {
        send(fds[i], STATUS "\n", sizeof STATUS, MSG_NOSIGNAL); /* some are closed already */
        char *line = ctl_read_line(fds[i]);
        refused += line && strstr(line, "too many clients");
        free(line);
    }
    assert_int_equal(refused, 100 - CLIENTS);
    wait_descriptors(e2e, before + CLIENTS);
    for (unsigned i = 0; i < 100; i++) {
        close(fds[i]);
    }
    expect_served(e2e);
    wait_descriptors(e2e, before);
}

static void who_asks_and_does_not_read_is_no_burden(struct e2e *e2e)
{
    unsigned before;
    unsigned after;
    unsigned pss;
    unsigned port;
    start(e2e, &port);
    expect_served(e2e);
    daemon_memory(&e2e->daemon, &before, &pss);
    int fd = connect_to(e2e);
    size_t asked = 0;
    /* Until the daemon reads no more: nothing new fits for a while. */
    for (int64_t until = wait_deadline(500); !wait_over(until) && asked < 20000000;) {
        ssize_t sent = send(fd, STATUS "\n", sizeof STATUS, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            asked += (size_t)sent;
            until = wait_deadline(500);
        } else {
            assert_int_equal(errno, EAGAIN);
            wait_nap();
        }
    }
    assert_true(asked < 20000000);
    daemon_memory(&e2e->daemon, &after, &pss);
    if (!wait_is_slowed()) {
        assert_in_range(after, 0, before + 2048);
    }
    expect_served(e2e);
    assert_int_equal(daemon_stop(&e2e->daemon, 5000), 0); /* it holds nothing up */
    close(fd);
}

static void stalled_watcher_costs_no_reading_and_little_memory(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned lines = wait_load(4000);
    unsigned total = lines * CONNECTIONS;
    unsigned rss;
    unsigned pss;
    unsigned port = client_free_port();
    e2e->control = true;
    e2e_start_broker(e2e);
    subscriber_open(&e2e->subscriber, e2e->broker.port, "watcher", false, E2E_BASE "/#", 0);
    arrivals_watch(&arrivals, &e2e->subscriber);
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_wait_online(e2e);
    int stalled = connect_to(e2e);
    int other = connect_to(e2e);
    expect_ok(stalled, "{\"command\":\"watch\"}", true);
    expect_ok(other, "{\"command\":\"watch\",\"device\":\"d003\"}", true);
    e2e->load =
        (struct load){ .port = port, .connections = CONNECTIONS, .lines = lines, .line = load_line_60 };
    load_start(&e2e->load);
    arrivals_wait(&arrivals, &e2e->subscriber, total, 60000);
    assert_int_equal(load_join(&e2e->load), 0);
    assert_int_equal(arrivals.again + arrivals.missing + arrivals.foreign, 0);
    daemon_memory(&e2e->daemon, &rss, &pss);
    if (!wait_is_slowed()) {
        assert_in_range(rss, 0, 32 * 1024);
    }
    /* What was dropped is told, and adds up. */
    unsigned seen = 0;
    json_int_t dropped = 0;
    while (seen + dropped < total) {
        char *line = ctl_read_line(stalled);
        assert_non_null(line);
        json_t *told = json_loads(line, 0, NULL);
        assert_non_null(told);
        seen += json_object_get(told, "device") != NULL;
        dropped += json_integer_value(json_object_get(told, "dropped"));
        json_decref(told);
        free(line);
    }
    assert_int_equal(seen + dropped, total);
    print_message("%u readings seen late, %lld dropped, RSS %u KiB\n", seen, (long long)dropped, rss);
    if (wait_load(100) == 100) {
        assert_true(dropped > 0);
    }
    close(stalled);
    close(other);
}

/* Time is tested, not the event model: once is enough. */
static void who_takes_nothing_for_half_a_minute_is_disconnected(struct e2e *e2e)
{
    unsigned port;
    if (strcmp(e2e->model, "reactor") != 0) {
        return;
    }
    start(e2e, &port);
    int stalled = connect_to(e2e);
    int quiet = connect_to(e2e);
    expect_ok(stalled, "{\"command\":\"watch\"}", true);
    expect_ok(quiet, "{\"command\":\"watch\",\"device\":\"nobody\"}", true);
    e2e->load = (struct load){ .port = port, .connections = 10, .lines = 2000, .line = load_line_60 };
    load_start(&e2e->load);
    int64_t begun_ms = wait_now_ms();
    struct pollfd hang_up = { .fd = stalled, .events = 0 };
    assert_int_equal(poll(&hang_up, 1, wait_left_ms(wait_deadline(45000))), 1);
    assert_true(hang_up.revents & POLLHUP);
    assert_true(wait_now_ms() - begun_ms >= 29000);
    assert_int_equal(load_join(&e2e->load), 0);
    client_print(quiet, "\n"); /* what a watcher says is not heard; it is still there */
    struct pollfd open = { .fd = quiet, .events = 0 };
    assert_int_equal(poll(&open, 1, 0), 0);
    close(stalled);
    close(quiet);
}

static void clients_do_not_hold_up_a_stop(struct e2e *e2e)
{
    int fds[CLIENTS];
    unsigned port;
    start(e2e, &port);
    for (unsigned i = 0; i < CLIENTS; i++) {
        fds[i] = connect_to(e2e);
        if (i % 2) {
            expect_ok(fds[i], "{\"command\":\"watch\"}", true);
        } else {
            client_print(fds[i], "{\"comm");
        }
    }
    assert_int_equal(daemon_stop(&e2e->daemon, 5000), 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_true(client_wait_closed(fds[i], 1000));
        close(fds[i]);
    }
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(socket_is_for_owner_and_group_whatever_the_umask),
        E2E_TEST(stale_socket_is_replaced),
        E2E_TEST(live_socket_of_another_daemon_is_left_alone),
        E2E_TEST(what_is_no_socket_stays_and_the_gateway_works),
        E2E_TEST(without_its_folder_the_gateway_works_and_it_may_come_later),
        E2E_TEST(requests_are_answered_in_their_order),
        E2E_TEST(answers_reach_who_has_said_all),
        E2E_TEST(who_does_not_speak_the_protocol_is_told_and_disconnected),
        E2E_TEST(hundred_connections_leave_eight_and_do_not_stay),
        E2E_TEST(who_asks_and_does_not_read_is_no_burden),
        E2E_TEST(stalled_watcher_costs_no_reading_and_little_memory),
        E2E_TEST(who_takes_nothing_for_half_a_minute_is_disconnected),
        E2E_TEST(clients_do_not_hold_up_a_stop),
    };
    return e2e_main("e2e_control", tests, sizeof tests / sizeof tests[0]);
}
