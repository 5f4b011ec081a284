/*
 * "json": one object, RFC 8259. Nested keys become a.b, items of arrays a.0, a.1.
 *
 * What jansson cannot do is done by a scan of the tokens before it: the bound on the depth, and numbers that
 * it refuses (integers past 64 bits, exponents past the range of doubles). Such a number is parsed as a
 * string that begins with NUL, in a copy of the frame; no string of the frame itself can, as the scan rejects
 * "\u0000".
 */
#include "decoders.h"

#include "fieldgate/buffer.h"
#include "fieldgate/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct json_settings {
    int64_t max_depth;
};

static const struct fg_setting table[] = {
    { .key = "max_depth",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct json_settings, max_depth),
      .fallback = "16",
      .minimum = 1,
      .maximum = 64,
      .help = "Deepest nesting of objects and arrays; 1 is a flat object. A deeper frame is counted as "
              "`too-deep`." },
    { 0 },
};

static const struct fg_schema schema = {
    .name = "decoder json",
    .help =
        "One JSON object. Nested keys become `a.b`, items of arrays `a.0`, `a.1`; two keys of one name are "
        "malformed. Numbers beyond the range of doubles are null.",
    .size = sizeof(struct json_settings),
    .settings = table,
};

enum token_kind { TOKEN_STRING, TOKEN_NUMBER, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_OTHER };

struct token {
    enum token_kind kind;
    const char *bytes;
    size_t length;
};

static bool is_digit(char letter)
{
    return letter >= '0' && letter <= '9';
}

static const char *string_end(const char *at, const char *stop)
{
    for (at++; at < stop && *at != '"'; at++) {
        if (*at == '\\' && at + 1 < stop) {
            at++;
        }
    }
    return at < stop ? at + 1 : stop;
}

static const char *number_end(const char *at, const char *stop)
{
    while (at < stop &&
           (is_digit(*at) || *at == '+' || *at == '-' || *at == '.' || *at == 'e' || *at == 'E')) {
        at++;
    }
    return at;
}

/* The token at *at, which is before stop; moves *at behind it. It need not be well-formed. */
static struct token token_next(const char **at, const char *stop)
{
    struct token token = { .kind = TOKEN_OTHER, .bytes = *at };
    const char *end = *at + 1;
    if (**at == '"') {
        token.kind = TOKEN_STRING;
        end = string_end(*at, stop);
    } else if (**at == '-' || is_digit(**at)) {
        token.kind = TOKEN_NUMBER;
        end = number_end(*at, stop);
    } else if (**at == '{' || **at == '[') {
        token.kind = TOKEN_OPEN;
    } else if (**at == '}' || **at == ']') {
        token.kind = TOKEN_CLOSE;
    }
    token.length = (size_t)(end - token.bytes);
    *at = end;
    return token;
}

static size_t digits_at(const struct token *token, size_t at)
{
    size_t count = 0;
    while (at + count < token->length && is_digit(token->bytes[at + count])) {
        count++;
    }
    return count;
}

/* Whether the token is a number of RFC 8259 section 6. */
static bool number_valid(const struct token *token)
{
    const char *bytes = token->bytes;
    size_t at = bytes[0] == '-';
    size_t whole = digits_at(token, at);
    if (whole == 0 || (whole > 1 && bytes[at] == '0')) {
        return false;
    }
    at += whole;
    if (at < token->length && bytes[at] == '.') {
        size_t fraction = digits_at(token, at + 1);
        if (fraction == 0) {
            return false;
        }
        at += 1 + fraction;
    }
    if (at < token->length && (bytes[at] == 'e' || bytes[at] == 'E')) {
        at++;
        if (at < token->length && (bytes[at] == '+' || bytes[at] == '-')) {
            at++;
        }
        size_t exponent = digits_at(token, at);
        if (exponent == 0) {
            return false;
        }
        at += exponent;
    }
    return at == token->length;
}

