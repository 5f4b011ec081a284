/*
 * A gateway that is killed at any moment, again and again: with durability "always" nothing that counted as
 * accepted is missing in the end, and each kill repeats no more than what was in flight.
 *
 * The one that is killed is this program, started again as a child: a publisher with a spool that offers
 * numbered readings, and says on its standard output which of them are on the disk.
 */
#include "spool_child.h"

#include "support/fake_broker.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

enum { WINDOW = 50, GROUP_MOST = 40 };

/* --- the child --- */

/* Offers from a number on, for ever; without one, delivers what is on the disk and ends. */
static int child(const char *address, const char *path, const char *from)
{
    struct fg_publisher *publisher = NULL;
    if (child_open(address, path, "gw", WINDOW, FG_SPOOL_ALWAYS, &publisher) != 0) {
        return 1;
    }
    struct fg_origin *origin = fg_origin_new("port", "dev");
    long number = strtol(from, NULL, 10);
    while (number >= 0) {
        for (long end = number + 1 + number % GROUP_MOST; number < end; number++) {
            child_offer(publisher, child_message(origin, "base/a", number));
        }
        fg_publisher_flush(publisher);
        uint64_t mark = fg_publisher_mark(publisher);
        while (!fg_publisher_is_saved(publisher, mark)) {
            usleep(100);
        }
        if (write(STDOUT_FILENO, &number, sizeof number) != (ssize_t)sizeof number) {
            return 2;
        }
    }
    struct fg_publisher_stats stats;
    fg_publisher_get_stats(publisher, &stats);
    uint64_t total = stats.spooled;
    while (!stats.connected || stats.queued > 0 || stats.acknowledged < total) {
        usleep(1000);
        fg_publisher_get_stats(publisher, &stats);
    }
    fg_publisher_stop(publisher, S(10));
    fg_publisher_free(publisher);
    fg_origin_unref(origin);
    return 0;
}

/* 20 messages of QoS 2 are in flight; behind them one that is too large for the spool, and 59 that are on the
 * disk. Then it waits for its end. */
static int child_with_a_large_one(const char *address, const char *path)
{
    struct fg_publisher *publisher = NULL;
    struct fg_origin *origin = fg_origin_new("port", "dev");
    struct fg_message *first = NULL, **end = &first;
    static char large[200000];
    child_protocol = FG_MQTT_311;
    child_spool_bytes = 2 << 20;
    for (int i = 0; i < 80; i++) {
        *end = i == 20 ? fg_message_new(origin, "base/a", 6, large, sizeof large)
                       : child_message(origin, "base/a", i);
        (*end)->qos = 2;
        end = &(*end)->next;
    }
    if (child_open(address, path, "gw", 80, FG_SPOOL_OUTAGE, &publisher) != 0 ||
        fg_publisher_offer(publisher, first) != 0) {
        return 1;
    }
    fg_publisher_flush(publisher);
    struct fg_publisher_stats stats;
    do {
        usleep(1000);
        fg_publisher_get_stats(publisher, &stats);
    } while (stats.spooled < 79);
    return write(STDOUT_FILENO, "", 1) == 1 ? pause() : 2;
}

/* --- the test --- */

static struct child start_victim(const char *address, const char *path, long from)
{
    char number[24];
    snprintf(number, sizeof number, "%ld", from);
    return child_start((const char *const[]){ "test_spool_kill", address, path, number, NULL });
}

/* Reads what the child has accepted until so many groups came, then kills it, and takes what it still said.
 * Returns the first number that was not accepted. */
static long kill_after(struct child *victim, int groups, long from)
{
    long number = from;
    long said = 0;
    while (read(victim->out, &said, sizeof said) == (ssize_t)sizeof said) {
        number = said;
        if (--groups == 0) {
            kill(victim->pid, SIGKILL);
        }
    }
    assert_true(WIFSIGNALED(child_end(victim)));
    return number;
}

