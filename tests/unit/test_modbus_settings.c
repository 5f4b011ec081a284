/* The tables of Modbus settings by the reader that fills them, and every contradiction that is told. */
#include "support/config_fixture.h"
#include "support/modbus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct device {
    struct fg_chosen protocol;
    struct fg_modbus_device_settings modbus;
    struct fg_settings_list points; /* struct fg_modbus_point_settings */
};

static void check(struct fg_check *check, const void *settings)
{
    const struct device *device = settings;
    const struct fg_modbus_point_settings *points = device->points.items;
    enum fg_modbus_mode mode =
        device->protocol.variant == &fg_protocol_modbus_tcp ? FG_MODBUS_TCP : FG_MODBUS_RTU;
    fg_modbus_device_check(check, "", mode, &device->modbus);
    for (size_t i = 0; i < device->points.count; i++) {
        char where[32];
        snprintf(where, sizeof where, "points[%zu].", i);
        fg_modbus_point_check(check, where, &points[i]);
    }
}

static const struct fg_setting table[] = {
    { .key = "protocol",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct device, protocol),
      .fallback = "",
      .variants = fg_protocols },
    { .key = "",
      .type = FG_SETTING_INLINE,
      .offset = offsetof(struct device, modbus),
      .schema = &fg_modbus_device_schema },
    { .key = "points",
      .type = FG_SETTING_LIST,
      .offset = offsetof(struct device, points),
      .fallback = "",
      .maximum = 256,
      .schema = &fg_modbus_point_schema },
    { 0 },
};

static const struct fg_schema schema = {
    .name = "device", .size = sizeof(struct device), .settings = table, .check = check
};

static char problems[2000];

static void keep_problem(void *context, const char *problem)
{
    (void)context;
    size_t used = strlen(problems);
    snprintf(problems + used, sizeof problems - used, "%s\n", problem);
}

static struct fg_config *read_text(const char *text)
{
    struct fg_config *config = NULL;
    problems[0] = '\0';
    fixture_write("x.cfg", text, strlen(text));
    fg_config_read("x.cfg", &schema, keep_problem, NULL, &config);
    return config;
}

/* Wants just this problem of a point of these settings. */
static void point_problem(const char *settings, const char *problem)
{
    char text[600], wanted[600];
    snprintf(text, sizeof text, "points = ( { %s } );", settings);
    snprintf(wanted, sizeof wanted, "x.cfg:1: points[0].%s\n", problem);
    struct fg_config *config = read_text(text);
    assert_string_equal(problems, wanted);
    assert_null(config);
}

static void a_point_is_as_the_file_says(void **state)
{
    (void)state;
    struct fg_config *config =
        read_text("protocol: { type = \"modbus-tcp\"; pipeline = 4; };\n"
                  "unit = 0; poll_interval = \"1s\"; timeout = \"200ms\"; retries = 0; max_gap = 0;\n"
                  "points = ( { table = \"input\"; address = 5; type = \"float32\"; order = \"CDAB\";\n"
                  "  scale = 0.1; offset = -5.0; decimals = 2; unit = \"V\"; poll_interval = \"250ms\"; },\n"
                  "  { table = \"holding\"; address = 9; type = \"bits\"; bit = 3; width = 2;\n"
                  "    min = 1.0; max = 2.0; writable = true; },\n"
                  "  { address = 0; type = \"string\"; length = 16; } );\n");
    assert_string_equal(problems, "");
    const struct device *device = fg_config_settings(config);
    const struct fg_modbus_point_settings *points = device->points.items;
    assert_int_equal(((struct fg_modbus_tcp_settings *)device->protocol.settings)->pipeline, 4);
    assert_int_equal(device->modbus.unit, 0);
    assert_int_equal(device->modbus.poll_interval_ns, 1000000000);
    assert_int_equal(device->modbus.timeout_ns, 200000000);
    assert_int_equal(device->modbus.retries, 0);
    assert_int_equal(device->modbus.max_gap, 0);
    struct fg_modbus_point point;
    assert_int_equal(fg_modbus_point_init(&point, &points[0]), 0);
    assert_int_equal(point.table, FG_MODBUS_INPUT);
    assert_int_equal(point.address, 5);
    assert_int_equal(point.count, 2);
    assert_int_equal(point.decimals, 2);
    assert_true(point.reverse_words && !point.swap_bytes);
    assert_int_equal(point.poll_interval_ns, 250000000);
    assert_string_equal(points[0].unit, "V");
    assert_int_equal(fg_modbus_point_init(&point, &points[1]), 0);
    assert_true(point.writable && point.bit == 3 && point.width == 2);
    assert_true(point.minimum == 1 && point.maximum == 2);
    assert_int_equal(fg_modbus_point_init(&point, &points[2]), 0);
    assert_int_equal(point.count, 16);
    fg_config_free(config);
}

static void a_device_has_the_defaults_of_the_contract(void **state)
{
    (void)state;
    struct fg_config *config = read_text("protocol: { type = \"modbus-rtu\"; };");
    assert_string_equal(problems, "");
    const struct device *device = fg_config_settings(config);
    assert_int_equal(device->modbus.unit, 1);
    assert_int_equal(device->modbus.poll_interval_ns, 5000000000);
    assert_int_equal(device->modbus.timeout_ns, 500000000);
    assert_int_equal(device->modbus.retries, 2);
    assert_int_equal(device->modbus.max_gap, 8);
    fg_config_free(config);
}

