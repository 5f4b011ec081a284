#include "reader.h"

#include "fieldgate/text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Longer words are not misspelled names; comparing them only costs time. */
#define NEAR_MAX 64

/* ---- what stands in the file ---- */

bool literal_of(const config_setting_t *setting, struct literal *literal)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_BOOL:
        *literal =
            (struct literal){ .kind = LITERAL_BOOLEAN, .boolean = config_setting_get_bool(setting) != 0 };
        return true;
    case CONFIG_TYPE_INT:
        *literal = (struct literal){ .kind = LITERAL_INTEGER, .integer = config_setting_get_int(setting) };
        return true;
    case CONFIG_TYPE_INT64:
        *literal = (struct literal){ .kind = LITERAL_INTEGER, .integer = config_setting_get_int64(setting) };
        return true;
    case CONFIG_TYPE_FLOAT:
        *literal = (struct literal){ .kind = LITERAL_REAL, .real = config_setting_get_float(setting) };
        return true;
    case CONFIG_TYPE_STRING: {
        const char *text = config_setting_get_string(setting);
        *literal = (struct literal){ .kind = LITERAL_TEXT, .text = text ? text : "" };
        return true;
    }
    default:
        return false;
    }
}

static void literal_describe(const struct literal *literal, char words[QUOTED_ROOM + 32])
{
    char room[QUOTED_ROOM];
    switch (literal->kind) {
    case LITERAL_BOOLEAN:
        snprintf(words, QUOTED_ROOM + 32, "%s", literal->boolean ? "true" : "false");
        break;
    case LITERAL_INTEGER:
        snprintf(words, QUOTED_ROOM + 32, "the number %" PRId64, literal->integer);
        break;
    case LITERAL_REAL:
        if (isfinite(literal->real)) {
            fg_real_print(literal->real, room);
        } else {
            snprintf(room, sizeof room, "too large for a real");
        }
        snprintf(words, QUOTED_ROOM + 32, "the number %s", room);
        break;
    case LITERAL_TEXT:
        snprintf(words, QUOTED_ROOM + 32, "the text %s",
                 text_quoted(literal->text, strlen(literal->text), room));
        break;
    }
}

void setting_describe(const config_setting_t *setting, char words[QUOTED_ROOM + 32])
{
    struct literal literal;
    if (literal_of(setting, &literal)) {
        literal_describe(&literal, words);
        return;
    }
    int type = config_setting_type(setting);
    snprintf(words, QUOTED_ROOM + 32, "%s",
             type == CONFIG_TYPE_GROUP  ? "a group { ... }"
             : type == CONFIG_TYPE_LIST ? "a list ( ... )"
                                        : "an array [ ... ]");
}

/* ---- words for what is right ---- */

void words_choices(char *words, size_t room, const char *const *choices)
{
    for (size_t i = 0; choices[i]; i++) {
        size_t at = strlen(words);
        const char *between = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        snprintf(words + at, room - at, "%s\"%s\"", between, choices[i]);
    }
}

const char *word_meant(const char *word, const char *const *candidates)
{
    size_t length = strlen(word);
    const char *near = length <= NEAR_MAX ? fg_text_nearest(word, candidates) : NULL;
    for (size_t i = 0; !near && length >= 3 && candidates[i]; i++) {
        size_t size = strlen(candidates[i]);
        if (size >= 3 && strncasecmp(word, candidates[i], size < length ? size : length) == 0) {
            near = candidates[i];
        }
    }
    return near;
}

/* In the largest unit that leaves no fraction. */
static void print_in_unit(int64_t value, const struct fg_setting *row, char words[32])
{
    static const struct {
        int64_t factor;
        const char *name;
    } durations[] = { { INT64_C(86400000000000), "d" },
                      { INT64_C(3600000000000), "h" },
                      { INT64_C(60000000000), "min" },
                      { 1000000000, "s" },
                      { 1000000, "ms" },
                      { 1000, "us" } },
      sizes[] = { { INT64_C(1) << 30, "GiB" }, { 1 << 20, "MiB" }, { 1 << 10, "KiB" }, { 1, "B" } };
    bool duration = row->type == FG_SETTING_DURATION;
    if (!duration && row->type != FG_SETTING_SIZE) {
        snprintf(words, 32, "%" PRId64, value);
        return;
    }
    size_t count = duration ? sizeof durations / sizeof *durations : sizeof sizes / sizeof *sizes;
    for (size_t i = 0; i < count && value != 0; i++) {
        int64_t factor = duration ? durations[i].factor : sizes[i].factor;
        if (value % factor == 0) {
            snprintf(words, 32, "%" PRId64 "%s", value / factor,
                     duration ? durations[i].name : sizes[i].name);
            return;
        }
    }
    if (value == 0) {
        snprintf(words, 32, "%s", duration ? "0s" : "0B");
    } else {
        snprintf(words, 32, "%.3fus", (double)value / 1000.0);
    }
}

