#include "transport/networks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static union fg_address address(const char *text)
{
    union fg_address made;
    memset(&made, 0, sizeof made);
    if (inet_pton(AF_INET, text, &made.in.sin_addr) == 1) {
        made.any.sa_family = AF_INET;
        return made;
    }
    memset(&made, 0, sizeof made);
    assert_int_equal(inet_pton(AF_INET6, text, &made.in6.sin6_addr), 1);
    made.any.sa_family = AF_INET6;
    return made;
}

static bool contains(const char *network_text, const char *address_text)
{
    struct fg_network network;
    assert_int_equal(fg_network_parse(network_text, &network), 0);
    union fg_address other = address(address_text);
    return fg_network_contains(&network, &other);
}

static void what_is_no_network_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        "/24",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0/8",
        "10.0.0.0/8x",
        "10.0.0.0/ 8",
        "10.0.0.0/0008",
        "localhost",
        "::/129",
        "fd00::/8/8",
        ":::",
        "10.0.0.256/8",
        "10.0.0.0/8.0",
        "fe80::1%lo/64",
        " 10.0.0.1",
        "10.0.0.1 ",
        "*",
        "10.0.0.0/+8",
        "1:2:3:4:5:6:7/8",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc/8",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fg_network network;
        if (fg_network_parse(bad[i], &network) != -EINVAL) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

static void bits_beyond_the_prefix_are_told_with_what_was_meant(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "192.168.1.7/24", "192.168.1.0/24" },
        { "10.1.2.3/0", "0.0.0.0/0" },
        { "192.168.1.129/25", "192.168.1.128/25" },
        { "fd00::1/8", "fd00::/8" },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct fg_network network;
        char text[FG_NETWORK_TEXT];
        assert_int_equal(fg_network_parse(pairs[i][0], &network), -ERANGE);
        fg_network_text(&network, text);
        assert_string_equal(text, pairs[i][1]);
    }
}

static void a_network_contains_its_addresses_and_no_others(void **state)
{
    (void)state;
    assert_true(contains("192.168.1.0/24", "192.168.1.0"));
    assert_true(contains("192.168.1.0/24", "192.168.1.255"));
    assert_false(contains("192.168.1.0/24", "192.168.2.0"));
    assert_true(contains("10.0.0.0/9", "10.127.255.255"));
    assert_false(contains("10.0.0.0/9", "10.128.0.0"));
    assert_true(contains("10.0.0.7", "10.0.0.7"));
    assert_false(contains("10.0.0.7", "10.0.0.6"));
    assert_true(contains("0.0.0.0/0", "203.0.113.9"));
    assert_true(contains("fd00::/8", "fdff::1"));
    assert_false(contains("fd00::/8", "fe00::1"));
    assert_true(contains("2001:db8::1", "2001:db8::1"));
    assert_false(contains("2001:db8::1", "2001:db8::2"));
}

static void an_ipv4_address_in_ipv6_form_is_an_ipv4_address(void **state)
{
    (void)state;
    assert_true(contains("192.168.1.0/24", "::ffff:192.168.1.7"));
    assert_false(contains("192.168.1.0/24", "::ffff:192.168.2.7"));
    assert_true(contains("::ffff:192.168.1.0/120", "192.168.1.7"));
}

static void the_families_do_not_contain_each_other(void **state)
{
    (void)state;
    assert_false(contains("::/0", "192.168.1.7"));
    assert_false(contains("::/0", "::ffff:192.168.1.7"));
    assert_false(contains("0.0.0.0/0", "fd00::1"));
    assert_true(contains("::/0", "fd00::1"));
}

static void without_networks_everyone_is_in(void **state)
{
    (void)state;
    struct fg_networks networks;
    const struct fg_texts none = { .count = 0 };
    assert_int_equal(fg_networks_init(&networks, &none), 0);
    union fg_address other = address("203.0.113.9");
    assert_true(fg_networks_contain(&networks, &other));
    fg_networks_fini(&networks);
}

static void one_of_several_networks_is_enough(void **state)
{
    (void)state;
    struct fg_networks networks;
    char first[] = "10.0.0.0/8";
    char second[] = "fd00::/8";
    char *items[] = { first, second };
    const struct fg_texts two = { .count = 2, .items = items };
    assert_int_equal(fg_networks_init(&networks, &two), 0);
    union fg_address in = address("fd00::1");
    union fg_address out = address("192.168.1.7");
    assert_true(fg_networks_contain(&networks, &in));
    assert_false(fg_networks_contain(&networks, &out));
    fg_networks_fini(&networks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_network_is_refused),
        cmocka_unit_test(bits_beyond_the_prefix_are_told_with_what_was_meant),
        cmocka_unit_test(a_network_contains_its_addresses_and_no_others),
        cmocka_unit_test(an_ipv4_address_in_ipv6_form_is_an_ipv4_address),
        cmocka_unit_test(the_families_do_not_contain_each_other),
        cmocka_unit_test(without_networks_everyone_is_in),
        cmocka_unit_test(one_of_several_networks_is_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
