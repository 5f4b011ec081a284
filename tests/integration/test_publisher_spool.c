/* The publisher with a spool: what waits for the broker goes to the disk and comes back. */
#include "publisher_bench.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

struct spool_bench {
    struct bench bench; /* first: the cases of publisher_bench.h take it */
    struct fg_spool_settings spool;
    char folder[64];
    char path[96];
};

static int set_up(void **state)
{
    struct spool_bench *all = calloc(1, sizeof *all);
    if (!all) {
        return -1;
    }
    bench_init(&all->bench);
    snprintf(all->folder, sizeof all->folder, "/tmp/fg-spool-XXXXXX");
    assert_non_null(mkdtemp(all->folder));
    snprintf(all->path, sizeof all->path, "%s/spool.db", all->folder);
    all->spool = (struct fg_spool_settings){ .path = all->path, .max_bytes = 64 << 20 };
    all->bench.spool = &all->spool;
    *state = all;
    return 0;
}

static void empty_folder(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        char name[384];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        unlink(name);
    }
    if (folder) {
        closedir(folder);
    }
}

static int tear_down(void **state)
{
    struct spool_bench *all = *state;
    char folder[64];
    memcpy(folder, all->folder, sizeof folder);
    bench_tear_down(state);
    empty_folder(folder);
    rmdir(folder);
    return 0;
}

/* Offers readings whose payloads are their numbers. */
static void offer_range(struct spool_bench *all, int from, int to)
{
    for (int i = from; i < to; i++) {
        char payload[32];
        snprintf(payload, sizeof payload, "%d", i);
        struct fg_message *message = bench_message(all->bench.origin, "base/a", payload, 1);
        message->taken_ns = fg_clock_now_ns();
        message->wall_ms = fg_clock_wall_ms();
        assert_int_equal(fg_publisher_offer(all->bench.publisher, message), 0);
        fg_publisher_flush(all->bench.publisher);
    }
}

/* All numbers, each once, in order. */
static void assert_range(struct spool_bench *all, int count)
{
    struct test_subscriber *subscriber = &all->bench.subscriber;
    assert_true(test_subscriber_wait_count(subscriber, "base/a", (size_t)count, 20000));
    assert_int_equal(test_subscriber_count(subscriber, "base/a"), count);
    for (int i = 0; i < count; i++) {
        char text[32];
        assert_true(test_subscriber_payload(subscriber, "base/a", (size_t)i, text, sizeof text));
        assert_int_equal(atoi(text), i);
    }
}

struct goal {
    struct bench *bench;
    uint64_t spooled;
};

static bool has_spooled(void *context)
{
    struct goal *goal = context;
    return bench_stats(goal->bench).spooled >= goal->spooled;
}

static bool has_nothing_spooled(void *context)
{
    struct bench *bench = context;
    return bench_stats(bench).spooled == 0;
}

static bool has_nothing_in_memory(void *context)
{
    struct bench *bench = context;
    return bench_stats(bench).queued == 0;
}

static bool is_idle(void *context)
{
    struct bench *bench = context;
    struct fg_publisher_stats stats = bench_stats(bench);
    return stats.connected && stats.queued == 0;
}

/* The pause comes a little late, and some more may have got through. */
static bool has_all_on_disk_or_away(void *context)
{
    struct bench *bench = context;
    struct fg_publisher_stats stats = bench_stats(bench);
    return stats.spooled + stats.acknowledged >= 200;
}

static void wait_spooled(struct spool_bench *all, uint64_t count)
{
    struct goal goal = { &all->bench, count };
    assert_true(test_wait(has_spooled, &goal, 10000));
}

static void end_publisher(struct spool_bench *all, int64_t timeout_ns)
{
    fg_publisher_stop(all->bench.publisher, timeout_ns);
    fg_publisher_free(all->bench.publisher);
    all->bench.publisher = NULL;
}

/* A machine that stands still for a second makes an outage of its own: then it is tried again. */
static void a_day_without_an_outage_writes_nothing(void **state)
{
    struct spool_bench *all = *state;
    uint64_t written = UINT64_MAX;
    bench_broker(&all->bench, NULL);
    bench_subscribe(&all->bench);
    bench_start(&all->bench);
    for (int attempt = 0; attempt < 5 && written > 0; attempt++) {
        written = bench_stats(&all->bench).disk_written_bytes;
        offer_range(all, attempt * 3000, attempt * 3000 + 3000);
        assert_range(all, attempt * 3000 + 3000);
        assert_true(test_wait(is_idle, &all->bench, 15000));
        written = bench_stats(&all->bench).disk_written_bytes - written;
    }
    assert_int_equal(written, 0);
    assert_true(test_wait(has_nothing_spooled, &all->bench, 15000));
    end_publisher(all, S(5));
    assert_int_equal(access(all->path, F_OK), -1);
}

