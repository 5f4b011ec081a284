/*
 * A disk and a memory that fail under the publisher, at any of its operations: once, and from then on until
 * the fault ends. It does not crash, loses nothing that it does not count, and comes back to the disk.
 *
 * The victim is this program, started again as a child: a publisher with a spool that offers numbered
 * readings while the fault is there, and says how many it had to count as lost when all is delivered.
 */

#include "faulty_io.h"
#include "log_bench.h"
#include "spool_child.h"

#include "support/fake_broker.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

enum { WINDOW = 20, READINGS = 200, AT_ONCE = 6 };

struct fault {
    unsigned kind;
    int error;
    bool lasting;
    int durability;
};

/* --- the child --- */

static uint64_t lost_of(const struct fg_publisher_stats *stats)
{
    uint64_t lost = 0;
    for (int reason = 0; reason < FG_LOSS_COUNT; reason++) {
        lost += stats->lost[reason];
    }
    return lost;
}

/* Rows of what is acknowledged are removed later, so the disk need not be empty. */
static bool is_done(struct fg_publisher *publisher)
{
    struct fg_publisher_stats stats;
    fg_publisher_get_stats(publisher, &stats);
    return stats.connected && stats.queued == 0 && stats.acknowledged + lost_of(&stats) >= READINGS;
}

/* Its word: what it counted as lost, and how many operations there were that could have failed. */
struct said {
    uint64_t lost;
    unsigned operations;
};

/* The fault ends half-way, or as soon as there is no memory for a reading. */
static void offer_all(struct fg_publisher *publisher, struct fg_origin *origin, const char *topic)
{
    for (long number = 0; number < READINGS; number++) {
        struct fg_message *message = number == READINGS / 2 ? NULL : child_message(origin, topic, number);
        if (!message) {
            faulty_io_heal();
            message = child_message(origin, topic, number);
        }
        child_offer(publisher, message);
        fg_publisher_flush(publisher);
        uint64_t mark = fg_publisher_mark(publisher);
        while (number % 10 == 9 && !fg_publisher_is_saved(publisher, mark)) {
            usleep(100);
        }
    }
}

static int child(const char *address, const char *folder, const char *topic, const char *fault_text)
{
    struct fault fault;
    unsigned nth, durability, lasting;
    char path[128];
    if (sscanf(fault_text, "%u %d %u %u %u", &fault.kind, &fault.error, &lasting, &durability, &nth) != 5) {
        return 3;
    }
    snprintf(path, sizeof path, "%s/spool.db", folder);
    struct fg_origin *origin = fg_origin_new("port", "dev");
    struct fg_publisher *publisher = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fault.kind != FAULTY_IO_MALLOC) {
        faulty_io_fail(folder, fault.kind, nth, fault.error, lasting);
    }
    if (child_open(address, path, topic + strlen("base/"), WINDOW, (int)durability, &publisher) != 0) {
        return 1;
    }
    if (fault.kind == FAULTY_IO_MALLOC) { /* a start without memory for it may fail */
        faulty_io_fail(folder, fault.kind, nth, fault.error, lasting);
    }
    offer_all(publisher, origin, topic);
    while (!is_done(publisher)) {
        usleep(1000);
    }
    fg_publisher_stop(publisher, S(10));
    struct fg_publisher_stats stats;
    fg_publisher_get_stats(publisher, &stats);
    struct said said = { lost_of(&stats), faulty_io_count() };
    fg_publisher_free(publisher);
    fg_origin_unref(origin);
    return write(STDOUT_FILENO, &said, sizeof said) == (ssize_t)sizeof said ? 0 : 2;
}

/* --- the test --- */

struct run {
    struct child child;
    char topic[24];
    char folder[32];
    char fault[64];
};

static void remove_folder(const char *folder)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static unsigned runs; /* so far: each has its own topic */

static void begin(struct bench *bench, struct run *run, const struct fault *fault, unsigned nth)
{
    snprintf(run->topic, sizeof run->topic, "base/%u", runs++);
    snprintf(run->folder, sizeof run->folder, "/tmp/fg-faulty-XXXXXX");
    snprintf(run->fault, sizeof run->fault, "%u %d %u %u %u", fault->kind, fault->error, fault->lasting,
             (unsigned)fault->durability, nth);
    assert_non_null(mkdtemp(run->folder));
    run->child = child_start((const char *const[]){ "test_spool_faulty", bench->broker.address, run->folder,
                                                    run->topic, run->fault, NULL });
}

