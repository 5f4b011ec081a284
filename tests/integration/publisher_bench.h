/* What the tests of the publisher share: settings, a broker, a subscriber, origins, a publisher. */
#ifndef FIELDGATE_TEST_PUBLISHER_BENCH_H
#define FIELDGATE_TEST_PUBLISHER_BENCH_H

#include "support/broker.h"
#include "support/proxy.h"

#include "fieldgate/clock.h"
#include "fieldgate/publisher.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S(seconds)       ((int64_t)(seconds)*FG_NS_PER_S)
#define MS(milliseconds) ((int64_t)(milliseconds)*FG_NS_PER_MS)

struct bench {
    struct test_broker broker;
    struct test_subscriber subscriber;
    struct fg_mqtt_settings settings;
    struct fg_tls_settings tls;
    char *addresses[2];
    char first_address[32], second_address[32];
    char password_file[128], ca_file[128], psk_file[128];
    struct fg_origin *origin;
    struct fg_publisher *publisher;
    int64_t queue_bytes;
    const struct fg_spool_settings *spool;
    atomic_int rooms;
    struct test_proxy proxy; /* runs only where a test starts it */
    int cuts;                /* of the proxy, that a test waits for */
    int looks;
    uint64_t goal; /* readings acknowledged that a test waits for */
};

static char text_empty[] = "", text_id[] = "gateway-{gateway}", text_base[] = "base/{gateway}";

/* Of a zeroed one, which points into itself and stays where it is. */
static void bench_init(struct bench *bench)
{
    test_broker_prepare(&bench->broker);
    bench->addresses[0] = bench->first_address;
    bench->addresses[1] = bench->second_address;
    snprintf(bench->first_address, sizeof bench->first_address, "%s", bench->broker.address);
    bench->settings = (struct fg_mqtt_settings){
        .address = { 1, bench->addresses },
        .protocol = FG_MQTT_5,
        .client_id = text_id,
        .username = text_empty,
        .password_file = text_empty,
        .keepalive_ns = S(60),
        .session_expiry_ns = S(3600),
        .qos = 1,
        .max_inflight = 100,
        .reconnect_min_ns = MS(100),
        .reconnect_max_ns = MS(500),
        .base_topic = text_base,
    };
    bench->tls = (struct fg_tls_settings){ text_empty, text_empty, text_empty, text_empty, text_empty,
                                           text_empty, text_empty, text_empty, 0,          false };
    bench->origin = fg_origin_new("port", "dev");
    bench->queue_bytes = 4 << 20;
}

static inline int bench_set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    if (!bench) {
        return -1;
    }
    bench_init(bench);
    *state = bench;
    return 0;
}

static void count_room(void *context)
{
    struct bench *bench = context;
    atomic_fetch_add(&bench->rooms, 1);
}

static int bench_new(struct bench *bench)
{
    const struct fg_publisher_options options = { .settings = &bench->settings,
                                                  .gateway = "gw",
                                                  .queue_bytes = bench->queue_bytes,
                                                  .spool = bench->spool,
                                                  .room = count_room,
                                                  .context = bench };
    return fg_publisher_new(&options, &bench->publisher);
}

static inline void bench_start(struct bench *bench)
{
    assert_int_equal(bench_new(bench), 0);
    assert_int_equal(fg_publisher_start(bench->publisher), 0);
}

static inline void bench_broker(struct bench *bench, const char *extra_config)
{
    test_broker_run(&bench->broker, extra_config);
}

static inline void bench_subscribe(struct bench *bench)
{
    test_subscriber_start(&bench->subscriber, &bench->broker, "subscriber", "base/#");
}

static int bench_tear_down(void **state)
{
    struct bench *bench = *state;
    if (bench->publisher) {
        fg_publisher_stop(bench->publisher, 0);
        fg_publisher_free(bench->publisher);
    }
    test_proxy_stop(&bench->proxy);
    test_subscriber_stop(&bench->subscriber);
    test_broker_remove(&bench->broker);
    fg_origin_unref(bench->origin);
    free(bench);
    return 0;
}

static struct fg_message *bench_message(struct fg_origin *origin, const char *topic, const char *payload,
                                        int qos)
{
    struct fg_message *message = fg_message_new(origin, topic, strlen(topic), payload, strlen(payload));
    assert_non_null(message);
    message->qos = (uint8_t)qos;
    message->wall_ms = 1000;
    return message;
}

static inline void bench_offer(struct bench *bench, const char *topic, const char *payload, int qos)
{
    assert_int_equal(fg_publisher_offer(bench->publisher, bench_message(bench->origin, topic, payload, qos)),
                     0);
    fg_publisher_flush(bench->publisher);
}

static struct fg_publisher_stats bench_stats(struct bench *bench)
{
    struct fg_publisher_stats stats;
    fg_publisher_get_stats(bench->publisher, &stats);
    return stats;
}

static inline bool is_connected(void *context)
{
    return bench_stats(context).connected;
}

static inline bool is_disconnected(void *context)
{
    return !bench_stats(context).connected;
}

static inline bool is_drained(void *context)
{
    return bench_stats(context).queued == 0;
}

#endif
