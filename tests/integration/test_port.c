/*
 * Ports with real sockets and ptys on a real loop, and a sink that writes down what it is told and whose room
 * can be taken away.
 */
#include "support/port_bench.h"

#include "fieldgate/buffer.h"
#include "fieldgate/clock.h"
#include "fieldgate/port.h"
#include "fieldgate/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define TCP  "transport: { type = \"tcp-server\"; tcp_port = %d; };\n"
#define UDP  "transport: { type = \"udp\"; udp_port = %d; };\n"
#define LINE "framing: { type = \"line\"; };\n"
#define PAIR "decoder: { type = \"keyvalue\"; };\n"

/* A port on TCP or UDP with that much room (-1: no limit); rest as in a configuration. */
static struct bench *bench_on(void **state, int type, const char *rest, int room)
{
    uint16_t number = rig_free_port(type);
    struct bench *bench = type == SOCK_STREAM ? bench_new(state, TCP "%s", number, rest)
                                              : bench_new(state, UDP "%s", number, rest);
    bench->number = number;
    bench->limited = room >= 0;
    bench->room = room > 0 ? (size_t)room : 0;
    bench_open(bench);
    return bench;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

struct sought {
    const char *device;
    uint64_t received, suppressed, rejected[FG_REASON_COUNT];
    bool found;
};

static void look(struct fg_origin *origin, void *context)
{
    struct sought *sought = context;
    if (strcmp(origin->device, sought->device) == 0) {
        sought->found = true;
        sought->received = fg_counted(&origin->received);
        sought->suppressed = fg_counted(&origin->suppressed);
        for (int i = 0; i < FG_REASON_COUNT; i++) {
            sought->rejected[i] = fg_counted(&origin->rejected[i]);
        }
    }
}

static struct sought counters_of(struct bench *bench, const char *device)
{
    struct sought sought = { .device = device };
    fg_port_each_device(bench->port, look, &sought);
    assert_true(sought.found);
    return sought;
}

/* Waits until a counter of the port is count. */
static void wait_counter(struct bench *bench, size_t offset, uint64_t count)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    struct timespec end = rig_deadline();
    struct timespec now = { 0 };
    struct fg_port_stats stats = bench_stats(bench);
    uint64_t found = 0;
    while (memcpy(&found, (char *)&stats + offset, sizeof found), found != count) {
        nanosleep(&pause, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > end.tv_sec) {
            fail_msg("counted %llu of %llu", (unsigned long long)found, (unsigned long long)count);
        }
        stats = bench_stats(bench);
    }
}

static void wait_received(struct bench *bench, uint64_t count)
{
    wait_counter(bench, offsetof(struct fg_port_stats, received), count);
}

static void wait_links(struct bench *bench, uint64_t count)
{
    wait_counter(bench, offsetof(struct fg_port_stats, links), count);
}

/* A socket whose first datagram finds the port open. */
static int udp_socket(struct bench *bench)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(bench->number),
                              .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    wait_links(bench, 1);
    return fd;
}

/* ---- room that comes and goes */

static void a_refused_frame_is_held_and_offered_again_in_order(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR, 2);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\na=2\na=3\na=4\na=5\n");
    RIG_WAIT(bench, bench->refusals > 0);
    assert_string_equal(bench_story(bench, 0), "p-\np+\np: a=1\np: a=2");
    wait_received(bench, 2);
    assert_int_equal(counters_of(bench, "p").received, 2);
    bench_give_room(bench, 1);
    WAIT_TOLD(bench, "p: a=3");
    bench_give_room(bench, 10);
    WAIT_TOLD(bench, "p: a=5");
    assert_string_equal(bench_story(bench, 2), "p: a=1\np: a=2\np: a=3\np: a=4\np: a=5");
    wait_received(bench, 5);
    close(fd);
    bench_free(bench);
}

#define WRITERS 3
#define LINES   3000

