/*
 * "line": frames that end with a delimiter, as text lines do.
 *
 * A delimiter may straddle two reads. number is how many bytes at the end of what was read are the
 * delimiter's begin (the longest such run), so the seam can be searched without keeping the bytes themselves
 * while discarding.
 */
#include "framings.h"

#include <errno.h>
#include <string.h>

#define DELIMITER_MAX 16

struct line_settings {
    struct fg_framing_settings common;
    char *delimiter;
};

static const struct fg_setting table[] = {
    { .key = "delimiter",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct line_settings, delimiter),
      .fallback = "\n",
      .minimum = 1,
      .maximum = DELIMITER_MAX,
      .unit = "bytes",
      .help = "What ends a frame. A trailing carriage return is dropped when this is a line feed; empty "
              "lines are "
              "skipped." },
    FG_FRAMING_MAX_BYTES_SETTING,
    { 0 },
};

static const struct fg_schema schema = {
    .name = "framing line",
    .help = "A frame ends with a delimiter.",
    .size = sizeof(struct line_settings),
    .settings = table,
};

struct delimiter {
    const char *bytes;
    size_t size;
    bool newline; /* a carriage return before it belongs to it */
};

static struct delimiter delimiter_of(const struct fg_framing_settings *settings)
{
    const struct line_settings *line = (const struct line_settings *)settings;
    const char *bytes = line->delimiter;
    return (struct delimiter){ .bytes = bytes, .size = strlen(bytes), .newline = strcmp(bytes, "\n") == 0 };
}

/* The end of what was read so far, as far as it can matter to a delimiter: its begin, then the input's first
 * bytes. */
struct seam {
    uint8_t bytes[2 * DELIMITER_MAX];
    size_t size;
};

static void seam_make(struct seam *seam, const struct delimiter *delimiter, size_t begun,
                      const uint8_t *input, size_t size)
{
    size_t head = size < delimiter->size - 1 ? size : delimiter->size - 1;
    memcpy(seam->bytes, delimiter->bytes, begun);
    memcpy(seam->bytes + begun, input, head);
    seam->size = begun + head;
}

/* Whether the delimiter ends in the input, and how many of the input's bytes go up to its end. */
static bool find(const struct delimiter *delimiter, size_t begun, const uint8_t *input, size_t size,
                 size_t *used)
{
    if (begun > 0) {
        struct seam seam;
        seam_make(&seam, delimiter, begun, input, size);
        const uint8_t *hit = memmem(seam.bytes, seam.size, delimiter->bytes, delimiter->size);
        if (hit) {
            *used = (size_t)(hit - seam.bytes) + delimiter->size - begun;
            return true;
        }
    }
    const uint8_t *hit = delimiter->size == 1 ? memchr(input, delimiter->bytes[0], size)
                                              : memmem(input, size, delimiter->bytes, delimiter->size);
    if (hit) {
        *used = (size_t)(hit - input) + delimiter->size;
    }
    return hit != NULL;
}

/* How many bytes of the delimiter's begin stand at the end of what was read, the input without delimiter
 * included. */
static uint32_t begun_after(const struct delimiter *delimiter, size_t begun, const uint8_t *input,
                            size_t size)
{
    size_t most = delimiter->size - 1;
    struct seam seam;
    if (size >= most) {
        seam_make(&seam, delimiter, 0, input + size - most, most);
    } else {
        seam_make(&seam, delimiter, begun, input, size);
    }
    for (size_t count = most < seam.size ? most : seam.size; count > 0; count--) {
        if (memcmp(seam.bytes + seam.size - count, delimiter->bytes, count) == 0) {
            return (uint32_t)count;
        }
    }
    return 0;
}

/* Takes the input, in which the delimiter does not end. */
static enum fg_framing_result keep_rest(struct fg_framer *framer, const struct delimiter *delimiter,
                                        const uint8_t **input, size_t *size, enum fg_reason *reason)
{
    uint32_t begun = begun_after(delimiter, framer->number, *input, *size);
    size_t most = fg_framer_max(framer) + delimiter->size - 1 + (delimiter->newline ? 1 : 0);
    bool fits = !framer->discarding && *size <= most - framer->pending.size &&
                fg_buffer_append(&framer->pending, *input, *size) == 0;
    enum fg_framing_result result = FG_FRAMING_MORE;
    if (!fits && !framer->discarding) {
        result = fg_framer_reject(framer, FG_REASON_OVERSIZED, true, reason);
    }
    fg_framer_take(input, size, *size);
    framer->number = begun;
    return result;
}

