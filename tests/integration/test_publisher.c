#include "publisher_bench.h"

#include <errno.h>
#include <pthread.h>

static void readings_arrive_with(struct bench *bench, int protocol)
{
    bench->settings.protocol = protocol;
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    bench_start(bench);
    static const char *const topics[] = { "base/a/0", "base/a/1", "base/a/2" };
    for (int qos = 0; qos <= 2; qos++) {
        for (int i = 0; i < 300; i++) {
            char payload[16];
            snprintf(payload, sizeof payload, "%d", i);
            bench_offer(bench, topics[qos], payload, qos);
        }
    }
    for (int qos = 0; qos <= 2; qos++) {
        assert_true(test_subscriber_wait_count(&bench->subscriber, topics[qos], 300, 10000));
        for (int i = 0; i < 300; i++) {
            char payload[16], expected[16];
            snprintf(expected, sizeof expected, "%d", i);
            assert_true(
                test_subscriber_payload(&bench->subscriber, topics[qos], (size_t)i, payload, sizeof payload));
            assert_string_equal(payload, expected);
        }
    }
    assert_true(test_wait(is_drained, bench, 5000));
    struct fg_publisher_stats stats = bench_stats(bench);
    assert_int_equal(stats.published, 900);
    assert_int_equal(stats.acknowledged, 900);
    assert_int_equal(stats.queued_bytes, 0);
    assert_int_equal(fg_counted(&bench->origin->published), 900);
    assert_int_equal(fg_counted(&bench->origin->acknowledged), 900);
}

static void readings_arrive_with_mqtt_5(void **state)
{
    readings_arrive_with(*state, FG_MQTT_5);
}

static void readings_arrive_with_mqtt_311(void **state)
{
    readings_arrive_with(*state, FG_MQTT_311);
}

static void more_than_the_broker_takes_at_once_arrives_too(void **state)
{
    struct bench *bench = *state;
    bench->settings.max_inflight = 1000;
    bench_broker(bench, "max_inflight_messages 3");
    bench_subscribe(bench);
    bench_start(bench);
    for (int i = 0; i < 500; i++) {
        bench_offer(bench, "base/a", "x", 1);
    }
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/a", 500, 10000));
}

static void the_gateway_and_its_devices_are_announced(void **state)
{
    struct bench *bench = *state;
    bench_broker(bench, NULL);
    bench_start(bench);
    fg_publisher_set_available(bench->publisher, bench->origin, true);
    bench_subscribe(bench);
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/status", "online", 5000));
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/dev/status", "online", 5000));
    fg_publisher_set_available(bench->publisher, bench->origin, false);
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/dev/status", "offline", 5000));
}

static void all_is_announced_again_to_a_broker_that_forgot(void **state)
{
    struct bench *bench = *state;
    bench_broker(bench, "persistence false");
    bench_start(bench);
    fg_publisher_set_available(bench->publisher, bench->origin, true);
    assert_true(test_wait(is_connected, bench, 5000));
    test_broker_kill(&bench->broker);
    assert_true(test_wait(is_disconnected, bench, 5000));
    test_broker_restart(&bench->broker);
    bench_subscribe(bench);
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/status", "online", 5000));
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/dev/status", "online", 5000));
    assert_int_equal(bench_stats(bench).reconnects, 1);
}

static void the_will_says_offline(void **state)
{
    struct bench *bench = *state;
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    bench_start(bench);
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/status", "online", 5000));
    fg_publisher_stop(bench->publisher, 0); /* no time for a good-bye */
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/status", "offline", 5000));
}

static void a_stop_delivers_what_waits_and_says_good_bye(void **state)
{
    struct bench *bench = *state;
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    bench_start(bench);
    fg_publisher_set_available(bench->publisher, bench->origin, true);
    for (int i = 0; i < 2000; i++) {
        bench_offer(bench, "base/a", "x", 1);
    }
    assert_int_equal(fg_publisher_stop(bench->publisher, S(10)), 0);
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/a", 2000, 5000));
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/dev/status", "offline", 5000));
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/status", "offline", 5000));
    assert_int_equal(bench_stats(bench).acknowledged, 2000);
    struct fg_message *late = bench_message(bench->origin, "base/a", "x", 1);
    assert_int_equal(fg_publisher_offer(bench->publisher, late), -ESHUTDOWN);
    fg_message_free(late);
}

