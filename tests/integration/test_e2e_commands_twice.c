/*
 * A daemon whose broker sends messages of QoS 1 again, as a good one does it on a new connection, and as a
 * bad one does it: what is written is written once, and what is another message is written, too.
 */
#include "support/e2e.h"
#include "support/fake_broker.h"
#include "support/plc.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define DEVICE                                                                                               \
    "{ name = \"plc\"; transport: { type = \"tcp-client\"; address = \"127.0.0.1:%u\"; }; protocol: { "      \
    "type = \"modbus-tcp\"; }; poll_interval = \"1s\"; timeout = \"10s\"; unit = 1; points = ("              \
    "{ name = \"limit\"; table = \"holding\"; address = 7; type = \"uint16\"; writable = true; } ); },"
#define SET    E2E_BASE "/plc/set"
#define RESULT E2E_BASE "/plc/result"

static struct plc plc;
static struct fake_broker fake;
static int version;

static void wait_count(size_t (*count)(struct fake_broker *broker, const char *what), const char *what,
                       size_t wanted)
{
    int64_t deadline = wait_deadline(10000);
    while (count(&fake, what) < wanted) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
    assert_int_equal(count(&fake, what), wanted);
}

static void wait_results(size_t count)
{
    wait_count(fake_broker_count, RESULT, count);
}

static void expect_last_result(size_t count, const char *text)
{
    struct fake_taken taken;
    wait_results(count);
    assert_true(fake_broker_get(&fake, RESULT, count - 1, &taken));
    assert_string_equal(taken.payload, text);
}

static void begin(struct e2e *e2e, int protocol)
{
    version = protocol;
    e2e->mqtt_more = protocol == 5 ? "" : "protocol = \"3.1.1\";";
    plc_start(&plc);
    fake_broker_start(&fake, (int)e2e->broker.port, NULL);
    e2e_start_daemon(e2e, DEVICE, plc.port);
    wait_count(fake_broker_subscribed, "+" SET, 1);
    assert_true(daemon_wait_log(&e2e->daemon, "device plc: online", 10000));
}

static void end(struct e2e *e2e)
{
    if (e2e->daemon.pid > 0) {
        assert_int_equal(daemon_stop(&e2e->daemon, 10000), 0);
    }
    fake_broker_stop(&fake);
    plc_stop(&plc);
}

static void say(uint16_t id, bool dup, const char *payload)
{
    uint8_t packet[FAKE_SAYS_BYTES];
    fake_broker_say(&fake, packet, fake_publish(version, dup, id, SET, payload, packet));
}

static void connect_again(size_t connections)
{
    fake_broker_cut(&fake);
    wait_count(fake_broker_subscribed, "+" SET, connections);
}

static void repeated_on_one_connection(struct e2e *e2e, int protocol)
{
    begin(e2e, protocol);
    for (int i = 0; i < 5; i++) {
        say(1, i > 0, "{\"limit\":1}");
    }
    say(2, false, "{\"limit\":1}"); /* another message of the same content */
    say(2, true, "{\"limit\":1}");
    say(1, false, "{\"limit\":2}"); /* the identifier is used anew */
    plc_wait_writes(&plc, 3);
    say(9, false, "{\"limit\":3}");
    plc_wait_writes(&plc, 4);
    assert_int_equal(atomic_load(&plc.writes), 4);
    assert_int_equal(plc_holding(&plc, 7), 3);
    end(e2e);
}

static void a_message_that_comes_twice_is_executed_once_with_mqtt_5(struct e2e *e2e)
{
    repeated_on_one_connection(e2e, 5);
}

static void a_message_that_comes_twice_is_executed_once_with_mqtt_311(struct e2e *e2e)
{
    repeated_on_one_connection(e2e, 4);
}

