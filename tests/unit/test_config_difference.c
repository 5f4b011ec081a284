/* What differs between two configurations: every kind of setting, wherever it stands. */
#include "support/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one setting of each kind ---- */

struct small {
    int64_t number;
};

union field {
    bool boolean;
    int64_t integer;
    double real;
    char *text;
    int choice;
    struct fg_texts texts;
    struct small group;
    struct small *optional;
    struct fg_settings_list list;
    struct fg_chosen chosen;
};

static const struct fg_setting small_settings[] = {
    { .key = "number", .type = FG_SETTING_INTEGER, .offset = offsetof(struct small, number) }, { 0 }
};
static const struct fg_schema small_schema = { .size = sizeof(struct small), .settings = small_settings };
static const struct fg_variant variants[] = { { .name = "one", .schema = &small_schema },
                                              { .name = "two", .schema = &small_schema },
                                              { .name = "bare" } };

static char text_a[] = "same", text_b[] = "same", text_c[] = "other";
static char *texts_a[] = { text_a, text_c }, *texts_b[] = { text_b, text_c }, *texts_c[] = { text_c, text_a };
static struct small small_a[] = { { 1 }, { 2 } }, small_b[] = { { 1 }, { 2 } }, small_c[] = { { 1 }, { 3 } };

/* a and b are equal and share no memory; none of the others (up to one that is like a) is like a. */
struct kind {
    union field a, b, others[4];
    size_t count;
};

static const struct kind kinds[FG_SETTING_TYPES] = {
    [FG_SETTING_BOOLEAN] = { { .boolean = true }, { .boolean = true }, { { .boolean = false } }, 1 },
    [FG_SETTING_INTEGER] = { { .integer = 1 }, { .integer = 1 }, { { .integer = INT64_C(1) << 32 | 1 } }, 1 },
    [FG_SETTING_REAL] = { { .real = 0.5 }, { .real = 0.5 }, { { .real = 0.25 } }, 1 },
    [FG_SETTING_TEXT] = { { .text = text_a }, { .text = text_b }, { { .text = text_c } }, 1 },
    [FG_SETTING_CHOICE] = { { .choice = 1 }, { .choice = 1 }, { { .choice = 0 } }, 1 },
    [FG_SETTING_DURATION] = { { .integer = 1 }, { .integer = 1 }, { { .integer = 2 } }, 1 },
    [FG_SETTING_SIZE] = { { .integer = 1 }, { .integer = 1 }, { { .integer = 2 } }, 1 },
    [FG_SETTING_TEXTS] = { { .texts = { 2, texts_a } },
                           { .texts = { 2, texts_b } },
                           { { .texts = { 2, texts_c } }, { .texts = { 1, texts_b } }, { .texts = { 0 } } },
                           3 },
    [FG_SETTING_GROUP] = { { .group = { 1 } }, { .group = { 1 } }, { { .group = { 2 } } }, 1 },
    [FG_SETTING_OPTIONAL] = { { .optional = small_a },
                              { .optional = small_b },
                              { { .optional = NULL }, { .optional = &small_a[1] } },
                              2 },
    [FG_SETTING_INLINE] = { { .group = { 1 } }, { .group = { 1 } }, { { .group = { 2 } } }, 1 },
    [FG_SETTING_LIST] = { { .list = { 2, small_a } },
                          { .list = { 2, small_b } },
                          { { .list = { 2, small_c } }, { .list = { 1, small_b } }, { .list = { 0 } } },
                          3 },
    [FG_SETTING_VARIANT] = { { .chosen = { &variants[0], small_a, 1 } },
                             { .chosen = { &variants[0], small_b, 99 } },
                             { { .chosen = { &variants[1], small_b, 1 } },
                               { .chosen = { &variants[0], &small_b[1], 1 } },
                               { .chosen = { &variants[2], NULL, 1 } },
                               { .chosen = { NULL, NULL, 0 } } },
                             4 },
};

static bool is_same(enum fg_setting_type type, const union field *a, const union field *b)
{
    const struct fg_setting settings[] = { { .key = "it", .type = type, .schema = &small_schema }, { 0 } };
    const struct fg_schema schema = { .size = sizeof(union field), .settings = settings };
    return fg_config_is_same(&schema, a, b);
}

