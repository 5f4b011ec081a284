/*
 * Ports that ask their devices: who is online, what is read, what becomes of it when there is no room.
 */
#include "support/poll_site.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void a_dead_device_is_offline_and_the_others_go_on(void **state)
{
    struct site *site =
        site_new(state, RTU_ON_A_PTY, "poll_interval = \"20ms\"; retries = 5;" POINTS DEVICES);
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
    struct site *site = site_new(state, MODBUS_TCP, "poll_interval = \"10ms\"; retries = 5; " POINTS DEVICES);
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

static void a_connection_on_which_nothing_comes_is_made_anew(void **state)
{
    struct site *site = site_new(state, MODBUS_TCP, "poll_interval = \"10ms\"; " POINTS DEVICES);
    struct bench *bench = site->bench;
    atomic_store(&site->meter.dead, UINT32_MAX);
    site_open(site);
    int64_t deadline = wait_deadline(20000);
    while (atomic_load(&site->meter.connections) == 0) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
    atomic_store(&site->meter.dead, 0);
    WAIT_TOLD(bench, "m1+");
    WAIT_TOLD(bench, "m2+");
    WAIT_TOLD(bench, "m3+");
    check_all(bench);
    site_free(site);
}

/* A request that is given up is still under way at the device: none is here. */
static void requests_are_pipelined_where_the_device_takes_it(void **state)
{
    struct site *site = site_new(state, MODBUS_TCP_PIPELINED,
                                 "poll_interval = \"10ms\"; " POINTS
                                 "devices = ( { name = \"m1\"; unit = 1; timeout = \"20s\"; },"
                                 "{ name = \"m2\"; unit = 2; timeout = \"20s\"; },"
                                 "{ name = \"m3\"; unit = 3; timeout = \"20s\"; } );");
    site->meter.turnaround_ns = 5000000;
    site_open(site);
    WAIT_TOLD_OFTEN(site->bench, "m3:*", 20);
    check_all(site->bench);
    assert_true(atomic_load(&site->meter.most) > 1);
    assert_true(atomic_load(&site->meter.most) <= 4);
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
        RIG_TEST(a_dead_device_is_offline_and_the_others_go_on),
        RIG_TEST(what_a_device_refuses_does_not_take_the_rest_along),
        RIG_TEST(readings_wait_for_room_and_none_is_lost),
        RIG_TEST(a_reading_that_waits_when_the_port_closes_is_told_as_lost),
        RIG_TEST(devices_go_and_come_with_their_link),
        RIG_TEST(a_connection_on_which_nothing_comes_is_made_anew),
        RIG_TEST(requests_are_pipelined_where_the_device_takes_it),
        RIG_TEST(one_connection_is_polled_at_a_time),
        RIG_TEST(polls_timeouts_and_missed_periods_are_counted),
    };
    return RIG_RUN(tests);
}
