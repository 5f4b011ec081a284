/*
 * The forms are flat, so that the structure is read here, token by token: nothing is nested, a transaction
 * can be echoed as it was given, and integers keep their 64 bits. What is inside a token is jansson's matter.
 */
#include "fieldgate/command_payload.h"

#include "fieldgate/text.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* All that a reader works on. */
struct reader {
    const char *at, *stop;
    struct fg_command_payload *payload;
    enum fg_payload_form form;
    char *text; /* where unescaped texts go: never longer than what they are made of */
    const char *why;
    bool named; /* "points" was there, or "value" */
    bool expires_seen;
};

struct token {
    const char *bytes;
    size_t length;
    struct fg_value value;
};

static int refuse(struct reader *reader, const char *why)
{
    reader->why = why;
    return -EINVAL;
}

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->stop && strchr(" \t\r\n", *reader->at) && *reader->at) {
        reader->at++;
    }
}

/* Takes that character, if it is the next. */
static bool take(struct reader *reader, char letter)
{
    skip_space(reader);
    if (reader->at < reader->stop && *reader->at == letter) {
        reader->at++;
        return true;
    }
    return false;
}

static bool at_end(struct reader *reader)
{
    skip_space(reader);
    return reader->at == reader->stop;
}

static const char *token_end(const char *at, const char *stop)
{
    if (*at != '"') {
        while (at < stop && !strchr(" \t\r\n,:{}[]\"", *at)) {
            at++;
        }
        return at;
    }
    for (at++; at < stop && *at != '"'; at++) {
        at += *at == '\\' && at + 1 < stop;
    }
    return at < stop ? at + 1 : stop;
}

/* A JSON scalar: its text is copied to where texts go. */
static int read_token(struct reader *reader, struct token *token)
{
    skip_space(reader);
    const char *end = reader->at < reader->stop ? token_end(reader->at, reader->stop) : reader->at;
    token->bytes = reader->at;
    token->length = (size_t)(end - reader->at);
    /* Integers beyond 64 bits are for the reader below. */
    json_t *json = token->length > 0 ? json_loadb(token->bytes, token->length,
                                                  JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL)
                                     : NULL;
    if (!json) {
        return refuse(reader, "it is no JSON of a form that is known: an object of plain values");
    }
    int error = 0;
    token->value = (struct fg_value){ .kind = FG_VALUE_NULL };
    if (json_is_string(json)) {
        size_t length = json_string_length(json);
        memcpy(reader->text, json_string_value(json), length);
        token->value = fg_value_text(reader->text, length);
        reader->text += length;
    } else if (json_is_boolean(json)) {
        token->value = fg_value_boolean(json_is_true(json));
    } else if (json_is_real(json) && !fg_number_parse(token->bytes, token->length, &token->value)) {
        error = refuse(reader, "a number cannot be read");
    }
    token->value.text.bytes = token->value.kind == FG_VALUE_TEXT ? token->value.text.bytes : NULL;
    token->value.text.length = token->value.kind == FG_VALUE_TEXT ? token->value.text.length : 0;
    json_decref(json);
    reader->at = end;
    return error;
}

static int add_field(struct reader *reader, const char *name, size_t length, struct fg_value value)
{
    struct fg_command_payload *payload = reader->payload;
    if (length == 0 || length > FG_NAME_MAX) {
        return refuse(reader, "a point's name is empty or longer than 255 bytes");
    }
    for (size_t i = 0; i < payload->count; i++) {
        if (payload->fields[i].name_length == length && memcmp(payload->fields[i].name, name, length) == 0) {
            return refuse(reader, "a point stands in it twice");
        }
    }
    if (payload->count == FG_RECORD_MAX_FIELDS) {
        return refuse(reader, "it has more than 256 points");
    }
    payload->fields[payload->count++] = (struct fg_field){ name, length, value };
    return 0;
}

static int read_transaction(struct reader *reader)
{
    struct fg_command_payload *payload = reader->payload;
    struct token token;
    int error = read_token(reader, &token);
    if (error) {
        return error;
    }
    if (payload->transaction) {
        return refuse(reader, "\"transaction\" stands in it twice");
    }
    size_t length = token.value.kind == FG_VALUE_TEXT ? token.value.text.length : token.length;
    if (length > FG_TRANSACTION_MAX || token.length > FG_TRANSACTION_TOKEN_MAX) {
        return refuse(reader, "the transaction is longer than 128 bytes");
    }
    if (token.value.kind == FG_VALUE_NULL && token.bytes[0] == 'n') {
        return 0; /* as if there were none */
    }
    memcpy(reader->text, token.bytes, token.length);
    payload->transaction = reader->text;
    payload->transaction_length = token.length;
    reader->text += token.length;
    return 0;
}

static int read_expiry(struct reader *reader)
{
    struct token token;
    int error = read_token(reader, &token);
    if (error) {
        return error;
    }
    double ms = 0;
    bool whole = token.value.kind == FG_VALUE_INTEGER && token.value.integer >= 0;
    bool real = token.value.kind == FG_VALUE_REAL && fg_value_number(&token.value, &ms) && ms >= 0;
    if (reader->expires_seen || (!whole && !real)) {
        return refuse(reader, "\"expires_ms\" is one number of milliseconds, 0 or more");
    }
    const int64_t longest = INT64_C(1) << 42; /* a hundred years and more */
    reader->expires_seen = reader->payload->expires = true;
    reader->payload->expires_ms = real                            ? (ms < 1e12 ? (int64_t)ms : longest)
                                  : token.value.integer < longest ? token.value.integer
                                                                  : longest;
    return 0;
}

