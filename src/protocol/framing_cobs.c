/*
 * "cobs": Consistent Overhead Byte Stuffing (Cheshire and Baker, IEEE/ACM Transactions on Networking 7(2),
 * 1999), frames delimited by a zero byte. Zero bytes between frames are skipped.
 */
#include "framings.h"

#include <string.h>

#define BLOCK_MAX 254 /* data bytes of the longest block, which stands for no zero */

enum phase {
    IDLE,      /* -> ZERO_OWED, FULL at a code byte */
    ZERO_OWED, /* the next block puts a zero before itself; -> FULL at code 0xFF, IDLE at the delimiter */
    FULL,      /* the next block follows at once; -> ZERO_OWED at another code, IDLE at the delimiter */
};

static const struct fg_setting table[] = {
    FG_FRAMING_MAX_BYTES_SETTING,
    { 0 },
};

static const struct fg_schema schema = {
    .name = "framing cobs",
    .help = "COBS; frames are delimited by a zero byte.",
    .size = sizeof(struct fg_framing_settings),
    .settings = table,
};

static bool append(struct fg_framer *framer, const void *bytes, size_t size)
{
    return size <= fg_framer_max(framer) - framer->pending.size &&
           fg_buffer_append(&framer->pending, bytes, size) == 0;
}

/* Puts length bytes without a zero among them into pending, unstuffed. number is what the block still lacks.
 */
static bool unstuff(struct fg_framer *framer, const uint8_t *bytes, size_t length)
{
    const uint8_t *stop = bytes + length;
    while (bytes < stop) {
        if (framer->number == 0) {
            if (framer->phase == ZERO_OWED && !append(framer, "", 1)) {
                return false;
            }
            framer->number = (uint32_t)*bytes - 1;
            framer->phase = framer->number == BLOCK_MAX ? FULL : ZERO_OWED;
            bytes++;
            continue;
        }
        size_t count = (size_t)(stop - bytes);
        count = framer->number < count ? framer->number : count;
        if (!append(framer, bytes, count)) {
            return false;
        }
        framer->number -= (uint32_t)count;
        bytes += count;
    }
    return true;
}

/* Takes a frame that is one block and stands whole in the input: its delimiter is length bytes away. */
static enum fg_framing_result give_block(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                         size_t length, struct fg_frame *frame, enum fg_reason *reason)
{
    const uint8_t *bytes = *input + 1;
    fg_framer_take(input, size, length + 1);
    if (length - 1 > fg_framer_max(framer)) {
        return fg_framer_reject(framer, FG_REASON_OVERSIZED, false, reason);
    }
    return fg_framer_give(frame, bytes, length - 1);
}

static enum fg_framing_result next(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                   struct fg_frame *frame, enum fg_reason *reason)
{
    while (*size > 0) {
        const uint8_t *end = memchr(*input, 0, *size);
        size_t length = end ? (size_t)(end - *input) : *size;
        if (framer->discarding) {
            fg_framer_take(input, size, length + (end ? 1 : 0));
            framer->discarding = !end;
            continue;
        }
        if (end && length > 0 && framer->phase == IDLE && (*input)[0] == length) {
            return give_block(framer, input, size, length, frame, reason);
        }
        bool fits = unstuff(framer, *input, length);
        fg_framer_take(input, size, length);
        if (!fits) {
            return fg_framer_reject(framer, FG_REASON_OVERSIZED, true, reason);
        }
        if (!end) {
            return FG_FRAMING_MORE;
        }
        fg_framer_take(input, size, 1);
        if (framer->number > 0) {
            return fg_framer_reject(framer, FG_REASON_BAD_ESCAPE, false, reason);
        }
        if (framer->phase != IDLE) {
            return fg_framer_give_pending(framer, 0, framer->pending.size, frame);
        }
    }
    return FG_FRAMING_MORE;
}

static int encode(const struct fg_framing_settings *settings, const void *payload, size_t size,
                  struct fg_buffer *out)
{
    (void)settings;
    const uint8_t *bytes = payload;
    size_t at = 0;
    int error = 0;
    do {
        size_t most = size - at < BLOCK_MAX ? size - at : BLOCK_MAX;
        const uint8_t *zero = most > 0 ? memchr(bytes + at, 0, most) : NULL;
        size_t count = zero ? (size_t)(zero - (bytes + at)) : most;
        uint8_t code = (uint8_t)(count + 1);
        error = fg_buffer_append(out, &code, 1);
        if (!error && count > 0) {
            error = fg_buffer_append(out, bytes + at, count);
        }
        at += count + (zero ? 1 : 0);
        if (!error && zero && at == size) {
            error = fg_buffer_append(out, "\1", 1); /* only a block after it makes the zero at the end */
        }
    } while (!error && at < size);
    return error ? error : fg_buffer_append(out, "", 1);
}

const struct fg_framing fg_framing_cobs = {
    .variant = { .name = "cobs", .help = "COBS; frames are delimited by a zero byte.", .schema = &schema },
    .next = next,
    .encode = encode,
};
