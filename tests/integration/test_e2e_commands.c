/*
 * Commands from the broker to a Modbus device and back, with mosquitto's own clients as those who ask: what
 * is written, how often, and what they hear.
 */
#include "support/client.h"
#include "support/e2e.h"
#include "support/plc.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEVICE                                                                                               \
    "{ name = \"plc\"; transport: { type = \"tcp-client\"; address = \"127.0.0.1:%u\"; }; protocol: { "      \
    "type = \"modbus-tcp\"; }; poll_interval = \"200ms\"; timeout = \"10s\"; unit = 1; points = ("           \
    "{ name = \"relay\"; table = \"coil\"; address = 3; type = \"bool\"; writable = true; },"                \
    "{ name = \"limit\"; table = \"holding\"; address = 7; type = \"uint16\"; writable = true; },"           \
    "{ name = \"power\"; table = \"input\"; address = 12; type = \"uint16\"; } ); },"

static struct plc plc;

/* Runs a program to its end; what it printed, without the last newline. */
static const char *run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *run(const char *format, ...)
{
    static char output[4096];
    char command[2048];
    va_list values;
    va_start(values, format);
    vsnprintf(command, sizeof command, format, values);
    va_end(values);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = fread(output, 1, sizeof output - 1, pipe);
    pclose(pipe);
    output[size] = '\0';
    output[strcspn(output, "\n")] = '\0';
    return output;
}

static void publish(struct e2e *e2e, const char *topic, const char *payload, const char *options)
{
    run("mosquitto_pub -p %u -q 1 %s -t " E2E_BASE "/%s -m '%s' 2>&1", e2e->broker.port, options, topic,
        payload);
}

/* As a requester with MQTT 5 does it: what is answered on a topic of its own. */
static void expect_response(struct e2e *e2e, const char *topic, const char *payload, const char *answer)
{
    assert_string_equal(run("mosquitto_rr -V 5 -q 1 -W 15 -p %u -t " E2E_BASE "/%s -e asker/box -m '%s' 2>&1",
                            e2e->broker.port, topic, payload),
                        answer);
}

static void expect_result(struct e2e *e2e, const char *answer)
{
    e2e_expect(e2e, "plc/result", answer);
}

static void start(struct e2e *e2e)
{
    plc_start(&plc);
    e2e_start(e2e, DEVICE, plc.port);
    e2e_wait_status(e2e, "plc/status", "online");
}

static void start_again(struct e2e *e2e)
{
    e2e_start_daemon(e2e, DEVICE, plc.port);
    e2e_wait_online(e2e);
    e2e_wait_status(e2e, "plc/status", "online");
}

static void end(struct e2e *e2e)
{
    if (e2e->daemon.pid > 0) {
        assert_int_equal(daemon_stop(&e2e->daemon, 10000), 0);
    }
    plc_stop(&plc);
}

static void a_requester_hears_that_its_write_was_executed(struct e2e *e2e)
{
    start(e2e);
    bool before = plc_coil(&plc, 3);
    expect_response(e2e, "plc/set",
                    before ? "{\"relay\":false,\"transaction\":7}" : "{\"relay\":true,\"transaction\":7}",
                    "{\"transaction\":7,\"ok\":true}");
    assert_int_equal(plc_coil(&plc, 3), !before);
    assert_int_equal(atomic_load(&plc.writes), 1);
    e2e_expect_no_more(e2e, "plc/result");
    expect_response(e2e, "plc/limit/set", "4711", "{\"ok\":true}");
    assert_int_equal(plc_holding(&plc, 7), 4711);
    expect_response(e2e, "plc/limit/set", "{\"value\":12,\"transaction\":\"b\"}",
                    "{\"transaction\":\"b\",\"ok\":true}");
    assert_int_equal(plc_holding(&plc, 7), 12);
    expect_response(e2e, "plc/get", "[\"limit\"]", "{\"ok\":true,\"values\":{\"limit\":12}}");
    end(e2e);
}

