#include "fieldgate/clock.h"
#include "fieldgate/decoder.h"
#include "fieldgate/framing.h"
#include "fieldgate/map.h"
#include "fieldgate/port.h"
#include "fieldgate/topic.h"
#include "fieldgate/transport.h"
#include "polling.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct fg_setting report_settings[] = {
    { .key = "on_change",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct fg_report_settings, on_change),
      .fallback = "false",
      .help = "Publish only when the value differs from the one published last." },
    { .key = "deadband",
      .type = FG_SETTING_REAL,
      .offset = offsetof(struct fg_report_settings, deadband),
      .fallback = "0.0",
      .minimum = 0,
      .maximum = INT64_C(1000000000000),
      .help = "Publish only when a number differs by more than this from the one published last." },
    { .key = "deadband_percent",
      .type = FG_SETTING_REAL,
      .offset = offsetof(struct fg_report_settings, deadband_percent),
      .fallback = "0.0",
      .minimum = 0,
      .maximum = 1000,
      .unit = "%",
      .help =
          "As `deadband`, in percent of the value published last. Where both are set, both must be passed." },
    { .key = "min_interval",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct fg_report_settings, min_interval_ns),
      .fallback = "0s",
      .minimum = 0,
      .maximum = 30 * 86400 * FG_NS_PER_S,
      .help = "Publish at most this often. The latest value held back is published when the time is over." },
    { .key = "max_interval",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct fg_report_settings, max_interval_ns),
      .fallback = "0s",
      .minimum = 0,
      .maximum = 30 * 86400 * FG_NS_PER_S,
      .help = "Publish a value that comes this long after the last published one, changed or not." },
    { 0 },
};

static void check_report(struct fg_check *check, const void *settings)
{
    const struct fg_report_settings *report = settings;
    if (report->max_interval_ns > 0 && report->max_interval_ns < report->min_interval_ns) {
        fg_check_problem(check, "max_interval", "is shorter than min_interval; make it longer, or \"0s\"");
    }
}

static const struct fg_schema report_schema = {
    .name = "report",
    .help = "When a value is worth a message. On a device it holds for all of its points, on a port for all "
            "of its "
            "devices.",
    .size = sizeof(struct fg_report_settings),
    .settings = report_settings,
    .check = check_report,
};

static const struct fg_setting point_settings[] = {
    { .key = "name",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_point_settings, name),
      .minimum = 1,
      .maximum = FG_NAME_MAX,
      .help = "The point's name: the decoded field that these settings are for; with a protocol, what it is "
              "to be called." },
    { .key = "report",
      .type = FG_SETTING_GROUP,
      .offset = offsetof(struct fg_point_settings, report),
      .schema = &report_schema,
      .help = "When this point is worth a message; what is not said here is as on the device." },
    { .key = "",
      .type = FG_SETTING_INLINE,
      .offset = offsetof(struct fg_point_settings, modbus),
      .schema = &fg_modbus_point_schema },
    { 0 },
};

static const struct fg_schema point_schema = {
    .name = "points",
    .help = "Points that differ from the rest of their device; with a protocol, the points that are read.",
    .size = sizeof(struct fg_point_settings),
    .settings = point_settings,
};

static void check_topic(struct fg_check *check, const char *key, const void *field)
{
    char why[160];
    if (fg_topic_check(*(char *const *)field, why, sizeof why)) {
        fg_check_problem(check, key, "%s", why);
    }
}

static const char *const payload_choices[] = { "auto", "json", "raw", "points", NULL };

