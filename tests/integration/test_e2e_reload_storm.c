/*
 * Reloads in great numbers: nothing grows, whatever moment a signal chooses. $FG_TEST_RELOADS says how many
 * are done in a row.
 */
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Ports of every kind that changes: a serial line, a listener and datagrams. */
#define PORTS                                                                                                \
    E2E_TCP("in")                                                                                            \
    E2E_RAW "}, " E2E_SERIAL("tty") E2E_RAW "stale_after = \"%us\"; }, " E2E_UDP("udp-%u") E2E_RAW "}"

static unsigned reloads(void)
{
    const char *wanted = getenv("FG_TEST_RELOADS");
    unsigned count = wanted ? (unsigned)strtoul(wanted, NULL, 10) : wait_load(200);
    return count < 20 ? 20 : count;
}

/* Every second file is broken, the others change two ports and every fifth the connection. */
static void reload_once(struct e2e *e2e, unsigned number, const struct pty *pty, const unsigned ports[2])
{
    if (number % 2 == 0) {
        e2e_rewrite(e2e, PORTS " {", ports[0], pty->link, number, number, ports[1]);
        daemon_signal(&e2e->daemon, SIGHUP);
        e2e_wait_log(e2e, "reload: the configuration stays as it was", number / 2 + 1);
        return;
    }
    e2e->mqtt_more = number % 10 < 5 ? "keepalive = \"50s\";" : "keepalive = \"60s\";";
    e2e_reload(e2e, PORTS, ports[0], pty->link, number, number, ports[1]);
}

struct footprint {
    const struct e2e *e2e;
    unsigned descriptors;
};

static bool has_descriptors(void *context)
{
    const struct footprint *footprint = context;
    return daemon_open_descriptors(&footprint->e2e->daemon) == footprint->descriptors;
}

static void many_reloads_leave_descriptors_and_memory_as_they_were(struct e2e *e2e)
{
    const struct pty *pty = e2e_plug_pty(e2e, "tty");
    const unsigned ports[] = { client_free_port(), client_free_port() };
    unsigned count = reloads();
    unsigned warm = count / 4;
    unsigned before;
    unsigned after;
    unsigned pss;
    struct footprint footprint = { .e2e = e2e };
    e2e->stats_interval = "0s";
    e2e_start(e2e, PORTS, ports[0], pty->link, 0, 0, ports[1]);
    int fd = client_tcp(ports[0]);
    client_print(fd, "first\n");
    e2e_expect(e2e, "in/state", "first");
    for (unsigned i = 0; i < warm; i++) {
        reload_once(e2e, i, pty, ports);
    }
    e2e_wait_online(e2e);
    footprint.descriptors = daemon_open_descriptors(&e2e->daemon);
    daemon_memory(&e2e->daemon, &before, &pss);
    for (unsigned i = warm; i < count; i++) {
        reload_once(e2e, i, pty, ports);
    }
    client_print(fd, "last\n");
    e2e_expect(e2e, "in/state", "last"); /* over the same connection */
    daemon_memory(&e2e->daemon, &after, &pss);
    print_message("%u reloads: RSS %u KiB, then %u KiB; %u descriptors\n", count, before, after,
                  daemon_open_descriptors(&e2e->daemon));
    assert_true(wait_until(has_descriptors, &footprint, 10000));
    if (!wait_is_slowed()) {
        assert_in_range(after, 0, before + 384);
    }
    close(fd);
}

/* A burst of SIGHUP while the file changes, and SIGTERM at some moment of it. */
static void a_stop_is_clean_at_any_moment_of_a_storm(struct e2e *e2e)
{
    const struct pty *pty = e2e_plug_pty(e2e, "tty");
    const unsigned ports[] = { client_free_port(), client_free_port() };
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    unsigned rounds = wait_load(8) < 3 ? 3 : wait_load(8);
    print_message("seed %u\n", seed);
    e2e_start_broker(e2e);
    e2e_subscribe(e2e);
    for (unsigned round = 0; round < rounds; round++) {
        e2e_start_daemon(e2e, PORTS, ports[0], pty->link, 0, 0, ports[1]);
        int fd = client_tcp(ports[0]);
        int64_t end_us = wait_now_us() + rand_r(&seed) % 150000;
        for (unsigned i = 0; wait_now_us() < end_us; i++) {
            e2e->mqtt_more = i % 4 == 3   ? "base_topic = \"" E2E_BASE "/moved\";"
                             : i % 4 == 1 ? "linger = \"1ms\";"
                                          : "";
            e2e_rewrite(e2e, i % 3 == 2 ? PORTS " {" : PORTS, ports[0], pty->link, i, i, ports[1]);
            daemon_signal(&e2e->daemon, SIGHUP);
            ssize_t sent = send(fd, "line\n", 5, MSG_NOSIGNAL); /* with other topics it is closed */
            (void)sent;
            usleep((useconds_t)(rand_r(&seed) % 5000));
        }
        daemon_signal(&e2e->daemon, rand_r(&seed) % 2 ? SIGTERM : SIGINT);
        daemon_signal(&e2e->daemon, SIGHUP);
        close(fd);
        assert_int_equal(daemon_wait_exit(&e2e->daemon, 20000), 0);
    }
}

static void what_is_asked_for_during_a_reload_is_done_once_more(struct e2e *e2e)
{
    const struct pty *pty = e2e_plug_pty(e2e, "tty");
    const unsigned ports[] = { client_free_port(), client_free_port() };
    e2e_start(e2e, PORTS, ports[0], pty->link, 0, 0, ports[1]);
    unsigned count = 50;
    for (unsigned i = 1; i <= count; i++) {
        e2e_rewrite(e2e, PORTS, ports[0], pty->link, i, i, ports[1]);
        daemon_signal(&e2e->daemon, SIGHUP);
    }
    e2e_wait_log(e2e, "port udp-50: ", 1); /* the last file holds, though most of the signals met a reload */
    assert_in_range(e2e_count_log(e2e, "reload: reading"), 1, count);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(many_reloads_leave_descriptors_and_memory_as_they_were),
        E2E_TEST(a_stop_is_clean_at_any_moment_of_a_storm),
        E2E_TEST(what_is_asked_for_during_a_reload_is_done_once_more),
    };
    return e2e_main("e2e_reload_storm", tests, sizeof tests / sizeof tests[0]);
}
