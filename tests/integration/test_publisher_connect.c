/* Where and when the publisher connects, with fake brokers: failover and the way back, gaps, what is refused,
 * limits.
 */
#include "fake_bench.h"
#include "log_bench.h"

#include <dlfcn.h>
#include <limits.h>
#include <netdb.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOW_HOST "slow.test"

static int tear_down(void **state)
{
    int result = fake_tear_down(state);
    log_end();
    return result;
}

/* --- a name that takes its time --- */

static atomic_bool look_ups_hang;
static atomic_int look_ups_hanging;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (host && strcmp(host, SLOW_HOST) == 0) {
        atomic_fetch_add(&look_ups_hanging, 1);
        while (atomic_load(&look_ups_hang)) {
            nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        }
        atomic_fetch_sub(&look_ups_hanging, 1);
        return EAI_AGAIN;
    }
    return next(host, service, hints, list);
}

static bool has_hanging_look_up(void *context)
{
    (void)context;
    return atomic_load(&look_ups_hanging) > 0;
}

/* --- several addresses --- */

/* The fake stands at the first address, the spare at the second. */
static void use_both(struct bench *bench, const struct fake_script *first, const struct fake_script *second)
{
    use_fake(bench, first);
    fake_broker_start(&spare, 0, second);
    snprintf(bench->second_address, sizeof bench->second_address, "127.0.0.1:%d", spare.port);
    bench->settings.address.count = 2;
    bench->settings.reconnect_min_ns = MS(20);
    bench->settings.reconnect_max_ns = MS(100);
}

static bool spare_is_connected(void *context)
{
    return atomic_load(&spare.connects) > 0 && is_connected(context);
}

/* What both took together: each reading of each device once or more, the first of each in order. */
static void assert_all_taken_between_them(void)
{
    for (int device = 0; device < DEVICES; device++) {
        struct fake_taken taken;
        int expected = 0;
        size_t at[2] = { 0, 0 };
        for (bool progress = true; progress;) {
            progress = false;
            for (int i = 0; i < 2; i++) {
                struct fake_broker *broker = i == 0 ? &spare : &fake;
                while (fake_broker_get(broker, topics[device], at[i], &taken) &&
                       atoi(taken.payload) <= expected) {
                    expected += atoi(taken.payload) == expected;
                    at[i]++;
                    progress = true;
                }
            }
        }
        assert_int_equal(expected, offered);
    }
}

static void the_next_address_is_tried_when_the_first_refuses(void **state)
{
    struct bench *bench = *state;
    use_both(bench, &(struct fake_script){ .connack = 0x88 }, NULL);
    bench_start(bench);
    offer_readings(bench, 50, 1);
    assert_true(test_wait(is_drained, bench, 10000));
    assert_all_taken(&spare, 1);
}

static void the_next_address_is_tried_when_the_first_breaks_off_each_time(void **state)
{
    struct bench *bench = *state;
    use_both(bench, &(struct fake_script){ .farewell = 0x88, .farewell_after = 2 }, NULL);
    bench_start(bench);
    offer_readings(bench, 50, 1);
    assert_true(test_wait(is_drained, bench, 10000));
    assert_true(fake_broker_count(&spare, NULL) >= 90);
    assert_all_taken_between_them();
}

