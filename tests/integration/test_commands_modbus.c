/*
 * Commands to polled devices: what is written, what is read, and what their senders are told.
 */
#include "support/asked.h"
#include "support/relay.h"
#include "support/wait.h"

#include "fieldgate/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum way { RTU_ON_A_PTY, MODBUS_TCP };

struct plant {
    struct bench *bench;
    struct relay relay;
};

#define POINTS                                                                                               \
    "points = ( { name = \"relay\"; table = \"coil\"; address = 3; type = \"bool\"; writable = true; },\n"   \
    "{ name = \"level\"; address = 10; type = \"uint16\"; writable = true; min = 0.0; max = 100.0; },\n"     \
    "{ name = \"total\"; address = 20; type = \"float32\"; writable = true; },\n"                            \
    "{ name = \"mode\"; address = 30; type = \"bits\"; bit = 4; width = 3; writable = true; },\n"            \
    "{ name = \"label\"; address = 40; type = \"string\"; length = 4; writable = true; },\n"                 \
    "{ name = \"fixed\"; address = 50; type = \"int16\"; } );\n"

static struct plant *plant_new(void **state, enum way way, const char *settings)
{
    struct plant *plant = calloc(1, sizeof *plant);
    struct rig *rig = *state;
    char transport[160];
    plant->relay.listener = -1;
    plant->relay.mode = way == MODBUS_TCP ? FG_MODBUS_TCP : FG_MODBUS_RTU;
    if (way == RTU_ON_A_PTY) {
        char path[96];
        snprintf(path, sizeof path, "%s/tty", rig->folder);
        unlink(path);
        plant->relay.fd = rig_pty(path);
        snprintf(transport, sizeof transport, "type = \"serial\"; path = \"%s\"; baud = 115200;", path);
    } else {
        uint16_t port = rig_free_port(SOCK_STREAM);
        plant->relay.listener = rig_listen(port);
        snprintf(transport, sizeof transport, "type = \"tcp-client\"; address = \"127.0.0.1:%u\";", port);
    }
    plant->bench = bench_new(state, "transport: { %s };\nprotocol: { type = \"%s\"; };\n%s\n", transport,
                             way == MODBUS_TCP ? "modbus-tcp" : "modbus-rtu", settings);
    return plant;
}

static void plant_open(struct plant *plant)
{
    bench_open(plant->bench);
    if (plant->relay.listener >= 0) {
        plant->relay.fd = accept(plant->relay.listener, NULL, NULL);
        assert_true(plant->relay.fd >= 0);
    }
    relay_start(&plant->relay);
}

/* Up, and its first round is over; the next one is far away. */
static struct plant *plant_ready(void **state, enum way way, const char *settings)
{
    struct plant *plant = plant_new(state, way, settings);
    plant_open(plant);
    WAIT_TOLD(plant->bench, "p: *");
    return plant;
}

static void plant_free(struct plant *plant)
{
    bench_free(plant->bench);
    relay_stop(&plant->relay);
    close(plant->relay.fd);
    if (plant->relay.listener >= 0) {
        close(plant->relay.listener);
    }
    free(plant);
}

#define SELDOM "poll_interval = \"1h\"; timeout = \"5s\"; retries = 1;\n" POINTS

static void expect(struct asked *asked, const char *text)
{
    assert_string_equal(asked_answer(asked), text);
}

static void every_type_is_written_and_read_back(void **state, enum way way)
{
    static const struct {
        const char *set, *writes, *reading;
    } cases[] = {
        { "relay=true", "5@3", "p: relay=true" },      { "level=42", "6@10", "level=42" },
        { "total=2.5", "16@20", "total=2.5" },         { "mode=5", "22@30", "mode=5" },
        { "label=\"abc\"", "16@40", "label=\"abc\"" },
    };
    struct plant *plant = plant_ready(state, way, SELDOM);
    struct asked *asked[5];
    char writes[100] = "";
    for (size_t i = 0; i < 5; i++) {
        char wanted[100];
        asked[i] = asked_set(plant->bench, "p", cases[i].set);
        expect(asked[i], "ok");
        snprintf(writes + strlen(writes), sizeof writes - strlen(writes), "%s%s", i > 0 ? " " : "",
                 cases[i].writes);
        assert_string_equal(relay_writes(&plant->relay), writes);
        snprintf(wanted, sizeof wanted, "%s", cases[i].reading);
        RIG_WAIT(plant->bench,
                 plant->bench->count > 0 && strstr(plant->bench->told[plant->bench->count - 1].text, wanted));
    }
    assert_true(relay_coil(&plant->relay, 3));
    assert_int_equal(relay_register(&plant->relay, 10), 42);
    assert_int_equal(relay_register(&plant->relay, 30), 0x50);
    plant_free(plant);
    for (size_t i = 0; i < 5; i++) {
        asked_free(asked[i]);
    }
}

