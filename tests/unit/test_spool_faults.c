/*
 * Faults at every place: the nth operation on a file, or the nth allocation of SQLite's, fails once or from
 * then on, for every n there is. Whatever happens, a message is accepted and there, or refused and not there,
 * or told as lost; and once the fault is gone, everything works.
 */
#include "support/faulty_vfs.h"
#include "support/spool_rig.h"
#include "support/wait.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct spool_rig rig;

static int set_up(void **state)
{
    (void)state;
    faulty_memory(0, false);
    faulty_vfs_reset();
    faulty_vfs_skip_syncs(true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    faulty_memory(0, false);
    faulty_vfs_reset();
    return 0;
}

/* What the work under faults has come to. */
static struct {
    unsigned numbers[SPOOL_RIG_MAX]; /* accepted, in order */
    int64_t ids[SPOOL_RIG_MAX];
    unsigned count;
    unsigned removed;                      /* the first of them */
    struct fg_spool_range still_to_remove; /* what was refused; first 0: nothing */
} account;

static void append(unsigned count)
{
    unsigned first = rig.made + 1;
    int error = spool_rig_append(&rig, count);
    if (error) {
        assert_true(error == -EIO || error == -ENOSPC || error == -ENOMEM || error == -ENOENT);
        (void)fg_spool_open(rig.spool);
        return;
    }
    struct fg_spool_counts counts;
    fg_spool_get_counts(rig.spool, &counts);
    for (unsigned i = 0; i < count; i++) {
        account.ids[account.count] = counts.last_id + 1 - count + i;
        account.numbers[account.count++] = first + i;
    }
}

static void remove_first(unsigned count)
{
    if (account.count < count || rig.lost > 0) {
        return;
    }
    struct fg_spool_range range = { account.ids[0], account.ids[count - 1] };
    account.removed = count;
    if (fg_spool_remove(rig.spool, &range, 1) != 0) {
        account.still_to_remove = range;
        (void)fg_spool_open(rig.spool);
    }
}

/* The fault is gone. */
static void settle(void)
{
    faulty_vfs_heal();
    faulty_memory(0, false);
    int error = rig.spool ? fg_spool_open(rig.spool) : spool_rig_open(&rig);
    if (error) {
        fail_msg("does not open again: %s", fg_spool_problem(rig.spool));
    }
    if (account.still_to_remove.first) {
        assert_int_equal(fg_spool_remove(rig.spool, &account.still_to_remove, 1), 0);
    }
    append(3);
    static unsigned numbers[SPOOL_RIG_MAX];
    int count = spool_rig_read(&rig, numbers, NULL, SPOOL_RIG_MAX);
    unsigned gone = account.removed > rig.lost ? account.removed : (unsigned)rig.lost;
    assert_int_equal(count, account.count - gone);
    assert_memory_equal(numbers, account.numbers + gone, (unsigned)count * sizeof *numbers);
    if (rig.damages) {
        fail_msg("counts as damage: %s", rig.why);
    }
    int64_t first = count > 0 ? 1 : 0;
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(spool_rig_read(&rig, numbers, NULL, SPOOL_RIG_MAX), count);
    assert_true(first == 0 || numbers[0] == account.numbers[gone]);
}

static void begin(void)
{
    spool_rig_start(&rig);
    rig.vfs = FAULTY_VFS;
    memset(&account, 0, sizeof account);
}

/* From nothing to a few messages, and again from a file. */
static void work_from_nothing(void)
{
    (void)spool_rig_open(&rig);
    if (!rig.spool) {
        return;
    }
    for (int i = 0; i < 6; i++) {
        append(5);
    }
    remove_first(12);
    (void)fg_spool_close(rig.spool);
    (void)fg_spool_open(rig.spool);
    append(5);
    (void)fg_spool_expire(rig.spool);
    struct fg_message *chain = NULL;
    if (fg_spool_read(rig.spool, 0, 10, SIZE_MAX, &chain) == 0) {
        fg_message_free_all(chain);
    }
    append(5);
}

static struct {
    char *bytes;
    size_t size;
    unsigned made;
    typeof(account) account;
} full;

/* A spool that is nearly full, made once. */
static void begin_full(void)
{
    begin();
    rig.settings.max_bytes = 1 << 20;
    rig.padding = 300;
    if (!full.bytes) {
        assert_int_equal(spool_rig_open(&rig), 0);
        while (rig.made < 1000) {
            append(20);
        }
        assert_int_equal(rig.lost, 0);
        assert_int_equal(fg_spool_close(rig.spool), 0);
        full.bytes = tempdir_read(rig.path, &full.size);
        full.made = rig.made;
        full.account = account;
        spool_rig_stop(&rig);
        begin();
        rig.settings.max_bytes = 1 << 20;
        rig.padding = 300;
    }
    char path[TEMPDIR_PATH];
    tempdir_write(rig.folder, "spool.db", full.bytes, full.size, path);
    rig.made = full.made;
    account = full.account;
}

/* From nearly full past full: checkpoints, and the oldest dropped. */
static void work_when_full(void)
{
    (void)spool_rig_open(&rig);
    for (int i = 0; i < 30 && rig.spool; i++) {
        append(20);
    }
}

static unsigned stride(unsigned nth, unsigned few)
{
    return (getenv("FG_TEST_SLOW") ? 40 : wait_is_slowed() ? 15 : 1) * few + nth / 60;
}

static void fail_each(unsigned kinds, int error, bool lasting)
{
    unsigned nth = 1, runs = 0;
    for (bool failed = true; failed; nth += stride(nth, 1), runs++) {
        begin();
        faulty_vfs_fail(kinds, nth, error, lasting);
        work_from_nothing();
        failed = faulty_vfs_has_failed();
        settle();
        spool_rig_stop(&rig);
    }
    assert_true(runs > 1);
    nth = 1;
    for (bool failed = true; failed; nth += stride(nth, 5)) {
        begin_full();
        faulty_vfs_fail(kinds, nth, error, lasting);
        work_when_full();
        failed = faulty_vfs_has_failed();
        settle();
        spool_rig_stop(&rig);
    }
}

static void every_write_may_fail(void **state)
{
    (void)state;
    fail_each(FAULTY_WRITE, EIO, false);
    fail_each(FAULTY_WRITE, EIO, true);
}

static void the_disk_may_be_full_at_every_write(void **state)
{
    (void)state;
    fail_each(FAULTY_WRITE, ENOSPC, false);
    fail_each(FAULTY_WRITE, ENOSPC, true);
}

static void a_quota_may_be_used_up_at_every_write(void **state)
{
    (void)state;
    fail_each(FAULTY_WRITE, EDQUOT, true);
}

static void every_sync_may_fail(void **state)
{
    (void)state;
    fail_each(FAULTY_SYNC, EIO, false);
    fail_each(FAULTY_SYNC, EIO, true);
    fail_each(FAULTY_SYNC, ENOSPC, false);
}

static void every_read_may_fail(void **state)
{
    (void)state;
    fail_each(FAULTY_READ, EIO, false);
    fail_each(FAULTY_READ, EIO, true);
}

static void every_open_may_fail(void **state)
{
    (void)state;
    fail_each(FAULTY_OPEN, EIO, false);
    fail_each(FAULTY_OPEN, EIO, true);
}

static void everything_else_may_fail(void **state)
{
    (void)state;
    fail_each(FAULTY_OTHER | FAULTY_TRUNCATE, EIO, false);
    fail_each(FAULTY_OTHER | FAULTY_TRUNCATE, EIO, true);
    fail_each(FAULTY_ANY, EIO, true);
}

static void fail_each_allocation(void (*start)(void), void (*work)(void), unsigned few, bool lasting)
{
    unsigned nth = 1;
    for (bool failed = true; failed; nth += stride(nth, few)) {
        start();
        faulty_memory(nth, lasting);
        work();
        failed = faulty_memory_has_failed();
        settle();
        spool_rig_stop(&rig);
    }
    assert_true(nth > 100);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    fail_each_allocation(begin, work_from_nothing, 1, false);
    fail_each_allocation(begin, work_from_nothing, 1, true);
    fail_each_allocation(begin_full, work_when_full, 5, false);
    fail_each_allocation(begin_full, work_when_full, 5, true);
}

#define DAMAGED_PAGE 30

/* The full spool, with a page that is damaged. */
static void begin_damaged(void)
{
    begin_full();
    char path[TEMPDIR_PATH];
    char *bytes = malloc(full.size);
    assert_non_null(bytes);
    memcpy(bytes, full.bytes, full.size);
    bytes[DAMAGED_PAGE * 4096 + 99] ^= 1;
    tempdir_write(rig.folder, "spool.db", bytes, full.size, path);
    free(bytes);
}

static void salvage_is_as_good_as_without_the_fault(void)
{
    static unsigned numbers[SPOOL_RIG_MAX], expected[SPOOL_RIG_MAX];
    static int expected_count;
    faulty_vfs_heal();
    faulty_memory(0, false);
    assert_int_equal(rig.spool ? fg_spool_open(rig.spool) : spool_rig_open(&rig), 0);
    int count = spool_rig_read(&rig, numbers, NULL, SPOOL_RIG_MAX);
    if (expected_count == 0) {
        expected_count = count;
        memcpy(expected, numbers, sizeof numbers);
        assert_true(count > 900 && count < 1000);
    }
    assert_int_equal(count, expected_count);
    assert_memory_equal(numbers, expected, (unsigned)count * sizeof *numbers);
    assert_int_equal(rig.damages, 1);
    assert_int_equal(rig.salvaged, expected_count);
    spool_rig_stop(&rig);
}

static void salvage_survives_every_fault(void **state)
{
    (void)state;
    begin_damaged();
    salvage_is_as_good_as_without_the_fault();
    static const unsigned kinds[] = { FAULTY_READ, FAULTY_WRITE, FAULTY_SYNC, FAULTY_OPEN, FAULTY_OTHER };
    for (unsigned i = 0; i < 2 * sizeof kinds / sizeof kinds[0]; i++) {
        unsigned nth = 1;
        for (bool failed = true; failed; nth += stride(nth, 2)) {
            begin_damaged();
            faulty_vfs_fail(kinds[i / 2], nth, EIO, i % 2);
            (void)spool_rig_open(&rig);
            failed = faulty_vfs_has_failed();
            salvage_is_as_good_as_without_the_fault();
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        unsigned nth = 1;
        for (bool failed = true; failed; nth += stride(nth, 3)) {
            begin_damaged();
            faulty_memory(nth, i % 2);
            (void)spool_rig_open(&rig);
            failed = faulty_memory_has_failed();
            salvage_is_as_good_as_without_the_fault();
        }
    }
}

static uint64_t waiting(void)
{
    struct fg_spool_counts counts;
    fg_spool_get_counts(rig.spool, &counts);
    return counts.messages;
}

/* Removing rows takes room that a full disk does not have; removing the files gives it back. */
static void a_full_disk_gives_up_what_is_all_done_with(void **state)
{
    (void)state;
    spool_rig_start(&rig);
    rig.vfs = FAULTY_VFS;
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(spool_rig_append(&rig, 50), 0);
    faulty_vfs_fail(FAULTY_WRITE, 1, ENOSPC, true);
    const struct fg_spool_range some[] = { { 1, 20 }, { 22, 50 } };
    assert_int_equal(fg_spool_remove(rig.spool, some, 2), -ENOSPC);
    const struct fg_spool_range most = { 1, 49 };
    assert_int_equal(fg_spool_remove(rig.spool, &most, 1), -ENOSPC);
    assert_int_equal(waiting(), 50);
    const struct fg_spool_range all[] = { { 1, 20 }, { 21, 50 } };
    assert_int_equal(fg_spool_remove(rig.spool, all, 2), 0);
    assert_int_equal(waiting(), 0);
    assert_int_equal(spool_rig_size(&rig, ""), -1);
    assert_int_equal(spool_rig_size(&rig, "-wal"), -1);
    faulty_vfs_heal();
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    spool_rig_expect(&rig, 51, 55);
    spool_rig_crash(&rig);
    assert_int_equal(spool_rig_open(&rig), 0);
    spool_rig_expect(&rig, 51, 55);
    spool_rig_stop(&rig);
}

/* A full disk has no room for a file that is made only then. */
static void the_note_has_its_room_from_the_beginning(void **state)
{
    (void)state;
    spool_rig_start(&rig);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    assert_true(spool_rig_size(&rig, "-done") > 0);
    spool_rig_stop(&rig);
}

int main(void)
{
    faulty_memory(0, false);
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(every_write_may_fail),
        TEST(the_disk_may_be_full_at_every_write),
        TEST(a_quota_may_be_used_up_at_every_write),
        TEST(every_sync_may_fail),
        TEST(every_read_may_fail),
        TEST(every_open_may_fail),
        TEST(everything_else_may_fail),
        TEST(every_allocation_may_fail),
        TEST(salvage_survives_every_fault),
        TEST(a_full_disk_gives_up_what_is_all_done_with),
        TEST(the_note_has_its_room_from_the_beginning),
    };
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    free(full.bytes);
    return result;
}