static void a_first_address_that_answers_again_is_gone_back_to(void **state)
{
    struct bench *bench = *state;
    int port = bench->broker.port;
    use_both(bench, NULL, NULL);
    fake_broker_stop(&fake);
    bench_start(bench);
    assert_true(test_wait(spare_is_connected, bench, 10000));
    offer_readings(bench, 100, 1);
    fake_broker_start(&fake, port, NULL);
    for (int i = 0; i < 1000 && atomic_load(&fake.connects) == 0; i++) {
        offer_readings(bench, 1, 1);
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    assert_int_equal(atomic_load(&fake.connects), 1);
    offer_readings(bench, 100, 1);
    assert_true(test_wait(is_drained, bench, 10000));
    assert_all_taken_between_them();
    /* Nothing was repeated: what was in flight was waited for. */
    assert_int_equal(fake_broker_count(&spare, topics[0]) + fake_broker_count(&fake, topics[0]), offered);
    assert_int_equal(atomic_load(&spare.connects), 1);
    assert_int_equal(bench_stats(bench).lost[FG_LOSS_REFUSED], 0);
}

/* It would be left again at once; the longer it goes on so, the rarer. */
static void a_first_address_that_only_seems_to_be_back_is_tried_ever_less(void **state)
{
    struct bench *bench = *state;
    use_both(bench, &(struct fake_script){ .connack = 0x88 }, NULL);
    bench->settings.reconnect_min_ns = MS(5);
    bench->settings.reconnect_max_ns = MS(10);
    bench_start(bench);
    for (int i = 0; i < 300; i++) {
        offer_readings(bench, 1, 1);
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    assert_true(test_wait(is_drained, bench, 10000));
    assert_in_range(atomic_load(&fake.connects), 2, 20); /* hundreds if it were not so */
    assert_true(atomic_load(&fake.accepted) > 2 * atomic_load(&fake.connects));
    assert_all_taken(&spare, 1);
}

static void a_look_up_that_hangs_does_not_hold_up_another_address(void **state)
{
    struct bench *bench = *state;
    use_both(bench, NULL, NULL);
    snprintf(bench->first_address, sizeof bench->first_address, SLOW_HOST ":1883");
    atomic_store(&look_ups_hang, false);
    bench_start(bench);
    assert_true(test_wait(spare_is_connected, bench, 10000));
    atomic_store(&look_ups_hang, true);
    assert_true(test_wait(has_hanging_look_up, NULL, 10000));
    for (int i = 0; i < 5; i++) {
        offer_readings(bench, 200, 1);
        assert_true(test_wait(is_drained, bench, 5000));
    }
    int64_t before_ns = fg_clock_now_ns();
    assert_int_equal(fg_publisher_stop(bench->publisher, S(20)), 0);
    assert_true(fg_clock_now_ns() - before_ns < S(10));
    atomic_store(&look_ups_hang, false);
    assert_all_taken(&spare, 1);
    assert_int_equal(atomic_load(&spare.connects), 1);
}

static bool moves(void *context)
{
    struct bench *bench = context;
    return fg_publisher_proof(bench->publisher) == FG_PROOF_MOVES;
}

static void a_look_up_that_hangs_is_told_from_a_thread_that_is_stuck(void **state)
{
    struct bench *bench = *state;
    use_both(bench, NULL, NULL);
    snprintf(bench->first_address, sizeof bench->first_address, SLOW_HOST ":1883");
    atomic_store(&look_ups_hang, true);
    bench_start(bench);
    assert_true(test_wait(has_hanging_look_up, NULL, 10000));
    fg_publisher_ask(bench->publisher);
    assert_int_equal(fg_publisher_proof(bench->publisher), FG_PROOF_MAY_BE_HELD);
    atomic_store(&look_ups_hang, false);
    assert_true(test_wait(moves, bench, 10000));
    assert_true(test_wait(spare_is_connected, bench, 10000));
    fg_publisher_ask(bench->publisher); /* it sleeps, and is woken to show that it moves */
    assert_true(test_wait(moves, bench, 10000));
}

/* --- gaps --- */

static long long gap_ms(int index)
{
    struct fake_connect before;
    struct fake_connect after;
    assert_true(fake_broker_said(&fake, index, &before));
    assert_true(fake_broker_said(&fake, index + 1, &after));
    return after.at_ms - before.at_ms;
}

static void gaps_grow_to_the_longest(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, &(struct fake_script){ .connack = 0x88 });
    bench->settings.reconnect_min_ns = MS(20);
    bench->settings.reconnect_max_ns = MS(320);
    bench_start(bench);
    WAIT_AMOUNT(20000, .connects = 10);
    static const int shortest[] = { 20, 40, 80, 160, 160, 160, 160, 160, 160 };
    long long least_ms = LLONG_MAX, most_ms = 0;
    for (int i = 0; i < 9; i++) {
        assert_true(gap_ms(i) >= shortest[i] - 1);
        least_ms = i >= 4 && gap_ms(i) < least_ms ? gap_ms(i) : least_ms;
        most_ms = i >= 4 && gap_ms(i) > most_ms ? gap_ms(i) : most_ms;
    }
    assert_true(most_ms - least_ms >= 5); /* of 160: chance is in it */
}

static void assert_no_hammering(struct bench *bench, int protocol, uint8_t code)
{
    bench->settings.protocol = protocol;
    bench->settings.reconnect_min_ns = MS(10);
    bench->settings.reconnect_max_ns = MS(1000);
    int before = atomic_load(&fake.connects);
    fake_broker_behave(&fake, &(struct fake_script){ .connack = code });
    bench_start(bench);
    WAIT_AMOUNT(20000, .connects = before + 2);
    assert_true(gap_ms(before) >= 499);
    fg_publisher_stop(bench->publisher, 0);
    fg_publisher_free(bench->publisher);
    bench->publisher = NULL;
}

static void a_broker_that_does_not_want_us_is_not_hammered(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, NULL);
    assert_no_hammering(bench, FG_MQTT_5, 0x86);
    assert_no_hammering(bench, FG_MQTT_5, 0x87);
    assert_no_hammering(bench, FG_MQTT_5, 0x8a);
    assert_no_hammering(bench, FG_MQTT_311, 0x04);
    assert_no_hammering(bench, FG_MQTT_311, 0x05);
}

