#include "fieldgate/clock.h"
#include "modbus_points.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const tables[] = { "coil", "discrete", "input", "holding", NULL };
static const char *const types[] = { "bool",   "int16",   "uint16",  "int32",  "uint32", "int64",
                                     "uint64", "float32", "float64", "string", "bits",   NULL };
static const char *const orders[] = { "ABCD", "CDAB", "BADC", "DCBA", NULL };

#define POINT(field) offsetof(struct fg_modbus_point_settings, field)

static const struct fg_setting point_settings[] = {
    { .key = "table",
      .type = FG_SETTING_CHOICE,
      .offset = POINT(table),
      .fallback = "holding",
      .choices = tables,
      .help = "Modbus: the table that the point stands in. Coils and discrete inputs are bits, input and "
              "holding registers have 16 of them; coils and holding registers can be written." },
    { .key = "address",
      .type = FG_SETTING_INTEGER,
      .offset = POINT(address),
      .fallback = "-1",
      .minimum = 0,
      .maximum = 65535,
      .help = "Modbus: the zero-based protocol address. What documents call register 40001 is address 0 of "
              "table `holding`, 30001 address 0 of `input`. Has to be given." },
    { .key = "type",
      .type = FG_SETTING_CHOICE,
      .offset = POINT(type),
      .fallback = "uint16",
      .choices = types,
      .help =
          "Modbus: what the registers hold. A coil or discrete input is a `bool`. In a register, `bool` is "
          "whether it is not 0, or one `bit` of it; `bits` are `width` bits from `bit` on, as a number. A "
          "`string` has two bytes a register and ends at a NUL." },
    { .key = "order",
      .type = FG_SETTING_CHOICE,
      .offset = POINT(order),
      .fallback = "ABCD",
      .choices = orders,
      .help = "Modbus: the order in which the bytes of a value come, A being the highest. `CDAB` has the low "
              "register first, `BADC` swapped bytes in each register (in strings too), `DCBA` both." },
    { .key = "length",
      .type = FG_SETTING_INTEGER,
      .offset = POINT(length),
      .fallback = "0",
      .minimum = 1,
      .maximum = FG_MODBUS_READ_REGISTERS_MAX,
      .unit = "registers",
      .help = "Modbus: how long a `string` is, and has to be given for one." },
    { .key = "bit",
      .type = FG_SETTING_INTEGER,
      .offset = POINT(bit),
      .fallback = "-1",
      .minimum = 0,
      .maximum = 15,
      .help = "Modbus: the lowest bit of `bits`, or the bit of a `bool` in a register; 0 is the lowest." },
    { .key = "width",
      .type = FG_SETTING_INTEGER,
      .offset = POINT(width),
      .fallback = "1",
      .minimum = 1,
      .maximum = 16,
      .help = "Modbus: how many bits `bits` has." },
    { .key = "scale",
      .type = FG_SETTING_REAL,
      .offset = POINT(scale),
      .fallback = "1.0",
      .help = "Modbus: the value is what the registers hold, times `scale`, plus `offset`." },
    { .key = "offset",
      .type = FG_SETTING_REAL,
      .offset = POINT(offset),
      .fallback = "0.0",
      .help = "See `scale`." },
    { .key = "decimals",
      .type = FG_SETTING_INTEGER,
      .offset = POINT(decimals),
      .fallback = "-1",
      .minimum = 0,
      .maximum = 15,
      .help = "Modbus: the value is rounded to so many digits behind the point; with 0 it is an integer. "
              "Default: as many as it takes." },
    { .key = "min",
      .type = FG_SETTING_REAL,
      .offset = POINT(minimum),
      .fallback = "-1e308",
      .help =
          "The least value that is written to the device; a command for less is refused. Default: what the "
          "type holds." },
    { .key = "max",
      .type = FG_SETTING_REAL,
      .offset = POINT(maximum),
      .fallback = "1e308",
      .help = "The most." },
    { .key = "writable",
      .type = FG_SETTING_BOOLEAN,
      .offset = POINT(writable),
      .fallback = "false",
      .help = "Whether commands may write the point." },
    { .key = "unit",
      .type = FG_SETTING_TEXT,
      .offset = POINT(unit),
      .fallback = "",
      .maximum = 32,
      .help = "The unit of measurement, for those who are told of the point." },
    { .key = "poll_interval",
      .type = FG_SETTING_DURATION,
      .offset = POINT(poll_interval_ns),
      .fallback = "0s",
      .minimum = 10 * FG_NS_PER_MS,
      .maximum = 7 * 86400 * FG_NS_PER_S,
      .help = "Modbus: how often the point is read. Default: the device's `poll_interval`." },
    { 0 },
};

const struct fg_schema fg_modbus_point_schema = {
    .name = "modbus point",
    .help = "What a point of a Modbus device is.",
    .size = sizeof(struct fg_modbus_point_settings),
    .settings = point_settings,
};

