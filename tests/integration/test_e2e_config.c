/* Configurations: what is right is told so, what is wrong is told with file and line, and at once. */
#include "support/client.h"
#include "support/daemon.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EX_CONFIG   78
#define PATIENCE_MS 10000

static const char good[] = "gateway: { id = \"gw\"; };\n"
                           "mqtt: { address = \"localhost:1883\"; };\n"
                           "ports = (\n"
                           "  { name = \"weather\";\n"
                           "    transport: { type = \"serial\"; path = \"/dev/ttyUSB0\"; baud = 9600; };\n"
                           "    framing: { type = \"line\"; };\n"
                           "    decoder: { type = \"json\"; }; } );\n";

static char folder[TEMPDIR_PATH];
static char output[65536];

static int set_up(void **state)
{
    (void)state;
    tempdir_make(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove(folder);
    return 0;
}

/* Checks a file; its output stands in output. */
static int check_path(const char *path)
{
    const char *arguments[] = { "--check", "-c", path, NULL };
    return daemon_run(arguments, PATIENCE_MS, output, sizeof output);
}

static int check_bytes(const void *bytes, size_t size, char path[TEMPDIR_PATH])
{
    tempdir_write(folder, "x.cfg", bytes, size, path);
    return check_path(path);
}

/* Whether a line of the output is "PATH:LINE: …", for any line number, with all of the parts behind in their
 * order. */
static bool tells(const char *path, const char *first, const char *second)
{
    size_t length = strlen(path);
    for (const char *line = output; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *end = strchrnul(line, '\n');
        if (strncmp(line, path, length) != 0 || line[length] != ':' ||
            !isdigit((unsigned char)line[length + 1])) {
            continue;
        }
        char copy[1024];
        snprintf(copy, sizeof copy, "%.*s", (int)(end - line), line);
        const char *at = strstr(copy + length, first);
        if (at && strstr(at, second)) {
            return true;
        }
    }
    return false;
}

static void assert_tells(const char *path, const char *first, const char *second)
{
    if (!tells(path, first, second)) {
        fail_msg("no line of %s with \"%s\" and \"%s\" in:\n%s", path, first, second, output);
    }
}

static void right_configuration_is_ok(void **state)
{
    (void)state;
    char path[TEMPDIR_PATH];
    char expected[TEMPDIR_PATH + 32];
    assert_int_equal(check_bytes(good, sizeof good - 1, path), 0);
    snprintf(expected, sizeof expected, "%s: OK\n", path);
    assert_string_equal(output, expected);
}

static void delivered_examples_are_ok(void **state)
{
    (void)state;
    DIR *examples = opendir(FG_TEST_SOURCE_DIR "/config");
    assert_non_null(examples);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(examples));) {
        const char *ending = strrchr(entry->d_name, '.');
        if (ending && strcmp(ending, ".cfg") == 0) {
            char path[512];
            snprintf(path, sizeof path, FG_TEST_SOURCE_DIR "/config/%s", entry->d_name);
            if (check_path(path) != 0) {
                fail_msg("%s", output);
            }
            count++;
        }
    }
    closedir(examples);
    assert_true(count >= 5);
}

static void every_problem_is_told_with_line_path_and_remedy(void **state)
{
    (void)state;
    static const char text[] =
        "gateway: { id = \"gw\"; worker = 2; };\n"
        "mqtt: { address = \"localhost:1883\"; qos = 3; keepalive = \"60\"; };\n"
        "ports = (\n"
        "  { name = \"weather\";\n"
        "    transport: { type = \"serial\"; path = \"/dev/ttyUSB0\"; baud = 9601; };\n"
        "    framing: { type = \"lines\"; };\n"
        "    decoder: { type = \"json\"; }; } );\n"
        "colour = \"red\";\n";
    char path[TEMPDIR_PATH];
    char located[TEMPDIR_PATH + 32];
    assert_int_equal(check_bytes(text, sizeof text - 1, path), EX_CONFIG);
    snprintf(located, sizeof located, "%s:1", path);
    assert_non_null(strstr(output, located));
    assert_tells(path, "gateway.worker:", "workers");
    assert_tells(path, "mqtt.qos:", "");
    assert_tells(path, "mqtt.keepalive:", "unit");
    assert_tells(path, "ports[0].transport.baud:", "9600");
    assert_tells(path, "ports[0].framing", "line");
    assert_tells(path, "colour:", "");
    snprintf(located, sizeof located, "%s:5: ", path);
    assert_non_null(strstr(output, located));
}

