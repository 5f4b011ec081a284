#include "reader.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Each byte read becomes at most four: a blank and a line end beside it, "L" after a long number. */
#define PLAIN_MAX_BYTES   (4 * (size_t)CONFIG_MAX_BYTES + 4096)
#define ORIGINS_MAX_BYTES (2 * (size_t)CONFIG_MAX_VALUES * sizeof(struct origin))

struct name {
    const char *text;
    size_t length;
    struct origin origin;
};

struct prescan {
    struct problems *problems;
    struct plain *plain;
    struct scan scan;
    struct token token; /* the next one */
    struct name *names; /* of the groups that are open, the innermost last */
    size_t names_count;
    size_t values;
    int error;
};

static bool settings(struct prescan *p, const struct place *place, int depth, const struct token *opening);
static bool value(struct prescan *p, const struct place *place, int depth);

/* ---- what libconfig gets ---- */

static void emit(struct prescan *p, const char *text, size_t length)
{
    int error = fg_buffer_append(&p->plain->text, text, length);
    error = error ? error : fg_buffer_append(&p->plain->text, " ", 1);
    p->error = p->error ? p->error : error;
}

/* Whatever gets a line number from libconfig begins a line of its own. What ends it does not: for a text in a
 * list libconfig takes the line of the token that follows. */
static void emit_line(struct prescan *p, const struct origin *origin)
{
    int error = fg_buffer_append(&p->plain->text, "\n", 1);
    error = error ? error : fg_buffer_append(&p->plain->origins, origin, sizeof *origin);
    p->error = p->error ? p->error : error;
}

/* Something in place of a value whose problem is told, so that the rest can be checked. */
static void emit_instead(struct prescan *p, const char *text)
{
    size_t count = p->plain->origins.size / sizeof(struct origin);
    ((struct origin *)(void *)p->plain->origins.bytes)[count - 1].told = true;
    emit(p, text, strlen(text));
}

/* A line end inside of a text becomes its escape. Where a lone backslash stands before it, that is doubled.
 */
static void emit_text(struct prescan *p, const struct token *token)
{
    size_t start = 0;
    bool escape = false;
    for (size_t i = 0; i < token->length && !p->error; i++) {
        char c = token->text[i];
        if (c == '\n') {
            const char *plain = escape ? "\\\\n" : "\\n";
            p->error = fg_buffer_append(&p->plain->text, token->text + start, i - start);
            p->error = p->error ? p->error : fg_buffer_append(&p->plain->text, plain, strlen(plain));
            start = i + 1;
        }
        escape = c == '\\' && !escape;
    }
    emit(p, token->text + start, token->length - start);
}

/* ---- problems ---- */

static void advance(struct prescan *p, const struct place *place)
{
    p->token = scan_next(&p->scan, place);
    if (p->token.kind == TOKEN_NONE) {
        p->error = p->error ? p->error : p->scan.error;
    }
}

static const char *token_words(const struct token *token, char room[QUOTED_ROOM])
{
    if (token->kind == TOKEN_END) {
        return "the end of the file";
    }
    if (token->kind == TOKEN_TEXT && token->length > 2) {
        return text_quoted(token->text + 1, token->length - 2, room);
    }
    return token->kind == TOKEN_TEXT ? "an empty text" : text_quoted(token->text, token->length, room);
}

/* Tells of a token that cannot stand where it does, unless the scanner has told already why there is none. */
static bool stop(struct prescan *p, const struct place *place, const char *right)
{
    if (p->token.kind != TOKEN_NONE) {
        char words[QUOTED_ROOM];
        problems_tell(p->problems, &p->token.origin, place, "syntax error at %s; %s",
                      token_words(&p->token, words), right);
        p->error = p->error ? p->error : -EINVAL;
    }
    return false;
}

static bool limit(struct prescan *p, const struct place *place, const struct origin *origin, const char *what,
                  int most)
{
    problems_tell(p->problems, origin, place, "too many %s; at most %d", what, most);
    p->error = p->error ? p->error : -EINVAL;
    return false;
}

/* ---- values ---- */

static size_t digits_of(const char *text, const char *set)
{
    return strspn(text, set);
}

