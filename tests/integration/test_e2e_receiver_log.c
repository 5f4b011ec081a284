/*
 * Logs of a receiver replayed over a serial line: every sentence with a right checksum is published exactly
 * once and in order, none with a wrong one, however the bytes come.
 */
#include "support/e2e.h"
#include "support/nmea_log.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define LINES 3000

static unsigned seed(void)
{
    const char *given = getenv("FG_TEST_SEED");
    unsigned value = given ? (unsigned)strtoul(given, NULL, 10) : 20240323;
    print_message("FG_TEST_SEED=%u\n", value);
    return value;
}

static struct pty *start_gps(struct e2e *e2e)
{
    struct pty *pty = e2e_plug_pty(e2e, "gps");
    e2e_start(e2e, E2E_SERIAL("gps") E2E_NMEA "payload = \"raw\"; }", pty->link);
    e2e_wait_open(e2e, "gps", 1);
    return pty;
}

static void expect_all(struct e2e *e2e, const struct nmea_log *log)
{
    for (size_t i = 0; i < log->good_count; i++) {
        e2e_expect(e2e, "gps/state", log->good[i]);
    }
    e2e_wait_counter(e2e, "devices.gps.received", log->good_count);
    e2e_expect_no_more(e2e, "gps/state");
}

static void log_in_one_write_arrives_once_and_in_order(struct e2e *e2e)
{
    struct nmea_log log;
    nmea_log_make(&log, seed(), wait_load(LINES));
    const struct pty *pty = start_gps(e2e);
    pty_write(pty, log.text, log.size);
    expect_all(e2e, &log);
    e2e_wait_counter(e2e, "ports.gps.received", log.good_count + log.wrong_checksums + log.garbage);
    json_t *stats = e2e_next_stats(e2e);
    assert_in_range(e2e_counter(stats, "ports.gps.rejected.checksum"), log.wrong_checksums,
                    log.wrong_checksums + log.garbage); /* a sentence cut short has no checksum */
    json_decref(stats);
    nmea_log_free(&log);
}

static void log_byte_by_byte_arrives_once_and_in_order(struct e2e *e2e)
{
    struct nmea_log log;
    nmea_log_make(&log, seed() + 1, wait_load(LINES / 3));
    const struct pty *pty = start_gps(e2e);
    for (size_t i = 0; i < log.size; i++) {
        pty_write(pty, log.text + i, 1);
    }
    expect_all(e2e, &log);
    nmea_log_free(&log);
}

/* Where the line of good sentence number count, from 1, ends. */
static size_t behind_sentence(const struct nmea_log *log, size_t count)
{
    const char *at = log->text;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(log->good[i]);
        at =
            (const char *)memmem(at, log->size - (size_t)(at - log->text), log->good[i], length) + length + 2;
    }
    return (size_t)(at - log->text);
}

static void log_with_the_line_torn_away_arrives_once_and_in_order(struct e2e *e2e)
{
    struct nmea_log log;
    nmea_log_make(&log, seed() + 2, wait_load(LINES / 3) + 50);
    struct pty *pty = start_gps(e2e);
    size_t from = 0;
    for (unsigned part = 1; part < 5; part++) {
        size_t count = part * log.good_count / 5;
        size_t to = behind_sentence(&log, count);
        pty_write(pty, log.text + from, to - from);
        from = to;
        /* What was not read when it is torn away is lost: all must have been counted. Then half a sentence.
         */
        e2e_wait_counter(e2e, "devices.gps.received", count);
        pty_write(pty, "$GPGGA,1200", 11);
        pty_unplug(pty);
        e2e_wait_status(e2e, "gps/status", "offline");
        pty_plug(pty);
        e2e_wait_open(e2e, "gps", part + 1);
    }
    pty_write(pty, log.text + from, log.size - from);
    expect_all(e2e, &log);
    nmea_log_free(&log);
}

static void positions_are_signed_decimal_degrees(struct e2e *e2e)
{
    struct pty *pty = e2e_plug_pty(e2e, "gps");
    static const char sentence[] = "$GNGLL,4916.4500,S,12311.1200,W,225444,A*32\r\n";
    e2e_start(e2e, E2E_SERIAL("gps") E2E_NMEA "topic = \"{base}/nmea/{key:sentence}\"; }", pty->link);
    e2e_wait_open(e2e, "gps", 1);
    pty_write(pty, sentence, sizeof sentence - 1);
    const struct subscriber_message *message = e2e_next(e2e, "nmea/GLL");
    json_t *object = json_loads(message->payload, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(object, "talker")), "GN");
    assert_string_equal(json_string_value(json_object_get(object, "sentence")), "GLL");
    assert_float_equal((float)json_real_value(json_object_get(object, "latitude")), -49.274167F, 0.00001F);
    assert_float_equal((float)json_real_value(json_object_get(object, "longitude")), -123.185333F, 0.00001F);
    json_decref(object);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(log_in_one_write_arrives_once_and_in_order),
        E2E_TEST(log_byte_by_byte_arrives_once_and_in_order),
        E2E_TEST(log_with_the_line_torn_away_arrives_once_and_in_order),
        E2E_TEST(positions_are_signed_decimal_degrees),
    };
    return e2e_main("e2e_receiver_log", tests, sizeof tests / sizeof tests[0]);
}