static void each_kind_is_compared(void **state)
{
    (void)state;
    for (int type = 0; type < FG_SETTING_TYPES; type++) {
        const struct kind *kind = &kinds[type];
        if (kind->count == 0) {
            fail_msg("a kind of setting without a test: %d", type);
        }
        if (!is_same((enum fg_setting_type)type, &kind->a, &kind->b)) {
            fail_msg("kind %d: two of the same differ", type);
        }
        for (size_t i = 0; i < kind->count; i++) {
            if (is_same((enum fg_setting_type)type, &kind->a, &kind->others[i]) ||
                is_same((enum fg_setting_type)type, &kind->others[i], &kind->a)) {
                fail_msg("kind %d: other %zu is not seen", type, i);
            }
        }
    }
}

static void groups_that_are_absent_in_both_are_the_same(void **state)
{
    (void)state;
    const union field none = { .chosen = { 0 } };
    assert_true(is_same(FG_SETTING_OPTIONAL, &none, &none));
    assert_true(is_same(FG_SETTING_LIST, &none, &none));
    assert_true(is_same(FG_SETTING_VARIANT, &none, &none));
    const union field bare = { .chosen = { &variants[2], NULL, 7 } };
    assert_true(is_same(FG_SETTING_VARIANT, &bare, &bare));
}

/* ---- whole files ---- */

struct found {
    size_t count;
    char paths[16][64];
};

static void keep(void *context, const char *path, const struct fg_setting *setting)
{
    struct found *found = context;
    assert_non_null(setting->key);
    assert_true(found->count < 16);
    snprintf(found->paths[found->count++], sizeof found->paths[0], "%s", path);
}

/* Reads the sample twice, the second time with the first occurrence of one text in place of another. */
static void differ(const char *from, const char *to, struct found *found)
{
    char text[4096];
    struct outcome first = fixture_read(sample_text);
    assert_int_equal(first.error, 0);
    const char *at = strstr(sample_text, from);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - sample_text), sample_text, to, at + strlen(from));
    struct outcome second = fixture_read(text);
    assert_int_equal(second.error, 0);
    *found = (struct found){ 0 };
    fg_config_each_difference(&sample_schema, first.sample, second.sample, keep, found);
    assert_int_equal(fg_config_is_same(&sample_schema, first.sample, second.sample), found->count == 0);
    outcome_fini(&first);
    outcome_fini(&second);
}

static void assert_differs(const char *from, const char *to, const char *path)
{
    struct found found;
    differ(from, to, &found);
    if (found.count != 1 || strcmp(found.paths[0], path) != 0) {
        fail_msg("%s -> %s: %zu differences, first %s", from, to, found.count, found.paths[0]);
    }
}

static void a_file_that_says_the_same_in_other_words_does_not_differ(void **state)
{
    (void)state;
    struct found found;
    differ("# a whole file\n", "\n\n/* moved */\n", &found);
    assert_int_equal(found.count, 0);
    differ("\"90s\"", "\"1.5min\"", &found);
    assert_int_equal(found.count, 0);
    differ("qos = 2; ", "qos = 2; topic = \"{base}/{device}/state\"; ", &found);
    assert_int_equal(found.count, 0);
}

static void a_difference_is_told_by_its_path(void **state)
{
    (void)state;
    assert_differs("workers = 3", "workers = 4", "gateway.workers");
    assert_differs("/etc/ca", "/etc/cb", "tls.ca_file");
    assert_differs("tls: { ca_file = \"/etc/ca\" };", "", "tls");
}

static void what_differs_in_a_list_however_deep_is_a_difference_of_the_list(void **state)
{
    (void)state;
    assert_differs("insecure = true", "insecure = false", "ports");
    assert_differs("rts-cts", "none", "ports");
    assert_differs("::/0", "::/1", "ports");
    assert_differs("stale_after = \"90s\"", "stale_after = \"91s\"", "ports");
}

static void all_differences_are_told(void **state)
{
    (void)state;
    struct found found;
    differ("id = \"shed\"; workers = 3;", "id = \"barn\"; workers = 2;", &found);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.paths[0], "gateway.id");
    assert_string_equal(found.paths[1], "gateway.workers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_compared),
        cmocka_unit_test(groups_that_are_absent_in_both_are_the_same),
        cmocka_unit_test(a_file_that_says_the_same_in_other_words_does_not_differ),
        cmocka_unit_test(a_difference_is_told_by_its_path),
        cmocka_unit_test(what_differs_in_a_list_however_deep_is_a_difference_of_the_list),
        cmocka_unit_test(all_differences_are_told),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
