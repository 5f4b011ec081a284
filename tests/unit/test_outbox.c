#include "mqtt/inflight.h"
#include "mqtt/losses.h"
#include "mqtt/outbox.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fg_origin *origin;

static int set_up(void **state)
{
    (void)state;
    origin = fg_origin_new("p", "d");
    return origin ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(atomic_load(&origin->references), 1);
    fg_origin_unref(origin);
    return 0;
}

static struct fg_message *message_of(char name, size_t bytes)
{
    static const char padding[512];
    struct fg_message *message =
        fg_message_new(origin, &name, 1, padding, bytes - sizeof(struct fg_message) - 2);
    assert_non_null(message);
    assert_int_equal(fg_message_bytes(message), bytes);
    return message;
}

static void messages_come_out_in_order(void **state)
{
    (void)state;
    struct fg_outbox outbox;
    fg_outbox_init(&outbox, 1000);
    struct fg_message *a = message_of('a', 100);
    a->next = message_of('b', 100);
    assert_int_equal(fg_outbox_append(&outbox, a), 0);
    assert_int_equal(fg_outbox_append(&outbox, message_of('c', 100)), 0);
    struct fg_message *taken = fg_outbox_take(&outbox, 2);
    assert_string_equal(fg_message_topic(taken), "a");
    assert_string_equal(fg_message_topic(taken->next), "b");
    assert_null(taken->next->next);
    fg_message_free_all(taken);
    taken = fg_outbox_take(&outbox, 2);
    assert_string_equal(fg_message_topic(taken), "c");
    fg_message_free_all(taken);
    assert_null(fg_outbox_take(&outbox, 2));
    assert_int_equal(fg_outbox_append(&outbox, message_of('d', 100)), 0);
    taken = fg_outbox_take(&outbox, SIZE_MAX);
    assert_string_equal(fg_message_topic(taken), "d");
    fg_message_free_all(taken);
    fg_outbox_fini(&outbox);
}

static void what_is_in_flight_counts_until_released(void **state)
{
    (void)state;
    struct fg_outbox outbox;
    fg_outbox_init(&outbox, 300);
    assert_int_equal(fg_outbox_append(&outbox, message_of('a', 200)), 0);
    struct fg_message *taken = fg_outbox_take(&outbox, 1);
    struct fg_message *more = message_of('b', 101);
    assert_int_equal(fg_outbox_append(&outbox, more), -ENOBUFS);
    fg_outbox_release(&outbox, 1, fg_message_bytes(taken));
    fg_message_free(taken);
    assert_int_equal(fg_outbox_append(&outbox, more), 0);
    assert_int_equal(outbox.bytes, 101);
    fg_outbox_fini(&outbox);
}

static void the_bound_is_strict_and_a_chain_is_taken_whole(void **state)
{
    (void)state;
    struct fg_outbox outbox;
    fg_outbox_init(&outbox, 300);
    struct fg_message *chain = message_of('a', 150);
    chain->next = message_of('b', 151);
    assert_int_equal(fg_outbox_append(&outbox, chain), -EMSGSIZE);
    assert_false(fg_outbox_full(&outbox));
    assert_int_equal(outbox.waiting, 0);
    fg_message_free_all(chain);
    assert_int_equal(fg_outbox_append(&outbox, message_of('a', 150)), 0);
    assert_int_equal(fg_outbox_append(&outbox, message_of('b', 150)), 0);
    struct fg_message *more = message_of('c', 100);
    assert_int_equal(fg_outbox_append(&outbox, more), -ENOBUFS);
    assert_int_equal(outbox.bytes, 300);
    fg_message_free(more);
    fg_outbox_fini(&outbox);
}

