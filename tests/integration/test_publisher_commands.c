/* What the publisher is subscribed to, what comes of messages, and answers: with a fake broker, and with a
 * real one. */
#include "fake_bench.h"

#include "support/wait.h"

#include <signal.h>
#include <unistd.h>

static struct fg_arrival *inbox; /* all that came, oldest first */
static atomic_int arrivals;

static void take(void *context)
{
    struct bench *bench = context;
    struct fg_arrival **tail = &inbox;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = fg_publisher_take_arrivals(bench->publisher);
    for (; *tail; tail = &(*tail)->next) {
        atomic_fetch_add(&arrivals, 1);
    }
}

static int set_up(void **state)
{
    atomic_store(&arrivals, 0);
    return fake_set_up(state);
}

static int tear_down(void **state)
{
    int result = fake_tear_down(state);
    while (inbox) {
        struct fg_arrival *next = inbox->next;
        free(inbox);
        inbox = next;
    }
    return result;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void start(struct bench *bench)
{
    const struct fg_publisher_options options = { .settings = &bench->settings,
                                                  .gateway = "gw",
                                                  .queue_bytes = bench->queue_bytes,
                                                  .arrived = take,
                                                  .context = bench };
    assert_int_equal(fg_publisher_new(&options, &bench->publisher), 0);
    assert_int_equal(fg_publisher_start(bench->publisher), 0);
}

struct wanted {
    const char *what;
    size_t count;
};

static bool is_subscribed(void *context)
{
    const struct wanted *wanted = context;
    return fake_broker_subscribed(&fake, wanted->what) >= wanted->count;
}

static void wait_subscribed(const char *what, size_t count)
{
    struct wanted wanted = { what, count };
    assert_true(test_wait(is_subscribed, &wanted, 10000));
    assert_int_equal(fake_broker_subscribed(&fake, what), count);
}

static bool have_arrived(void *context)
{
    return atomic_load(&arrivals) >= *(int *)context;
}

static void wait_arrivals(int count)
{
    assert_true(test_wait(have_arrived, &count, 10000));
    assert_int_equal(atomic_load(&arrivals), count);
}

static void say(uint16_t id, const char *topic, const char *payload)
{
    uint8_t packet[FAKE_SAYS_BYTES];
    fake_broker_say(&fake, packet, fake_publish(5, false, id, topic, payload, packet));
}

static bool is_answered(void *context)
{
    const struct wanted *wanted = context;
    return fake_broker_count(&fake, wanted->what) >= wanted->count;
}

static void wait_answers(const char *topic, size_t count)
{
    struct wanted wanted = { topic, count };
    assert_true(test_wait(is_answered, &wanted, 10000));
}

static int answer(struct bench *bench, const char *topic, const char *payload)
{
    const struct fg_answer whole = { .topic = topic, .payload = payload, .payload_size = strlen(payload) };
    return fg_publisher_answer(bench->publisher, &whole);
}

static void subscriptions_come_again_on_each_connection(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, NULL);
    start(bench);
    assert_non_null(fg_publisher_subscribe(bench->publisher, "b/a/set"));
    wait_subscribed("+b/a/set", 1);
    struct fg_subscription *second = fg_publisher_subscribe(bench->publisher, "b/b/set");
    wait_subscribed("+b/b/set", 1);
    fake_broker_cut(&fake);
    wait_subscribed("+b/b/set", 2);
    wait_subscribed("+b/a/set", 2);
    fg_publisher_unsubscribe(bench->publisher, second);
    wait_subscribed("-b/b/set", 1);
    fake_broker_cut(&fake);
    wait_subscribed("+b/a/set", 3);
    assert_int_equal(fake_broker_subscribed(&fake, "+b/b/set"), 2);
}

/* As a reload does it: the broker hears of the end before the beginning. */
static void what_ends_and_begins_again_stays_subscribed(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, NULL);
    start(bench);
    for (int i = 0; i < 100; i++) {
        struct fg_subscription *old = fg_publisher_subscribe(bench->publisher, "b/a/set");
        fg_publisher_unsubscribe(bench->publisher, old);
    }
    assert_non_null(fg_publisher_subscribe(bench->publisher, "b/a/set"));
    wait_subscribed("-b/a/set", 100);
    assert_non_null(fg_publisher_subscribe(bench->publisher, "b/end"));
    wait_subscribed("+b/end", 1);
    assert_string_equal(fake.filters[fake.filter_count - 2], "+b/a/set");
}