static const char *range_unit(const struct fg_setting *row)
{
    switch (row->type) {
    case FG_SETTING_TEXT:
        return "bytes";
    case FG_SETTING_TEXTS:
    case FG_SETTING_LIST:
        return "items";
    case FG_SETTING_DURATION:
    case FG_SETTING_SIZE:
        return "";
    default:
        return row->unit ? row->unit : "";
    }
}

void value_range(const struct fg_setting *row, char words[RANGE_ROOM])
{
    *words = '\0';
    if (row->minimum == 0 && row->maximum == 0) {
        return;
    }
    char low[32];
    char high[32];
    print_in_unit(row->minimum, row, low);
    print_in_unit(row->maximum, row, high);
    bool counted =
        row->type == FG_SETTING_TEXT || row->type == FG_SETTING_TEXTS || row->type == FG_SETTING_LIST;
    bool no_low = row->minimum == INT64_MIN || (counted && row->minimum <= 0);
    bool no_high = row->maximum == INT64_MAX;
    if (no_low && no_high) {
        return;
    }
    if (no_low) {
        snprintf(words, RANGE_ROOM, "at most %s", high);
    } else if (no_high) {
        snprintf(words, RANGE_ROOM, "at least %s", low);
    } else if (row->minimum == row->maximum) {
        snprintf(words, RANGE_ROOM, "exactly %s", low);
    } else {
        snprintf(words, RANGE_ROOM, "%s..%s", low, high);
    }
    const char *unit = range_unit(row);
    size_t at = strlen(words);
    snprintf(words + at, RANGE_ROOM - at, "%s%.24s", *unit ? " " : "", unit);
}

void value_wanted(const struct fg_setting *row, char words[WHY_ROOM])
{
    static const char *const plain[] = {
        [FG_SETTING_BOOLEAN] = "true or false",
        [FG_SETTING_INTEGER] = "a whole number",
        [FG_SETTING_REAL] = "a number",
        [FG_SETTING_TEXT] = "a text in quotes",
        [FG_SETTING_DURATION] = "a duration with its unit, for example \"5s\"",
        [FG_SETTING_SIZE] = "a size with its unit, for example \"64KiB\"",
        [FG_SETTING_TEXTS] = "a text or a list of texts, for example [ \"a\", \"b\" ]",
        [FG_SETTING_GROUP] = "a group { ... }",
        [FG_SETTING_OPTIONAL] = "a group { ... }",
        [FG_SETTING_LIST] = "a list of groups ( { ... }, { ... } )",
        [FG_SETTING_VARIANT] = "a group { type = \"...\"; ... }",
    };
    if (row->type == FG_SETTING_CHOICE) {
        snprintf(words, WHY_ROOM, "%s", row->choices[0] && row->choices[1] ? "one of " : "");
        words_choices(words, WHY_ROOM, row->choices);
        return;
    }
    snprintf(words, WHY_ROOM, "%s", plain[row->type]);
}

/* ---- storing ---- */

static bool bad_kind(const struct fg_setting *row, const struct literal *literal, char why[WHY_ROOM])
{
    char wanted[WHY_ROOM];
    char found[QUOTED_ROOM + 32];
    value_wanted(row, wanted);
    literal_describe(literal, found);
    bool unit = row->type == FG_SETTING_DURATION || row->type == FG_SETTING_SIZE;
    bool number = literal->kind == LITERAL_INTEGER || literal->kind == LITERAL_REAL;
    if (unit && number) {
        snprintf(why, WHY_ROOM, "%s has no unit; write it with a unit, for example %s",
                 found + strlen("the number "), row->type == FG_SETTING_DURATION ? "\"5s\"" : "\"64KiB\"");
        return false;
    }
    struct fg_value value;
    const char *remedy = "";
    if (literal->kind == LITERAL_TEXT && (row->type == FG_SETTING_INTEGER || row->type == FG_SETTING_REAL) &&
        fg_number_parse(literal->text, strlen(literal->text), &value)) {
        remedy = "; take the quotes off";
    } else if (literal->kind == LITERAL_TEXT && row->type == FG_SETTING_BOOLEAN &&
               (strcasecmp(literal->text, "true") == 0 || strcasecmp(literal->text, "false") == 0)) {
        remedy = "; take the quotes off";
    } else if (literal->kind != LITERAL_TEXT &&
               (row->type == FG_SETTING_TEXT || row->type == FG_SETTING_CHOICE)) {
        remedy = "; put it in quotes";
    }
    snprintf(why, WHY_ROOM, "expected %.300s, found %s%s", wanted, found, remedy);
    return false;
}

