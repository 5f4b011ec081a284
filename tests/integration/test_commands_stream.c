/*
 * Commands to devices that speak of themselves: what is sent, to whom, and the frame that answers.
 */
#include "support/asked.h"
#include "support/wait.h"

#include "fieldgate/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define TCP                       "transport: { type = \"tcp-server\"; tcp_port = %d; };\n"
#define UDP                       "transport: { type = \"udp\"; udp_port = %d; };\n"
#define LINE                      "framing: { type = \"line\"; };\n"
#define PAIR                      "decoder: { type = \"keyvalue\"; };\n"
#define KEYED                     "identity = \"key:id\";\n"
#define REPLY                     "reply = true;\n"
#define SOON                      "timeout = \"150ms\";\n"
#define LATER                     "timeout = \"30s\";\n"
#define SEND(bench, device, text) asked_send(bench, device, text, strlen(text))

static struct bench *bench_on(void **state, int type, const char *rest)
{
    uint16_t number = rig_free_port(type);
    struct bench *bench = type == SOCK_STREAM ? bench_new(state, TCP "%s", number, rest)
                                              : bench_new(state, UDP "%s", number, rest);
    bench->number = number;
    bench_open(bench);
    return bench;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void expect(struct asked *asked, const char *text)
{
    assert_string_equal(asked_answer(asked), text);
}

/* Waits for these bytes, and no others. */
static void hear(int fd, const void *bytes, size_t size)
{
    char got[256];
    size_t count = 0;
    while (count < size) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&ready, 1, 20000), 1);
        ssize_t more = read(fd, got + count, size - count);
        assert_true(more > 0);
        count += (size_t)more;
    }
    assert_memory_equal(got, bytes, size);
}

static bool is_silent(int fd)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    return poll(&ready, 1, 0) == 0;
}

static void wait_links(struct bench *bench, uint64_t count)
{
    int64_t deadline = wait_deadline(20000);
    while (bench_stats(bench).links != count) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
}

/* A connection that is up. */
static int connect_to(struct bench *bench)
{
    uint64_t links = bench_stats(bench).links;
    int fd = rig_connect(bench->number);
    wait_links(bench, links + 1);
    return fd;
}

/* ---- what is sent ---- */

static void bytes_are_sent_in_the_ports_framing(void **state)
{
    static const struct {
        const char *framing, *payload, *wire;
        size_t payload_size, wire_size;
    } cases[] = {
        { "type = \"line\";", "on", "on\n", 2, 3 },
        { "type = \"length\"; header_bytes = 2;", "on", "\0\2on", 2, 4 },
        { "type = \"fixed\"; bytes = 3;", "off", "off", 3, 3 },
        { "type = \"gap\"; gap = \"5ms\";", "\0\1\2", "\0\1\2", 3, 3 },
        { "type = \"stx-etx\"; checksum = \"xor\";", "on", "\2on\3\2", 2, 5 },
        { "type = \"slip\";", "a\xC0z",
          "\xC0"
          "a\xDB\xDCz\xC0",
          3, 6 },
        { "type = \"cobs\";", "a\0b", "\2a\2b\0", 3, 5 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char rest[100];
        snprintf(rest, sizeof rest, "framing: { %s };\n", cases[i].framing);
        struct bench *bench = bench_on(state, SOCK_STREAM, rest);
        int fd = connect_to(bench);
        struct asked *asked = asked_send(bench, "p", cases[i].payload, cases[i].payload_size);
        expect(asked, "ok");
        hear(fd, cases[i].wire, cases[i].wire_size);
        bench_free(bench);
        close(fd);
        asked_free(asked);
    }
}

static void a_serial_line_is_written_to(void **state)
{
    struct rig *rig = *state;
    char path[96];
    snprintf(path, sizeof path, "%s/tty", rig->folder);
    unlink(path);
    int master = rig_pty(path);
    struct bench *bench = bench_new(
        state, "transport: { type = \"serial\"; path = \"%s\"; baud = 9600; };\n" LINE REPLY LATER, path);
    bench_open(bench);
    wait_links(bench, 1);
    struct asked *asked = SEND(bench, "p", "temp?");
    hear(master, "temp?\n", 6);
    say(master, "21.5\n");
    expect(asked, "ok >21.5");
    bench_free(bench);
    close(master);
    asked_free(asked);
}

static void a_program_on_a_unix_socket_is_written_to(void **state)
{
    struct rig *rig = *state;
    char path[96];
    snprintf(path, sizeof path, "%s/socket", rig->folder);
    struct bench *bench = bench_new(state, "transport: { type = \"unix\"; path = \"%s\"; };\n" LINE, path);
    bench_open(bench);
    int64_t deadline = wait_deadline(20000);
    while (access(path, F_OK) != 0) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
    int fd = rig_connect_unix(path, SOCK_STREAM);
    wait_links(bench, 1);
    struct asked *asked = SEND(bench, "p", "on");
    expect(asked, "ok");
    hear(fd, "on\n", 3);
    bench_free(bench);
    close(fd);
    asked_free(asked);
}

static void what_cannot_be_framed_is_not_sent(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, "framing: { type = \"line\"; max_bytes = 8; };\n");
    int fd = connect_to(bench);
    struct asked *two = SEND(bench, "p", "a\nb");
    struct asked *large = SEND(bench, "p", "123456789");
    struct asked *good = SEND(bench, "p", "12345678");
    expect(two, "bad value");
    expect(large, "bad value");
    expect(good, "ok");
    assert_non_null(strstr(two->why, "line"));
    assert_non_null(strstr(large->why, "9 bytes"));
    hear(fd, "12345678\n", 9);
    bench_free(bench);
    close(fd);
    asked_free(two);
    asked_free(large);
    asked_free(good);
}

