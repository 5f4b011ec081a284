#include "support/spool_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void opened(void)
{
    assert_int_equal(spool_rig_open(&rig), 0);
}

static void messages_come_back_in_the_order_in_which_they_were_appended(void **state)
{
    (void)state;
    opened();
    for (unsigned i = 1; i <= 40; i++) {
        assert_int_equal(spool_rig_append(&rig, i), 0);
    }
    spool_rig_expect(&rig, 1, 820);
    opened();
    spool_rig_expect(&rig, 1, 820);
}

static void reading_goes_on_behind_a_cursor_within_its_bounds(void **state)
{
    (void)state;
    opened();
    assert_int_equal(spool_rig_append(&rig, 10), 0);
    struct fg_message *chain = NULL;
    assert_int_equal(fg_spool_read(rig.spool, 0, 4, SIZE_MAX, &chain), 0);
    int64_t last = chain->next->next->next->spool_id;
    size_t bytes = fg_message_bytes(chain);
    assert_null(chain->next->next->next->next);
    fg_message_free_all(chain);
    assert_int_equal(fg_spool_read(rig.spool, last, 100, 2 * bytes, &chain), 0);
    assert_memory_equal(fg_message_payload(chain), "5,", 2);
    assert_null(chain->next->next);
    fg_message_free_all(chain);
    assert_int_equal(fg_spool_read(rig.spool, last, 100, 1, &chain), 0);
    assert_non_null(chain);
    assert_null(chain->next);
    fg_message_free_all(chain);
    assert_int_equal(fg_spool_read(rig.spool, last + 6, 100, 1, &chain), 0);
    assert_null(chain);
}

static void messages_are_removed_in_any_order(void **state)
{
    (void)state;
    unsigned numbers[10];
    int64_t ids[10];
    opened();
    assert_int_equal(spool_rig_append(&rig, 10), 0);
    assert_int_equal(spool_rig_read(&rig, numbers, ids, 10), 10);
    struct fg_spool_range ranges[] = { { ids[7], ids[8] }, { ids[2], ids[2] }, { ids[4], ids[4] } };
    assert_int_equal(fg_spool_remove(rig.spool, ranges, 3), 0);
    assert_int_equal(fg_spool_remove(rig.spool, ranges, 3), 0); /* again: they are gone */
    opened();
    assert_int_equal(spool_rig_read(&rig, numbers, ids, 10), 6);
    static const unsigned left[] = { 1, 2, 4, 6, 7, 10 };
    assert_memory_equal(numbers, left, sizeof left);
    struct fg_spool_range all = { 1, INT64_MAX };
    assert_int_equal(fg_spool_remove(rig.spool, &all, 1), 0);
    assert_int_equal(spool_rig_read(&rig, numbers, ids, 10), 0);
}

static void a_spool_that_is_not_needed_writes_nothing(void **state)
{
    (void)state;
    opened();
    assert_int_equal(spool_rig_append(&rig, 0), 0);
    assert_int_equal(fg_spool_expire(rig.spool), 0);
    struct fg_spool_counts counts;
    fg_spool_get_counts(rig.spool, &counts);
    assert_int_equal(counts.written_bytes, 0);
    assert_int_equal(counts.disk_bytes, 0);
    assert_int_equal(spool_rig_size(&rig, ""), -1);
}

static void a_close_that_leaves_it_empty_leaves_no_file(void **state)
{
    (void)state;
    opened();
    assert_int_equal(spool_rig_append(&rig, 3), 0);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_true(spool_rig_size(&rig, "") > 0);
    assert_int_equal(spool_rig_size(&rig, "-wal"), -1);
    assert_int_equal(fg_spool_append(rig.spool, NULL), 0);
    assert_int_equal(spool_rig_append(&rig, 1), -ESHUTDOWN);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(fg_spool_remove(rig.spool, &(struct fg_spool_range){ 1, 3 }, 1), 0);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_int_equal(spool_rig_files(&rig, "spool.db"), 1); /* the lock */
}

