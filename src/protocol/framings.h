/*
 * What the framings share: helpers for their functions, and their names for the registry. Private to this
 * folder.
 */
#ifndef FIELDGATE_PROTOCOL_FRAMINGS_H
#define FIELDGATE_PROTOCOL_FRAMINGS_H

#include "fieldgate/framing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The framings: one line each. X(NAME) stands for fg_framing_NAME, in a file of its own. */
#define FG_FRAMINGS(X)                                                                                       \
    X(line)                                                                                                  \
    X(length)                                                                                                \
    X(fixed)                                                                                                 \
    X(gap)                                                                                                   \
    X(stx_etx)                                                                                               \
    X(slip)                                                                                                  \
    X(cobs)

#define FG_FRAMING_DECLARE(name) extern const struct fg_framing fg_framing_##name;
FG_FRAMINGS(FG_FRAMING_DECLARE)
#undef FG_FRAMING_DECLARE

#define FG_FRAMING_MAX_BYTES INT64_C(1048576)

/* The row of every framing's table. */
#define FG_FRAMING_MAX_BYTES_SETTING                                                                         \
    {                                                                                                        \
        .key = "max_bytes", .type = FG_SETTING_INTEGER,                                                      \
        .offset = offsetof(struct fg_framing_settings, max_bytes), .fallback = "4096", .minimum = 1,         \
        .maximum = FG_FRAMING_MAX_BYTES, .unit = "bytes",                                                    \
        .help = "Longest frame, without what the framing puts around it. A longer one is discarded up to "   \
                "the next "                                                                                  \
                "boundary and counted as `oversized`."                                                       \
    }

/* What pending may hold beyond max_bytes: a delimiter and a carriage return, a length field, a checksum. */
#define FG_FRAMER_SLACK 32

static inline size_t fg_framer_max(const struct fg_framer *framer)
{
    return (size_t)framer->settings->max_bytes;
}

static inline void fg_framer_take(const uint8_t **input, size_t *size, size_t count)
{
    *input += count;
    *size -= count;
}

/* Sets frame to bytes that stand in the input. */
static inline enum fg_framing_result fg_framer_give(struct fg_frame *frame, const uint8_t *bytes, size_t size)
{
    *frame = (struct fg_frame){ .bytes = bytes, .size = size };
    return FG_FRAMING_FRAME;
}

/* Sets frame to size bytes of pending from offset on, which go before the next pull. The framer is between
 * frames. */
enum fg_framing_result fg_framer_give_pending(struct fg_framer *framer, size_t offset, size_t size,
                                              struct fg_frame *frame);

/* Drops what is pending; the framer is between frames, or discarding up to the next boundary. */
enum fg_framing_result fg_framer_reject(struct fg_framer *framer, enum fg_reason why, bool discarding,
                                        enum fg_reason *reason);

/*
 * Takes a frame whose size is known: total bytes, of which the first header ones are not its content. What is
 * pending is its begin. Without memory the rest of it is discarded by fg_framer_skip.
 */
enum fg_framing_result fg_framer_counted(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                         size_t header, size_t total, struct fg_frame *frame,
                                         enum fg_reason *reason);

/* Rejects a frame of which count bytes are still to come, and has them skipped. */
enum fg_framing_result fg_framer_reject_counted(struct fg_framer *framer, uint32_t count,
                                                enum fg_reason *reason);

/* Takes what of those bytes is there. */
void fg_framer_skip(struct fg_framer *framer, const uint8_t **input, size_t *size);

#endif