static void a_device_that_is_not_writable_is_left_alone(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE "writable = false;");
    int fd = connect_to(bench);
    struct asked *asked = SEND(bench, "p", "on");
    expect(asked, "not writable");
    struct asked *set = asked_set(bench, "p", "a=1");
    expect(set, "not writable");
    assert_true(is_silent(fd));
    bench_free(bench);
    close(fd);
    asked_free(asked);
    asked_free(set);
}

static void silence_is_kept_between_frames_that_it_divides(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, "framing: { type = \"gap\"; gap = \"100ms\"; };\n");
    int fd = connect_to(bench);
    struct asked *asked[3];
    for (size_t i = 0; i < 3; i++) {
        asked[i] = SEND(bench, "p", "x");
    }
    for (size_t i = 0; i < 3; i++) {
        expect(asked[i], "ok");
        if (i > 0) {
            assert_true(asked[i]->answered_ns - asked[i - 1]->answered_ns >= 99 * FG_NS_PER_MS);
        }
    }
    hear(fd, "xxx", 3);
    bench_free(bench);
    close(fd);
    for (size_t i = 0; i < 3; i++) {
        asked_free(asked[i]);
    }
}

/* ---- to whom ---- */

static void of_two_links_the_one_that_spoke_last_is_taken(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE);
    int first = connect_to(bench), second = connect_to(bench);
    struct asked *unclear = SEND(bench, "p", "0");
    expect(unclear, "link down");
    assert_non_null(strstr(unclear->why, "2 links"));
    say(first, "a\n");
    WAIT_TOLD(bench, "p:*");
    struct asked *one = SEND(bench, "p", "1");
    expect(one, "ok");
    hear(first, "1\n", 2);
    say(second, "b\n");
    WAIT_TOLD_OFTEN(bench, "p:*", 2);
    struct asked *two = SEND(bench, "p", "2");
    expect(two, "ok");
    hear(second, "2\n", 2);
    close(second);
    wait_links(bench, 1);
    struct asked *three = SEND(bench, "p", "3"); /* the only one that is left */
    expect(three, "ok");
    hear(first, "3\n", 2);
    close(first);
    wait_links(bench, 0);
    struct asked *none = SEND(bench, "p", "4");
    expect(none, "link down");
    bench_free(bench);
    asked_free(unclear);
    asked_free(one);
    asked_free(two);
    asked_free(three);
    asked_free(none);
}

static void each_device_has_its_link(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR KEYED);
    int first = connect_to(bench), second = connect_to(bench);
    struct asked *unknown = SEND(bench, "a", "0");
    expect(unknown, "unknown device");
    say(first, "id=a\nid=b\n");
    say(second, "id=c\n");
    WAIT_TOLD(bench, "b:*");
    WAIT_TOLD(bench, "c:*");
    struct asked *a = SEND(bench, "a", "for a"), *b = SEND(bench, "b", "for b"),
                 *c = SEND(bench, "c", "for c");
    expect(a, "ok");
    expect(b, "ok");
    expect(c, "ok");
    hear(first, "for a\nfor b\n", 12);
    hear(second, "for c\n", 6);
    close(first);
    wait_links(bench, 1);
    struct asked *gone = SEND(bench, "a", "1");
    expect(gone, "link down");
    bench_free(bench);
    close(second);
    asked_free(unknown);
    asked_free(a);
    asked_free(b);
    asked_free(c);
    asked_free(gone);
}

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

