/*
 * Tables of settings. Each module describes its settings once, in a table beside its code; the reader,
 * --check, the difference of two configurations and docs/configuration.md all come from that table.
 *
 * A table fills a plain struct: each row says where in it the value goes.
 */
#ifndef FIELDGATE_SETTING_H
#define FIELDGATE_SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The types of settings, and the C type of the field that each fills. Whoever goes along a table handles all
 * of them. */
enum fg_setting_type {
    /* bool */
    FG_SETTING_BOOLEAN,
    /* int64_t, within minimum..maximum */
    FG_SETTING_INTEGER,
    /* double, within minimum..maximum */
    FG_SETTING_REAL,
    /* char *, never NULL; its length within minimum..maximum */
    FG_SETTING_TEXT,
    /* int, the index into choices */
    FG_SETTING_CHOICE,
    /* int64_t nanoseconds, within minimum..maximum */
    FG_SETTING_DURATION,
    /* int64_t bytes, within minimum..maximum */
    FG_SETTING_SIZE,
    /* struct fg_texts; in the file one string, or an array or list of them; their number within
     * minimum..maximum */
    FG_SETTING_TEXTS,
    /* The struct of schema, embedded; absent in the file it has all defaults. */
    FG_SETTING_GROUP,
    /* Pointer to the struct of schema; NULL when the group is absent. */
    FG_SETTING_OPTIONAL,
    /* The struct of schema, embedded; its keys stand directly in this group. */
    FG_SETTING_INLINE,
    /* struct fg_settings_list of structs of schema; their number within minimum..maximum */
    FG_SETTING_LIST,
    /* struct fg_chosen: a group whose "type" names one of variants */
    FG_SETTING_VARIANT,
};
#define FG_SETTING_TYPES (FG_SETTING_VARIANT + 1)

struct fg_texts {
    size_t count;
    char **items;
};

struct fg_settings_list {
    size_t count;
    void *items; /* count structs of schema->size, one behind the other */
};

struct fg_schema;

/* One of the kinds that a VARIANT group can name. Registries are arrays of pointers to these, NULL at the
 * end. */
struct fg_variant {
    const char *name;
    const char *help;               /* one line for the reference page */
    const struct fg_schema *schema; /* its settings beside "type" */
};

struct fg_chosen {
    const struct fg_variant *variant; /* NULL when the group is optional and absent */
    void *settings;                   /* the struct of variant->schema */
    int line;                         /* of the group in the file, for later messages; 0 when absent */
};

/* Where a problem is told from a check function: path is relative to the group being checked ("baud", "" for
 * the group itself). */
struct fg_check;
void fg_check_problem(struct fg_check *check, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether the file says something at path: of the group itself, not what it has from the one around it. */
bool fg_check_says(const struct fg_check *check, const char *path);

struct fg_setting {
    const char *key; /* NULL ends the table (INLINE rows use "" ) */
    enum fg_setting_type type;
    /* A reload does not apply it: a change waits for the next start. */
    bool restart;
    /* Of the field in the schema's struct. */
    size_t offset;
    /* The default as it stands in the file, without quotes; NULL: the setting is required. For TEXTS "" is
     * the empty list. Groups have none; a VARIANT or LIST with NULL is required, with "" it may be absent. A
     * default may lie outside of minimum..maximum ("" for a name that is made up later). */
    const char *fallback;
    /* Both 0: no range. */
    int64_t minimum, maximum;
    /* For the reference page: the unit, may be NULL; and a sentence or two. */
    const char *unit;
    const char *help;
    const char *const *choices;
    const struct fg_schema *schema;
    const struct fg_variant *const *variants;
    /* LIST: before an item is read, inherit_size bytes of this group's struct at inherit_from are copied into
     * the item at inherit_to: what an item does not say, it has from the group around it. 0: nothing. */
    size_t inherit_from, inherit_to, inherit_size;
    /* A further check of the text of a TEXT or of each of TEXTS, or of a number, may be NULL. Tells problems
     * itself, with key as their path. field points to the field: char *const * of a TEXT and of each of TEXTS
     * (key is then "allow[2]"), const int64_t * or const double * of a number. Runs for what the file says,
     * not for defaults. */
    void (*check)(struct fg_check *check, const char *key, const void *field);
};

struct fg_schema {
    const char *name; /* heading in the reference page */
    const char *help;
    size_t size; /* of the struct */
    const struct fg_setting *settings;
    /* Checks that need more than one setting, after all are read without problem; may be NULL. */
    void (*check)(struct fg_check *check, const void *settings);
};

#endif
