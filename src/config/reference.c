#include "reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * One page, one section a schema or set of variants, in the order in which the tables name them. Links are
 * the anchors that GitHub and most Markdown tools make of headings: lower case, blanks to '-', signs dropped,
 * and "-1",
 * "-2" after one that was there before.
 */
#define HEADING_ROOM 160

enum section_kind { SECTION_SCHEMA, SECTION_VARIANTS, SECTION_VARIANT };

struct section {
    enum section_kind kind;
    const struct fg_schema *schema;
    const struct fg_setting *row;     /* VARIANTS: the first setting that named them */
    const struct fg_variant *variant; /* VARIANT */
    char heading[HEADING_ROOM];
    char anchor[HEADING_ROOM];
};

struct page {
    FILE *out;
    struct section *sections;
    size_t count, capacity;
    int error;
};

static void make_anchor(const struct page *page, struct section *section)
{
    char base[HEADING_ROOM - 16];
    size_t at = 0;
    for (const char *c = section->heading; *c && at + 1 < sizeof base; c++) {
        if (isalnum((unsigned char)*c) || *c == '-' || *c == '_') {
            base[at++] = (char)tolower((unsigned char)*c);
        } else if (*c == ' ') {
            base[at++] = '-';
        }
    }
    base[at] = '\0';
    size_t same = 0;
    for (size_t i = 0; i < page->count; i++) {
        same += strcasecmp(page->sections[i].heading, section->heading) == 0;
    }
    snprintf(section->anchor, sizeof section->anchor, same ? "%s-%zu" : "%s", base, same);
}

static void add_section(struct page *page, struct section section)
{
    if (page->count == page->capacity) {
        size_t capacity = page->capacity ? page->capacity * 2 : 32;
        struct section *sections = realloc(page->sections, capacity * sizeof *sections);
        if (!sections) {
            page->error = -ENOMEM;
            return;
        }
        page->sections = sections;
        page->capacity = capacity;
    }
    make_anchor(page, &section);
    page->sections[page->count++] = section;
}

static const struct section *schema_section(const struct page *page, const struct fg_schema *schema)
{
    for (size_t i = 0; i < page->count; i++) {
        if (page->sections[i].schema == schema) {
            return &page->sections[i];
        }
    }
    return NULL;
}

static const struct section *variants_section(const struct page *page, const struct fg_setting *row)
{
    for (size_t i = 0; i < page->count; i++) {
        if (page->sections[i].kind == SECTION_VARIANTS && page->sections[i].row->variants == row->variants) {
            return &page->sections[i];
        }
    }
    return NULL;
}

/* ---- finding what is there ---- */

static void add_schema(struct page *page, const struct fg_schema *schema)
{
    if (!schema_section(page, schema)) {
        struct section section = { .kind = SECTION_SCHEMA, .schema = schema };
        snprintf(section.heading, sizeof section.heading, "%s", schema->name);
        add_section(page, section);
    }
}

static void add_variants(struct page *page, const struct fg_setting *row)
{
    if (variants_section(page, row)) {
        return;
    }
    struct section section = { .kind = SECTION_VARIANTS, .row = row };
    snprintf(section.heading, sizeof section.heading, "%s", row->key);
    add_section(page, section);
    for (size_t i = 0; row->variants[i] && !page->error; i++) {
        const struct fg_variant *variant = row->variants[i];
        /* A schema that two variants share is listed with the first of them. */
        const struct fg_schema *schema =
            variant->schema && !schema_section(page, variant->schema) ? variant->schema : NULL;
        section =
            (struct section){ .kind = SECTION_VARIANT, .row = row, .variant = variant, .schema = schema };
        snprintf(section.heading, sizeof section.heading, "%s %s", row->key, variant->name);
        add_section(page, section);
    }
}

static void find_sections(struct page *page, const struct fg_schema *root)
{
    add_schema(page, root);
    for (size_t i = 0; i < page->count && !page->error; i++) { /* grows while it is walked */
        const struct fg_schema *schema = page->sections[i].schema;
        for (const struct fg_setting *row = schema ? schema->settings : NULL; row && row->key; row++) {
            if (row->type == FG_SETTING_VARIANT) {
                add_variants(page, row);
            } else if (row->schema) {
                add_schema(page, row->schema);
            }
        }
    }
}

/* ---- writing ---- */

/* Text in a table's cell. */
static void put_cell(FILE *out, const char *text)
{
    for (; text && *text; text++) {
        if (*text == '|') {
            fputc('\\', out);
        }
        fputc(*text == '\n' ? ' ' : *text, out);
    }
}

/* A text as it is written in the file, in a cell. */
static void put_code(FILE *out, const char *text, bool quotes)
{
    fputs(quotes ? "`\"" : "`", out);
    for (; *text; text++) {
        switch (*text) {
        case '\n':
            fputs("\\n", out);
            break;
        case '\r':
            fputs("\\r", out);
            break;
        case '\t':
            fputs("\\t", out);
            break;
        case '"':
        case '\\':
            fputs(quotes ? "\\" : "", out);
            fputc(*text, out);
            break;
        case '|':
            fputs("\\|", out);
            break;
        default:
            fputc(*text, out);
        }
    }
    fputs(quotes ? "\"`" : "`", out);
}

static void put_link(FILE *out, const struct section *section)
{
    if (section) {
        fprintf(out, "[%s](#%s)", section->heading, section->anchor);
    }
}