/* The names of points, behind the '['. */
static int read_names(struct reader *reader)
{
    if (take(reader, ']')) {
        return 0;
    }
    do {
        struct token token;
        int error = read_token(reader, &token);
        if (error) {
            return error;
        }
        if (token.value.kind != FG_VALUE_TEXT) {
            return refuse(reader, "the names of points are texts");
        }
        error = add_field(reader, token.value.text.bytes, token.value.text.length,
                          (struct fg_value){ .kind = FG_VALUE_NULL });
        if (error) {
            return error;
        }
    } while (take(reader, ','));
    return take(reader, ']') ? 0 : refuse(reader, "the list of points does not end");
}

static bool is_named(const struct token *token, const char *name)
{
    return token->value.text.length == strlen(name) &&
           memcmp(token->value.text.bytes, name, token->value.text.length) == 0;
}

/* A member that no form has for all devices alike. */
static int read_own(struct reader *reader, const struct token *key, const char *point, size_t point_length)
{
    struct token value;
    bool once = !reader->named;
    switch (reader->form) {
    case FG_PAYLOAD_SET:
        break;
    case FG_PAYLOAD_SET_POINT:
        reader->named = true;
        if (!is_named(key, "value") || !once) {
            return refuse(reader, "it has one \"value\", and may have \"transaction\" and \"expires_ms\"");
        }
        break;
    case FG_PAYLOAD_GET:
        reader->named = true;
        if (!is_named(key, "points") || !once) {
            return refuse(reader, "it has one \"points\", and may have \"transaction\" and \"expires_ms\"");
        }
        return take(reader, '[') ? read_names(reader) : refuse(reader, "\"points\" is a list of names");
    }
    int error = read_token(reader, &value);
    if (error) {
        return error;
    }
    return reader->form == FG_PAYLOAD_SET
               ? add_field(reader, key->value.text.bytes, key->value.text.length, value.value)
               : add_field(reader, point, point_length, value.value);
}

/* Behind the '{'. */
static int read_object(struct reader *reader, const char *point, size_t point_length)
{
    if (take(reader, '}')) {
        return 0;
    }
    do {
        struct token key;
        int error = read_token(reader, &key);
        if (!error && (key.value.kind != FG_VALUE_TEXT || !take(reader, ':'))) {
            error = refuse(reader, "it is no JSON of a form that is known: an object of plain values");
        }
        if (error) {
            return error;
        }
        error = is_named(&key, "transaction")  ? read_transaction(reader)
                : is_named(&key, "expires_ms") ? read_expiry(reader)
                                               : read_own(reader, &key, point, point_length);
        if (error) {
            return error;
        }
    } while (take(reader, ','));
    return take(reader, '}') ? 0 : refuse(reader, "the object does not end");
}

/* The whole payload as one JSON scalar, or as text. */
static int read_plain(struct reader *reader, const char *point, size_t point_length)
{
    const char *bytes = reader->at;
    size_t size = (size_t)(reader->stop - reader->at);
    char *text = reader->text;
    struct token token;
    if (!fg_utf8_valid(bytes, size)) {
        return refuse(reader, "it is not UTF-8");
    }
    if (read_token(reader, &token) || !at_end(reader)) {
        memcpy(text, bytes, size);
        token.value = fg_value_text(text, size);
    }
    return add_field(reader, point, point_length, token.value);
}

static int read_any(struct reader *reader, const char *point, size_t point_length)
{
    int error = 0;
    if (at_end(reader)) {
        return reader->form == FG_PAYLOAD_GET ? 0 : refuse(reader, "it is empty");
    }
    if (take(reader, '{')) {
        error = read_object(reader, point, point_length);
    } else if (reader->form == FG_PAYLOAD_SET) {
        return refuse(reader, "it is no JSON object of points");
    } else if (take(reader, '[')) {
        error = reader->form == FG_PAYLOAD_GET ? read_names(reader)
                                               : refuse(reader, "a list is no value of a point");
    } else if (reader->form == FG_PAYLOAD_SET_POINT) {
        return read_plain(reader, point, point_length);
    } else {
        return refuse(reader, "it is no list of names");
    }
    if (!error && !at_end(reader)) {
        error = refuse(reader, "something stands behind its end");
    }
    if (!error && reader->form != FG_PAYLOAD_GET && reader->payload->count == 0) {
        error = refuse(reader, "it names no value to write");
    }
    return error;
}

int fg_command_payload_read(enum fg_payload_form form, const char *point, size_t point_length,
                            const void *bytes, size_t size, struct fg_command_payload *payload,
                            const char **why)
{
    *payload = (struct fg_command_payload){ 0 };
    /* A point takes three bytes of payload at the least; a text, and a transaction, no more than it had. */
    size_t fields = size / 3 + 1 < FG_RECORD_MAX_FIELDS ? size / 3 + 1 : FG_RECORD_MAX_FIELDS;
    char *memory = malloc(fields * sizeof *payload->fields + 2 * size + 1);
    if (!memory) {
        *why = "no memory";
        return -ENOMEM;
    }
    payload->memory = memory;
    payload->fields = (struct fg_field *)(void *)memory;
    struct reader reader = { .at = bytes,
                             .stop = (const char *)bytes + size,
                             .payload = payload,
                             .form = form,
                             .text = memory + fields * sizeof *payload->fields,
                             .why = "" };
    int error = read_any(&reader, point, point_length);
    if (error) {
        *why = reader.why;
    }
    return error;
}

void fg_command_payload_fini(struct fg_command_payload *payload)
{
    free(payload->memory);
    *payload = (struct fg_command_payload){ 0 };
}
