#include "reader.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static struct source *current(struct scan *scan)
{
    return &scan->files[scan->depth - 1];
}

static struct origin here(struct scan *scan)
{
    const struct source *file = current(scan);
    return (struct origin){ .file = file->name, .line = file->line, .order = scan->tokens };
}

static struct token none(struct scan *scan)
{
    scan->error = scan->error ? scan->error : -EINVAL;
    return (struct token){ .kind = TOKEN_NONE, .text = "", .origin = here(scan) };
}

static int open_file(struct scan *scan, const char *path, char why[WHY_ROOM], int *line)
{
    struct source *file = &scan->files[scan->depth];
    int error = source_read(scan->memory, path, CONFIG_MAX_BYTES - scan->bytes, file, why, line);
    if (error) {
        return error;
    }
    scan->bytes += file->length;
    scan->depth++;
    return 0;
}

int scan_open(struct scan *scan, const char *path)
{
    char why[WHY_ROOM];
    int line;
    int error = open_file(scan, path, why, &line);
    if (error == -EINVAL) {
        struct origin origin = { .file = *path ? path : "(no file)", .line = line };
        problems_tell(scan->problems, &origin, NULL, "%s", why);
    }
    return error;
}

/* ---- @include ---- */

static bool at_line_start(const struct source *file)
{
    for (size_t i = file->at; i > 0 && file->text[i - 1] != '\n'; i--) {
        if (file->text[i - 1] != ' ' && file->text[i - 1] != '\t' && i > 3) { /* 3: a byte order mark */
            return false;
        }
    }
    return true;
}

/* Reads the quoted name. Returns false when there is none, or one that cannot be a name. */
static bool take_name(struct source *file, char name[PATH_MAX])
{
    size_t at = file->at + strlen("@include");
    size_t blanks = at;
    while (at < file->length && (file->text[at] == ' ' || file->text[at] == '\t')) {
        at++;
    }
    if (at == blanks || at >= file->length || file->text[at] != '"') {
        return false;
    }
    size_t length = 0;
    for (at++; at < file->length && file->text[at] != '"' && file->text[at] != '\n'; at++) {
        bool escape = file->text[at] == '\\' && at + 1 < file->length &&
                      (file->text[at + 1] == '"' || file->text[at + 1] == '\\');
        at += escape;
        if (length + 1 >= PATH_MAX) {
            return false;
        }
        name[length++] = file->text[at];
    }
    name[length] = '\0';
    if (length == 0 || at >= file->length || file->text[at] != '"') {
        return false;
    }
    file->at = at + 1;
    return true;
}

/* Relative to the folder of the first file, as libconfig has it. */
static bool resolve(const struct scan *scan, const char *name, char path[PATH_MAX])
{
    const char *first = scan->files[0].name;
    const char *slash = *name == '/' ? NULL : strrchr(first, '/');
    int folder = slash ? (int)(slash - first) + 1 : 0;
    int length = snprintf(path, PATH_MAX, "%.*s%s", folder, first, name);
    return length >= 0 && length < PATH_MAX;
}

static bool is_loop(const struct scan *scan)
{
    const struct source *last = &scan->files[scan->depth - 1];
    for (size_t i = 0; i + 1 < scan->depth; i++) {
        if (scan->files[i].device == last->device && scan->files[i].inode == last->inode) {
            return true;
        }
    }
    return false;
}

static int include(struct scan *scan, const struct place *place)
{
    struct source *file = current(scan);
    struct origin origin = here(scan);
    char name[PATH_MAX];
    char path[PATH_MAX];
    if (!at_line_start(file) || !take_name(file, name) || !resolve(scan, name, path)) {
        problems_tell(scan->problems, &origin, place,
                      "syntax error at \"@\"; a file is included by a line of its own: @include \"FILE\"");
        return -EINVAL;
    }
    if (scan->depth > CONFIG_MAX_FILES || scan->includes++ >= CONFIG_MAX_INCLUDES) {
        problems_tell(scan->problems, &origin, place,
                      "too many files are included; at most %d in one another and %d in all",
                      CONFIG_MAX_FILES, CONFIG_MAX_INCLUDES);
        return -EINVAL;
    }
    char why[WHY_ROOM];
    int line;
    int error = open_file(scan, path, why, &line);
    if (error == -EINVAL) {
        problems_tell(scan->problems, &origin, place, "the included file %s %s", path, why);
    }
    if (!error && is_loop(scan)) {
        problems_tell(
            scan->problems, &origin, place,
            "the included file %s is being read already: it includes itself; take this @include out", path);
        return -EINVAL;
    }
    return error;
}

/* ---- blanks and comments ---- */

static bool starts_with(const struct source *file, const char *text)
{
    size_t length = strlen(text);
    return file->length - file->at >= length && memcmp(file->text + file->at, text, length) == 0;
}

static void skip_line(struct source *file)
{
    const char *end = memchr(file->text + file->at, '\n', file->length - file->at);
    file->at = end ? (size_t)(end - file->text) : file->length;
}