/* Decimals: [+-] digits [.digits] [e[+-]digits]. Returns whether the whole text is one, and whether it is a
 * real. */
static bool is_decimal(const char *text, bool *real)
{
    static const char set[] = "0123456789";
    text += *text == '+' || *text == '-';
    size_t digits = digits_of(text, set);
    text += digits;
    *real = false;
    if (*text == '.') {
        *real = true;
        size_t fraction = digits_of(++text, set);
        digits += fraction;
        text += fraction;
    }
    if (digits > 0 && (*text == 'e' || *text == 'E')) {
        *real = true;
        text++;
        text += *text == '+' || *text == '-';
        size_t exponent = digits_of(text, set);
        if (exponent == 0) {
            return false;
        }
        text += exponent;
    }
    if (digits > 0 && !*real && *text == 'L') {
        text += text[1] == 'L' ? 2 : 1;
    }
    return digits > 0 && *text == '\0';
}

static bool is_hex(const char *text)
{
    if (text[0] != '0' || (text[1] != 'x' && text[1] != 'X')) {
        return false;
    }
    size_t digits = digits_of(text + 2, "0123456789abcdefABCDEF");
    const char *end = text + 2 + digits;
    end += *end == 'L';
    end += *end == 'L';
    return digits > 0 && *end == '\0';
}

static bool number(struct prescan *p, const struct place *place)
{
    char text[128];
    bool real = false;
    bool hex = false;
    bool good = p->token.length < sizeof text;
    if (good) {
        memcpy(text, p->token.text, p->token.length);
        text[p->token.length] = '\0';
        hex = is_hex(text);
        good = hex || is_decimal(text, &real);
    }
    if (!good) {
        char words[QUOTED_ROOM];
        token_words(&p->token, words);
        problems_tell(p->problems, &p->token.origin, place, "%.*s is no number; a text stands in quotes: %s",
                      (int)strlen(words) - 2, words + 1, words);
        emit_instead(p, "0");
        return true;
    }
    errno = 0;
    unsigned long long natural = hex ? strtoull(text, NULL, 16) : 0;
    if (!hex && !real) {
        strtoll(text, NULL, 10);
    }
    if (errno == ERANGE || natural > LLONG_MAX) {
        problems_tell(p->problems, &p->token.origin, place, "%s does not fit 64 bits; write a smaller number",
                      text);
        emit_instead(p, "0");
        return true;
    }
    if (hex) {
        /* Without its L libconfig cuts a long one off. */
        int length = snprintf(text, sizeof text, "0x%llX%s", natural, natural > INT_MAX ? "L" : "");
        emit(p, text, (size_t)length);
    } else {
        emit(p, text, p->token.length);
    }
    return true;
}

static void word(struct prescan *p, const struct place *place)
{
    static const char *const truths[] = { "yes", "on", "no", "off" };
    const char *remedy = NULL;
    for (size_t i = 0; i < sizeof truths / sizeof *truths; i++) {
        if (p->token.length == strlen(truths[i]) &&
            strncasecmp(p->token.text, truths[i], p->token.length) == 0) {
            remedy = i < 2 ? "true" : "false";
        }
    }
    char words[QUOTED_ROOM];
    token_words(&p->token, words);
    int inner = (int)strlen(words) - 2;
    if (remedy) {
        problems_tell(p->problems, &p->token.origin, place, "%.*s is no value; write %s", inner, words + 1,
                      remedy);
        emit_instead(p, remedy);
    } else {
        problems_tell(p->problems, &p->token.origin, place, "%.*s is no value; a text stands in quotes: %s",
                      inner, words + 1, words);
        emit_instead(p, "\"\"");
    }
}