static void many_subscriptions_go_in_batches(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, NULL);
    start(bench);
    for (int i = 0; i < 400; i++) {
        char filter[32];
        snprintf(filter, sizeof filter, "b/device%d/set", i);
        assert_non_null(fg_publisher_subscribe(bench->publisher, filter));
    }
    wait_subscribed(NULL, 400);
}

/* What the daemon would log is on this process' stderr. */
static char *log_of(void (*run)(struct bench *bench), struct bench *bench)
{
    static char text[4096];
    char path[] = "/tmp/fieldgate-test-XXXXXX";
    int file = mkstemp(path);
    int before = dup(2);
    assert_true(file >= 0 && before >= 0);
    dup2(file, 2);
    run(bench);
    fg_publisher_stop(bench->publisher, 0);
    dup2(before, 2);
    close(before);
    ssize_t size = pread(file, text, sizeof text - 1, 0);
    assert_true(size >= 0);
    text[size] = '\0';
    close(file);
    unlink(path);
    return text;
}

static void subscribe_and_go_on(struct bench *bench)
{
    start(bench);
    assert_non_null(fg_publisher_subscribe(bench->publisher, "b/a/set"));
    wait_subscribed("+b/a/set", 1);
    say(1, "b/a/set", "x"); /* came after the SUBACK */
    wait_arrivals(1);
}

static void a_refused_subscription_is_logged(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, &(struct fake_script){ .suback = 0x87 });
    const char *log = log_of(subscribe_and_go_on, bench);
    assert_non_null(strstr(log, "refused the subscription to b/a/set: Not authorized"));
}

static void subscribe_two_and_go_on(struct bench *bench)
{
    start(bench);
    assert_non_null(fg_publisher_subscribe(bench->publisher, "b/a/set"));
    assert_non_null(fg_publisher_subscribe(bench->publisher, "b/a/get"));
    use_fake(bench, &(struct fake_script){ .suback_short = true });
    wait_subscribed("+b/a/get", 1);
    say(1, "b/a/set", "x");
    wait_arrivals(1);
}

static void a_confirmation_that_lacks_codes_is_logged(void **state)
{
    struct bench *bench = *state;
    const char *log = log_of(subscribe_two_and_go_on, bench);
    assert_null(strstr(log, "subscription to b/a/set"));
    assert_non_null(strstr(log, "did not say whether it took the subscription to b/a/get"));
}

static void a_message_comes_with_all_that_it_brought(void **state)
{
    static const uint8_t packet[] = {
        0x32, 39,   0,  5,   'b', '/', 's',  'e', 't', 0,   7,                  /* topic, identifier */
        26,   0x02, 0,  0,   0,   9,   0x08, 0,   5,   'r', '/', 'b', 'o', 'x', /* expiry, Response Topic */
        0x09, 0,    3,  1,   0,   2,                                            /* Correlation Data */
        0x26, 0,    1,  'k', 0,   1,   'v',                                     /* of no use here */
        'w',  'o',  'r'
    };
    struct bench *bench = *state;
    use_fake(bench, NULL);
    start(bench);
    assert_non_null(fg_publisher_subscribe(bench->publisher, "b/set"));
    wait_subscribed("+b/set", 1);
    fake_broker_say(&fake, packet, sizeof packet);
    wait_arrivals(1);
    assert_string_equal(inbox->topic, "b/set");
    assert_int_equal(inbox->payload_size, 3);
    assert_memory_equal(inbox->payload, "wor", 4);
    assert_string_equal(inbox->response_topic, "r/box");
    assert_int_equal(inbox->correlation_size, 3);
    assert_memory_equal(inbox->correlation, "\1\0\2", 3);
    assert_true(inbox->expires);
    assert_int_equal(inbox->expiry_s, 9);
    assert_int_equal(inbox->mid, 7);
    assert_int_equal(inbox->qos, 1);
    assert_int_equal(inbox->connection, 1);
}

static void more_than_the_inbox_holds_is_dropped_and_counted(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, NULL);
    assert_int_equal(bench_new(bench), 0); /* nobody takes them */
    assert_int_equal(fg_publisher_start(bench->publisher), 0);
    assert_non_null(fg_publisher_subscribe(bench->publisher, "b/#"));
    wait_subscribed("+b/#", 1);
    for (uint16_t i = 1; i <= FG_ARRIVALS_MAX + 10; i++) {
        say(i, "b/x", "payload");
    }
    int64_t deadline = wait_deadline(10000);
    while (bench_stats(bench).arrivals_overrun < 10) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
    take(bench);
    assert_int_equal(atomic_load(&arrivals), FG_ARRIVALS_MAX);
    assert_int_equal(bench_stats(bench).arrivals_overrun, 10);
}