static bool in_range(const struct fg_setting *row, int64_t value)
{
    return (row->minimum == 0 && row->maximum == 0) || (value >= row->minimum && value <= row->maximum);
}

static bool out_of_range(const struct fg_setting *row, const char *found, char why[WHY_ROOM])
{
    char range[RANGE_ROOM];
    value_range(row, range);
    snprintf(why, WHY_ROOM, "%s is out of range; it must be %s%s", found,
             strstr(range, "..") ? "within " : "", range);
    return false;
}

static bool store_integer(const struct fg_setting *row, int64_t value, const char *found, bool ranged,
                          int64_t *field, char why[WHY_ROOM])
{
    if (ranged && !in_range(row, value)) {
        return out_of_range(row, found, why);
    }
    *field = value;
    return true;
}

static bool store_real(const struct fg_setting *row, const struct literal *literal, bool ranged,
                       double *field, char why[WHY_ROOM])
{
    double real = literal->kind == LITERAL_INTEGER ? (double)literal->integer : literal->real;
    if (!isfinite(real)) {
        snprintf(why, WHY_ROOM, "the number is too large for a real; write a smaller one");
        return false;
    }
    bool limited = row->minimum != 0 || row->maximum != 0;
    if (ranged && limited && (real < (double)row->minimum || real > (double)row->maximum)) {
        char found[FG_NUMBER_TEXT];
        fg_real_print(real, found);
        return out_of_range(row, found, why);
    }
    *field = real;
    return true;
}

static bool store_text(struct arena *memory, const struct fg_setting *row, const char *text, bool ranged,
                       char **field, char why[WHY_ROOM])
{
    size_t length = strlen(text);
    char quoted[QUOTED_ROOM];
    if (!fg_utf8_valid(text, length)) {
        snprintf(why, WHY_ROOM, "%s is not valid UTF-8; save the file as UTF-8",
                 text_quoted(text, length, quoted));
        return false;
    }
    /* The range of TEXTS is the number of its items. */
    if (ranged && row->type == FG_SETTING_TEXT && !in_range(row, (int64_t)length)) {
        char range[RANGE_ROOM];
        value_range(row, range);
        if (length == 0) {
            snprintf(why, WHY_ROOM, "is empty; it must have %s", range);
        } else {
            snprintf(why, WHY_ROOM, "%s has %zu bytes; it must have %s", text_quoted(text, length, quoted),
                     length, range);
        }
        return false;
    }
    char *copy = arena_copy(memory, text, length);
    if (copy) {
        *field = copy;
    }
    return copy != NULL;
}

static bool store_choice(const struct fg_setting *row, const char *text, int *field, char why[WHY_ROOM])
{
    for (int i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *field = i;
            return true;
        }
    }
    size_t length = strlen(text);
    const char *near = word_meant(text, row->choices);
    char wanted[WHY_ROOM];
    char quoted[QUOTED_ROOM];
    value_wanted(row, wanted);
    snprintf(why, WHY_ROOM, "%s is not known; expected %.300s%s%.64s%s", text_quoted(text, length, quoted),
             wanted, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return false;
}

/* Durations and sizes. */
static bool store_measure(const struct fg_setting *row, const char *text, bool ranged, int64_t *field,
                          char why[WHY_ROOM])
{
    bool duration = row->type == FG_SETTING_DURATION;
    int64_t value;
    int error = duration ? fg_duration_parse(text, &value) : fg_size_parse(text, &value);
    char quoted[QUOTED_ROOM];
    text_quoted(text, strlen(text), quoted);
    if (error == -ERANGE) {
        snprintf(why, WHY_ROOM, "%s is too large; write a smaller one", quoted);
        return false;
    }
    if (error) {
        snprintf(why, WHY_ROOM, "%s is no %s; write it with a unit, for example %s", quoted,
                 duration ? "duration" : "size",
                 duration ? "\"5s\" (us, ms, s, min, h, d)" : "\"64KiB\" (B, KiB, MiB, GiB)");
        return false;
    }
    return store_integer(row, value, quoted, ranged, field, why);
}