static void a_stop_without_a_broker_ends_in_time_and_counts(void **state)
{
    struct bench *bench = *state;
    bench_start(bench); /* nobody listens */
    for (int i = 0; i < 5; i++) {
        bench_offer(bench, "base/a", "x", i % 3);
    }
    long long before_ms = test_now_ms();
    assert_int_equal(fg_publisher_stop(bench->publisher, MS(400)), 5);
    long long took_ms = test_now_ms() - before_ms;
    assert_true(took_ms >= 390 && took_ms < 1500);
    assert_int_equal(bench_stats(bench).lost[FG_LOSS_SHUTDOWN], 5);
    assert_int_equal(fg_counted(&bench->origin->lost[FG_LOSS_SHUTDOWN]), 5);
    assert_int_equal(bench_stats(bench).queued, 0);
}

static void a_stop_with_nothing_to_do_does_not_wait_for_a_broker(void **state)
{
    struct bench *bench = *state;
    bench_start(bench);
    long long before_ms = test_now_ms();
    assert_int_equal(fg_publisher_stop(bench->publisher, S(10)), 0);
    assert_true(test_now_ms() - before_ms < 3000);
}

static void a_stop_during_an_outage_still_delivers(void **state)
{
    struct bench *bench = *state;
    bench->settings.reconnect_min_ns = bench->settings.reconnect_max_ns = S(600);
    bench_start(bench);
    for (int i = 0; i < 50; i++) {
        bench_offer(bench, "base/a", "x", 1);
    }
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    assert_int_equal(fg_publisher_stop(bench->publisher, S(10)), 0);
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/a", 50, 5000));
}

static bool had_room(void *context)
{
    struct bench *bench = context;
    return atomic_load(&bench->rooms) > 0;
}

static void a_full_outbox_refuses_and_tells_when_there_is_room(void **state)
{
    struct bench *bench = *state;
    bench->queue_bytes = 10000;
    bench_start(bench);
    struct fg_message *refused = NULL;
    while (!refused) {
        struct fg_message *message = bench_message(bench->origin, "base/a", "0123456789", 1);
        int error = fg_publisher_offer(bench->publisher, message);
        assert_true(error == 0 || error == -ENOBUFS);
        refused = error ? message : NULL;
    }
    assert_true(fg_publisher_full(bench->publisher));
    assert_true(bench_stats(bench).queued_bytes <= 10000);
    assert_true(bench_stats(bench).queued_bytes + (uint64_t)fg_message_bytes(refused) > 10000);
    assert_int_equal(atomic_load(&bench->rooms), 0);
    bench_broker(bench, NULL);
    assert_true(test_wait(had_room, bench, 10000));
    assert_false(fg_publisher_full(bench->publisher));
    assert_int_equal(fg_publisher_offer(bench->publisher, refused), 0);
    fg_publisher_flush(bench->publisher);
    assert_true(test_wait(is_drained, bench, 5000));
    assert_int_equal(atomic_load(&bench->rooms), 1);
    char *large = calloc(1, 10001);
    memset(large, 'x', 10000);
    struct fg_message *never = bench_message(bench->origin, "base/a", large, 1);
    assert_int_equal(fg_publisher_offer(bench->publisher, never), -EMSGSIZE);
    fg_message_free(never);
    free(large);
}

static void losses_are_told_merged_when_the_broker_is_back(void **state)
{
    struct bench *bench = *state;
    bench_start(bench);
    for (int i = 0; i < 1000; i++) {
        fg_publisher_lose(bench->publisher, bench->origin, FG_LOSS_QUEUE_FULL, 5000 + i, 2);
    }
    fg_publisher_lose(bench->publisher, bench->origin, FG_LOSS_NO_MEMORY, 7, 1);
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    char payload[256];
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/gw/loss", 2, 5000));
    assert_true(test_subscriber_payload(&bench->subscriber, "base/gw/loss", 0, payload, sizeof payload));
    assert_string_equal(
        payload, "{\"device\":\"dev\",\"from\":5000,\"to\":5999,\"count\":2000,\"reason\":\"queue-full\"}");
    assert_true(test_subscriber_payload(&bench->subscriber, "base/gw/loss", 1, payload, sizeof payload));
    assert_string_equal(payload,
                        "{\"device\":\"dev\",\"from\":7,\"to\":7,\"count\":1,\"reason\":\"no-memory\"}");
    /* The first of these is told at once or with the rest, but never one by one. */
    for (int i = 0; i < 500; i++) {
        fg_publisher_lose(bench->publisher, bench->origin, FG_LOSS_QUEUE_FULL, 9000, 1);
    }
    assert_int_equal(fg_publisher_stop(bench->publisher, S(5)), 0);
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/status", "offline", 5000));
    assert_in_range(test_subscriber_count(&bench->subscriber, "base/gw/loss"), 3, 5);
    assert_int_equal(bench_stats(bench).lost[FG_LOSS_QUEUE_FULL], 2500);
    assert_int_equal(fg_counted(&bench->origin->lost[FG_LOSS_QUEUE_FULL]), 2500);
    assert_false(bench->origin->has_hole);
}

