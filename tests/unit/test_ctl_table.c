#include "ctl/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *print(const struct table *table, bool colour)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    table_print(table, out, colour);
    fclose(out);
    return text;
}

static void assert_prints(struct table *table, bool colour, const char *expected)
{
    char *text = print(table, colour);
    assert_string_equal(text, expected);
    free(text);
    table_free(table);
}

static struct table two_columns(void)
{
    struct table table = { 0 };
    table_column(&table, "NAME");
    table_column(&table, ">COUNT");
    table_column(&table, "MORE");
    return table;
}

static void columns_are_as_wide_as_their_widest_text(void **state)
{
    (void)state;
    struct table table = two_columns();
    table_cell(&table, TABLE_PLAIN, "a");
    table_cell(&table, TABLE_PLAIN, "%d", 1234567);
    table_cell(&table, TABLE_PLAIN, "x");
    table_cell(&table, TABLE_PLAIN, "longer");
    table_cell(&table, TABLE_PLAIN, "%d", 1);
    table_cell(&table, TABLE_PLAIN, "y");
    assert_prints(&table, false,
                  "NAME      COUNT  MORE\n"
                  "a       1234567  x\n"
                  "longer        1  y\n");
}

static void rows_end_with_their_last_text(void **state)
{
    (void)state;
    struct table table = two_columns();
    table_cell(&table, TABLE_PLAIN, "a");
    table_cell(&table, TABLE_PLAIN, "%s", "");
    table_cell(&table, TABLE_PLAIN, "%s", "");
    table_cell(&table, TABLE_PLAIN, "b");
    table_cell(&table, TABLE_PLAIN, "2");
    assert_prints(&table, false, "NAME  COUNT  MORE\na\nb         2\n");
}

static void widths_are_those_of_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(table_width(""), 0);
    assert_int_equal(table_width("abc"), 3);
    assert_int_equal(table_width("\xc3\xbc\xe2\x82\xac"), 2);     /* ü€ */
    assert_int_equal(table_width("u\xcc\x88"), 1);                /* u and a combining diaeresis */
    assert_int_equal(table_width("\xe6\xb8\xa9\xe5\xba\xa6"), 4); /* two Chinese characters */
    assert_int_equal(table_width("\xf0\x9f\x8c\xa1"), 2);         /* a thermometer */
    assert_int_equal(table_width("\xff\xfe"), 2);                 /* shown as "??" */
    struct table table = two_columns();
    table_cell(&table, TABLE_PLAIN, "\xc3\xbc\xc3\xbc");
    table_cell(&table, TABLE_PLAIN, "1");
    table_cell(&table, TABLE_PLAIN, "x");
    assert_prints(&table, false, "NAME  COUNT  MORE\n\xc3\xbc\xc3\xbc        1  x\n");
}

static void colours_do_not_move_columns(void **state)
{
    (void)state;
    struct table table = two_columns();
    table_cell(&table, TABLE_GOOD, "up");
    table_cell(&table, TABLE_PLAIN, "1");
    table_cell(&table, TABLE_BAD, "down");
    assert_prints(&table, true,
                  "\033[1mNAME\033[0m  \033[1mCOUNT\033[0m  \033[1mMORE\033[0m\n"
                  "\033[32mup\033[0m        1  \033[31mdown\033[0m\n");
}

static void without_colour_there_is_no_escape(void **state)
{
    (void)state;
    struct table table = two_columns();
    table_cell(&table, TABLE_GOOD, "up");
    table_cell(&table, TABLE_DOUBTFUL, "1");
    table_cell(&table, TABLE_BAD, "down");
    char *text = print(&table, false);
    assert_null(strchr(text, '\033'));
    free(text);
    table_free(&table);
}

static void what_a_terminal_obeys_is_not_printed(void **state)
{
    (void)state;
    char text[] = "a\033[31mb\x7f\xc2\x9b\xff\n\xc3\xbc\xc2\xa0";
    table_clean(text);
    assert_string_equal(text, "a?[31mb?????\xc3\xbc\xc2\xa0");
    struct table table = { 0 };
    table_column(&table, "N");
    table_cell(&table, TABLE_PLAIN, "x\ny\t");
    assert_prints(&table, true, "\033[1mN\033[0m\nx?y?\n");
}

static void ages_are_in_the_unit_that_says_most(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = { { 0, "just now" },  { 0.999, "just now" }, { 1, "1 s" },        { 3.9, "3 s" },
                  { 119.9, "119 s" }, { 120, "2 min" },      { 7199, "119 min" }, { 7200, "2 h" },
                  { 172799, "47 h" }, { 172800, "2 d" },     { 1e9, "11574 d" },  { -1, "just now" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[TABLE_SHORT];
        table_age(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void bytes_are_in_binary_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = { { 0, "0 B" },           { 1023, "1023 B" },           { 1024, "1.0 KiB" },
                  { 4 << 20, "4.0 MiB" }, { (1 << 20) - 1, "1.0 MiB" }, { UINT64_MAX, "16777216.0 TiB" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[TABLE_SHORT];
        table_bytes(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_text),
        cmocka_unit_test(rows_end_with_their_last_text),
        cmocka_unit_test(widths_are_those_of_a_terminal),
        cmocka_unit_test(colours_do_not_move_columns),
        cmocka_unit_test(without_colour_there_is_no_escape),
        cmocka_unit_test(what_a_terminal_obeys_is_not_printed),
        cmocka_unit_test(ages_are_in_the_unit_that_says_most),
        cmocka_unit_test(bytes_are_in_binary_units),
    };
    return cmocka_run_group_tests_name("ctl_table", tests, NULL, NULL);
}
