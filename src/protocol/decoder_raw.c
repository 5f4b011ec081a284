/*
 * "raw": the frame as it came. What can be shown of it stands in the record for those who look into readings;
 * the payload is the frame itself.
 */
#include "decoders.h"

#include "fieldgate/text.h"

static const struct fg_setting table[] = {
    { 0 },
};

static const struct fg_schema schema = {
    .name = "decoder raw",
    .help = "The frame's bytes, undecoded: one field `raw` when they are text, else `hex`.",
    .size = 1, /* nothing to set, but something to allocate */
    .settings = table,
};

static enum fg_reason decode(const void *settings, const uint8_t *frame, size_t size,
                             struct fg_record *record)
{
    static const char digits[] = "0123456789abcdef";
    (void)settings;
    if (fg_utf8_valid(frame, size)) {
        return fg_decoder_add(record, "raw", 3, fg_value_text((const char *)frame, size));
    }
    if (size > (sizeof record->text - record->text_used) / 2) {
        return FG_REASON_NONE; /* a part of it would be a lie */
    }
    char *hex = record->text + record->text_used;
    for (size_t i = 0; i < size; i++) {
        hex[2 * i] = digits[frame[i] >> 4];
        hex[2 * i + 1] = digits[frame[i] & 0x0F];
    }
    record->text_used += 2 * size;
    return fg_decoder_add(record, "hex", 3, fg_value_text(hex, 2 * size));
}

const struct fg_decoder fg_decoder_raw = {
    .variant = { .name = "raw", .help = "The frame's bytes, undecoded.", .schema = &schema },
    .decode = decode,
};
