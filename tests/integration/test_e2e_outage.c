/* The broker goes away, is away, or does not keep up: nothing is lost, or every loss is told. */
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
#include <unistd.h>

#define CONNECTIONS 5

static void readings_survive_a_broker_that_is_killed_and_comes_back(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned rate = wait_load(1000) < 200 ? 200 : wait_load(1000);
    unsigned total = rate * 5;
    e2e_start_broker(e2e);
    subscriber_open(&e2e->subscriber, e2e->broker.port, "keeper", true, E2E_BASE "/#", 1);
    arrivals_watch(&arrivals, &e2e->subscriber);
    e2e_broker_save(&e2e->broker);
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_wait_online(e2e);
    e2e_begin_load(e2e, port, CONNECTIONS, total / CONNECTIONS, rate);
    arrivals_wait(&arrivals, &e2e->subscriber, rate, 10000);
    e2e_broker_kill(&e2e->broker);
    subscriber_read_to_end(&e2e->subscriber);
    load_wait_sent(&e2e->load, rate * 4, 20000);
    e2e_broker_start(&e2e->broker);
    subscriber_return(&e2e->subscriber);
    arrivals_wait(&arrivals, &e2e->subscriber, total, 20000);
    assert_int_equal(load_join(&e2e->load), 0);
    assert_int_equal(arrivals.missing, 0);
    print_message("%u readings came twice\n", arrivals.again);
    assert_in_range(arrivals.again, 0, 100); /* max_inflight */
    e2e_wait_counter(e2e, "acknowledged", total);
    e2e_expect_no_more(e2e, "loss");
}

static void readings_wait_for_a_broker_that_is_away_at_the_start(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned total = 1000;
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_begin_load(e2e, port, CONNECTIONS, total / CONNECTIONS, 0);
    assert_int_equal(load_join(&e2e->load), 0);
    e2e_start_broker_unseen(e2e);
    arrivals_watch(&arrivals, &e2e->subscriber);
    arrivals_wait(&arrivals, &e2e->subscriber, total, 10000);
    assert_int_equal(arrivals.missing, 0);
    assert_int_equal(arrivals.again, 0);
    e2e_wait_counter(e2e, "acknowledged", total);
}

struct unread {
    unsigned port;
};

static bool datagrams_are_read(void *context)
{
    uint64_t drops;
    return client_udp_unread(((struct unread *)context)->port, &drops) == 0;
}

/* Every datagram sent is published or told as lost. */
static void datagrams_past_the_queue_are_told_on_the_loss_topic(struct e2e *e2e)
{
    unsigned port = client_free_port();
    unsigned total = 3000;
    uint64_t drops;
    e2e->queue_bytes = "64KiB";
    e2e_start_daemon(e2e, E2E_UDP("in") E2E_RAW "}", port);
    int fd = client_udp(port);
    struct unread unread = { port };
    for (unsigned i = 0; i < total; i++) {
        client_print(fd, "%06u datagram of some length, so that they fill the queue soon", i);
        if (i % 50 == 49) {
            assert_true(wait_until(datagrams_are_read, &unread, 5000));
        }
    }
    assert_true(wait_until(datagrams_are_read, &unread, 5000));
    client_udp_unread(port, &drops);
    assert_int_equal(drops, 0);
    close(fd);
    e2e_start_broker_unseen(e2e);
    e2e_wait_online(e2e);
    uint64_t published;
    uint64_t lost;
    int64_t deadline = wait_deadline(10000);
    do {
        json_t *stats = e2e_next_stats(e2e);
        published = e2e_counter(stats, "acknowledged");
        lost = e2e_counter(stats, "lost.queue-full");
        json_decref(stats);
    } while (published + lost < total && !wait_over(deadline));
    assert_int_equal(published + lost, total);
    assert_true(lost > 0 && published > 0);
    e2e_wait_loss(e2e, "in", "queue-full", lost);
    unsigned last = 0;
    for (uint64_t i = 0; i < published; i++) {
        unsigned number = (unsigned)strtoul(e2e_next(e2e, "in/state")->payload, NULL, 10);
        assert_true(i == 0 || number > last);
        last = number;
    }
    e2e_expect_no_more(e2e, "in/state");
    e2e_wait_counter(e2e, "devices.in.lost.queue-full", lost);
}

static void serial_bytes_past_the_queue_are_told_on_the_loss_topic(struct e2e *e2e)
{
    struct pty *pty = e2e_plug_pty(e2e, "tty");
    unsigned total = 2000;
    e2e->queue_bytes = "64KiB";
    e2e_start(e2e, E2E_SERIAL("in") E2E_RAW "}", pty->link);
    e2e_wait_open(e2e, "in", 1);
    e2e_broker_kill(&e2e->broker);
    subscriber_close(&e2e->subscriber);
    for (unsigned i = 0; i < total; i++) {
        char line[128];
        int size =
            snprintf(line, sizeof line, "%06u line of some length, so that they fill the queue soon\n", i);
        pty_write(pty, line, (size_t)size);
    }
    e2e_start_broker_unseen(e2e);
    e2e_wait_counter(e2e, "ports.in.received", total);
    json_t *stats;
    uint64_t published;
    uint64_t lost;
    int64_t deadline = wait_deadline(10000);
    do {
        stats = e2e_next_stats(e2e);
        published = e2e_counter(stats, "acknowledged");
        lost = e2e_counter(stats, "lost.queue-full");
        json_decref(stats);
    } while (published + lost < total && !wait_over(deadline));
    assert_int_equal(published + lost, total);
    assert_true(lost > 0);
    e2e_wait_loss(e2e, "in", "queue-full", lost);
}

static void connections_wait_while_the_queue_is_full(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned lines = 20000; /* 6 MB: more than the kernel keeps for the connections */
    unsigned rss;
    unsigned pss;
    e2e->queue_bytes = "64KiB";
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e->load = (struct load){
        .port = port, .connections = CONNECTIONS, .lines = lines, .send_buffer = 65536, .line = load_line_60
    };
    load_start(&e2e->load);
    assert_in_range(load_wait_stalled(&e2e->load), 1, lines * CONNECTIONS - 1);
    uint64_t cpu_ms = daemon_cpu_ms(&e2e->daemon);
    load_wait_stalled(&e2e->load);
    assert_in_range(daemon_cpu_ms(&e2e->daemon) - cpu_ms, 0, 150); /* waiting does not spin */
    daemon_memory(&e2e->daemon, &rss, &pss);
    if (!wait_is_slowed()) {
        assert_in_range(rss, 0, 16 * 1024);
    }
    e2e_start_broker_unseen(e2e);
    arrivals_watch(&arrivals, &e2e->subscriber);
    arrivals_wait(&arrivals, &e2e->subscriber, lines * CONNECTIONS, 20000);
    assert_int_equal(load_join(&e2e->load), 0);
    assert_int_equal(arrivals.missing, 0);
    assert_int_equal(arrivals.again, 0);
    e2e_expect_no_more(e2e, "loss");
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(readings_survive_a_broker_that_is_killed_and_comes_back),
        E2E_TEST(readings_wait_for_a_broker_that_is_away_at_the_start),
        E2E_TEST(datagrams_past_the_queue_are_told_on_the_loss_topic),
        E2E_TEST(serial_bytes_past_the_queue_are_told_on_the_loss_topic),
        E2E_TEST(connections_wait_while_the_queue_is_full),
    };
    return e2e_main("e2e_outage", tests, sizeof tests / sizeof tests[0]);
}
