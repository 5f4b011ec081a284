/* Hostile and broken peers: never a crash, growth, or a message that is not valid; others do not notice. */
#include "support/client.h"
#include "support/e2e.h"
#include "support/wait.h"

#include "fieldgate/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAW_TCP(name)  E2E_TCP(name) E2E_RAW "}, "
#define JSON_TCP(name) E2E_TCP(name) E2E_JSON "}, "
#define CSV_TCP(name)  E2E_TCP(name) E2E_CSV "identity = \"key:id\"; }, "

static void endless_line_is_one_oversized_frame(struct e2e *e2e)
{
    static char block[65536];
    unsigned port = client_free_port();
    unsigned blocks = wait_load(100 * 16);
    unsigned before;
    unsigned after;
    unsigned pss;
    e2e_start(e2e, RAW_TCP("in"), port);
    memset(block, 'x', sizeof block);
    int fd = client_tcp(port);
    client_print(fd, "before\n");
    e2e_expect(e2e, "in/state", "before");
    daemon_memory(&e2e->daemon, &before, &pss);
    for (unsigned i = 0; i < blocks; i++) {
        client_send(fd, block, sizeof block);
    }
    client_print(fd, "\nafter\n");
    e2e_expect(e2e, "in/state", "after");
    daemon_memory(&e2e->daemon, &after, &pss);
    /* The models' shared buffers come into use; a sanitizer has several bytes of its own for each of them. */
    assert_in_range(after, 0, before + (wait_is_slowed() ? 12288 : 2048));
    e2e_wait_counter(e2e, "ports.in.rejected.oversized", 1);
    e2e_wait_counter(e2e, "rejected.oversized", 1);
    close(fd);
}

static void one_byte_at_a_time_makes_the_same_frames(struct e2e *e2e)
{
    static const char text[] = "{\"v\":1}\r\n{\"v\":22}\r\n{\"v\":\"\xc3\xbc\"}\r\n";
    unsigned port = client_free_port();
    e2e_start(e2e, JSON_TCP("in"), port);
    int fd = client_tcp(port);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        client_send(fd, text + i, 1);
    }
    e2e_expect_json(e2e, "in/state", "{\"v\":1}");
    e2e_expect_json(e2e, "in/state", "{\"v\":22}");
    e2e_expect_json(e2e, "in/state", "{\"v\":\"\xc3\xbc\"}");
    close(fd);
}

static void reset_inside_a_frame_is_counted_and_others_go_on(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e, RAW_TCP("in"), port);
    int other = client_tcp(port);
    client_print(other, "half of");
    for (unsigned i = 0; i < 20; i++) {
        int fd = client_tcp(port);
        client_print(fd, "whole\nhalf");
        e2e_expect(e2e, "in/state", "whole"); /* it has been read, so the reset does not eat it */
        client_reset(fd);
    }
    client_print(other, " mine\n");
    e2e_expect(e2e, "in/state", "half of mine");
    e2e_wait_counter(e2e, "ports.in.rejected.incomplete", 20);
    close(other);
}

static void every_rejection_is_counted_by_port_and_reason(struct e2e *e2e)
{
    unsigned json = client_free_port();
    unsigned csv = client_free_port();
    unsigned nmea = client_free_port();
    unsigned length = client_free_port();
    e2e_start(
        e2e,
        JSON_TCP("json") CSV_TCP("csv") E2E_TCP("nmea") "decoder: { type = \"nmea0183\"; }; }, " E2E_PORT(
            "length", "tcp-server", "tcp_port = %u;") "framing: { type = \"length\"; header_bytes = 4; "
                                                      "max_bytes = 1000; }; decoder: { type = \"raw\"; }; }",
        json, csv, nmea, length);
    int fd = client_tcp(json);
    client_print(fd, "{\"v\":1\n[1,2]\n{\"v\":\"\xff\"}\n{}\n{\"v\":1}\n");
    e2e_expect_json(e2e, "json/state", "{\"v\":1}");
    for (unsigned i = 0; i < 1000; i++) {
        client_print(fd, "{\"v\":");
    }
    client_print(fd, "\n{\"v\":2}\n");
    e2e_expect_json(e2e, "json/state", "{\"v\":2}");
    close(fd);
    json_t *stats;
    e2e_wait_counter(e2e, "ports.json.received", 7);
    stats = e2e_next_stats(e2e);
    uint64_t sum = 0;
    const char *reason;
    json_t *count;
    json_object_foreach(json_object_get(json_object_get(json_object_get(stats, "ports"), "json"), "rejected"),
                        reason, count)
    {
        sum += (uint64_t)json_integer_value(count);
    }
    assert_int_equal(sum, 5);
    assert_true(e2e_counter(stats, "ports.json.rejected.encoding") >= 1);
    json_decref(stats);

    fd = client_tcp(nmea);
    client_print(fd, "$GPGLL,1,2*00\nnoise\n");
    close(fd);
    e2e_wait_counter(e2e, "ports.nmea.rejected.checksum", 1);
    e2e_wait_counter(e2e, "ports.nmea.rejected.malformed", 1);

    fd = client_tcp(csv);
    client_print(fd, "a,1,2\n");
    close(fd);
    e2e_wait_counter(e2e, "ports.csv.rejected.malformed", 1);

    fd = client_tcp(length);
    client_send(fd, "\xff\xff\xff\xff", 4);
    close(fd);
    e2e_wait_counter(e2e, "ports.length.rejected.oversized", 1);
}

