#include "support/poll_site.h"

#include "fieldgate/clock.h"

#include "support/modbus.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 20

static uint64_t seed(void)
{
    const char *given = getenv("FG_TEST_SEED");
    uint64_t value = given ? strtoull(given, NULL, 10) : 20261123;
    print_message("FG_TEST_SEED=%llu\n", (unsigned long long)value);
    return value;
}

static unsigned timeout_ms(void)
{
    return wait_is_slowed() ? 4 * TIMEOUT_MS : TIMEOUT_MS;
}

struct site *site_new(void **state, enum way way, const char *settings)
{
    static const char *const protocols[] = { "type = \"modbus-rtu\";", "type = \"modbus-rtu\";",
                                             "type = \"modbus-tcp\";",
                                             "type = \"modbus-tcp\"; pipeline = 4;" };
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
                            "transport: { %s };\nprotocol: { %s };\n"
                            "timeout = \"%ums\";\n%s\n",
                            transport, protocols[way], timeout_ms(), settings);
    site->meter.mode = way >= MODBUS_TCP ? FG_MODBUS_TCP : FG_MODBUS_RTU;
    site->meter.timeout_ns = timeout_ms() * FG_NS_PER_MS;
    site->meter.random = seed() + way;
    return site;
}

void site_open(struct site *site)
{
    bench_open(site->bench);
    if (site->meter.listener >= 0) {
        site->meter.fd = accept(site->meter.listener, NULL, NULL);
        assert_true(site->meter.fd >= 0);
    }
    meter_start(&site->meter);
}

void site_free(struct site *site)
{
    bench_free(site->bench);
    meter_stop(&site->meter);
    close(site->meter.fd);
    if (site->meter.listener >= 0) {
        close(site->meter.listener);
    }
    free(site);
}

void wait_requests(struct site *site, unsigned count)
{
    unsigned until = atomic_load(&site->meter.requests) + count;
    int64_t deadline = wait_deadline(60000);
    while ((int)(until - atomic_load(&site->meter.requests)) > 0) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
}

/* ---- what was published ---- */

struct ledger ledger;

static void check_value(unsigned unit, const char *name, const char *text)
{
    unsigned address = (unsigned)strtoul(name + 1, NULL, 10);
    ledger.values++;
    if (name[0] == 'c') {
        assert_string_equal(text, fg_test_discrete((uint16_t)address) ? "true" : "false");
        return;
    }
    uint32_t value = (uint32_t)strtoul(text, NULL, 10);
    uint32_t number = value & 0xFFFFF;
    if (value >> 28 != unit || (value >> 20 & 0xFF) != address) {
        fail_msg("m%u %s is %s: of unit %u, address %u", unit, name, text, value >> 28, value >> 20 & 0xFF);
    }
    if (number < ledger.newest[unit][address]) {
        fail_msg("m%u %s is of answer %u, after one of %u", unit, name, number, ledger.newest[unit][address]);
    }
    bool first = address == 0 || address == 20;
    ledger.answers += first && number != ledger.newest[unit][address];
    ledger.newest[unit][address] = number;
}

/* A line of the bench: "m1: i0=… i2=…". */
static void check_reading(const char *line)
{
    char copy[600];
    snprintf(copy, sizeof copy, "%s", line);
    unsigned unit = (unsigned)(copy[1] - '0');
    char *at = strchr(copy, ':') + 1;
    ledger.readings++;
    ledger.last[unit]++;
    for (char *field = strtok(at, " "); field; field = strtok(NULL, " ")) {
        char *value = strchr(field, '=');
        *value = '\0';
        check_value(unit, field, value + 1);
    }
}

void check_all(struct bench *bench)
{
    memset(&ledger, 0, sizeof ledger);
    pthread_mutex_lock(&bench->mutex);
    assert_true(bench->count < BENCH_LINES);
    for (size_t i = 0; i < bench->count; i++) {
        if (bench->told[i].text[2] == ':') {
            check_reading(bench->told[i].text);
        } else if (bench->told[i].text[2] == '!') {
            fail_msg("%s", bench->told[i].text);
        }
    }
    pthread_mutex_unlock(&bench->mutex);
}

uint64_t all_rejected(struct bench *bench)
{
    struct fg_port_stats stats = bench_stats(bench);
    uint64_t sum = 0;
    for (int i = 0; i < FG_REASON_COUNT; i++) {
        sum += stats.rejected[i];
    }
    return sum;
}

void print_rejected(struct bench *bench)
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
