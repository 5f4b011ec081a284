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

enum fg_setting_type { /* C type of the field:                                                          */
                       FG_SETTING_BOOLEAN,  /* bool  */
                       FG_SETTING_INTEGER,  /* int64_t, within minimum..maximum  */
                       FG_SETTING_REAL,     /* double, within minimum..maximum     */
                       FG_SETTING_TEXT,     /* char *, never NULL; length within minimum..maximum     */
                       FG_SETTING_CHOICE,   /* int, the index into choices   */
                       FG_SETTING_DURATION, /* int64_t nanoseconds, within minimum..maximum */
                       FG_SETTING_SIZE,     /* int64_t bytes, within minimum..maximum     */
                       FG_SETTING_TEXTS,    /* struct fg_texts; in the file one string or an array/list of
                                               strings; number of    items within minimum..maximum    */
                       FG_SETTING_GROUP,    /* the struct of schema, embedded; absent in the file means all
                                               defaults          */
                       FG_SETTING_OPTIONAL, /* pointer to the struct of schema; NULL when the group is absent
                                             */
                       FG_SETTING_INLINE,   /* the struct of schema, embedded; its keys stand directly in this
                                               group          */
                       FG_SETTING_LIST,     /* struct fg_settings_list of structs of schema; number within
                                               minimum..maximum   */
                       FG_SETTING_VARIANT,  /* struct fg_chosen: a group whose "type" names one of variants  */
};

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

struct fg_setting {
    const char *key; /* NULL ends the table (INLINE rows use "" ) */
    enum fg_setting_type type;
    size_t offset;            /* of the field in the schema's struct */
    const char *fallback;     /* the default as it stands in the file, without quotes; NULL: the setting is
                                 required.     TEXTS: "" is the empty list. Not used by groups; a VARIANT or LIST with
                                 NULL is     required, with "" it may be absent. A default may lie outside of
                                 minimum..maximum ("" for a name made up later). */
    int64_t minimum, maximum; /* both 0: no range */
    const char *unit;         /* for the reference page, may be NULL */
    const char *help;         /* one or two sentences for the reference page */
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
