/* Brokers that do what they should not: the publisher lives, holds no more than it may, and once the broker
 * is a good one nothing is missing, in order. */
#include "fake_bench.h"

#include "support/wait.h"

#include <unistd.h>

/* libmosquitto 2.0.11 leaks the properties of acknowledgements that nobody waits for. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libmosquitto.so\n";
}

static const struct fake_bytes garbage[] = {
    FAKE_BYTES(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
    FAKE_BYTES(0x00, 0x00, 0x00, 0x00),
    FAKE_BYTES(0x20, 0xff, 0xff, 0xff, 0xff, 0x7f), /* a length of five bytes */
    FAKE_BYTES(0x20, 0x00),                         /* CONNACK of no and of one byte */
    FAKE_BYTES(0x20, 0x01, 0x00),
    FAKE_BYTES(0x20, 0x04, 0x00, 0x00, 0xff, 0xff), /* properties longer than the packet */
    FAKE_BYTES(0x20, 0x05, 0x00, 0x00, 0x02, 0xee, 0x00),
    FAKE_BYTES(0x40, 0x00), /* acknowledgements without and with half an identifier, and for 0 */
    FAKE_BYTES(0x50, 0x01, 0x00),
    FAKE_BYTES(0x70, 0x02, 0x00, 0x00),
    FAKE_BYTES(0x40, 0x04, 0x00, 0x01, 0x00, 0xff),
    FAKE_BYTES(0x36, 0x02, 0x00, 0x00),             /* PUBLISH of QoS 3 */
    FAKE_BYTES(0x30, 0x04, 0xff, 0xff, 0x61, 0x62), /* with a topic longer than the packet */
    FAKE_BYTES(0x90, 0x00),
    FAKE_BYTES(0xb0, 0x01, 0x00), /* SUBACK, UNSUBACK */
    FAKE_BYTES(0xe0, 0x00),
    FAKE_BYTES(0xf0, 0x02, 0x18, 0x00),
    FAKE_BYTES(0x10, 0x00),
    FAKE_BYTES(0x82, 0x00), /* what only clients say */
    FAKE_BYTES('H', 'T', 'T', 'P', '/', '1', '.', '1', ' ', '4', '0', '0', '\r', '\n', '\r', '\n'),
};

#define GARBAGE (sizeof garbage / sizeof garbage[0])

/* Another script, for all connections there are and come; waits until so many more came. */
static void switch_to(const struct fake_script *script, int connections)
{
    fake_broker_behave(&fake, script);
    int before = atomic_load(&fake.accepted);
    fake_broker_cut(&fake);
    WAIT_AMOUNT(10000, .accepted = before + connections);
}

static void hurry(struct bench *bench)
{
    bench->settings.reconnect_min_ns = MS(2);
    bench->settings.reconnect_max_ns = MS(4);
}

static void a_broker_that_closes_at_once_gets_all_later(void **state)
{
    struct bench *bench = *state;
    use_fake(bench, &(struct fake_script){ .slam = true });
    bench_start(bench);
    offer_readings(bench, 200, 1);
    WAIT_AMOUNT(10000, .accepted = 4);
    mend(bench, 1);
}

static void a_broker_that_refuses_gets_all_later(void **state)
{
    static const struct {
        int protocol;
        uint8_t code;
    } refusals[] = { { FG_MQTT_5, 0x80 },   { FG_MQTT_5, 0x88 },   { FG_MQTT_5, 0x89 },
                     { FG_MQTT_5, 0x97 },   { FG_MQTT_5, 0x9c },   { FG_MQTT_5, 0x9d },
                     { FG_MQTT_5, 0x87 },   { FG_MQTT_5, 0x01 },   { FG_MQTT_311, 0x01 },
                     { FG_MQTT_311, 0x03 }, { FG_MQTT_311, 0x05 }, { FG_MQTT_311, 0xff } };
    struct bench *bench = *state;
    hurry(bench);
    use_fake(bench, NULL);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        bench->settings.protocol = refusals[i].protocol;
        fake_broker_behave(&fake, &(struct fake_script){ .connack = refusals[i].code });
        int before = atomic_load(&fake.connects);
        bench_start(bench);
        offer_readings(bench, 20, 1);
        WAIT_AMOUNT(10000, .connects = before + 3);
        fake_broker_behave(&fake, NULL);
        assert_true(test_wait(is_drained, bench, 10000));
        fg_publisher_stop(bench->publisher, 0);
        fg_publisher_free(bench->publisher);
        bench->publisher = NULL;
    }
    assert_all_taken(&fake, 1);
}