static void what_the_broker_refuses_is_lost_and_told(void **state)
{
    struct bench *bench = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/acl", bench->broker.folder);
    FILE *file = fopen(path, "we");
    fprintf(file, "topic readwrite base/gw/#\ntopic read base/#\n");
    fclose(file);
    bench_broker(bench, "acl_file %s/acl");
    bench_subscribe(bench);
    bench_start(bench);
    bench_offer(bench, "base/forbidden", "x", 1);
    bench_offer(bench, "base/forbidden", "x", 2);
    bench_offer(bench, "base/gw/allowed", "x", 1);
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/gw/loss", 1, 5000));
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/gw/allowed", 1, 5000));
    assert_true(test_wait(is_drained, bench, 5000));
    assert_int_equal(bench_stats(bench).lost[FG_LOSS_REFUSED], 2);
    assert_int_equal(bench_stats(bench).acknowledged, 1);
}

static void what_is_too_large_for_the_broker_is_lost_and_told(void **state)
{
    struct bench *bench = *state;
    bench_broker(bench, "max_packet_size 1000");
    bench_subscribe(bench);
    bench_start(bench);
    char payload[1200];
    memset(payload, 'x', sizeof payload - 1);
    payload[sizeof payload - 1] = '\0';
    bench_offer(bench, "base/a", payload, 1);
    payload[984] = '\0'; /* 3 + 2 + 6 + 2 + 1 + 984 = 998 */
    bench_offer(bench, "base/a", payload, 1);
    bench_offer(bench, "base/+/a", "x", 1);
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/a", 1, 5000));
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/gw/loss", 2, 5000));
    assert_int_equal(bench_stats(bench).lost[FG_LOSS_TOO_LARGE], 1);
    assert_int_equal(bench_stats(bench).lost[FG_LOSS_REFUSED], 1);
}

static void statistics_are_told(void **state)
{
    struct bench *bench = *state;
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    bench_start(bench);
    fg_publisher_tell_stats(bench->publisher, "old", 3); /* dropped: the broker is not there yet, or told */
    assert_true(test_wait(is_connected, bench, 5000));
    fg_publisher_tell_stats(bench->publisher, "{\"a\":1}", 7);
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/stats", "{\"a\":1}", 5000));
    assert_int_equal(bench_stats(bench).published, 0);
}

static void lingering_waits_for_more_and_no_longer_than_that(void **state)
{
    struct bench *bench = *state;
    bench->settings.linger_ns = MS(300);
    bench->settings.max_inflight = 10;
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    bench_start(bench);
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/status", "online", 5000));
    long long before_ms = test_now_ms();
    bench_offer(bench, "base/a", "x", 1);
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/a", 1, 5000));
    assert_true(test_now_ms() - before_ms >= 295);
}

static void a_full_batch_does_not_linger(void **state)
{
    struct bench *bench = *state;
    bench->settings.linger_ns = S(10);
    bench->settings.max_inflight = 10;
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    bench_start(bench);
    assert_true(test_subscriber_wait_payload(&bench->subscriber, "base/gw/status", "online", 5000));
    for (int i = 0; i < 10; i++) {
        bench_offer(bench, "base/a", "x", 1);
    }
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/a", 10, 5000));
}

static void the_next_address_is_tried(void **state)
{
    struct bench *bench = *state;
    bench->settings.address.count = 2;
    memcpy(bench->second_address, bench->first_address, sizeof bench->second_address);
    snprintf(bench->first_address, sizeof bench->first_address, "localhost:%d", test_free_port());
    bench_broker(bench, NULL);
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 5000));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(readings_arrive_with_mqtt_5),
        CASE(readings_arrive_with_mqtt_311),
        CASE(more_than_the_broker_takes_at_once_arrives_too),
        CASE(the_gateway_and_its_devices_are_announced),
        CASE(all_is_announced_again_to_a_broker_that_forgot),
        CASE(the_will_says_offline),
        CASE(a_stop_delivers_what_waits_and_says_good_bye),
        CASE(a_stop_without_a_broker_ends_in_time_and_counts),
        CASE(a_stop_with_nothing_to_do_does_not_wait_for_a_broker),
        CASE(a_stop_during_an_outage_still_delivers),
        CASE(a_full_outbox_refuses_and_tells_when_there_is_room),
        CASE(losses_are_told_merged_when_the_broker_is_back),
        CASE(what_the_broker_refuses_is_lost_and_told),
        CASE(what_is_too_large_for_the_broker_is_lost_and_told),
        CASE(statistics_are_told),
        CASE(lingering_waits_for_more_and_no_longer_than_that),
        CASE(a_full_batch_does_not_linger),
        CASE(the_next_address_is_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
