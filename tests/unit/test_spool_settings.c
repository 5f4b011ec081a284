#include "fieldgate/setting.h"
#include "fieldgate/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Stands in for the reader: what the check tells is collected here. */
static char told[1024];

void fg_check_problem(struct fg_check *check, const char *path, const char *format, ...)
{
    (void)check;
    (void)format;
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s;", path);
}

static const char *check(const char *path, int64_t max_bytes)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", path);
    struct fg_spool_settings settings = { .path = copy, .max_bytes = max_bytes };
    told[0] = '\0';
    fg_spool_schema.check(NULL, &settings);
    return told;
}

static void the_path_must_be_full(void **state)
{
    (void)state;
    assert_string_equal(check("/var/lib/fieldgate/spool.db", 0), "");
    assert_string_equal(check("spool.db", 0), "path;");
    assert_string_equal(check("/", 0), "path;");
    assert_string_equal(check("/var/lib/fieldgate/", 0), "path;");
}

static void a_bound_must_leave_room_to_work(void **state)
{
    (void)state;
    assert_string_equal(check("/s.db", 64 << 20), "");
    assert_string_equal(check("/s.db", 1 << 20), "");
    assert_string_equal(check("/s.db", (1 << 20) - 1), "max_bytes;");
}

static void the_keys_are_those_that_are_documented(void **state)
{
    (void)state;
    static const char *const keys[][2] = {
        { "path", "/var/lib/fieldgate/spool.db" },
        { "durability", "outage" },
        { "max_bytes", "64MiB" },
        { "max_age", "0s" },
        { "when_full", "drop-oldest" },
        { "replay_rate", "0" },
    };
    size_t i = 0;
    for (const struct fg_setting *setting = fg_spool_schema.settings; setting->key; setting++, i++) {
        assert_true(i < sizeof keys / sizeof keys[0]);
        assert_string_equal(setting->key, keys[i][0]);
        assert_string_equal(setting->fallback, keys[i][1]);
    }
    assert_int_equal(i, sizeof keys / sizeof keys[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_path_must_be_full),
        cmocka_unit_test(a_bound_must_leave_room_to_work),
        cmocka_unit_test(the_keys_are_those_that_are_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
