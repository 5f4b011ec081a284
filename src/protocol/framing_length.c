/*
 * "length": a length field, then that many bytes.
 */
#include "framings.h"

#include <errno.h>

enum endian { ENDIAN_BIG, ENDIAN_LITTLE };

struct length_settings {
    struct fg_framing_settings common;
    int64_t header_bytes;
    int endian;
    bool includes_header;
};

static void check_header_bytes(struct fg_check *check, const char *key, const void *field)
{
    int64_t bytes = *(const int64_t *)field;
    if (bytes == 3) {
        fg_check_problem(check, key, "3 is not a size of a length field; 1, 2 and 4 are");
    }
}

static const char *const endians[] = { "big", "little", NULL };

static const struct fg_setting table[] = {
    { .key = "header_bytes",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct length_settings, header_bytes),
      .fallback = "2",
      .minimum = 1,
      .maximum = 4,
      .unit = "bytes",
      .help = "Size of the length field: 1, 2 or 4.",
      .check = check_header_bytes },
    { .key = "endian",
      .type = FG_SETTING_CHOICE,
      .offset = offsetof(struct length_settings, endian),
      .fallback = "big",
      .help = "Order of the length field's bytes.",
      .choices = endians },
    { .key = "includes_header",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct length_settings, includes_header),
      .fallback = "false",
      .help = "Whether the length counts the length field itself." },
    FG_FRAMING_MAX_BYTES_SETTING,
    { 0 },
};

static const struct fg_schema schema = {
    .name = "framing length",
    .help = "A length field, then that many bytes. A length beyond `max_bytes` skips that many bytes; one "
            "that is less "
            "than the field it includes is counted as `bad-length`, and the field alone is skipped.",
    .size = sizeof(struct length_settings),
    .settings = table,
};

static uint32_t length_read(const struct length_settings *settings, const uint8_t *bytes)
{
    uint32_t length = 0;
    size_t count = (size_t)settings->header_bytes;
    for (size_t i = 0; i < count; i++) {
        length = length << 8 | bytes[settings->endian == ENDIAN_BIG ? i : count - 1 - i];
    }
    return length;
}

/* Drops the length field, which stands in pending or else at the head of the input. */
static void drop_header(struct fg_framer *framer, const uint8_t **input, size_t *size, size_t header)
{
    if (framer->pending.size == 0) {
        fg_framer_take(input, size, header);
    }
    fg_buffer_fini(&framer->pending);
}

/* Takes what is missing of the length field when it straddles reads. Returns where it stands, NULL: not yet.
 */
static const uint8_t *header_at(struct fg_framer *framer, const uint8_t **input, size_t *size, size_t header)
{
    if (framer->pending.size == 0 && *size >= header) {
        return *input;
    }
    if (framer->pending.size < header) {
        size_t missing = header - framer->pending.size;
        size_t count = *size < missing ? *size : missing;
        int error = fg_buffer_append(&framer->pending, *input, count);
        if (error) {
            return NULL;
        }
        fg_framer_take(input, size, count);
    }
    return framer->pending.size >= header ? framer->pending.bytes : NULL;
}

static enum fg_framing_result next(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                   struct fg_frame *frame, enum fg_reason *reason)
{
    const struct length_settings *settings = (const struct length_settings *)framer->settings;
    size_t header = (size_t)settings->header_bytes;
    if (framer->discarding) {
        fg_framer_skip(framer, input, size);
        if (*size == 0) {
            return FG_FRAMING_MORE;
        }
    }
    const uint8_t *field = header_at(framer, input, size, header);
    if (!field) {
        if (*size == 0) {
            return FG_FRAMING_MORE;
        }
        /* No memory for a few bytes: where the next frame begins is lost with this read. */
        fg_framer_take(input, size, *size);
        return fg_framer_reject(framer, FG_REASON_OVERSIZED, false, reason);
    }
    size_t length = length_read(settings, field);
    if (settings->includes_header && length < header) {
        drop_header(framer, input, size, header);
        return fg_framer_reject(framer, FG_REASON_BAD_LENGTH, false, reason);
    }
    length -= settings->includes_header ? header : 0;
    if (length > fg_framer_max(framer)) {
        drop_header(framer, input, size, header);
        return fg_framer_reject_counted(framer, (uint32_t)length, reason);
    }
    return fg_framer_counted(framer, input, size, header, header + length, frame, reason);
}

static int encode(const struct fg_framing_settings *common, const void *payload, size_t size,
                  struct fg_buffer *out)
{
    const struct length_settings *settings = (const struct length_settings *)common;
    size_t count = (size_t)settings->header_bytes;
    uint64_t length = (uint64_t)size + (settings->includes_header ? count : 0);
    if (length >> (8 * count) != 0) {
        return -EMSGSIZE;
    }
    uint8_t header[4];
    for (size_t i = 0; i < count; i++) {
        header[settings->endian == ENDIAN_BIG ? count - 1 - i : i] = (uint8_t)(length >> (8 * i));
    }
    int error = fg_buffer_append(out, header, count);
    return error ? error : fg_buffer_append(out, payload, size);
}

const struct fg_framing fg_framing_length = {
    .variant = { .name = "length", .help = "A length field, then that many bytes.", .schema = &schema },
    .next = next,
    .encode = encode,
};