static void wrong_configuration_does_not_start(void **state)
{
    (void)state;
    static const char text[] = "gateway: { idd = \"gw\"; };\n";
    char path[TEMPDIR_PATH];
    tempdir_write(folder, "x.cfg", text, sizeof text - 1, path);
    const char *arguments[] = { "-c", path, NULL };
    assert_int_equal(daemon_run(arguments, PATIENCE_MS, output, sizeof output), EX_CONFIG);
    assert_non_null(strstr(output, "gateway.idd"));
}

static void included_files_are_read_and_named_in_problems(void **state)
{
    (void)state;
    static const char outer[] =
        "@include \"inner.cfg\"\n"
        "ports = ( { name = \"p\"; transport: { type = \"udp\"; udp_port = 7; }; decoder: { type = "
        "\"raw\"; }; } );\n";
    static const char inner[] = "gateway: { id = \"gw\"; };\n";
    static const char bad[] = "gateway: {\n  id = \"g w\"; };\n";
    char path[TEMPDIR_PATH];
    char inner_path[TEMPDIR_PATH];
    tempdir_write(folder, "inner.cfg", inner, sizeof inner - 1, inner_path);
    int status = check_bytes(outer, sizeof outer - 1, path);
    if (status != 0) {
        fail_msg("%s", output);
    }
    tempdir_write(folder, "inner.cfg", bad, sizeof bad - 1, inner_path);
    assert_int_equal(check_path(path), EX_CONFIG);
    assert_non_null(strstr(output, "inner.cfg:2: gateway.id:"));
}

static void missing_file_is_a_configuration_problem(void **state)
{
    (void)state;
    char path[TEMPDIR_PATH + 32];
    snprintf(path, sizeof path, "%s/none.cfg", folder);
    assert_int_equal(check_path(path), EX_CONFIG);
    assert_non_null(strstr(output, path));
    assert_int_equal(check_path(folder), EX_CONFIG);
    assert_non_null(strstr(output, folder));
}

/* What other programs put into their libconfig files. */
static const char *const foreign[] = {
    /* shairport-sync */
    "general =\n{\n\tname = \"Living Room\";\n\toutput_backend = \"alsa\";\n\tmdns_backend = "
    "\"avahi\";\n\tport = 5000;\n"
    "\tvolume_range_db = 60;\n\tdrift_tolerance_in_seconds = 0.002;\n};\nsessioncontrol "
    "=\n{\n\tallow_session_interruption = "
    "\"no\";\n\tsession_timeout = 20;\n};\nalsa =\n{\n\toutput_device = \"hw:0\";\n\tmixer_control_name = "
    "\"PCM\";\n};\n",
    /* picom */
    "shadow = true;\nshadow-radius = 12;\nshadow-exclude = [\n  \"name = 'Notification'\",\n  \"class_g = "
    "'Conky'\"\n];\n"
    "fading = true;\nfade-in-step = 0.028;\nbackend = \"xrender\"\nvsync = true;\nwintypes:\n{\n  tooltip = "
    "{ fade = true; "
    "shadow = true; opacity = 0.75; focus = true; full-shadow = false; };\n  dock = { shadow = false; "
    "}\n};\n",
    /* sslh */
    "verbose: 0;\nforeground: true;\ninetd: false;\nnumeric: false;\ntransparent: false;\ntimeout: 2;\nuser: "
    "\"nobody\";\n"
    "listen:\n(\n    { host: \"thelonious\"; port: \"443\"; },\n    { host: \"localhost\"; port: \"8080\"; "
    "}\n);\nprotocols:\n(\n"
    "     { name: \"ssh\"; service: \"ssh\"; host: \"localhost\"; port: \"22\"; fork: true; },\n     { name: "
    "\"tls\"; host: "
    "\"localhost\"; port: \"443\"; alpn_protocols: [ \"h2\", \"http/1.1\" ]; }\n);\non_timeout: \"ssh\";\n",
    /* the library's own example */
    "version = \"1.0\";\napplication:\n{\n  window:\n  {\n    title = \"My Application\";\n    size = { w = "
    "640; h = 480; };\n"
    "    pos = { x = 350; y = 250; };\n  };\n  list = ( ( \"abc\", 123, true ), 1.234, ( ) );\n  books = ( { "
    "title  = "
    "\"Treasure Island\"; price  = 29.99; qty = 5; } );\n  misc:\n  {\n    pi = 3.141592654;\n    bigint = "
    "9223372036854775807L;\n    columns = [ \"Last Name\", \"First Name\", \"MI\" ];\n    bitmask = "
    "0x1FC3;\n    umask = "
    "0027;\n  };\n};\n",
};

