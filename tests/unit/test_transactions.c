#include "gateway/journal.h"
#include "gateway/transactions.h"

#include "support/tempdir.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[TEMPDIR_PATH], path[TEMPDIR_PATH + 16];
static struct fg_transactions memory;

static void open_memory(void)
{
    assert_int_equal(fg_transactions_init(&memory, path), 0);
    fg_transactions_open(&memory);
}

static void open_again(void)
{
    fg_transactions_fini(&memory);
    open_memory();
}

static int set_up(void **state)
{
    (void)state;
    tempdir_make(folder);
    snprintf(path, sizeof path, "%s/commands", folder);
    open_memory();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fg_transactions_fini(&memory);
    tempdir_remove(folder);
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static struct fg_deed *find(const char *transaction)
{
    return fg_transactions_find(&memory, "dev", transaction, strlen(transaction));
}

static struct fg_deed *begin(const char *transaction)
{
    struct fg_deed *deed = fg_transactions_begin(&memory, "dev", transaction, strlen(transaction));
    assert_non_null(deed);
    return deed;
}

static void finish(struct fg_deed *deed, const char *result)
{
    fg_transactions_finish(&memory, deed, result, strlen(result));
}

static void expect_done(const struct fg_deed *deed, const char *result)
{
    assert_non_null(deed);
    assert_true(deed->done);
    assert_int_equal(deed->result_size, strlen(result));
    assert_memory_equal(deed->result, result, strlen(result));
}

static void what_was_done_is_known_after_a_restart(void **state)
{
    (void)state;
    struct fg_deed *deed = begin("1");
    assert_ptr_equal(find("1"), deed);
    assert_false(deed->done);
    assert_null(find("2"));
    assert_null(fg_transactions_find(&memory, "other", "1", 1));
    finish(deed, "result");
    expect_done(find("1"), "result");
    open_again();
    expect_done(find("1"), "result");
    assert_null(find("2"));
}

static void what_was_begun_alone_is_done_without_a_result_after_a_restart(void **state)
{
    (void)state;
    begin("1");
    fg_transactions_sync(&memory);
    open_again();
    assert_non_null(find("1"));
    assert_true(find("1")->done);
    assert_null(find("1")->result);
    open_again();
    assert_non_null(find("1"));
}

static void the_last_thousand_are_known(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < FG_TRANSACTIONS_KEPT + 5; i++) {
        snprintf(name, sizeof name, "%d", i);
        finish(begin(name), name);
    }
    for (int round = 0; round < 2; round++) {
        assert_null(find("4"));
        expect_done(find("5"), "5");
        expect_done(find("1004"), "1004");
        assert_int_equal(memory.transactions.count, FG_TRANSACTIONS_KEPT);
        open_again();
    }
}

static void what_is_under_way_is_never_forgotten(void **state)
{
    (void)state;
    struct fg_deed *first = begin("first");
    for (int i = 0; i < FG_TRANSACTIONS_KEPT + 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        finish(begin(name), name);
    }
    assert_ptr_equal(find("first"), first);
    finish(first, "late");
    expect_done(find("first"), "late");
}

static size_t file_size(void)
{
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    return (size_t)about.st_size;
}

static void the_file_stays_short_and_private(void **state)
{
    (void)state;
    char result[1001];
    memset(result, 'r', 1000);
    result[1000] = '\0';
    struct fg_deed *open = begin("open");
    size_t longest = 0;
    for (int i = 0; i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        finish(begin(name), result);
        longest = file_size() > longest ? file_size() : longest;
    }
    assert_in_range(longest, 1, 3 << 20); /* a thousand of them take one MiB */
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    finish(open, "at last");
    open_again();
    expect_done(find("19999"), result);
    expect_done(find("19001"), result);
    assert_null(find("18999"));
}

/* Three records; cut after each byte, those that are whole are known, and what comes then is appended well.
 */
static void a_file_that_was_cut_anywhere_is_read_as_far_as_it_is_whole(void **state)
{
    (void)state;
    finish(begin("1"), "first");
    size_t one = file_size();
    begin("2");
    size_t two = file_size();
    fg_transactions_fini(&memory);
    size_t size = 0;
    char *whole = tempdir_read(path, &size);
    assert_non_null(whole);
    assert_int_equal(size, two);
    for (size_t cut = 0; cut <= size; cut++) {
        char written[TEMPDIR_PATH];
        unlink(path);
        tempdir_write(folder, "commands", whole, cut, written);
        open_memory();
        assert_non_null(memory.journal);
        assert_int_equal(find("1") && find("1")->result, cut >= one);
        assert_int_equal(find("2") != NULL, cut >= two);
        finish(begin("3"), "third");
        open_again();
        expect_done(find("3"), "third");
        fg_transactions_fini(&memory);
    }
    free(whole);
    open_memory();
}

