/* The daemon with a spool: readings wait on disk for the broker, in every event model. */
#include "support/arrivals.h"
#include "support/client.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECTIONS 5

/* Far more than memory may hold comes while the broker is away, and goes on coming when it is back. */
static void an_outage_longer_than_the_queue_loses_nothing(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned rate = wait_load(1000) < 200 ? 200 : wait_load(1000);
    unsigned total = rate * 5;
    e2e->spool = "outage";
    e2e->queue_bytes = "64KiB";
    e2e_start_broker(e2e);
    subscriber_open(&e2e->subscriber, e2e->broker.port, "keeper", true, E2E_BASE "/#", 1);
    arrivals_watch(&arrivals, &e2e->subscriber);
    e2e_broker_save(&e2e->broker);
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_wait_online(e2e);
    e2e_begin_load(e2e, port, CONNECTIONS, total / CONNECTIONS, rate);
    arrivals_wait(&arrivals, &e2e->subscriber, rate / 2, 10000);
    e2e_broker_kill(&e2e->broker);
    subscriber_read_to_end(&e2e->subscriber);
    /* What is sent is read although the queue is long full: no link is made to wait. */
    load_wait_sent(&e2e->load, rate * 4, 20000);
    e2e_broker_start(&e2e->broker);
    subscriber_return(&e2e->subscriber);
    arrivals_wait(&arrivals, &e2e->subscriber, total, 20000);
    assert_int_equal(load_join(&e2e->load), 0);
    assert_int_equal(arrivals.missing, 0);
    assert_in_range(arrivals.again, 0, 100); /* max_inflight */
    e2e_expect_no_more(e2e, "loss");
}

static bool is_read(void *context)
{
    return client_tcp_unread(*(const unsigned *)context) == 0;
}

static void a_stop_without_a_broker_keeps_what_waits(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned total = 500;
    char path[TEMPDIR_PATH + 16];
    struct stat file;
    e2e->spool = "outage";
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_begin_load(e2e, port, CONNECTIONS, total / CONNECTIONS, 0);
    assert_int_equal(load_join(&e2e->load), 0);
    assert_true(wait_until(is_read, &port, 5000));
    snprintf(path, sizeof path, "%s/spool.db", e2e->folder);
    assert_int_equal(daemon_stop(&e2e->daemon, 5000), 0);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    e2e_start_broker(e2e);
    subscriber_open(&e2e->subscriber, e2e->broker.port, "keeper", true, E2E_BASE "/#", 1);
    arrivals_watch(&arrivals, &e2e->subscriber);
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    arrivals_wait(&arrivals, &e2e->subscriber, total, 10000);
    assert_int_equal(arrivals.missing, 0);
    assert_int_equal(arrivals.again, 0);
}

static void with_always_all_goes_through_the_disk_and_arrives(struct e2e *e2e)
{
    struct arrivals arrivals = { 0 };
    unsigned port = client_free_port();
    unsigned total = wait_load(5000);
    e2e->spool = "always";
    e2e_start_broker(e2e);
    e2e_subscribe(e2e);
    arrivals_watch(&arrivals, &e2e->subscriber);
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_wait_online(e2e);
    e2e_begin_load(e2e, port, CONNECTIONS, total / CONNECTIONS, 0);
    arrivals_wait(&arrivals, &e2e->subscriber, total, 20000);
    assert_int_equal(load_join(&e2e->load), 0);
    assert_int_equal(arrivals.missing, 0);
    assert_int_equal(arrivals.again, 0);
    e2e_wait_counter(e2e, "acknowledged", total); /* the statistics before are from before */
    json_t *stats = e2e_next_stats(e2e);
    assert_true(e2e_counter(stats, "disk_written_bytes") > total * 60);
    json_decref(stats);
    e2e_expect_no_more(e2e, "loss");
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(an_outage_longer_than_the_queue_loses_nothing),
        E2E_TEST(a_stop_without_a_broker_keeps_what_waits),
        E2E_TEST(with_always_all_goes_through_the_disk_and_arrives),
    };
    return e2e_main("e2e_spool", tests, sizeof tests / sizeof *tests);
}