/* Without its brackets. A comma too many is told and left out. */
static bool items(struct prescan *p, const struct place *place, int depth, const struct token *opening,
                  enum token_kind closing, bool *texts_only)
{
    struct place item = { .above = place };
    while (p->token.kind != closing) {
        if (p->token.kind == TOKEN_END) {
            p->token.origin = opening->origin;
            return stop(p, place, "the bracket that opens here is never closed");
        }
        *texts_only = *texts_only && p->token.kind == TOKEN_TEXT;
        if (item.index > 0) {
            emit(p, ",", 1);
        }
        emit_line(p, &p->token.origin);
        if (!value(p, &item, depth)) {
            return false;
        }
        item.index++;
        if (p->token.kind == TOKEN_COMMA) {
            struct origin comma = p->token.origin;
            advance(p, place);
            if (p->token.kind == closing) {
                problems_tell(p->problems, &comma, place, "a comma stands after the last item; take it out");
            }
        } else if (p->token.kind != closing && p->token.kind != TOKEN_END) {
            return stop(p, place, "items are separated by commas");
        }
    }
    return true;
}

static bool list(struct prescan *p, const struct place *place, int depth)
{
    struct token opening = p->token;
    bool array = opening.kind == TOKEN_ARRAY_OPEN;
    size_t bracket = p->plain->text.size;
    emit(p, array ? "[" : "(", 1);
    advance(p, place);
    if (array && (p->token.kind == TOKEN_GROUP_OPEN || p->token.kind == TOKEN_LIST_OPEN ||
                  p->token.kind == TOKEN_ARRAY_OPEN)) {
        problems_tell(p->problems, &opening.origin, place,
                      "[ ] holds plain values only; a list of groups is written ( { ... }, { ... } )");
    }
    bool texts_only = true;
    if (!items(p, place, depth, &opening, array ? TOKEN_ARRAY_CLOSE : TOKEN_LIST_CLOSE, &texts_only)) {
        return false;
    }
    if (array && !texts_only && !p->error) {
        /* libconfig gives up on an array of mixed values. As a list it reads on, and the items are judged
         * singly. */
        p->plain->text.bytes[bracket] = '(';
        array = false;
    }
    emit(p, array ? "]" : ")", 1);
    advance(p, place);
    return true;
}

static bool value(struct prescan *p, const struct place *place, int depth)
{
    enum token_kind kind = p->token.kind;
    bool nests = kind == TOKEN_GROUP_OPEN || kind == TOKEN_LIST_OPEN || kind == TOKEN_ARRAY_OPEN;
    if (++p->values > CONFIG_MAX_VALUES) {
        return limit(p, place, &p->token.origin, "values in all", CONFIG_MAX_VALUES);
    }
    if (nests && depth >= CONFIG_MAX_DEPTH) {
        return limit(p, place, &p->token.origin, "groups and lists in one another", CONFIG_MAX_DEPTH);
    }
    if (kind == TOKEN_GROUP_OPEN) {
        struct token opening = p->token;
        emit(p, "{", 1);
        advance(p, place);
        if (!settings(p, place, depth + 1, &opening)) {
            return false;
        }
        emit(p, "}", 1);
        advance(p, place);
        return true;
    }
    if (nests) {
        return list(p, place, depth + 1);
    }
    if (kind == TOKEN_TEXT) {
        for (; p->token.kind == TOKEN_TEXT; advance(p, place)) { /* texts beside one another are one */
            emit_text(p, &p->token);
        }
        return p->token.kind != TOKEN_NONE;
    }
    if (kind == TOKEN_NUMBER) {
        number(p, place);
    } else if (kind == TOKEN_BOOLEAN) {
        emit(p, p->token.text, p->token.length);
    } else if (kind == TOKEN_NAME || kind == TOKEN_WORD) {
        word(p, place);
    } else {
        return stop(p, place, "a value is missing: true, a number, \"a text\", { ... }, ( ... ) or [ ... ]");
    }
    advance(p, place);
    return p->token.kind != TOKEN_NONE;
}

/* ---- settings ---- */

/* Enters the name into its group's. False when it stands there already. */
static bool is_new(struct prescan *p, const struct token *token, const struct place *place, size_t first)
{
    for (size_t i = first; i < p->names_count; i++) {
        const struct name *name = &p->names[i];
        if (name->length == token->length && memcmp(name->text, token->text, token->length) == 0) {
            bool here = strcmp(name->origin.file, token->origin.file) == 0;
            problems_tell(p->problems, &token->origin, place, "is set twice; the first stands in %s%sline %d",
                          here ? "" : name->origin.file, here ? "" : " ", name->origin.line);
            return false;
        }
    }
    p->names[p->names_count++] =
        (struct name){ .text = token->text, .length = token->length, .origin = token->origin };
    return true;
}

