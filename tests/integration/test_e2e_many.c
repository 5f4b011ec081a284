/* Many connections: silent ones cost nothing, too many are refused, and descriptors that run out harm nobody
 * else. */
#include "support/client.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAW_PORT(name, more) E2E_PORT(name, "tcp-server", "tcp_port = %u; " more) E2E_LINE E2E_RAW "}, "

#define SILENT 1000

struct crowd {
    struct e2e *e2e;
    unsigned descriptors;
};

static bool has_descriptors(void *context)
{
    struct crowd *crowd = context;
    return daemon_open_descriptors(&crowd->e2e->daemon) >= crowd->descriptors;
}

/* Connections that say nothing, each accepted. */
static void connect_silent(struct e2e *e2e, unsigned port, int *descriptors, unsigned count)
{
    struct crowd crowd = { e2e, daemon_open_descriptors(&e2e->daemon) + count };
    for (unsigned i = 0; i < count; i++) {
        descriptors[i] = client_tcp(port);
    }
    assert_true(wait_until(has_descriptors, &crowd, 10000));
}

static void close_all(const int *descriptors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        close(descriptors[i]);
    }
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

/* The median time from a line's sending to its arrival: the best of three, for other programs run beside. */
static int64_t median_latency_us(struct e2e *e2e, int fd)
{
    int64_t best = INT64_MAX;
    for (unsigned round = 0; round < 3; round++) {
        int64_t times[101];
        for (unsigned i = 0; i < 101; i++) {
            int64_t began_us = wait_now_us();
            client_print(fd, "%u\n", i);
            e2e_next(e2e, "busy/state");
            times[i] = wait_now_us() - began_us;
        }
        qsort(times, 101, sizeof times[0], compare);
        best = times[50] < best ? times[50] : best;
    }
    return best;
}

static void silent_connections_do_not_slow_a_busy_one(struct e2e *e2e)
{
    static int silent[SILENT];
    unsigned port = client_free_port();
    unsigned busy = client_free_port();
    e2e->mqtt_more = "qos = 0;";
    e2e_start(e2e, RAW_PORT("silent", "max_connections = 2000;") RAW_PORT("busy", ""), port, busy);
    int fd = client_tcp(busy);
    int64_t alone_us = median_latency_us(e2e, fd);
    unsigned rss_before;
    unsigned rss_after;
    unsigned pss;
    daemon_memory(&e2e->daemon, &rss_before, &pss);
    connect_silent(e2e, port, silent, SILENT);
    int64_t beside_us = median_latency_us(e2e, fd);
    daemon_memory(&e2e->daemon, &rss_after, &pss);
    print_message("median %lld us alone, %lld us beside; 1000 connections cost %d KiB\n", (long long)alone_us,
                  (long long)beside_us, (int)rss_after - (int)rss_before);
    if (!wait_is_slowed()) {
        assert_in_range(beside_us, 0, 2 * alone_us + 500);
        assert_in_range(rss_after, 0, rss_before + 2048);
    }
    close_all(silent, SILENT);
    close(fd);
}

struct quiet {
    const struct daemon *daemon;
    uint64_t waits;
    int64_t since_ms;
};

/* Whether no thread has woken up for this while. */
static bool is_quiet(void *context)
{
    struct quiet *quiet = context;
    uint64_t waits = daemon_waits(quiet->daemon);
    if (waits != quiet->waits) {
        quiet->waits = waits;
        quiet->since_ms = wait_now_ms();
    }
    return wait_now_ms() - quiet->since_ms >= 2000;
}

/* ThreadSanitizer has a thread of its own in the daemon, which wakes up ten times a second. */
#ifdef __SANITIZE_THREAD__
#define QUIET_CAN_BE_SEEN false
#else
#define QUIET_CAN_BE_SEEN true
#endif

static void nothing_wakes_up_while_nothing_comes(struct e2e *e2e)
{
    static int silent[SILENT];
    unsigned port = client_free_port();
    e2e->stats_interval = "0s";
    e2e_start(e2e, RAW_PORT("silent", "max_connections = 2000;"), port);
    connect_silent(e2e, port, silent, SILENT);
    struct quiet quiet = { .daemon = &e2e->daemon };
    if (QUIET_CAN_BE_SEEN) {
        assert_true(wait_until(is_quiet, &quiet, 6000));
    }
    close_all(silent, SILENT);
}

static void connections_past_the_limit_are_closed_and_counted(struct e2e *e2e)
{
    unsigned port = client_free_port();
    unsigned attempts = wait_load(10000);
    int held[16];
    e2e_start(e2e, RAW_PORT("in", "max_connections = 16;"), port);
    connect_silent(e2e, port, held, 16);
    for (unsigned i = 0; i < attempts; i++) {
        int fd = client_tcp(port);
        assert_true(client_wait_closed(fd, 5000));
        close(fd);
    }
    e2e_wait_counter(e2e, "ports.in.rejected.max-connections", attempts);
    for (unsigned i = 0; i < 16; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "still %u", i);
        client_print(held[i], "%s\n", payload);
        e2e_expect(e2e, "in/state", payload);
    }
    close_all(held, 16);
}

static void accept_pauses_when_descriptors_run_out(struct e2e *e2e)
{
    int crowd[100];
    unsigned port = client_free_port();
    unsigned datagrams = client_free_port();
    e2e->descriptors = 64;
    e2e_start(e2e, RAW_PORT("in", "max_connections = 256;") E2E_UDP("dg") E2E_RAW "}", port, datagrams);
    int udp = client_udp(datagrams);
    for (unsigned i = 0; i < 100; i++) {
        crowd[i] = client_tcp(port); /* the kernel takes what the daemon can't */
    }
    struct crowd full = { e2e, 60 };
    assert_true(wait_until(has_descriptors, &full, 10000));
    uint64_t cpu_ms = daemon_cpu_ms(&e2e->daemon);
    int64_t began_ms = wait_now_ms();
    for (unsigned i = 0; i < 50; i++) {
        client_print(crowd[0], "first\n");
        e2e_expect(e2e, "in/state", "first");
        client_print(udp, "aside");
        e2e_expect(e2e, "dg/state", "aside");
        wait_nap();
    }
    uint64_t used_ms = daemon_cpu_ms(&e2e->daemon) - cpu_ms;
    if (!wait_is_slowed()) {
        assert_in_range(used_ms, 0, 50 + (uint64_t)(wait_now_ms() - began_ms) / 2); /* it does not spin */
    }
    client_print(crowd[99], "last\n");
    close_all(crowd, 80);
    e2e_expect(e2e, "in/state", "last");
    close_all(crowd + 80, 20);
    close(udp);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(silent_connections_do_not_slow_a_busy_one),
        E2E_TEST(nothing_wakes_up_while_nothing_comes),
        E2E_TEST(connections_past_the_limit_are_closed_and_counted),
        E2E_TEST(accept_pauses_when_descriptors_run_out),
    };
    return e2e_main("e2e_many", tests, sizeof tests / sizeof tests[0]);
}
