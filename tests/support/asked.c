#include "support/asked.h"

#include "fieldgate/clock.h"
#include "fieldgate/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void print_result(const struct fg_command_result *result, struct asked *asked)
{
    struct fg_buffer text;
    fg_buffer_init(&text, sizeof asked->text - 1);
    fg_buffer_printf(&text, "%s", fg_outcome_name(result->outcome));
    if (result->exception) {
        fg_buffer_printf(&text, " %u", result->exception);
    }
    if (result->point) {
        fg_buffer_printf(&text, " at %s", result->point);
    }
    for (size_t i = 0; i < result->count; i++) {
        fg_buffer_printf(&text, " %.*s=", (int)result->fields[i].name_length, result->fields[i].name);
        fg_json_put_value(&text, &result->fields[i].value);
    }
    if (result->reply) {
        fg_buffer_printf(&text, " >%.*s", (int)result->reply_size, (const char *)result->reply);
    }
    memcpy(asked->text, text.bytes, text.size);
    fg_buffer_fini(&text);
    snprintf(asked->why, sizeof asked->why, "%s", result->why ? result->why : "");
}

static void done(struct fg_command *command, const struct fg_command_result *result)
{
    struct asked *asked = (struct asked *)((char *)command - offsetof(struct asked, command));
    struct bench *bench = asked->bench;
    pthread_mutex_lock(&bench->mutex);
    print_result(result, asked);
    asked->answered_ns = fg_clock_now_ns();
    asked->answers++;
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->mutex);
}

static struct fg_value value_of(char *text)
{
    struct fg_value value = { .kind = FG_VALUE_NULL };
    size_t length = strlen(text);
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        return fg_value_boolean(text[0] == 't');
    }
    if (text[0] == '"') {
        return fg_value_text(text + 1, length - 2);
    }
    assert_true(fg_number_parse(text, length, &value) || strcmp(text, "null") == 0);
    return value;
}

static void parse(struct asked *asked, const char *text)
{
    char *rest = NULL;
    asked->words = strdup(text);
    for (char *word = strtok_r(asked->words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        assert_true(asked->command.count < ASKED_FIELDS);
        struct fg_field *field = &asked->fields[asked->command.count++];
        char *equals = strchr(word, '=');
        field->name = word;
        field->name_length = equals ? (size_t)(equals - word) : strlen(word);
        if (equals) {
            field->value = value_of(equals + 1);
        }
    }
}

static struct asked *make(struct bench *bench, enum fg_command_kind kind)
{
    struct asked *asked = calloc(1, sizeof *asked);
    asked->bench = bench;
    asked->command = (struct fg_command){ .kind = kind, .fields = asked->fields, .done = done };
    return asked;
}

static struct asked *give(struct asked *asked, const char *device)
{
    fg_port_command(asked->bench->port, device, strlen(device), &asked->command);
    return asked;
}

struct asked *asked_until(struct bench *bench, const char *device, enum fg_command_kind kind,
                          const char *text, unsigned expires_ms)
{
    struct asked *asked = make(bench, kind);
    if (kind == FG_COMMAND_SEND) {
        asked->words = strdup(text);
        asked->command.bytes = (const uint8_t *)asked->words;
        asked->command.size = strlen(text);
    } else {
        parse(asked, text);
    }
    asked->command.expires_ns = fg_clock_now_ns() + expires_ms * FG_NS_PER_MS;
    return give(asked, device);
}

struct asked *asked_set(struct bench *bench, const char *device, const char *fields)
{
    struct asked *asked = make(bench, FG_COMMAND_SET);
    parse(asked, fields);
    return give(asked, device);
}

struct asked *asked_get(struct bench *bench, const char *device, const char *points)
{
    struct asked *asked = make(bench, FG_COMMAND_GET);
    parse(asked, points);
    return give(asked, device);
}

struct asked *asked_send(struct bench *bench, const char *device, const void *bytes, size_t size)
{
    struct asked *asked = make(bench, FG_COMMAND_SEND);
    asked->words = malloc(size + 1);
    memcpy(asked->words, bytes, size);
    asked->command.bytes = (const uint8_t *)asked->words;
    asked->command.size = size;
    return give(asked, device);
}

const char *asked_answer(struct asked *asked)
{
    RIG_WAIT(asked->bench, asked->answers > 0);
    return asked->text;
}

void asked_free(struct asked *asked)
{
    assert_int_equal(asked->answers, 1);
    free(asked->words);
    free(asked);
}