static void say_garbage(struct bench *bench, int protocol, bool before)
{
    bench->settings.protocol = protocol;
    hurry(bench);
    use_fake(bench, NULL);
    bench_start(bench);
    for (size_t i = 0; i < GARBAGE; i++) {
        struct fake_script script = { .greeting = before ? garbage[i] : (struct fake_bytes){ 0 },
                                      .extra = before ? (struct fake_bytes){ 0 } : garbage[i] };
        switch_to(&script, 1);
        offer_readings(bench, 20, 1);
        /* Some of it is the beginning of a packet that never ends: the next round cuts that. */
        test_wait(has_amount, &(struct amount){ &fake, .accepted = atomic_load(&fake.accepted) + 2 }, 100);
    }
    mend(bench, 1);
}

static void garbage_in_place_of_an_answer_harms_nothing_with_mqtt_5(void **state)
{
    say_garbage(*state, FG_MQTT_5, true);
}

static void garbage_in_place_of_an_answer_harms_nothing_with_mqtt_311(void **state)
{
    say_garbage(*state, FG_MQTT_311, true);
}

static void garbage_after_the_answer_harms_nothing_with_mqtt_5(void **state)
{
    say_garbage(*state, FG_MQTT_5, false);
}

static void garbage_after_the_answer_harms_nothing_with_mqtt_311(void **state)
{
    say_garbage(*state, FG_MQTT_311, false);
}

static void acknowledge(void **state, enum fake_acks acks)
{
    struct bench *bench = *state;
    const struct fake_script script = { .acks = acks };
    hurry(bench);
    use_fake(bench, &script);
    for (int round = 0; round < 4; round++) {
        int qos = 1 + round % 2;
        bench->settings.protocol = round < 2 ? FG_MQTT_5 : FG_MQTT_311;
        fake_broker_behave(&fake, &script);
        int before = atomic_load(&fake.connects);
        bench_start(bench);
        offer_readings(bench, 300, qos);
        WAIT_AMOUNT(10000, .connects = before + 1);
        if (acks == FAKE_ACKS_OTHER_KIND) {
            WAIT_AMOUNT(10000, .connects = before + 3);
        } else if (acks == FAKE_ACKS_TWICE || acks == FAKE_ACKS_UNASKED || acks == FAKE_ACKS_BACKWARDS) {
            assert_true(test_wait(is_drained, bench, 10000));
        } else if (qos == 1) {
            WAIT_AMOUNT(10000, .messages = DEVICES * round * 300 + 100);
        }
        fake_broker_behave(&fake, NULL);
        if (acks == FAKE_ACKS_LATE) {
            fake_broker_release(&fake);
        } else {
            fake_broker_cut(&fake);
        }
        assert_true(test_wait(is_drained, bench, 10000));
        assert_int_equal(bench_stats(bench).acknowledged, DEVICES * 300);
        fg_publisher_stop(bench->publisher, MS(1000));
        fg_publisher_free(bench->publisher);
        bench->publisher = NULL;
        assert_all_taken(&fake, 1);
    }
}

static void late_acknowledgements_are_waited_for(void **state)
{
    acknowledge(state, FAKE_ACKS_LATE);
}

static void missing_acknowledgements_make_the_next_connection_repeat(void **state)
{
    acknowledge(state, FAKE_ACKS_NEVER);
}

static void gaps_in_acknowledgements_make_the_next_connection_repeat(void **state)
{
    acknowledge(state, FAKE_ACKS_GAPS);
}

static void acknowledgements_that_come_twice_count_once(void **state)
{
    acknowledge(state, FAKE_ACKS_TWICE);
}

