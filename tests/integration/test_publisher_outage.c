/* The broker goes away under load, in several ways: nothing is lost, and each device's order is kept. */
#include "publisher_bench.h"

#include <errno.h>
#include <pthread.h>

#define READINGS 4000

struct device {
    struct bench *bench;
    struct fg_origin *origin;
    char topic[32];
    int qos;
    int window; /* how far back what comes again may go */
    int gaps;   /* how often something may be missing that the broker had acknowledged and then forgot */
    pthread_t thread;
};

/* Offers its readings as fast as there is room, as a stream that waits when the outbox is full. */
static void *produce(void *context)
{
    struct device *device = context;
    for (int i = 0; i < READINGS; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%d", i);
        struct fg_message *message = bench_message(device->origin, device->topic, payload, device->qos);
        int error;
        while ((error = fg_publisher_offer(device->bench->publisher, message)) == -ENOBUFS) {
            int rooms = atomic_load(&device->bench->rooms);
            for (int tries = 0; tries < 20 && atomic_load(&device->bench->rooms) == rooms; tries++) {
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
            }
        }
        if (error) {
            fg_message_free(message);
            break;
        }
        fg_publisher_flush(device->bench->publisher);
    }
    return NULL;
}

/* New readings come in order without a gap that is not the broker's; what comes again (QoS 1) is no older
 * than the window. */
static void assert_order(struct device *device)
{
    struct test_subscriber *subscriber = &device->bench->subscriber;
    int expected = 0;
    pthread_mutex_lock(&subscriber->lock);
    for (size_t i = 0; i < subscriber->count; i++) {
        if (strcmp(subscriber->messages[i].topic, device->topic) != 0) {
            continue;
        }
        int number = atoi(subscriber->messages[i].payload);
        if (number > expected && device->gaps > 0) {
            device->gaps--;
            expected = number;
        }
        if (number == expected) {
            expected++;
        } else {
            assert_int_equal(device->qos, 1);
            assert_in_range(number, expected > device->window ? expected - device->window : 0, expected - 1);
        }
    }
    pthread_mutex_unlock(&subscriber->lock);
    assert_int_equal(expected, READINGS);
}

static bool has_all(void *context)
{
    struct device *device = context;
    char last[16], payload[16];
    snprintf(last, sizeof last, "%d", READINGS - 1);
    size_t count = test_subscriber_count(&device->bench->subscriber, device->topic);
    return (count >= READINGS || device->gaps > 0) && count > 0 &&
           test_subscriber_payload(&device->bench->subscriber, device->topic, count - 1, payload,
                                   sizeof payload) &&
           strcmp(payload, last) == 0;
}

static bool has_acknowledged(void *context)
{
    struct bench *bench = context;
    return bench_stats(bench).acknowledged >= bench->goal;
}

static void start_devices(struct bench *bench, struct device devices[2], int qos, int window)
{
    bench->queue_bytes = 20000; /* some hundred readings: the outbox is full all along */
    bench_subscribe(bench);
    bench_start(bench);
    for (int i = 0; i < 2; i++) {
        devices[i] = (struct device){ .bench = bench, .qos = qos, .window = window };
        snprintf(devices[i].topic, sizeof devices[i].topic, "base/device%d", i);
        devices[i].origin = fg_origin_new("port", devices[i].topic + 5);
        assert_int_equal(pthread_create(&devices[i].thread, NULL, produce, &devices[i]), 0);
    }
}

static void assert_all_arrived(struct bench *bench, struct device devices[2])
{
    for (int i = 0; i < 2; i++) {
        pthread_join(devices[i].thread, NULL);
        assert_true(test_wait(has_all, &devices[i], 30000));
        assert_order(&devices[i]);
    }
    assert_true(test_wait(is_drained, bench, 10000));
    assert_int_equal(bench_stats(bench).acknowledged, 2 * READINGS);
    assert_int_equal(bench_stats(bench).published, 2 * READINGS);
    for (int i = 0; i < 2; i++) {
        fg_origin_unref(devices[i].origin);
    }
}

#define OUTAGES 2

/* The broker goes and comes back on its port. A broker that is killed forgets some of what it has
 * acknowledged: from then on it is not the gateway's, and all that is left to see is that the gateway goes on
 * in order. */
