#include "framings.h"

#include <errno.h>

void fg_framer_init(struct fg_framer *framer, const struct fg_variant *variant, const void *settings)
{
    *framer = (struct fg_framer){
        .framing = (const struct fg_framing *)variant, /* its first member */
        .settings = settings,
    };
    fg_buffer_init(&framer->pending, fg_framer_max(framer) + FG_FRAMER_SLACK);
}

void fg_framer_fini(struct fg_framer *framer)
{
    fg_buffer_fini(&framer->pending);
    framer->release = framer->discarding = false;
    framer->phase = 0;
    framer->number = 0;
}

static void release(struct fg_framer *framer)
{
    if (framer->release) {
        fg_buffer_fini(&framer->pending);
        framer->release = false;
    }
}

enum fg_framing_result fg_framer_next(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                      struct fg_frame *frame, enum fg_reason *reason)
{
    release(framer);
    if (*size == 0) {
        return FG_FRAMING_MORE;
    }
    return framer->framing->next(framer, input, size, frame, reason);
}

enum fg_framing_result fg_framer_end(struct fg_framer *framer, enum fg_framing_end why,
                                     struct fg_frame *frame, enum fg_reason *reason)
{
    release(framer);
    enum fg_framing_result result = FG_FRAMING_MORE;
    if (framer->discarding || !fg_framer_pending(framer)) {
        result = FG_FRAMING_MORE;
    } else if (framer->framing->end) {
        result = framer->framing->end(framer, why, frame, reason);
    } else {
        *reason = FG_REASON_INCOMPLETE;
        result = FG_FRAMING_REJECT;
    }
    if (!framer->release) {
        fg_framer_fini(framer);
    }
    return result;
}

bool fg_framer_pending(const struct fg_framer *framer)
{
    return (framer->pending.size > 0 && !framer->release) || framer->discarding || framer->phase != 0;
}

int64_t fg_framer_gap_ns(const struct fg_framer *framer)
{
    return framer->framing->gap_ns ? framer->framing->gap_ns(framer->settings) : 0;
}

int fg_framing_encode(const struct fg_variant *variant, const void *settings, const void *payload,
                      size_t size, struct fg_buffer *out)
{
    const struct fg_framing *framing = (const struct fg_framing *)variant;
    const struct fg_framing_settings *common = settings;
    if (size > (size_t)common->max_bytes) {
        return -EMSGSIZE;
    }
    size_t before = out->size;
    int error = framing->encode(common, payload, size, out);
    if (error) {
        out->size = before;
    }
    return error;
}

enum fg_framing_result fg_framer_give_pending(struct fg_framer *framer, size_t offset, size_t size,
                                              struct fg_frame *frame)
{
    static const uint8_t nothing[1];
    frame->bytes = size > 0 ? framer->pending.bytes + offset : nothing;
    frame->size = size;
    framer->release = true;
    framer->discarding = false;
    framer->phase = 0;
    framer->number = 0;
    return FG_FRAMING_FRAME;
}

enum fg_framing_result fg_framer_reject(struct fg_framer *framer, enum fg_reason why, bool discarding,
                                        enum fg_reason *reason)
{
    fg_framer_fini(framer);
    framer->discarding = discarding;
    *reason = why;
    return FG_FRAMING_REJECT;
}

enum fg_framing_result fg_framer_counted(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                         size_t header, size_t total, struct fg_frame *frame,
                                         enum fg_reason *reason)
{
    if (framer->pending.size == 0 && *size >= total) {
        const uint8_t *bytes = *input + header;
        fg_framer_take(input, size, total);
        return fg_framer_give(frame, bytes, total - header);
    }
    size_t missing = total - framer->pending.size;
    size_t count = *size < missing ? *size : missing;
    int error = fg_buffer_append(&framer->pending, *input, count);
    fg_framer_take(input, size, count);
    if (error) {
        return fg_framer_reject_counted(framer, (uint32_t)(missing - count), reason);
    }
    if (count < missing) {
        return FG_FRAMING_MORE;
    }
    return fg_framer_give_pending(framer, header, total - header, frame);
}

enum fg_framing_result fg_framer_reject_counted(struct fg_framer *framer, uint32_t count,
                                                enum fg_reason *reason)
{
    enum fg_framing_result result = fg_framer_reject(framer, FG_REASON_OVERSIZED, count > 0, reason);
    framer->number = count;
    return result;
}

void fg_framer_skip(struct fg_framer *framer, const uint8_t **input, size_t *size)
{
    size_t count = framer->number < *size ? framer->number : *size;
    fg_framer_take(input, size, count);
    framer->number -= (uint32_t)count;
    framer->discarding = framer->number > 0;
}
