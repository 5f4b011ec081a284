/*
 * Meters with every kind of fault, on a pty and on sockets: what is published is right, and what is right is
 * published.
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

/* Each kind of fault for a while, and then all of them together. */
static void make_faults(struct site *site, unsigned each, unsigned without)
{
    const unsigned exceptions = 1U << METER_EXCEPTION_1 | 1U << METER_EXCEPTION_4 | 1U << METER_EXCEPTION_6;
    atomic_store(&site->meter.percent, 25);
    for (unsigned fault = METER_RIGHT + 1; fault < METER_FAULTS; fault++) {
        if (!((exceptions | without) >> fault & 1)) {
            atomic_store(&site->meter.faults, 1U << fault);
            wait_requests(site, each);
            while (atomic_load(&site->meter.made[fault]) == 0) {
                wait_requests(site, 5);
            }
        }
    }
    atomic_store(&site->meter.faults, UINT32_MAX & ~(exceptions | without));
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
static void no_fault_brings_a_wrong_value(void **state, enum way way, unsigned without)
{
    struct site *site = site_new(state, way, "poll_interval = \"10ms\"; retries = 5;" POINTS DEVICES);
    site_open(site);
    make_faults(site, wait_load(18) + 6, without);
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
    no_fault_brings_a_wrong_value(state, RTU_ON_A_PTY, 0);
}

static void no_fault_of_rtu_over_tcp_brings_a_wrong_value(void **state)
{
    no_fault_brings_a_wrong_value(state, RTU_OVER_TCP, 0);
}

static void no_fault_of_modbus_tcp_brings_a_wrong_value(void **state)
{
    no_fault_brings_a_wrong_value(state, MODBUS_TCP, 0);
}

/* Without a checksum nobody can tell two frames that are cut from a whole one when the one follows at once
 * upon the other: that is the price of pipelining. */
static void no_fault_of_pipelined_modbus_tcp_but_cut_frames_brings_a_wrong_value(void **state)
{
    no_fault_brings_a_wrong_value(state, MODBUS_TCP_PIPELINED, 1U << METER_CUT | 1U << METER_HALF);
}

#define RIG_TEST(behaviour) cmocka_unit_test_setup_teardown(behaviour, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(no_fault_on_a_serial_line_brings_a_wrong_value),
        RIG_TEST(no_fault_of_rtu_over_tcp_brings_a_wrong_value),
        RIG_TEST(no_fault_of_modbus_tcp_brings_a_wrong_value),
        RIG_TEST(no_fault_of_pipelined_modbus_tcp_but_cut_frames_brings_a_wrong_value),
    };
    return RIG_RUN(tests);
}
