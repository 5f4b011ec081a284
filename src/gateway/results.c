#include "results.h"

#include "fieldgate/modbus.h"
#include "fieldgate/text.h"

#include <stdio.h>
#include <string.h>

/* The first error stays. */
struct writer {
    struct fg_buffer *out;
    int error;
};

static void put(struct writer *writer, const char *text)
{
    if (!writer->error) {
        writer->error = fg_buffer_append(writer->out, text, strlen(text));
    }
}

static void put_text(struct writer *writer, const char *text, size_t length)
{
    if (!writer->error) {
        writer->error = fg_json_put_text(writer->out, text, length);
    }
}

/* Nothing for what is no text. */
static void put_member(struct writer *writer, const char *key, const char *text)
{
    if (text && fg_utf8_valid(text, strlen(text))) {
        put(writer, key);
        put_text(writer, text, strlen(text));
    }
}

static void put_error(struct writer *writer, const struct fg_command_result *result)
{
    char text[128];
    const char *name = fg_outcome_name(result->outcome);
    if (result->outcome == FG_OUTCOME_EXCEPTION) {
        snprintf(text, sizeof text, "%s %u (%s)", name, result->exception,
                 fg_modbus_exception_name(result->exception));
        name = text;
    }
    put_member(writer, ",\"error\":", name);
    put_member(writer, ",\"point\":", result->point);
    put_member(writer, ",\"why\":", result->why);
}

static void put_values(struct writer *writer, const struct fg_command_result *result)
{
    put(writer, ",\"values\":{");
    for (size_t i = 0; i < result->count; i++) {
        const struct fg_field *field = &result->fields[i];
        put(writer, i > 0 ? "," : "");
        put_text(writer, field->name, field->name_length);
        put(writer, ":");
        if (!writer->error) {
            writer->error = fg_json_put_value(writer->out, &field->value);
        }
    }
    put(writer, "}");
}

static void put_reply(struct writer *writer, const uint8_t *bytes, size_t size)
{
    if (fg_utf8_valid(bytes, size)) {
        put(writer, ",\"reply\":");
        put_text(writer, (const char *)bytes, size);
        return;
    }
    put(writer, ",\"reply_hex\":\"");
    for (size_t i = 0; i < size && !writer->error; i++) {
        static const char digits[] = "0123456789abcdef";
        const char pair[] = { digits[bytes[i] >> 4], digits[bytes[i] & 0xf] };
        writer->error = fg_buffer_append(writer->out, pair, sizeof pair);
    }
    put(writer, "\"");
}

int fg_result_render(struct fg_buffer *out, const char *transaction, size_t transaction_length,
                     enum fg_command_kind kind, const struct fg_command_result *result, bool brief)
{
    struct writer writer = { .out = out };
    bool ok = result->outcome == FG_OUTCOME_DONE;
    put(&writer, "{");
    if (transaction) {
        put(&writer, "\"transaction\":");
        if (!writer.error) {
            writer.error = fg_buffer_append(out, transaction, transaction_length);
        }
        put(&writer, ",");
    }
    put(&writer, ok ? "\"ok\":true" : "\"ok\":false");
    if (!ok) {
        put_error(&writer, result);
    }
    if (kind == FG_COMMAND_GET && (ok || result->count > 0) && !brief) {
        put_values(&writer, result);
    }
    if (result->reply && !brief) {
        put_reply(&writer, result->reply, result->reply_size);
    }
    put(&writer, "}");
    return writer.error;
}