static void write_cut(int fd, char *text, size_t size, uint64_t *random)
{
    while (size > 0) {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        size_t part = (size_t)(*random % 700) + 1;
        part = part < size ? part : size;
        assert_int_equal(write(fd, text, part), (ssize_t)part);
        text += part;
        size -= part;
    }
}

static void nothing_is_lost_nor_twice_nor_out_of_order_for_any_room(void **state)
{
    uint64_t seed = (uint64_t)fg_clock_now_ns() | 1;
    const char *fixed = getenv("FG_TEST_SEED");
    seed = fixed ? strtoull(fixed, NULL, 10) : seed;
    print_message("seed %llu\n", (unsigned long long)seed);
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct bench *bench = bench_new(state, TCP LINE PAIR "identity = \"key:id\";", number);
    bench->random = seed;
    bench_open(bench);
    static char text[LINES * 32];
    int fds[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        size_t size = 0;
        for (int line = 0; line < LINES; line++) {
            size += (size_t)snprintf(text + size, sizeof text - size, "id=w%d n=%d\n", i, line);
        }
        fds[i] = rig_connect(number);
        write_cut(fds[i], text, size, &seed);
        close(fds[i]);
    }
    size_t refusals = 0;
    for (size_t i = 0; i < WRITERS; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%zu:*", i);
        while (RIG_GET(bench, bench_count(bench, name)) < LINES) {
            RIG_WAIT(bench, bench->refusals > refusals || bench_count(bench, name) >= LINES);
            refusals = RIG_GET(bench, bench->refusals);
            fg_port_resume(bench->port);
        }
        snprintf(name, sizeof name, "w%zu-", i);
        WAIT_TOLD(bench, name);
    }
    int next[WRITERS] = { 0 };
    for (size_t i = 0; i < bench->count; i++) {
        int writer = 0;
        int line = 0;
        if (sscanf(bench->told[i].text, "w%d: id=\"w%*d\" n=%d", &writer, &line) == 2) {
            assert_int_equal(line, next[writer]++);
        }
        assert_null(strchr(bench->told[i].text, '!'));
    }
    wait_received(bench, WRITERS * LINES);
    bench_free(bench);
}

static void what_cannot_wait_is_lost_and_counted_when_there_is_no_room(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, PAIR, 2);
    int fd = udp_socket(bench);
    for (int i = 1; i <= 5; i++) {
        char text[16];
        snprintf(text, sizeof text, "a=%d", i);
        say(fd, text);
        wait_received(bench, (uint64_t)i);
    }
    bench_give_room(bench, 10);
    say(fd, "a=6");
    WAIT_TOLD(bench, "p: a=6");
    assert_string_equal(bench_story(bench, 2),
                        "p: a=1\np: a=2\np! queue-full\np! queue-full\np! queue-full\np: a=6");
    wait_received(bench, 6);
    assert_int_equal(counters_of(bench, "p").received, 6);
    close(fd);
    bench_free(bench);
}

static void a_serial_line_does_not_wait_for_room(void **state)
{
    struct rig *rig = *state;
    char path[96];
    snprintf(path, sizeof path, "%s/tty", rig->folder);
    int master = rig_pty(path);
    struct bench *bench =
        bench_new(state, "transport: { type = \"serial\"; path = \"%s\"; };\n" LINE PAIR, path);
    bench->limited = true;
    bench->room = 1;
    bench_open(bench);
    say(master, "a=1\na=2\na=3\n");
    WAIT_TOLD_OFTEN(bench, "p! queue-full", 2);
    bench_give_room(bench, 1);
    say(master, "a=4\n");
    WAIT_TOLD(bench, "p: a=4");
    assert_string_equal(bench_story(bench, 2), "p: a=1\np! queue-full\np! queue-full\np: a=4");
    close(master);
    WAIT_TOLD_OFTEN(bench, "p-", 2);
    bench_free(bench);
}

static void a_peer_that_closes_while_paused_loses_nothing(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR, 0);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\na=2\na=3\n");
    RIG_WAIT(bench, bench->refusals > 0);
    say(fd, "a=4\na=5\n");
    close(fd);
    bench_give_room(bench, 10);
    WAIT_TOLD_OFTEN(bench, "p-", 2);
    assert_string_equal(bench_story(bench, 2), "p: a=1\np: a=2\np: a=3\np: a=4\np: a=5\np-");
    wait_links(bench, 0);
    bench_free(bench);
}

