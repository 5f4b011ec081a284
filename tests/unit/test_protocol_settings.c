/* The tables of framings and decoders, by the reader that fills them. */
#include "support/config_fixture.h"

#include "fieldgate/decoder.h"
#include "fieldgate/framing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct both {
    struct fg_chosen framing;
    struct fg_chosen decoder;
};

static const struct fg_setting table[] = {
    { .key = "framing",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct both, framing),
      .fallback = "",
      .variants = fg_framings },
    { .key = "decoder",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct both, decoder),
      .fallback = "",
      .variants = fg_decoders },
    { 0 },
};

static const struct fg_schema schema = { .name = "both", .size = sizeof(struct both), .settings = table };

struct problems {
    size_t count;
    char last[300];
};

static void keep_problem(void *context, const char *problem)
{
    struct problems *problems = context;
    problems->count++;
    snprintf(problems->last, sizeof problems->last, "%s", problem);
}

static struct fg_config *read_text(const char *text, struct problems *problems)
{
    struct fg_config *config = NULL;
    *problems = (struct problems){ 0 };
    fixture_write("x.cfg", text, strlen(text));
    fg_config_read("x.cfg", &schema, keep_problem, problems, &config);
    return config;
}

static void each_has_sound_defaults(void **state)
{
    static const char *const texts[] = {
        "framing: { type = \"line\"; };",
        "framing: { type = \"length\"; };",
        "framing: { type = \"gap\"; };",
        "framing: { type = \"fixed\"; bytes = 4; };",
        "framing: { type = \"stx-etx\"; };",
        "framing: { type = \"slip\"; };",
        "framing: { type = \"cobs\"; };",
        "decoder: { type = \"raw\"; };",
        "decoder: { type = \"json\"; };",
        "decoder: { type = \"csv\"; columns = [ \"id\", \"temp\", \"\" ]; };",
        "decoder: { type = \"keyvalue\"; };",
        "decoder: { type = \"nmea0183\"; };",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct problems problems;
        struct fg_config *config = read_text(texts[i], &problems);
        if (!config || problems.count > 0) {
            fail_msg("%s: %s", texts[i], problems.last);
        }
        const struct both *both = fg_config_settings(config);
        if (both->framing.variant) {
            const struct fg_framing_settings *settings = both->framing.settings;
            assert_int_equal(settings->max_bytes, 4096);
        }
        fg_config_free(config);
    }
}

static void a_file_is_framed_and_decoded_as_it_says(void **state)
{
    (void)state;
    struct problems problems;
    struct fg_config *config =
        read_text("framing: { type = \"stx-etx\"; start = 0x3A; end = 0x0A; };"
                  "decoder: { type = \"csv\"; columns = [ \"\", \"t\" ]; separator = \";\"; };",
                  &problems);
    assert_non_null(config);
    const struct both *both = fg_config_settings(config);
    struct fg_framer framer;
    struct fg_frame frame;
    enum fg_reason reason;
    static struct fg_record record;
    const uint8_t *input = (const uint8_t *)":x;21.5\n";
    size_t size = 8;
    fg_framer_init(&framer, both->framing.variant, both->framing.settings);
    assert_int_equal(fg_framer_next(&framer, &input, &size, &frame, &reason), FG_FRAMING_FRAME);
    assert_int_equal(
        fg_decode(both->decoder.variant, both->decoder.settings, frame.bytes, frame.size, &record),
        FG_REASON_NONE);
    assert_int_equal(record.count, 1);
    assert_true(record.fields[0].value.real == 21.5);
    fg_framer_fini(&framer);
    fg_config_free(config);
}

static void what_cannot_work_is_told(void **state)
{
    static const struct {
        const char *text, *problem;
    } cases[] = {
        { "framing: { type = \"length\"; header_bytes = 3; };", "framing.header_bytes: 3 is not a size" },
        { "framing: { type = \"fixed\"; };", "framing" },
        { "framing: { type = \"fixed\"; bytes = 5000; };",
          "framing.bytes: 5000 is more than max_bytes (4096)" },
        { "framing: { type = \"stx-etx\"; start = 3; };", "framing.end: 3 is the start byte too" },
        { "framing: { type = \"line\"; delimiter = \"\"; };", "framing.delimiter" },
        { "framing: { type = \"line\"; delimiter = \"12345678901234567\"; };", "framing.delimiter" },
        { "framing: { type = \"line\"; max_bytes = 1048577; };", "framing.max_bytes" },
        { "framing: { type = \"gap\"; gap = \"0s\"; };", "framing.gap" },
        { "decoder: { type = \"csv\"; };", "decoder" },
        { "decoder: { type = \"csv\"; columns = [ \"a\", \"a\" ]; };", "\"a\" names two columns" },
        { "decoder: { type = \"csv\"; columns = [ \"\", \"\" ]; };", "no column has a name" },
        { "decoder: { type = \"csv\"; columns = [ \"a\" ]; separator = \"\\\"\"; };",
          "decoder.separator: must be" },
        { "decoder: { type = \"csv\"; columns = [ \"a\" ]; separator = \",,\"; };", "decoder.separator" },
        { "decoder: { type = \"keyvalue\"; separator = \"=\"; };", "decoder.assign: contains the separator" },
        { "decoder: { type = \"keyvalue\"; assign = \"\\\"\"; };", "decoder.assign: must be" },
        { "decoder: { type = \"json\"; max_depth = 65; };", "decoder.max_depth" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct problems problems;
        assert_null(read_text(cases[i].text, &problems));
        if (problems.count != 1 || !strstr(problems.last, cases[i].problem)) {
            fail_msg("%s: %zu problems, %s", cases[i].text, problems.count, problems.last);
        }
    }
}

static void the_reference_page_takes_every_table(void **state)
{
    (void)state;
    char *page = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&page, &size);
    assert_int_equal(fg_config_write_reference(out, &schema), 0);
    fclose(out);
    assert_non_null(strstr(page, "includes_header"));
    assert_null(strstr(page, "not valid"));
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_sound_defaults),
        cmocka_unit_test(a_file_is_framed_and_decoded_as_it_says),
        cmocka_unit_test(what_cannot_work_is_told),
        cmocka_unit_test(the_reference_page_takes_every_table),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