static void a_point_has_the_defaults_of_the_contract(void **state)
{
    (void)state;
    struct fg_config *config = read_text("points = ( { address = 7; } );");
    assert_string_equal(problems, "");
    const struct device *device = fg_config_settings(config);
    struct fg_modbus_point_settings given = *(struct fg_modbus_point_settings *)device->points.items;
    struct fg_modbus_point_settings wanted = fg_test_modbus_point(FG_MODBUS_UINT16, 7);
    assert_string_equal(given.unit, "");
    wanted.unit = given.unit;
    struct fg_modbus_point one, other;
    memset(&one, 0, sizeof one);
    memset(&other, 0, sizeof other);
    assert_int_equal(fg_modbus_point_init(&one, &given), 0);
    assert_int_equal(fg_modbus_point_init(&other, &wanted), 0);
    assert_int_equal(one.table, other.table);
    assert_int_equal(one.type, other.type);
    assert_true(one.minimum == other.minimum && one.maximum == other.maximum);
    assert_true(one.scale == 1 && one.offset == 0 && one.decimals == -1 && !one.writable);
    fg_config_free(config);
}

static void each_contradiction_of_a_point_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *settings, *problem;
    } cases[] = {
        { "type = \"int16\";", "address: is missing; write the zero-based protocol address, for example "
                               "address = 0; for register 40001" },
        { "address = 1; table = \"coil\"; type = \"int16\";",
          "type: int16 needs registers, and table \"coil\" has bits; write type = \"bool\"" },
        { "address = 1; table = \"discrete\";",
          "type: uint16 needs registers, and table \"discrete\" has bits; write type = \"bool\"" },
        { "address = 1; type = \"string\";", "length: is missing; write how many registers the string has" },
        { "address = 1; length = 2;",
          "length: is for strings; type \"uint16\" has its own length, take it out" },
        { "address = 65535; type = \"int32\";",
          "address: 65535 with 2 registers passes the last address, 65535" },
        { "address = 65533; type = \"float64\";",
          "address: 65533 with 4 registers passes the last address, 65535" },
        { "address = 1; type = \"int16\"; bit = 3;", "bit: is for bits and bool in a register; take it out" },
        { "address = 1; table = \"coil\"; type = \"bool\"; bit = 3;",
          "bit: is for bits and bool in a register; take it out" },
        { "address = 1; type = \"bool\"; width = 2;", "width: is for type \"bits\"; take it out" },
        { "address = 1; type = \"bits\"; bit = 12; width = 5;",
          "width: 5 bits from bit 12 on pass the register's 16; at most 4" },
        { "address = 1; scale = 0.0;",
          "scale: is 0, which makes every value the offset; 1.0 leaves values alone" },
        { "address = 1; type = \"bool\"; scale = 2.0;",
          "scale: is for numbers; a bool has none, take it out" },
        { "address = 1; type = \"string\"; length = 2; offset = 1.0;",
          "offset: is for numbers; a string has none, take it out" },
        { "address = 1; type = \"bool\"; decimals = 1;",
          "decimals: is for numbers; a bool has none, take it out" },
        { "address = 1; type = \"bool\"; writable = true; max = 1.0;",
          "max: is for numbers; a bool has none, take it out" },
        { "address = 1; writable = true; min = 3.0; max = 2.0;",
          "min: is more than max; no value could be written" },
        { "address = 1; min = 3.0;",
          "min: is for points that are written; take it out, or write writable = true" },
        { "address = 1; max = 3.0;",
          "max: is for points that are written; take it out, or write writable = true" },
        { "address = 1; table = \"input\"; writable = true;",
          "writable: table \"input\" can only be read; take it out, or write table = \"holding\"" },
        { "address = 1; table = \"discrete\"; type = \"bool\"; writable = true;",
          "writable: table \"discrete\" can only be read; take it out, or write table = \"coil\"" },
        { "address = 1; type = \"string\"; length = 124; writable = true;",
          "length: 124 registers cannot be written at once; at most 123" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        point_problem(cases[i].settings, cases[i].problem);
    }
}

static void no_point_is_made_of_contradicting_settings(void **state)
{
    (void)state;
    struct fg_modbus_point_settings settings = fg_test_modbus_point(FG_MODBUS_UINT32, 65535);
    struct fg_modbus_point point;
    assert_true(fg_modbus_point_init(&point, &settings) < 0);
    settings.address = 65534;
    assert_int_equal(fg_modbus_point_init(&point, &settings), 0);
}

static void units_on_a_serial_line_are_1_to_247(void **state)
{
    (void)state;
    assert_null(read_text("protocol: { type = \"modbus-rtu\"; }; unit = 0;"));
    assert_string_equal(problems, "x.cfg:1: unit: 0 is no device's address on a serial line; 1 to 247 are\n");
    assert_null(read_text("protocol: { type = \"modbus-rtu\"; }; unit = 248;"));
    struct fg_config *config = read_text("protocol: { type = \"modbus-tcp\"; }; unit = 255;");
    assert_string_equal(problems, "");
    fg_config_free(config);
}

static void a_kind_or_key_that_is_near_is_suggested(void **state)
{
    (void)state;
    assert_null(read_text("protocol: { type = \"modbus-rtv\"; };"));
    assert_non_null(strstr(problems, "did you mean \"modbus-rtu\"?"));
    assert_null(read_text("points = ( { adress = 1; } );"));
    assert_non_null(strstr(problems, "address"));
    assert_null(read_text("points = ( { address = 1; type = \"uint17\"; } );"));
    assert_non_null(strstr(problems, "uint16"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_point_is_as_the_file_says),
        cmocka_unit_test(a_device_has_the_defaults_of_the_contract),
        cmocka_unit_test(a_point_has_the_defaults_of_the_contract),
        cmocka_unit_test(each_contradiction_of_a_point_is_told),
        cmocka_unit_test(no_point_is_made_of_contradicting_settings),
        cmocka_unit_test(units_on_a_serial_line_are_1_to_247),
        cmocka_unit_test(a_kind_or_key_that_is_near_is_suggested),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
