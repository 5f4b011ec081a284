#include "fieldgate/config.h"
#include "fieldgate/transport.h"
#include "transport/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct settings {
    struct fg_chosen transport;
};

static const struct fg_setting table[] = {
    { .key = "transport",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct settings, transport),
      .variants = fg_transports,
      .help = "The transport." },
    { .key = NULL },
};

static const struct fg_schema schema = {
    .name = "test", .help = "A port.", .size = sizeof(struct settings), .settings = table
};

static char problems[4096];

static void report(void *context, const char *problem)
{
    (void)context;
    size_t length = strlen(problems);
    snprintf(problems + length, sizeof problems - length, "%s\n", problem);
}

static int read_settings(const char *text)
{
    char path[] = "/tmp/fieldgate-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    dprintf(fd, "transport: { %s };\n", text);
    close(fd);
    problems[0] = '\0';
    struct fg_config *config = NULL;
    int result = fg_config_read(path, &schema, report, NULL, &config);
    if (result == 0) {
        fg_config_free(config);
    }
    unlink(path);
    return result;
}

static void assert_good(const char *text)
{
    if (read_settings(text) != 0) {
        fail_msg("%s: %s", text, problems);
    }
}

static void assert_problem(const char *text, const char *path, const char *problem)
{
    char wanted[512];
    snprintf(wanted, sizeof wanted, ": transport%s%s: %s", path[0] != '\0' ? "." : "", path, problem);
    if (read_settings(text) != -EINVAL || strstr(problems, wanted) == NULL) {
        fail_msg("%s: wanted \"%s\", got \"%s\"", text, wanted, problems);
    }
}

static void a_rate_that_is_not_standard_is_told_with_the_nearest(void **state)
{
    (void)state;
    assert_problem("type = \"serial\"; path = \"/dev/x\"; baud = 9601;", "baud",
                   "9601 is not a standard rate; did you mean 9600?\n");
    assert_problem("type = \"serial\"; path = \"/dev/x\"; baud = 31250;", "baud",
                   "31250 is not a standard rate; did you mean 38400, or custom_baud = true?\n");
    assert_good("type = \"serial\"; path = \"/dev/x\"; baud = 31250; custom_baud = true;");
    assert_good("type = \"serial\"; path = \"/dev/x\"; baud = 4000000;");
    assert_good("type = \"serial\"; path = \"/dev/x\";");
    assert_int_equal(read_settings("type = \"serial\"; path = \"/dev/x\"; baud = 49;"), -EINVAL);
    assert_int_equal(read_settings("type = \"serial\";"), -EINVAL);
}

static void a_format_is_bits_parity_and_stop_bits(void **state)
{
    (void)state;
    assert_good("type = \"serial\"; path = \"/dev/x\"; format = \"7E2\";");
    assert_good("type = \"serial\"; path = \"/dev/x\"; format = \"5O1\";");
    static const char *const bad[] = { "9N1", "8X1", "8N3", "8n1", "N81" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[128];
        snprintf(text, sizeof text, "type = \"serial\"; path = \"/dev/x\"; format = \"%s\";", bad[i]);
        assert_problem(text, "format", bad[i]);
    }
}

static void networks_in_allow_are_checked(void **state)
{
    (void)state;
    assert_good("type = \"udp\"; udp_port = 1; allow = [ \"192.168.1.0/24\", \"::1\" ];");
    assert_problem("type = \"udp\"; udp_port = 1; allow = [ \"::1\", \"192.168.1.7/24\" ];", "allow[1]",
                   "192.168.1.7/24 has bits set beyond its prefix; did you mean 192.168.1.0/24?");
    assert_problem("type = \"tcp-server\"; tcp_port = 1; allow = \"home\";", "allow",
                   "home is not a network");
}