static void ids_are_never_given_twice_by_one_spool(void **state)
{
    (void)state;
    opened();
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    assert_int_equal(fg_spool_remove(rig.spool, &(struct fg_spool_range){ 1, 5 }, 1), 0);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_int_equal(fg_spool_open(rig.spool), 0);
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    struct fg_spool_counts counts;
    fg_spool_get_counts(rig.spool, &counts);
    assert_int_equal(counts.last_id, 6);
}

static void counts_tell_what_is_there_and_what_it_takes(void **state)
{
    (void)state;
    opened();
    int64_t oldest;
    assert_int_equal(fg_spool_oldest(rig.spool, &oldest), -ENOENT);
    int64_t began = rig.time.wall_ms;
    assert_int_equal(spool_rig_append(&rig, 30), 0);
    rig.time.wall_ms += 1000;
    rig.time.now_ns += 1000000000;
    assert_int_equal(spool_rig_append(&rig, 30), 0);
    struct fg_spool_counts counts;
    fg_spool_get_counts(rig.spool, &counts);
    assert_int_equal(counts.messages, 60);
    assert_int_equal(counts.disk_bytes, spool_rig_size(&rig, "") + spool_rig_size(&rig, "-wal"));
    assert_true(counts.written_bytes >= counts.disk_bytes);
    assert_int_equal(fg_spool_oldest(rig.spool, &oldest), 0);
    assert_int_equal(oldest, began);
    assert_int_equal(fg_spool_remove(rig.spool, &(struct fg_spool_range){ 1, 30 }, 1), 0);
    assert_int_equal(fg_spool_oldest(rig.spool, &oldest), 0);
    assert_int_equal(oldest, began + 1000);
}

static void a_chain_that_is_too_long_for_one_commit_is_refused(void **state)
{
    (void)state;
    rig.padding = 8000;
    opened();
    unsigned count = (unsigned)(fg_spool_batch_bytes(rig.spool) / 8000) + 1;
    assert_int_equal(spool_rig_append(&rig, count), -EMSGSIZE);
    assert_true(fg_spool_is_open(rig.spool));
    rig.made = 0;
    assert_int_equal(spool_rig_append(&rig, count - 10), 0);
    spool_rig_expect(&rig, 1, count - 10);
}

