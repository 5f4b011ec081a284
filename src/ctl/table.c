#include "table.h"

#include "fieldgate/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define GAP "  "

void table_column(struct table *table, const char *head)
{
    if (table->columns < TABLE_COLUMNS) {
        table->right[table->columns] = head[0] == '>';
        table->heads[table->columns++] = head[0] == '>' ? head + 1 : head;
    }
}

void table_clean(char *text)
{
    size_t length = strlen(text);
    for (size_t at = 0, step; at < length; at += step ? step : 1) {
        unsigned char first = (unsigned char)text[at];
        step = fg_utf8_step(text + at, length - at);
        bool control = first < 0x20 || first == 0x7f ||
                       (step == 2 && first == 0xc2 && (unsigned char)text[at + 1] < 0xa0);
        if (step == 0 || control) {
            memset(text + at, '?', step ? step : 1);
        }
    }
}

void table_cell(struct table *table, enum table_style style, const char *format, ...)
{
    if (table->count == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 64;
        struct table_cell *cells = realloc(table->cells, capacity * sizeof *cells);
        if (!cells) {
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0) {
        text = NULL;
    }
    va_end(arguments);
    if (text) {
        table_clean(text);
    }
    table->cells[table->count++] = (struct table_cell){ .text = text, .style = style };
}

struct range {
    uint32_t first, last;
};

static bool is_in(const struct range *ranges, size_t count, uint32_t character)
{
    for (size_t i = 0; i < count; i++) {
        if (character >= ranges[i].first && character <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

static size_t character_width(uint32_t character)
{
    static const struct range none[] = { { 0x300, 0x36f },   { 0x483, 0x489 },   { 0x591, 0x5bd },
                                         { 0x610, 0x61a },   { 0x64b, 0x65f },   { 0x200b, 0x200f },
                                         { 0x20d0, 0x20f0 }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f } };
    static const struct range wide[] = { { 0x1100, 0x115f },   { 0x2e80, 0x303e },  { 0x3041, 0xa4cf },
                                         { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },  { 0xfe30, 0xfe6f },
                                         { 0xff00, 0xff60 },   { 0xffe0, 0xffe6 },  { 0x1f300, 0x1f64f },
                                         { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd } };
    if (is_in(none, sizeof none / sizeof none[0], character)) {
        return 0;
    }
    return is_in(wide, sizeof wide / sizeof wide[0], character) ? 2 : 1;
}

size_t table_width(const char *text)
{
    size_t width = 0;
    size_t length = strlen(text);
    for (size_t at = 0, step; at < length; at += step ? step : 1) {
        step = fg_utf8_step(text + at, length - at);
        const unsigned char *bytes = (const unsigned char *)text + at;
        uint32_t character = step <= 1 ? bytes[0] : bytes[0] & (0xffu >> (step + 1));
        for (size_t i = 1; i < step; i++) {
            character = character << 6 | (bytes[i] & 0x3f);
        }
        width += character_width(character);
    }
    return width;
}

const char *table_on(enum table_style style, bool colour)
{
    static const char *const codes[] = { [TABLE_PLAIN] = "",
                                         [TABLE_GOOD] = "\033[32m",
                                         [TABLE_BAD] = "\033[31m",
                                         [TABLE_DOUBTFUL] = "\033[33m",
                                         [TABLE_HEAD] = "\033[1m" };
    return colour ? codes[style] : "";
}

const char *table_off(enum table_style style, bool colour)
{
    return colour && style != TABLE_PLAIN ? "\033[0m" : "";
}

static const char *text_of(const struct table *table, size_t row, size_t column)
{
    size_t at = row * table->columns + column;
    return at < table->count && table->cells[at].text ? table->cells[at].text : "";
}

static void measure(const struct table *table, size_t widths[TABLE_COLUMNS])
{
    for (size_t column = 0; column < table->columns; column++) {
        widths[column] = table_width(table->heads[column]);
        for (size_t row = 0; row * table->columns < table->count; row++) {
            size_t width = table_width(text_of(table, row, column));
            widths[column] = width > widths[column] ? width : widths[column];
        }
    }
}

static void pad(FILE *out, size_t count)
{
    fprintf(out, "%*s", (int)count, "");
}

/* Nothing follows the last text of a row, not even blanks. */
static void print_row(FILE *out, const struct table *table, const size_t widths[TABLE_COLUMNS],
                      const char *const texts[TABLE_COLUMNS], const enum table_style styles[TABLE_COLUMNS],
                      bool colour)
{
    size_t last = table->columns;
    while (last > 0 && !texts[last - 1][0]) {
        last--;
    }
    for (size_t i = 0; i < last; i++) {
        size_t blanks = widths[i] - table_width(texts[i]);
        fprintf(out, "%s", i > 0 ? GAP : "");
        if (table->right[i]) {
            pad(out, blanks);
        }
        fprintf(out, "%s%s%s", table_on(styles[i], colour), texts[i], table_off(styles[i], colour));
        if (!table->right[i] && i + 1 < last) {
            pad(out, blanks);
        }
    }
    fprintf(out, "\n");
}

void table_print(const struct table *table, FILE *out, bool colour)
{
    size_t widths[TABLE_COLUMNS];
    const char *texts[TABLE_COLUMNS];
    enum table_style styles[TABLE_COLUMNS];
    if (table->columns == 0) {
        return;
    }
    measure(table, widths);
    for (size_t i = 0; i < table->columns; i++) {
        styles[i] = TABLE_HEAD;
    }
    print_row(out, table, widths, table->heads, styles, colour);
    for (size_t row = 0; row * table->columns < table->count; row++) {
        for (size_t i = 0; i < table->columns; i++) {
            size_t at = row * table->columns + i;
            texts[i] = text_of(table, row, i);
            styles[i] = at < table->count ? table->cells[at].style : TABLE_PLAIN;
        }
        print_row(out, table, widths, texts, styles, colour);
    }
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i].text);
    }
    free(table->cells);
    *table = (struct table){ 0 };
}

void table_age(double seconds, char text[TABLE_SHORT])
{
    static const struct {
        double from, unit;
        const char *name;
    } units[] = { { 2 * 86400.0, 86400.0, "d" }, { 2 * 3600.0, 3600.0, "h" }, { 120.0, 60.0, "min" } };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (seconds >= units[i].from) {
            snprintf(text, TABLE_SHORT, "%.0f %s", (double)(int64_t)(seconds / units[i].unit), units[i].name);
            return;
        }
    }
    if (seconds < 1.0) {
        snprintf(text, TABLE_SHORT, "just now");
    } else {
        snprintf(text, TABLE_SHORT, "%d s", (int)seconds);
    }
}

void table_bytes(uint64_t bytes, char text[TABLE_SHORT])
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
    if (bytes < 1024) {
        snprintf(text, TABLE_SHORT, "%u B", (unsigned)bytes);
        return;
    }
    double value = (double)bytes / 1024.0;
    size_t unit = 0;
    while (value >= 1023.95 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024.0;
        unit++;
    }
    snprintf(text, TABLE_SHORT, "%.1f %s", value, units[unit]);
}
