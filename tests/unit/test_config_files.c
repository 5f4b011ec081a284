/* Files that are there or not, that include others, that are damaged or another program's. */
#include "support/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRANSPORT "transport: { type = \"serial\"; path = \"/dev/x\"; };\n"

static void write_text(const char *name, const char *text)
{
    fixture_write(name, text, strlen(text));
}

static void assert_file_problem(const char *path, const char *problem)
{
    struct outcome outcome = fixture_read_file(path);
    assert_int_equal(outcome.error, -EINVAL);
    assert_string_equal(outcome.problems[0], problem);
    assert_int_equal(outcome.count, 1);
    outcome_fini(&outcome);
}

static void a_file_that_cannot_be_read_is_told(void **state)
{
    (void)state;
    assert_file_problem("none.cfg", "none.cfg:1: file: cannot be opened: No such file or directory");
    assert_file_problem(".", ".:1: file: is a directory; name a file");
    assert_file_problem("", "(no file):1: file: no file is named");
    assert_file_problem("/dev/zero", "/dev/zero:1: file: is a device, pipe or socket; name a file");
}

static void a_fifo_does_not_hold_the_reader(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_file_problem("fifo", "fifo:1: file: is a device, pipe or socket; name a file");
}

static void a_file_over_the_limit_is_told(void **state)
{
    (void)state;
    size_t size = (4 << 20) + 1;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, '\n', size);
    fixture_write("large.cfg", text, size);
    free(text);
    assert_file_problem("large.cfg",
                        "large.cfg:1: file: is too large: a configuration has at most 4096 KiB with all "
                        "that it includes");
}

static void binary_files_are_told(void **state)
{
    (void)state;
    static const char bytes[] = "gateway: {\n\0\x01\x7f";
    fixture_write("binary.cfg", bytes, sizeof bytes);
    assert_file_problem(
        "binary.cfg",
        "binary.cfg:2: file: this is no text file: it has a NUL byte; save it as plain UTF-8 text");
}

/* ---- @include ---- */

static void an_included_file_is_read_relative_to_the_first(void **state)
{
    (void)state;
    assert_int_equal(mkdir("conf", 0700), 0);
    write_text("conf/main.cfg",
               "gateway: { workers = 4; };\nports = (\n  @include \"ports.inc\"\n  { name = \"c\";\n "
               "@include \"transport.inc\"\n } );\n");
    write_text("conf/ports.inc", "{ name = \"a\";\n@include \"transport.inc\"\n},\n");
    write_text("conf/transport.inc", TRANSPORT);
    struct outcome outcome = fixture_read_file("conf/main.cfg");
    if (outcome.count) {
        fail_msg("%s", outcome.problems[0]);
    }
    assert_int_equal(outcome.sample->ports.count, 2);
    assert_string_equal(((const struct sample_port *)outcome.sample->ports.items)[1].name, "c");
    outcome_fini(&outcome);
}

static void problems_name_the_included_file_and_its_line(void **state)
{
    (void)state;
    write_text("y.cfg", "ports = (\n@include \"y.inc\"\n);\ngateway: { worker = 1; };\n");
    write_text("y.inc", "{ name = \"a\";\n  qos = 7;\n" TRANSPORT "}\n");
    struct outcome outcome = fixture_read_file("y.cfg");
    assert_int_equal(outcome.count, 2);
    assert_string_equal(outcome.problems[0],
                        "y.inc:2: ports[0].qos: 7 is out of range; it must be within 0..2");
    assert_string_equal(outcome.problems[1], "y.cfg:4: gateway.worker: is not known; did you mean workers?");
    outcome_fini(&outcome);
}

static void a_setting_twice_over_two_files_names_both(void **state)
{
    (void)state;
    write_text("y.cfg", "gateway: { workers = 1;\n@include \"y.inc\"\n};\nports = ( { name = \"p\";" TRANSPORT
                        "} );\n");
    write_text("y.inc", "workers = 2;\n");
    assert_file_problem("y.cfg", "y.inc:1: gateway.workers: is set twice; the first stands in y.cfg line 1");
}

