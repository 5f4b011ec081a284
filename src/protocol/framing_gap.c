/*
 * "gap": a frame ends after a silence. The caller keeps the time and tells of the silence with fg_framer_end;
 * so no frame can be given where it stands, and each is copied once.
 */
#include "framings.h"

#include <errno.h>

struct gap_settings {
    struct fg_framing_settings common;
    int64_t gap_ns;
};

static const struct fg_setting table[] = {
    { .key = "gap",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct gap_settings, gap_ns),
      .fallback = "20ms",
      .minimum = 1000000,
      .maximum = 60000000000,
      .help = "A frame ends after this much silence." },
    FG_FRAMING_MAX_BYTES_SETTING,
    { 0 },
};

static const struct fg_schema schema = {
    .name = "framing gap",
    .help = "A frame ends after a silence.",
    .size = sizeof(struct gap_settings),
    .settings = table,
};

static enum fg_framing_result next(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                   struct fg_frame *frame, enum fg_reason *reason)
{
    (void)frame;
    enum fg_framing_result result = FG_FRAMING_MORE;
    if (!framer->discarding) {
        bool fits = *size <= fg_framer_max(framer) - framer->pending.size &&
                    fg_buffer_append(&framer->pending, *input, *size) == 0;
        if (!fits) {
            result = fg_framer_reject(framer, FG_REASON_OVERSIZED, true, reason);
        }
    }
    fg_framer_take(input, size, *size);
    return result;
}

static enum fg_framing_result end(struct fg_framer *framer, enum fg_framing_end why, struct fg_frame *frame,
                                  enum fg_reason *reason)
{
    (void)why;
    (void)reason;
    return fg_framer_give_pending(framer, 0, framer->pending.size, frame);
}

static int64_t gap_ns(const struct fg_framing_settings *settings)
{
    return ((const struct gap_settings *)settings)->gap_ns;
}

static int encode(const struct fg_framing_settings *settings, const void *payload, size_t size,
                  struct fg_buffer *out)
{
    (void)settings;
    return size > 0 ? fg_buffer_append(out, payload, size) : -EINVAL;
}

const struct fg_framing fg_framing_gap = {
    .variant = { .name = "gap", .help = "A frame ends after a silence.", .schema = &schema },
    .next = next,
    .end = end,
    .gap_ns = gap_ns,
    .encode = encode,
};
