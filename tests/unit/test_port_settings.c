#include "fieldgate/config.h"
#include "fieldgate/port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char problems[4096];

static void note(void *context, const char *problem)
{
    (void)context;
    size_t used = strlen(problems);
    snprintf(problems + used, sizeof problems - used, "%s\n", problem);
}

/* What is told of a port on TCP whose other settings these are. */
static const char *told_of(const char *settings)
{
    char path[] = "/tmp/fieldgate-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    fprintf(file, "name = \"p\"; transport: { type = \"tcp-server\"; tcp_port = 0; };\n%s", settings);
    fclose(file);
    problems[0] = '\0';
    struct fg_config *config = NULL;
    if (fg_config_read(path, &fg_port_schema, note, NULL, &config) == 0) {
        fg_config_free(config);
    }
    unlink(path);
    return problems;
}

#define LINE "framing: { type = \"line\"; };"
#define KEY  LINE "identity = \"key:id\"; decoder: { type = \"json\"; };"

static void a_port_with_a_stream_needs_a_framing(void **state)
{
    (void)state;
    assert_non_null(strstr(told_of(""), "framing is missing"));
    assert_string_equal(told_of(LINE), "");
}

static void device_names_are_unique(void **state)
{
    (void)state;
    const char *told = told_of(KEY "devices = ( { name = \"a\"; }, { name = \"b\"; }, { name = \"a\"; } );");
    assert_non_null(strstr(told, "devices[2].name: \"a\" is the name of devices[0] already"));
    assert_null(strstr(told, "devices[1]"));
}

static void point_names_are_unique(void **state)
{
    (void)state;
    const char *told = told_of(
        KEY "points = ( { name = \"t\"; }, { name = \"t\"; } ); devices = ( { name = \"a\"; },"
            " { name = \"b\"; points = ( { name = \"u\"; }, { name = \"v\"; }, { name = \"u\"; } ); } );");
    assert_non_null(strstr(told, " points[1].name: \"t\" is the name of points[0] already"));
    assert_non_null(strstr(told, "devices[1].points[2].name: \"u\" is the name of points[0] already"));
    assert_null(strstr(told, "devices[0]"));
}

static void an_identity_by_port_has_one_device(void **state)
{
    (void)state;
    assert_non_null(strstr(told_of(LINE "devices = ( { name = \"a\"; }, { name = \"b\"; } );"),
                           "has 2 devices, but with identity \"port\" there is one"));
}

static void a_key_as_identity_needs_a_decoder(void **state)
{
    (void)state;
    assert_non_null(strstr(told_of(LINE "identity = \"key:id\";"), "needs a decoder that yields fields"));
    assert_non_null(strstr(told_of(LINE "identity = \"unit\";"), "is none of"));
}

#define RTU    "protocol: { type = \"modbus-rtu\"; };"
#define POINTS "points = ( { name = \"v\"; address = 0; } );"

static void a_protocol_takes_the_place_of_framing_and_decoder(void **state)
{
    (void)state;
    assert_string_equal(told_of(RTU POINTS), "");
    assert_non_null(strstr(told_of(RTU POINTS LINE), " framing: has no place beside protocol"));
    assert_non_null(strstr(told_of(RTU POINTS "decoder: { type = \"json\"; };"), " decoder: has no place"));
    assert_non_null(strstr(told_of(RTU POINTS "identity = \"peer\";"), "take identity out"));
    assert_non_null(strstr(told_of(RTU POINTS "payload = \"raw\";"), "payload: \"raw\" is for frames"));
}

static void modbus_tcp_needs_a_connection_that_is_made(void **state)
{
    (void)state;
    assert_non_null(strstr(told_of("protocol: { type = \"modbus-tcp\"; };" POINTS), "\"tcp-client\""));
}

static void polled_devices_have_points_and_units(void **state)
{
    (void)state;
    assert_non_null(strstr(told_of(RTU), " points: is missing"));
    assert_string_equal(told_of(RTU POINTS "devices = ( { name = \"a\"; }, { name = \"b\"; unit = 2; } );"),
                        "");
    assert_non_null(
        strstr(told_of(RTU POINTS "devices = ( { name = \"a\"; }, { name = \"b\"; unit = 250; } );"),
               "devices[1].unit: 250 is no device's address"));
    assert_non_null(strstr(told_of(RTU "devices = ( { name = \"a\"; points = ( { name = \"v\"; } ); } );"),
                           "devices[0].points[0].address: is missing"));
}