static void every_type_is_written_and_read_back_on_a_serial_line(void **state)
{
    every_type_is_written_and_read_back(state, RTU_ON_A_PTY);
}

static void every_type_is_written_and_read_back_on_tcp(void **state)
{
    every_type_is_written_and_read_back(state, MODBUS_TCP);
}

static void fields_are_written_in_their_order(void **state)
{
    struct plant *plant = plant_ready(state, MODBUS_TCP, SELDOM);
    struct asked *asked = asked_set(plant->bench, "p", "mode=1 relay=true level=7 total=1");
    expect(asked, "ok");
    assert_string_equal(relay_writes(&plant->relay), "22@30 5@3 6@10 16@20");
    plant_free(plant);
    asked_free(asked);
}

static void fields_of_two_commands_are_not_mixed(void **state)
{
    struct plant *plant = plant_ready(state, MODBUS_TCP, SELDOM);
    struct asked *first = asked_set(plant->bench, "p", "level=1 relay=true mode=1");
    struct asked *second = asked_set(plant->bench, "p", "level=2 relay=false mode=2");
    expect(second, "ok");
    assert_string_equal(relay_writes(&plant->relay), "6@10 5@3 22@30 6@10 5@3 22@30");
    assert_int_equal(relay_register(&plant->relay, 10), 2);
    plant_free(plant);
    asked_free(first);
    asked_free(second);
}

static void nothing_is_sent_of_a_command_with_a_bad_field(void **state)
{
    static const char *const cases[][2] = {
        { "relay=true level=101", "bad value at level" },
        { "relay=true level=-1", "bad value at level" },
        { "relay=true level=1.5", "bad value at level" },
        { "relay=true mode=8", "bad value at mode" },
        { "relay=true label=5", "bad value at label" },
        { "relay=true label=\"123456789\"", "bad value at label" },
        { "relay=true fixed=1", "not writable at fixed" },
        { "relay=true nix=1", "unknown point at nix" },
        { "relay=2", "bad value at relay" },
        { "relay=true total=null", "bad value at total" },
        { "", "bad request" },
    };
    struct plant *plant = plant_ready(state, MODBUS_TCP, SELDOM);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct asked *asked = asked_set(plant->bench, "p", cases[i][0]);
        expect(asked, cases[i][1]);
        assert_true(asked->why[0]);
        asked_free(asked);
    }
    struct asked *last = asked_set(plant->bench, "p", "level=1");
    expect(last, "ok");
    assert_string_equal(relay_writes(&plant->relay), "6@10");
    plant_free(plant);
    asked_free(last);
}

static void a_command_stops_at_what_the_device_refuses(void **state)
{
    struct plant *plant = plant_ready(state, MODBUS_TCP, SELDOM);
    atomic_store(&plant->relay.illegal, 20);
    struct asked *asked = asked_set(plant->bench, "p", "relay=true total=1 level=7");
    expect(asked, "exception 2 at total");
    assert_string_equal(asked->why, "illegal data address");
    assert_string_equal(relay_writes(&plant->relay), "5@3");
    plant_free(plant);
    asked_free(asked);
}

static void what_the_device_does_not_know_is_written_another_way(void **state)
{
    struct plant *plant = plant_ready(state, MODBUS_TCP, SELDOM);
    atomic_store(&plant->relay.lacks, 1U << 5 | 1U << 6 | 1U << 22);
    struct asked *asked = asked_set(plant->bench, "p", "relay=true level=7 mode=3");
    expect(asked, "ok");
    assert_string_equal(relay_writes(&plant->relay), "15@3 16@10 16@30");
    assert_int_equal(relay_register(&plant->relay, 30), 0x30);
    plant_free(plant);
    asked_free(asked);
}

static void a_write_without_an_answer_is_a_timeout_and_what_stands_there_is_read(void **state)
{
    struct plant *plant =
        plant_ready(state, MODBUS_TCP, "poll_interval = \"1h\"; timeout = \"200ms\"; retries = 1;\n" POINTS);
    atomic_store(&plant->relay.deaf, true);
    struct asked *asked = asked_set(plant->bench, "p", "level=9 relay=true");
    expect(asked, "timeout at level");
    atomic_store(&plant->relay.deaf, false);
    RIG_WAIT(plant->bench, strstr(plant->bench->told[plant->bench->count - 1].text, "level=9"));
    assert_string_equal(relay_writes(&plant->relay), "6@10"); /* once, and nothing after it */
    plant_free(plant);
    asked_free(asked);
}