/* A link that had to wait offers what it received long ago: that is not the broker's doing. */
static void an_old_reading_is_no_lag(void **state)
{
    struct spool_bench *all = *state;
    bench_broker(&all->bench, NULL);
    bench_subscribe(&all->bench);
    bench_start(&all->bench);
    assert_true(test_wait(is_idle, &all->bench, 5000));
    for (int i = 0; i < 200; i++) {
        char payload[32];
        snprintf(payload, sizeof payload, "%d", i);
        struct fg_message *message = bench_message(all->bench.origin, "base/a", payload, 1);
        message->taken_ns = fg_clock_now_ns() - S(10);
        assert_int_equal(fg_publisher_offer(all->bench.publisher, message), 0);
        fg_publisher_flush(all->bench.publisher);
    }
    assert_range(all, 200);
    assert_true(test_wait(is_idle, &all->bench, 5000));
    assert_int_equal(bench_stats(&all->bench).disk_written_bytes, 0);
}

static void what_waits_in_an_outage_goes_to_the_disk_and_comes_in_order(void **state)
{
    struct spool_bench *all = *state;
    bench_start(&all->bench);
    offer_range(all, 0, 1000);
    wait_spooled(all, 1000);
    assert_int_equal(bench_stats(&all->bench).queued, 0); /* nothing is kept in memory, too */
    offer_range(all, 1000, 1500);
    wait_spooled(all, 1500);
    bench_broker(&all->bench, NULL);
    bench_subscribe(&all->bench);
    offer_range(all, 1500, 2000);
    assert_range(all, 2000);
    assert_true(test_wait(has_nothing_spooled, &all->bench, 15000));
    end_publisher(all, S(5));
    assert_int_equal(access(all->path, F_OK), -1); /* an empty spool leaves no file */
}

static void what_is_on_the_disk_outlives_the_process(void **state)
{
    struct spool_bench *all = *state;
    bench_start(&all->bench);
    offer_range(all, 0, 300);
    wait_spooled(all, 300);
    end_publisher(all, 0);
    bench_broker(&all->bench, NULL);
    bench_subscribe(&all->bench);
    bench_start(&all->bench);
    offer_range(all, 300, 400);
    assert_range(all, 400);
}

static void a_stop_puts_on_the_disk_what_the_broker_did_not_take(void **state)
{
    struct spool_bench *all = *state;
    bench_start(&all->bench);
    offer_range(all, 0, 100);
    assert_int_equal(fg_publisher_stop(all->bench.publisher, MS(200)), 0);
    end_publisher(all, 0);
    bench_broker(&all->bench, NULL);
    bench_subscribe(&all->bench);
    bench_start(&all->bench);
    assert_range(all, 100);
    assert_int_equal(bench_stats(&all->bench).lost[FG_LOSS_SHUTDOWN], 0);
}

static void what_the_broker_does_not_acknowledge_goes_to_the_disk(void **state)
{
    struct spool_bench *all = *state;
    struct bench *bench = &all->bench;
    bench->settings.max_inflight = 10;
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    test_proxy_start(&bench->proxy, bench->broker.port);
    snprintf(bench->first_address, sizeof bench->first_address, "127.0.0.1:%d", bench->proxy.port);
    bench_start(bench);
    offer_range(all, 0, 10);
    assert_range(all, 10);
    test_proxy_pause(&bench->proxy);
    offer_range(all, 10, 200);
    assert_true(test_wait(has_all_on_disk_or_away, bench, 10000)); /* those in flight included */
    assert_in_range(bench_stats(bench).spooled, 150, 190);
    test_proxy_cut(&bench->proxy);
    offer_range(all, 200, 250);
    assert_range(all, 250);
}

static void with_always_all_is_on_the_disk_first_and_gone_afterwards(void **state)
{
    struct spool_bench *all = *state;
    all->spool.durability = FG_SPOOL_ALWAYS;
    bench_broker(&all->bench, NULL);
    bench_subscribe(&all->bench);
    bench_start(&all->bench);
    offer_range(all, 0, 3000);
    assert_range(all, 3000);
    assert_true(bench_stats(&all->bench).disk_written_bytes > 3000 * 6);
    assert_true(test_wait(has_nothing_spooled, &all->bench, 15000));
    assert_int_equal(bench_stats(&all->bench).lost[FG_LOSS_SPOOL_FULL], 0);
}