static void datagrams_go_to_who_sent_the_latest(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, PAIR KEYED REPLY LATER);
    int first = udp_socket(bench), second = udp_socket(bench);
    say(first, "id=a");
    say(second, "id=b");
    WAIT_TOLD(bench, "a:*");
    WAIT_TOLD(bench, "b:*");
    struct asked *a = SEND(bench, "a", "for a"), *b = SEND(bench, "b", "for b");
    hear(first, "for a", 5);
    hear(second, "for b", 5);
    say(second, "id=b x=1");
    expect(b, "ok >id=b x=1");
    say(first, "id=a x=2");
    expect(a, "ok >id=a x=2");
    say(second, "id=a"); /* it has moved */
    WAIT_TOLD_OFTEN(bench, "a:*", 3);
    struct asked *moved = SEND(bench, "a", "again");
    hear(second, "again", 5);
    assert_true(is_silent(first));
    bench_free(bench);
    close(first);
    close(second);
    asked_free(a);
    asked_free(b);
    asked_free(moved);
}

static void a_datagram_without_a_known_way_is_not_sent(void **state)
{
    struct bench *bench = bench_on(state, SOCK_DGRAM, "");
    int fd = udp_socket(bench);
    struct asked *early = SEND(bench, "p", "x");
    expect(early, "link down");
    say(fd, "hello");
    WAIT_TOLD(bench, "p:*");
    struct asked *empty = SEND(bench, "p", "");
    expect(empty, "bad value");
    struct asked *good = SEND(bench, "p", "x");
    expect(good, "ok");
    hear(fd, "x", 1);
    bench_free(bench);
    close(fd);
    asked_free(early);
    asked_free(empty);
    asked_free(good);
}

static void datagrams_of_a_unix_socket_have_no_way_back(void **state)
{
    struct rig *rig = *state;
    struct bench *bench = bench_new(
        state, "transport: { type = \"unix\"; path = \"%s/dgram\"; kind = \"datagram\"; };\n", rig->folder);
    bench_open(bench);
    struct asked *asked = SEND(bench, "p", "x");
    expect(asked, "not supported");
    bench_free(bench);
    asked_free(asked);
}

/* ---- replies ---- */

static void the_next_frame_is_the_answer_and_a_reading_too(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR REPLY LATER);
    int fd = connect_to(bench);
    say(fd, "x=1\n");
    WAIT_TOLD(bench, "p: x=1");
    struct asked *asked = SEND(bench, "p", "x?");
    hear(fd, "x?\n", 3);
    assert_int_equal(RIG_GET(bench, asked->answers), 0);
    say(fd, "x=2\nx=3\n");
    expect(asked, "ok >x=2");
    WAIT_TOLD(bench, "p: x=2");
    WAIT_TOLD(bench, "p: x=3");
    bench_free(bench);
    close(fd);
    asked_free(asked);
}

static void an_answer_that_the_decoder_does_not_read_is_one(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE "decoder: { type = \"json\"; };\n" REPLY LATER);
    int fd = connect_to(bench);
    struct asked *asked = SEND(bench, "p", "x?");
    hear(fd, "x?\n", 3);
    say(fd, "OK\n");
    expect(asked, "ok >OK");
    bench_free(bench);
    close(fd);
    asked_free(asked);
}

static void without_an_answer_it_is_a_timeout_and_a_late_one_is_a_reading(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR REPLY SOON);
    int fd = connect_to(bench);
    struct asked *asked = SEND(bench, "p", "x?");
    expect(asked, "timeout");
    say(fd, "x=1\n");
    WAIT_TOLD(bench, "p: x=1");
    bench_free(bench);
    close(fd);
    asked_free(asked);
}

static void a_frame_that_was_read_before_the_question_is_no_answer(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct bench *bench = bench_new(state, TCP LINE PAIR REPLY LATER, number);
    bench->number = number;
    bench->limited = true;
    bench_open(bench);
    int fd = connect_to(bench);
    say(fd, "x=1\n");
    RIG_WAIT(bench, bench->refusals > 0); /* there is no room: the frame is kept */
    struct asked *asked = SEND(bench, "p", "x?");
    hear(fd, "x?\n", 3);
    bench_give_room(bench, 10);
    WAIT_TOLD(bench, "p: x=1");
    assert_int_equal(RIG_GET(bench, asked->answers), 0);
    say(fd, "x=2\n");
    expect(asked, "ok >x=2");
    bench_free(bench);
    close(fd);
    asked_free(asked);
}