static bool skip_comment(struct scan *scan, const struct place *place)
{
    struct source *file = current(scan);
    struct origin origin = here(scan);
    for (file->at += 2; file->at < file->length; file->at++) {
        if (starts_with(file, "*/")) {
            file->at += 2;
            return true;
        }
        file->line += file->text[file->at] == '\n';
    }
    problems_tell(scan->problems, &origin, place,
                  "the comment that begins here never ends; close it with */");
    return false;
}

/* Stands before the next token, or at the end of the last file. False when a problem was told. */
static bool skip_blanks(struct scan *scan, const struct place *place)
{
    for (;;) {
        struct source *file = current(scan);
        char c = file->at < file->length ? file->text[file->at] : '\0';
        if (file->at >= file->length) {
            if (scan->depth == 1) {
                return true;
            }
            scan->depth--;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\n') {
            file->line += c == '\n';
            file->at++;
        } else if (c == '#' || starts_with(file, "//")) {
            skip_line(file);
        } else if (starts_with(file, "/*")) {
            if (!skip_comment(scan, place)) {
                return false;
            }
        } else if (starts_with(file, "@include")) {
            int error = include(scan, place);
            if (error) {
                scan->error = error;
                return false;
            }
        } else {
            return true;
        }
    }
}

/* ---- tokens ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool in_word(char c)
{
    return is_letter(c) || is_digit(c) || (c && strchr("_.+-*%", c)) || (unsigned char)c >= 0x80;
}

static enum token_kind word_kind(const char *text, size_t length)
{
    if ((length == 4 && strncasecmp(text, "true", 4) == 0) ||
        (length == 5 && strncasecmp(text, "false", 5) == 0)) {
        return TOKEN_BOOLEAN;
    }
    if (is_digit(*text) || *text == '+' || *text == '-' || *text == '.') {
        return TOKEN_NUMBER;
    }
    bool name = is_letter(*text) || *text == '*';
    for (size_t i = 1; i < length && name; i++) {
        name = is_letter(text[i]) || is_digit(text[i]) || strchr("_*-", text[i]);
    }
    return name ? TOKEN_NAME : TOKEN_WORD;
}

static struct token take_word(struct scan *scan)
{
    struct source *file = current(scan);
    struct token token = { .text = file->text + file->at, .origin = here(scan) };
    while (file->at < file->length && in_word(file->text[file->at])) {
        file->at++;
        token.length++;
    }
    token.kind = word_kind(token.text, token.length);
    return token;
}

static bool is_nul_escape(const struct source *file)
{
    return file->length - file->at >= 4 && strncasecmp(file->text + file->at, "\\x00", 4) == 0;
}

static struct token take_text(struct scan *scan, const struct place *place)
{
    struct source *file = current(scan);
    struct token token = { .kind = TOKEN_TEXT, .text = file->text + file->at, .origin = here(scan) };
    for (file->at++; file->at < file->length; file->at++) {
        char c = file->text[file->at];
        if (c == '"') {
            file->at++;
            token.length = (size_t)(file->text + file->at - token.text);
            return token;
        }
        if (is_nul_escape(file)) {
            struct origin origin = here(scan);
            problems_tell(scan->problems, &origin, place, "a text cannot hold \\x00; take it out");
            return none(scan);
        }
        file->line += c == '\n';
        if (c == '\\' && file->at + 1 < file->length) {
            file->at++; /* a quote or backslash after it is no end */
            file->line += file->text[file->at] == '\n';
        }
    }
    problems_tell(scan->problems, &token.origin, place,
                  "the text that begins here never ends; close it with \"");
    return none(scan);
}

struct token scan_next(struct scan *scan, const struct place *place)
{
    scan->tokens++;
    if (!skip_blanks(scan, place)) {
        return none(scan);
    }
    struct source *file = current(scan);
    struct token token = { .kind = TOKEN_END, .text = file->text + file->at, .origin = here(scan) };
    if (file->at >= file->length) {
        return token;
    }
    static const struct {
        char sign;
        enum token_kind kind;
    } signs[] = { { '=', TOKEN_EQUALS },     { ':', TOKEN_EQUALS },     { ',', TOKEN_COMMA },
                  { ';', TOKEN_SEMICOLON },  { '{', TOKEN_GROUP_OPEN }, { '}', TOKEN_GROUP_CLOSE },
                  { '(', TOKEN_LIST_OPEN },  { ')', TOKEN_LIST_CLOSE }, { '[', TOKEN_ARRAY_OPEN },
                  { ']', TOKEN_ARRAY_CLOSE } };
    token.length = 1;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (*token.text == signs[i].sign) {
            token.kind = signs[i].kind;
            file->at++;
            return token;
        }
    }
    if (*token.text == '"') {
        return take_text(scan, place);
    }
    if (in_word(*token.text)) {
        return take_word(scan);
    }
    char quoted[QUOTED_ROOM];
    problems_tell(scan->problems, &token.origin, place,
                  "syntax error at %s; outside of quotes stand NAME = VALUE; and comments after #",
                  text_quoted(token.text, 1, quoted));
    return none(scan);
}