static void files_of_other_programs_are_refused_with_file_and_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        char path[TEMPDIR_PATH];
        int status = check_bytes(foreign[i], strlen(foreign[i]), path);
        if (status != EX_CONFIG) {
            fail_msg("status %d for file %zu: %s", status, i, output);
        }
        assert_tells(path, "", "");
    }
}

static void damaged_files_are_refused_with_file_and_line(void **state)
{
    (void)state;
    char path[TEMPDIR_PATH];
    /* Cut short within the ports, at each place that is not the end. */
    size_t ports = (size_t)(strstr(good, "ports") - good);
    for (size_t size = ports + 3; size + 4 < sizeof good; size += wait_is_slowed() ? 41 : 7) {
        int status = check_bytes(good, size, path);
        if (status != EX_CONFIG) {
            fail_msg("status %d for the first %zu bytes: %s", status, size, output);
        }
        assert_tells(path, "", "");
    }
    /* One byte spoilt: it may hit a name or a number and stay right, but never ends in anything else. */
    unsigned seed = 1;
    for (unsigned i = 0; i < wait_load(60); i++) {
        char spoilt[sizeof good];
        memcpy(spoilt, good, sizeof good);
        spoilt[(unsigned)rand_r(&seed) % (sizeof good - 1)] = (char)rand_r(&seed);
        int status = check_bytes(spoilt, sizeof good - 1, path);
        if (status != EX_CONFIG && status != 0) {
            fail_msg("status %d for %s: %s", status, spoilt, output);
        }
    }
    static const char noise[] = "\x7f"
                                "ELF\x02\x01\x01\0\0\0\0\0\xff\xfe\x80 = { \"";
    assert_int_equal(check_bytes(noise, sizeof noise - 1, path), EX_CONFIG);
    assert_tells(path, "", "");
}

static void bottomless_files_are_refused(void **state)
{
    (void)state;
    static char deep[200000];
    char path[TEMPDIR_PATH];
    for (size_t i = 0; i < sizeof deep; i += 4) {
        memcpy(deep + i, "a:{ ", 4);
    }
    assert_int_equal(check_bytes(deep, sizeof deep, path), EX_CONFIG);
    static char large[4 * 1024 * 1024];
    memset(large, '#', sizeof large);
    assert_int_equal(check_bytes(large, sizeof large, path), EX_CONFIG);
    static const char loop[] = "@include \"x.cfg\"\n";
    assert_int_equal(check_bytes(loop, sizeof loop - 1, path), EX_CONFIG);
}