static void closing_a_port_offers_what_is_held_a_last_time(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR, 0);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\na=2\na=3\n");
    RIG_WAIT(bench, bench->refusals > 0);
    pthread_mutex_lock(&bench->mutex);
    bench->room = 2; /* and nobody tells */
    pthread_mutex_unlock(&bench->mutex);
    bench_close(bench);
    assert_string_equal(bench_story(bench, 2), "p: a=1\np: a=2\np! queue-full\np-");
    wait_received(bench, 3);
    close(fd);
    bench_free(bench);
}

static void frames_that_silence_ends_wait_for_room(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, "framing: { type = \"gap\"; gap = \"10ms\"; };", 0);
    int fd = rig_connect(bench->number);
    say(fd, "one");
    RIG_WAIT(bench, bench->refusals > 0);
    say(fd, "two");
    RIG_WAIT(bench, bench->refusals > 0);
    bench_give_room(bench, 10);
    WAIT_TOLD(bench, "p: raw=\"two\"");
    assert_string_equal(bench_story(bench, 2), "p: raw=\"one\"\np: raw=\"two\"");
    say(fd, "three");
    close(fd);
    WAIT_TOLD_OFTEN(bench, "p-", 2);
    assert_string_equal(bench_story(bench, 4), "p: raw=\"three\"\np-");
    bench_free(bench);
}

struct writer {
    pthread_t thread;
    uint16_t number;
    int index;
};

/* Writes until nobody takes it any more. */
static void *write_on(void *argument)
{
    const struct writer *writer = argument;
    int fd = rig_connect(writer->number);
    char text[64];
    for (int line = 0; line < LINES; line++) {
        int size = snprintf(text, sizeof text, "id=w%d n=%d\n", writer->index, line);
        if (send(fd, text, (size_t)size, MSG_NOSIGNAL) != size) {
            break;
        }
    }
    close(fd);
    return NULL;
}

static void what_was_read_when_a_port_closes_is_taken_or_lost_in_order(void **state)
{
    for (int round = 0; round < 20; round++) {
        uint16_t number = rig_free_port(SOCK_STREAM);
        struct bench *bench = bench_new(state, TCP LINE PAIR "identity = \"key:id\";", number);
        bench->random = (uint64_t)round + 1;
        bench_open(bench);
        struct writer writers[WRITERS];
        for (int i = 0; i < WRITERS; i++) {
            writers[i] = (struct writer){ .number = number, .index = i };
            pthread_create(&writers[i].thread, NULL, write_on, &writers[i]);
        }
        wait_links(bench, WRITERS);
        for (int i = 0; i < round; i++) {
            fg_port_resume(bench->port);
        }
        bench_close(bench);
        for (int i = 0; i < WRITERS; i++) {
            pthread_join(writers[i].thread, NULL);
        }
        int next[WRITERS] = { 0 };
        for (size_t i = 0; i < bench->count; i++) {
            int writer = 0;
            int line = 0;
            if (sscanf(bench->told[i].text, "w%d: id=\"w%*d\" n=%d", &writer, &line) == 2) {
                assert_true(line >= next[writer]);
                next[writer] = line + 1;
            }
        }
        /* Each device goes on and off once, at most. */
        size_t changes = bench_count(bench, "w0+") + bench_count(bench, "w0-") + bench_count(bench, "w1+") +
                         bench_count(bench, "w1-") + bench_count(bench, "w2+") + bench_count(bench, "w2-");
        assert_int_equal(bench_stats(bench).received,
                         bench->count - changes + bench_stats(bench).rejected[FG_REASON_INCOMPLETE]);
        bench_free(bench);
    }
}

/* ---- whose a frame is */