static void a_message_that_comes_again_on_the_next_connection_is_answered_from_memory(struct e2e *e2e)
{
    begin(e2e, 5);
    say(1, false, "{\"limit\":1}");
    say(2, false, "{\"limit\":2}");
    expect_last_result(2, "{\"ok\":true}");
    connect_again(2);
    say(2, true, "{\"limit\":2}"); /* and in another order */
    say(1, true, "{\"limit\":1}");
    wait_results(4);
    say(3, false, "{\"limit\":3}");
    expect_last_result(5, "{\"ok\":true}");
    plc_wait_writes(&plc, 3);
    assert_int_equal(atomic_load(&plc.writes), 3);
    assert_int_equal(plc_holding(&plc, 7), 3);
    end(e2e);
}

static void identifiers_of_a_new_session_are_new_messages(struct e2e *e2e)
{
    begin(e2e, 5);
    say(1, false, "{\"limit\":1}");
    wait_results(1);
    fake_broker_behave(&fake, &(struct fake_script){ .forgets = true });
    connect_again(2);
    say(1, false, "{\"limit\":1}");
    plc_wait_writes(&plc, 2); /* a result more says nothing: the first may have been sent again */
    end(e2e);
}

static void a_message_that_comes_again_after_a_kill_is_not_executed_again(struct e2e *e2e)
{
    begin(e2e, 5);
    say(1, false, "{\"limit\":1}");
    wait_results(1);
    atomic_store(&plc.held, true);
    say(2, false, "{\"limit\":2}");
    plc_wait_writes(&plc, 2);
    daemon_kill(&e2e->daemon);
    atomic_store(&plc.held, false);
    e2e_start_daemon(e2e, DEVICE, plc.port);
    wait_count(fake_broker_subscribed, "+" SET, 2);
    say(1, true, "{\"limit\":1}");
    expect_last_result(2, "{\"ok\":true}");
    say(2, true, "{\"limit\":2}");
    wait_results(3);
    assert_true(daemon_wait_log(&e2e->daemon, "device plc: online", 10000));
    say(3, false, "{\"limit\":3}");
    expect_last_result(4, "{\"ok\":true}");
    assert_int_equal(atomic_load(&plc.writes), 3);
    end(e2e);
}

static void what_was_not_sent_may_be_tried_again_but_not_by_the_broker(struct e2e *e2e)
{
    static const char expired[] = "{\"limit\":1,\"transaction\":1,\"expires_ms\":0}";
    begin(e2e, 5);
    say(1, false, expired);
    wait_results(1);
    say(2, false, "{\"limit\":70000,\"transaction\":1}");
    wait_results(2);
    say(2, true, "{\"limit\":70000,\"transaction\":1}");
    wait_results(3);
    say(3, false, "{\"limit\":70,\"transaction\":1}");
    expect_last_result(4, "{\"transaction\":1,\"ok\":t");
    say(4, false, "{\"limit\":71,\"transaction\":1}"); /* answered from memory */
    expect_last_result(5, "{\"transaction\":1,\"ok\":t");
    assert_int_equal(atomic_load(&plc.writes), 1);
    assert_int_equal(plc_holding(&plc, 7), 70);
    end(e2e);
}

static void a_subscription_of_an_earlier_run_is_ended(struct e2e *e2e)
{
    uint8_t packet[FAKE_SAYS_BYTES];
    begin(e2e, 5);
    fake_broker_say(&fake, packet, fake_publish(5, false, 1, E2E_BASE "/gone/set", "1", packet));
    wait_count(fake_broker_subscribed, "-" E2E_BASE "/gone/set", 1);
    wait_count(fake_broker_count, E2E_BASE "/gone/result", 1);
    end(e2e);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(a_message_that_comes_twice_is_executed_once_with_mqtt_5),
        E2E_TEST(a_message_that_comes_twice_is_executed_once_with_mqtt_311),
        E2E_TEST(a_message_that_comes_again_on_the_next_connection_is_answered_from_memory),
        E2E_TEST(identifiers_of_a_new_session_are_new_messages),
        E2E_TEST(a_message_that_comes_again_after_a_kill_is_not_executed_again),
        E2E_TEST(what_was_not_sent_may_be_tried_again_but_not_by_the_broker),
        E2E_TEST(a_subscription_of_an_earlier_run_is_ended),
    };
    return e2e_main("e2e_commands_twice", tests, sizeof tests / sizeof tests[0]);
}
