#include "json_writer.h"

#include "fieldgate/clock.h"
#include "fieldgate/text.h"

#include <string.h>

void fg_json_put(struct fg_json_writer *writer, const char *text)
{
    if (!writer->error) {
        writer->error = fg_buffer_append(writer->out, text, strlen(text));
    }
}

static void put_text(struct fg_json_writer *writer, const char *text)
{
    if (!writer->error) {
        writer->error = fg_json_put_text(writer->out, text, strlen(text));
    }
}

void fg_json_key(struct fg_json_writer *writer, const char *name)
{
    if (!writer->first) {
        fg_json_put(writer, ",");
    }
    writer->first = false;
    if (name) {
        put_text(writer, name);
        fg_json_put(writer, ":");
    }
}

void fg_json_number(struct fg_json_writer *writer, const char *name, uint64_t value)
{
    fg_json_key(writer, name);
    if (!writer->error) {
        writer->error = fg_buffer_printf(writer->out, "%llu", (unsigned long long)value);
    }
}

void fg_json_boolean(struct fg_json_writer *writer, const char *name, bool value)
{
    fg_json_key(writer, name);
    fg_json_put(writer, value ? "true" : "false");
}

void fg_json_text(struct fg_json_writer *writer, const char *name, const char *text)
{
    fg_json_key(writer, name);
    put_text(writer, text);
}

void fg_json_seconds(struct fg_json_writer *writer, const char *name, int64_t ns)
{
    fg_json_key(writer, name);
    int64_t ms = ns > 0 ? ns / FG_NS_PER_MS : 0;
    if (!writer->error) {
        writer->error = fg_buffer_printf(writer->out, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
    }
}

static void begin(struct fg_json_writer *writer, const char *name, const char *bracket)
{
    fg_json_key(writer, name);
    fg_json_put(writer, bracket);
    writer->first = true;
}

static void end(struct fg_json_writer *writer, const char *bracket)
{
    fg_json_put(writer, bracket);
    writer->first = false;
}

void fg_json_open(struct fg_json_writer *writer, const char *name)
{
    begin(writer, name, "{");
}

void fg_json_close(struct fg_json_writer *writer)
{
    end(writer, "}");
}

void fg_json_open_array(struct fg_json_writer *writer, const char *name)
{
    begin(writer, name, "[");
}

void fg_json_close_array(struct fg_json_writer *writer)
{
    end(writer, "]");
}

void fg_json_reasons(struct fg_json_writer *writer, const uint64_t counts[FG_REASON_COUNT])
{
    fg_json_open(writer, "rejected");
    for (int i = FG_REASON_NONE + 1; i < FG_REASON_COUNT; i++) {
        if (counts[i]) {
            fg_json_number(writer, fg_reason_name((enum fg_reason)i), counts[i]);
        }
    }
    fg_json_close(writer);
}

void fg_json_losses(struct fg_json_writer *writer, const uint64_t counts[FG_LOSS_COUNT])
{
    fg_json_open(writer, "lost");
    for (int i = FG_LOSS_NONE + 1; i < FG_LOSS_COUNT; i++) {
        if (counts[i]) {
            fg_json_number(writer, fg_loss_name((enum fg_loss)i), counts[i]);
        }
    }
    fg_json_close(writer);
}