static bool store(struct arena *memory, const struct fg_setting *row, const struct literal *literal,
                  bool ranged, void *field, char why[WHY_ROOM])
{
    *why = '\0';
    char found[32];
    switch (row->type) {
    case FG_SETTING_BOOLEAN:
        if (literal->kind != LITERAL_BOOLEAN) {
            return bad_kind(row, literal, why);
        }
        *(bool *)field = literal->boolean;
        return true;
    case FG_SETTING_INTEGER:
        if (literal->kind != LITERAL_INTEGER) {
            return bad_kind(row, literal, why);
        }
        snprintf(found, sizeof found, "%" PRId64, literal->integer);
        return store_integer(row, literal->integer, found, ranged, field, why);
    case FG_SETTING_REAL:
        if (literal->kind != LITERAL_INTEGER && literal->kind != LITERAL_REAL) {
            return bad_kind(row, literal, why);
        }
        return store_real(row, literal, ranged, field, why);
    default:
        break;
    }
    if (literal->kind != LITERAL_TEXT) {
        return bad_kind(row, literal, why);
    }
    switch (row->type) {
    case FG_SETTING_TEXT:
    case FG_SETTING_TEXTS:
        return store_text(memory, row, literal->text, ranged, field, why);
    case FG_SETTING_CHOICE:
        return store_choice(row, literal->text, field, why);
    case FG_SETTING_DURATION:
    case FG_SETTING_SIZE:
        return store_measure(row, literal->text, ranged, field, why);
    default:
        return bad_kind(row, literal, why);
    }
}

bool value_store(struct arena *memory, const struct fg_setting *row, const struct literal *literal,
                 void *field, char why[WHY_ROOM])
{
    return store(memory, row, literal, true, field, why);
}

/* ---- defaults ---- */

static bool literal_of_number(const char *text, struct literal *literal)
{
    if (strncasecmp(text, "0x", 2) == 0) {
        char *end;
        literal->kind = LITERAL_INTEGER;
        literal->integer = (int64_t)strtoull(text, &end, 16);
        return *end == '\0';
    }
    struct fg_value value;
    if (!fg_number_parse(text, strlen(text), &value)) {
        return false;
    }
    if (value.kind == FG_VALUE_INTEGER) {
        *literal = (struct literal){ .kind = LITERAL_INTEGER, .integer = value.integer };
    } else {
        *literal = (struct literal){ .kind = LITERAL_REAL, .real = value.real };
    }
    return value.kind == FG_VALUE_INTEGER || value.kind == FG_VALUE_REAL;
}

static bool store_fallback_texts(struct arena *memory, const struct fg_setting *row, struct fg_texts *texts)
{
    *texts = (struct fg_texts){ 0 };
    if (!*row->fallback) {
        return true;
    }
    texts->items = arena_new(memory, sizeof *texts->items);
    char *copy = arena_copy(memory, row->fallback, strlen(row->fallback));
    if (!texts->items || !copy) {
        return false;
    }
    texts->items[0] = copy;
    texts->count = 1;
    return true;
}

bool value_store_fallback(struct arena *memory, const struct fg_setting *row, void *field)
{
    struct literal literal = { .kind = LITERAL_TEXT, .text = row->fallback };
    switch (row->type) {
    case FG_SETTING_TEXTS:
        return store_fallback_texts(memory, row, field);
    case FG_SETTING_BOOLEAN:
        literal = (struct literal){ .kind = LITERAL_BOOLEAN, .boolean = strcmp(row->fallback, "true") == 0 };
        if (!literal.boolean && strcmp(row->fallback, "false") != 0) {
            return false;
        }
        break;
    case FG_SETTING_INTEGER:
    case FG_SETTING_REAL:
        if (!literal_of_number(row->fallback, &literal)) {
            return false;
        }
        break;
    default:
        break;
    }
    char why[WHY_ROOM];
    return store(memory, row, &literal, false, field, why);
}