static void addresses_to_bind_to_are_numeric(void **state)
{
    (void)state;
    assert_good("type = \"tcp-server\"; tcp_port = 1; bind = \"*\";");
    assert_good("type = \"tcp-server\"; tcp_port = 1; bind = \"::\";");
    assert_good("type = \"udp\"; udp_port = 1; bind = \"fe80::1%no-such-if0\";"); /* may be there later */
    assert_problem("type = \"udp\"; udp_port = 1; bind = \"localhost\";", "bind",
                   "localhost is not an address");
    assert_int_equal(read_settings("type = \"tcp-server\";"), -EINVAL);
    assert_int_equal(read_settings("type = \"tcp-server\"; tcp_port = 65536;"), -EINVAL);
}

static void an_address_to_connect_to_has_a_port(void **state)
{
    (void)state;
    assert_good("type = \"tcp-client\"; address = \"10.0.0.7:502\";");
    assert_good("type = \"tcp-client\"; address = \"[fe80::1%eth0]:502\";");
    assert_good("type = \"tcp-client\"; address = \"meter.lan:502\";");
    static const char *const bad[] = { "meter.lan",   "meter.lan:", ":502",     "meter:0",
                                       "meter:65536", "fe80::1:5",  "[::1]",    "[::1]502",
                                       "[]:502",      "meter: 502", "[::1:502", "meter:5o2" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[128];
        snprintf(text, sizeof text, "type = \"tcp-client\"; address = \"%s\";", bad[i]);
        assert_problem(text, "address", bad[i]);
    }
}

static void a_mode_is_octal(void **state)
{
    (void)state;
    assert_good("type = \"unix\"; path = \"/run/x\"; mode = \"666\";");
    assert_problem("type = \"unix\"; path = \"/run/x\"; mode = \"0888\";", "mode",
                   "0888 is not an octal mode");
    assert_problem("type = \"unix\"; path = \"/run/x\"; mode = \"4755\";", "mode",
                   "4755 is not an octal mode");
}

static void udp_and_unix_datagrams_keep_boundaries(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool datagram;
    } cases[] = {
        { "type = \"udp\"; udp_port = 1;", true },
        { "type = \"unix\"; path = \"/run/x\"; kind = \"datagram\";", true },
        { "type = \"unix\"; path = \"/run/x\";", false },
        { "type = \"tcp-server\"; tcp_port = 1;", false },
        { "type = \"serial\"; path = \"/dev/x\";", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[] = "/tmp/fieldgate-XXXXXX";
        int fd = mkstemp(path);
        dprintf(fd, "transport: { %s };\n", cases[i].text);
        close(fd);
        struct fg_config *config = NULL;
        assert_int_equal(fg_config_read(path, &schema, report, NULL, &config), 0);
        const struct settings *settings = fg_config_settings(config);
        assert_int_equal(fg_transport_is_datagram(&settings->transport), cases[i].datagram);
        fg_config_free(config);
        unlink(path);
    }
}

static void an_address_is_written_without_its_port(void **state)
{
    (void)state;
    static const char *const pairs[][2] = { { "192.168.1.7", "192.168.1.7" },
                                            { "fe80::1", "fe80::1" },
                                            { "::ffff:192.168.1.7", "192.168.1.7" } };
    char text[FG_ADDRESS_TEXT];
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        union fg_address address;
        assert_int_equal(fg_address_parse(pairs[i][0], 7001, &address), 0);
        assert_int_equal(fg_address_text(&address, text), strlen(pairs[i][1]));
        assert_string_equal(text, pairs[i][1]);
    }
    assert_int_equal(fg_address_text(NULL, text), 0);
    assert_string_equal(text, "");
    const union fg_address none = { .any = { .sa_family = AF_UNSPEC } };
    assert_int_equal(fg_address_text(&none, text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_that_is_not_standard_is_told_with_the_nearest),
        cmocka_unit_test(a_format_is_bits_parity_and_stop_bits),
        cmocka_unit_test(networks_in_allow_are_checked),
        cmocka_unit_test(addresses_to_bind_to_are_numeric),
        cmocka_unit_test(an_address_to_connect_to_has_a_port),
        cmocka_unit_test(a_mode_is_octal),
        cmocka_unit_test(udp_and_unix_datagrams_keep_boundaries),
        cmocka_unit_test(an_address_is_written_without_its_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