static const struct fg_setting defaults_settings[] = {
    { .key = "qos",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct fg_device_defaults, qos),
      .fallback = "1",
      .minimum = 0,
      .maximum = 2,
      .help = "MQTT quality of service of the readings. Default: `mqtt.qos`." },
    { .key = "retain",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct fg_device_defaults, retain),
      .fallback = "false",
      .help = "Whether the broker keeps the latest reading for new subscribers. Default: `mqtt.retain`." },
    { .key = "topic",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_device_defaults, topic),
      .fallback = "{base}/{device}/state",
      .minimum = 1,
      .maximum = 1024,
      .check = check_topic,
      .help = "Where readings are published. May hold {base}, {gateway}, {port}, {device}, {point} and "
              "{key:NAME} for "
              "a decoded field." },
    { .key = "payload",
      .type = FG_SETTING_CHOICE,
      .offset = offsetof(struct fg_device_defaults, payload),
      .fallback = "auto",
      .choices = payload_choices,
      .help =
          "`json`: one object a reading. `raw`: the frame as it came. `points`: one message a point. `auto`: "
          "`raw` with the raw decoder, else `json`." },
    { .key = "stale_after",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct fg_device_defaults, stale_after_ns),
      .fallback = "0s",
      .minimum = 0,
      .maximum = 365 * 86400 * FG_NS_PER_S,
      .help = "The device is offline when nothing came from it for this long. 0 is never." },
    { .key = "time_key",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_device_defaults, time_key),
      .fallback = "",
      .maximum = FG_NAME_MAX,
      .help = "The decoded field that holds the device's own time (Unix seconds or milliseconds, or RFC "
              "3339); it "
              "becomes `ts`." },
    { .key = "writable",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct fg_device_defaults, writable),
      .fallback = "true",
      .help =
          "Whether commands may send bytes to the device, as one frame of the port's framing. They go over "
          "the link that brought its latest frame (of `udp`: to the sender of that), or over the only link "
          "of a port that is one device. Programs that send datagrams to a `unix` socket cannot be "
          "answered. With a protocol, `writable` stands on points." },
    { .key = "reply",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct fg_device_defaults, reply),
      .fallback = "false",
      .help = "Whether the device answers what commands send: its next frame on the same link, within "
              "`timeout`, is the answer (and a reading like any other). Until then further commands to it "
              "wait." },
    { .key = "report",
      .type = FG_SETTING_GROUP,
      .offset = offsetof(struct fg_device_defaults, report),
      .schema = &report_schema,
      .help = "When a value is worth a message." },
    { .key = "points",
      .type = FG_SETTING_LIST,
      .offset = offsetof(struct fg_device_defaults, points),
      .fallback = "",
      .maximum = FG_RECORD_MAX_FIELDS,
      .schema = &point_schema,
      .inherit_from = offsetof(struct fg_device_defaults, report),
      .inherit_to = offsetof(struct fg_point_settings, report),
      .inherit_size = sizeof(struct fg_report_settings),
      .help = "Points that differ from the rest; with a protocol, the points that are read." },
    { .key = "",
      .type = FG_SETTING_INLINE,
      .offset = offsetof(struct fg_device_defaults, modbus),
      .schema = &fg_modbus_device_schema },
    { 0 },
};

static const struct fg_schema defaults_schema = {
    .name = "device settings",
    .help = "These stand on a device, or on a port for all of its devices.",
    .size = sizeof(struct fg_device_defaults),
    .settings = defaults_settings,
};

static const struct fg_setting device_settings[] = {
    { .key = "name",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_device_settings, name),
      .minimum = 1,
      .maximum = FG_NAME_MAX,
      .help = "The device's name: as `identity` finds it, or free where the port is one device." },
    { .key = "",
      .type = FG_SETTING_INLINE,
      .offset = offsetof(struct fg_device_settings, defaults),
      .schema = &defaults_schema },
    { 0 },
};

static const struct fg_schema device_schema = {
    .name = "devices",
    .help = "A device of the port.",
    .size = sizeof(struct fg_device_settings),
    .settings = device_settings,
};

static void check_name(struct fg_check *check, const char *key, const void *field)
{
    const char *name = *(char *const *)field;
    size_t good = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    if (name[good]) {
        fg_check_problem(check, key, "\"%s\" has a character other than letters, digits, '_' and '-'", name);
    }
}

static void check_identity(struct fg_check *check, const char *key, const void *field)
{
    const char *identity = *(char *const *)field;
    bool known = strcmp(identity, "port") == 0 || strcmp(identity, "peer") == 0 ||
                 (strncmp(identity, "key:", 4) == 0 && identity[4]);
    if (!known) {
        fg_check_problem(check, key, "\"%s\" is none of \"port\", \"peer\" and \"key:NAME\"", identity);
    }
}