static void an_include_that_is_not_there_is_told(void **state)
{
    (void)state;
    write_text("y.cfg", "\n@include \"gone.cfg\"\n");
    assert_file_problem("y.cfg",
                        "y.cfg:2: file: the included file gone.cfg cannot be opened: No such file or "
                        "directory");
    write_text("y.cfg", "@include \"/\"\n");
    assert_file_problem("y.cfg", "y.cfg:1: file: the included file / is a directory; name a file");
    write_text("y.cfg", "a = 1; @include \"z.cfg\"\n");
    assert_file_problem("y.cfg",
                        "y.cfg:1: file: syntax error at \"@\"; a file is included by a line of its own: "
                        "@include \"FILE\"");
    write_text("y.cfg", "@include z.cfg\n");
    assert_file_problem("y.cfg",
                        "y.cfg:1: file: syntax error at \"@\"; a file is included by a line of its own: "
                        "@include \"FILE\"");
}

static void an_include_loop_is_told(void **state)
{
    (void)state;
    write_text("y.cfg", "@include \"y.inc\"\n");
    write_text("y.inc", "\n@include \"y.cfg\"\n");
    assert_file_problem("y.cfg",
                        "y.inc:2: file: the included file y.cfg is being read already: it includes itself; "
                        "take this @include out");
}

static void includes_have_a_depth_and_a_number(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        char name[32];
        char text[64];
        snprintf(name, sizeof name, "deep%d.cfg", i);
        snprintf(text, sizeof text, "@include \"deep%d.cfg\"\n", i + 1);
        write_text(name, text);
    }
    assert_file_problem("deep0.cfg",
                        "deep10.cfg:1: file: too many files are included; at most 10 in one another and "
                        "256 in all");
    char *text = calloc(1, 300 * 32);
    assert_non_null(text);
    for (int i = 0; i < 300; i++) {
        strcat(text, "@include \"empty.inc\"\n");
    }
    write_text("many.cfg", text);
    free(text);
    write_text("empty.inc", "");
    assert_file_problem("many.cfg",
                        "many.cfg:257: file: too many files are included; at most 10 in one another and "
                        "256 in all");
}

/* ---- too much of something ---- */

static char *repeated(const char *head, const char *part, size_t count, const char *tail)
{
    char *text = malloc(strlen(head) + strlen(part) * count + strlen(tail) + 1);
    assert_non_null(text);
    char *at = stpcpy(text, head);
    for (size_t i = 0; i < count; i++) {
        at = stpcpy(at, part);
    }
    strcpy(at, tail);
    return text;
}

static void deep_nesting_is_told(void **state)
{
    (void)state;
    static const char *const parts[] = { "(", "{a=(", "{a={a=(", "[" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *text = repeated("a=(", parts[i], 100000, "");
        struct outcome outcome = fixture_read(text);
        assert_int_equal(outcome.error, -EINVAL);
        assert_non_null(
            strstr(outcome.problems[outcome.count - 1], "too many groups and lists in one another"));
        outcome_fini(&outcome);
        free(text);
    }
}

static void floods_of_settings_and_values_are_told_quickly(void **state)
{
    (void)state;
    char *text = repeated("a = (", "1,", 600000, "1);");
    assert_problem(text, "x.cfg:1: a[524287]: too many values in all; at most 524288");
    free(text);
    text = repeated("", "a=1 ", 200000, "");
    struct outcome outcome = fixture_read(text);
    assert_int_equal(outcome.count, 101);
    outcome_fini(&outcome);
    free(text);
    text = calloc(1, 512 * 16);
    assert_non_null(text);
    for (int i = 0; i < 400; i++) {
        sprintf(text + strlen(text), "k%d = 1;\n", i);
    }
    assert_problem(text, "x.cfg:257: file: too many settings in one group; at most 256");
    free(text);
    text = repeated("", "n", 1000, " = 1;");
    outcome = fixture_read(text);
    assert_int_equal(outcome.count, 1);
    assert_non_null(strstr(outcome.problems[0], "the name is too long"));
    outcome_fini(&outcome);
    free(text);
}

static void a_megabyte_of_text_is_read_and_quoted_short(void **state)
{
    (void)state;
    char *text = repeated("gateway: { id = \"", "\\n", 500000, "\"; };");
    struct outcome outcome = fixture_read(text);
    assert_true(outcome.count >= 1);
    assert_true(strlen(outcome.problems[0]) < 200);
    outcome_fini(&outcome);
    free(text);
}

/* ---- other programs' files ---- */

