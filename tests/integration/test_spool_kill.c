/*
 * A gateway that is killed at any moment, again and again: with durability "always" nothing that counted as
 * accepted is missing in the end, and each kill repeats no more than what was in flight.
 *
 * The one that is killed is this program, started again as a child: a publisher with a spool that offers
 * numbered readings, and says on its standard output which of them are on the disk.
 */
#include "publisher_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WINDOW = 50, GROUP_MOST = 40 };

/* --- the child --- */

static int open_publisher(const char *address, const char *path, const struct fg_spool_settings **kept,
                          struct fg_publisher **publisher)
{
    static char *addresses[1];
    static struct fg_mqtt_settings settings;
    static struct fg_spool_settings spool;
    addresses[0] = strdup(address);
    settings = (struct fg_mqtt_settings){
        .address = { 1, addresses },
        .protocol = FG_MQTT_5,
        .client_id = text_id,
        .username = text_empty,
        .password_file = text_empty,
        .keepalive_ns = S(60),
        .clean_session = true,
        .qos = 1,
        .max_inflight = WINDOW,
        .reconnect_min_ns = MS(50),
        .reconnect_max_ns = MS(100),
        .base_topic = text_base,
    };
    spool = (struct fg_spool_settings){ .path = strdup(path),
                                        .durability = FG_SPOOL_ALWAYS,
                                        .max_bytes = 64 << 20 };
    *kept = &spool;
    const struct fg_publisher_options options = {
        .settings = &settings, .gateway = "gw", .queue_bytes = 4 << 20, .spool = &spool
    };
    int error = fg_publisher_new(&options, publisher);
    return error ? error : fg_publisher_start(*publisher);
}

static void offer_number(struct fg_publisher *publisher, struct fg_origin *origin, long number)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%ld", number);
    struct fg_message *message = fg_message_new(origin, "base/a", 6, text, (size_t)length);
    message->qos = 1;
    message->taken_ns = fg_clock_now_ns();
    message->wall_ms = fg_clock_wall_ms();
    while (fg_publisher_offer(publisher, message) == -ENOBUFS) {
        usleep(100);
    }
}

/* Offers from a number on, for ever; without one, delivers what is on the disk and ends. */
static int child(const char *address, const char *path, const char *from)
{
    const struct fg_spool_settings *settings = NULL;
    struct fg_publisher *publisher = NULL;
    if (open_publisher(address, path, &settings, &publisher) != 0) {
        return 1;
    }
    struct fg_origin *origin = fg_origin_new("port", "dev");
    long number = strtol(from, NULL, 10);
    while (number >= 0) {
        for (long end = number + 1 + number % GROUP_MOST; number < end; number++) {
            offer_number(publisher, origin, number);
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

/* --- the test --- */

struct victim {
    pid_t pid;
    int out;
};

static struct victim start_child(const char *address, const char *path, long from)
{
    char number[24];
    snprintf(number, sizeof number, "%ld", from);
    char name[] = "test_spool_kill";
    char *arguments[] = { name, (char *)(uintptr_t)address, (char *)(uintptr_t)path, number, NULL };
    extern char **environ;
    int ends[2];
    struct victim victim = { 0 };
    posix_spawn_file_actions_t actions;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    assert_int_equal(posix_spawn(&victim.pid, "/proc/self/exe", &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    victim.out = ends[0];
    return victim;
}

/* Reads what the child has accepted until so many groups came, then kills it, and takes what it still said.
 * Returns the first number that was not accepted. */
static long kill_after(struct victim *victim, int groups, long from)
{
    long number = from;
    long said = 0;
    while (read(victim->out, &said, sizeof said) == (ssize_t)sizeof said) {
        number = said;
        if (--groups == 0) {
            kill(victim->pid, SIGKILL);
        }
    }
    close(victim->out);
    int status = 0;
    assert_int_equal(waitpid(victim->pid, &status, 0), victim->pid);
    assert_true(WIFSIGNALED(status));
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
        struct victim victim = start_child(bench->broker.address, path, accepted);
        chance = chance * 1103515245 + 12345;
        accepted = kill_after(&victim, 1 + (int)(chance >> 16) % 40, accepted);
    }
    struct victim last = start_child(bench->broker.address, path, -1);
    int status = -1;
    assert_int_equal(waitpid(last.pid, &status, 0), last.pid);
    close(last.out);
    assert_int_equal(status, 0);
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

int main(int count, char **arguments)
{
    if (count == 4) {
        return child(arguments[1], arguments[2], arguments[3]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_accepted_outlives_any_kill, bench_set_up, bench_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