static void the_listed_device_of_a_port_takes_every_frame(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR "devices = ( { name = \"boiler\"; } );", -1);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\n");
    WAIT_TOLD(bench, "boiler: a=1");
    assert_string_equal(bench_story(bench, 0), "boiler-\nboiler+\nboiler: a=1");
    close(fd);
    bench_free(bench);
}

static void the_peer_can_be_the_identity(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR "identity = \"peer\";", -1);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\n");
    WAIT_TOLD(bench, "127.0.0.1: a=1");
    close(fd);
    WAIT_TOLD(bench, "127.0.0.1-");
    bench_free(bench);
}

static void a_number_is_the_identity_as_the_device_wrote_it(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, PAIR "identity = \"key:id\";", -1);
    int fd = udp_socket(bench);
    say(fd, "id=89490200001234567890 a=1"); /* of more than 64 bits, and so real numbers */
    say(fd, "id=89490200001234567891 a=2");
    say(fd, "id=12e5 a=3");
    say(fd, "id=inf a=4");
    WAIT_TOLD(bench, "inf: id=null a=4");
    const char *const names[] = { "89490200001234567890+", "89490200001234567891+", "12e5+", "inf+" };
    for (size_t i = 0; i < 4; i++) {
        if (!strstr(bench_story(bench, 0), names[i])) {
            fail_msg("%s is not in the story", names[i]);
        }
    }
    close(fd);
    bench_free(bench);
}

static void a_field_can_be_the_identity_and_must_be_there(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, PAIR "identity = \"key:id\";", -1);
    int fd = udp_socket(bench);
    say(fd, "id=x a=1");
    say(fd, "a=2");
    say(fd, "id=7 a=3");
    say(fd, "id=x a=4");
    WAIT_TOLD(bench, "x: id=\"x\" a=4");
    assert_string_equal(bench_story(bench, 0), "x+\nx: id=\"x\" a=1\n7+\n7: id=7 a=3\nx: id=\"x\" a=4");
    wait_received(bench, 4);
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_NO_IDENTITY], 1);
    close(fd);
    bench_free(bench);
}

static void an_unknown_device_is_rejected_and_named(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM,
                                   PAIR "identity = \"key:id\"; allow_unknown = false;\n"
                                        "devices = ( { name = \"x\"; } );",
                                   -1);
    int fd = udp_socket(bench);
    rig_log_begin();
    say(fd, "id=stranger a=1");
    say(fd, "id=stranger a=2");
    say(fd, "id=x a=3");
    WAIT_TOLD(bench, "x: id=\"x\" a=3");
    size_t named = rig_log_count("stranger");
    rig_log_end();
    assert_int_equal(named, 1);
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_UNKNOWN_DEVICE], 2);
    assert_string_equal(bench_story(bench, 0), "x-\nx+\nx: id=\"x\" a=3");
    close(fd);
    bench_free(bench);
}

static void no_more_devices_than_max_devices_are_known(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, PAIR "identity = \"key:id\"; max_devices = 2;", -1);
    int fd = udp_socket(bench);
    rig_log_begin();
    say(fd, "id=x a=1");
    say(fd, "id=y a=1");
    say(fd, "id=third a=1");
    say(fd, "id=y a=2");
    WAIT_TOLD(bench, "y: id=\"y\" a=2");
    size_t named = rig_log_count("third");
    rig_log_end();
    assert_int_equal(named, 1);
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_MAX_DEVICES], 1);
    assert_int_equal(RIG_GET(bench, bench_count(bench, "third*")), 0);
    close(fd);
    bench_free(bench);
}

static void the_device_of_a_port_has_its_rejections_from_the_first_frame_on(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE "decoder: { type = \"json\"; };", -1);
    int fd = rig_connect(bench->number);
    say(fd, "{\n{\"a\":1}\n");
    WAIT_TOLD(bench, "p: a=1");
    assert_int_equal(counters_of(bench, "p").rejected[FG_REASON_MALFORMED], 1);
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_MALFORMED], 1);
    close(fd);
    bench_free(bench);
}