static void who_asks_for_what_cannot_be_hears_why(struct e2e *e2e)
{
    start(e2e);
    publish(e2e, "plc/set", "{\"relay\":", "");
    e2e_expect_fields(e2e, "plc/result", "{\"ok\":false,\"error\":\"bad request\"}");
    publish(e2e, "plc/set", "{\"nothing\":1,\"transaction\":\"x\"}", "");
    e2e_expect_fields(
        e2e, "plc/result",
        "{\"transaction\":\"x\",\"ok\":false,\"error\":\"unknown point\",\"point\":\"nothing\"}");
    publish(e2e, "plc/power/set", "1", "");
    e2e_expect_fields(e2e, "plc/result", "{\"ok\":false,\"error\":\"not writable\",\"point\":\"power\"}");
    publish(e2e, "plc/limit/set", "70000", "");
    e2e_expect_fields(e2e, "plc/result", "{\"ok\":false,\"error\":\"bad value\",\"point\":\"limit\"}");
    publish(e2e, "plc/set", "{\"relay\":true,\"expires_ms\":0}", "");
    expect_result(e2e, "{\"ok\":false,\"error\":\"expired\"}");
    assert_int_equal(atomic_load(&plc.writes), 0);
    e2e_wait_counter(e2e, "commands_rejected.expired", 1);
    e2e_wait_counter(e2e, "commands", 5);
    end(e2e);
}

static void mqtt_311_is_answered_on_the_result_topic(struct e2e *e2e)
{
    e2e->mqtt_more = "protocol = \"3.1.1\";";
    start(e2e);
    publish(e2e, "plc/limit/set", "5", "");
    expect_result(e2e, "{\"ok\":true}");
    assert_int_equal(plc_holding(&plc, 7), 5);
    end(e2e);
}

static void bytes_are_sent_as_they_are_and_the_reply_comes_back(struct e2e *e2e)
{
    unsigned port = 0;
    int listener = client_listen(&port);
    e2e_start(
        e2e,
        "{ name = \"scale\"; transport: { type = \"tcp-client\"; address = \"127.0.0.1:%u\"; }; " E2E_LINE
            E2E_RAW "reply = true; timeout = \"10s\"; },",
        port);
    int fd = client_accept(listener);
    e2e_wait_status(e2e, "scale/status", "online");
    publish(e2e, "scale/set", "{\"weigh\":", ""); /* no JSON for such a device */
    char line[16] = "";
    assert_int_equal(recv(fd, line, 10, MSG_WAITALL), 10);
    assert_string_equal(line, "{\"weigh\":\n");
    client_print(fd, "21 kg\n");
    e2e_expect(e2e, "scale/result", "{\"ok\":true,\"reply\":\"21 kg\"}");
    e2e_expect(e2e, "scale/state", "21 kg");
    close(fd);
    close(listener);
}

/* One that the broker kept, and with MQTT 5 one that is published so under the daemon's eyes. */
static void a_retained_command_is_never_executed(struct e2e *e2e)
{
    plc_start(&plc);
    e2e_start_broker(e2e);
    e2e_subscribe(e2e);
    publish(e2e, "plc/limit/set", "1", "-r");
    start_again(e2e);
    publish(e2e, "plc/limit/set", "2", "-r");
    publish(e2e, "plc/limit/set", "3", "");
    expect_result(e2e, "{\"ok\":true}");
    e2e_expect_no_more(e2e, "plc/result");
    assert_int_equal(atomic_load(&plc.writes), 1);
    assert_int_equal(plc_holding(&plc, 7), 3);
    e2e_wait_counter(e2e, "commands_rejected.retained", 2);
    assert_true(
        daemon_log_has(&e2e->daemon, "a retained command is never executed: " E2E_BASE "/plc/limit/set"));
    end(e2e);
}

static void too_many_commands_are_busy(struct e2e *e2e)
{
    start(e2e);
    atomic_store(&plc.held, true);
    run("for i in $(seq 100); do echo \"{\\\"limit\\\":$i,\\\"transaction\\\":$i}\"; done | mosquitto_pub -p "
        "%u "
        "-q 1 -l -t " E2E_BASE "/plc/set",
        e2e->broker.port);
    plc_wait_writes(&plc, 1);
    e2e_wait_counter(e2e, "commands", 100); /* all have come while the first was held */
    e2e_expect_fields(e2e, "plc/result", "{\"ok\":false,\"error\":\"busy\"}");
    atomic_store(&plc.held, false);
    unsigned done = 0;
    for (unsigned i = 1; i < 100; i++) {
        done += strstr(e2e_next(e2e, "plc/result")->payload, "\"ok\":true") != NULL;
    }
    assert_in_range(done, 1, 64);
    assert_int_equal(atomic_load(&plc.writes), done);
    end(e2e);
}

