/*
 * "stx-etx": a start byte, the payload, an end byte, and then perhaps a checksum, as scales, readers and many
 * meters send. Nothing is escaped, so the payload has neither of the two bytes, and a start byte always
 * begins a new frame.
 *
 * The checksum is computed as block check characters commonly are: over what follows the start byte, up to
 * and including the end byte.
 */
#include "checksum.h"
#include "framings.h"

#include <errno.h>
#include <string.h>

#define CHECKSUM_MAX 2

enum checksum { CHECKSUM_NONE, CHECKSUM_XOR, CHECKSUM_SUM8, CHECKSUM_CRC16_MODBUS };

/*
 * Outside, discarding says that this run of bytes was rejected already. In TRAILER, number counts the bytes
 * of the checksum, which stand behind the payload in pending.
 */
enum phase {
    OUTSIDE, /* -> BODY at the start byte */
    BODY,    /* -> BODY at a start byte, TRAILER at the end byte, OUTSIDE when oversized */
    TRAILER, /* -> OUTSIDE after a good checksum; after a bad one its bytes are looked at again */
};

struct stx_etx_settings {
    struct fg_framing_settings common;
    int64_t start;
    int64_t end;
    int checksum;
};

static const char *const checksums[] = { "none", "xor", "sum8", "crc16-modbus", NULL };

static const struct fg_setting table[] = {
    { .key = "start",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct stx_etx_settings, start),
      .fallback = "0x02",
      .minimum = 0,
      .maximum = 255,
      .help = "The byte that begins a frame. One inside a frame begins the frame anew." },
    { .key = "end",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct stx_etx_settings, end),
      .fallback = "0x03",
      .minimum = 0,
      .maximum = 255,
      .help = "The byte that ends a frame." },
    { .key = "checksum",
      .type = FG_SETTING_CHOICE,
      .offset = offsetof(struct stx_etx_settings, checksum),
      .fallback = "none",
      .help = "What follows the end byte: `xor` and `sum8` are one byte, `crc16-modbus` two, low byte first. "
              "It is "
              "computed over the bytes after the start byte, up to and including the end byte.",
      .choices = checksums },
    FG_FRAMING_MAX_BYTES_SETTING,
    { 0 },
};

static void check(struct fg_check *check, const void *settings)
{
    const struct stx_etx_settings *own = settings;
    if (own->start == own->end) {
        fg_check_problem(check, "end", "%lld is the start byte too; the two must differ",
                         (long long)own->end);
    }
}

static const struct fg_schema schema = {
    .name = "framing stx-etx",
    .help = "A frame stands between a start byte and an end byte. Other bytes between frames are counted as "
            "`noise`, "
            "once a run; carriage returns and line feeds there are skipped.",
    .size = sizeof(struct stx_etx_settings),
    .settings = table,
    .check = check,
};

static const struct stx_etx_settings *settings_of(const struct fg_framer *framer)
{
    return (const struct stx_etx_settings *)framer->settings;
}

/* Computes the checksum of payload and end byte. Returns its size. */
static size_t checksum_of(const struct stx_etx_settings *settings, const uint8_t *payload, size_t size,
                          uint8_t sum[CHECKSUM_MAX])
{
    const uint8_t end = (uint8_t)settings->end;
    uint16_t crc;
    switch (settings->checksum) {
    case CHECKSUM_XOR:
        sum[0] = fg_checksum_xor(fg_checksum_xor(0, payload, size), &end, 1);
        return 1;
    case CHECKSUM_SUM8:
        sum[0] = fg_checksum_sum8(fg_checksum_sum8(0, payload, size), &end, 1);
        return 1;
    case CHECKSUM_CRC16_MODBUS:
        crc = fg_checksum_crc16_modbus(FG_CRC16_MODBUS_START, payload, size);
        crc = fg_checksum_crc16_modbus(crc, &end, 1);
        sum[0] = (uint8_t)(crc & 0xFF);
        sum[1] = (uint8_t)(crc >> 8);
        return 2;
    default:
        return 0;
    }
}

static size_t checksum_size(const struct stx_etx_settings *settings)
{
    switch (settings->checksum) {
    case CHECKSUM_NONE:
        return 0;
    case CHECKSUM_CRC16_MODBUS:
        return 2;
    default:
        return 1;
    }
}

static bool checksum_good(const struct stx_etx_settings *settings, const uint8_t *payload, size_t size,
                          const uint8_t *sum)
{
    uint8_t right[CHECKSUM_MAX];
    size_t count = checksum_of(settings, payload, size, right);
    return count == 0 || memcmp(right, sum, count) == 0;
}

/* Rejects the frame; what stood where its checksum should may be the begin of the next. */
static enum fg_framing_result reject_checksum(struct fg_framer *framer, const uint8_t *sum, size_t count,
                                              enum fg_reason *reason)
{
    const struct stx_etx_settings *settings = settings_of(framer);
    uint8_t bytes[CHECKSUM_MAX];
    memcpy(bytes, sum, count);
    enum fg_framing_result result = fg_framer_reject(framer, FG_REASON_CHECKSUM, true, reason);
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == settings->start) {
            fg_buffer_fini(&framer->pending);
            framer->phase = BODY;
        } else if (framer->phase == BODY && bytes[i] == settings->end) {
            framer->phase = TRAILER;
        } else if (framer->phase == BODY && fg_buffer_append(&framer->pending, &bytes[i], 1) != 0) {
            framer->phase = OUTSIDE;
        }
    }
    framer->discarding = framer->phase == OUTSIDE;
    return result;
}

/* Whether there is more than the line ends that many devices put between frames. */
static bool is_noise(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != '\r' && bytes[i] != '\n') {
            return true;
        }
    }
    return false;
}