static void a_refused_connection_is_logged_once(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct bench *bench = bench_new(
        state, "transport: { type = \"tcp-server\"; tcp_port = %d; allow = [ \"10.0.0.0/8\" ]; };\n" LINE,
        number);
    rig_log_begin();
    bench_open(bench);
    int fd = rig_connect(number);
    char byte;
    assert_true(read(fd, &byte, 1) <= 0);
    bench_close(bench);
    size_t told = rig_log_count("not in allow") + rig_log_count("not-allowed");
    rig_log_end();
    assert_int_equal(told, 1);
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_NOT_ALLOWED], 1);
    close(fd);
    bench_free(bench);
}

/* ---- datagrams */

static void a_datagram_can_hold_several_frames_and_ends_the_last(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, LINE PAIR, -1);
    int fd = udp_socket(bench);
    say(fd, "a=1\na=2");
    say(fd, "a=3\n");
    assert_int_equal(send(fd, "", 0, 0), 0);
    say(fd, "a=4");
    WAIT_TOLD(bench, "p: a=4");
    assert_string_equal(bench_story(bench, 2), "p: a=1\np: a=2\np: a=3\np: a=4");
    wait_received(bench, 5);
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_EMPTY], 1);
    close(fd);
    bench_free(bench);
}

static void a_datagram_does_not_go_on_in_the_next(void **state)
{
    struct bench *bench =
        bench_on(state, SOCK_DGRAM, "framing: { type = \"length\"; header_bytes = 1; };", -1);
    int fd = udp_socket(bench);
    say(fd, "\3ab");
    say(fd, "\1c");
    WAIT_TOLD(bench, "p: raw=\"c\"");
    assert_string_equal(bench_story(bench, 2), "p: raw=\"c\"");
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_INCOMPLETE], 1);
    close(fd);
    bench_free(bench);
}

/* ---- availability */

static void a_silent_device_goes_offline_and_comes_back_before_its_reading(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, PAIR "stale_after = \"150ms\";", -1);
    int fd = udp_socket(bench);
    say(fd, "a=1");
    WAIT_TOLD_OFTEN(bench, "p-", 2);
    say(fd, "a=2");
    WAIT_TOLD_OFTEN(bench, "p-", 3);
    assert_string_equal(bench_story(bench, 0), "p-\np+\np: a=1\np-\np+\np: a=2\np-");
    assert_true(bench->told[3].at_ns - bench->told[2].at_ns >= 140 * FG_NS_PER_MS);
    close(fd);
    bench_free(bench);
}

static void a_device_that_is_made_to_wait_is_not_silent(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR "stale_after = \"60ms\";", 1);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\na=2\na=3\n");
    RIG_WAIT(bench, bench->refusals > 0);
    /* Nothing is to happen in this time, however long it is. */
    const struct timespec pause = { .tv_nsec = 250000000 };
    nanosleep(&pause, NULL);
    assert_int_equal(RIG_GET(bench, bench_count(bench, "p-")), 1);
    bench_give_room(bench, 10);
    WAIT_TOLD_OFTEN(bench, "p-", 2);
    assert_string_equal(bench_story(bench, 0), "p-\np+\np: a=1\np: a=2\np: a=3\np-");
    close(fd);
    bench_free(bench);
}

static void a_device_whose_readings_are_lost_is_not_silent(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, PAIR "stale_after = \"10s\";", 0);
    int fd = udp_socket(bench);
    say(fd, "a=1");
    WAIT_TOLD(bench, "p! queue-full");
    assert_string_equal(bench_story(bench, 0), "p-\np+\np! queue-full");
    close(fd);
    bench_free(bench);
}

static void a_device_is_offline_when_its_link_is_down(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR "identity = \"key:id\";", -1);
    int first = rig_connect(bench->number);
    int second = rig_connect(bench->number);
    say(first, "id=x a=1\n");
    WAIT_TOLD(bench, "x: id=\"x\" a=1");
    say(second, "id=x a=2\nid=y a=1\n");
    WAIT_TOLD(bench, "y: id=\"y\" a=1");
    close(first);
    say(second, "id=y a=2\n");
    WAIT_TOLD(bench, "y: id=\"y\" a=2");
    close(second);
    WAIT_TOLD(bench, "x-");
    WAIT_TOLD(bench, "y-");
    assert_int_equal(RIG_GET(bench, bench_count(bench, "x-")), 1);
    assert_int_equal(RIG_GET(bench, bench_count(bench, "y-")), 1);
    bench_free(bench);
}

