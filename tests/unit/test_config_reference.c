#include "support/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *write_page(const struct fg_schema *schema, int wanted)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(fg_config_write_reference(out, schema), wanted);
    fclose(out);
    return text;
}

static void assert_line(const char *page, const char *line)
{
    size_t length = strlen(line);
    for (const char *at = page; (at = strstr(at, line)); at++) {
        if ((at == page || at[-1] == '\n') && at[length] == '\n') {
            return;
        }
    }
    fail_msg("no line %s in\n%s", line, page);
}

static size_t count_of(const char *page, const char *text)
{
    size_t count = 0;
    for (const char *at = page; (at = strstr(at, text)); at++) {
        count++;
    }
    return count;
}

static void each_type_has_its_row(void **state)
{
    (void)state;
    char *page = write_page(&sample_schema, 0);
    assert_line(page, "# Settings");
    assert_line(page, "| `gateway` | group [Gateway](#gateway) | all defaults |  | The whole. |");
    assert_line(page, "| `tls` | group [Proof](#proof) | absent |  | Turns it on. |");
    assert_line(page, "| `ports` | list of groups [Port](#port) | required | 1..4 items | The wires. |");
    assert_line(page, "| `workers` | integer | `2` | 1..16 threads | How many. **Restart.** |");
    assert_line(
        page,
        "| `log_level` | choice | `\"info\"` | `\"error\"`, `\"warning\"`, `\"info\"`, `\"debug\"` | How "
        "much. |");
    assert_line(page, "| `queue_bytes` | size | `\"4MiB\"` | at least 64KiB | How many wait. |");
    assert_line(page, "| `minimum` | duration | `\"1s\"` | 1ms..1h | Least. |");
    assert_line(page, "| `min_interval` | duration | `\"0s\"` | 0s..1d | Not more often. |");
    assert_line(page, "| `deadband` | number | `0.0` | 0..1000 | Changes up to this are none. |");
    assert_line(page, "| `on_change` | boolean | `false` |  | Only what changed. |");
    assert_line(
        page, "| `topic` | text | `\"{base}/{device}/state\"` | 1..64 bytes | Where to; a \\| is allowed. |");
    assert_line(page, "| `path` | text | required | 1..255 bytes | The line. |");
    assert_line(page, "| `allow` | text or list of texts | `[ ]` | at most 3 items | Who may. |");
    assert_line(page, "| `transport` | group by type [transport](#transport) | required |  | The wire. |");
    assert_line(page, "| `decoder` | group by type [decoder](#decoder) | absent |  | The meaning. |");
    free(page);
}

static void variants_stand_under_headings_of_their_own(void **state)
{
    (void)state;
    char *page = write_page(&sample_schema, 0);
    assert_line(page, "## transport");
    assert_line(page, "| [`\"tcp-server\"`](#transport-tcp-server) | A listener. |");
    assert_line(page, "### transport tcp-server");
    assert_line(page, "### decoder raw");
    assert_line(page, "It has no settings beside `type`.");
    free(page);
}

static void each_schema_stands_there_once(void **state)
{
    (void)state;
    char *page = write_page(&sample_schema, 0);
    assert_int_equal(count_of(page, "\n## Device defaults\n"), 1);
    assert_int_equal(count_of(page, "\n## Report\n"), 1);
    assert_int_equal(count_of(page, "\n## Proof\n"), 1);
    assert_int_equal(count_of(page, "| `stale_after` |"), 1);
    assert_int_equal(count_of(page, "The settings of [Device defaults](#device-defaults) stand here too"), 2);
    free(page);
}

static void the_page_is_the_same_each_time(void **state)
{
    (void)state;
    char *one = write_page(&sample_schema, 0);
    char *two = write_page(&sample_schema, 0);
    assert_string_equal(one, two);
    free(one);
    free(two);
}

static void a_default_that_is_none_is_found(void **state)
{
    (void)state;
    static const struct fg_setting rows[] = {
        { .key = "delimiter", .type = FG_SETTING_TEXT, .fallback = "\n" },
        { .key = "wait", .type = FG_SETTING_DURATION, .fallback = "5" },
        { 0 },
    };
    static const struct fg_schema schema = { .name = "Bad", .size = 16, .settings = rows };
    char *page = write_page(&schema, -EINVAL);
    assert_line(page, "| `delimiter` | text | `\"\\n\"` |  |  |");
    assert_line(page, "| `wait` | duration | `\"5\"` (not valid) |  |  |");
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_has_its_row),
        cmocka_unit_test(variants_stand_under_headings_of_their_own),
        cmocka_unit_test(each_schema_stands_there_once),
        cmocka_unit_test(the_page_is_the_same_each_time),
        cmocka_unit_test(a_default_that_is_none_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
