#include "support/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the table ---- */

static void check_topic(struct fg_check *check, const char *key, const void *field)
{
    const char *topic = *(char *const *)field;
    if (strchr(topic, '#')) {
        fg_check_problem(check, key, "\"#\" cannot stand in a topic; take it out");
    }
}

static void check_baud(struct fg_check *check, const char *key, const void *field)
{
    int64_t baud = *(const int64_t *)field;
    if (baud == 9601) {
        fg_check_problem(check, key, "9601 is not a standard rate; did you mean 9600?");
    }
}

static void check_network(struct fg_check *check, const char *key, const void *field)
{
    const char *network = *(char *const *)field;
    if (!strchr(network, '/')) {
        fg_check_problem(check, key, "\"%s\" is no network; write \"%s/32\"", network, network);
    }
}

static void check_gateway(struct fg_check *check, const void *settings)
{
    const struct sample_gateway *gateway = settings;
    if (gateway->minimum_ns > gateway->maximum_ns) {
        fg_check_problem(check, "minimum", "is longer than maximum; make it shorter");
    }
}

static void check_root(struct fg_check *check, const void *settings)
{
    const struct sample *sample = settings;
    const struct sample_port *ports = sample->ports.items;
    for (size_t i = 1; i < sample->ports.count; i++) {
        if (strcmp(ports[i].name, ports[0].name) == 0) {
            char path[64];
            snprintf(path, sizeof path, "ports[%zu].name", i);
            fg_check_problem(check, path, "\"%s\" is the name of ports[0] too; choose another",
                             ports[i].name);
        }
    }
}

static const struct fg_setting report_settings[] = {
    { .key = "on_change",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct sample_report, on_change),
      .fallback = "false",
      .help = "Only what changed." },
    { .key = "deadband",
      .type = FG_SETTING_REAL,
      .offset = offsetof(struct sample_report, deadband),
      .fallback = "0.0",
      .minimum = 0,
      .maximum = 1000,
      .help = "Changes up to this are none." },
    { .key = "min_interval",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct sample_report, min_interval_ns),
      .fallback = "0s",
      .minimum = 0,
      .maximum = INT64_C(86400000000000),
      .help = "Not more often." },
    { 0 },
};
static const struct fg_schema report_schema = { .name = "Report",
                                                .help = "What is worth a message.",
                                                .size = sizeof(struct sample_report),
                                                .settings = report_settings };

static const struct fg_setting proof_settings[] = {
    { .key = "ca_file",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct sample_proof, ca_file),
      .fallback = "",
      .help = "Whom to trust." },
    { .key = "insecure",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct sample_proof, insecure),
      .fallback = "false",
      .help = "Trust anyone." },
    { 0 },
};
static const struct fg_schema proof_schema = {
    .name = "Proof", .help = "Who is who.", .size = sizeof(struct sample_proof), .settings = proof_settings
};

static const struct fg_setting common_settings[] = {
    { .key = "qos",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct sample_common, qos),
      .fallback = "1",
      .minimum = 0,
      .maximum = 2,
      .help = "How sure." },
    { .key = "stale_after",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct sample_common, stale_after_ns),
      .fallback = "0s",
      .minimum = 0,
      .maximum = INT64_MAX,
      .help = "Offline after this silence." },
    { .key = "topic",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct sample_common, topic),
      .fallback = "{base}/{device}/state",
      .minimum = 1,
      .maximum = 64,
      .help = "Where to; a | is allowed.",
      .check = check_topic },
    { .key = "report",
      .type = FG_SETTING_GROUP,
      .offset = offsetof(struct sample_common, report),
      .help = "What to tell.",
      .schema = &report_schema },
    { .key = "proof",
      .type = FG_SETTING_OPTIONAL,
      .offset = offsetof(struct sample_common, proof),
      .help = "Its own proof.",
      .schema = &proof_schema },
    { 0 },
};
static const struct fg_schema common_schema = { .name = "Device defaults",
                                                .help = "Of devices and ports.",
                                                .size = sizeof(struct sample_common),
                                                .settings = common_settings };

static const struct fg_setting device_settings[] = {
    { .key = "name",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct sample_device, name),
      .minimum = 1,
      .maximum = 64,
      .help = "Its name." },
    { .key = "",
      .type = FG_SETTING_INLINE,
      .offset = offsetof(struct sample_device, common),
      .schema = &common_schema },
    { 0 },
};
static const struct fg_schema device_schema = {
    .name = "Device", .help = "One device.", .size = sizeof(struct sample_device), .settings = device_settings
};