static void ride_out(struct bench *bench, void (*outage)(struct test_broker *), const char *config, int gaps)
{
    struct device devices[2];
    bench_broker(bench, config);
    start_devices(bench, devices, 1,
                  READINGS); /* a broker that comes back repeats what it had for its subscriber */
    devices[0].gaps = devices[1].gaps = gaps;
    for (int round = 1; round <= OUTAGES; round++) {
        bench->goal = (uint64_t)round * READINGS / 2; /* of twice as many in all: it happens in full flow */
        assert_true(test_wait(has_acknowledged, bench, 20000));
        outage(&bench->broker);
        assert_true(test_wait(is_disconnected, bench, 5000));
        test_broker_restart(&bench->broker);
    }
    assert_all_arrived(bench, devices);
    assert_true(bench_stats(bench).reconnects >= OUTAGES);
}

static bool was_cut(void *context)
{
    const struct bench *bench = context;
    return atomic_load(&bench->proxy.cuts) >= bench->cuts;
}

static bool has_come_back(void *context)
{
    struct bench *bench = context;
    return bench_stats(bench).reconnects + 1 >= (uint64_t)bench->cuts;
}

/* Only the connection breaks, at any byte of either direction; the broker lives on and knows what it has
 * seen. */
static void ride_out_cuts(struct bench *bench, int qos, int protocol)
{
    struct device devices[2];
    bench->settings.protocol = protocol;
    bench_broker(bench, NULL);
    test_proxy_start(&bench->proxy, bench->broker.port);
    snprintf(bench->first_address, sizeof bench->first_address, "127.0.0.1:%d", bench->proxy.port);
    start_devices(bench, devices, qos, (int)bench->settings.max_inflight);
    for (int round = 1; round <= 6; round++) {
        bench->goal = (uint64_t)round * READINGS / 5;
        bench->cuts = round;
        assert_true(test_wait(has_acknowledged, bench, 20000));
        assert_true(test_wait(has_come_back, bench, 20000));
        test_proxy_cut(&bench->proxy);
        assert_true(test_wait(was_cut, bench, 5000));
    }
    assert_all_arrived(bench, devices);
    assert_true(bench_stats(bench).reconnects > 0); /* a cut may hit a connection that was not up yet */
}

static void a_restart_of_the_broker_loses_nothing_with_mqtt_5(void **state)
{
    ride_out(*state, test_broker_stop, NULL, 0);
}

static void a_restart_of_the_broker_loses_nothing_with_mqtt_311(void **state)
{
    struct bench *bench = *state;
    bench->settings.protocol = FG_MQTT_311;
    ride_out(bench, test_broker_stop, NULL, 0);
}

static void a_killed_broker_gets_the_rest_in_order_when_it_is_back(void **state)
{
    /* Saved often, so that the subscriber's subscription is there after the kill. */
    const char *config = "autosave_on_changes true\nautosave_interval 1\nmax_inflight_messages 0";
    ride_out(*state, test_broker_kill, config, OUTAGES);
}

static void cut_connections_lose_nothing_with_mqtt_5(void **state)
{
    ride_out_cuts(*state, 1, FG_MQTT_5);
}

static void cut_connections_lose_nothing_with_mqtt_311(void **state)
{
    ride_out_cuts(*state, 1, FG_MQTT_311);
}

static void cut_connections_lose_and_double_nothing_with_qos_2_and_mqtt_5(void **state)
{
    ride_out_cuts(*state, 2, FG_MQTT_5);
}

static void cut_connections_lose_and_double_nothing_with_qos_2_and_mqtt_311(void **state)
{
    ride_out_cuts(*state, 2, FG_MQTT_311);
}

/* Something is handed over, and nothing has been written for many looks. */
static bool is_stuck(void *context)
{
    struct bench *bench = context;
    struct fg_publisher_stats stats = bench_stats(bench);
    bool same = stats.acknowledged == bench->goal && stats.published > stats.acknowledged;
    bench->looks = same ? bench->looks + 1 : 0;
    bench->goal = stats.acknowledged;
    return bench->looks >= 40;
}

/* What was written before the cut may have gone with the connection; the rest is there, in order. */
static void assert_tail(struct bench *bench, int readings, int written)
{
    char text[8];
    int last = readings - 1;
    for (size_t i = test_subscriber_count(&bench->subscriber, "base/a"); i-- > 0 && last >= written; last--) {
        assert_true(test_subscriber_payload(&bench->subscriber, "base/a", i, text, sizeof text));
        assert_int_equal(atoi(text), last);
    }
    assert_int_equal(last, written - 1);
}

