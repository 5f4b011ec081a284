/*
 * "fixed": frames of one size.
 */
#include "framings.h"

#include <errno.h>

struct fixed_settings {
    struct fg_framing_settings common;
    int64_t bytes;
};

static const struct fg_setting table[] = {
    { .key = "bytes",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct fixed_settings, bytes),
      .minimum = 1,
      .maximum = FG_FRAMING_MAX_BYTES,
      .unit = "bytes",
      .help = "Size of every frame. The first frame begins where the link comes up." },
    FG_FRAMING_MAX_BYTES_SETTING,
    { 0 },
};

static void check(struct fg_check *check, const void *settings)
{
    const struct fixed_settings *fixed = settings;
    if (fixed->bytes > fixed->common.max_bytes) {
        fg_check_problem(check, "bytes", "%lld is more than max_bytes (%lld)", (long long)fixed->bytes,
                         (long long)fixed->common.max_bytes);
    }
}

static const struct fg_schema schema = {
    .name = "framing fixed",
    .help = "Every frame has the same size.",
    .size = sizeof(struct fixed_settings),
    .settings = table,
    .check = check,
};

static enum fg_framing_result next(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                   struct fg_frame *frame, enum fg_reason *reason)
{
    const struct fixed_settings *settings = (const struct fixed_settings *)framer->settings;
    if (framer->discarding) {
        fg_framer_skip(framer, input, size);
        if (*size == 0) {
            return FG_FRAMING_MORE;
        }
    }
    return fg_framer_counted(framer, input, size, 0, (size_t)settings->bytes, frame, reason);
}

static int encode(const struct fg_framing_settings *settings, const void *payload, size_t size,
                  struct fg_buffer *out)
{
    if (size != (size_t)((const struct fixed_settings *)settings)->bytes) {
        return -EINVAL;
    }
    return fg_buffer_append(out, payload, size);
}

const struct fg_framing fg_framing_fixed = {
    .variant = { .name = "fixed", .help = "Every frame has the same size.", .schema = &schema },
    .next = next,
    .encode = encode,
};
