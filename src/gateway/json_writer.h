/*
 * Writes JSON objects member by member into a buffer. The first error stays, and nothing is written after it.
 */
#ifndef FIELDGATE_GATEWAY_JSON_WRITER_H
#define FIELDGATE_GATEWAY_JSON_WRITER_H

#include "fieldgate/buffer.h"
#include "fieldgate/reason.h"

#include <stdbool.h>
#include <stdint.h>

struct fg_json_writer {
    struct fg_buffer *out;
    bool first; /* the next member is the first of its object */
    int error;  /* 0, -EMSGSIZE, -ENOMEM */
};

/* As it is: punctuation, numbers. */
void fg_json_put(struct fg_json_writer *writer, const char *text);

/* The name of a member, with what goes before and behind it. NULL: an item of an array. */
void fg_json_key(struct fg_json_writer *writer, const char *name);

void fg_json_number(struct fg_json_writer *writer, const char *name, uint64_t value);
void fg_json_boolean(struct fg_json_writer *writer, const char *name, bool value);
void fg_json_text(struct fg_json_writer *writer, const char *name, const char *text);
/* In seconds with milliseconds. */
void fg_json_seconds(struct fg_json_writer *writer, const char *name, int64_t ns);

/* name NULL: the outermost, or an item of an array. */
void fg_json_open(struct fg_json_writer *writer, const char *name);
void fg_json_close(struct fg_json_writer *writer);
void fg_json_open_array(struct fg_json_writer *writer, const char *name);
void fg_json_close_array(struct fg_json_writer *writer);

/* "rejected" and "lost": those that happened. */
void fg_json_reasons(struct fg_json_writer *writer, const uint64_t counts[FG_REASON_COUNT]);
void fg_json_losses(struct fg_json_writer *writer, const uint64_t counts[FG_LOSS_COUNT]);

#endif