static void answers_wait_for_the_broker_and_the_oldest_go_first_when_too_many(void **state)
{
    struct bench *bench = *state;
    start(bench);
    for (int i = 0; i < FG_ANSWERS_MAX + 3; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%d", i);
        assert_int_equal(answer(bench, "r/box", payload), 0);
    }
    assert_int_equal(bench_stats(bench).answers_dropped, 3);
    use_fake(bench, NULL);
    wait_answers("r/box", FG_ANSWERS_MAX);
    struct fake_taken taken;
    assert_true(fake_broker_get(&fake, "r/box", 0, &taken));
    assert_string_equal(taken.payload, "3");
    assert_int_equal(taken.qos, 1);
    assert_true(fake_broker_get(&fake, "r/box", FG_ANSWERS_MAX - 1, &taken));
    assert_string_equal(taken.payload, "1026");
}

static void an_answer_that_was_not_acknowledged_is_sent_again(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, &(struct fake_script){ .acks = FAKE_ACKS_NEVER });
    start(bench);
    const struct fg_answer whole = { "r/box", "once", 4, "\1\0\2", 3 };
    assert_int_equal(fg_publisher_answer(bench->publisher, &whole), 0);
    wait_answers("r/box", 1);
    fake_broker_behave(&fake, NULL);
    fake_broker_cut(&fake);
    wait_answers("r/box", 2);
    struct fake_taken taken;
    assert_true(fake_broker_get(&fake, "r/box", 1, &taken));
    assert_true(taken.dup);
    assert_int_equal(taken.properties_size, 6);
    assert_memory_equal(taken.properties, "\x09\0\3\1\0\2", 6); /* MQTT 5.0, 3.3.2.3.6 */
    assert_string_equal(taken.payload, "once");
    fg_publisher_stop(bench->publisher, S(5));
    assert_int_equal(bench_stats(bench).answers_dropped, 0);
}

static void a_stop_delivers_answers_and_counts_those_it_cannot(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, NULL);
    start(bench);
    assert_true(test_wait(is_connected, bench, 10000));
    assert_int_equal(answer(bench, "r/box", "last"), 0);
    fg_publisher_stop(bench->publisher, S(5));
    wait_answers("r/box", 1);
    fg_publisher_free(bench->publisher);
    fake_broker_stop(&fake);
    start(bench);
    assert_int_equal(answer(bench, "r/box", "lost"), 0);
    fg_publisher_stop(bench->publisher, 0);
    assert_int_equal(bench_stats(bench).answers_dropped, 1);
    assert_int_equal(answer(bench, "r/box", "too late"), -ESHUTDOWN);
}

/* A broker that knows of no session begins to count its identifiers anew. */
static void connections_and_sessions_are_told_apart(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, NULL);
    start(bench);
    assert_non_null(fg_publisher_subscribe(bench->publisher, "b/#"));
    wait_subscribed("+b/#", 1);
    say(1, "b/x", "a");
    wait_arrivals(1);
    fake_broker_cut(&fake);
    wait_subscribed("+b/#", 2);
    say(1, "b/x", "b");
    wait_arrivals(2);
    fake_broker_behave(&fake, &(struct fake_script){ .forgets = true });
    fake_broker_cut(&fake);
    wait_subscribed("+b/#", 3);
    say(1, "b/x", "c");
    wait_arrivals(3);
    const struct fg_arrival *second = inbox->next;
    assert_int_equal(inbox->session, second->session);
    assert_int_equal(inbox->connection + 1, second->connection);
    assert_int_not_equal(second->session, second->next->session);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        CASE(subscriptions_come_again_on_each_connection),
        CASE(what_ends_and_begins_again_stays_subscribed),
        CASE(many_subscriptions_go_in_batches),
        CASE(a_refused_subscription_is_logged),
        CASE(a_confirmation_that_lacks_codes_is_logged),
        CASE(a_message_comes_with_all_that_it_brought),
        CASE(more_than_the_inbox_holds_is_dropped_and_counted),
        CASE(answers_wait_for_the_broker_and_the_oldest_go_first_when_too_many),
        CASE(an_answer_that_was_not_acknowledged_is_sent_again),
        CASE(a_stop_delivers_answers_and_counts_those_it_cannot),
        CASE(connections_and_sessions_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
