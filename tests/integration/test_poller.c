/*
 * Ports that ask their devices: meters on a pty and on a socket that answer, wrongly, late or not at all.
 */
#include "support/meter.h"
#include "support/modbus.h"
#include "support/port_bench.h"
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

#define UNITS      3
#define TIMEOUT_MS 20

/* Under these names tens are input registers, twenties holding registers, thirties coils. */
#define PAIR(name, table, address)                                                                           \
    "{ name = \"" name "\"; table = \"" table "\"; address = " address "; type = \"uint32\"; },"
#define COIL(name, address)                                                                                  \
    "{ name = \"" name "\"; table = \"coil\"; address = " address "; type = \"bool\"; },"
#define POINTS                                                                                               \
    "points = (" PAIR("i0", "input", "0") PAIR("i2", "input", "2") PAIR("i4", "input", "4")                  \
        PAIR("i6", "input", "6") PAIR("i8", "input", "8") PAIR("h20", "holding", "20")                       \
            PAIR("h22", "holding", "22") COIL("c0", "0") COIL("c1", "1") COIL("c2", "2") COIL("c5", "5")     \
                COIL("c8", "8") "{ name = \"c9\"; table = \"coil\"; address = 9; type = \"bool\"; } );"
#define DEVICES                                                                                              \
    "devices = ( { name = \"m1\"; unit = 1; }, { name = \"m2\"; unit = 2; }, { name = \"m3\"; unit = 3; } "  \
    ");"

struct site {
    struct bench *bench;
    struct meter meter;
};

static uint64_t seed(void)
{
    const char *given = getenv("FG_TEST_SEED");
    uint64_t value = given ? strtoull(given, NULL, 10) : 20261123;
    print_message("FG_TEST_SEED=%llu\n", (unsigned long long)value);
    return value;
}

enum way { RTU_ON_A_PTY, RTU_OVER_TCP, MODBUS_TCP, WAYS };

static unsigned timeout_ms(void)
{
    return wait_is_slowed() ? 4 * TIMEOUT_MS : TIMEOUT_MS;
}

/* The meters and the port that asks them, which is not opened yet. */
static struct site *site_new(void **state, enum way way, const char *settings)
{
    static const char *const protocols[] = { "modbus-rtu", "modbus-rtu", "modbus-tcp" };
    struct site *site = calloc(1, sizeof *site);
    struct rig *rig = *state;
    char transport[160];
    site->meter.listener = -1;
    if (way == RTU_ON_A_PTY) {
        char path[96];
        snprintf(path, sizeof path, "%s/tty", rig->folder);
        unlink(path);
        site->meter.fd = rig_pty(path);
        snprintf(transport, sizeof transport, "type = \"serial\"; path = \"%s\"; baud = 115200;", path);
    } else {
        uint16_t port = rig_free_port(SOCK_STREAM);
        site->meter.listener = rig_listen(port);
        snprintf(transport, sizeof transport, "type = \"tcp-client\"; address = \"127.0.0.1:%u\";", port);
    }
    site->bench = bench_new(state,
                            "transport: { %s };\nprotocol: { type = \"%s\"; };\n"
                            "timeout = \"%ums\";\n%s\n",
                            transport, protocols[way], timeout_ms(), settings);
    site->meter.mode = way == MODBUS_TCP ? FG_MODBUS_TCP : FG_MODBUS_RTU;
    site->meter.timeout_ns = timeout_ms() * FG_NS_PER_MS;
    site->meter.random = seed() + way;
    return site;
}

static void site_open(struct site *site)
{
    bench_open(site->bench);
    if (site->meter.listener >= 0) {
        site->meter.fd = accept(site->meter.listener, NULL, NULL);
        assert_true(site->meter.fd >= 0);
    }
    meter_start(&site->meter);
}

static void site_free(struct site *site)
{
    bench_free(site->bench);
    meter_stop(&site->meter);
    close(site->meter.fd);
    if (site->meter.listener >= 0) {
        close(site->meter.listener);
    }
    free(site);
}

/* ---- what was published ---- */

/* What is known of the readings so far. */
struct ledger {
    size_t readings;
    size_t values;
    size_t answers;                  /* different ones that brought values */
    uint32_t newest[UNITS + 1][256]; /* by unit and address: the number of the answer */
    size_t last[UNITS + 1];          /* readings of the unit */
};

