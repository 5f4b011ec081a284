/*
 * Readings for those who watch. Whoever is slow loses some, and is told how many: a device never waits for
 * one who watches it.
 */
#include "control_parts.h"
#include "json_writer.h"

#include "fieldgate/text.h"

#include <string.h>

/* Of a frame without fields, so many bytes are shown. */
#define FRAME_BYTES 1024

/* What would be longer, of some frame of a megabyte, is not shown. */
#define LINE_BYTES ((size_t)1 << 20)

void fg_control_tell_dropped(struct fg_control_client *client)
{
    struct fg_json_writer writer = { .out = &client->waiting, .first = true };
    fg_json_open(&writer, NULL);
    fg_json_number(&writer, "protocol", FG_CONTROL_PROTOCOL);
    fg_json_number(&writer, "dropped", client->dropped);
    fg_json_close(&writer);
    fg_json_put(&writer, "\n");
    if (!writer.error) {
        client->dropped = 0;
    } else {
        fg_buffer_fini(&client->waiting); /* it was empty, and is not to hold half a line */
    }
}

static void put_values(struct fg_json_writer *writer, const struct fg_reading *reading)
{
    fg_json_open(writer, "values");
    for (size_t i = 0; i < reading->count && !writer->error; i++) {
        const struct fg_field *field = &reading->fields[i];
        fg_json_key(writer, NULL);
        writer->error = fg_json_put_text(writer->out, field->name, field->name_length);
        fg_json_put(writer, ":");
        if (!writer->error) {
            writer->error = fg_json_put_value(writer->out, &field->value);
        }
    }
    fg_json_close(writer);
}

/* Of a frame too long to be a field: its beginning, and how long it is. */
static void put_frame(struct fg_json_writer *writer, const struct fg_reading *reading)
{
    size_t shown = reading->frame_size < FRAME_BYTES ? reading->frame_size : FRAME_BYTES;
    fg_json_key(writer, "hex");
    fg_json_put(writer, "\"");
    for (size_t i = 0; i < shown && !writer->error; i++) {
        writer->error = fg_buffer_printf(writer->out, "%02x", reading->frame[i]);
    }
    fg_json_put(writer, "\"");
    fg_json_number(writer, "bytes", reading->frame_size);
}

static int render(struct fg_buffer *line, const struct fg_origin *origin, const struct fg_reading *reading)
{
    struct fg_json_writer writer = { .out = line, .first = true };
    fg_json_open(&writer, NULL);
    fg_json_number(&writer, "protocol", FG_CONTROL_PROTOCOL);
    fg_json_text(&writer, "port", origin->port);
    fg_json_text(&writer, "device", origin->device);
    fg_json_key(&writer, "ts");
    if (!writer.error) {
        writer.error = fg_buffer_printf(line, "%lld", (long long)reading->wall_ms);
    }
    if (reading->count > 0) {
        put_values(&writer, reading);
    } else if (reading->frame) {
        put_frame(&writer, reading);
    }
    fg_json_close(&writer);
    fg_json_put(&writer, "\n");
    return writer.error;
}

/* Whoever is behind gets nothing until all that waits is taken: one hole is better than many. */
static void give(struct fg_control_client *client, const struct fg_buffer *line)
{
    client->dropping = client->dropping || line->size == 0 ||
                       fg_buffer_append(&client->waiting, line->bytes, line->size) != 0;
    client->dropped += client->dropping;
    fg_control_client_wake(client);
}

void fg_control_show(void *context, const struct fg_origin *origin, const struct fg_reading *reading)
{
    struct fg_control *control = context;
    struct fg_buffer line;
    bool rendered = false;
    fg_buffer_init(&line, LINE_BYTES);
    pthread_mutex_lock(&control->lock);
    for (struct fg_control_client *client = control->first; client; client = client->next) {
        if (!client->watches || (client->device[0] && strcmp(client->device, origin->device) != 0)) {
            continue;
        }
        if (!rendered && render(&line, origin, reading)) {
            fg_buffer_fini(&line); /* to be counted as dropped */
        }
        rendered = true;
        give(client, &line);
    }
    pthread_mutex_unlock(&control->lock);
    fg_buffer_fini(&line);
}