static void a_transaction_is_executed_once_also_after_a_restart(struct e2e *e2e)
{
    start(e2e);
    static const char command[] = "{\"limit\":9,\"transaction\":\"once\"}";
    static const char result[] = "{\"transaction\":\"once\",\"ok\":true}";
    expect_response(e2e, "plc/set", command, result);
    expect_response(e2e, "plc/set", command, result);
    assert_int_equal(daemon_stop(&e2e->daemon, 10000), 0);
    start_again(e2e);
    expect_response(e2e, "plc/set", command, result);
    assert_int_equal(atomic_load(&plc.writes), 1);
    e2e_wait_counter(e2e, "commands_repeated", 1);
    end(e2e);
}

/* The result of the first is both's. */
static void a_transaction_under_way_is_not_executed_again(struct e2e *e2e)
{
    start(e2e);
    static const char command[] = "{\"limit\":9,\"transaction\":\"once\"}";
    atomic_store(&plc.held, true);
    publish(e2e, "plc/set", command, "");
    plc_wait_writes(&plc, 1);
    publish(e2e, "plc/set", command, "");
    e2e_wait_counter(e2e, "commands_repeated", 1);
    atomic_store(&plc.held, false);
    expect_result(e2e, "{\"transaction\":\"once\",\"ok\":true}");
    expect_result(e2e, "{\"transaction\":\"once\",\"ok\":true}");
    assert_int_equal(atomic_load(&plc.writes), 1);
    end(e2e);
}

static void a_daemon_killed_before_the_answer_does_not_execute_again(struct e2e *e2e)
{
    start(e2e);
    static const char command[] = "{\"limit\":9,\"transaction\":\"cut\"}";
    atomic_store(&plc.held, true);
    publish(e2e, "plc/set", command, "");
    publish(e2e, "plc/limit/set", "10", "");
    plc_wait_writes(&plc, 1);
    e2e_wait_counter(e2e, "commands", 2);
    daemon_kill(&e2e->daemon);
    atomic_store(&plc.held, false);
    unsigned before = atomic_load(&plc.writes);
    start_again(e2e);
    expect_response(
        e2e, "plc/set", command,
        "{\"transaction\":\"cut\",\"ok\":false,\"error\":\"interrupted\",\"why\":\"the gateway ended before "
        "the result was known; it may have been executed\"}");
    assert_int_equal(atomic_load(&plc.writes), before);
    end(e2e);
}

/* The result of a transaction that was asked for at least once since the last result of it was looked for. */
static bool was_done(struct e2e *e2e, unsigned transaction)
{
    for (;;) {
        const char *payload = e2e_next(e2e, "plc/result")->payload;
        json_t *result = json_loads(payload, 0, NULL);
        assert_non_null(result);
        json_t *about = json_object_get(result, "transaction");
        bool wanted = about && json_integer_value(about) == transaction;
        bool ok = json_is_true(json_object_get(result, "ok"));
        if (wanted && !ok) {
            const char *error = json_string_value(json_object_get(result, "error"));
            assert_true(strcmp(error, "interrupted") == 0 || strcmp(error, "link down") == 0);
        }
        json_decref(result);
        if (wanted) {
            return ok;
        }
    }
}

/* Killed at any moment, and asked again; beside each such command goes one without a transaction, which is
 * not asked for again. */
static void nothing_is_written_twice_however_often_the_daemon_is_killed(struct e2e *e2e)
{
    unsigned seed = (unsigned)wait_now_us();
    print_message("seed %u\n", seed);
    start(e2e);
    atomic_store(&plc.slow_naps, 3);
    for (unsigned i = 1; i <= 12; i++) {
        char command[64];
        snprintf(command, sizeof command, "{\"limit\":%u,\"transaction\":%u}", i, i);
        publish(e2e, "plc/set", command, "");
        snprintf(command, sizeof command, "%u", 1000 + i);
        publish(e2e, "plc/limit/set", command, "");
        int64_t moment = wait_now_us() + rand_r(&seed) % 12000;
        while (wait_now_us() < moment) {
        }
        daemon_kill(&e2e->daemon);
        start_again(e2e);
        snprintf(command, sizeof command, "{\"limit\":%u,\"transaction\":%u}", i, i);
        publish(e2e, "plc/set", command, "");
        if (was_done(e2e, i)) {
            assert_int_equal(plc_times(&plc, i), 1);
        }
    }
    assert_int_equal(daemon_stop(&e2e->daemon, 10000), 0);
    unsigned done = 0;
    for (unsigned i = 1; i <= 12; i++) {
        assert_in_range(plc_times(&plc, i), 0, 1);
        assert_in_range(plc_times(&plc, 1000 + i), 0, 1);
        done += plc_times(&plc, i);
    }
    assert_true(done > 0);
    end(e2e);
}