static void a_changed_byte_ends_what_is_believed(void **state)
{
    (void)state;
    finish(begin("1"), "first");
    size_t one = file_size();
    finish(begin("2"), "second");
    fg_transactions_fini(&memory);
    size_t size = 0;
    char *whole = tempdir_read(path, &size);
    for (size_t at = one; at < size; at++) {
        char written[TEMPDIR_PATH];
        whole[at] ^= 0x41;
        unlink(path);
        tempdir_write(folder, "commands", whole, size, written);
        whole[at] ^= 0x41;
        open_memory();
        expect_done(find("1"), "first");
        assert_true(!find("2") || !find("2")->result); /* its begin may stand before */
        fg_transactions_fini(&memory);
    }
    free(whole);
    open_memory();
}

static void a_file_of_another_kind_is_left_alone(void **state)
{
    (void)state;
    char written[TEMPDIR_PATH];
    fg_transactions_fini(&memory);
    unlink(path);
    tempdir_write(folder, "commands", "somebody's letter", 17, written);
    open_memory();
    assert_null(memory.journal);
    finish(begin("1"), "in memory");
    expect_done(find("1"), "in memory");
    char *text = tempdir_read(path, NULL);
    assert_string_equal(text, "somebody's letter");
    free(text);
}

static void a_file_that_cannot_be_had_leaves_memory(void **state)
{
    (void)state;
    fg_transactions_fini(&memory);
    snprintf(path, sizeof path, "%s/none/commands", folder);
    open_memory();
    assert_null(memory.journal);
    finish(begin("1"), "in memory");
    expect_done(find("1"), "in memory");
    fg_transactions_sync(&memory);
}

static void a_file_that_another_process_uses_is_not_touched(void **state)
{
    (void)state;
    struct fg_transactions other;
    finish(begin("1"), "first");
    assert_int_equal(fg_transactions_init(&other, path), 0);
    fg_transactions_open(&other);
    assert_null(other.journal);
    assert_null(fg_transactions_find(&other, "dev", "1", 1));
    fg_transactions_fini(&other);
    /* The lock is of the file, also after it was written anew. */
    for (int i = 0; i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        finish(begin(name), name);
    }
    assert_int_equal(fg_transactions_init(&other, path), 0);
    fg_transactions_open(&other);
    assert_null(other.journal);
    fg_transactions_fini(&other);
}

/* The disk is full in the middle of a record, at each byte: what was there before is there, and what comes
 * after is appended well. */
static void a_write_that_fails_leaves_the_file_whole(void **state)
{
    (void)state;
    struct rlimit before, limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    finish(begin("1"), "first");
    for (rlim_t room = 0; room < 40; room++) {
        char name[16];
        snprintf(name, sizeof name, "fails%d", (int)room);
        size_t size = file_size();
        limit.rlim_cur = size + room;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        struct fg_deed *deed = begin(name);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_ptr_equal(find(name), deed); /* in memory all the same */
        size_t after = file_size();
        assert_true(after == size || after > size + 20);
        fg_transactions_finish(&memory, deed, "done", 4);
    }
    finish(begin("last"), "well");
    open_again();
    expect_done(find("1"), "first");
    expect_done(find("last"), "well");
}

static void a_rewrite_that_fails_leaves_the_old_file(void **state)
{
    (void)state;
    char name[TEMPDIR_PATH + 32];
    snprintf(name, sizeof name, "%s.new", path);
    assert_int_equal(mkdir(name, 0700), 0); /* nothing can be made there */
    for (int i = 0; i < 12000; i++) {
        char transaction[16];
        snprintf(transaction, sizeof transaction, "%d", i);
        finish(begin(transaction), "a result of some length, so that the file grows past its bound");
    }
    assert_true(file_size() > 1 << 20);
    assert_int_equal(rmdir(name), 0);
    finish(begin("last"), "well");
    assert_true(file_size() < 1 << 20);
    open_again();
    expect_done(find("last"), "well");
}

static void what_was_not_begun_after_all_is_not_known(void **state)
{
    (void)state;
    begin("1");
    fg_transactions_forget(&memory, find("1"));
    assert_null(find("1"));
    open_again();
    assert_null(find("1"));
    finish(begin("1"), "second try");
    open_again();
    expect_done(find("1"), "second try");
}