static bool setting(struct prescan *p, const struct place *above, int depth, size_t first)
{
    struct token name = p->token;
    if (name.kind != TOKEN_NAME) {
        return stop(p, above,
                    "a setting is written NAME = VALUE; its name begins with a letter and has no quotes");
    }
    if (name.length > CONFIG_MAX_NAME) {
        return stop(p, above, "the name is too long");
    }
    struct place place = { .above = above, .name = name.text, .length = name.length };
    if (p->names_count - first >= CONFIG_MAX_KEYS) {
        return limit(p, above, &name.origin, "settings in one group", CONFIG_MAX_KEYS);
    }
    size_t text_size = p->plain->text.size;
    size_t origins_size = p->plain->origins.size;
    bool fresh = is_new(p, &name, &place, first);
    emit_line(p, &name.origin);
    emit(p, name.text, name.length);
    advance(p, &place);
    if (p->token.kind != TOKEN_EQUALS) {
        return stop(p, &place, "= or : must follow a name; a text stands in quotes");
    }
    emit(p, "=", 1);
    advance(p, &place);
    if (!value(p, &place, depth)) {
        return false;
    }
    if (p->token.kind == TOKEN_SEMICOLON || p->token.kind == TOKEN_COMMA) {
        emit(p, ";", 1);
        advance(p, above);
        for (; p->token.kind == TOKEN_SEMICOLON; advance(p, above)) {
            problems_tell(p->problems, &p->token.origin, &place, "two ; end this setting; one is enough");
        }
    }
    if (!fresh && !p->error) { /* the first one stays, so that the rest can be checked */
        p->plain->text.size = text_size;
        p->plain->origins.size = origins_size;
    }
    return true;
}

/* Up to the brace that closes opening, or to the end of the file when there is none. */
static bool settings(struct prescan *p, const struct place *place, int depth, const struct token *opening)
{
    enum token_kind closing = opening ? TOKEN_GROUP_CLOSE : TOKEN_END;
    size_t first = p->names_count;
    while (p->token.kind != closing) {
        if (p->error) {
            return false;
        }
        if (p->token.kind == TOKEN_END) {
            p->token.origin = opening->origin;
            return stop(p, place, "the { that opens here is never closed");
        }
        if (p->token.kind == TOKEN_GROUP_CLOSE) {
            return stop(p, place, "no { is open here");
        }
        if (!setting(p, place, depth, first)) {
            return false;
        }
    }
    p->names_count = first;
    return true;
}

int prescan(struct arena *memory, struct problems *problems, const char *path, struct plain *plain)
{
    struct prescan p = { .problems = problems,
                         .plain = plain,
                         .scan = { .memory = memory, .problems = problems } };
    fg_buffer_init(&plain->text, PLAIN_MAX_BYTES);
    fg_buffer_init(&plain->origins, ORIGINS_MAX_BYTES);
    int error = scan_open(&p.scan, path);
    if (error) {
        return error;
    }
    p.names = arena_new(memory, sizeof *p.names * CONFIG_MAX_KEYS * (CONFIG_MAX_DEPTH + 1));
    struct origin top = { .file = p.scan.files[0].name, .line = 1 };
    error = p.names ? fg_buffer_append(&plain->origins, &top, sizeof top) : -ENOMEM;
    if (error) {
        return error;
    }
    advance(&p, NULL);
    bool whole = settings(&p, NULL, 0, NULL);
    error = p.error ? p.error : fg_buffer_append(&plain->text, "\n", 2);
    return error ? error : whole ? 0 : -EINVAL;
}

void plain_fini(struct plain *plain)
{
    fg_buffer_fini(&plain->text);
    fg_buffer_fini(&plain->origins);
}

const struct origin *plain_origin(const struct plain *plain, unsigned line)
{
    const struct origin *origins = (const struct origin *)(const void *)plain->origins.bytes;
    size_t count = plain->origins.size / sizeof *origins;
    return &origins[line > 0 && line <= count ? line - 1 : 0];
}