static void many_sources_are_known_and_forgotten(void **state)
{
    (void)state;
    opened();
    for (unsigned round = 0; round < 12; round++) {
        struct fg_message *first = NULL, **end = &first;
        for (unsigned i = 0; i < 500; i++) {
            char topic[32];
            int length = snprintf(topic, sizeof topic, "t/%u", round * 500 + i);
            *end = fg_message_new(rig.origins[0], topic, (size_t)length, topic, (size_t)length);
            end = &(*end)->next;
        }
        assert_int_equal(fg_spool_append(rig.spool, first), 0);
        fg_message_free_all(first);
    }
    for (int64_t after = 0; after < 6000;) {
        struct fg_message *chain = NULL;
        assert_int_equal(fg_spool_read(rig.spool, after, 500, SIZE_MAX, &chain), 0);
        assert_non_null(chain);
        int64_t begin = after + 1;
        for (struct fg_message *message = chain; message; message = message->next) {
            assert_memory_equal(fg_message_topic(message), fg_message_payload(message),
                                message->payload_size);
            after = message->spool_id;
        }
        fg_message_free_all(chain);
        assert_int_equal(fg_spool_remove(rig.spool, &(struct fg_spool_range){ begin, after }, 1), 0);
    }
    for (int i = 0; i < 30; i++) { /* what is known too long goes with later removals, some at a time */
        assert_int_equal(spool_rig_append(&rig, 1), 0);
        struct fg_spool_counts counts;
        fg_spool_get_counts(rig.spool, &counts);
        struct fg_spool_range last = { counts.last_id, counts.last_id };
        assert_int_equal(fg_spool_remove(rig.spool, &last, 1), 0);
    }
    assert_int_equal(spool_rig_append(&rig, 1), 0);
    spool_rig_crash(&rig);
    sqlite3 *db;
    sqlite3_stmt *rows;
    assert_int_equal(sqlite3_open(rig.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM source", -1, &rows, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(rows), SQLITE_ROW);
    assert_in_range(sqlite3_column_int(rows, 0), 1, 4100);
    sqlite3_finalize(rows);
    sqlite3_close(db);
}

static void assert_left(unsigned first, unsigned last)
{
    assert_int_equal(spool_rig_open(&rig), 0);
    spool_rig_expect(&rig, first, last);
}

/* What was noted is gone after a crash, although no row was removed. */
static void what_is_noted_as_done_does_not_come_back(void **state)
{
    (void)state;
    opened();
    assert_int_equal(spool_rig_append(&rig, 20), 0);
    assert_int_equal(fg_spool_done(rig.spool, 7), 0);
    assert_int_equal(fg_spool_done(rig.spool, 5), 0); /* a note never goes back */
    spool_rig_expect(&rig, 1, 20);
    spool_rig_crash(&rig);
    assert_left(8, 20);
    assert_int_equal(fg_spool_done(rig.spool, 15), 0);
    assert_int_equal(spool_rig_append(&rig, 5), 0);
    spool_rig_crash(&rig);
    assert_left(16, 25);
}

/* A note is about one file, and only a whole one counts. */
static void a_note_that_is_not_of_this_file_is_ignored(void **state)
{
    (void)state;
    opened();
    assert_int_equal(spool_rig_append(&rig, 20), 0);
    assert_int_equal(fg_spool_done(rig.spool, 7), 0);
    spool_rig_crash(&rig);
    char path[TEMPDIR_PATH + 64];
    size_t size = 0;
    snprintf(path, sizeof path, "%s-done", rig.path);
    char *note = tempdir_read(path, &size);
    assert_int_equal(size, 32);
    for (size_t i = 0; i <= size; i++) {
        char file[TEMPDIR_PATH];
        char *bent = malloc(size);
        memcpy(bent, note, size);
        bent[i % size] ^= (char)(i < size);
        tempdir_write(rig.folder, "spool.db-done", bent, i < size ? size : size - 1, file);
        free(bent);
        assert_left(1, 20);
        spool_rig_crash(&rig);
    }
    free(note);
}

static void the_note_goes_with_the_file(void **state)
{
    (void)state;
    opened();
    assert_int_equal(spool_rig_append(&rig, 20), 0);
    assert_int_equal(fg_spool_done(rig.spool, 20), 0);
    assert_int_equal(spool_rig_files(&rig, "-done"), 1);
    assert_int_equal(fg_spool_remove(rig.spool, &(struct fg_spool_range){ 1, 20 }, 1), 0);
    assert_int_equal(fg_spool_close(rig.spool), 0);
    assert_int_equal(spool_rig_files(&rig, "-done"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(messages_come_back_in_the_order_in_which_they_were_appended),
        TEST(reading_goes_on_behind_a_cursor_within_its_bounds),
        TEST(messages_are_removed_in_any_order),
        TEST(a_spool_that_is_not_needed_writes_nothing),
        TEST(a_close_that_leaves_it_empty_leaves_no_file),
        TEST(ids_are_never_given_twice_by_one_spool),
        TEST(counts_tell_what_is_there_and_what_it_takes),
        TEST(a_chain_that_is_too_long_for_one_commit_is_refused),
        TEST(many_sources_are_known_and_forgotten),
        TEST(what_is_noted_as_done_does_not_come_back),
        TEST(a_note_that_is_not_of_this_file_is_ignored),
        TEST(the_note_goes_with_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
