#include "support/faulty_vfs.h"
#include "support/spool_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

static struct spool_rig rig;

static int set_up(void **state)
{
    (void)state;
    spool_rig_start(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    spool_rig_stop(&rig);
    return 0;
}

#define PAGE 4096

static void fill(unsigned messages)
{
    assert_int_equal(spool_rig_open(&rig), 0);
    for (unsigned i = 0; i < messages; i += 20) {
        assert_int_equal(spool_rig_append(&rig, 20), 0);
    }
}

static void overwrite(const char *suffix, int64_t offset, const void *bytes, size_t size)
{
    char path[TEMPDIR_PATH + 64];
    snprintf(path, sizeof path, "%s%s", rig.path, suffix);
    FILE *file = fopen(path, "r+e");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void flip(const char *suffix, int64_t offset)
{
    char path[TEMPDIR_PATH + 64];
    snprintf(path, sizeof path, "%s%s", rig.path, suffix);
    FILE *file = fopen(path, "r+e");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_true(byte != EOF);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_true(fputc(byte ^ 0x40, file) != EOF);
    assert_int_equal(fclose(file), 0);
}

/* What is there is in order and was once appended. Returns how many. */
static unsigned check_order(void)
{
    static unsigned numbers[SPOOL_RIG_MAX];
    int count = spool_rig_read(&rig, numbers, NULL, SPOOL_RIG_MAX);
    assert_true(count >= 0);
    for (int i = 1; i < count; i++) {
        assert_true(numbers[i] > numbers[i - 1]);
    }
    assert_true(count == 0 || numbers[count - 1] <= rig.made);
    return (unsigned)count;
}

static void goes_on_working(void)
{
    unsigned before = check_order();
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    assert_int_equal(check_order(), before + 5);
    unsigned damages = rig.damages;
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(check_order(), before + 5);
    assert_int_equal(rig.damages, damages);
}

static void garbage_is_set_aside_and_told(void **state)
{
    (void)state;
    char path[TEMPDIR_PATH];
    char garbage[3000];
    memset(garbage, 'g', sizeof garbage);
    tempdir_write(rig.folder, "spool.db", garbage, sizeof garbage, path);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(rig.damages, 1);
    assert_int_equal(rig.salvaged, 0);
    assert_non_null(strstr(rig.set_aside, "spool.db.damaged-"));
    assert_non_null(strstr(rig.why, "is no SQLite database"));
    size_t size;
    char *kept = tempdir_read(rig.set_aside, &size);
    assert_int_equal(size, sizeof garbage);
    assert_memory_equal(kept, garbage, size);
    free(kept);
    goes_on_working();
}

static void a_foreign_database_is_set_aside_as_it_is(void **state)
{
    (void)state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(rig.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TABLE message(id INTEGER PRIMARY KEY, text TEXT);"
                                  "INSERT INTO message VALUES(1,'mine')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    size_t before_size, after_size;
    char *before = tempdir_read(rig.path, &before_size);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(rig.damages, 1);
    assert_non_null(strstr(rig.why, "another application"));
    char *after = tempdir_read(rig.set_aside, &after_size);
    assert_int_equal(after_size, before_size);
    assert_memory_equal(after, before, after_size);
    free(before);
    free(after);
    goes_on_working();
}

static void an_empty_file_is_no_damage(void **state)
{
    (void)state;
    char path[TEMPDIR_PATH];
    tempdir_write(rig.folder, "spool.db", "", 0, path);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(rig.damages, 0);
    goes_on_working();
}

static void a_newer_version_is_left_alone(void **state)
{
    (void)state;
    fill(20);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    overwrite("", 60, "\0\0\0\2", 4);
    assert_int_equal(fg_spool_open(rig.spool), -EPROTONOSUPPORT);
    assert_non_null(strstr(fg_spool_problem(rig.spool), "newer version"));
    overwrite("", 60, "\0\0\0\1", 4);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(rig.damages, 0);
    spool_rig_expect(&rig, 1, 20);
}

/* Messages that may be missing when one page is damaged: what is on a page, and what is on it in part. */
#define MISSING_AT_MOST 70

static void a_flipped_byte_in_any_page_costs_what_is_on_that_page(void **state)
{
    (void)state;
    fill(2000);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    size_t size;
    char *good = tempdir_read(rig.path, &size);
    int64_t pages = (int64_t)size / PAGE;
    assert_true(pages > 30);
    unsigned interior = 0;
    for (int64_t page = 0; page < pages; page++) {
        fg_spool_free(rig.spool);
        rig.spool = NULL;
        char path[TEMPDIR_PATH];
        tempdir_write(rig.folder, "spool.db", good, size, path);
        flip("", page * PAGE + 100 + page * 37 % 3900);
        rig.damages = 0;
        rig.salvaged = rig.missing = 0;
        assert_int_equal(spool_rig_open(&rig), 0);
        assert_int_equal(rig.damages, 1);
        unsigned left = check_order();
        assert_int_equal(rig.salvaged, left);
        if (left == 0) {
            interior++; /* the root of the tree of messages: there is one */
        } else {
            assert_true(left >= rig.made - MISSING_AT_MOST);
            assert_true(rig.missing <= rig.made - left);
        }
    }
    free(good);
    assert_int_equal(interior, 1);
    assert_true(spool_rig_files(&rig, "damaged") <= 8); /* some with a log */
    goes_on_working();
}

static void damage_in_several_places_costs_only_those(void **state)
{
    (void)state;
    fill(4000);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    int64_t pages = spool_rig_size(&rig, "") / PAGE;
    flip("", 300);
    for (int64_t page = 9; page < pages; page += pages / 5) {
        flip("", page * PAGE + 2000);
    }
    assert_int_equal(fg_spool_open(rig.spool), 0);
    unsigned left = check_order();
    assert_true(left >= rig.made - 6 * MISSING_AT_MOST);
    assert_true(left < rig.made - 100);
    assert_int_equal(rig.salvaged, left);
    assert_true(rig.missing > 100 && rig.missing <= rig.made - left);
    assert_int_equal(rig.damage_from_ms, rig.time.wall_ms);
    goes_on_working();
}

static void a_truncated_file_gives_what_is_left_of_it(void **state)
{
    (void)state;
    fill(2000);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    size_t size;
    char *good = tempdir_read(rig.path, &size);
    unsigned best = 0;
    for (size_t cut = size - 1; cut > 0; cut = cut > 10000 ? cut - 9999 : cut / 3) {
        fg_spool_free(rig.spool);
        rig.spool = NULL;
        char path[TEMPDIR_PATH];
        tempdir_write(rig.folder, "spool.db", good, cut, path);
        rig.damages = 0;
        assert_int_equal(spool_rig_open(&rig), 0);
        assert_int_equal(rig.damages, 1);
        unsigned left = check_order();
        best = left > best ? left : best;
    }
    free(good);
    assert_true(best >= rig.made - MISSING_AT_MOST);
    goes_on_working();
}

static void damage_found_while_reading_is_salvaged_on_the_way(void **state)
{
    (void)state;
    fill(3000);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    int64_t pages = spool_rig_size(&rig, "") / PAGE;
    flip("", pages / 2 * PAGE + 2000);
    unsigned left = check_order();
    assert_int_equal(rig.damages, 1);
    assert_int_equal(rig.missing, 3000 - left);
    assert_true(left < 3000 && left >= 3000 - MISSING_AT_MOST);
    goes_on_working();
}

static void a_sector_that_stays_unreadable_is_given_up(void **state)
{
    (void)state;
    faulty_vfs_reset();
    rig.vfs = FAULTY_VFS;
    fill(2000);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    faulty_vfs_bad_sector(rig.path, 20 * PAGE + 1024);
    assert_int_equal(fg_spool_open(rig.spool), -EIO);
    assert_int_equal(fg_spool_open(rig.spool), -EIO);
    assert_int_equal(spool_rig_append(&rig, 1), -EIO);
    rig.made = 2000;
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(rig.damages, 1);
    unsigned left = check_order();
    assert_true(left < 2000 && left >= 2000 - MISSING_AT_MOST);
    assert_int_equal(rig.missing, 2000 - left);
    goes_on_working();
}

static void a_read_that_fails_for_a_while_costs_nothing(void **state)
{
    (void)state;
    faulty_vfs_reset();
    rig.vfs = FAULTY_VFS;
    fill(2000);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    faulty_vfs_bad_sector(rig.path, 20 * PAGE + 1024);
    assert_int_equal(fg_spool_open(rig.spool), -EIO);
    faulty_vfs_bad_sector(NULL, 0);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(rig.damages, 0);
    spool_rig_expect(&rig, 1, 2000);
}

static void a_file_without_its_log_is_good(void **state)
{
    (void)state;
    fill(100);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(spool_rig_append(&rig, 20), 0);
    spool_rig_crash(&rig);
    char log[TEMPDIR_PATH + 64];
    snprintf(log, sizeof log, "%s-wal", rig.path);
    assert_int_equal(unlink(log), 0);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(rig.damages, 0);
    spool_rig_expect(&rig, 1, 100);
}

static void a_log_without_its_file_is_never_played_into_another(void **state)
{
    (void)state;
    fill(100);
    spool_rig_crash(&rig);
    assert_int_equal(unlink(rig.path), 0);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    spool_rig_expect(&rig, 101, 105);
}

static void damage_inside_the_log_is_told(void **state)
{
    (void)state;
    fill(20);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(spool_rig_append(&rig, 2), 0);
    }
    spool_rig_crash(&rig);
    size_t size;
    char path[TEMPDIR_PATH + 64];
    snprintf(path, sizeof path, "%s-wal", rig.path);
    char *log = tempdir_read(path, &size);
    char *db = tempdir_read(rig.path, &(size_t){ 0 });
    size_t db_size = (size_t)spool_rig_size(&rig, "");
    int64_t frames = ((int64_t)size - 32) / (PAGE + 24);
    for (int64_t frame = -1; frame < frames - 6; frame++) { /* from the header on */
        char name[TEMPDIR_PATH];
        fg_spool_free(rig.spool);
        rig.spool = NULL;
        tempdir_write(rig.folder, "spool.db", db, db_size, name);
        tempdir_write(rig.folder, "spool.db-wal", log, size, name);
        flip("-wal", frame < 0 ? 5 : 32 + frame * (PAGE + 24) + frame * 501 % PAGE);
        rig.damages = 0;
        assert_int_equal(spool_rig_open(&rig), 0);
        assert_int_equal(rig.damages, 1);
        assert_non_null(strstr(rig.why, "-wal: is damaged"));
        check_order();
    }
    free(log);
    free(db);
    goes_on_working();
}

static void a_salvage_that_was_interrupted_is_finished(void **state)
{
    (void)state;
    char path[TEMPDIR_PATH];
    size_t size, log_size;
    fill(100);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    char *salvaged = tempdir_read(rig.path, &size);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(spool_rig_append(&rig, 20), 0);
    spool_rig_crash(&rig);
    char log[TEMPDIR_PATH + 64];
    snprintf(log, sizeof log, "%s-wal", rig.path);
    char *logged = tempdir_read(log, &log_size);
    for (int step = 0; step < 3; step++) { /* of the damaged: both there, only the log, nothing */
        fg_spool_free(rig.spool);
        rig.spool = NULL;
        unlink(rig.path);
        if (step < 1) {
            tempdir_write(rig.folder, "spool.db", "garbage", 7, path);
        }
        if (step < 2) {
            tempdir_write(rig.folder, "spool.db-wal", logged, log_size, path);
        }
        tempdir_write(rig.folder, "spool.db.salvaged", salvaged, size, path);
        rig.damages = 0;
        rig.salvaged = 0;
        assert_int_equal(spool_rig_open(&rig), 0);
        assert_int_equal(rig.damages, 1);
        assert_int_equal(rig.salvaged, 100);
        assert_non_null(strstr(rig.why, "interrupted"));
        spool_rig_expect(&rig, 1, 100);
        assert_int_equal(spool_rig_files(&rig, "salvaged"), 0);
    }
    free(salvaged);
    free(logged);
    goes_on_working();
}

static void only_some_damaged_files_are_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) {
        char path[TEMPDIR_PATH];
        fg_spool_free(rig.spool);
        rig.spool = NULL;
        tempdir_write(rig.folder, "spool.db", "garbage", 7, path);
        assert_int_equal(spool_rig_open(&rig), 0);
    }
    assert_int_equal(rig.damages, 9);
    assert_int_equal(spool_rig_files(&rig, "damaged"), 4);
    assert_int_equal(access(rig.set_aside, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(garbage_is_set_aside_and_told),
        TEST(a_foreign_database_is_set_aside_as_it_is),
        TEST(an_empty_file_is_no_damage),
        TEST(a_newer_version_is_left_alone),
        TEST(a_flipped_byte_in_any_page_costs_what_is_on_that_page),
        TEST(damage_in_several_places_costs_only_those),
        TEST(a_truncated_file_gives_what_is_left_of_it),
        TEST(damage_found_while_reading_is_salvaged_on_the_way),
        TEST(a_sector_that_stays_unreadable_is_given_up),
        TEST(a_read_that_fails_for_a_while_costs_nothing),
        TEST(a_file_without_its_log_is_good),
        TEST(a_log_without_its_file_is_never_played_into_another),
        TEST(damage_inside_the_log_is_told),
        TEST(a_salvage_that_was_interrupted_is_finished),
        TEST(only_some_damaged_files_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