static enum fg_framing_result outside(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                      enum fg_reason *reason)
{
    const uint8_t *start = memchr(*input, (int)settings_of(framer)->start, *size);
    size_t count = start ? (size_t)(start - *input) : *size;
    bool noise = !framer->discarding && is_noise(*input, count);
    fg_framer_take(input, size, count);
    if (noise) {
        return fg_framer_reject(framer, FG_REASON_NOISE, true, reason);
    }
    if (start) {
        fg_framer_take(input, size, 1);
        framer->discarding = false;
        framer->phase = BODY;
    }
    return FG_FRAMING_MORE;
}

/* Gives the payload that is pending with its checksum behind it. */
static enum fg_framing_result complete(struct fg_framer *framer, struct fg_frame *frame,
                                       enum fg_reason *reason)
{
    const struct stx_etx_settings *settings = settings_of(framer);
    size_t count = checksum_size(settings);
    size_t length = framer->pending.size - count;
    const uint8_t *payload = framer->pending.bytes;
    if (count > 0 && !checksum_good(settings, payload, length, payload + length)) {
        return reject_checksum(framer, payload + length, count, reason);
    }
    return fg_framer_give_pending(framer, 0, length, frame);
}

/* Takes the payload's length bytes and the end byte behind them. */
static enum fg_framing_result body_end(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                       size_t length, struct fg_frame *frame, enum fg_reason *reason)
{
    const struct stx_etx_settings *settings = settings_of(framer);
    size_t count = checksum_size(settings);
    const uint8_t *payload = *input;
    if (framer->pending.size == 0 && *size - length - 1 >= count) {
        fg_framer_take(input, size, length + 1 + count);
        framer->phase = OUTSIDE;
        if (!checksum_good(settings, payload, length, payload + length + 1)) {
            return reject_checksum(framer, payload + length + 1, count, reason);
        }
        return fg_framer_give(frame, payload, length);
    }
    int error = fg_buffer_append(&framer->pending, payload, length);
    fg_framer_take(input, size, length + 1);
    if (error) {
        return fg_framer_reject(framer, FG_REASON_OVERSIZED, true, reason);
    }
    framer->phase = TRAILER;
    return count == 0 ? complete(framer, frame, reason) : FG_FRAMING_MORE;
}

static enum fg_framing_result body(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                   struct fg_frame *frame, enum fg_reason *reason)
{
    const struct stx_etx_settings *settings = settings_of(framer);
    const uint8_t *end = memchr(*input, (int)settings->end, *size);
    size_t length = end ? (size_t)(end - *input) : *size;
    const uint8_t *start = memchr(*input, (int)settings->start, length);
    length = start ? (size_t)(start - *input) : length;
    if (length > fg_framer_max(framer) - framer->pending.size) {
        fg_framer_take(input, size, length);
        return fg_framer_reject(framer, FG_REASON_OVERSIZED, true, reason);
    }
    if (start) {
        fg_framer_take(input, size, length + 1);
        enum fg_framing_result result = fg_framer_reject(framer, FG_REASON_INCOMPLETE, false, reason);
        framer->phase = BODY;
        return result;
    }
    if (end) {
        return body_end(framer, input, size, length, frame, reason);
    }
    int error = fg_buffer_append(&framer->pending, *input, length);
    fg_framer_take(input, size, length);
    return error ? fg_framer_reject(framer, FG_REASON_OVERSIZED, true, reason) : FG_FRAMING_MORE;
}

static enum fg_framing_result trailer(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                      struct fg_frame *frame, enum fg_reason *reason)
{
    size_t missing = checksum_size(settings_of(framer)) - framer->number;
    size_t count = *size < missing ? *size : missing;
    int error = fg_buffer_append(&framer->pending, *input, count);
    fg_framer_take(input, size, count);
    if (error) {
        return fg_framer_reject(framer, FG_REASON_OVERSIZED, true, reason);
    }
    framer->number += (uint32_t)count;
    return count == missing ? complete(framer, frame, reason) : FG_FRAMING_MORE;
}

static enum fg_framing_result next(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                   struct fg_frame *frame, enum fg_reason *reason)
{
    enum fg_framing_result result = FG_FRAMING_MORE;
    while (result == FG_FRAMING_MORE && *size > 0) {
        switch ((enum phase)framer->phase) {
        case OUTSIDE:
            result = outside(framer, input, size, reason);
            break;
        case BODY:
            result = body(framer, input, size, frame, reason);
            break;
        case TRAILER:
            result = trailer(framer, input, size, frame, reason);
            break;
        }
    }
    return result;
}

static int encode(const struct fg_framing_settings *common, const void *payload, size_t size,
                  struct fg_buffer *out)
{
    const struct stx_etx_settings *settings = (const struct stx_etx_settings *)common;
    if (size > 0 &&
        (memchr(payload, (int)settings->start, size) || memchr(payload, (int)settings->end, size))) {
        return -EINVAL;
    }
    const uint8_t start = (uint8_t)settings->start;
    uint8_t tail[1 + CHECKSUM_MAX] = { (uint8_t)settings->end };
    size_t count = 1 + checksum_of(settings, payload, size, tail + 1);
    int error = fg_buffer_append(out, &start, 1);
    if (!error) {
        error = fg_buffer_append(out, payload, size);
    }
    return error ? error : fg_buffer_append(out, tail, count);
}

const struct fg_framing fg_framing_stx_etx = {
    .variant = { .name = "stx-etx",
                 .help = "A frame stands between a start byte and an end byte, with or without a checksum.",
                 .schema = &schema },
    .next = next,
    .encode = encode,
};
