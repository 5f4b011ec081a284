/* Which device has the topics of a name, as devices come and go. */
#include "fake_bench.h"

#include "gateway/commanded.h"

#include <signal.h>

static struct fg_commanded_table table;

static int set_up(void **state)
{
    int error = fake_set_up(state);
    struct bench *bench = *state;
    use_fake(bench, NULL);
    bench_start(bench);
    fg_commanded_init(&table, bench->publisher, "b");
    return error;
}

static int tear_down(void **state)
{
    fg_commanded_fini(&table);
    return fake_tear_down(state);
}

static struct fg_commanded *add(enum fg_takes takes, const char *name, const char *port)
{
    struct fg_commanded *device = fg_commanded_add(&table, takes, name, port, name);
    assert_non_null(device);
    return device;
}

struct said {
    const char *filters;
};

/* All that was subscribed to and ended, in its order. */
static bool was_said(void *context)
{
    char all[1024] = "";
    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < fake.filter_count; i++) {
        strcat(strcat(all, fake.filters[i]), " ");
    }
    pthread_mutex_unlock(&fake.lock);
    return strcmp(all, ((struct said *)context)->filters) == 0;
}

static void expect_said(const char *filters)
{
    struct said said = { filters };
    assert_true(test_wait(was_said, &said, 10000));
}

static const char *owner(const char *name)
{
    struct fg_commanded *device = fg_commanded_find(&table, name, strlen(name));
    const char *port = device ? device->port : "";
    fg_commanded_unref(&table, device);
    return port;
}

static void a_device_is_listened_to_no_wider_than_it_takes(void **state)
{
    (void)state;
    struct fg_commanded *points = add(FG_TAKES_POINTS, "p", "one");
    struct fg_commanded *bytes = add(FG_TAKES_BYTES, "q", "two");
    expect_said("+b/p/set +b/p/+/set +b/p/get +b/q/set ");
    assert_string_equal(owner("p"), "one");
    assert_string_equal(owner("q"), "two");
    fg_commanded_remove(&table, bytes);
    expect_said("+b/p/set +b/p/+/set +b/p/get +b/q/set -b/q/set ");
    assert_string_equal(owner("q"), "");
    fg_commanded_remove(&table, points);
}

static void of_two_with_one_name_the_first_has_the_topics_and_then_the_other(void **state)
{
    (void)state;
    struct fg_commanded *first = add(FG_TAKES_BYTES, "d", "one");
    struct fg_commanded *second = add(FG_TAKES_BYTES, "d", "two");
    struct fg_commanded *third = add(FG_TAKES_BYTES, "d", "three");
    assert_string_equal(owner("d"), "one");
    fg_commanded_remove(&table, second);
    expect_said("+b/d/set ");
    fg_commanded_remove(&table, first);
    assert_string_equal(owner("d"), "three");
    expect_said("+b/d/set -b/d/set +b/d/set ");
    fg_commanded_remove(&table, third);
    expect_said("+b/d/set -b/d/set +b/d/set -b/d/set ");
}

static void a_device_that_goes_lives_until_its_last_command_is_answered(void **state)
{
    (void)state;
    struct fg_commanded *device = add(FG_TAKES_BYTES, "d", "one");
    struct fg_commanded *held = fg_commanded_find(&table, "d", 1);
    assert_ptr_equal(device, held);
    fg_commanded_remove(&table, device);
    assert_null(fg_commanded_find(&table, "d", 1));
    assert_string_equal(held->port, "one");
    fg_commanded_unref(&table, held);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_device_is_listened_to_no_wider_than_it_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_two_with_one_name_the_first_has_the_topics_and_then_the_other,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_device_that_goes_lives_until_its_last_command_is_answered, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