static void named_points_are_read_now(void **state)
{
    struct plant *plant = plant_ready(state, MODBUS_TCP, SELDOM);
    struct asked *set = asked_set(plant->bench, "p", "level=11 relay=true label=\"x\"");
    expect(set, "ok");
    struct asked *get = asked_get(plant->bench, "p", "relay fixed level label");
    expect(get, "ok relay=true fixed=0 level=11 label=\"x\"");
    plant_free(plant);
    asked_free(set);
    asked_free(get);
}

static void all_points_are_read_and_published_too(void **state)
{
    struct plant *plant = plant_ready(state, RTU_ON_A_PTY, SELDOM);
    size_t before = RIG_GET(plant->bench, bench_count(plant->bench, "p: *"));
    struct asked *get = asked_get(plant->bench, "p", "");
    expect(get, "ok relay=false level=0 total=0.0 mode=0 label=\"\" fixed=0");
    assert_true(RIG_GET(plant->bench, bench_count(plant->bench, "p: *")) > before);
    plant_free(plant);
    asked_free(get);
}

static void what_cannot_be_read_does_not_take_the_rest_along(void **state)
{
    struct plant *plant = plant_ready(state, MODBUS_TCP, SELDOM "max_gap = 60;");
    atomic_store(&plant->relay.illegal, 30);
    struct asked *get = asked_get(plant->bench, "p", "level mode fixed");
    expect(get, "exception 2 at mode level=0 fixed=0");
    struct asked *unknown = asked_get(plant->bench, "p", "level nix");
    expect(unknown, "unknown point at nix");
    plant_free(plant);
    asked_free(get);
    asked_free(unknown);
}

static void an_offline_device_is_told_as_such(void **state)
{
    struct plant *plant =
        plant_new(state, MODBUS_TCP,
                  "poll_interval = \"50ms\"; timeout = \"50ms\"; retries = 0;\n" POINTS
                  "devices = ( { name = \"a\"; unit = 1; }, { name = \"b\"; unit = 2; } );");
    atomic_store(&plant->relay.silent, true);
    plant_open(plant);
    relay_wait_requests(&plant->relay, 4);
    struct asked *asked = asked_set(plant->bench, "a", "level=1");
    const char *text = asked_answer(asked);
    assert_true(strcmp(text, "timeout at level") == 0 || strcmp(text, "offline at level") == 0);
    plant_free(plant);
    asked_free(asked);
}

static void commands_that_wait_are_answered_when_the_link_goes_down(void **state)
{
    struct plant *plant =
        plant_ready(state, MODBUS_TCP, "poll_interval = \"1h\"; timeout = \"20s\"; retries = 0;\n" POINTS);
    atomic_store(&plant->relay.deaf, true);
    struct asked *under_way = asked_set(plant->bench, "p", "level=1");
    struct asked *waits = asked_set(plant->bench, "p", "level=2");
    struct asked *reads = asked_get(plant->bench, "p", "");
    int64_t deadline = wait_deadline(10000);
    while (relay_writes(&plant->relay)[0] == '\0') {
        assert_false(wait_over(deadline));
        wait_nap();
    }
    shutdown(plant->relay.fd, SHUT_RDWR);
    expect(under_way, "link down at level");
    assert_non_null(strstr(under_way->why, "not known"));
    expect(waits, "link down");
    expect(reads, "link down");
    assert_string_equal(relay_writes(&plant->relay), "6@10");
    plant_free(plant);
    asked_free(under_way);
    asked_free(waits);
    asked_free(reads);
}

static void commands_that_wait_are_answered_when_the_port_closes(void **state)
{
    struct plant *plant =
        plant_ready(state, RTU_ON_A_PTY, "poll_interval = \"1h\"; timeout = \"20s\"; retries = 0;\n" POINTS);
    struct asked *asked[8];
    atomic_store(&plant->relay.deaf, true);
    for (size_t i = 0; i < 8; i++) {
        asked[i] = asked_set(plant->bench, "p", "level=1");
    }
    bench_close(plant->bench);
    for (size_t i = 0; i < 8; i++) {
        assert_true(strncmp(asked_answer(asked[i]), "link down", 9) == 0);
    }
    plant_free(plant);
    for (size_t i = 0; i < 8; i++) {
        asked_free(asked[i]);
    }
}

static void without_a_link_nothing_waits(void **state)
{
    struct bench *bench = bench_new(state,
                                    "transport: { type = \"tcp-server\"; tcp_port = %u; };\nprotocol: { type "
                                    "= \"modbus-rtu\"; };\n" SELDOM,
                                    rig_free_port(SOCK_STREAM));
    bench_open(bench);
    struct asked *asked = asked_set(bench, "p", "level=1");
    expect(asked, "link down");
    struct asked *nobody = asked_set(bench, "q", "level=1");
    expect(nobody, "unknown device");
    struct asked *bytes = asked_send(bench, "p", "x", 1);
    expect(bytes, "not supported");
    bench_free(bench);
    asked_free(asked);
    asked_free(nobody);
    asked_free(bytes);
}

