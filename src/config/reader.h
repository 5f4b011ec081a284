/*
 * What the files of the reader share. The way of a configuration: source.c reads files, scan.c makes tokens
 * of them and follows @include, prescan.c checks the grammar and writes one plain text for libconfig,
 * reader.c walks libconfig's tree along the tables, keys.c finds what is unknown, values.c makes settings'
 * values, report.c tells what is wrong.
 *
 * libconfig never sees a file: its scanner calls exit() on a read error, follows @include into devices and
 * endless loops, cuts long integers off silently, and its parser leaks on a syntax error. It gets text that
 * is known to be well-formed and bounded, and its line numbers are translated back by a table of origins.
 */
#ifndef FIELDGATE_CONFIG_READER_H
#define FIELDGATE_CONFIG_READER_H

#include "fieldgate/buffer.h"
#include "fieldgate/config.h"
#include "fieldgate/setting.h"

#include <libconfig.h>
#include <stdarg.h>

/* Two hundred devices with a hundred points each are 20 000 groups and 1 MiB of text. */
#define CONFIG_MAX_BYTES    (4 * 1024 * 1024) /* of a file, and of all that it includes */
#define CONFIG_MAX_INCLUDES 256
#define CONFIG_MAX_DEPTH    32     /* of groups, lists and arrays in one another */
#define CONFIG_MAX_FILES    10     /* of @include in one another */
#define CONFIG_MAX_KEYS     256    /* in one group: libconfig compares each key with all before it */
#define CONFIG_MAX_VALUES   524288 /* in all */
#define CONFIG_MAX_NAME     255
#define CONFIG_MAX_PROBLEMS 100
#define CONFIG_MAX_ROWS     192 /* of the tables: keys of one group with what stands inline in it */

/* ---- arena.c: memory that is freed at once ---- */

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    bool failed; /* an allocation was refused: sticky, so that callers may look once at the end */
};

void *arena_new(struct arena *arena, size_t size); /* zeroed, aligned for anything; NULL when refused */
char *arena_copy(struct arena *arena, const char *text, size_t length);
void arena_fini(struct arena *arena);

/* ---- report.c: problems ---- */

/* Where something stands in the files. */
struct origin {
    const char *file;
    int line;
    size_t order; /* grows along the text, included files at the place of their @include */
    bool told;    /* what stands here is known to be wrong; libconfig got something in its place */
};

/* Where something stands in the tree: a chain along the caller's stack. The root is NULL. */
struct place {
    const struct place *above;
    const char *name; /* NULL: an item of a list */
    size_t length;
    size_t index;
};

struct problem {
    size_t order;
    const char *text;
};

struct problems {
    struct arena *memory;
    size_t count; /* all that were met; the first CONFIG_MAX_PROBLEMS are kept */
    struct problem kept[CONFIG_MAX_PROBLEMS];
};

void problems_tell(struct problems *problems, const struct origin *origin, const struct place *place,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
void problems_vtell(struct problems *problems, const struct origin *origin, const struct place *place,
                    const char *below, const char *format, va_list arguments)
    __attribute__((format(printf, 5, 0)));
/* Hands them on in the order of the text. */
void problems_report(struct problems *problems, void (*report)(void *context, const char *problem),
                     void *context);
/* No more are kept: looking for further ones only costs time. */
bool problems_full(const struct problems *problems);

/* Writes length bytes as they could stand in quotes, cut to the room, for use in a problem. Returns room. */
#define QUOTED_ROOM 64
const char *text_quoted(const char *text, size_t length, char room[QUOTED_ROOM]);

/* ---- source.c: files ---- */

struct source {
    const char *name; /* as it is shown in problems */
    const char *text;
    size_t length;
    size_t at;
    int line;
    uint64_t device, inode; /* what file it really is, to see a loop */
};

/* Reads a regular file of at most limit bytes without NUL. Returns 0, -ENOMEM, or -EINVAL with why and the
 * line. */
#define WHY_ROOM 512
int source_read(struct arena *memory, const char *path, size_t limit, struct source *source,
                char why[WHY_ROOM], int *line);

/* ---- scan.c: tokens ---- */

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,
    TOKEN_BOOLEAN,
    TOKEN_NUMBER, /* begins as a number; whether it is one is not decided yet */
    TOKEN_WORD,   /* neither of these */
    TOKEN_TEXT,   /* with its quotes, as it stands */
    TOKEN_EQUALS,
    TOKEN_COMMA,
    TOKEN_SEMICOLON,
    TOKEN_GROUP_OPEN,
    TOKEN_GROUP_CLOSE,
    TOKEN_LIST_OPEN,
    TOKEN_LIST_CLOSE,
    TOKEN_ARRAY_OPEN,
    TOKEN_ARRAY_CLOSE,
    TOKEN_NONE, /* what follows is none; the problem is told */
};