static const char *const flows[] = { "none", "rts-cts", "xon-xoff", NULL };
static const struct fg_setting serial_settings[] = {
    { .key = "path",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct sample_serial, path),
      .minimum = 1,
      .maximum = 255,
      .help = "The line." },
    { .key = "baud",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct sample_serial, baud),
      .fallback = "9600",
      .minimum = 50,
      .maximum = 4000000,
      .unit = "bit/s",
      .help = "How fast.",
      .check = check_baud },
    { .key = "flow",
      .type = FG_SETTING_CHOICE,
      .offset = offsetof(struct sample_serial, flow),
      .fallback = "none",
      .choices = flows,
      .help = "Who may send." },
    { 0 },
};
static const struct fg_schema serial_schema = { .name = "Serial",
                                                .size = sizeof(struct sample_serial),
                                                .settings = serial_settings };

static const struct fg_setting tcp_settings[] = {
    { .key = "address",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct sample_tcp, address),
      .fallback = "127.0.0.1",
      .help = "Where." },
    { .key = "max_bytes",
      .type = FG_SETTING_SIZE,
      .offset = offsetof(struct sample_tcp, max_bytes),
      .fallback = "64KiB",
      .minimum = 1,
      .maximum = 1 << 20,
      .help = "How much." },
    { .key = "allow",
      .type = FG_SETTING_TEXTS,
      .offset = offsetof(struct sample_tcp, allow),
      .fallback = "",
      .minimum = 0,
      .maximum = 3,
      .help = "Who may.",
      .check = check_network },
    { 0 },
};
static const struct fg_schema tcp_schema = { .name = "Tcp",
                                             .size = sizeof(struct sample_tcp),
                                             .settings = tcp_settings };

static const struct fg_variant serial_variant = { .name = "serial",
                                                  .help = "A line.",
                                                  .schema = &serial_schema };
static const struct fg_variant tcp_variant = { .name = "tcp-server",
                                               .help = "A listener.",
                                               .schema = &tcp_schema };
static const struct fg_variant *const transports[] = { &serial_variant, &tcp_variant, NULL };
static const struct fg_variant raw_variant = { .name = "raw", .help = "As it comes." };
static const struct fg_variant *const decoders[] = { &raw_variant, NULL };

static const struct fg_setting port_settings[] = {
    { .key = "devices",
      .type = FG_SETTING_LIST,
      .offset = offsetof(struct sample_port, devices),
      .fallback = "",
      .help = "Behind it.",
      .schema = &device_schema,
      .inherit_from = offsetof(struct sample_port, common),
      .inherit_to = offsetof(struct sample_device, common),
      .inherit_size = sizeof(struct sample_common) },
    { .key = "name",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct sample_port, name),
      .minimum = 1,
      .maximum = 64,
      .help = "Its name." },
    { .key = "",
      .type = FG_SETTING_INLINE,
      .offset = offsetof(struct sample_port, common),
      .schema = &common_schema },
    { .key = "transport",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct sample_port, transport),
      .help = "The wire.",
      .variants = transports },
    { .key = "decoder",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct sample_port, decoder),
      .fallback = "",
      .help = "The meaning.",
      .variants = decoders },
    { 0 },
};
static const struct fg_schema port_schema = {
    .name = "Port", .help = "One wire.", .size = sizeof(struct sample_port), .settings = port_settings
};

static const char *const levels[] = { "error", "warning", "info", "debug", NULL };
static const struct fg_setting gateway_settings[] = {
    { .key = "id",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct sample_gateway, id),
      .fallback = "",
      .minimum = 1,
      .maximum = 64,
      .help = "Its name; empty by default: the host's." },
    { .key = "workers",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct sample_gateway, workers),
      .fallback = "2",
      .minimum = 1,
      .maximum = 16,
      .unit = "threads",
      .help = "How many.",
      .restart = true },
    { .key = "log_level",
      .type = FG_SETTING_CHOICE,
      .offset = offsetof(struct sample_gateway, log_level),
      .fallback = "info",
      .choices = levels,
      .help = "How much." },
    { .key = "queue_bytes",
      .type = FG_SETTING_SIZE,
      .offset = offsetof(struct sample_gateway, queue_bytes),
      .fallback = "4MiB",
      .minimum = 65536,
      .maximum = INT64_MAX,
      .help = "How many wait." },
    { .key = "minimum",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct sample_gateway, minimum_ns),
      .fallback = "1s",
      .minimum = 1000000,
      .maximum = INT64_C(3600000000000),
      .help = "Least." },
    { .key = "maximum",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct sample_gateway, maximum_ns),
      .fallback = "60s",
      .help = "Most." },
    { 0 },
};
static const struct fg_schema gateway_schema = { .name = "Gateway",
                                                 .size = sizeof(struct sample_gateway),
                                                 .settings = gateway_settings,
                                                 .check = check_gateway };