/* ---- report */

static void the_latest_reading_goes_when_min_interval_is_over(void **state)
{
    struct bench *bench =
        bench_on(state, SOCK_STREAM, LINE PAIR "report: { min_interval = \"150ms\"; };", -1);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\na=2\na=3\n");
    WAIT_TOLD(bench, "p: a=3");
    assert_string_equal(bench_story(bench, 2), "p: a=1\np: a=3");
    assert_true(bench->told[3].at_ns - bench->told[2].at_ns >= 140 * FG_NS_PER_MS);
    assert_int_equal(counters_of(bench, "p").suppressed, 1);
    assert_int_equal(counters_of(bench, "p").received, 3);
    close(fd);
    bench_free(bench);
}

static void a_held_reading_waits_for_room(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR "report: { min_interval = \"50ms\"; };", 1);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\na=2\n");
    RIG_WAIT(bench, bench->refusals > 1);
    bench_give_room(bench, 10);
    WAIT_TOLD(bench, "p: a=2");
    assert_string_equal(bench_story(bench, 2), "p: a=1\np: a=2");
    close(fd);
    bench_free(bench);
}

static void a_held_reading_goes_at_the_stop(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR "report: { min_interval = \"1h\"; };", -1);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\na=2\na=3\n");
    wait_received(bench, 3);
    bench_close(bench);
    assert_string_equal(bench_story(bench, 2), "p: a=1\np-\np: a=3");
    close(fd);
    bench_free(bench);
}

static void a_held_reading_without_room_at_the_stop_is_lost_and_told(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR "report: { min_interval = \"1h\"; };", 1);
    int fd = rig_connect(bench->number);
    say(fd, "a=1\na=2\n");
    wait_received(bench, 2);
    bench_close(bench);
    assert_string_equal(bench_story(bench, 2), "p: a=1\np-\np! queue-full");
    close(fd);
    bench_free(bench);
}

#define POINTS "payload = \"points\"; points = ( { name = \"slow\"; report: { min_interval = \"%s\"; }; } );"

static void a_point_that_went_does_not_go_again_with_one_that_was_held(void **state)
{
    char rest[256];
    snprintf(rest, sizeof rest, LINE PAIR POINTS, "100ms");
    struct bench *bench = bench_on(state, SOCK_STREAM, rest, -1);
    int fd = rig_connect(bench->number);
    say(fd, "quick=1 slow=1\nquick=2 slow=2\n");
    WAIT_TOLD(bench, "p: slow=2");
    assert_string_equal(bench_story(bench, 2), "p: quick=1 slow=1\np: quick=2\np: slow=2");
    close(fd);
    bench_free(bench);
}

static void a_held_point_stays_when_a_reading_comes_without_it(void **state)
{
    char rest[256];
    snprintf(rest, sizeof rest, LINE PAIR POINTS, "100ms");
    struct bench *bench = bench_on(state, SOCK_STREAM, rest, -1);
    int fd = rig_connect(bench->number);
    say(fd, "quick=1 slow=1\nslow=2\nquick=3\n");
    WAIT_TOLD(bench, "p: slow=2");
    assert_string_equal(bench_story(bench, 2), "p: quick=1 slow=1\np: quick=3\np: slow=2");
    close(fd);
    bench_free(bench);
}

static void a_frame_without_fields_goes_whatever_the_report_says(void **state)
{
    struct bench *bench =
        bench_on(state, SOCK_STREAM,
                 "framing: { type = \"line\"; max_bytes = 20000; }; report: { on_change = true; };", -1);
    int fd = rig_connect(bench->number);
    static char text[10001];
    memset(text, 0xff, sizeof text - 1); /* no text, and too long to be told in hex */
    text[sizeof text - 2] = '\n';
    say(fd, text);
    WAIT_TOLD(bench, "p:");
    close(fd);
    bench_free(bench);
}