/* The broker takes nothing, and then the connection breaks. One reading in so many is retained. */
static void break_with_much_unwritten(struct bench *bench, int readings, size_t size, int retained)
{
    char *payload = calloc(1, size);
    bench->queue_bytes = 100 << 20;
    bench_broker(bench, "max_queued_messages 0");
    bench_subscribe(bench);
    test_proxy_start(&bench->proxy, bench->broker.port);
    snprintf(bench->first_address, sizeof bench->first_address, "127.0.0.1:%d", bench->proxy.port);
    bench_start(bench);
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/status", "online", 5000));
    test_proxy_pause(&bench->proxy);
    memset(payload, ' ', size - 1);
    for (int i = 0; i < readings; i++) {
        payload[snprintf(payload, 8, "%d", i)] = ' ';
        struct fg_message *message = bench_message(bench->origin, "base/a", payload, 0);
        message->retain = i % retained == 0;
        assert_int_equal(fg_publisher_offer(bench->publisher, message), 0);
        fg_publisher_flush(bench->publisher);
    }
    bool stuck = test_wait(is_stuck, bench, 5000);
    int written = (int)bench_stats(bench).acknowledged;
    test_proxy_cut(&bench->proxy);
    free(payload);
    assert_true(stuck);
    assert_true(test_wait(is_drained, bench, 10000));
    assert_int_equal(bench_stats(bench).published, readings);
    assert_int_equal(bench_stats(bench).acknowledged, readings);
    assert_true(
        test_subscriber_wait_count(&bench->subscriber, "base/a", (size_t)(readings - written), 20000));
    assert_tail(bench, readings, written);
}

/* The client library forgets what it has not written when the connection breaks. */
static void qos_0_that_was_never_written_is_sent_again_in_order(void **state)
{
    break_with_much_unwritten(*state, 200, 100000, 1000);
}

/* Small ones go past the library, and retained ones do not. */
static void qos_0_of_all_kinds_is_sent_again_in_order(void **state)
{
    struct bench *bench = *state;
    bench->settings.max_inflight = 1000;
    break_with_much_unwritten(bench, 8000, 3000, 50);
}

/* Whether the library or the publisher itself writes a message, its place is behind those before it. */
static void readings_of_all_kinds_keep_their_order(void **state)
{
    struct bench *bench = *state;
    bench_broker(bench, "max_queued_messages 0");
    bench_subscribe(bench);
    bench_start(bench);
    for (int i = 0; i < READINGS; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%d", i);
        struct fg_message *message = bench_message(bench->origin, "base/a", payload, 0);
        message->retain = i % 7 == 0;
        assert_int_equal(fg_publisher_offer(bench->publisher, message), 0);
        if (i % 10 == 0) {
            fg_publisher_flush(bench->publisher);
        }
    }
    fg_publisher_flush(bench->publisher);
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/a", READINGS, 10000));
    assert_tail(bench, READINGS, 0);
}

static void readings_wait_through_a_long_outage_from_the_start(void **state)
{
    struct bench *bench = *state;
    bench_start(bench);
    for (int i = 0; i < 500; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%d", i);
        bench_offer(bench, "base/a", payload, i % 2);
    }
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    assert_true(test_wait(is_drained, bench, 10000));
    struct fg_publisher_stats stats = bench_stats(bench);
    assert_int_equal(stats.acknowledged, 500);
    assert_int_equal(stats.lost[FG_LOSS_SHUTDOWN], 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_restart_of_the_broker_loses_nothing_with_mqtt_5),
        CASE(a_restart_of_the_broker_loses_nothing_with_mqtt_311),
        CASE(a_killed_broker_gets_the_rest_in_order_when_it_is_back),
        CASE(cut_connections_lose_nothing_with_mqtt_5),
        CASE(cut_connections_lose_nothing_with_mqtt_311),
        CASE(cut_connections_lose_and_double_nothing_with_qos_2_and_mqtt_5),
        CASE(cut_connections_lose_and_double_nothing_with_qos_2_and_mqtt_311),
        CASE(qos_0_that_was_never_written_is_sent_again_in_order),
        CASE(qos_0_of_all_kinds_is_sent_again_in_order),
        CASE(readings_of_all_kinds_keep_their_order),
        CASE(readings_wait_through_a_long_outage_from_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