static void the_next_command_of_a_device_waits_and_those_of_others_do_not(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR KEYED REPLY LATER);
    int fd = connect_to(bench);
    say(fd, "id=a\nid=b\n");
    WAIT_TOLD(bench, "b:*");
    struct asked *first = SEND(bench, "a", "a1"), *second = SEND(bench, "a", "a2"),
                 *other = SEND(bench, "b", "b1");
    hear(fd, "a1\nb1\n", 6);
    assert_true(is_silent(fd));
    say(fd, "id=b n=1\n");
    expect(other, "ok >id=b n=1");
    assert_true(is_silent(fd));
    say(fd, "id=a n=2\n");
    expect(first, "ok >id=a n=2");
    hear(fd, "a2\n", 3);
    say(fd, "id=a n=3\n");
    expect(second, "ok >id=a n=3");
    bench_free(bench);
    close(fd);
    asked_free(first);
    asked_free(second);
    asked_free(other);
}

static void a_command_whose_time_passes_while_it_waits_is_not_sent(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR REPLY SOON);
    int fd = connect_to(bench);
    struct asked *first = SEND(bench, "p", "1");
    struct asked *late = asked_until(bench, "p", FG_COMMAND_SEND, "2", 20);
    struct asked *over = asked_until(bench, "p", FG_COMMAND_SEND, "3", 0);
    struct asked *good = asked_until(bench, "p", FG_COMMAND_SEND, "4", 60000);
    expect(over, "expired");
    expect(first, "timeout");
    expect(late, "expired");
    hear(fd, "1\n4\n", 4);
    bench_free(bench);
    close(fd);
    asked_free(first);
    asked_free(late);
    asked_free(over);
    asked_free(good);
}

/* ---- ends ---- */

static void too_many_are_told_busy_and_a_link_that_goes_answers_the_rest(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR REPLY LATER);
    int fd = connect_to(bench);
    struct asked *asked[20];
    for (size_t i = 0; i < 20; i++) {
        asked[i] = SEND(bench, "p", "x");
    }
    for (size_t i = 16; i < 20; i++) {
        expect(asked[i], "busy");
    }
    hear(fd, "x\n", 2);
    close(fd);
    for (size_t i = 0; i < 16; i++) {
        expect(asked[i], "link down");
    }
    assert_non_null(strstr(asked[0]->why, "it was sent"));
    assert_non_null(strstr(asked[1]->why, "before it was sent"));
    bench_free(bench);
    for (size_t i = 0; i < 20; i++) {
        asked_free(asked[i]);
    }
}

static void one_link_has_not_more_than_its_share(void **state)
{
    enum { DEVICES = 20, EACH = 15, LINK_MAX = 256 };
    struct asked *asked[DEVICES * EACH];
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR KEYED REPLY LATER);
    int fd = connect_to(bench);
    char text[16];
    for (int i = 0; i < DEVICES; i++) {
        snprintf(text, sizeof text, "id=d%d\n", i);
        say(fd, text);
    }
    WAIT_TOLD(bench, "d19:*");
    size_t busy = 0;
    for (size_t i = 0; i < DEVICES * EACH; i++) {
        snprintf(text, sizeof text, "d%zu", i % DEVICES);
        asked[i] = SEND(bench, text, "x");
        busy += RIG_GET(bench, asked[i]->answers);
    }
    assert_int_equal(busy, DEVICES * EACH - LINK_MAX);
    expect(asked[DEVICES * EACH - 1], "busy");
    bench_free(bench);
    close(fd);
    for (size_t i = 0; i < DEVICES * EACH; i++) {
        asked_free(asked[i]);
    }
}

static void a_port_that_closes_answers_what_waits(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR REPLY LATER);
    int fd = connect_to(bench);
    struct asked *asked[10];
    for (size_t i = 0; i < 10; i++) {
        asked[i] = SEND(bench, "p", "x");
    }
    bench_close(bench);
    for (size_t i = 0; i < 10; i++) {
        expect(asked[i], "link down");
    }
    bench_free(bench);
    close(fd);
    for (size_t i = 0; i < 10; i++) {
        asked_free(asked[i]);
    }
}

