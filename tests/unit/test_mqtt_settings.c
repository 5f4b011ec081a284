#include "mqtt/address.h"

#include "fieldgate/publisher.h"
#include "fieldgate/setting.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Stands in for the reader: what the checks tell is collected here. */
static char told[2048];

void fg_check_problem(struct fg_check *check, const char *path, const char *format, ...)
{
    size_t used = strlen(told);
    va_list arguments;
    (void)check;
    used += (size_t)snprintf(told + used, sizeof told - used, "%s: ", path);
    va_start(arguments, format);
    used += (size_t)vsnprintf(told + used, sizeof told - used, format, arguments);
    va_end(arguments);
    snprintf(told + used, sizeof told - used, "\n");
}

struct fixture {
    char *address;
    struct fg_mqtt_settings mqtt;
    struct fg_tls_settings tls;
};

static struct fixture good(void)
{
    static char localhost[] = "localhost:1883", id[] = "fieldgate-{gateway}", base[] = "fieldgate/{gateway}",
                none[] = "";
    return (struct fixture){
        .address = localhost,
        .mqtt = { .address = { 1, NULL },
                  .client_id = id,
                  .username = none,
                  .password_file = none,
                  .base_topic = base,
                  .reconnect_min_ns = 1,
                  .reconnect_max_ns = 60 },
        .tls = { none, none, none, none, none, none, none, none, 0, false },
    };
}

static const char *check(struct fixture fixture)
{
    told[0] = '\0';
    fixture.mqtt.address.items = &fixture.address;
    fg_mqtt_schema.check(NULL, &fixture.mqtt);
    return told;
}

static const char *check_tls(const struct fg_tls_settings *tls)
{
    const struct fg_setting *row = fg_mqtt_schema.settings;
    while (strcmp(row->key, "tls") != 0) {
        row++;
    }
    told[0] = '\0';
    row->schema->check(NULL, tls);
    return told;
}

static void addresses_are_host_and_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int port;
    } valid[] = {
        { "localhost:1883", "localhost", 1883 },
        { "10.0.0.1:1", "10.0.0.1", 1 },
        { "[::1]:65535", "::1", 65535 },
        { "[fe80::1%eth0]:1883", "fe80::1%eth0", 1883 },
    };
    static const char *const bad[] = { "",          "localhost",    ":1883",      "localhost:", "localhost:0",
                                       "a:65536",   "::1:1883",     "[::1]",      "[::1]1883",  "[nope]:1883",
                                       "[::1:1883", "a b:1883",     "mqtt://a:1", "a:1883x",    "a:-1",
                                       "a:+1",      "a:99999999999" };
    char host[FG_HOST_MAX + 1];
    int port = 0;
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++) {
        assert_int_equal(fg_mqtt_parse_address(valid[i].text, host, &port), 0);
        assert_string_equal(host, valid[i].host);
        assert_int_equal(port, valid[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fixture fixture = good();
        char text[64];
        snprintf(text, sizeof text, "%s", bad[i]);
        fixture.address = text;
        assert_int_equal(fg_mqtt_parse_address(bad[i], host, &port), -EINVAL);
        assert_non_null(strstr(check(fixture), "address: "));
    }
}

static void the_gateway_is_put_in(void **state)
{
    (void)state;
    char out[16];
    assert_int_equal(fg_mqtt_expand("a/{gateway}/b", "pi", out, sizeof out), 0);
    assert_string_equal(out, "a/pi/b");
    assert_int_equal(fg_mqtt_expand("plain", "pi", out, sizeof out), 0);
    assert_string_equal(out, "plain");
    assert_int_equal(fg_mqtt_expand("0123456789abcde", "pi", out, sizeof out), 0);
    assert_int_equal(fg_mqtt_expand("0123456789abcdef", "pi", out, sizeof out), -EMSGSIZE);
}

static void good_settings_pass(void **state)
{
    (void)state;
    struct fixture fixture = good();
    assert_string_equal(check(fixture), "");
    assert_string_equal(check_tls(&fixture.tls), "");
}

static void names_are_checked(void **state)
{
    (void)state;
    static const char *const bases[] = { "a/+", "#", "$SYS", "a/", "a/{device}", "a\nb", "a{gateway" };
    static const char *const ids[] = { "{port}", "a\tb", "a}" };
    char text[32];
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        struct fixture fixture = good();
        snprintf(text, sizeof text, "%s", bases[i]);
        fixture.mqtt.base_topic = text;
        assert_int_equal(strncmp(check(fixture), "base_topic: ", 12), 0);
    }
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct fixture fixture = good();
        snprintf(text, sizeof text, "%s", ids[i]);
        fixture.mqtt.client_id = text;
        assert_int_equal(strncmp(check(fixture), "client_id: ", 11), 0);
    }
}

static void settings_that_need_each_other_are_checked(void **state)
{
    (void)state;
    char file[] = "/x";
    struct fixture fixture = good();
    fixture.mqtt.reconnect_min_ns = 61;
    assert_int_equal(strncmp(check(fixture), "reconnect_min: ", 15), 0);
    fixture = good();
    fixture.mqtt.password_file = file;
    assert_int_equal(strncmp(check(fixture), "password_file: ", 15), 0);
    fixture = good();
    fixture.tls.cert_file = file;
    assert_int_equal(strncmp(check_tls(&fixture.tls), "cert_file: ", 11), 0);
    fixture = good();
    fixture.tls.key_file = file;
    assert_int_equal(strncmp(check_tls(&fixture.tls), "key_file: ", 10), 0);
    fixture = good();
    fixture.tls.psk_identity = file;
    assert_int_equal(strncmp(check_tls(&fixture.tls), "psk_identity: ", 14), 0);
    fixture = good();
    fixture.tls.psk_identity = fixture.tls.psk_file = fixture.tls.ca_file = file;
    assert_int_equal(strncmp(check_tls(&fixture.tls), "psk_file: ", 10), 0);
}

/* Names and defaults are promised to users. */
static void the_table_says_what_was_promised(void **state)
{
    (void)state;
    static const char *const promised[][2] = {
        { "address", "localhost:1883" },
        { "protocol", "5" },
        { "client_id", "fieldgate-{gateway}" },
        { "username", "" },
        { "password_file", "" },
        { "keepalive", "60s" },
        { "clean_session", "false" },
        { "session_expiry", "1h" },
        { "qos", "1" },
        { "retain", "false" },
        { "max_inflight", "100" },
        { "linger", "0ms" },
        { "reconnect_min", "1s" },
        { "reconnect_max", "60s" },
        { "base_topic", "fieldgate/{gateway}" },
        { "tls", NULL },
    };
    for (size_t i = 0; i < sizeof promised / sizeof promised[0]; i++) {
        const struct fg_setting *row = &fg_mqtt_schema.settings[i];
        assert_string_equal(row->key, promised[i][0]);
        assert_non_null(row->help);
        if (promised[i][1]) {
            assert_string_equal(row->fallback, promised[i][1]);
        }
    }
    assert_null(fg_mqtt_schema.settings[sizeof promised / sizeof promised[0]].key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_host_and_port),
        cmocka_unit_test(the_gateway_is_put_in),
        cmocka_unit_test(good_settings_pass),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(settings_that_need_each_other_are_checked),
        cmocka_unit_test(the_table_says_what_was_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
