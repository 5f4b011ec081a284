#include "support/spool_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

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

static void problem_says(const char *part)
{
    if (!strstr(fg_spool_problem(rig.spool), part)) {
        fail_msg("\"%s\" does not say \"%s\"", fg_spool_problem(rig.spool), part);
    }
}

static unsigned mode_of(const char *suffix)
{
    char path[TEMPDIR_PATH + 64];
    struct stat file;
    snprintf(path, sizeof path, "%s%s", rig.path, suffix);
    assert_int_equal(stat(path, &file), 0);
    return file.st_mode & 07777;
}

static void only_its_owner_can_read_it(void **state)
{
    (void)state;
    mode_t mask = umask(0);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    umask(mask);
    assert_int_equal(mode_of(""), 0600);
    assert_int_equal(mode_of("-wal"), 0600);
    assert_int_equal(mode_of(".lock"), 0600);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_int_equal(chmod(rig.path, 0644), 0);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(mode_of(""), 0600);
}

static void a_second_opener_is_refused(void **state)
{
    (void)state;
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(spool_rig_append(&rig, 3), 0);
    struct fg_spool_options options = { &rig.settings, &rig.events, &rig, rig.boot, NULL };
    struct fg_spool *other;
    assert_int_equal(fg_spool_new(&options, &other), 0);
    assert_int_equal(fg_spool_open(other), -EBUSY);
    assert_non_null(strstr(fg_spool_problem(other), "another process has this spool"));
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_int_equal(fg_spool_open(other), 0);
    assert_int_equal(fg_spool_open(rig.spool), -EBUSY);
    fg_spool_free(other);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    spool_rig_expect(&rig, 1, 3);
}

static void the_lock_goes_with_the_process_that_had_it(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool good = spool_rig_open(&rig) == 0 && spool_rig_append(&rig, 5) == 0;
        _exit(good ? 0 : 1); /* as if killed */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(spool_rig_open(&rig), 0);
    spool_rig_expect(&rig, 1, 5);
}

static void a_folder_that_is_not_there_is_told_and_can_be_made(void **state)
{
    (void)state;
    snprintf(rig.path, sizeof rig.path, "%s/sub/spool.db", rig.folder);
    char folder[TEMPDIR_PATH + 8];
    snprintf(folder, sizeof folder, "%s/sub", rig.folder);
    assert_int_equal(spool_rig_open(&rig), -ENOENT);
    problem_says("install -d");
    assert_int_equal(spool_rig_append(&rig, 1), -ENOENT);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(chmod(folder, 0770), 0);
    assert_int_equal(spool_rig_append(&rig, 1), -EPERM); /* the file is made now */
    problem_says("chmod go-w");
    assert_int_equal(fg_spool_open(rig.spool), -EPERM);
}

static void what_stands_in_place_of_the_file_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mkdir(rig.path, 0700), 0);
    assert_int_equal(spool_rig_open(&rig), -EPERM);
    problem_says("is no file");
    assert_int_equal(rmdir(rig.path), 0);
    assert_int_equal(mkfifo(rig.path, 0600), 0);
    assert_int_equal(fg_spool_open(rig.spool), -EPERM);
    assert_int_equal(unlink(rig.path), 0);
    assert_int_equal(symlink("/etc/passwd", rig.path), 0);
    assert_int_equal(fg_spool_open(rig.spool), -ELOOP);
    problem_says("symbolic link");
    assert_int_equal(unlink(rig.path), 0);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    assert_int_equal(rig.damages, 0);
}

static void a_lock_that_is_a_symbolic_link_is_not_followed(void **state)
{
    (void)state;
    char lock[TEMPDIR_PATH + 64], target[TEMPDIR_PATH + 32];
    snprintf(lock, sizeof lock, "%s.lock", rig.path);
    snprintf(target, sizeof target, "%s/target", rig.folder);
    assert_int_equal(symlink(target, lock), 0);
    assert_int_equal(spool_rig_open(&rig), -ELOOP);
    assert_int_equal(access(target, F_OK), -1);
}