static bool has_last(void *context)
{
    struct bench *bench = context;
    return bench->goal > 0 && test_subscriber_count(&bench->subscriber, "base/a") >= bench->goal;
}

static void what_was_accepted_outlives_any_kill(void **state)
{
    struct bench *bench = *state;
    int kills = getenv("FG_TEST_KILLS") ? atoi(getenv("FG_TEST_KILLS")) : 25;
    unsigned chance = 12345;
    char folder[] = "/tmp/fg-kill-XXXXXX";
    char path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/spool.db", folder);
    bench_broker(bench, "max_queued_messages 0");
    bench_subscribe(bench);
    long accepted = 0;
    for (int i = 0; i < kills; i++) {
        struct child victim = start_victim(bench->broker.address, path, accepted);
        chance = chance * 1103515245 + 12345;
        accepted = kill_after(&victim, 1 + (int)(chance >> 16) % 40, accepted);
    }
    struct child last = start_victim(bench->broker.address, path, -1);
    assert_int_equal(child_end(&last), 0);
    bench->goal = (uint64_t)accepted;
    assert_true(test_wait(has_last, bench, 20000));
    unsigned char *seen = calloc((size_t)accepted + 100000, 1);
    size_t count = test_subscriber_count(&bench->subscriber, "base/a");
    size_t twice = 0;
    for (size_t i = 0; i < count; i++) {
        char text[32];
        assert_true(test_subscriber_payload(&bench->subscriber, "base/a", i, text, sizeof text));
        long number = atol(text);
        assert_in_range(number, 0, accepted + 99999);
        twice += seen[number];
        seen[number] = 1;
    }
    size_t missing = 0;
    for (long i = 0; i < accepted; i++) {
        missing += !seen[i];
    }
    free(seen);
    printf("%d kills, %ld accepted, %zu received, %zu twice\n", kills, accepted, count, twice);
    assert_int_equal(missing, 0);
    /* A kill repeats what was in flight; and what was on the disk and not yet said is offered once more. */
    assert_in_range(twice, 0, (size_t)kills * (WINDOW + GROUP_MOST + 1));
    unlink(path);
    rmdir(folder);
}

static bool has_note(void *path)
{
    struct stat file;
    return stat(path, &file) == 0 && file.st_size > 0;
}

/* What is noted as done with ends before the first message that is not. */
static void what_is_behind_a_message_too_large_for_the_spool_outlives_a_kill(void **state)
{
    struct bench *bench = *state;
    struct fake_broker fake;
    const struct fake_script script = { .acks = FAKE_ACKS_LATE, .acks_most = 40 };
    char folder[] = "/tmp/fg-kill-XXXXXX";
    char path[64], note[64], word;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/spool.db", folder);
    snprintf(note, sizeof note, "%s/spool.db-done", folder);
    fake_broker_start(&fake, bench->broker.port, &script);
    struct child child =
        child_start((const char *const[]){ "test_spool_kill", bench->broker.address, path, NULL });
    assert_int_equal(read(child.out, &word, 1), 1);
    fake_broker_release(&fake);
    assert_true(test_wait(has_note, note, 10000));
    kill(child.pid, SIGKILL);
    assert_true(WIFSIGNALED(child_end(&child)));
    fake_broker_stop(&fake);
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    struct child last = start_victim(bench->broker.address, path, -1);
    assert_int_equal(child_end(&last), 0);
    assert_true(test_subscriber_wait_count(&bench->subscriber, "base/a", 59, 10000));
    unlink(path);
    rmdir(folder);
}

int main(int count, char **arguments)
{
    if (count == 3) {
        return child_with_a_large_one(arguments[1], arguments[2]);
    }
    if (count == 4) {
        return child(arguments[1], arguments[2], arguments[3]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_accepted_outlives_any_kill, bench_set_up, bench_tear_down),
        cmocka_unit_test_setup_teardown(what_is_behind_a_message_too_large_for_the_spool_outlives_a_kill,
                                        bench_set_up, bench_tear_down),
    };
    cmocka_set_test_filter(getenv("FG_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