static void a_peer_that_reads_nothing_is_given_up(void **state)
{
    enum { SIZE = 1000000, COUNT = 12 };
    if (rig_model != fg_models[0]) {
        skip(); /* it takes ten seconds */
    }
    struct bench *bench =
        bench_on(state, SOCK_STREAM, "framing: { type = \"slip\"; max_bytes = 1048576; };\n");
    int fd = connect_to(bench);
    char *bytes = malloc(SIZE);
    memset(bytes, 'x', SIZE);
    struct asked *asked[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        asked[i] = asked_send(bench, "p", bytes, SIZE);
    }
    int64_t deadline = wait_deadline(30000);
    while (RIG_GET(bench, asked[COUNT - 1]->answers) == 0) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
    size_t timeouts = 0;
    for (size_t i = 0; i < COUNT; i++) {
        timeouts += strcmp(asked_answer(asked[i]), "timeout") == 0;
    }
    assert_int_equal(timeouts, 1);
    expect(asked[COUNT - 1], "link down");
    bench_free(bench);
    close(fd);
    free(bytes);
    for (size_t i = 0; i < COUNT; i++) {
        asked_free(asked[i]);
    }
}

struct giver {
    struct bench *bench;
    struct asked *asked[300];
};

static void *give_many(void *argument)
{
    struct giver *giver = argument;
    for (size_t i = 0; i < 300; i++) {
        char device[8];
        snprintf(device, sizeof device, "d%zu", i % 5);
        giver->asked[i] = SEND(giver->bench, device, "x");
        if (i % 10 == 0) {
            usleep(500);
        }
    }
    return NULL;
}

static void commands_of_several_threads_to_links_that_come_and_go_are_each_answered_once(void **state)
{
    struct bench *bench = bench_on(state, SOCK_STREAM, LINE PAIR KEYED REPLY "timeout = \"20ms\";\n");
    static struct giver givers[2];
    pthread_t threads[2];
    int fd = connect_to(bench);
    say(fd, "id=d0\nid=d1\nid=d2\nid=d3\nid=d4\n");
    WAIT_TOLD(bench, "d4:*");
    for (size_t i = 0; i < 2; i++) {
        givers[i].bench = bench;
        assert_int_equal(pthread_create(&threads[i], NULL, give_many, &givers[i]), 0);
    }
    for (size_t i = 0; i < 30; i++) {
        int other = rig_connect(bench->number);
        say(other, "id=d0\nid=d1\nid=d2\n");
        close(fd);
        fd = other;
        say(fd, "id=d3\nid=d4\n");
        usleep(1000);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    bench_close(bench);
    bench_free(bench);
    close(fd);
    for (size_t i = 0; i < 600; i++) {
        asked_free(givers[i / 300].asked[i % 300]);
    }
}

#define RIG_TEST(behaviour) cmocka_unit_test_setup_teardown(behaviour, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(bytes_are_sent_in_the_ports_framing),
        RIG_TEST(a_serial_line_is_written_to),
        RIG_TEST(a_program_on_a_unix_socket_is_written_to),
        RIG_TEST(what_cannot_be_framed_is_not_sent),
        RIG_TEST(a_device_that_is_not_writable_is_left_alone),
        RIG_TEST(silence_is_kept_between_frames_that_it_divides),
        RIG_TEST(of_two_links_the_one_that_spoke_last_is_taken),
        RIG_TEST(each_device_has_its_link),
        RIG_TEST(datagrams_go_to_who_sent_the_latest),
        RIG_TEST(a_datagram_without_a_known_way_is_not_sent),
        RIG_TEST(datagrams_of_a_unix_socket_have_no_way_back),
        RIG_TEST(the_next_frame_is_the_answer_and_a_reading_too),
        RIG_TEST(an_answer_that_the_decoder_does_not_read_is_one),
        RIG_TEST(without_an_answer_it_is_a_timeout_and_a_late_one_is_a_reading),
        RIG_TEST(a_frame_that_was_read_before_the_question_is_no_answer),
        RIG_TEST(the_next_command_of_a_device_waits_and_those_of_others_do_not),
        RIG_TEST(a_command_whose_time_passes_while_it_waits_is_not_sent),
        RIG_TEST(too_many_are_told_busy_and_a_link_that_goes_answers_the_rest),
        RIG_TEST(one_link_has_not_more_than_its_share),
        RIG_TEST(a_port_that_closes_answers_what_waits),
        RIG_TEST(a_peer_that_reads_nothing_is_given_up),
        RIG_TEST(commands_of_several_threads_to_links_that_come_and_go_are_each_answered_once),
    };
    return RIG_RUN(tests);
}