/* Every reading came, or was counted as lost; in order where each came once. Returns how many operations
 * there were. */
static unsigned finish(struct bench *bench, struct run *run)
{
    struct said said = { 0 };
    ssize_t size = read(run->child.out, &said, sizeof said);
    int status = child_end(&run->child);
    if (status != 0 || size != (ssize_t)sizeof said) {
        fail_msg("fault %s: the child ended with status %d", run->fault, status);
    }
    bool seen[READINGS] = { false };
    size_t missing = READINGS;
    assert_true(test_subscriber_wait_count(&bench->subscriber, run->topic, READINGS - said.lost, 10000));
    size_t count = test_subscriber_count(&bench->subscriber, run->topic);
    for (size_t i = 0; i < count; i++) {
        char text[32];
        assert_true(test_subscriber_payload(&bench->subscriber, run->topic, i, text, sizeof text));
        long number = atol(text);
        assert_in_range(number, 0, READINGS - 1);
        missing -= !seen[number];
        seen[number] = true;
    }
    if (missing != said.lost) {
        fail_msg("fault %s: %zu missing, %llu counted", run->fault, missing, (unsigned long long)said.lost);
    }
    remove_folder(run->folder);
    return said.operations;
}

/* The first ones and some by chance; with FG_TEST_SLOW as many as there is room for. */
static size_t choose(unsigned total, unsigned *chosen, size_t most)
{
    static unsigned chance = 4711;
    size_t count = 0;
    bool all = getenv("FG_TEST_SLOW") != NULL;
    for (unsigned nth = 1; nth <= total && count < most; nth++) {
        chance = chance * 1103515245 + 12345;
        bool by_chance = nth <= 2 || (chance >> 16) % total < 4;
        if (all ? nth % (1 + total / most) == 0 : by_chance) {
            chosen[count++] = nth;
        }
    }
    return count;
}

static void run_all(struct bench *bench, const struct fault *fault)
{
    struct run runs_at_once[AT_ONCE];
    unsigned chosen[1000];
    begin(bench, &runs_at_once[0], fault, UINT32_MAX - 1);
    unsigned total = finish(bench, &runs_at_once[0]);
    assert_true(total > 0);
    size_t count = choose(total, chosen, sizeof chosen / sizeof *chosen);
    for (size_t from = 0; from < count; from += AT_ONCE) {
        size_t end = from + AT_ONCE < count ? from + AT_ONCE : count;
        for (size_t i = from; i < end; i++) {
            begin(bench, &runs_at_once[i - from], fault, chosen[i]);
        }
        for (size_t i = from; i < end; i++) {
            finish(bench, &runs_at_once[i - from]);
        }
    }
    printf("of %u operations %zu failed in turn\n", total, count);
}

static void try_kind(void **state, unsigned kind, int error, int durability)
{
    struct bench *bench = *state;
    bench_broker(bench, "max_queued_messages 0");
    bench_subscribe(bench);
    for (int lasting = 0; lasting < 2; lasting++) {
        run_all(bench, &(struct fault){ kind, error, lasting, durability });
    }
}

static void a_write_that_fails_loses_nothing_uncounted(void **state)
{
    try_kind(state, FAULTY_IO_WRITE, EIO, FG_SPOOL_ALWAYS);
}

static void a_full_disk_loses_nothing_uncounted(void **state)
{
    try_kind(state, FAULTY_IO_WRITE | FAULTY_IO_OPEN, ENOSPC, FG_SPOOL_ALWAYS);
}

static void a_sync_that_fails_loses_nothing_uncounted(void **state)
{
    try_kind(state, FAULTY_IO_SYNC, EIO, FG_SPOOL_ALWAYS);
}

static void an_open_that_fails_loses_nothing_uncounted(void **state)
{
    try_kind(state, FAULTY_IO_OPEN | FAULTY_IO_TRUNCATE, EROFS, FG_SPOOL_ALWAYS);
}