static const char *const foreign[] = {
    /* the example of the libconfig manual */
    "version = \"1.0\";\napplication:\n{\n  window:\n  {\n    title = \"My Application\";\n    size = { w = "
    "640; h = 480; "
    "};\n    pos = { x = 350; y = 250; };\n  };\n  list = ( ( \"abc\", 123, true ), 1.234, ( /* an empty "
    "list */) );\n"
    "  books = ( { title  = \"Treasure Island\";\n    author = \"Robert Louis Stevenson\";\n    price  = "
    "29.99;\n    qty "
    "= 5; } );\n  misc:\n  {\n    pi = 3.141592654;\n    bigint = 9223372036854775807L;\n    columns = [ "
    "\"Last Name\", "
    "\"First Name\", \"MI\" ];\n    bitmask = 0x1FC3;\n  };\n};\n",
    /* a compositor */
    "backend = \"glx\";\nshadow = true;\nshadow-radius = 12;\nshadow-exclude = [\n  \"name = "
    "'Notification'\",\n  "
    "\"class_g ?= 'Notify-osd'\"\n];\nopacity-rule = [ \"90:class_g = 'URxvt'\" ];\nwintypes:\n{\n  tooltip "
    "= { fade = "
    "true; shadow = false; opacity = 0.75; };\n  dock = { shadow = false; }\n};\n",
    /* a connection multiplexer */
    "verbose: false;\nforeground: false;\ninetd: false;\ntimeout: 2;\npidfile: "
    "\"/var/run/sslh.pid\";\nlisten:\n(\n    { "
    "host: \"thelonious\"; port: \"443\"; },\n    { host: \"localhost\"; port: \"8080\"; keepalive: true; "
    "}\n);\n"
    "protocols:\n(\n     { name: \"ssh\"; service: \"ssh\"; host: \"localhost\"; port: \"22\"; fork: true; "
    "},\n     { "
    "name: \"regex\"; regex_patterns: [ \"^foo$\", \"^bar$\" ]; minlength: 4; }\n);\n",
    /* a software radio */
    "fft_size = 1024;\ndevices:\n({\n  type = \"rtlsdr\";\n  index = 0;\n  gain = 25;\n  centerfreq = "
    "120.0;\n  "
    "channels:\n  (\n    {\n      freq = 118.15;\n      outputs: ( { type = \"icecast\"; port = 8080; "
    "send_scan_freq_tags "
    "= false; } );\n    }\n  );\n }\n);\n",
    /* INI, YAML, JSON, TOML, XML, shell */
    "[main]\nport=/dev/ttyUSB0\n",
    "gateway:\n  id: shed\n  workers: 2\nports:\n  - name: a\n",
    "{ \"gateway\": { \"id\": \"shed\" }, \"ports\": [ { \"name\": \"a\" } ] }\n",
    "title = \"x\"\n[[ports]]\nname = \"a\"\n",
    "<?xml version=\"1.0\"?>\n<gateway/>\n",
    "#!/bin/sh\nexport A=1\necho \"$A\"\n",
    "",
    "\xff\xfe\xfd",
};

static void files_of_other_programs_give_problems(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        struct outcome outcome = fixture_read(foreign[i]);
        assert_int_equal(outcome.error, -EINVAL);
        assert_true(outcome.count > 0);
        assert_memory_equal(outcome.problems[0], "x.cfg:", 6);
        outcome_fini(&outcome);
    }
}

static void a_file_cut_off_anywhere_gives_problems(void **state)
{
    (void)state;
    size_t size = strlen(sample_text);
    for (size_t i = 0; i + 3 < size; i++) {
        fixture_write("x.cfg", sample_text, i);
        struct outcome outcome = fixture_read_file("x.cfg");
        assert_int_equal(outcome.error, -EINVAL);
        outcome_fini(&outcome);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_cannot_be_read_is_told),
        cmocka_unit_test(a_fifo_does_not_hold_the_reader),
        cmocka_unit_test(a_file_over_the_limit_is_told),
        cmocka_unit_test(binary_files_are_told),
        cmocka_unit_test(an_included_file_is_read_relative_to_the_first),
        cmocka_unit_test(problems_name_the_included_file_and_its_line),
        cmocka_unit_test(a_setting_twice_over_two_files_names_both),
        cmocka_unit_test(an_include_that_is_not_there_is_told),
        cmocka_unit_test(an_include_loop_is_told),
        cmocka_unit_test(includes_have_a_depth_and_a_number),
        cmocka_unit_test(deep_nesting_is_told),
        cmocka_unit_test(floods_of_settings_and_values_are_told_quickly),
        cmocka_unit_test(a_megabyte_of_text_is_read_and_quoted_short),
        cmocka_unit_test(files_of_other_programs_give_problems),
        cmocka_unit_test(a_file_cut_off_anywhere_gives_problems),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
