#include "decoders.h"

#include "fieldgate/text.h"

#include <errno.h>

#define VARIANT(name) &fg_decoder_##name.variant,
const struct fg_variant *const fg_decoders[] = { FG_DECODERS(VARIANT) NULL };
#undef VARIANT

enum fg_reason fg_decode(const struct fg_variant *variant, const void *settings, const uint8_t *frame,
                         size_t size, struct fg_record *record)
{
    const struct fg_decoder *decoder = (const struct fg_decoder *)variant; /* its first member */
    fg_record_reset(record);
    return size == 0 ? FG_REASON_EMPTY : decoder->decode(settings, frame, size, record);
}

enum fg_reason fg_decoder_add(struct fg_record *record, const char *name, size_t name_length,
                              struct fg_value value)
{
    switch (fg_record_add(record, name, name_length, value)) {
    case 0:
        return FG_REASON_NONE;
    case -ENOSPC:
        return FG_REASON_TOO_MANY_FIELDS;
    default:
        return FG_REASON_MALFORMED;
    }
}

static bool is_blank(char letter)
{
    return letter == ' ' || letter == '\t' || letter == '\r' || letter == '\n';
}

struct fg_span fg_span_trim(struct fg_span span)
{
    while (span.length > 0 && is_blank(span.bytes[0])) {
        span.bytes++;
        span.length--;
    }
    while (span.length > 0 && is_blank(span.bytes[span.length - 1])) {
        span.length--;
    }
    return span;
}

struct fg_value fg_span_value(struct fg_span span)
{
    struct fg_value value = { .kind = FG_VALUE_NULL };
    if (span.length > 0 && !fg_number_parse(span.bytes, span.length, &value)) {
        return fg_value_text(span.bytes, span.length);
    }
    value.text.bytes = span.bytes;
    value.text.length = span.length;
    return value;
}