static void check_value(struct ledger *ledger, unsigned unit, const char *name, const char *text)
{
    unsigned address = (unsigned)strtoul(name + 1, NULL, 10);
    ledger->values++;
    if (name[0] == 'c') {
        assert_string_equal(text, fg_test_discrete((uint16_t)address) ? "true" : "false");
        return;
    }
    uint32_t value = (uint32_t)strtoul(text, NULL, 10);
    uint32_t number = value & 0xFFFFF;
    if (value >> 28 != unit || (value >> 20 & 0xFF) != address) {
        fail_msg("m%u %s is %s: of unit %u, address %u", unit, name, text, value >> 28, value >> 20 & 0xFF);
    }
    if (number < ledger->newest[unit][address]) {
        fail_msg("m%u %s is of answer %u, after one of %u", unit, name, number,
                 ledger->newest[unit][address]);
    }
    bool first = address == 0 || address == 20;
    ledger->answers += first && number != ledger->newest[unit][address];
    ledger->newest[unit][address] = number;
}

/* A line of the bench: "m1: i0=… i2=…". */
static void check_reading(struct ledger *ledger, const char *line)
{
    char copy[600];
    snprintf(copy, sizeof copy, "%s", line);
    unsigned unit = (unsigned)(copy[1] - '0');
    char *at = strchr(copy, ':') + 1;
    ledger->readings++;
    ledger->last[unit]++;
    for (char *field = strtok(at, " "); field; field = strtok(NULL, " ")) {
        char *value = strchr(field, '=');
        *value = '\0';
        check_value(ledger, unit, field, value + 1);
    }
}

static struct ledger ledger;

static void check_all(struct bench *bench)
{
    memset(&ledger, 0, sizeof ledger);
    pthread_mutex_lock(&bench->mutex);
    assert_true(bench->count < BENCH_LINES);
    for (size_t i = 0; i < bench->count; i++) {
        if (bench->told[i].text[2] == ':') {
            check_reading(&ledger, bench->told[i].text);
        } else if (bench->told[i].text[2] == '!') {
            fail_msg("%s", bench->told[i].text);
        }
    }
    pthread_mutex_unlock(&bench->mutex);
}

static uint64_t all_rejected(struct bench *bench)
{
    struct fg_port_stats stats = bench_stats(bench);
    uint64_t sum = 0;
    for (int i = 0; i < FG_REASON_COUNT; i++) {
        sum += stats.rejected[i];
    }
    return sum;
}

static void print_rejected(struct bench *bench)
{
    struct fg_port_stats stats = bench_stats(bench);
    for (int i = 0; i < FG_REASON_COUNT; i++) {
        if (stats.rejected[i]) {
            print_message(" %s %llu", fg_reason_name((enum fg_reason)i),
                          (unsigned long long)stats.rejected[i]);
        }
    }
    print_message("\n");
}

/* ---- tests ---- */

/* Lets so many more requests be made. */
static void wait_requests(struct site *site, unsigned count)
{
    unsigned until = atomic_load(&site->meter.requests) + count;
    int64_t deadline = wait_deadline(60000);
    while ((int)(until - atomic_load(&site->meter.requests)) > 0) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
}

/* Each kind of fault for a while, and then all of them together. */
static void make_faults(struct site *site, unsigned each)
{
    const unsigned exceptions = 1U << METER_EXCEPTION_1 | 1U << METER_EXCEPTION_4 | 1U << METER_EXCEPTION_6;
    atomic_store(&site->meter.percent, 25);
    for (unsigned fault = METER_RIGHT + 1; fault < METER_FAULTS; fault++) {
        if (!(exceptions >> fault & 1)) {
            atomic_store(&site->meter.faults, 1U << fault);
            wait_requests(site, each);
            while (atomic_load(&site->meter.made[fault]) == 0) {
                wait_requests(site, 5);
            }
        }
    }
    atomic_store(&site->meter.faults, UINT32_MAX & ~exceptions);
    wait_requests(site, each * 4);
    atomic_store(&site->meter.faults, exceptions); /* what is refused is asked for no more: last */
    wait_requests(site, each * 2);
    for (unsigned fault = METER_EXCEPTION_1; fault <= METER_EXCEPTION_6; fault++) {
        while (atomic_load(&site->meter.made[fault]) == 0) {
            wait_requests(site, 5);
        }
    }
    atomic_store(&site->meter.percent, 0);
}

/* No value is another register's or older than the one before it; and an answer that is right is published,
 * or rejected for a reason that is told. */
static void no_fault_brings_a_wrong_value(void **state, enum way way)
{
    struct site *site = site_new(state, way, "poll_interval = \"10ms\"; retries = 5;" POINTS DEVICES);
    site_open(site);
    make_faults(site, wait_load(18) + 6);
    RIG_WAIT(site->bench, bench_count(site->bench, "m1:*") > 10 && bench_count(site->bench, "m2:*") > 10 &&
                              bench_count(site->bench, "m3:*") > 10);
    bench_close(site->bench);
    check_all(site->bench);
    unsigned good = atomic_load(&site->meter.good);
    print_message("%u requests, %u good answers with registers, %zu published, %zu values; rejected:",
                  atomic_load(&site->meter.requests), good, ledger.answers, ledger.values);
    print_rejected(site->bench);
    assert_true(ledger.answers * 4 > good * 3);
    assert_true(good <= ledger.answers + all_rejected(site->bench) + 1); /* one may be under way */
    site_free(site);
}