static const struct fg_setting port_settings[] = {
    { .key = "name",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_port_settings, name),
      .minimum = 1,
      .maximum = 64,
      .check = check_name,
      .help = "The port's name, unique: letters, digits, '_' and '-'." },
    { .key = "transport",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct fg_port_settings, transport),
      .variants = fg_transports,
      .help = "The way onto the wire." },
    { .key = "framing",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct fg_port_settings, framing),
      .fallback = "",
      .variants = fg_framings,
      .help = "Where a frame begins and ends. Needed on streams; without it a datagram is one frame." },
    { .key = "decoder",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct fg_port_settings, decoder),
      .fallback = "",
      .variants = fg_decoders,
      .help = "How values are read from a frame. Without it: `raw`." },
    { .key = "protocol",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct fg_port_settings, protocol),
      .fallback = "",
      .variants = fg_protocols,
      .help = "In place of framing and decoder, for devices that send nothing unless they are asked." },
    { .key = "identity",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_port_settings, identity),
      .fallback = "port",
      .maximum = FG_NAME_MAX,
      .check = check_identity,
      .help = "Which device a frame belongs to. `port`: the port's own; `peer`: the address of the peer; "
              "`key:NAME`: "
              "the value of that decoded field." },
    { .key = "allow_unknown",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct fg_port_settings, allow_unknown),
      .fallback = "true",
      .help = "Whether devices that are not listed are taken, with the port's settings." },
    { .key = "max_devices",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct fg_port_settings, max_devices),
      .fallback = "1000",
      .minimum = 1,
      .maximum = 100000,
      .help = "The most devices that the port knows, listed ones included. Frames of further ones are "
              "rejected." },
    { .key = "",
      .type = FG_SETTING_INLINE,
      .offset = offsetof(struct fg_port_settings, defaults),
      .schema = &defaults_schema },
    { .key = "devices",
      .type = FG_SETTING_LIST,
      .offset = offsetof(struct fg_port_settings, devices),
      .fallback = "",
      .maximum = 100000,
      .schema = &device_schema,
      .inherit_from = offsetof(struct fg_port_settings, defaults),
      .inherit_to = offsetof(struct fg_device_settings, defaults),
      .inherit_size = sizeof(struct fg_device_defaults),
      .help = "The devices that are known beforehand. May be left out: one device with the port's name." },
    { 0 },
};

static void check_names(struct fg_check *check, const struct fg_port_settings *port)
{
    const struct fg_device_settings *devices = port->devices.items;
    struct fg_map names; /* there may be a hundred thousand: looked up, not compared each with each */
    fg_map_init(&names);
    for (size_t i = 0; i < port->devices.count; i++) {
        const char *name = devices[i].name;
        if (fg_map_add(&names, name, strlen(name), (void *)(uintptr_t)&devices[i]) == -EEXIST) {
            const struct fg_device_settings *first = fg_map_get(&names, name, strlen(name));
            char path[48];
            snprintf(path, sizeof path, "devices[%zu].name", i);
            fg_check_problem(check, path, "\"%s\" is the name of devices[%zu] already; names are unique",
                             name, (size_t)(first - devices));
        }
    }
    fg_map_fini(&names);
}

/* where is "" for the port, else as in "devices[3]." */
static void check_points(struct fg_check *check, const char *where, const struct fg_settings_list *list)
{
    const struct fg_point_settings *points = list->items;
    char path[64];
    for (size_t i = 0; i < list->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(points[i].name, points[j].name) == 0) {
                snprintf(path, sizeof path, "%spoints[%zu].name", where, i);
                fg_check_problem(check, path, "\"%s\" is the name of points[%zu] already; names are unique",
                                 points[i].name, j);
                break;
            }
        }
    }
}

static void check_devices(struct fg_check *check, const struct fg_port_settings *port)
{
    const struct fg_device_settings *devices = port->devices.items;
    check_names(check, port);
    check_points(check, "", &port->defaults.points);
    for (size_t i = 0; i < port->devices.count; i++) {
        if (devices[i].defaults.points.items != port->defaults.points.items) {
            char where[32];
            snprintf(where, sizeof where, "devices[%zu].", i);
            check_points(check, where, &devices[i].defaults.points);
        }
    }
    if (strcmp(port->identity, "port") == 0 && port->devices.count > 1 && !fg_port_is_polled(port)) {
        fg_check_problem(check, "devices",
                         "has %zu devices, but with identity \"port\" there is one; set identity to "
                         "\"peer\" or \"key:NAME\"",
                         port->devices.count);
    }
    if ((int64_t)port->devices.count > port->max_devices) {
        fg_check_problem(check, "max_devices", "is less than the %zu devices listed", port->devices.count);
    }
}

static void check_port(struct fg_check *check, const void *settings)
{
    const struct fg_port_settings *port = settings;
    check_devices(check, port);
    fg_polling_check(check, port);
    if (fg_port_is_polled(port)) {
        return;
    }
    if (!port->framing.variant && !fg_transport_is_datagram(&port->transport)) {
        fg_check_problem(check, "",
                         "framing is missing, and \"%s\" is a stream; write, for example, framing: { type = "
                         "\"line\"; };",
                         port->transport.variant->name);
    }
    if (strncmp(port->identity, "key:", 4) == 0 && !port->decoder.variant) {
        fg_check_problem(check, "identity", "\"%s\" needs a decoder that yields fields", port->identity);
    }
}

const struct fg_schema fg_port_schema = {
    .name = "ports",
    .help = "A way onto a wire, and what is on it.",
    .size = sizeof(struct fg_port_settings),
    .settings = port_settings,
    .check = check_port,
};