struct token {
    enum token_kind kind;
    const char *text;
    size_t length;
    struct origin origin;
};

struct scan {
    struct arena *memory;
    struct problems *problems;
    struct source files[CONFIG_MAX_FILES + 1]; /* the last is being read */
    size_t depth;
    size_t bytes, includes, tokens;
    int error;
};

/* Opens the first file. Returns 0, -EINVAL when a problem was told, -ENOMEM. */
int scan_open(struct scan *scan, const char *path);
struct token scan_next(struct scan *scan, const struct place *place);

/* ---- prescan.c: the grammar ---- */

/* One text for libconfig and where each of its lines comes from. */
struct plain {
    struct fg_buffer text;    /* ends with a NUL */
    struct fg_buffer origins; /* struct origin for line 1, 2, ... */
};

/* Returns 0 with the text whole (problems may have been told), -EINVAL when the rest cannot be understood,
 * -ENOMEM. */
int prescan(struct arena *memory, struct problems *problems, const char *path, struct plain *plain);
void plain_fini(struct plain *plain);
const struct origin *plain_origin(const struct plain *plain, unsigned line);

/* ---- values.c: values ---- */

enum literal_kind { LITERAL_BOOLEAN, LITERAL_INTEGER, LITERAL_REAL, LITERAL_TEXT };

struct literal {
    enum literal_kind kind;
    bool boolean;
    int64_t integer;
    double real;
    const char *text;
};

/* The value of a setting that is no group, list or array; false when it is one of these. */
bool literal_of(const config_setting_t *setting, struct literal *literal);
/* What stands there, in words. */
void setting_describe(const config_setting_t *setting, char words[QUOTED_ROOM + 32]);

/* Stores a literal as the row's type. Returns false with why (empty when memory was refused). */
bool value_store(struct arena *memory, const struct fg_setting *row, const struct literal *literal,
                 void *field, char why[WHY_ROOM]);
/* Stores the row's fallback, which may lie outside of the row's range (an empty text for "made up later").
 * Returns false when the table is wrong or memory was refused. */
bool value_store_fallback(struct arena *memory, const struct fg_setting *row, void *field);
/* What the row wants, in words: "a duration like \"5s\"". */
void value_wanted(const struct fg_setting *row, char words[WHY_ROOM]);
/* The row's range with its unit, empty when it has none. */
#define RANGE_ROOM 96
void value_range(const struct fg_setting *row, char words[RANGE_ROOM]);
/* What word may have been meant for: the nearest by edits, else one that it begins or that begins it; may be
 * NULL. */
const char *word_meant(const char *word, const char *const *candidates);
/* Appends quoted names to words as far as they go: "a", "b" or "c". */
void words_choices(char *words, size_t room, const char *const *choices);

/* ---- reader.c ---- */

struct reader {
    struct arena *memory; /* of the settings */
    struct problems *problems;
    const struct plain *plain;
    size_t skipped; /* values whose problem was told before libconfig saw the text */
};

/* A group or value being read. */
struct spot {
    config_setting_t *setting;    /* NULL when it is absent */
    const config_setting_t *near; /* the setting, or the nearest one around it that is there */
    const struct place *place;
};

struct fg_check {
    struct reader *reader;
    struct spot spot;
};

const struct origin *reader_origin(const struct reader *reader, const struct spot *spot);
struct spot spot_below(const struct spot *spot, const struct place *place, config_setting_t *setting);

/* ---- keys.c ---- */

/* Tells of each setting in the group that its schema (NULL: none) does not know. variant_row: the group's own
 * row when it is one of variants, else NULL. */
void keys_check(struct reader *reader, const struct fg_schema *schema, const struct fg_setting *variant_row,
                const struct spot *spot);

#endif