static void acknowledgements_may_come_in_any_order(void **state)
{
    acknowledge(state, FAKE_ACKS_BACKWARDS);
}

static void acknowledgements_of_something_else_count_for_nothing(void **state)
{
    acknowledge(state, FAKE_ACKS_WRONG);
}

static void acknowledgements_of_another_kind_end_the_connection(void **state)
{
    acknowledge(state, FAKE_ACKS_OTHER_KIND);
}

static void unasked_acknowledgements_count_for_nothing(void **state)
{
    acknowledge(state, FAKE_ACKS_UNASKED);
}

static void suback_without_codes_harms_nothing(void **state)
{
    static const struct fake_bytes subacks[] = { FAKE_BYTES(0x90, 3, 0, 1, 0), FAKE_BYTES(0x90, 2, 0, 1) };
    struct bench *bench = *state;
    use_fake(bench, NULL);
    for (int round = 0; round < 2; round++) {
        bench->settings.protocol = round == 0 ? FG_MQTT_5 : FG_MQTT_311;
        fake_broker_behave(&fake, &(struct fake_script){ .extra = subacks[round] });
        int before = atomic_load(&fake.connects);
        bench_start(bench);
        offer_readings(bench, 100, 1);
        WAIT_AMOUNT(10000, .connects = before + 1);
        fake_broker_behave(&fake, NULL);
        assert_true(test_wait(is_drained, bench, 10000));
        fg_publisher_stop(bench->publisher, 0);
        fg_publisher_free(bench->publisher);
        bench->publisher = NULL;
    }
    assert_all_taken(&fake, 1);
}

/* Connection by connection one byte later. */
static void cut_everywhere(void **state, const struct fake_script *script, int qos, int protocol)
{
    struct bench *bench = *state;
    bench->settings.protocol = protocol;
    hurry(bench);
    use_fake(bench, script);
    bench_start(bench);
    offer_readings(bench, 1500, qos);
    WAIT_AMOUNT(30000, .accepted = 150);
    mend(bench, qos);
}

static void connections_cut_at_any_byte_that_was_sent_lose_nothing(void **state)
{
    cut_everywhere(state, &(struct fake_script){ .cut_in = 1, .cut_later = 1 }, 1, FG_MQTT_5);
}

static void connections_cut_at_any_byte_that_was_sent_lose_and_double_nothing_with_qos_2(void **state)
{
    cut_everywhere(state, &(struct fake_script){ .cut_in = 1, .cut_later = 1 }, 2, FG_MQTT_311);
}

static void connections_cut_at_any_byte_that_came_lose_nothing(void **state)
{
    cut_everywhere(state, &(struct fake_script){ .cut_out = 1, .cut_later = 1 }, 1, FG_MQTT_311);
}

static void connections_cut_at_any_byte_that_came_lose_and_double_nothing_with_qos_2(void **state)
{
    cut_everywhere(state, &(struct fake_script){ .cut_out = 1, .cut_later = 1 }, 2, FG_MQTT_5);
}