static void a_folder_that_cannot_be_written_is_told(void **state)
{
    (void)state;
    bool root = geteuid() == 0;
    if (root) {
        assert_int_equal(chown(rig.folder, 65534, 65534), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    int before = spool_rig_open(&rig);
    assert_int_equal(chmod(rig.folder, 0500), 0);
    int resting = spool_rig_append(&rig, 1);
    int again = spool_rig_open(&rig);
    int healed = chmod(rig.folder, 0700) == 0 ? fg_spool_open(rig.spool) : -1;
    rig.made = 0;
    int appended = spool_rig_append(&rig, 1);
    fg_spool_free(rig.spool);
    rig.spool = NULL;
    if (root) {
        assert_int_equal(seteuid(0), 0);
    }
    assert_int_equal(before, 0);
    assert_int_equal(resting, -EACCES);
    assert_int_equal(again, 0); /* the lock is there, and there is no file to be written */
    assert_int_equal(healed, 0);
    assert_int_equal(appended, 0);
}

static void a_folder_that_went_away_and_came_back_loses_nothing(void **state)
{
    (void)state;
    char inside[TEMPDIR_PATH + 16], away[TEMPDIR_PATH + 16];
    snprintf(inside, sizeof inside, "%s/mount", rig.folder);
    snprintf(away, sizeof away, "%s/away", rig.folder);
    snprintf(rig.path, sizeof rig.path, "%s/spool.db", inside);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    assert_int_equal(rename(inside, away), 0);
    assert_int_equal(spool_rig_append(&rig, 1), -ENOENT);
    assert_false(fg_spool_is_open(rig.spool));
    assert_int_equal(fg_spool_open(rig.spool), -ENOENT);
    assert_int_equal(rename(away, inside), 0);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    rig.made = 5;
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    spool_rig_expect(&rig, 1, 6);
}

static void a_file_that_appears_while_it_rests_is_not_written_over(void **state)
{
    (void)state;
    char inside[TEMPDIR_PATH + 16], full[TEMPDIR_PATH + 16];
    snprintf(inside, sizeof inside, "%s/mount", rig.folder);
    snprintf(full, sizeof full, "%s/full", rig.folder);
    snprintf(rig.path, sizeof rig.path, "%s/spool.db", inside);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_int_equal(spool_rig_open(&rig), 0);
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_int_equal(rename(inside, full), 0);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_int_equal(fg_spool_open(rig.spool), 0); /* nothing is mounted yet */
    assert_int_equal(rmdir(inside) == 0 || errno == ENOTEMPTY, 1);
    char lock[TEMPDIR_PATH + 64];
    snprintf(lock, sizeof lock, "%s.lock", rig.path);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(rmdir(inside), 0);
    assert_int_equal(rename(full, inside), 0); /* now it is */
    assert_int_equal(spool_rig_append(&rig, 1), -ENOENT);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    spool_rig_expect(&rig, 1, 5);
}

/* Whether the test may mount; it skips itself otherwise. */
static void mount_small(void)
{
    if (geteuid() != 0 || mount("tmpfs", rig.folder, "tmpfs", 0, "size=1m,mode=0700") != 0) {
        skip();
    }
}

static void a_full_disk_refuses_and_goes_on_when_there_is_room(void **state)
{
    (void)state;
    mount_small();
    char filler[TEMPDIR_PATH + 16];
    snprintf(filler, sizeof filler, "%s/filler", rig.folder);
    FILE *file = fopen(filler, "we");
    static const char zeros[400 << 10];
    int filled = file && fwrite(zeros, 1, sizeof zeros, file) == sizeof zeros && fclose(file) == 0;
    rig.padding = 300;
    int opening = spool_rig_open(&rig);
    int error = 0;
    while (!error && rig.made < 10000) {
        error = spool_rig_append(&rig, 20);
    }
    unsigned kept = rig.made - 20;
    bool open = fg_spool_is_open(rig.spool);
    static unsigned numbers[SPOOL_RIG_MAX];
    int full = spool_rig_read(&rig, numbers, NULL, SPOOL_RIG_MAX);
    unlink(filler);
    rig.made = kept;
    int after = spool_rig_append(&rig, 20);
    int all = spool_rig_read(&rig, numbers, NULL, SPOOL_RIG_MAX);
    fg_spool_free(rig.spool);
    rig.spool = NULL;
    umount2(rig.folder, MNT_DETACH);
    assert_true(filled);
    assert_int_equal(opening, 0);
    assert_int_equal(error, -ENOSPC);
    assert_true(open);
    assert_int_equal(full, kept);
    assert_int_equal(after, 0);
    assert_int_equal(all, kept + 20);
    assert_int_equal(numbers[kept + 19], kept + 20);
    assert_int_equal(rig.damages, 0);
}

static void a_disk_that_turns_read_only_refuses_and_comes_back(void **state)
{
    (void)state;
    mount_small();
    int opening = spool_rig_open(&rig);
    int before = spool_rig_append(&rig, 5);
    fg_spool_free(rig.spool);
    rig.spool = NULL;
    int frozen = mount("none", rig.folder, "none", MS_REMOUNT | MS_RDONLY, NULL);
    int read_only = spool_rig_open(&rig);
    int refused = spool_rig_append(&rig, 1);
    int thawed = mount("none", rig.folder, "none", MS_REMOUNT, NULL);
    int again = fg_spool_open(rig.spool);
    rig.made = 5;
    int after = spool_rig_append(&rig, 1);
    unsigned numbers[8];
    int all = spool_rig_read(&rig, numbers, NULL, 8);
    fg_spool_free(rig.spool);
    rig.spool = NULL;
    umount2(rig.folder, MNT_DETACH);
    assert_int_equal(opening, 0);
    assert_int_equal(before, 0);
    assert_int_equal(frozen, 0);
    assert_int_equal(read_only, -EROFS);
    assert_int_equal(refused, -EROFS);
    assert_int_equal(thawed, 0);
    assert_int_equal(again, 0);
    assert_int_equal(after, 0);
    assert_int_equal(all, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(only_its_owner_can_read_it),
        TEST(a_second_opener_is_refused),
        TEST(the_lock_goes_with_the_process_that_had_it),
        TEST(a_folder_that_is_not_there_is_told_and_can_be_made),
        TEST(what_stands_in_place_of_the_file_is_refused),
        TEST(a_lock_that_is_a_symbolic_link_is_not_followed),
        TEST(a_folder_that_cannot_be_written_is_told),
        TEST(a_folder_that_went_away_and_came_back_loses_nothing),
        TEST(a_file_that_appears_while_it_rests_is_not_written_over),
        TEST(a_full_disk_refuses_and_goes_on_when_there_is_room),
        TEST(a_disk_that_turns_read_only_refuses_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
