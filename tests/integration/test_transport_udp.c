#include "support/transport_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void put(int family, uint16_t number, const void *data, size_t size)
{
    union fg_address to;
    memset(&to, 0, sizeof to);
    socklen_t length = sizeof to.in;
    if (family == AF_INET) {
        to.in = (struct sockaddr_in){ .sin_family = AF_INET,
                                      .sin_port = htons(number),
                                      .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    } else {
        to.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                        .sin6_port = htons(number),
                                        .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        length = sizeof to.in6;
    }
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(sendto(fd, data, size, 0, &to.any, length), size);
    close(fd);
}

static struct rig_port *open_udp(struct rig *rig, uint16_t number, const char *more)
{
    struct rig_port *port = rig_port_new(rig, "type = \"udp\"; udp_port = %u; %s", number, more);
    RIG_WAIT(port, port->ups == 1);
    return port;
}

static void datagrams_keep_their_boundaries_and_name_their_sender(void **state)
{
    uint16_t number = rig_free_port(SOCK_DGRAM);
    struct rig_port *port = open_udp(*state, number, "");
    put(AF_INET, number, "abc", 3);
    put(AF_INET, number, "defgh", 5);
    RIG_WAIT(port, port->links[0].packets == 2);
    assert_int_equal(port->links[0].last, 5);
    assert_memory_equal(port->links[0].data, "abcdefgh", 8);
    assert_string_equal(port->links[0].from, "127.0.0.1");
    rig_port_free(port);
}

static void a_datagram_without_bytes_is_one_and_no_end(void **state)
{
    uint16_t number = rig_free_port(SOCK_DGRAM);
    struct rig_port *port = open_udp(*state, number, "");
    put(AF_INET, number, "", 0);
    put(AF_INET, number, "more", 4);
    RIG_WAIT(port, port->links[0].packets == 2);
    assert_int_equal(port->links[0].empty, 1);
    assert_int_equal(port->links[0].size, 4);
    assert_int_equal(port->downs, 0);
    rig_port_free(port);
}

static void the_largest_datagram_comes_whole(void **state)
{
    uint16_t number = rig_free_port(SOCK_DGRAM);
    struct rig_port *port = open_udp(*state, number, "");
    static char large[65507];
    put(AF_INET, number, large, sizeof large);
    RIG_WAIT(port, port->links[0].packets == 1);
    assert_int_equal(port->links[0].size, sizeof large);
    assert_int_equal(port->links[0].truncated, 0);
    rig_port_free(port);
}

static void senders_outside_the_allowed_networks_are_counted(void **state)
{
    uint16_t number = rig_free_port(SOCK_DGRAM);
    struct rig_port *port = open_udp(*state, number, "bind = \"::\"; allow = [ \"::1/128\" ];");
    put(AF_INET, number, "refused", 7);
    put(AF_INET6, number, "taken", 5);
    RIG_WAIT(port, port->links[0].packets == 1);
    RIG_WAIT(port, port->rejected[FG_REASON_NOT_ALLOWED] == 1);
    assert_memory_equal(port->links[0].data, "taken", 5);
    assert_string_equal(port->links[0].from, "::1");
    rig_port_free(port);
}

static void star_receives_on_all_addresses(void **state)
{
    uint16_t number = rig_free_port(SOCK_DGRAM);
    struct rig_port *port = open_udp(*state, number, "bind = \"*\";");
    put(AF_INET, number, "4", 1);
    RIG_WAIT(port, port->links[0].packets == 1);
    assert_string_equal(port->links[0].from, "127.0.0.1");
    put(AF_INET6, number, "6", 1);
    RIG_WAIT(port, port->links[0].packets == 2);
    assert_string_equal(port->links[0].from, "::1");
    rig_port_free(port);
}

static void a_datagram_link_has_nobody_to_send_to(void **state)
{
    uint16_t number = rig_free_port(SOCK_DGRAM);
    struct rig_port *port = open_udp(*state, number, "");
    rig_link_send(&port->links[0], "x", 1);
    RIG_WAIT(port, port->links[0].sent);
    assert_int_equal(port->links[0].send_result, -EDESTADDRREQ);
    rig_port_free(port);
}

static void a_taken_port_is_tried_again(void **state)
{
    uint16_t number = rig_free_port(SOCK_DGRAM);
    struct rig_port *first = open_udp(*state, number, "");
    struct rig_port *second = rig_port_new(*state, "type = \"udp\"; udp_port = %u;", number);
    put(AF_INET, number, "1", 1);
    RIG_WAIT(first, first->links[0].packets == 1);
    rig_port_free(first);
    RIG_WAIT(second, second->ups == 1);
    put(AF_INET, number, "2", 1);
    RIG_WAIT(second, second->links[0].packets == 1);
    rig_port_free(second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(datagrams_keep_their_boundaries_and_name_their_sender),
        TEST(a_datagram_without_bytes_is_one_and_no_end),
        TEST(the_largest_datagram_comes_whole),
        TEST(senders_outside_the_allowed_networks_are_counted),
        TEST(star_receives_on_all_addresses),
        TEST(a_datagram_link_has_nobody_to_send_to),
        TEST(a_taken_port_is_tried_again),
    };
    return RIG_RUN(tests);
}