#define DEVICE(field) offsetof(struct fg_modbus_device_settings, field)

static const struct fg_setting device_settings[] = {
    { .key = "unit",
      .type = FG_SETTING_INTEGER,
      .offset = DEVICE(unit),
      .fallback = "1",
      .minimum = 0,
      .maximum = 255,
      .help =
          "Modbus: the device's address: 1 to 247 with `modbus-rtu`. With `modbus-tcp` what its maker says, "
          "often 1, 255 or 0." },
    { .key = "poll_interval",
      .type = FG_SETTING_DURATION,
      .offset = DEVICE(poll_interval_ns),
      .fallback = "5s",
      .minimum = 10 * FG_NS_PER_MS,
      .maximum = 7 * 86400 * FG_NS_PER_S,
      .help = "Modbus: how often the device's points are read." },
    { .key = "timeout",
      .type = FG_SETTING_DURATION,
      .offset = DEVICE(timeout_ns),
      .fallback = "500ms",
      .minimum = 5 * FG_NS_PER_MS,
      .maximum = 60 * FG_NS_PER_S,
      .help =
          "How long the device may take to answer a request, or with `reply` a command. The time that the "
          "bytes take on a serial line comes on top." },
    { .key = "retries",
      .type = FG_SETTING_INTEGER,
      .offset = DEVICE(retries),
      .fallback = "2",
      .minimum = 0,
      .maximum = 10,
      .help = "Modbus: how often a request is sent again before the device counts as not answering." },
    { .key = "max_gap",
      .type = FG_SETTING_INTEGER,
      .offset = DEVICE(max_gap),
      .fallback = "8",
      .minimum = 0,
      .maximum = 1999,
      .help = "Modbus: points are read in one request while no more addresses than these lie between them "
              "unused. 0 reads nothing that no point asks for." },
    { 0 },
};

const struct fg_schema fg_modbus_device_schema = {
    .name = "modbus device",
    .help = "How a Modbus device is asked.",
    .size = sizeof(struct fg_modbus_device_settings),
    .settings = device_settings,
};

static const struct fg_setting rtu_settings[] = {
    { .key = "gap",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct fg_modbus_rtu_settings, gap_ns),
      .fallback = "0s",
      .minimum = FG_NS_PER_MS,
      .maximum = FG_NS_PER_S,
      .help =
          "Silence after which what came is no part of a frame any more. Default: from the baud rate, with "
          "what adapters add; longer over TCP." },
    { 0 },
};

static const struct fg_schema rtu_schema = {
    .name = "protocol modbus-rtu",
    .help =
        "Modbus with CRC, on a serial line or through TCP as some converters do it. One request at a time.",
    .size = sizeof(struct fg_modbus_rtu_settings),
    .settings = rtu_settings,
};

static const struct fg_setting tcp_settings[] = {
    { .key = "pipeline",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct fg_modbus_tcp_settings, pipeline),
      .fallback = "1",
      .minimum = 1,
      .maximum = FG_MODBUS_PIPELINE_MAX,
      .help = "Requests that may be unanswered at a time. Many devices take no more than 1." },
    { 0 },
};

static const struct fg_schema tcp_schema = {
    .name = "protocol modbus-tcp",
    .help = "Modbus TCP: with a header in place of the CRC.",
    .size = sizeof(struct fg_modbus_tcp_settings),
    .settings = tcp_settings,
};

const struct fg_variant fg_protocol_modbus_rtu = { .name = "modbus-rtu",
                                                   .help = "Modbus RTU, on a serial line or through TCP.",
                                                   .schema = &rtu_schema };
const struct fg_variant fg_protocol_modbus_tcp = { .name = "modbus-tcp",
                                                   .help = "Modbus TCP.",
                                                   .schema = &tcp_schema };
const struct fg_variant *const fg_protocols[] = { &fg_protocol_modbus_rtu, &fg_protocol_modbus_tcp, NULL };

/* ---- what cannot work ---- */

struct problem {
    char *key;
    char *why;
};