#define METERS                                                                                               \
    "ports = ( { name = \"rs485\"; transport: { type = \"serial\"; path = \"/dev/ttyUSB0\"; baud = 9600; "   \
    "};\n"                                                                                                   \
    "protocol: { type = \"modbus-rtu\"; }; poll_interval = \"%s\";\n"                                        \
    "points = ( { name = \"v\"; table = \"input\"; address = 0; type = \"float32\"; } );\n"                  \
    "devices = ( { name = \"a\"; unit = 1; }, { name = \"b\"; unit = 2; }, { name = \"c\"; unit = 3; } ); "  \
    "} );\n"

static int check_meters(const char *interval, char path[TEMPDIR_PATH])
{
    char text[800];
    snprintf(text, sizeof text, METERS, interval);
    return check_bytes(text, strlen(text), path);
}

static void budget_of_a_polled_line_is_told(void **state)
{
    (void)state;
    char path[TEMPDIR_PATH];
    assert_int_equal(check_meters("1s", path), 0);
    assert_memory_equal(output, "port rs485: 3 devices, 1", 24); /* some 45 ms each */
    assert_non_null(strstr(output, " % of the line, oldest value 1.1 s\n"));
    assert_non_null(strstr(output, ": OK\n"));
}

static void line_that_is_too_slow_is_a_warning_and_far_too_slow_a_mistake(void **state)
{
    (void)state;
    char path[TEMPDIR_PATH];
    assert_int_equal(check_meters("100ms", path), 0);
    assert_memory_equal(output, "warning: port rs485: 3 devices, 1", 33);
    assert_non_null(strstr(output, "make poll_interval "));
    assert_non_null(strstr(output, ": OK\n"));
    assert_int_equal(check_meters("20ms", path), EX_CONFIG);
    assert_true(tells(path, "ports[0].protocol: 3 devices, ", "make poll_interval "));
    assert_null(strstr(output, "OK"));
}

static void version_and_help_are_told(void **state)
{
    (void)state;
    assert_int_equal(daemon_run((const char *[]){ "--version", NULL }, PATIENCE_MS, output, sizeof output),
                     0);
    assert_non_null(strstr(output, "fieldgated " FG_VERSION));
    assert_int_equal(daemon_run((const char *[]){ "--help", NULL }, PATIENCE_MS, output, sizeof output), 0);
    static const char *const options[] = { "-c",          "--check",   "--event-model",
                                           "--log-level", "--version", "--help" };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        assert_non_null(strstr(output, options[i]));
    }
}

static void wrong_usage_ends_with_two(void **state)
{
    (void)state;
    char path[TEMPDIR_PATH];
    tempdir_write(folder, "x.cfg", good, sizeof good - 1, path);
    const char *const wrong[][5] = { { "--frobnicate", NULL },
                                     { "-c", NULL },
                                     { "stray", NULL },
                                     { "-c", path, "--event-model", "magic", NULL },
                                     { "-c", path, "--log-level", "loud", NULL } };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int status = daemon_run(wrong[i], PATIENCE_MS, output, sizeof output);
        if (status != 2) {
            fail_msg("status %d for %s: %s", status, wrong[i][0], output);
        }
        assert_true(output[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(right_configuration_is_ok, set_up, tear_down),
        cmocka_unit_test_setup_teardown(delivered_examples_are_ok, set_up, tear_down),
        cmocka_unit_test_setup_teardown(budget_of_a_polled_line_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(line_that_is_too_slow_is_a_warning_and_far_too_slow_a_mistake, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_problem_is_told_with_line_path_and_remedy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_configuration_does_not_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(included_files_are_read_and_named_in_problems, set_up, tear_down),
        cmocka_unit_test_setup_teardown(missing_file_is_a_configuration_problem, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_of_other_programs_are_refused_with_file_and_line, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damaged_files_are_refused_with_file_and_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bottomless_files_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_and_help_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_usage_ends_with_two, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("e2e_config", tests, NULL, NULL) > 0;
}
