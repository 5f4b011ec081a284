/* Many connections as fast as they can send: nothing lost, nothing twice, each device's order kept, memory
 * steady. */
#include "support/arrivals.h"
#include "support/client.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CONNECTIONS 50

/* A port whose devices are named by the first column, their frames published as they are. */
static void start_gateway(struct e2e *e2e, struct arrivals *arrivals, unsigned port)
{
    e2e_start_broker(e2e);
    subscriber_open(&e2e->subscriber, e2e->broker.port, "watcher", false, E2E_BASE "/#", 0);
    arrivals_watch(arrivals, &e2e->subscriber);
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_wait_online(e2e);
}

/* Reads until this many have arrived; the largest resident set meanwhile, sampled now and then, is *most. */
static void read_arrivals(struct e2e *e2e, const struct arrivals *arrivals, unsigned total, unsigned *most)
{
    int64_t deadline = wait_deadline(60000);
    int64_t next_sample_ms = 0;
    *most = 0;
    while (arrivals->total < total) {
        if (wait_over(deadline) || !subscriber_read(&e2e->subscriber, 100)) {
            fail_msg("%u of %u readings arrived", arrivals->total, total);
        }
        if (wait_now_ms() >= next_sample_ms) {
            unsigned rss;
            unsigned pss;
            daemon_memory(&e2e->daemon, &rss, &pss);
            *most = rss > *most ? rss : *most;
            next_sample_ms = wait_now_ms() + 50;
        }
    }
}

static void readings_of_fifty_connections_all_arrive_in_order(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned lines = wait_load(8000);
    unsigned total = lines * CONNECTIONS;
    unsigned first_half;
    unsigned second_half;
    start_gateway(e2e, &arrivals, port);
    e2e->load =
        (struct load){ .port = port, .connections = CONNECTIONS, .lines = lines, .line = load_line_60 };
    int64_t began_ms = wait_now_ms();
    load_start(&e2e->load);
    read_arrivals(e2e, &arrivals, total / 2, &first_half);
    read_arrivals(e2e, &arrivals, total, &second_half);
    print_message("%u readings in %lld ms; RSS at most %u KiB, then %u KiB\n", total,
                  (long long)(wait_now_ms() - began_ms), first_half, second_half);
    assert_int_equal(load_join(&e2e->load), 0);
    e2e_wait_counter(e2e, "acknowledged", total);
    assert_int_equal(arrivals.total, total);
    assert_int_equal(arrivals.again + arrivals.missing + arrivals.foreign, 0);
    if (!wait_is_slowed()) {
        assert_in_range(second_half, 0, first_half + 2048);
        assert_in_range(second_half, 0, 24 * 1024); /* the queue's 4 MiB and what the heap makes of it */
    }
}

static void footprint_is_small_at_ten_thousand_readings_a_second(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned lines = wait_load(500);
    unsigned half;
    unsigned rss;
    unsigned pss;
    start_gateway(e2e, &arrivals, port);
    e2e->load = (struct load){ .port = port,
                               .connections = CONNECTIONS,
                               .lines = lines,
                               .rate = wait_load(10000),
                               .line = load_line_60 };
    load_start(&e2e->load);
    read_arrivals(e2e, &arrivals, lines * CONNECTIONS * 4 / 5, &half);
    daemon_memory(&e2e->daemon, &rss, &pss);
    read_arrivals(e2e, &arrivals, lines * CONNECTIONS, &half);
    assert_int_equal(load_join(&e2e->load), 0);
    assert_int_equal(arrivals.again + arrivals.missing + arrivals.foreign, 0);
    print_message("RSS %u KiB, PSS %u KiB\n", rss, pss);
    if (!wait_is_slowed()) {
        assert_in_range(pss, 0, 3 * 1024);
    }
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(readings_of_fifty_connections_all_arrive_in_order),
        E2E_TEST(footprint_is_small_at_ten_thousand_readings_a_second),
    };
    return e2e_main("e2e_load", tests, sizeof tests / sizeof tests[0]);
}
