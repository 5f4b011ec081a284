#include "mqtt/publisher_direct.h"
#include "mqtt/publisher_session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
    struct fg_direct direct;
    int near, far;
};

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    int pair[2];
    if (!bench || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) {
        free(bench);
        return -1;
    }
    bench->near = pair[0];
    bench->far = pair[1];
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    fg_direct_fini(&bench->direct);
    close(bench->near);
    close(bench->far);
    free(bench);
    return 0;
}

static bool put(struct bench *bench, const char *topic, const void *payload, size_t size, bool v5)
{
    const struct fg_publication publication = {
        .topic = topic, .topic_length = strlen(topic), .payload = payload, .payload_size = size
    };
    return fg_direct_put(&bench->direct, &publication, v5);
}

static void assert_sent(struct bench *bench, size_t packets, const void *bytes, size_t size)
{
    unsigned char got[64];
    size_t count = 0;
    assert_int_equal(fg_direct_write(&bench->direct, bench->near, &count), 0);
    assert_int_equal(count, packets);
    assert_true(fg_direct_is_empty(&bench->direct));
    assert_int_equal(recv(bench->far, got, sizeof got, 0), size);
    assert_memory_equal(got, bytes, size);
}

static void packets_are_as_mqtt_311_has_them(void **state)
{
    struct bench *bench = *state;
    assert_true(put(bench, "a/b", "23.5", 4, false));
    assert_true(put(bench, "c", NULL, 0, false));
    assert_sent(bench, 2,
                "\x30\x09\x00\x03"
                "a/b23.5\x30\x03\x00\x01"
                "c",
                16);
}

static void packets_are_as_mqtt_5_has_them(void **state)
{
    struct bench *bench = *state;
    assert_true(put(bench, "a/b", "23.5", 4, true));
    assert_sent(bench, 1,
                "\x30\x0a\x00\x03"
                "a/b\x00"
                "23.5",
                12);
}

/* Of a packet of each length of its length: the first bytes, and that it counts as one when it is out. */
static void longer_packets_have_longer_lengths(void **state)
{
    static const struct {
        size_t payload;
        unsigned char begin[4];
    } cases[] = {
        { 124, { 0x30, 0x7f, 0x00, 0x01 } },
        { 125, { 0x30, 0x80, 0x01, 0x00 } },
        { 16380, { 0x30, 0xff, 0x7f, 0x00 } },
    };
    struct bench *bench = *state;
    char *payload = calloc(1, 16384);
    char *got = malloc(32768);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t packets = 0;
        size_t size = (size_t)(cases[i].payload < 125 ? 5 : 6) + cases[i].payload;
        bool fits = put(bench, "t", payload, cases[i].payload, false);
        assert_int_equal(fits, size <= 16384);
        if (fits) {
            assert_int_equal(fg_direct_write(&bench->direct, bench->near, &packets), 0);
            assert_int_equal(packets, 1);
            assert_int_equal(recv(bench->far, got, 32768, 0), size);
            assert_memory_equal(got, cases[i].begin, 4);
        }
    }
    free(got);
    free(payload);
}

static void what_has_no_room_is_not_taken(void **state)
{
    struct bench *bench = *state;
    char payload[1000] = { 0 };
    size_t taken = 0;
    while (put(bench, "t", payload, sizeof payload, false)) {
        taken++;
        assert_in_range(taken, 1, 100);
    }
    size_t packets = 0;
    assert_int_equal(fg_direct_write(&bench->direct, bench->near, &packets), 0);
    assert_int_equal(packets, taken);
    assert_true(put(bench, "t", payload, sizeof payload, false));
}

/* A stream of packets through a socket that takes little: each is counted once, when its last byte is out. */
static void a_packet_counts_when_its_last_byte_is_written(void **state)
{
    enum { PACKETS = 3000, SIZE = 996 };
    struct bench *bench = *state;
    char payload[SIZE - 7];
    char got[4096];
    size_t put_in = 0, written = 0, received = 0;
    int refusals = 0;
    setsockopt(bench->near, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
    memset(payload, 'x', sizeof payload);
    while (received < (size_t)PACKETS * SIZE) {
        while (put_in < PACKETS && put(bench, "to", payload, sizeof payload, false)) {
            put_in++;
        }
        size_t packets = 0;
        int error = fg_direct_write(&bench->direct, bench->near, &packets);
        assert_true(error == 0 || error == -EAGAIN);
        refusals += error != 0;
        written += packets;
        assert_in_range(put_in - written, 0, 17);
        ssize_t size = recv(bench->far, got, 1 + received % sizeof got, 0);
        received += size > 0 ? (size_t)size : 0;
        assert_true(written * SIZE + SIZE > received); /* what was received whole had been counted */
    }
    assert_int_equal(written, PACKETS);
    assert_true(refusals > 0);
    assert_true(fg_direct_is_empty(&bench->direct));
}

static void a_broken_connection_is_told(void **state)
{
    struct bench *bench = *state;
    size_t packets = 0;
    assert_true(put(bench, "t", "x", 1, false));
    shutdown(bench->far, SHUT_RDWR);
    assert_int_equal(fg_direct_write(&bench->direct, bench->near, &packets), -EPIPE);
    assert_int_equal(packets, 0);
    fg_direct_clear(&bench->direct);
    assert_true(fg_direct_is_empty(&bench->direct));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(packets_are_as_mqtt_311_has_them),
        CASE(packets_are_as_mqtt_5_has_them),
        CASE(longer_packets_have_longer_lengths),
        CASE(what_has_no_room_is_not_taken),
        CASE(a_packet_counts_when_its_last_byte_is_written),
        CASE(a_broken_connection_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