static const struct fg_setting root_settings[] = {
    { .key = "gateway",
      .type = FG_SETTING_GROUP,
      .offset = offsetof(struct sample, gateway),
      .schema = &gateway_schema,
      .help = "The whole." },
    { .key = "tls",
      .type = FG_SETTING_OPTIONAL,
      .offset = offsetof(struct sample, tls),
      .schema = &proof_schema,
      .help = "Turns it on." },
    { .key = "ports",
      .type = FG_SETTING_LIST,
      .offset = offsetof(struct sample, ports),
      .minimum = 1,
      .maximum = 4,
      .schema = &port_schema,
      .help = "The wires." },
    { 0 },
};
const struct fg_schema sample_schema = { .name = "Settings",
                                         .help = "All there is.",
                                         .size = sizeof(struct sample),
                                         .settings = root_settings,
                                         .check = check_root };

const char sample_text[] =
    "# a whole file\n"
    "gateway: { id = \"shed\"; workers = 3; log_level = \"debug\"; queue_bytes = \"1MiB\"; };\n"
    "tls: { ca_file = \"/etc/ca\" };\n"
    "ports = (\n"
    "  { name = \"weather\"; qos = 2; stale_after = \"90s\";\n"
    "    report: { deadband = 1; min_interval = \"1.5s\"; };\n"
    "    proof: { ca_file = \"/ca\"; };\n"
    "    transport: { type = \"serial\"; path = \"/dev/ttyUSB0\"; flow = \"rts-cts\"; };\n"
    "    decoder: { type = \"raw\"; };\n"
    "    devices = (\n"
    "      { name = \"one\" },\n"
    "      { name = \"two\"; qos = 0x0; report: { on_change = true; };\n"
    "        proof: { insecure = true; }; } ); },\n"
    "  { name = \"meters\";\n"
    "    transport: { type = \"tcp-server\"; allow = [ \"10.0.0.0/8\", \"::/0\" ]; }; }\n"
    ");\n";

/* ---- the folder ---- */

static char folder[64];

int fixture_enter(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/fieldgate-config-XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

int fixture_leave(void **state)
{
    (void)state;
    return chdir("/") == 0 ? nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) : -1;
}

void fixture_write(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- reading ---- */

static void keep_problem(void *context, const char *problem)
{
    struct outcome *outcome = context;
    assert_true(outcome->count < sizeof outcome->problems / sizeof *outcome->problems);
    assert_null(strchr(problem, '\n'));
    outcome->problems[outcome->count++] = strdup(problem);
}

struct outcome fixture_read_file(const char *path)
{
    struct outcome outcome = { 0 };
    outcome.error = fg_config_read(path, &sample_schema, keep_problem, &outcome, &outcome.config);
    assert_int_equal(outcome.error != 0, outcome.count > 0);
    outcome.sample = outcome.config ? fg_config_settings(outcome.config) : NULL;
    return outcome;
}

struct outcome fixture_read(const char *text)
{
    fixture_write("x.cfg", text, strlen(text));
    return fixture_read_file("x.cfg");
}

void outcome_fini(struct outcome *outcome)
{
    for (size_t i = 0; i < outcome->count; i++) {
        free(outcome->problems[i]);
    }
    fg_config_free(outcome->config);
    *outcome = (struct outcome){ 0 };
}

bool outcome_has(const struct outcome *outcome, const char *problem)
{
    for (size_t i = 0; i < outcome->count; i++) {
        if (strcmp(outcome->problems[i], problem) == 0) {
            return true;
        }
    }
    return false;
}

void assert_problem(const char *text, const char *problem)
{
    struct outcome outcome = fixture_read(text);
    for (size_t i = 1; i < outcome.count; i++) {
        print_error("also: %s\n", outcome.problems[i]);
    }
    assert_true(outcome.count > 0);
    assert_string_equal(outcome.problems[0], problem);
    assert_int_equal(outcome.count, 1);
    outcome_fini(&outcome);
}