static void put_type(const struct page *page, const struct fg_setting *row)
{
    static const char *const names[] = {
        [FG_SETTING_BOOLEAN] = "boolean",
        [FG_SETTING_INTEGER] = "integer",
        [FG_SETTING_REAL] = "number",
        [FG_SETTING_TEXT] = "text",
        [FG_SETTING_CHOICE] = "choice",
        [FG_SETTING_DURATION] = "duration",
        [FG_SETTING_SIZE] = "size",
        [FG_SETTING_TEXTS] = "text or list of texts",
        [FG_SETTING_GROUP] = "group ",
        [FG_SETTING_OPTIONAL] = "group ",
        [FG_SETTING_LIST] = "list of groups ",
        [FG_SETTING_VARIANT] = "group by type ",
    };
    fputs(names[row->type], page->out);
    if (row->type == FG_SETTING_VARIANT) {
        put_link(page->out, variants_section(page, row));
    } else if (row->schema) {
        put_link(page->out, schema_section(page, row->schema));
    }
}

static bool fallback_is_sound(struct page *page, const struct fg_setting *row)
{
    union {
        int64_t integer;
        double real;
        bool boolean;
        int choice;
        char *text;
        struct fg_texts texts;
    } field;
    struct arena memory = { 0 };
    bool sound = value_store_fallback(&memory, row, &field);
    if (memory.failed) {
        page->error = -ENOMEM;
    }
    arena_fini(&memory);
    return sound;
}

static void put_fallback(struct page *page, const struct fg_setting *row)
{
    switch (row->type) {
    case FG_SETTING_GROUP:
        fputs("all defaults", page->out);
        return;
    case FG_SETTING_OPTIONAL:
        fputs("absent", page->out);
        return;
    case FG_SETTING_LIST:
    case FG_SETTING_VARIANT:
        fputs(row->fallback ? "absent" : "required", page->out);
        return;
    default:
        break;
    }
    if (!row->fallback) {
        fputs("required", page->out);
        return;
    }
    if (row->type == FG_SETTING_TEXTS && !*row->fallback) {
        fputs("`[ ]`", page->out);
    } else {
        bool plain = row->type == FG_SETTING_BOOLEAN || row->type == FG_SETTING_INTEGER ||
                     row->type == FG_SETTING_REAL;
        put_code(page->out, row->fallback, !plain);
    }
    if (!fallback_is_sound(page, row)) {
        fputs(" (not valid)", page->out);
        page->error = page->error ? page->error : -EINVAL;
    }
}

static void put_range(struct page *page, const struct fg_setting *row)
{
    if (row->type == FG_SETTING_CHOICE) {
        for (size_t i = 0; row->choices[i]; i++) {
            fputs(i ? ", " : "", page->out);
            put_code(page->out, row->choices[i], true);
        }
        return;
    }
    char words[RANGE_ROOM];
    value_range(row, words);
    put_cell(page->out, *words || !row->unit ? words : row->unit);
}

static void put_row(struct page *page, const struct fg_setting *row)
{
    fprintf(page->out, "| `%s` | ", row->key);
    put_type(page, row);
    fputs(" | ", page->out);
    put_fallback(page, row);
    fputs(" | ", page->out);
    put_range(page, row);
    fputs(" | ", page->out);
    put_cell(page->out, row->help);
    fputs(row->restart ? " **Restart.** |\n" : " |\n", page->out);
}

static void put_table(struct page *page, const struct fg_schema *schema)
{
    bool head = false;
    for (const struct fg_setting *row = schema->settings; row->key; row++) {
        if (row->type != FG_SETTING_INLINE) {
            fputs(head ? "" : "| key | type | default | range | meaning |\n|---|---|---|---|---|\n",
                  page->out);
            head = true;
            put_row(page, row);
        }
    }
    fputs(head ? "\n" : "", page->out);
    for (const struct fg_setting *row = schema->settings; row->key; row++) {
        if (row->type == FG_SETTING_INLINE) {
            fputs("The settings of ", page->out);
            put_link(page->out, schema_section(page, row->schema));
            fputs(" stand here too, directly in this group.\n\n", page->out);
        }
    }
}

static void put_help(FILE *out, const char *help)
{
    if (help && *help) {
        fprintf(out, "%s\n\n", help);
    }
}

static void put_variants(struct page *page, const struct section *section)
{
    fprintf(page->out, "`type` in this group says which of these it is.\n\n| type | meaning |\n|---|---|\n");
    for (const struct section *each = section + 1;
         each < page->sections + page->count && each->kind == SECTION_VARIANT && each->row == section->row;
         each++) {
        fprintf(page->out, "| [`\"%s\"`](#%s) | ", each->variant->name, each->anchor);
        put_cell(page->out, each->variant->help);
        fputs(" |\n", page->out);
    }
    fputc('\n', page->out);
}

static void put_section(struct page *page, const struct section *section)
{
    const char *level = section->kind == SECTION_VARIANT ? "###" : section == page->sections ? "#" : "##";
    fprintf(page->out, "%s %s\n\n", level, section->heading);
    if (section->kind == SECTION_VARIANTS) {
        put_variants(page, section);
        return;
    }
    if (section->kind == SECTION_VARIANT) {
        put_help(page->out, section->variant->help);
        if (!section->schema && section->variant->schema) {
            fputs("Its settings are those of ", page->out);
            put_link(page->out, schema_section(page, section->variant->schema));
            fputs(".\n\n", page->out);
        } else if (!section->schema || !section->schema->settings->key) {
            fputs("It has no settings beside `type`.\n\n", page->out);
        }
    } else {
        put_help(page->out, section->schema->help);
    }
    if (section->schema) {
        put_table(page, section->schema);
    }
}

int fg_config_write_reference(FILE *out, const struct fg_schema *schema)
{
    struct page page = { .out = out };
    find_sections(&page, schema);
    for (size_t i = 0; i < page.count && page.error != -ENOMEM; i++) {
        put_section(&page, &page.sections[i]);
    }
    free(page.sections);
    if (ferror(out)) {
        return -EIO;
    }
    return page.error;
}
