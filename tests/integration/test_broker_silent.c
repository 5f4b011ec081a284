/* Brokers that stand still: each is noticed, and left for another connection, in the time that the keepalive
 * sets. */
#include "fake_bench.h"

#include "support/wait.h"

#include <signal.h>

#define KEEPALIVE_MS 5000

/* What a busy machine adds. */
#define GRACE_MS 1000

static void use_short_keepalive(struct bench *bench)
{
    bench->settings.keepalive_ns = MS(KEEPALIVE_MS);
}

/* The connection that is up ends within one and a half times the keepalive, and not before its time. */
static void assert_noticed(struct bench *bench, int least_ms)
{
    long long before_ms = test_now_ms();
    assert_true(test_wait(is_disconnected, bench, 3 * KEEPALIVE_MS));
    long long took_ms = test_now_ms() - before_ms;
    assert_true(took_ms >= least_ms);
    assert_true(wait_is_slowed() || took_ms <= KEEPALIVE_MS * 3 / 2 + GRACE_MS);
}

static void a_broker_that_never_answers_a_connect_is_left(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, &(struct fake_script){ .silent = true });
    bench_start(bench);
    offer_readings(bench, 100, 1);
    WAIT_AMOUNT(5000, .connects = 1);
    fake_broker_behave(&fake, &(struct fake_script){ .deaf = true }); /* the next one: not even reads */
    WAIT_AMOUNT(15000, .accepted = 2);
    fake_broker_behave(&fake, NULL);
    assert_true(test_wait(is_drained, bench, 20000));
    assert_all_taken(&fake, 1);
}

static void a_broker_that_owes_an_acknowledgement_is_left(void **state)
{
    struct bench *bench = *state;
    use_short_keepalive(bench);
    use_fake(bench, &(struct fake_script){ .acks = FAKE_ACKS_GAPS });
    bench_start(bench);
    offer_readings(bench, 30, 1);
    assert_true(test_wait(is_connected, bench, 5000));
    fake_broker_behave(&fake, NULL);
    assert_noticed(bench, KEEPALIVE_MS);
    assert_true(test_wait(is_drained, bench, 10000));
    assert_all_taken(&fake, 1);
    assert_true(atomic_load(&fake.pings) <= 1); /* it was there all along */
}

static void a_broker_that_reads_nothing_any_more_is_left(void **state)
{
    struct bench *bench = *state;
    use_short_keepalive(bench);
    bench->queue_bytes = 1 << 20;
    use_fake(bench, &(struct fake_script){ .deaf_later = true });
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 5000));
    offer_readings(bench, 500, 0);
    fake_broker_behave(&fake, NULL);
    assert_noticed(bench, KEEPALIVE_MS);
    offer_readings(bench, 100, 0);
    assert_true(test_wait(is_drained, bench, 10000));
}

/* An idle line, and one on which something goes all the time. */
static void a_broker_that_answers_no_ping_is_left(void **state)
{
    struct bench *bench = *state;
    use_short_keepalive(bench);
    use_fake(bench, &(struct fake_script){ .unpinged = true });
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 5000));
    assert_noticed(bench, KEEPALIVE_MS);
    assert_int_equal(atomic_load(&fake.pings), 1);
    assert_true(test_wait(is_connected, bench, 5000));
    long long begin_ms = test_now_ms();
    while (!is_disconnected(bench) && test_now_ms() - begin_ms < 3 * KEEPALIVE_MS) {
        offer_readings(bench, 1, 0);
        nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    }
    assert_true(wait_is_slowed() || test_now_ms() - begin_ms <= KEEPALIVE_MS * 3 / 2 + GRACE_MS);
}

static void a_frozen_broker_is_noticed(void **state)
{
    struct bench *bench = *state;
    use_short_keepalive(bench);
    bench_broker(bench, NULL);
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 5000));
    offer_readings(bench, 10, 1);
    assert_true(test_wait(is_drained, bench, 5000));
    kill(bench->broker.pid, SIGSTOP);
    offer_readings(bench, 10, 1);
    assert_noticed(bench, 0);
    kill(bench->broker.pid, SIGCONT);
    assert_true(test_wait(is_drained, bench, 20000));
}

static void a_connection_that_ends_nowhere_is_noticed(void **state)
{
    struct bench *bench = *state;
    use_short_keepalive(bench);
    bench_broker(bench, NULL);
    test_proxy_start(&bench->proxy, bench->broker.port);
    snprintf(bench->first_address, sizeof bench->first_address, "127.0.0.1:%d", bench->proxy.port);
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 5000));
    test_proxy_pause(&bench->proxy);
    assert_noticed(bench, 0);
    test_proxy_cut(&bench->proxy);
    assert_true(test_wait(is_connected, bench, 5000));
}

static void a_quiet_broker_that_is_there_is_not_left(void **state)
{
    struct bench *bench = *state;
    use_short_keepalive(bench);
    use_fake(bench, NULL);
    bench_start(bench);
    WAIT_AMOUNT(25000, .pings = 2);
    assert_int_equal(bench_stats(bench).reconnects, 0);
}

static void the_brokers_keepalive_counts(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, &(struct fake_script){ .properties = FAKE_BYTES(0x13, 0, 1) });
    bench_start(bench);
    WAIT_AMOUNT(5000, .pings = 2);
    assert_int_equal(bench_stats(bench).reconnects, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAKE_CASE(a_broker_that_never_answers_a_connect_is_left),
        FAKE_CASE(a_broker_that_owes_an_acknowledgement_is_left),
        FAKE_CASE(a_broker_that_reads_nothing_any_more_is_left),
        FAKE_CASE(a_broker_that_answers_no_ping_is_left),
        FAKE_CASE(a_frozen_broker_is_noticed),
        FAKE_CASE(a_connection_that_ends_nowhere_is_noticed),
        FAKE_CASE(a_quiet_broker_that_is_there_is_not_left),
        FAKE_CASE(the_brokers_keepalive_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