/* ---- deliveries ---- */

static struct fg_arrival message(unsigned connection, int64_t at_s, uint16_t mid, const char *payload)
{
    return (struct fg_arrival){ .came_ns = at_s * FG_NS_PER_S,
                                .connected_ns = (int64_t)connection * 1000 * FG_NS_PER_S,
                                .connection = connection,
                                .mid = mid,
                                .qos = 1,
                                .topic = "b/dev/set",
                                .topic_length = 9,
                                .payload = (const uint8_t *)payload,
                                .payload_size = strlen(payload) };
}

static bool is_known(unsigned connection, int64_t at_s, uint16_t mid, const char *payload)
{
    struct fg_arrival arrival = message(connection, at_s, mid, payload);
    return fg_deliveries_find(&memory, &arrival) != NULL;
}

static void deliver(unsigned connection, int64_t at_s, uint16_t mid, const char *payload)
{
    struct fg_arrival arrival = message(connection, at_s, mid, payload);
    assert_null(fg_deliveries_find(&memory, &arrival));
    struct fg_deed *deed = fg_deliveries_begin(&memory, &arrival, true);
    assert_non_null(deed);
    fg_transactions_finish(&memory, deed, "done", 4);
}

static void a_message_is_known_at_once_on_its_connection_and_early_on_the_next(void **state)
{
    (void)state;
    deliver(1, 1000, 5, "x");
    assert_true(is_known(1, 1001, 5, "x"));
    assert_false(is_known(1, 1002, 5, "x"));
    assert_true(is_known(2, 2059, 5, "x"));
    assert_false(is_known(2, 2060, 5, "x"));
    assert_false(is_known(2, 2001, 6, "x"));
    assert_false(is_known(2, 2001, 5, "y"));
}

static void an_identifier_with_other_content_is_used_anew(void **state)
{
    (void)state;
    deliver(1, 1000, 5, "x");
    deliver(1, 1000, 5, "y");
    assert_false(is_known(2, 2001, 5, "x"));
    assert_true(is_known(2, 2001, 5, "y"));
}

static void another_session_and_another_broker_have_messages_of_their_own(void **state)
{
    (void)state;
    deliver(1, 1000, 5, "x");
    struct fg_arrival elsewhere = message(2, 2000, 5, "x");
    elsewhere.broker = 1;
    assert_null(fg_deliveries_find(&memory, &elsewhere));
    assert_true(is_known(2, 2001, 5, "x"));
    struct fg_arrival later = message(2, 2000, 5, "x");
    later.session = 1;
    assert_null(fg_deliveries_find(&memory, &later));
    open_again();
    assert_false(is_known(1, 1001, 5, "x"));
}

static void deliveries_are_known_after_a_restart(void **state)
{
    (void)state;
    deliver(3, 3000, 5, "x");
    open_again();
    assert_true(is_known(1, 1010, 5, "x"));
    assert_false(is_known(1, 1100, 5, "x"));
}

static void a_message_of_qos_0_is_never_known(void **state)
{
    (void)state;
    deliver(1, 1000, 0, "x");
    struct fg_arrival arrival = message(1, 1000, 0, "x");
    arrival.qos = 0;
    assert_null(fg_deliveries_find(&memory, &arrival));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_done_is_known_after_a_restart),
        CASE(what_was_begun_alone_is_done_without_a_result_after_a_restart),
        CASE(the_last_thousand_are_known),
        CASE(what_is_under_way_is_never_forgotten),
        CASE(the_file_stays_short_and_private),
        CASE(a_file_that_was_cut_anywhere_is_read_as_far_as_it_is_whole),
        CASE(a_changed_byte_ends_what_is_believed),
        CASE(a_file_of_another_kind_is_left_alone),
        CASE(a_file_that_cannot_be_had_leaves_memory),
        CASE(a_file_that_another_process_uses_is_not_touched),
        CASE(a_write_that_fails_leaves_the_file_whole),
        CASE(a_rewrite_that_fails_leaves_the_old_file),
        CASE(what_was_not_begun_after_all_is_not_known),
        CASE(a_message_is_known_at_once_on_its_connection_and_early_on_the_next),
        CASE(an_identifier_with_other_content_is_used_anew),
        CASE(another_session_and_another_broker_have_messages_of_their_own),
        CASE(deliveries_are_known_after_a_restart),
        CASE(a_message_of_qos_0_is_never_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
