/*
 * Power cuts. A spool works on files whose every write, truncation and sync is recorded. For each point in
 * that record the files are made that a power cut there may leave, and a spool is opened on them.
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
#include <time.h>

#include <cmocka.h>

#define SECTOR 512
#define EVENTS 260

static struct spool_rig rig;   /* the one that works */
static struct spool_rig after; /* what is opened after a cut */

static int set_up(void **state)
{
    (void)state;
    faulty_vfs_reset();
    faulty_vfs_skip_syncs(true);
    spool_rig_start(&rig);
    spool_rig_start(&after);
    rig.vfs = after.vfs = FAULTY_VFS;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    spool_rig_stop(&after);
    spool_rig_stop(&rig);
    faulty_vfs_reset();
    return 0;
}

/* The number of the event that appended a message, and of the one that removed it (0: none). */
static struct {
    unsigned appended, removed;
} fate[SPOOL_RIG_MAX];

struct image {
    uint8_t *bytes;
    size_t size;
};

static struct image images[2]; /* database, log: as they are on disk for certain, or were written */

static void load_images(void)
{
    static const char *const suffixes[] = { "", "-wal" };
    for (int i = 0; i < 2; i++) {
        char path[TEMPDIR_PATH + 64];
        snprintf(path, sizeof path, "%s%s", rig.path, suffixes[i]);
        char *bytes = tempdir_read(path, &images[i].size);
        assert_non_null(bytes);
        images[i].bytes = calloc(1, 4 << 20);
        assert_non_null(images[i].bytes);
        memcpy(images[i].bytes, bytes, images[i].size);
        free(bytes);
    }
}

static void apply(struct image *image, const struct faulty_operation *operation, size_t size)
{
    size_t offset = (size_t)operation->offset;
    if (operation->kind == FAULTY_TRUNCATE) {
        assert_true(offset <= image->size);
        memset(image->bytes + offset, 0, image->size - offset);
        image->size = offset;
    } else if (operation->kind == FAULTY_WRITE && size > 0) {
        assert_true(offset + size <= 4 << 20);
        memcpy(image->bytes + offset, operation->bytes, size);
        image->size = offset + size > image->size ? offset + size : image->size;
    }
}

/* How much of a write a power cut leaves: whole sectors of the disk. */
static size_t torn(const struct faulty_operation *operation)
{
    size_t first = SECTOR - (size_t)operation->offset % SECTOR;
    if (operation->kind == FAULTY_WRITE && operation->offset == 0 && operation->size < SECTOR) {
        return (size_t)rand() % operation->size; /* the header of the log: no sector is sure to be whole */
    }
    if (operation->kind != FAULTY_WRITE || operation->size <= first) {
        return 0;
    }
    size_t sectors = (operation->size - first) / SECTOR;
    return first + (size_t)rand() % (sectors + 1) * SECTOR;
}

/* Opens what a cut within an event has left, and holds it against what was promised. */
static void check_after_cut(struct image *left, unsigned event)
{
    char path[TEMPDIR_PATH];
    static unsigned numbers[SPOOL_RIG_MAX];
    fg_spool_free(after.spool);
    after.spool = NULL;
    tempdir_write(after.folder, "spool.db", left[0].bytes, left[0].size, path);
    tempdir_write(after.folder, "spool.db-wal", left[1].bytes, left[1].size, path);
    assert_int_equal(spool_rig_open(&after), 0);
    if (after.damages) {
        fail_msg("a power cut counts as damage: %s", after.why);
    }
    int count = spool_rig_read(&after, numbers, NULL, SPOOL_RIG_MAX);
    assert_true(count >= 0);
    unsigned at = 0, of_event = 0, of_event_there = 0;
    for (unsigned number = 1; number <= rig.made; number++) {
        bool there = at < (unsigned)count && numbers[at] == number;
        at += there;
        if (fate[number].appended == event) {
            of_event++;
            of_event_there += there;
        } else if (fate[number].appended > event || (fate[number].removed && fate[number].removed < event)) {
            assert_false(there);
        } else if (fate[number].removed != event) {
            assert_true(there);
        }
    }
    assert_int_equal(at, count);
    assert_true(of_event_there == 0 || of_event_there == of_event);
}