static bool tell(const struct problem *problem, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool tell(const struct problem *problem, const char *key, const char *format, ...)
{
    va_list arguments;
    snprintf(problem->key, FG_MODBUS_KEY, "%s", key);
    va_start(arguments, format);
    vsnprintf(problem->why, FG_MODBUS_WHY, format, arguments);
    va_end(arguments);
    return true;
}

static bool place_problem(const struct fg_modbus_point_settings *point, const struct problem *problem)
{
    const char *table = tables[point->table];
    const char *type = types[point->type];
    if (point->address < 0) {
        return tell(problem, "address",
                    "is missing; write the zero-based protocol address, for example "
                    "address = 0; for register 40001");
    }
    if (fg_modbus_table_is_bits(point->table) && point->type != FG_MODBUS_BOOL) {
        return tell(problem, "type", "%s needs registers, and table \"%s\" has bits; write type = \"bool\"",
                    type, table);
    }
    if (point->type == FG_MODBUS_STRING && point->length <= 0) {
        return tell(problem, "length", "is missing; write how many registers the string has");
    }
    if (point->type != FG_MODBUS_STRING && point->length != 0) {
        return tell(problem, "length", "is for strings; type \"%s\" has its own length, take it out", type);
    }
    if (point->address + fg_modbus_point_registers(point) > 65536) {
        return tell(problem, "address", "%lld with %d registers passes the last address, 65535",
                    (long long)point->address, fg_modbus_point_registers(point));
    }
    return false;
}

static bool bits_problem(const struct fg_modbus_point_settings *point, const struct problem *problem)
{
    bool in_register = !fg_modbus_table_is_bits(point->table);
    if (point->bit >= 0 &&
        !(in_register && (point->type == FG_MODBUS_BITS || point->type == FG_MODBUS_BOOL))) {
        return tell(problem, "bit", "is for bits and bool in a register; take it out");
    }
    if (point->width != 1 && point->type != FG_MODBUS_BITS) {
        return tell(problem, "width", "is for type \"bits\"; take it out");
    }
    int64_t bit = point->bit < 0 ? 0 : point->bit;
    if (bit + point->width > 16) {
        return tell(problem, "width", "%lld bits from bit %lld on pass the register's 16; at most %lld",
                    (long long)point->width, (long long)bit, (long long)(16 - bit));
    }
    return false;
}

static bool number_problem(const struct fg_modbus_point_settings *point, const struct problem *problem)
{
    bool number = point->type != FG_MODBUS_BOOL && point->type != FG_MODBUS_STRING;
    const char *type = types[point->type];
    if (!isfinite(point->scale) || point->scale == 0) {
        return tell(problem, "scale", "is 0, which makes every value the offset; 1.0 leaves values alone");
    }
    if (!number && (point->scale != 1 || point->offset != 0)) {
        return tell(problem, point->scale != 1 ? "scale" : "offset",
                    "is for numbers; a %s has none, take it out", type);
    }
    if (!number && point->decimals >= 0) {
        return tell(problem, "decimals", "is for numbers; a %s has none, take it out", type);
    }
    bool limited = point->minimum > FG_MODBUS_MIN_NONE || point->maximum < FG_MODBUS_MAX_NONE;
    if (!number && limited) {
        return tell(problem, point->minimum > FG_MODBUS_MIN_NONE ? "min" : "max",
                    "is for numbers; a %s has none, take it out", type);
    }
    if (limited && !point->writable) {
        return tell(problem, point->minimum > FG_MODBUS_MIN_NONE ? "min" : "max",
                    "is for points that are written; take it out, or write writable = true");
    }
    if (!(point->minimum <= point->maximum)) {
        return tell(problem, "min", "is more than max; no value could be written");
    }
    return !isfinite(point->offset) && tell(problem, "offset", "is not finite");
}

bool fg_modbus_point_problem(const struct fg_modbus_point_settings *settings, char key[FG_MODBUS_KEY],
                             char why[FG_MODBUS_WHY])
{
    const struct problem problem = { .key = key, .why = why };
    if (place_problem(settings, &problem) || bits_problem(settings, &problem) ||
        number_problem(settings, &problem)) {
        return true;
    }
    if (settings->writable && settings->table != FG_MODBUS_COIL && settings->table != FG_MODBUS_HOLDING) {
        return tell(&problem, "writable",
                    "table \"%s\" can only be read; take it out, or write table = \"%s\"",
                    tables[settings->table], settings->table == FG_MODBUS_DISCRETE ? "coil" : "holding");
    }
    if (settings->writable && settings->length > FG_MODBUS_WRITE_REGISTERS_MAX) {
        return tell(&problem, "length", "%lld registers cannot be written at once; at most %d",
                    (long long)settings->length, FG_MODBUS_WRITE_REGISTERS_MAX);
    }
    return false;
}

void fg_modbus_point_check(struct fg_check *check, const char *where,
                           const struct fg_modbus_point_settings *point)
{
    char key[FG_MODBUS_KEY], why[FG_MODBUS_WHY], path[128];
    if (fg_modbus_point_problem(point, key, why)) {
        snprintf(path, sizeof path, "%s%s", where, key);
        fg_check_problem(check, path, "%s", why);
    }
}

void fg_modbus_device_check(struct fg_check *check, const char *where, enum fg_modbus_mode mode,
                            const struct fg_modbus_device_settings *device)
{
    char path[128];
    if (mode == FG_MODBUS_RTU && (device->unit < 1 || device->unit > 247)) {
        snprintf(path, sizeof path, "%sunit", where);
        fg_check_problem(check, path, "%lld is no device's address on a serial line; 1 to 247 are",
                         (long long)device->unit);
    }
}