static void no_fault_on_a_serial_line_brings_a_wrong_value(void **state)
{
    no_fault_brings_a_wrong_value(state, RTU_ON_A_PTY);
}

static void no_fault_of_rtu_over_tcp_brings_a_wrong_value(void **state)
{
    no_fault_brings_a_wrong_value(state, RTU_OVER_TCP);
}

static void no_fault_of_modbus_tcp_brings_a_wrong_value(void **state)
{
    no_fault_brings_a_wrong_value(state, MODBUS_TCP);
}

static void a_dead_device_is_offline_and_the_others_go_on(void **state)
{
    struct site *site =
        site_new(state, RTU_ON_A_PTY, "poll_interval = \"20ms\"; retries = 1;" POINTS DEVICES);
    struct bench *bench = site->bench;
    site_open(site);
    WAIT_TOLD(bench, "m1+");
    WAIT_TOLD(bench, "m2+");
    WAIT_TOLD(bench, "m3+");
    WAIT_TOLD(bench, "m2: *");
    atomic_store(&site->meter.dead, 1U << 2);
    WAIT_TOLD_OFTEN(bench, "m2-", 2); /* the first is from before the start */
    size_t others = RIG_GET(bench, bench_count(bench, "m1:*"));
    size_t dead = RIG_GET(bench, bench_count(bench, "m2:*"));
    WAIT_TOLD_OFTEN(bench, "m1:*", others + 20);
    assert_int_equal(RIG_GET(bench, bench_count(bench, "m2:*")), dead);
    atomic_store(&site->meter.dead, 0);
    WAIT_TOLD_OFTEN(bench, "m2+", 2);
    WAIT_TOLD_OFTEN(bench, "m2:*", dead + 5);
    assert_int_equal(RIG_GET(bench, bench_count(bench, "m1+") + bench_count(bench, "m3+")), 2);
    check_all(bench);
    site_free(site);
}

static void what_a_device_refuses_does_not_take_the_rest_along(void **state)
{
    struct site *site = site_new(state, MODBUS_TCP, "poll_interval = \"20ms\"; " POINTS "unit = 1;");
    struct bench *bench = site->bench;
    atomic_store(&site->meter.illegal, 5);
    rig_log_begin();
    site_open(site);
    RIG_WAIT(bench, bench_count(bench, "p: *") > 20);
    bench_close(bench);
    assert_int_equal(rig_log_count("refused with exception 2 (illegal data address)"), 1);
    rig_log_end();
    const char *last = bench->told[bench->count - 1].text;
    for (size_t i = bench->count; i > 0 && strncmp(last, "p: ", 3) != 0; i--) {
        last = bench->told[i - 1].text;
    }
    static const char *const kept[] = { " i0=", " i2=", " i6=", " i8=", " h20=", " h22=", " c0=", " c9=" };
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        assert_non_null(strstr(last, kept[i]));
    }
    assert_null(strstr(last, " i4="));
    site_free(site);
}

static void readings_wait_for_room_and_none_is_lost(void **state)
{
    struct site *site = site_new(state, MODBUS_TCP, "poll_interval = \"10ms\"; " POINTS DEVICES);
    struct bench *bench = site->bench;
    bench->limited = true;
    bench->room = 5;
    site_open(site);
    RIG_WAIT(bench, bench->refusals > 3);
    unsigned asked = atomic_load(&site->meter.requests);
    RIG_WAIT(bench, bench->refusals > 6);
    assert_int_equal(atomic_load(&site->meter.requests), asked); /* the polls are stretched */
    bench_give_room(bench, 1000);
    WAIT_TOLD_OFTEN(bench, "m3:*", 10);
    check_all(bench); /* none is lost */
    assert_int_equal(RIG_GET(bench, bench_count(bench, "m1+")), 1);
    site_free(site);
}

static void a_reading_that_waits_when_the_port_closes_is_told_as_lost(void **state)
{
    struct site *site = site_new(state, MODBUS_TCP, "poll_interval = \"10ms\"; " POINTS DEVICES);
    struct bench *bench = site->bench;
    bench->limited = true;
    site_open(site);
    RIG_WAIT(bench, bench->refusals > 1);
    bench_close(bench);
    /* One that waited; the others may have been in the middle of their rounds. */
    assert_in_range(bench_count(bench, "m1! queue-full") + bench_count(bench, "m2! queue-full") +
                        bench_count(bench, "m3! queue-full"),
                    1, 3);
    site_free(site);
}