static void an_address_without_a_protocol_is_told(void **state)
{
    (void)state;
    assert_non_null(strstr(told_of(LINE POINTS), "points[0].address: is for ports with a protocol"));
    assert_non_null(strstr(told_of(KEY "devices = ( { name = \"a\"; " POINTS " } );"),
                           "devices[0].points[0].address: is for ports with a protocol"));
}

static void each_key_that_needs_a_protocol_is_told_where_it_stands(void **state)
{
    (void)state;
    static const char *const on_device[] = { "unit = 1;", "poll_interval = \"5s\";", "retries = 2;",
                                             "max_gap = 8;" };
    static const char *const on_point[] = {
        "table = \"holding\";", "type = \"uint16\";", "order = \"ABCD\";",      "length = 1;",   "bit = 1;",
        "width = 1;",           "scale = 1.0;",       "offset = 0.0;",          "decimals = 1;", "min = 0.0;",
        "max = 1.0;",           "writable = false;",  "poll_interval = \"5s\";"
    };
    char settings[300], wanted[100];
    for (size_t i = 0; i < sizeof on_device / sizeof on_device[0]; i++) {
        int length = (int)strcspn(on_device[i], " ");
        snprintf(settings, sizeof settings, LINE "%s", on_device[i]);
        snprintf(wanted, sizeof wanted, " %.*s: is for ports with a protocol", length, on_device[i]);
        assert_non_null(strstr(told_of(settings), wanted));
        snprintf(settings, sizeof settings, KEY "devices = ( { name = \"a\"; }, { name = \"b\"; %s } );",
                 on_device[i]);
        snprintf(wanted, sizeof wanted, "devices[1].%.*s: is for ports with a protocol", length,
                 on_device[i]);
        assert_non_null(strstr(told_of(settings), wanted));
    }
    for (size_t i = 0; i < sizeof on_point / sizeof on_point[0]; i++) {
        int length = (int)strcspn(on_point[i], " ");
        snprintf(settings, sizeof settings, LINE "points = ( { name = \"v\"; %s } );", on_point[i]);
        snprintf(wanted, sizeof wanted, " points[0].%.*s: is for ports with a protocol", length, on_point[i]);
        assert_non_null(strstr(told_of(settings), wanted));
    }
}

static void what_a_command_needs_is_no_matter_of_protocols(void **state)
{
    (void)state;
    assert_string_equal(told_of(LINE "reply = true; timeout = \"1s\"; writable = true;"), "");
    assert_string_equal(told_of(LINE "points = ( { name = \"v\"; unit = \"V\"; } );"), "");
    assert_non_null(strstr(told_of(RTU POINTS "reply = true;"), " reply: is for devices without a protocol"));
    assert_non_null(strstr(told_of(RTU POINTS "writable = false;"), " writable: is said by each point"));
    assert_non_null(strstr(told_of(LINE "reply = true; writable = false;"), " reply: "));
}

static void tens_of_thousands_of_devices_are_checked(void **state)
{
    (void)state;
    static char settings[1000000];
    size_t used = (size_t)snprintf(settings, sizeof settings, "%s",
                                   KEY "max_devices = 100000; devices = ( { name = \"x\"; }");
    for (int i = 0; i < 50000; i++) {
        used += (size_t)snprintf(settings + used, sizeof settings - used, ",{name=\"%d\";}", i);
    }
    snprintf(settings + used, sizeof settings - used, ");");
    assert_string_equal(told_of(settings), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_with_a_stream_needs_a_framing),
        cmocka_unit_test(device_names_are_unique),
        cmocka_unit_test(point_names_are_unique),
        cmocka_unit_test(an_identity_by_port_has_one_device),
        cmocka_unit_test(a_key_as_identity_needs_a_decoder),
        cmocka_unit_test(a_protocol_takes_the_place_of_framing_and_decoder),
        cmocka_unit_test(modbus_tcp_needs_a_connection_that_is_made),
        cmocka_unit_test(polled_devices_have_points_and_units),
        cmocka_unit_test(an_address_without_a_protocol_is_told),
        cmocka_unit_test(each_key_that_needs_a_protocol_is_told_where_it_stands),
        cmocka_unit_test(what_a_command_needs_is_no_matter_of_protocols),
        cmocka_unit_test(tens_of_thousands_of_devices_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