static void a_command_that_waited_at_the_broker_is_executed_after_the_start(struct e2e *e2e)
{
    start(e2e);
    assert_int_equal(daemon_stop(&e2e->daemon, 10000), 0);
    publish(e2e, "plc/limit/set", "21", "");
    publish(e2e, "plc/relay/set", "true", "-V 5 -D publish message-expiry-interval 1");
    int64_t over = wait_now_ms() + 2500;
    while (wait_now_ms() < over) {
        wait_nap(); /* the broker counts in seconds */
    }
    e2e_start_daemon(e2e, DEVICE, plc.port);
    const char *result = e2e_next(e2e, "plc/result")->payload;
    if (!strstr(result, "true")) { /* it came before the connection to the device */
        assert_non_null(strstr(result, "link down"));
        assert_int_equal(atomic_load(&plc.writes), 0);
    } else {
        assert_int_equal(plc_holding(&plc, 7), 21);
        assert_int_equal(atomic_load(&plc.writes), 1);
    }
    end(e2e);
}

static void commands_come_again_after_an_outage_of_the_broker(struct e2e *e2e)
{
    start(e2e);
    e2e_broker_kill(&e2e->broker); /* it saved nothing: neither session nor subscriptions */
    subscriber_close(&e2e->subscriber);
    e2e_start_broker_unseen(e2e);
    e2e_wait_online(e2e);
    expect_response(e2e, "plc/limit/set", "33", "{\"ok\":true}");
    assert_int_equal(plc_holding(&plc, 7), 33);
    end(e2e);
}

static void a_result_waits_for_the_broker(struct e2e *e2e)
{
    start(e2e);
    atomic_store(&plc.held, true);
    publish(e2e, "plc/limit/set", "44", "");
    plc_wait_writes(&plc, 1);
    e2e_broker_kill(&e2e->broker);
    subscriber_close(&e2e->subscriber);
    atomic_store(&plc.held, false);
    assert_true(daemon_wait_log(&e2e->daemon, "connection lost", 10000));
    e2e_start_broker_unseen(e2e);
    expect_result(e2e, "{\"ok\":true}");
    assert_int_equal(atomic_load(&plc.writes), 1);
    end(e2e);
}

static void a_clean_stop_answers_what_is_under_way(struct e2e *e2e)
{
    start(e2e);
    atomic_store(&plc.held, true);
    publish(e2e, "plc/limit/set", "44", "");
    plc_wait_writes(&plc, 1);
    assert_int_equal(daemon_stop(&e2e->daemon, 10000), 0);
    e2e_expect_fields(e2e, "plc/result", "{\"ok\":false}");
    atomic_store(&plc.held, false);
    end(e2e);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(a_requester_hears_that_its_write_was_executed),
        E2E_TEST(who_asks_for_what_cannot_be_hears_why),
        E2E_TEST(mqtt_311_is_answered_on_the_result_topic),
        E2E_TEST(bytes_are_sent_as_they_are_and_the_reply_comes_back),
        E2E_TEST(a_retained_command_is_never_executed),
        E2E_TEST(too_many_commands_are_busy),
        E2E_TEST(a_transaction_is_executed_once_also_after_a_restart),
        E2E_TEST(a_transaction_under_way_is_not_executed_again),
        E2E_TEST(a_daemon_killed_before_the_answer_does_not_execute_again),
        E2E_TEST(nothing_is_written_twice_however_often_the_daemon_is_killed),
        E2E_TEST(a_command_that_waited_at_the_broker_is_executed_after_the_start),
        E2E_TEST(commands_come_again_after_an_outage_of_the_broker),
        E2E_TEST(a_result_waits_for_the_broker),
        E2E_TEST(a_clean_stop_answers_what_is_under_way),
    };
    return e2e_main("e2e_commands", tests, sizeof tests / sizeof tests[0]);
}