/* ---- time */

static void the_devices_own_time_becomes_the_readings(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, PAIR "time_key = \"t\";", -1);
    int fd = udp_socket(bench);
    say(fd, "t=1700000000 a=1");
    WAIT_TOLD(bench, "p: a=1");
    assert_int_equal(bench->told[2].wall_ms, INT64_C(1700000000000));
    say(fd, "t=soon a=2");
    say(fd, "a=3");
    WAIT_TOLD(bench, "p: a=3");
    assert_string_equal(bench_story(bench, 3), "p: a=2\np: a=3");
    for (size_t i = 3; i < 5; i++) {
        assert_true(llabs(bench->told[i].wall_ms - fg_clock_wall_ms()) < 60000);
    }
    wait_received(bench, 3);
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_BAD_TIME], 2);
    close(fd);
    bench_free(bench);
}

static void a_bad_time_is_counted_once_however_often_the_frame_is_offered(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR "time_key = \"t\";", 0);
    int fd = rig_connect(bench->number);
    say(fd, "t=soon a=1\n");
    for (size_t offers = 2; offers <= 4; offers++) {
        RIG_WAIT(bench, bench->refusals >= offers);
        bench_give_room(bench, 0);
    }
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_BAD_TIME], 0);
    bench_give_room(bench, 1);
    WAIT_TOLD(bench, "p: a=1");
    wait_received(bench, 1);
    bench_close(bench);
    assert_int_equal(bench_stats(bench).rejected[FG_REASON_BAD_TIME], 1);
    close(fd);
    bench_free(bench);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_refused_frame_is_held_and_offered_again_in_order),
        TEST(nothing_is_lost_nor_twice_nor_out_of_order_for_any_room),
        TEST(what_cannot_wait_is_lost_and_counted_when_there_is_no_room),
        TEST(a_serial_line_does_not_wait_for_room),
        TEST(a_peer_that_closes_while_paused_loses_nothing),
        TEST(closing_a_port_offers_what_is_held_a_last_time),
        TEST(what_was_read_when_a_port_closes_is_taken_or_lost_in_order),
        TEST(frames_that_silence_ends_wait_for_room),
        TEST(the_listed_device_of_a_port_takes_every_frame),
        TEST(the_peer_can_be_the_identity),
        TEST(a_number_is_the_identity_as_the_device_wrote_it),
        TEST(a_field_can_be_the_identity_and_must_be_there),
        TEST(an_unknown_device_is_rejected_and_named),
        TEST(no_more_devices_than_max_devices_are_known),
        TEST(the_device_of_a_port_has_its_rejections_from_the_first_frame_on),
        TEST(a_refused_connection_is_logged_once),
        TEST(a_datagram_can_hold_several_frames_and_ends_the_last),
        TEST(a_datagram_does_not_go_on_in_the_next),
        TEST(a_silent_device_goes_offline_and_comes_back_before_its_reading),
        TEST(a_device_that_is_made_to_wait_is_not_silent),
        TEST(a_device_whose_readings_are_lost_is_not_silent),
        TEST(a_device_is_offline_when_its_link_is_down),
        TEST(the_latest_reading_goes_when_min_interval_is_over),
        TEST(a_held_reading_waits_for_room),
        TEST(a_held_reading_goes_at_the_stop),
        TEST(a_held_reading_without_room_at_the_stop_is_lost_and_told),
        TEST(a_point_that_went_does_not_go_again_with_one_that_was_held),
        TEST(a_held_point_stays_when_a_reading_comes_without_it),
        TEST(a_frame_without_fields_goes_whatever_the_report_says),
        TEST(the_devices_own_time_becomes_the_readings),
        TEST(a_bad_time_is_counted_once_however_often_the_frame_is_offered),
    };
    return RIG_RUN(tests);
}
