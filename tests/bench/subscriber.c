/*
 * Subscribes at a broker, follows each device's sequence and takes the time from the sending of a reading to
 * its arrival here. Says "subscribed", and what it found, as JSON, when --expect readings have come, after
 * --timeout seconds, or at SIGTERM. Exits with 1 when something was lost, repeated or out of order.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <mosquitto.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

static struct {
    int port, qos;
    const char *topic;
    size_t expect;
    long timeout_s;
    bool any_order; /* counts only: the sequences are no sequences */
} options = { .topic = "fieldgate/bench/+/state", .expect = 1000, .timeout_s = 60 };

static struct bench_tally tally;
static int64_t *latencies;
static size_t latency_count;
static bool refused;

static void on_connect(struct mosquitto *mosquitto, void *context, int reason)
{
    (void)context;
    refused = reason != 0 || mosquitto_subscribe(mosquitto, NULL, options.topic, options.qos) != 0;
}

static void on_subscribe(struct mosquitto *mosquitto, void *context, int mid, int count, const int *granted)
{
    (void)mosquitto;
    (void)context;
    (void)mid;
    refused = count != 1 || granted[0] > 2;
    puts("subscribed");
    fflush(stdout);
}

static void on_message(struct mosquitto *mosquitto, void *context, const struct mosquitto_message *message)
{
    (void)mosquitto;
    (void)context;
    int64_t now_ns = bench_now_ns();
    struct bench_reading reading;
    if (bench_tally_add(&tally, message->payload, (size_t)message->payloadlen, now_ns, &reading) &&
        latency_count < options.expect) {
        latencies[latency_count++] = now_ns - reading.sent_ns;
    }
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(double share)
{
    if (latency_count == 0) {
        return 0;
    }
    size_t index = (size_t)(share * (double)latency_count);
    return (double)latencies[index < latency_count ? index : latency_count - 1] / 1000;
}

static void tell(void)
{
    qsort(latencies, latency_count, sizeof *latencies, by_size);
    putchar('{');
    bench_tally_print(&tally, stdout);
    printf(",\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n",
           percentile_us(0.50), percentile_us(0.90), percentile_us(0.99), percentile_us(0.999),
           percentile_us(1));
    fflush(stdout);
}

static void parse(int argc, char **argv)
{
    static const struct option known[] = { { "port", required_argument, NULL, 'p' },
                                           { "topic", required_argument, NULL, 't' },
                                           { "qos", required_argument, NULL, 'q' },
                                           { "expect", required_argument, NULL, 'e' },
                                           { "timeout", required_argument, NULL, 's' },
                                           { "any-order", no_argument, NULL, 'a' },
                                           { 0 } };
    int option = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'p':
            options.port = (int)bench_number("subscriber", "port", optarg, 1, 65535);
            break;
        case 't':
            options.topic = optarg;
            break;
        case 'q':
            options.qos = (int)bench_number("subscriber", "qos", optarg, 0, 2);
            break;
        case 'e':
            options.expect = (size_t)bench_number("subscriber", "expect", optarg, 1, 10000000);
            break;
        case 's':
            options.timeout_s = bench_number("subscriber", "timeout", optarg, 1, 3600);
            break;
        case 'a':
            options.any_order = true;
            break;
        default:
            exit(2);
        }
    }
    if (options.port == 0) {
        fprintf(stderr,
                "usage: subscriber --port N [--topic FILTER] [--qos N] [--expect N] [--timeout SECONDS] "
                "[--any-order]\n");
        exit(2);
    }
}

static int run(struct mosquitto *mosquitto, const volatile int *stop)
{
    int64_t deadline_ns = bench_now_ns() + options.timeout_s * BENCH_NS_PER_S;
    int result = 0;
    while (!*stop && !refused && !result && tally.received < options.expect && bench_now_ns() < deadline_ns) {
        struct pollfd pollfd = { .fd = mosquitto_socket(mosquitto),
                                 .events =
                                     (short)(POLLIN | (mosquitto_want_write(mosquitto) ? POLLOUT : 0)) };
        int ready = poll(&pollfd, 1, 500);
        result = mosquitto_want_write(mosquitto) ? mosquitto_loop_write(mosquitto, 1) : 0;
        if (!result && ready > 0 && pollfd.revents & (POLLIN | POLLHUP | POLLERR)) {
            result = mosquitto_loop_read(mosquitto, 1);
        }
        if (!result && ready == 0) {
            result = mosquitto_loop_misc(mosquitto);
        }
    }
    return result;
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    const volatile int *stop = bench_stop_on_signals();
    latencies = calloc(options.expect, sizeof *latencies);
    mosquitto_lib_init();
    struct mosquitto *mosquitto = mosquitto_new(NULL, true, NULL);
    if (!latencies || !mosquitto || !bench_tally_init(&tally)) {
        fprintf(stderr, "subscriber: no memory\n");
        return 1;
    }
    mosquitto_connect_callback_set(mosquitto, on_connect);
    mosquitto_subscribe_callback_set(mosquitto, on_subscribe);
    mosquitto_message_callback_set(mosquitto, on_message);
    mosquitto_int_option(mosquitto, MOSQ_OPT_TCP_NODELAY, 1);
    int result = mosquitto_connect(mosquitto, "127.0.0.1", options.port, 60);
    if (!result) {
        result = run(mosquitto, stop);
    }
    if (result || refused) {
        fprintf(stderr, "subscriber: %s\n", refused ? "refused" : mosquitto_strerror(result));
    }
    tell();
    bool good = !result && !refused && tally.received == options.expect &&
                (options.any_order || (tally.missing == 0 && tally.repeated == 0 && tally.reordered == 0));
    mosquitto_disconnect(mosquitto);
    mosquitto_destroy(mosquitto);
    mosquitto_lib_cleanup();
    bench_tally_fini(&tally);
    free(latencies);
    return good ? 0 : 1;
}