/* Whether jansson might refuse the number for its size. */
static bool is_wide(const struct token *token)
{
    return token->kind == TOKEN_NUMBER &&
           (token->length >= 19 || memchr(token->bytes, 'e', token->length) ||
            memchr(token->bytes, 'E', token->length)) &&
           number_valid(token);
}

/* Reads the four digits of a \u escape; -1 when they are none. */
static int escape_read(const char *at, const char *stop)
{
    if (stop - at < 6 || at[0] != '\\' || at[1] != 'u') {
        return -1;
    }
    int unit = 0;
    for (int i = 2; i < 6; i++) {
        char letter = at[i];
        int digit = is_digit(letter)                 ? letter - '0'
                    : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
                    : letter >= 'A' && letter <= 'F' ? letter - 'A' + 10
                                                     : -1;
        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Whether no escape in the string stands for NUL or half of a pair of surrogates. */
static bool escapes_valid(const struct token *token)
{
    const char *stop = token->bytes + token->length;
    const char *at = token->bytes;
    while ((at = memchr(at, '\\', (size_t)(stop - at)))) {
        int unit = escape_read(at, stop);
        if (unit == 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) {
            return false;
        }
        if (unit >= 0xD800 && unit <= 0xDBFF) {
            int low = escape_read(at + 6, stop);
            if (low < 0xDC00 || low > 0xDFFF) {
                return false;
            }
            at += 6;
        }
        size_t step = unit < 0 ? 2 : 6;
        if ((size_t)(stop - at) <= step) {
            break;
        }
        at += step;
    }
    return true;
}

static enum fg_reason scan(const char *frame, size_t size, int64_t max_depth, bool *wide)
{
    const char *at = frame;
    const char *stop = frame + size;
    int64_t depth = 0;
    while (at < stop) {
        struct token token = token_next(&at, stop);
        if (token.kind == TOKEN_OPEN && ++depth > max_depth) {
            return FG_REASON_TOO_DEEP;
        }
        depth -= token.kind == TOKEN_CLOSE ? 1 : 0;
        if (token.kind == TOKEN_STRING && !escapes_valid(&token)) {
            return FG_REASON_ENCODING;
        }
        *wide = *wide || is_wide(&token);
    }
    return FG_REASON_NONE;
}

/* Copies the frame with its wide numbers as marked strings. */
static int mark(const char *frame, size_t size, struct fg_buffer *copy)
{
    static const char before[] = "\"\\u0000";
    const char *at = frame;
    const char *stop = frame + size;
    int error = 0;
    while (!error && at < stop) {
        struct token token = token_next(&at, stop);
        bool wide = is_wide(&token);
        if (wide) {
            error = fg_buffer_append(copy, before, sizeof before - 1);
        }
        if (!error) {
            error = fg_buffer_append(copy, token.bytes, token.length);
        }
        if (!error && wide) {
            error = fg_buffer_append(copy, "\"", 1);
        }
    }
    return error;
}

/* Where in the object the walk stands: the name of the field there. */
struct path {
    struct fg_record *record;
    char name[FG_NAME_MAX];
    size_t length;
};

static enum fg_reason text_value(const struct path *path, const json_t *node, struct fg_value *value)
{
    const char *text = json_string_value(node);
    size_t length = json_string_length(node);
    if (length > 0 && text[0] == '\0') {
        return fg_number_parse(text + 1, length - 1, value) ? FG_REASON_NONE : FG_REASON_MALFORMED;
    }
    const char *kept = fg_record_keep(path->record, text, length);
    if (!kept) {
        return FG_REASON_OVERSIZED;
    }
    *value = fg_value_text(kept, length);
    return FG_REASON_NONE;
}

static enum fg_reason add(const struct path *path, const json_t *node)
{
    struct fg_value value = { .kind = FG_VALUE_NULL };
    enum fg_reason reason = FG_REASON_NONE;
    switch (json_typeof(node)) {
    case JSON_STRING:
        reason = text_value(path, node, &value);
        break;
    case JSON_INTEGER:
        value = fg_value_integer(json_integer_value(node));
        break;
    case JSON_REAL:
        value = fg_value_real(json_real_value(node));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        value = fg_value_boolean(json_is_true(node));
        break;
    default:
        break;
    }
    if (reason) {
        return reason;
    }
    const char *name = fg_record_keep(path->record, path->name, path->length);
    if (!name) {
        return FG_REASON_OVERSIZED;
    }
    size_t before = path->record->count;
    reason = fg_decoder_add(path->record, name, path->length, value);
    /* {"a.b":1,"a":{"b":2}} names one field twice. */
    return !reason && path->record->count == before ? FG_REASON_MALFORMED : reason;
}

static enum fg_reason walk(struct path *path, json_t *node);

static enum fg_reason walk_into(struct path *path, const char *key, json_t *node)
{
    size_t before = path->length;
    size_t length = strlen(key); /* keys have no NUL: jansson refuses it */
    size_t dot = before > 0 ? 1 : 0;
    if (length + dot > sizeof path->name - before) {
        return FG_REASON_MALFORMED;
    }
    if (dot) {
        path->name[before] = '.';
    }
    memcpy(path->name + before + dot, key, length);
    path->length += dot + length;
    enum fg_reason reason = walk(path, node);
    path->length = before;
    return reason;
}

/* Recursion is bounded by max_depth, which the scan has checked. */
static enum fg_reason walk(struct path *path, json_t *node)
{
    enum fg_reason reason = FG_REASON_NONE;
    if (json_is_object(node)) {
        for (void *at = json_object_iter(node); at && !reason; at = json_object_iter_next(node, at)) {
            const char *key = json_object_iter_key(at);
            reason = key[0] || path->length > 0 ? walk_into(path, key, json_object_iter_value(at))
                                                : FG_REASON_MALFORMED;
        }
        return reason;
    }
    if (json_is_array(node)) {
        for (size_t i = 0; i < json_array_size(node) && !reason; i++) {
            char index[24];
            snprintf(index, sizeof index, "%zu", i);
            reason = walk_into(path, index, json_array_get(node, i));
        }
        return reason;
    }
    return add(path, node);
}

static enum fg_reason reason_of(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_out_of_memory:
        return FG_REASON_OVERSIZED;
    case json_error_stack_overflow:
        return FG_REASON_TOO_DEEP;
    case json_error_invalid_utf8:
        return FG_REASON_ENCODING;
    default:
        return FG_REASON_MALFORMED;
    }
}

static enum fg_reason parse(const char *text, size_t size, struct fg_record *record)
{
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root) {
        return reason_of(&error);
    }
    enum fg_reason reason = FG_REASON_MALFORMED;
    if (json_is_object(root)) {
        struct path path = { .record = record };
        reason = walk(&path, root);
        if (!reason && record->count == 0) {
            reason = FG_REASON_EMPTY;
        }
    }
    json_decref(root);
    return reason;
}

static enum fg_reason decode(const void *settings, const uint8_t *frame, size_t size,
                             struct fg_record *record)
{
    const struct json_settings *own = settings;
    const char *text = (const char *)frame;
    if (!fg_utf8_valid(frame, size)) {
        return FG_REASON_ENCODING;
    }
    bool wide = false;
    enum fg_reason reason = scan(text, size, own->max_depth, &wide);
    if (reason || !wide) {
        return reason ? reason : parse(text, size, record);
    }
    /* The shortest wide number is "1e1", and marking it adds eight bytes. */
    struct fg_buffer copy;
    fg_buffer_init(&copy, 4 * size);
    reason =
        mark(text, size, &copy) ? FG_REASON_OVERSIZED : parse((const char *)copy.bytes, copy.size, record);
    fg_buffer_fini(&copy);
    return reason;
}

const struct fg_decoder fg_decoder_json = {
    .variant = { .name = "json", .help = "One JSON object; nested keys become `a.b`.", .schema = &schema },
    .decode = decode,
};