static size_t resident_bytes(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*s %zu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Whether the broker reads or not: such a connection ends, and costs no memory. */
static void flooding_costs_no_memory(void **state)
{
    static const struct fake_bytes floods[] = {
        FAKE_BYTES(0x50, 0x02, 0x7f, 0xff),                     /* PUBREC, to be answered with PUBREL */
        FAKE_BYTES(0xc0, 0x00),                                 /* PINGREQ */
        FAKE_BYTES(0x20, 0x03, 0x00, 0x00, 0x00),               /* CONNACK: all in flight is sent again */
        FAKE_BYTES(0x34, 0x06, 0x00, 0x01, 'a', 0x00, 0x01, 0), /* PUBLISH, never released */
        FAKE_BYTES(0x40, 0x0a, 0x7f, 0xff, 0x00, 0x06, 0x1f, 0, 3, 'w', 'h', 'y'),
        FAKE_BYTES(0x30, 0xff, 0xff, 0xff, 0x7f), /* a PUBLISH of 256 MB: all that follows is of it */
    };
    struct bench *bench = *state;
    hurry(bench);
    use_fake(bench, NULL);
    bench_start(bench);
    for (size_t i = 0; i < 2 * sizeof floods / sizeof floods[0]; i++) {
        offer_readings(bench, 100, 1);
        const struct fake_script script = {
            .acks = FAKE_ACKS_NEVER, .extra = floods[i / 2], .endless = true, .deaf_later = i % 2 == 1
        };
        size_t before = resident_bytes();
        switch_to(&script, 4);
        if (!wait_is_slowed()) {
            assert_in_range(resident_bytes(), 0, before + ((size_t)24 << 20));
        }
    }
    mend(bench, 1);
}

static void a_broker_that_says_good_bye_is_come_back_to(void **state)
{
    static const uint8_t reasons[] = { 0x80, 0x82, 0x87, 0x8b, 0x8e, 0x93, 0x95, 0x97, 0x98, 0xa1 };
    struct bench *bench = *state;
    hurry(bench);
    use_fake(bench, NULL);
    bench_start(bench);
    for (size_t i = 0; i < sizeof reasons; i++) {
        const struct fake_script script = { .farewell = reasons[i], .farewell_after = 7 };
        offer_readings(bench, 50, 1);
        switch_to(&script, 2);
    }
    mend(bench, 1);
}

/* A fake one takes the place of a real one for a while. */
static void a_real_broker_in_its_place_gets_all(void **state)
{
    struct bench *bench = *state;
    bench_broker(bench, NULL);
    bench_subscribe(bench);
    test_broker_stop(&bench->broker);
    use_fake(bench, &(struct fake_script){ .acks = FAKE_ACKS_WRONG });
    bench_start(bench);
    offer_readings(bench, 200, 1);
    WAIT_AMOUNT(10000, .messages = 50);
    fake_broker_stop(&fake);
    test_broker_restart(&bench->broker);
    assert_true(test_wait(is_drained, bench, 20000));
    for (int device = 0; device < DEVICES; device++) {
        char payload[16];
        assert_true(test_subscriber_wait_count(&bench->subscriber, topics[device], 200, 10000));
        for (int i = 0; i < 200; i++) {
            assert_true(test_subscriber_payload(&bench->subscriber, topics[device], (size_t)i, payload,
                                                sizeof payload));
            assert_int_equal(atoi(payload), i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAKE_CASE(a_broker_that_closes_at_once_gets_all_later),
        FAKE_CASE(a_broker_that_refuses_gets_all_later),
        FAKE_CASE(garbage_in_place_of_an_answer_harms_nothing_with_mqtt_5),
        FAKE_CASE(garbage_in_place_of_an_answer_harms_nothing_with_mqtt_311),
        FAKE_CASE(garbage_after_the_answer_harms_nothing_with_mqtt_5),
        FAKE_CASE(garbage_after_the_answer_harms_nothing_with_mqtt_311),
        FAKE_CASE(late_acknowledgements_are_waited_for),
        FAKE_CASE(missing_acknowledgements_make_the_next_connection_repeat),
        FAKE_CASE(gaps_in_acknowledgements_make_the_next_connection_repeat),
        FAKE_CASE(acknowledgements_that_come_twice_count_once),
        FAKE_CASE(acknowledgements_may_come_in_any_order),
        FAKE_CASE(acknowledgements_of_something_else_count_for_nothing),
        FAKE_CASE(acknowledgements_of_another_kind_end_the_connection),
        FAKE_CASE(unasked_acknowledgements_count_for_nothing),
        FAKE_CASE(suback_without_codes_harms_nothing),
        FAKE_CASE(connections_cut_at_any_byte_that_was_sent_lose_nothing),
        FAKE_CASE(connections_cut_at_any_byte_that_was_sent_lose_and_double_nothing_with_qos_2),
        FAKE_CASE(connections_cut_at_any_byte_that_came_lose_nothing),
        FAKE_CASE(connections_cut_at_any_byte_that_came_lose_and_double_nothing_with_qos_2),
        FAKE_CASE(flooding_costs_no_memory),
        FAKE_CASE(a_broker_that_says_good_bye_is_come_back_to),
        FAKE_CASE(a_real_broker_in_its_place_gets_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
