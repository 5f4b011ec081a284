/*
 * Framings: where a frame begins and ends in a stream of bytes. Pure: no descriptor, no clock, no thread.
 *
 * A framer is fed what was read and pulled for frames, so its caller can stop between two frames. A frame
 * that lies whole in the input is returned where it stands; only a frame that straddles two reads is copied,
 * into a buffer that is bounded by max_bytes and given back as soon as nothing is pending: an idle channel
 * holds no buffer.
 *
 * To add a framing: one file with its table of settings and its functions, one line in the list of
 * framings.h.
 */
#ifndef FIELDGATE_FRAMING_H
#define FIELDGATE_FRAMING_H

#include "fieldgate/buffer.h"
#include "fieldgate/reason.h"
#include "fieldgate/setting.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every framing's settings struct begins with this. */
struct fg_framing_settings {
    int64_t max_bytes; /* longest frame, without its delimiters */
};

enum fg_framing_result {
    FG_FRAMING_MORE,   /* all input is used, no frame yet */
    FG_FRAMING_FRAME,  /* a frame */
    FG_FRAMING_REJECT, /* bytes were discarded, for a reason; pull on */
};

/* Why the input ends. */
enum fg_framing_end {
    FG_FRAMING_LINK_DOWN, /* the link went down: what is pending is incomplete; for "gap" it is a frame */
    FG_FRAMING_SILENCE,   /* gap_ns passed without a byte */
    FG_FRAMING_DATAGRAM,  /* the datagram ends: for "line" and "gap" the rest is a frame, else incomplete */
};

struct fg_framing;

/* State of one stream. Embedded; zero bytes of heap while nothing is pending. */
struct fg_framer {
    const struct fg_framing *framing;
    const struct fg_framing_settings *settings; /* borrowed */
    struct fg_buffer pending;                   /* begin of a frame that is not complete */
    bool release;    /* pending was returned as a frame and goes before the next pull */
    bool discarding; /* inside bytes rejected already, up to the next boundary */
    uint8_t phase;   /* the framing's own; 0 between frames */
    uint32_t number; /* the framing's own */
};

struct fg_frame {
    const uint8_t *bytes; /* valid until the next call on the framer, and while the input stands */
    size_t size;
};

struct fg_framing {
    struct fg_variant variant; /* name, help, table: settings struct begins with fg_framing_settings */
    enum fg_framing_result (*next)(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                   struct fg_frame *frame, enum fg_reason *reason);
    /* NULL: pending bytes are incomplete however the input ends */
    enum fg_framing_result (*end)(struct fg_framer *framer, enum fg_framing_end why, struct fg_frame *frame,
                                  enum fg_reason *reason);
    /* Silence that ends a frame; NULL: none does. */
    int64_t (*gap_ns)(const struct fg_framing_settings *settings);
    /* Appends payload as a frame that next takes apart again; called by fg_framing_encode, which undoes a
     * part. */
    int (*encode)(const struct fg_framing_settings *settings, const void *payload, size_t size,
                  struct fg_buffer *out);
};

/* All of them as variants, NULL at the end: "line" first. Each is the first member of its struct fg_framing.
 */
extern const struct fg_variant *const fg_framings[];

/* settings are borrowed for the framer's life; variant is one of fg_framings. */
void fg_framer_init(struct fg_framer *framer, const struct fg_variant *variant, const void *settings);
void fg_framer_fini(struct fg_framer *framer);

/*
 * Appends payload to out with what the framing puts around it: what is sent to the device. Returns 0;
 * -EMSGSIZE when the payload is longer than max_bytes, than the length field can say, or than out may hold;
 * -EINVAL when this framing cannot carry it: a delimiter or end byte inside, another size than "fixed" has,
 * nothing at all for "slip" and "gap"; -ENOMEM. On failure nothing is appended. A payload that "line" takes
 * apart differently is its caller's wish: "" is the delimiter alone, and with "\n" a "\r" at the end is sent.
 */
int fg_framing_encode(const struct fg_variant *variant, const void *settings, const void *payload,
                      size_t size, struct fg_buffer *out);

/*
 * Takes bytes from *input (moving it on and making *size less) until a frame is complete, something is
 * rejected, or the input is used up. FRAME sets *frame, REJECT sets *reason. Each oversized or malformed
 * frame is rejected once, however many reads it spans, and the order of frames and rejections does not depend
 * on how the stream was cut into reads. A frame for which there is no memory is rejected as OVERSIZED.
 * Consumes at least one byte unless *size is 0.
 */
enum fg_framing_result fg_framer_next(struct fg_framer *framer, const uint8_t **input, size_t *size,
                                      struct fg_frame *frame, enum fg_reason *reason);

/* The input ended. Returns MORE when nothing was pending; FRAME or REJECT for what was. Call once each time
 * it ends; afterwards the framer is as new. The frame is valid until the next call. */
enum fg_framing_result fg_framer_end(struct fg_framer *framer, enum fg_framing_end why,
                                     struct fg_frame *frame, enum fg_reason *reason);

/* Whether an incomplete frame is pending (or being discarded). */
bool fg_framer_pending(const struct fg_framer *framer);

/* Nanoseconds of silence after which the caller says FG_FRAMING_SILENCE; 0 when the framing has none. */
int64_t fg_framer_gap_ns(const struct fg_framer *framer);

#endif