static void one_that_does_not_want_us_leaves_the_others_their_pace(void **state)
{
    struct bench *bench = *state;
    use_both(bench, &(struct fake_script){ .connack = 0x87 }, &(struct fake_script){ .slam = true });
    bench->settings.reconnect_min_ns = MS(10);
    bench->settings.reconnect_max_ns = MS(20000);
    bench_start(bench);
    assert_true(test_wait(has_amount, &(struct amount){ .broker = &spare, .accepted = 5 }, 10000));
    assert_int_equal(atomic_load(&fake.connects), 1);
}

/* --- what is refused --- */

static void without_mqtt_5(void **state, const struct fake_script *script)
{
    struct bench *bench = *state;
    struct fake_connect said;
    log_begin();
    bench->settings.reconnect_min_ns = bench->settings.reconnect_max_ns = S(60);
    use_fake(bench, script);
    bench_start(bench);
    offer_readings(bench, 100, 1);
    WAIT_AMOUNT(5000, .connects = 1);
    if (!script->only_311) {
        fake_broker_behave(&fake, NULL);
    }
    assert_true(test_wait(is_drained, bench, 5000));
    assert_all_taken(&fake, 1);
    assert_true(fake_broker_said(&fake, 0, &said));
    assert_int_equal(said.version, 5);
    assert_int_equal(log_count("3.1.1"), 1);
    /* For as long as it lives; QoS 2 that was on its way, too. */
    bench->settings.reconnect_min_ns = bench->settings.reconnect_max_ns = MS(10);
    for (int i = 0; i < 3; i++) {
        int before = atomic_load(&fake.connects);
        offer_readings(bench, 20, 1);
        fake_broker_cut(&fake);
        WAIT_AMOUNT(5000, .connects = before + 1);
    }
    assert_true(test_wait(is_drained, bench, 5000));
    assert_all_taken(&fake, 1);
    for (int i = 1; fake_broker_said(&fake, i, &said); i++) {
        assert_int_equal(said.version, 4);
    }
    assert_int_equal(log_count("3.1.1"), 1);
}

static void a_broker_of_mqtt_311_is_talked_to_in_mqtt_311(void **state)
{
    without_mqtt_5(state, &(struct fake_script){ .only_311 = true });
}

static void a_broker_that_refuses_mqtt_5_is_talked_to_in_mqtt_311(void **state)
{
    struct bench *bench = *state;
    struct fake_connect said;
    use_fake(bench, &(struct fake_script){ .connack = 0x84 });
    bench_start(bench);
    WAIT_AMOUNT(5000, .connects = 2);
    fake_broker_behave(&fake, NULL);
    offer_readings(bench, 20, 1);
    assert_true(test_wait(is_drained, bench, 5000));
    assert_true(fake_broker_said(&fake, 1, &said));
    assert_int_equal(said.version, 4);
    assert_all_taken(&fake, 1);
}

static void a_broker_that_refuses_a_retained_will_gets_one_that_is_not(void **state)
{
    struct bench *bench = *state;
    bench->settings.reconnect_min_ns = bench->settings.reconnect_max_ns = S(60);
    use_fake(bench, &(struct fake_script){ .no_retain = true, .properties = FAKE_BYTES(0x25, 0) });
    bench_start(bench);
    offer_readings(bench, 20, 1);
    assert_true(test_wait(is_drained, bench, 5000));
    struct fake_taken taken;
    assert_true(fake_broker_get(&fake, "base/gw/status", 0, &taken));
    assert_false(taken.retain);
}

/* --- what a broker sets --- */

static void no_more_is_in_flight_than_the_broker_takes(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, &(struct fake_script){ .acks = FAKE_ACKS_LATE, .properties = FAKE_BYTES(0x21, 0, 5) });
    bench_start(bench);
    offer_readings(bench, 100, 1);
    WAIT_AMOUNT(5000, .messages = 5);
    assert_false(test_wait(has_amount, &(struct amount){ .broker = &fake, .messages = 6 }, 200));
    fake_broker_release(&fake);
    assert_true(test_wait(is_drained, bench, 5000));
    assert_all_taken(&fake, 1);
}

static void offer_large(struct bench *bench)
{
    char payload[400];
    memset(payload, 'x', sizeof payload - 1);
    payload[sizeof payload - 1] = '\0';
    bench_offer(bench, "base/large", payload, 1);
}