static void room_comes_once_below_three_quarters(void **state)
{
    (void)state;
    struct fg_outbox outbox;
    fg_outbox_init(&outbox, 400);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fg_outbox_append(&outbox, message_of('a', 100)), 0);
    }
    assert_false(fg_outbox_reopen(&outbox));
    struct fg_message *more = message_of('b', 100);
    assert_int_equal(fg_outbox_append(&outbox, more), -ENOBUFS);
    fg_message_free(more);
    assert_true(fg_outbox_full(&outbox));
    struct fg_message *taken = fg_outbox_take(&outbox, 4);
    fg_outbox_release(&outbox, 1, 100);
    assert_false(fg_outbox_reopen(&outbox)); /* 300 of 400: at, not below */
    fg_outbox_release(&outbox, 1, 100);
    assert_true(fg_outbox_reopen(&outbox));
    assert_false(fg_outbox_full(&outbox));
    assert_false(fg_outbox_reopen(&outbox));
    fg_message_free_all(taken);
    fg_outbox_fini(&outbox);
}

/* Else the caller would try again at once, be refused again, and so on. */
static void room_comes_only_for_what_was_refused(void **state)
{
    (void)state;
    struct fg_outbox outbox;
    fg_outbox_init(&outbox, 400);
    assert_int_equal(fg_outbox_append(&outbox, message_of('a', 100)), 0);
    assert_int_equal(fg_outbox_append(&outbox, message_of('a', 100)), 0);
    struct fg_message *large = message_of('b', 350);
    assert_int_equal(fg_outbox_append(&outbox, large), -ENOBUFS);
    assert_false(fg_outbox_reopen(&outbox));
    struct fg_message *taken = fg_outbox_take(&outbox, 2);
    fg_outbox_release(&outbox, 1, 100);
    assert_false(fg_outbox_reopen(&outbox));
    fg_outbox_release(&outbox, 1, 100);
    assert_true(fg_outbox_reopen(&outbox));
    assert_int_equal(fg_outbox_append(&outbox, large), 0);
    fg_message_free_all(taken);
    fg_outbox_fini(&outbox);
}

static void flights_are_found_by_identifier_and_kept_in_order(void **state)
{
    (void)state;
    struct fg_inflight table;
    assert_int_equal(fg_inflight_init(&table, 3), 0);
    /* 5, 21 and 37 share a bucket */
    const uint16_t mids[] = { 5, 21, 37 };
    for (size_t i = 0; i < 3; i++) {
        fg_inflight_add(&table, &(struct fg_flight){ .mid = mids[i], .message = message_of('a', 100) });
    }
    struct fg_flight taken;
    fg_inflight_remove(&table, fg_inflight_find(&table, 21), &taken);
    assert_int_equal(taken.mid, 21);
    fg_message_free(taken.message);
    assert_null(fg_inflight_find(&table, 21));
    assert_non_null(fg_inflight_find(&table, 37));
    assert_null(fg_inflight_find(&table, 53));
    fg_inflight_add(&table, &(struct fg_flight){ .mid = 1 });
    assert_int_equal(table.oldest->mid, 5);
    assert_int_equal(table.oldest->newer->mid, 37);
    assert_int_equal(table.newest->mid, 1);
    assert_int_equal(table.count, 3);
    fg_inflight_fini(&table);
}

static void losses_merge_into_one_range(void **state)
{
    (void)state;
    struct fg_losses losses;
    struct fg_loss_told told;
    char text[256];
    fg_losses_init(&losses);
    assert_true(fg_losses_add(&losses, origin, FG_LOSS_QUEUE_FULL, 2000, 3, 10));
    assert_false(fg_losses_add(&losses, origin, FG_LOSS_QUEUE_FULL, 1000, 1, 10));
    assert_true(fg_losses_take(&losses, 10, &told));
    size_t size = fg_losses_print(&told, text, sizeof text);
    static const char expected[] =
        "{\"device\":\"d\",\"from\":1000,\"to\":2000,\"count\":4,\"reason\":\"queue-full\"}";
    assert_int_equal(size, sizeof expected - 1);
    assert_memory_equal(text, expected, size);
    fg_losses_done(&losses, told.origin, told.reason);
    fg_origin_unref(told.origin);
    assert_false(fg_losses_take(&losses, 5 * FG_NS_PER_S, &told));
    assert_false(origin->has_hole);
    fg_losses_fini(&losses);
}

