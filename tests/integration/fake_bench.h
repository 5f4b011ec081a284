/* What the tests with fake brokers share, besides publisher_bench.h. */
#ifndef FIELDGATE_TEST_FAKE_BENCH_H
#define FIELDGATE_TEST_FAKE_BENCH_H

#include "publisher_bench.h"

#include "support/fake_broker.h"

#include <errno.h>

#define DEVICES 2

static struct fake_broker fake, spare;
static struct fg_origin *origins[DEVICES];
static const char *const topics[DEVICES] = { "base/device0", "base/device1" };
static int offered; /* to each device */

/* The fake stands at the bench's first address. */
static void use_fake(struct bench *bench, const struct fake_script *script)
{
    fake_broker_start(&fake, bench->broker.port, script);
}

static int fake_set_up(void **state)
{
    offered = 0;
    for (int i = 0; i < DEVICES; i++) {
        origins[i] = fg_origin_new("port", topics[i] + 5);
    }
    return bench_set_up(state);
}

static int fake_tear_down(void **state)
{
    int result = bench_tear_down(state);
    fake_broker_stop(&fake);
    fake_broker_stop(&spare);
    for (int i = 0; i < DEVICES; i++) {
        fg_origin_unref(origins[i]);
    }
    return result;
}

/* So many more readings of each device, numbered on. */
static inline void offer_readings(struct bench *bench, int count, int qos)
{
    for (int i = 0; i < count; i++, offered++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%d", offered);
        for (int device = 0; device < DEVICES; device++) {
            struct fg_message *message = bench_message(origins[device], topics[device], payload, qos);
            assert_int_equal(fg_publisher_offer(bench->publisher, message), 0);
        }
        fg_publisher_flush(bench->publisher);
    }
    struct fg_publisher_stats stats = bench_stats(bench);
    assert_true(stats.queued_bytes <= (uint64_t)bench->queue_bytes);
}

/* All readings of each device are there, the new ones in order; those that come again only where QoS 1 says
 * so. */
static inline void assert_all_taken(struct fake_broker *broker, int qos)
{
    for (int device = 0; device < DEVICES; device++) {
        struct fake_taken taken;
        int expected = 0;
        for (size_t i = 0; fake_broker_get(broker, topics[device], i, &taken); i++) {
            int number = atoi(taken.payload);
            if (number == expected) {
                expected++;
            } else {
                assert_int_equal(qos, 1);
                assert_in_range(number, 0, expected - 1);
            }
        }
        assert_int_equal(expected, offered);
    }
}

/* The broker is a good one from now on, and gets all that was offered. */
static inline void mend(struct bench *bench, int qos)
{
    fake_broker_behave(&fake, NULL);
    fake_broker_cut(&fake);
    assert_true(test_wait(is_drained, bench, 20000));
    assert_all_taken(&fake, qos);
    struct fg_publisher_stats stats = bench_stats(bench);
    assert_int_equal(stats.acknowledged, DEVICES * offered);
    for (int i = 0; i < FG_LOSS_COUNT; i++) {
        assert_int_equal(stats.lost[i], 0);
    }
}

/* How many connections, CONNECTs, messages a test waits for. */
struct amount {
    struct fake_broker *broker;
    int accepted, connects, messages, pings;
};

static inline bool has_amount(void *context)
{
    const struct amount *amount = context;
    return atomic_load(&amount->broker->accepted) >= amount->accepted &&
           atomic_load(&amount->broker->connects) >= amount->connects &&
           atomic_load(&amount->broker->pings) >= amount->pings &&
           (amount->messages == 0 || fake_broker_count(amount->broker, NULL) >= (size_t)amount->messages);
}

#define WAIT_AMOUNT(timeout_ms, ...)                                                                         \
    assert_true(test_wait(has_amount, &(struct amount){ .broker = &fake, __VA_ARGS__ }, timeout_ms))

#define FAKE_CASE(name) cmocka_unit_test_setup_teardown(name, fake_set_up, fake_tear_down)

#endif