static void a_full_spool_drops_and_tells(void **state)
{
    struct spool_bench *all = *state;
    all->spool.max_bytes = 1 << 20;
    all->spool.when_full = FG_SPOOL_DROP_OLDEST;
    bench_start(&all->bench);
    char *payload = calloc(1, 1001);
    memset(payload, 'x', 1000);
    for (int i = 0; i < 2000; i++) {
        struct fg_message *message = bench_message(all->bench.origin, "base/a", payload, 1);
        message->taken_ns = fg_clock_now_ns();
        assert_int_equal(fg_publisher_offer(all->bench.publisher, message), 0);
        fg_publisher_flush(all->bench.publisher);
    }
    assert_true(test_wait(has_nothing_in_memory, &all->bench, 5000));
    free(payload);
    bench_broker(&all->bench, NULL);
    bench_subscribe(&all->bench);
    assert_true(test_wait(has_nothing_spooled, &all->bench, 20000));
    assert_true(test_wait(is_idle, &all->bench, 5000));
    struct fg_publisher_stats stats = bench_stats(&all->bench);
    assert_true(stats.lost[FG_LOSS_SPOOL_FULL] > 900);
    assert_int_equal(stats.acknowledged + stats.lost[FG_LOSS_SPOOL_FULL], 2000);
    assert_int_equal(test_subscriber_count(&all->bench.subscriber, "base/a"), stats.acknowledged);
    assert_true(test_subscriber_wait_count(&all->bench.subscriber, "base/gw/loss", 1, 5000));
}

static void a_spool_without_its_folder_leaves_the_gateway_running(void **state)
{
    struct spool_bench *all = *state;
    snprintf(all->path, sizeof all->path, "%s/later/spool.db", all->folder);
    bench_start(&all->bench);
    offer_range(all, 0, 50);
    char folder[96];
    snprintf(folder, sizeof folder, "%s/later", all->folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    wait_spooled(all, 50);
    bench_broker(&all->bench, NULL);
    bench_subscribe(&all->bench);
    assert_range(all, 50);
    assert_true(test_wait(has_nothing_spooled, &all->bench, 15000));
    end_publisher(all, S(5));
    empty_folder(folder);
    rmdir(folder);
}

static void two_publishers_do_not_share_a_spool(void **state)
{
    struct spool_bench *all = *state;
    bench_start(&all->bench);
    offer_range(all, 0, 10);
    wait_spooled(all, 10);
    struct fg_publisher *first = all->bench.publisher;
    assert_int_equal(bench_new(&all->bench), -EBUSY);
    all->bench.publisher = first;
}

static void replay_keeps_to_its_rate(void **state)
{
    struct spool_bench *all = *state;
    all->spool.replay_rate = 200;
    bench_start(&all->bench);
    offer_range(all, 0, 300);
    wait_spooled(all, 300);
    bench_broker(&all->bench, NULL);
    bench_subscribe(&all->bench);
    long long start_ms = test_now_ms();
    assert_range(all, 300);
    /* A second and a half less what may come at once; the machine may make it longer, never shorter. */
    assert_true(test_now_ms() - start_ms > 1000);
}

/* A reading of five seconds ago, from before the clock was set. */
static struct fg_message *early_message(struct spool_bench *all, const char *topic)
{
    struct fg_message *message = bench_message(all->bench.origin, topic, "{\"ts\":1000,\"a\":1}", 1);
    message->taken_ns = fg_clock_now_ns() - S(5);
    message->wall_ms = 1000;
    message->unsynchronised = message->stamped = true;
    return message;
}

static void a_reading_from_before_the_clock_was_set_gets_its_time(void **state)
{
    struct spool_bench *all = *state;
    struct bench *bench = &all->bench;
    long long ts = 0;
    char text[128];
    bench_start(bench);
    int64_t from_ms = fg_clock_wall_ms() - 5000 - 2; /* the spool keeps milliseconds */
    assert_int_equal(fg_publisher_offer(bench->publisher, early_message(all, "base/a")), 0);
    int64_t to_ms = fg_clock_wall_ms() - 5000 + 2;
    fg_publisher_flush(bench->publisher);
    wait_spooled(all, 1);
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/a", 1, 10000));
    assert_true(test_subscriber_payload(&bench->subscriber, "base/a", 0, text, sizeof text));
    assert_int_equal(sscanf(text, "{\"ts\":%lld,\"a\":1}", &ts), 1);
    assert_in_range(ts, from_ms, to_ms);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_day_without_an_outage_writes_nothing),
        CASE(an_old_reading_is_no_lag),
        CASE(what_waits_in_an_outage_goes_to_the_disk_and_comes_in_order),
        CASE(what_is_on_the_disk_outlives_the_process),
        CASE(a_stop_puts_on_the_disk_what_the_broker_did_not_take),
        CASE(what_the_broker_does_not_acknowledge_goes_to_the_disk),
        CASE(with_always_all_is_on_the_disk_first_and_gone_afterwards),
        CASE(a_full_spool_drops_and_tells),
        CASE(a_spool_without_its_folder_leaves_the_gateway_running),
        CASE(two_publishers_do_not_share_a_spool),
        CASE(a_reading_from_before_the_clock_was_set_gets_its_time),
        CASE(replay_keeps_to_its_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