static void devices_go_and_come_with_their_link(void **state)
{
    struct site *site = site_new(state, MODBUS_TCP, "poll_interval = \"10ms\"; " POINTS DEVICES);
    struct bench *bench = site->bench;
    site_open(site);
    for (unsigned n = 1; n <= 3; n++) {
        WAIT_TOLD_OFTEN(bench, "m1+", n);
        WAIT_TOLD_OFTEN(bench, "m3+", n);
        size_t readings = RIG_GET(bench, bench_count(bench, "m2:*"));
        WAIT_TOLD_OFTEN(bench, "m2:*", readings + 3);
        shutdown(site->meter.fd, SHUT_RDWR);
        WAIT_TOLD_OFTEN(bench, "m1-", n + 1);
        WAIT_TOLD_OFTEN(bench, "m3-", n + 1);
    }
    WAIT_TOLD_OFTEN(bench, "m1+", 4);
    check_all(bench);
    site_free(site);
}

static void one_connection_is_polled_at_a_time(void **state)
{
    struct meter meter = { .mode = FG_MODBUS_RTU, .listener = -1, .random = 1 };
    uint16_t port = rig_free_port(SOCK_STREAM);
    struct bench *bench = bench_new(
        state,
        "transport: { type = \"tcp-server\"; tcp_port = %u; };\nprotocol: { type = \"modbus-rtu\"; };\n"
        "poll_interval = \"20ms\"; " POINTS "unit = 1;\n",
        port);
    bench_open(bench);
    meter.fd = rig_connect(port);
    meter_start(&meter);
    WAIT_TOLD(bench, "p+");
    int second = rig_connect(port);
    char byte;
    assert_int_equal(read(second, &byte, 1), 0); /* closed, and nothing was asked */
    close(second);
    size_t readings = RIG_GET(bench, bench_count(bench, "p:*"));
    WAIT_TOLD_OFTEN(bench, "p:*", readings + 3);
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_MAX_CONNECTIONS], 1);
    bench_free(bench);
    meter_stop(&meter);
    close(meter.fd);
}

struct polled {
    unsigned long long polls, timeouts, exceptions, missed;
};

static void look(struct fg_origin *origin, void *context)
{
    struct polled *polled = context;
    if (strcmp(origin->device, "m2") == 0) {
        assert_true(origin->polled);
        *polled = (struct polled){ fg_counted(&origin->polls), fg_counted(&origin->timeouts),
                                   fg_counted(&origin->exceptions), fg_counted(&origin->missed) };
    }
}

static void polls_timeouts_and_missed_periods_are_counted(void **state)
{
    struct site *site =
        site_new(state, RTU_ON_A_PTY, "poll_interval = \"10ms\"; retries = 1;" POINTS DEVICES);
    struct bench *bench = site->bench;
    struct polled polled;
    atomic_store(&site->meter.dead, 1U << 2);
    site_open(site);
    WAIT_TOLD_OFTEN(bench, "m1:*", 5);
    atomic_store(&site->meter.dead, 0);
    WAIT_TOLD(bench, "m2: *");
    int64_t deadline = wait_deadline(10000);
    do {
        assert_false(wait_over(deadline));
        wait_nap();
        fg_port_each_device(bench->port, look, &polled);
    } while (polled.missed < 10); /* while it was not asked */
    assert_true(polled.polls > polled.timeouts);
    assert_true(polled.timeouts > 0);
    assert_int_equal(polled.exceptions, 0);
    site_free(site);
}

#define RIG_TEST(behaviour) cmocka_unit_test_setup_teardown(behaviour, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(no_fault_on_a_serial_line_brings_a_wrong_value),
        RIG_TEST(no_fault_of_rtu_over_tcp_brings_a_wrong_value),
        RIG_TEST(no_fault_of_modbus_tcp_brings_a_wrong_value),
        RIG_TEST(a_dead_device_is_offline_and_the_others_go_on),
        RIG_TEST(what_a_device_refuses_does_not_take_the_rest_along),
        RIG_TEST(readings_wait_for_room_and_none_is_lost),
        RIG_TEST(a_reading_that_waits_when_the_port_closes_is_told_as_lost),
        RIG_TEST(devices_go_and_come_with_their_link),
        RIG_TEST(one_connection_is_polled_at_a_time),
        RIG_TEST(polls_timeouts_and_missed_periods_are_counted),
    };
    return RIG_RUN(tests);
}