static void work(void)
{
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    load_images();
    faulty_vfs_record(true);
    for (unsigned event = 2; event < EVENTS; event++) {
        faulty_vfs_mark(event);
        rig.padding = event % 10 == 0 ? 5000 : 100 + event;
        if (event % 8 != 7) {
            unsigned first = rig.made + 1;
            assert_int_equal(spool_rig_append(&rig, 1 + event % 4), 0);
            for (unsigned number = first; number <= rig.made; number++) {
                fate[number].appended = event;
            }
            continue;
        }
        int64_t oldest = event / 8;
        struct fg_spool_range ranges[] = { { oldest * 4, oldest * 4 + 2 }, { rig.made - 5, rig.made - 4 } };
        assert_int_equal(fg_spool_remove(rig.spool, ranges, 2), 0);
        for (int i = 0; i < 2; i++) {
            for (int64_t id = ranges[i].first; id <= ranges[i].last && id <= (int64_t)rig.made; id++) {
                fate[id].removed = fate[id].removed ? fate[id].removed : event; /* ids count like numbers */
            }
        }
    }
    faulty_vfs_record(false);
}

/* Looks at fewer points where all of it is slow. */
static size_t stride(void)
{
    return getenv("FG_TEST_SLOW") ? 37 : wait_is_slowed() ? 13 : 1;
}

static void free_images(void)
{
    free(images[0].bytes);
    free(images[1].bytes);
}

static struct image copy_of(const struct image *image)
{
    struct image copy = { malloc(4 << 20), image->size };
    assert_non_null(copy.bytes);
    memcpy(copy.bytes, image->bytes, 4 << 20);
    return copy;
}

static void whatever_was_written_last_all_that_was_committed_is_there(void **state)
{
    (void)state;
    work();
    size_t count;
    const struct faulty_operation *record = faulty_vfs_recorded(&count);
    assert_true(count > 1000);
    for (size_t i = 0; i < count; i++) {
        struct image *image = &images[record[i].log];
        if (i % stride() == 0) {
            struct image left[2] = { copy_of(&images[0]), copy_of(&images[1]) };
            apply(&left[record[i].log], &record[i], torn(&record[i]));
            check_after_cut(left, (unsigned)record[i].mark);
            free(left[0].bytes);
            free(left[1].bytes);
        }
        apply(image, &record[i], record[i].size);
    }
    check_after_cut(images, EVENTS);
    free_images();
}

/* Of what was written since the last sync of its file, a part in no order reaches the disk. */
static void what_no_sync_has_seen_may_be_on_disk_or_not(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    work();
    size_t count, synced[2] = { 0, 0 };
    const struct faulty_operation *record = faulty_vfs_recorded(&count);
    for (size_t i = 0; i < count; i++) {
        if (i % stride() == 0) {
            struct image left[2] = { copy_of(&images[0]), copy_of(&images[1]) };
            size_t from = synced[0] < synced[1] ? synced[0] : synced[1];
            for (size_t j = from; j < i; j++) {
                if (j >= synced[record[j].log] && rand() % 2) {
                    size_t size = rand() % 4 ? record[j].size : torn(&record[j]);
                    apply(&left[record[j].log], &record[j], size);
                }
            }
            check_after_cut(left, (unsigned)record[i].mark);
            free(left[0].bytes);
            free(left[1].bytes);
        }
        if (record[i].kind == FAULTY_SYNC) {
            for (size_t j = synced[record[i].log]; j < i; j++) {
                if (record[j].log == record[i].log) {
                    apply(&images[record[i].log], &record[j], record[j].size);
                }
            }
            synced[record[i].log] = i;
        }
    }
    free_images();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(whatever_was_written_last_all_that_was_committed_is_there),
        TEST(what_no_sync_has_seen_may_be_on_disk_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
