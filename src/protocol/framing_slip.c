/*
 * "slip": RFC 1055. END ends a frame, and with it noise before the first one; empty frames are skipped.
 */
#include "framings.h"

#include <errno.h>
#include <string.h>

enum { END = 0xC0, ESC = 0xDB, ESC_END = 0xDC, ESC_ESC = 0xDD };

enum phase {
    PLAIN,   /* -> ESCAPED at ESC, and to PLAIN otherwise */
    ESCAPED, /* -> PLAIN at any byte */
};

static const struct fg_setting table[] = {
    FG_FRAMING_MAX_BYTES_SETTING,
    { 0 },
};

static const struct fg_schema schema = {
    .name = "framing slip",
    .help = "SLIP, RFC 1055.",
    .size = sizeof(struct fg_framing_settings),
    .settings = table,
};

/* Puts the input up to stop into pending, unescaped, and takes what it looked at. MORE: all of it was good.
 */
static enum fg_framing_result unescape(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                       const uint8_t *stop, enum fg_reason *reason)
{
    const uint8_t *at = *input;
    while (at < stop) {
        const uint8_t *run = at;
        uint8_t byte;
        size_t count;
        if (framer->phase == ESCAPED) {
            if (*at != ESC_END && *at != ESC_ESC) {
                fg_framer_take(input, size, (size_t)(at + 1 - *input));
                return fg_framer_reject(framer, FG_REASON_BAD_ESCAPE, true, reason);
            }
            byte = *at++ == ESC_END ? END : ESC;
            run = &byte;
            count = 1;
            framer->phase = PLAIN;
        } else {
            const uint8_t *escape = memchr(at, ESC, (size_t)(stop - at));
            count = (size_t)((escape ? escape : stop) - at);
            at += count + (escape ? 1 : 0);
            framer->phase = escape ? ESCAPED : PLAIN;
        }
        if (count > fg_framer_max(framer) - framer->pending.size ||
            fg_buffer_append(&framer->pending, run, count) != 0) {
            fg_framer_take(input, size, (size_t)(stop - *input));
            return fg_framer_reject(framer, FG_REASON_OVERSIZED, true, reason);
        }
    }
    fg_framer_take(input, size, (size_t)(stop - *input));
    return FG_FRAMING_MORE;
}

/* Takes END and gives what is pending. MORE: it is empty. */
static enum fg_framing_result complete(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                       struct fg_frame *frame, enum fg_reason *reason)
{
    fg_framer_take(input, size, 1);
    if (framer->phase == ESCAPED) {
        return fg_framer_reject(framer, FG_REASON_BAD_ESCAPE, false, reason);
    }
    if (framer->pending.size == 0) {
        return FG_FRAMING_MORE;
    }
    return fg_framer_give_pending(framer, 0, framer->pending.size, frame);
}

static enum fg_framing_result next(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                   struct fg_frame *frame, enum fg_reason *reason)
{
    enum fg_framing_result result = FG_FRAMING_MORE;
    while (result == FG_FRAMING_MORE && *size > 0) {
        const uint8_t *end = memchr(*input, END, *size);
        size_t length = end ? (size_t)(end - *input) : *size;
        if (framer->discarding) {
            fg_framer_take(input, size, length + (end ? 1 : 0));
            framer->discarding = !end;
        } else if (end && length > 0 && !fg_framer_pending(framer) && !memchr(*input, ESC, length)) {
            const uint8_t *bytes = *input;
            fg_framer_take(input, size, length + 1);
            if (length > fg_framer_max(framer)) {
                return fg_framer_reject(framer, FG_REASON_OVERSIZED, false, reason);
            }
            return fg_framer_give(frame, bytes, length);
        } else {
            result = unescape(framer, input, size, *input + length, reason);
            if (result == FG_FRAMING_MORE && end) {
                result = complete(framer, input, size, frame, reason);
            }
        }
    }
    return result;
}

static int put(struct fg_buffer *out, uint8_t byte)
{
    return fg_buffer_append(out, &byte, 1);
}

static int encode(const struct fg_framing_settings *settings, const void *payload, size_t size,
                  struct fg_buffer *out)
{
    (void)settings;
    if (size == 0) {
        return -EINVAL;
    }
    const uint8_t *bytes = payload;
    int error = put(out, END); /* ends what noise put before it */
    for (size_t i = 0; !error && i < size; i++) {
        if (bytes[i] == END || bytes[i] == ESC) {
            const uint8_t pair[2] = { ESC, bytes[i] == END ? ESC_END : ESC_ESC };
            error = fg_buffer_append(out, pair, sizeof pair);
        } else {
            error = put(out, bytes[i]);
        }
    }
    return error ? error : put(out, END);
}

const struct fg_framing fg_framing_slip = {
    .variant = { .name = "slip", .help = "SLIP, RFC 1055.", .schema = &schema },
    .next = next,
    .encode = encode,
};