static void too_many_commands_are_told_busy(void **state)
{
    struct plant *plant =
        plant_ready(state, MODBUS_TCP, "poll_interval = \"1h\"; timeout = \"20s\"; retries = 0;\n" POINTS);
    struct asked *asked[20];
    atomic_store(&plant->relay.silent, true);
    for (size_t i = 0; i < 20; i++) {
        asked[i] = asked_set(plant->bench, "p", "level=1");
    }
    for (size_t i = 16; i < 20; i++) {
        expect(asked[i], "busy");
    }
    assert_int_equal(RIG_GET(plant->bench, asked[15]->answers), 0);
    plant_free(plant);
    for (size_t i = 0; i < 20; i++) {
        asked_free(asked[i]);
    }
}

static void a_command_is_not_sent_when_its_time_is_over(void **state)
{
    struct plant *plant =
        plant_ready(state, MODBUS_TCP, "poll_interval = \"1h\"; timeout = \"300ms\"; retries = 0;\n" POINTS);
    atomic_store(&plant->relay.deaf, true);
    struct asked *slow = asked_set(plant->bench, "p", "level=1");
    struct asked *late = asked_until(plant->bench, "p", FG_COMMAND_SET, "level=2", 50);
    struct asked *over = asked_until(plant->bench, "p", FG_COMMAND_SET, "level=3", 0);
    struct asked *good = asked_until(plant->bench, "p", FG_COMMAND_SET, "level=4", 60000);
    expect(over, "expired");
    expect(slow, "timeout at level");
    atomic_store(&plant->relay.deaf, false);
    expect(late, "expired at level");
    expect(good, "ok");
    assert_string_equal(relay_writes(&plant->relay), "6@10 6@10");
    assert_int_equal(relay_register(&plant->relay, 10), 4);
    plant_free(plant);
    asked_free(slow);
    asked_free(late);
    asked_free(over);
    asked_free(good);
}

static void many_commands_to_a_link_that_comes_and_goes_are_each_answered_once(void **state)
{
    enum { COMMANDS = 160 };
    static struct asked *asked[COMMANDS];
    struct plant *plant = plant_ready(state, MODBUS_TCP,
                                      "poll_interval = \"20ms\"; timeout = \"100ms\"; retries = 0;\n" POINTS);
    for (size_t i = 0; i < COMMANDS; i++) {
        asked[i] =
            i % 3 ? asked_set(plant->bench, "p", "level=1 relay=true") : asked_get(plant->bench, "p", "");
        if (i % 40 == 39) {
            unsigned connections = atomic_load(&plant->relay.connections);
            shutdown(plant->relay.fd, SHUT_RDWR);
            int64_t deadline = wait_deadline(20000);
            while (i % 80 == 39 && atomic_load(&plant->relay.connections) == connections) {
                assert_false(wait_over(deadline));
                wait_nap();
            }
        }
    }
    bench_close(plant->bench);
    plant_free(plant);
    for (size_t i = 0; i < COMMANDS; i++) {
        asked_free(asked[i]);
    }
}

#define RIG_TEST(behaviour) cmocka_unit_test_setup_teardown(behaviour, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(every_type_is_written_and_read_back_on_a_serial_line),
        RIG_TEST(every_type_is_written_and_read_back_on_tcp),
        RIG_TEST(fields_are_written_in_their_order),
        RIG_TEST(fields_of_two_commands_are_not_mixed),
        RIG_TEST(nothing_is_sent_of_a_command_with_a_bad_field),
        RIG_TEST(a_command_stops_at_what_the_device_refuses),
        RIG_TEST(what_the_device_does_not_know_is_written_another_way),
        RIG_TEST(a_write_without_an_answer_is_a_timeout_and_what_stands_there_is_read),
        RIG_TEST(named_points_are_read_now),
        RIG_TEST(all_points_are_read_and_published_too),
        RIG_TEST(what_cannot_be_read_does_not_take_the_rest_along),
        RIG_TEST(an_offline_device_is_told_as_such),
        RIG_TEST(commands_that_wait_are_answered_when_the_link_goes_down),
        RIG_TEST(commands_that_wait_are_answered_when_the_port_closes),
        RIG_TEST(without_a_link_nothing_waits),
        RIG_TEST(too_many_commands_are_told_busy),
        RIG_TEST(a_command_is_not_sent_when_its_time_is_over),
        RIG_TEST(many_commands_to_a_link_that_comes_and_goes_are_each_answered_once),
    };
    return RIG_RUN(tests);
}