static void memory_that_fails_loses_nothing_uncounted(void **state)
{
    if (!faulty_io_has_malloc()) {
        skip();
    }
    try_kind(state, FAULTY_IO_MALLOC, ENOMEM, FG_SPOOL_ALWAYS);
}

/* --- without a child --- */

struct watch {
    struct bench *bench;
    char folder[32];
    uint64_t acknowledged;
    char path[64], log[64], done[64];
    struct fg_spool_settings spool;
};

static void offer_some(struct bench *bench, int count)
{
    for (int i = 0; i < count; i++) {
        struct fg_message *message = child_message(bench->origin, "base/a", i);
        assert_int_equal(fg_publisher_offer(bench->publisher, message), 0);
        fg_publisher_flush(bench->publisher);
    }
}

static bool has_acknowledged(void *context)
{
    struct watch *watch = context;
    return bench_stats(watch->bench).acknowledged >= watch->acknowledged;
}

static bool has_saved(void *context)
{
    struct watch *watch = context;
    return bench_stats(watch->bench).spooled >= 30;
}

static bool has_noted(void *context)
{
    struct watch *watch = context;
    struct stat file;
    return stat(watch->done, &file) == 0 && file.st_size > 0;
}

static bool is_troubled(void *context)
{
    (void)context;
    return log_count("cannot be used") > 0;
}

/* A reading now and then is what makes it look. */
static bool works_again(void *context)
{
    struct watch *watch = context;
    offer_some(watch->bench, 1);
    return log_count("works again") > 0;
}

/* A note of what is done with needs no room: that it succeeds says nothing of the readings. */
static void a_disk_without_room_is_told_once(void **state)
{
    struct bench *bench = *state;
    struct watch watch = { .bench = bench, .folder = "/tmp/fg-faulty-XXXXXX" };
    static struct fake_broker fake;
    fake_broker_start(&fake, bench->broker.port, &(struct fake_script){ .acks = FAKE_ACKS_LATE });
    assert_non_null(mkdtemp(watch.folder));
    snprintf(watch.path, sizeof watch.path, "%s/spool.db", watch.folder);
    snprintf(watch.log, sizeof watch.log, "%s/spool.db-wal", watch.folder);
    snprintf(watch.done, sizeof watch.done, "%s/spool.db-done", watch.folder);
    watch.spool = (struct fg_spool_settings){ .path = watch.path,
                                              .durability = FG_SPOOL_ALWAYS,
                                              .max_bytes = 64 << 20 };
    bench->spool = &watch.spool;
    log_begin();
    faulty_io_fail(watch.log, FAULTY_IO_WRITE, UINT32_MAX, ENOSPC, true);
    bench_start(bench);
    offer_some(bench, 30);
    assert_true(test_wait(has_saved, &watch, 10000));
    faulty_io_fail(watch.log, FAULTY_IO_WRITE, 1, ENOSPC, true);
    offer_some(bench, 10);
    assert_true(test_wait(is_troubled, &watch, 10000));
    fake_broker_release(&fake);
    watch.acknowledged = 40;
    assert_true(test_wait(has_acknowledged, &watch, 10000));
    assert_true(test_wait(has_noted, &watch, 10000));
    assert_int_equal(log_count("works again"), 0);
    faulty_io_heal();
    assert_true(test_wait(works_again, &watch, 20000));
    assert_int_equal(log_count("cannot be used"), 1);
    assert_int_equal(log_count("works again"), 1);
    fg_publisher_stop(bench->publisher, S(5));
    fg_publisher_free(bench->publisher);
    bench->publisher = NULL;
    log_end();
    fake_broker_stop(&fake);
    remove_folder(watch.folder);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)

int main(int count, char **arguments)
{
    if (count == 5) {
        return child(arguments[1], arguments[2], arguments[3], arguments[4]);
    }
    const struct CMUnitTest tests[] = {
        CASE(a_write_that_fails_loses_nothing_uncounted), CASE(a_full_disk_loses_nothing_uncounted),
        CASE(a_sync_that_fails_loses_nothing_uncounted),  CASE(an_open_that_fails_loses_nothing_uncounted),
        CASE(memory_that_fails_loses_nothing_uncounted),  CASE(a_disk_without_room_is_told_once),
    };
    cmocka_set_test_filter(getenv("FG_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