static void what_one_broker_can_never_take_another_gets(void **state)
{
    struct bench *bench = *state;
    const struct fake_script narrow = { .properties = FAKE_BYTES(0x27, 0, 0, 0, 200, 0x24, 0) };
    use_both(bench, &narrow, NULL);
    bench_start(bench);
    offer_readings(bench, 10, 1);
    offer_large(bench);
    offer_readings(bench, 10, 1);
    WAIT_AMOUNT(10000, .messages = 1 + DEVICES * 20 + 1); /* with status and loss */
    assert_all_taken(&fake, 1);
    assert_int_equal(bench_stats(bench).lost[FG_LOSS_TOO_LARGE], 1);
    struct fake_taken taken;
    assert_true(fake_broker_get(&fake, "base/gw/loss", 0, &taken));
    fake_broker_stop(&fake);
    assert_true(test_wait(spare_is_connected, bench, 5000));
    offer_large(bench);
    assert_true(test_wait(is_drained, bench, 5000));
    assert_true(fake_broker_get(&spare, "base/large", 0, &taken));
    assert_int_equal(taken.qos, 1); /* the other one took no more than QoS 0 */
    assert_int_equal(bench_stats(bench).lost[FG_LOSS_TOO_LARGE], 1);
}

static void the_session_is_to_last_as_long_as_was_set(void **state)
{
    struct bench *bench = *state;
    struct fake_connect said;
    bench->settings.session_expiry_ns = S(1234);
    use_fake(bench, NULL);
    bench_start(bench);
    WAIT_AMOUNT(5000, .connects = 1);
    assert_true(fake_broker_said(&fake, 0, &said));
    assert_int_equal(said.expiry_s, 1234);
    assert_false(said.clean);
}

static void the_brokers_reasons_are_in_the_log(void **state)
{
    struct bench *bench = *state;
    log_begin();
    use_fake(bench, &(struct fake_script){ .farewell = 0x8b, .farewell_after = 5 });
    bench_start(bench);
    offer_readings(bench, 10, 1);
    WAIT_AMOUNT(5000, .connects = 2);
    fake_broker_behave(&fake, &(struct fake_script){ .connack = 0x97 });
    WAIT_AMOUNT(5000, .connects = 6);
    assert_true(log_count("Server shutting down") >= 1);
    assert_true(log_count("Quota exceeded") >= 1);
}

/* --- a broker that forgets --- */

/* The first half of each is there, and is delivered at the second; then the broker knows nothing any more. */
static void first_halves_that_a_broker_forgot_are_sent_anew(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, &(struct fake_script){ .unreleased = true });
    for (int protocol = FG_MQTT_5; protocol <= FG_MQTT_311; protocol++) {
        bench->settings.protocol = protocol;
        fake_broker_behave(&fake, &(struct fake_script){ .unreleased = true });
        int before = atomic_load(&fake.connects);
        bench_start(bench);
        offer_readings(bench, 50, 2);
        WAIT_AMOUNT(5000, .connects = before + 1, .messages = before + 1);
        assert_false(test_wait(is_drained, bench, 100));
        fake_broker_behave(&fake, &(struct fake_script){ .forgets = true });
        fake_broker_cut(&fake);
        assert_true(test_wait(is_drained, bench, 5000));
        assert_all_taken(&fake, 2);
        fg_publisher_stop(bench->publisher, 0);
        fg_publisher_free(bench->publisher);
        bench->publisher = NULL;
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fake_set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(the_next_address_is_tried_when_the_first_refuses),
        CASE(the_next_address_is_tried_when_the_first_breaks_off_each_time),
        CASE(a_first_address_that_answers_again_is_gone_back_to),
        CASE(a_first_address_that_only_seems_to_be_back_is_tried_ever_less),
        CASE(a_look_up_that_hangs_does_not_hold_up_another_address),
        CASE(a_look_up_that_hangs_is_told_from_a_thread_that_is_stuck),
        CASE(gaps_grow_to_the_longest),
        CASE(a_broker_that_does_not_want_us_is_not_hammered),
        CASE(one_that_does_not_want_us_leaves_the_others_their_pace),
        CASE(a_broker_of_mqtt_311_is_talked_to_in_mqtt_311),
        CASE(a_broker_that_refuses_mqtt_5_is_talked_to_in_mqtt_311),
        CASE(a_broker_that_refuses_a_retained_will_gets_one_that_is_not),
        CASE(no_more_is_in_flight_than_the_broker_takes),
        CASE(what_one_broker_can_never_take_another_gets),
        CASE(the_session_is_to_last_as_long_as_was_set),
        CASE(the_brokers_reasons_are_in_the_log),
        CASE(first_halves_that_a_broker_forgot_are_sent_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