/* Whether a topic is one that MQTT allows to publish to, below the base. */
static bool topic_is_valid(const char *topic)
{
    return fg_utf8_valid(topic, strlen(topic)) && !strpbrk(topic, "+#") &&
           strncmp(topic, E2E_BASE "/", sizeof E2E_BASE) == 0;
}

static void names_from_devices_never_break_a_topic(struct e2e *e2e)
{
    static const char lines[] =
        "a/b+c#,1\n$SYS,2\n+/#,3\nn\0ul,4\n\x01\x1f,5\n\xff\xfe,6\n\xed\xa0\x80,7\n..,8\n   "
        ",9\n\xef\xbf\xbf,10\nlast,11\n";
    unsigned port = client_free_port();
    e2e_start(e2e, CSV_TCP("in"), port);
    int fd = client_tcp(port);
    client_send(fd, lines, sizeof lines - 1);
    e2e_expect_fields(e2e, "last/state", "{\"v\":11}");
    e2e_expect_fields(e2e, "a_b_c_/state", "{\"v\":1}");
    e2e_expect_fields(e2e, "___/state", "{\"v\":3}");
    for (size_t i = 0; i < e2e->subscriber.count; i++) {
        const struct subscriber_message *message = &e2e->subscriber.messages[i];
        assert_true(topic_is_valid(message->topic));
        if (message->payload[0] == '{') {
            json_t *object = json_loadb(message->payload, message->size, 0, NULL);
            assert_non_null(object);
            json_decref(object);
        }
    }
    close(fd);
}

/* A line of bytes that look like something, with some of them spoilt. */
static size_t spoil(unsigned *seed, char *out)
{
    static const char *const models[] = {
        "{\"id\":\"a\",\"v\":[1,2,{\"x\":null}],\"s\":\"\\ud800\"}", "id,12.5", "temp=21.5 hum=40",
        "$GPRMC,120000,A,4807.038,N,01131.0,E,22.4,84.4,230394,3.1,W*6A",
        "{\"v\":1e999999,\"w\":-0.0,\"x\":123456789012345678901234567890}"
    };
    size_t size = (size_t)sprintf(out, "%s", models[(unsigned)rand_r(seed) % 5]);
    unsigned changes = (unsigned)rand_r(seed) % 6;
    for (unsigned i = 0; i < changes; i++) {
        size_t at = (unsigned)rand_r(seed) % size;
        out[at] = (char)(rand_r(seed) & 0xff);
        if (out[at] == '\n' || out[at] == '\r') {
            out[at] = '?';
        }
    }
    out[size++] = '\n';
    return size;
}

static void spoilt_input_never_makes_an_invalid_message(struct e2e *e2e)
{
    static const char *const names[] = { "json", "csv", "pairs", "nmea" };
    unsigned ports[4];
    unsigned seed = 4711;
    unsigned count = wait_load(4000);
    for (size_t i = 0; i < 4; i++) {
        ports[i] = client_free_port();
    }
    e2e->stats_interval = "200ms";
    e2e_start(e2e,
              JSON_TCP("json") CSV_TCP("csv") E2E_TCP(
                  "pairs") "decoder: { type = \"keyvalue\"; }; topic = \"{base}/pairs/{key:temp}/state\"; "
                           "}, " E2E_TCP("nmea") "decoder: { type = \"nmea0183\"; }; }",
              ports[0], ports[1], ports[2], ports[3]);
    for (size_t i = 0; i < 4; i++) {
        int fd = client_tcp(ports[i]);
        for (unsigned j = 0; j < count; j++) {
            char line[256];
            client_send(fd, line, spoil(&seed, line));
        }
        close(fd);
        char path[64];
        snprintf(path, sizeof path, "ports.%s.received", names[i]);
        e2e_wait_counter(e2e, path, count);
    }
    for (size_t i = 0; i < e2e->subscriber.count; i++) {
        const struct subscriber_message *message = &e2e->subscriber.messages[i];
        assert_true(topic_is_valid(message->topic));
        const char *last = strrchr(message->topic, '/');
        if (strcmp(last, "/state") == 0) {
            json_error_t error;
            json_t *object = json_loadb(message->payload, message->size, JSON_DECODE_INT_AS_REAL, &error);
            if (!object) {
                fail_msg("%s: %s", error.text, message->payload);
            }
            json_decref(object);
        }
    }
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(endless_line_is_one_oversized_frame),
        E2E_TEST(one_byte_at_a_time_makes_the_same_frames),
        E2E_TEST(reset_inside_a_frame_is_counted_and_others_go_on),
        E2E_TEST(every_rejection_is_counted_by_port_and_reason),
        E2E_TEST(names_from_devices_never_break_a_topic),
        E2E_TEST(spoilt_input_never_makes_an_invalid_message),
    };
    return e2e_main("e2e_hostile", tests, sizeof tests / sizeof tests[0]);
}