/* Gives the frame whose delimiter ends after used bytes of the input. MORE: it is empty. */
static enum fg_framing_result complete(struct fg_framer *framer, const struct delimiter *delimiter,
                                       const uint8_t **input, size_t *size, size_t used,
                                       struct fg_frame *frame, enum fg_reason *reason)
{
    struct fg_buffer *pending = &framer->pending;
    const uint8_t *bytes = *input;
    size_t fresh = used > delimiter->size ? used - delimiter->size : 0;
    size_t length = pending->size + used - delimiter->size;
    fg_framer_take(input, size, used);
    framer->number = 0;
    if (delimiter->newline && length > 0 &&
        (fresh > 0 ? bytes[fresh - 1] : pending->bytes[length - 1]) == '\r') {
        length--;
        fresh -= fresh > 0 ? 1 : 0;
    }
    if (length == 0) {
        fg_buffer_fini(pending);
        return FG_FRAMING_MORE;
    }
    if (length > fg_framer_max(framer)) {
        return fg_framer_reject(framer, FG_REASON_OVERSIZED, false, reason);
    }
    if (pending->size == 0) {
        return fg_framer_give(frame, bytes, length);
    }
    if (fg_buffer_append(pending, bytes, fresh) != 0) {
        return fg_framer_reject(framer, FG_REASON_OVERSIZED, false, reason);
    }
    return fg_framer_give_pending(framer, 0, length, frame);
}

static enum fg_framing_result next(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                   struct fg_frame *frame, enum fg_reason *reason)
{
    struct delimiter delimiter = delimiter_of(framer->settings);
    while (*size > 0) {
        size_t used;
        if (!find(&delimiter, framer->number, *input, *size, &used)) {
            return keep_rest(framer, &delimiter, input, size, reason);
        }
        if (framer->discarding) {
            fg_framer_take(input, size, used);
            framer->discarding = false;
            framer->number = 0;
            continue;
        }
        enum fg_framing_result result = complete(framer, &delimiter, input, size, used, frame, reason);
        if (result != FG_FRAMING_MORE) {
            return result;
        }
    }
    return FG_FRAMING_MORE;
}

static enum fg_framing_result end(struct fg_framer *framer, enum fg_framing_end why, struct fg_frame *frame,
                                  enum fg_reason *reason)
{
    if (why != FG_FRAMING_DATAGRAM) {
        return fg_framer_reject(framer, FG_REASON_INCOMPLETE, false, reason);
    }
    size_t length = framer->pending.size;
    if (delimiter_of(framer->settings).newline && framer->pending.bytes[length - 1] == '\r') {
        length--;
    }
    if (length == 0) {
        return FG_FRAMING_MORE;
    }
    if (length > fg_framer_max(framer)) {
        return fg_framer_reject(framer, FG_REASON_OVERSIZED, false, reason);
    }
    return fg_framer_give_pending(framer, 0, length, frame);
}

static int encode(const struct fg_framing_settings *settings, const void *payload, size_t size,
                  struct fg_buffer *out)
{
    struct delimiter delimiter = delimiter_of(settings);
    size_t before = out->size;
    int error = fg_buffer_append(out, payload, size);
    if (!error) {
        error = fg_buffer_append(out, delimiter.bytes, delimiter.size);
    }
    if (error) {
        return error;
    }
    /* Searched with the delimiter appended: the payload's end and its begin may make an earlier one. */
    const uint8_t *first = memmem(out->bytes + before, out->size - before, delimiter.bytes, delimiter.size);
    return first == out->bytes + before + size ? 0 : -EINVAL;
}

const struct fg_framing fg_framing_line = {
    .variant = { .name = "line", .help = "Lines of text: a frame ends with a delimiter.", .schema = &schema },
    .next = next,
    .end = end,
    .encode = encode,
};