static void a_flood_of_losses_is_told_once_a_second(void **state)
{
    (void)state;
    struct fg_losses losses;
    struct fg_loss_told told;
    fg_losses_init(&losses);
    fg_losses_add(&losses, origin, FG_LOSS_QUEUE_FULL, 1, 1, 0);
    assert_true(fg_losses_take(&losses, 0, &told));
    fg_origin_unref(told.origin);
    /* While it is under way, nothing more is told, however long that takes. */
    fg_losses_add(&losses, origin, FG_LOSS_QUEUE_FULL, 2, 1, 2 * FG_NS_PER_S);
    assert_false(fg_losses_take(&losses, 3 * FG_NS_PER_S, &told));
    fg_losses_done(&losses, origin, FG_LOSS_QUEUE_FULL);
    assert_true(fg_losses_take(&losses, 3 * FG_NS_PER_S, &told));
    assert_int_equal(told.hole.count, 1);
    fg_losses_done(&losses, told.origin, told.reason);
    fg_origin_unref(told.origin);
    fg_losses_add(&losses, origin, FG_LOSS_QUEUE_FULL, 3, 1, 3 * FG_NS_PER_S);
    assert_false(fg_losses_take(&losses, 3 * FG_NS_PER_S + 999 * FG_NS_PER_MS, &told));
    assert_int_equal(losses.due_ns, 4 * FG_NS_PER_S);
    assert_true(fg_losses_take(&losses, 4 * FG_NS_PER_S, &told));
    fg_losses_undo(&losses, &told);
    fg_origin_unref(told.origin);
    assert_int_equal(losses.open, 1);
    fg_losses_fini(&losses);
}

static void what_cannot_wait_is_taken_beyond_the_bound_which_is_bounded_too(void **state)
{
    (void)state;
    struct fg_outbox outbox;
    fg_outbox_init(&outbox, 300);
    assert_int_equal(fg_outbox_append(&outbox, message_of('a', 300)), 0);
    size_t taken = 300;
    struct fg_message *more = message_of('b', 500);
    while (fg_outbox_append_last(&outbox, more) == 0) {
        taken += 500;
        more = message_of('b', 500);
    }
    assert_in_range(taken, FG_OUTBOX_LAST_BYTES - 500, FG_OUTBOX_LAST_BYTES + 300);
    assert_int_equal(outbox.bytes, taken);
    assert_int_equal(fg_outbox_append(&outbox, more), -EMSGSIZE);
    fg_message_free(more);
    fg_outbox_fini(&outbox);
}

static void a_lower_bound_refuses_until_enough_has_gone(void **state)
{
    (void)state;
    struct fg_outbox outbox;
    fg_outbox_init(&outbox, 1000);
    assert_int_equal(fg_outbox_append(&outbox, message_of('a', 400)), 0);
    assert_int_equal(fg_outbox_append(&outbox, message_of('b', 400)), 0);
    fg_outbox_set_limit(&outbox, 500); /* what is there stays */
    struct fg_message *more = message_of('c', 100);
    assert_int_equal(fg_outbox_append(&outbox, more), -ENOBUFS);
    assert_false(fg_outbox_reopen(&outbox));
    fg_message_free_all(fg_outbox_take(&outbox, 2));
    fg_outbox_release(&outbox, 1, 400);
    assert_false(fg_outbox_reopen(&outbox));
    fg_outbox_release(&outbox, 1, 400);
    assert_true(fg_outbox_reopen(&outbox));
    assert_int_equal(fg_outbox_append(&outbox, more), 0);
    fg_outbox_fini(&outbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_come_out_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_in_flight_counts_until_released, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_bound_is_strict_and_a_chain_is_taken_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(room_comes_once_below_three_quarters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(room_comes_only_for_what_was_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_wait_is_taken_beyond_the_bound_which_is_bounded_too,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lower_bound_refuses_until_enough_has_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(flights_are_found_by_identifier_and_kept_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(losses_merge_into_one_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flood_of_losses_is_told_once_a_second, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
