/*
 * Modbus: requests, and what comes of the bytes that answer them. Pure: no descriptor, no clock, no thread,
 * no heap. Nothing here is thread-safe; a matcher belongs to the strand of its line.
 *
 * MODBUS Application Protocol Specification V1.1b3: data units 4.1, exceptions 7, functions 6.1 (1) 6.2 (2)
 * 6.3 (3) 6.4 (4) 6.5 (5) 6.6 (6) 6.11 (15) 6.12 (16) 6.16 (22) 6.17 (23).
 * MODBUS over Serial Line V1.02: addresses 2.2, RTU frames and silence 2.5.1, CRC 6.2.2.
 * MODBUS Messaging on TCP/IP Implementation Guide V1.0b: MBAP header 3.1.3.
 */
#ifndef FIELDGATE_MODBUS_H
#define FIELDGATE_MODBUS_H

#include "fieldgate/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Serial Line 2.5.1: 256 bytes a frame, of which address and CRC are 3. Messaging 3.1.3: 7 bytes of header.
 */
#define FG_MODBUS_PDU_MAX 253
#define FG_MODBUS_ADU_MAX 260

/* Application Protocol 6: the most that one request may carry. */
#define FG_MODBUS_READ_BITS_MAX       2000
#define FG_MODBUS_READ_REGISTERS_MAX  125
#define FG_MODBUS_WRITE_BITS_MAX      1968
#define FG_MODBUS_WRITE_REGISTERS_MAX 123
#define FG_MODBUS_BOTH_REGISTERS_MAX  121 /* written by function 23 */

enum fg_modbus_mode { FG_MODBUS_RTU, FG_MODBUS_TCP };

enum fg_modbus_function {
    FG_MODBUS_READ_COILS = 1,
    FG_MODBUS_READ_DISCRETE = 2,
    FG_MODBUS_READ_HOLDING = 3,
    FG_MODBUS_READ_INPUT = 4,
    FG_MODBUS_WRITE_COIL = 5,
    FG_MODBUS_WRITE_REGISTER = 6,
    FG_MODBUS_WRITE_COILS = 15,
    FG_MODBUS_WRITE_REGISTERS = 16,
    FG_MODBUS_MASK_WRITE = 22,
    FG_MODBUS_READ_WRITE = 23,
};

/* Application Protocol 7. Devices know others too. */
enum fg_modbus_exception {
    FG_MODBUS_ILLEGAL_FUNCTION = 1,
    FG_MODBUS_ILLEGAL_ADDRESS = 2,
    FG_MODBUS_ILLEGAL_VALUE = 3,
    FG_MODBUS_DEVICE_FAILURE = 4,
    FG_MODBUS_ACKNOWLEDGE = 5,
    FG_MODBUS_DEVICE_BUSY = 6,
    FG_MODBUS_MEMORY_PARITY = 8,
    FG_MODBUS_GATEWAY_PATH = 10,
    FG_MODBUS_GATEWAY_TARGET = 11,
};

/* In words, as "illegal data address"; "exception" for those that the specification does not name. */
const char *fg_modbus_exception_name(uint8_t exception);

/* ---- requests ---- */

/* Coils or registers from a zero-based protocol address on. */
struct fg_modbus_range {
    uint16_t address;
    uint16_t count;
};

struct fg_modbus_request {
    uint8_t unit;
    uint8_t function;             /* enum fg_modbus_function */
    struct fg_modbus_range read;  /* of 1 to 4 and 23 */
    struct fg_modbus_range write; /* of 5, 6, 15, 16, 22 and 23; count is 1 for 5, 6 and 22 */
    uint16_t and_mask, or_mask;   /* of 22 */
    union {
        uint16_t registers[FG_MODBUS_WRITE_REGISTERS_MAX]; /* of 6, 16 and 23 */
        uint8_t coils[(FG_MODBUS_WRITE_BITS_MAX + 7) / 8]; /* of 5 and 15: the first is bit 0 of coils[0] */
    };
};

/* Whether the request keeps the limits of the protocol, its last address included. On a serial line unit 0 is
 * everyone, who can be written to but not read from. */
bool fg_modbus_request_valid(const struct fg_modbus_request *request, enum fg_modbus_mode mode);

/* Whether an answer comes: none does to a broadcast. */
bool fg_modbus_request_answered(const struct fg_modbus_request *request, enum fg_modbus_mode mode);

/* Writes the frame, for TCP under that transaction. Returns its size, 0 when the request is not valid. */
size_t fg_modbus_request_encode(const struct fg_modbus_request *request, enum fg_modbus_mode mode,
                                uint16_t transaction, uint8_t adu[FG_MODBUS_ADU_MAX]);

/* Sizes of the request's frame and of the answer's that is no exception. */
size_t fg_modbus_request_bytes(const struct fg_modbus_request *request, enum fg_modbus_mode mode);
size_t fg_modbus_answer_bytes(const struct fg_modbus_request *request, enum fg_modbus_mode mode);

/* Makes 15 of 5, and 16 of 6, for devices that know only these. Returns false when it is neither. */
bool fg_modbus_request_widen(struct fg_modbus_request *request);

/* Makes one write of both, 15 of 5 and 15, 16 of 6 and 16, when second writes to the same unit and begins
 * where first ends. Returns false, and changes nothing, when that cannot be. */
bool fg_modbus_request_join(struct fg_modbus_request *first, const struct fg_modbus_request *second);

/* Makes 23 of 6 or 16: the device writes, then answers with what it has in that range. Returns false, and
 * changes nothing, when that cannot be. Many devices do not know it. */
bool fg_modbus_request_read_too(struct fg_modbus_request *request, struct fg_modbus_range read);

/* ---- answers ---- */

struct fg_modbus_answer {
    const struct fg_modbus_request *request; /* the one answered, as it was given to fg_modbus_matcher_send */
    uint8_t exception;                       /* 0: none */
    /* What was read, as it came: registers high byte first; the first bit is bit 0 of data[0]. Its size is
     * the one that belongs to request->read. Valid until the next call on the matcher. */
    const uint8_t *data;
    size_t size;
};

/* What stands at an address of request->read. */
uint16_t fg_modbus_answer_register(const struct fg_modbus_answer *answer, uint16_t address);
bool fg_modbus_answer_bit(const struct fg_modbus_answer *answer, uint16_t address);

/*
 * The matcher finds the answer to a request in the bytes that come, and gives every other byte a reason. It
 * has one request outstanding on RTU, up to FG_MODBUS_PIPELINE_MAX on TCP.
 *
 * RTU answers say neither what they answer nor which address they are from. So the matcher remembers requests
 * that were given up, and those sent again whose first sending may be answered still. A unit answers in the
 * order in which it was asked; so an answer is taken only when everything that it can be the answer to is the
 * same request. Else it is dropped as LATE, and what it can no longer be is forgotten. The caller bounds this
 * in time by fg_modbus_matcher_settle, and spares the line what would be dropped by asking
 * fg_modbus_matcher_safe.
 *
 * Nor does an answer that comes twice say so. When the answer to a read is the same as one that was just
 * given to another, it is dropped as DUPLICATE, and the request is doubted: send it again soon, without
 * waiting for its timeout; then what comes is taken. A line on which this proved needless
 * FG_MODBUS_REPEATS_ENOUGH times, and no duplicate was seen, is trusted. The duplicate of an answer to a
 * request that was sent more than once is past knowing, and so is one that comes after as many others as are
 * remembered.
 *
 * A frame begins where the line was silent. Whole frames are taken at once; what is no frame is kept until
 * the caller says that the line is silent, and then searched for one.
 *
 * RS-485 adapters may give our own request back. An echo of functions 5, 6 and 22 is the same bytes as their
 * answer: whether the line has an echo is learned from other requests, and as long as it is not known, what
 * may be an echo is taken as one. So ask a line something by another function first, for example a read.
 */
#define FG_MODBUS_PIPELINE_MAX 16
#define FG_MODBUS_SENT_MAX     32
#define FG_MODBUS_SEEN_MAX     16 /* answers that are remembered */

#define FG_MODBUS_REPEATS_ENOUGH 8

/* A request without its data. */
struct fg_modbus_sent {
    const struct fg_modbus_request *request; /* NULL: given up */
    int64_t sent_ns;                         /* the last time */
    int64_t before_ns;                       /* the time before that, when times > 1 */
    uint64_t content;                        /* a hash of everything in it */
    uint16_t transaction;
    uint16_t times; /* so often sent in a row, and not answered */
    uint8_t unit;
    uint8_t function;
    uint64_t doubt; /* 0, or the hash of an answer that was dropped because it looked like another's */
    bool again;     /* sent again since then */
    struct fg_modbus_range read, write;
    uint16_t values[2]; /* with which 5, 6 and 22 are confirmed */
};

enum fg_modbus_echo { FG_MODBUS_ECHO_UNKNOWN, FG_MODBUS_ECHO_NO, FG_MODBUS_ECHO_YES };

/* Some 3.3 kB. All fields are the matcher's own. */
struct fg_modbus_matcher {
    enum fg_modbus_mode mode;
    enum fg_modbus_echo echo;
    uint16_t transaction; /* the last one given */
    uint16_t answered;    /* the last one answered; 0 is none */
    size_t outstanding;
    size_t sent_count;
    struct fg_modbus_sent sent[FG_MODBUS_SENT_MAX]; /* oldest first */
    uint8_t adu[FG_MODBUS_ADU_MAX];                 /* RTU: the request as sent last, for its echo */
    size_t adu_size;
    bool echo_may_come;
    bool clean;      /* nothing came since the request was sent */
    bool duplicates; /* this line has shown some */
    uint8_t repeats; /* answers that only looked like duplicates */
    struct {
        uint64_t content, frame; /* hashes of a request and of its answer's frame */
    } seen[FG_MODBUS_SEEN_MAX];
    size_t seen_next;
    size_t used; /* of bytes: what the last call returned */
    size_t size;
    uint8_t bytes[2 * FG_MODBUS_ADU_MAX];
};

enum fg_modbus_event {
    FG_MODBUS_MORE,   /* all bytes are used; more are needed, or the line's silence */
    FG_MODBUS_ANSWER, /* the answer, or the exception; its request is not outstanding any more */
    FG_MODBUS_REJECT, /* something was dropped, for a reason; what is outstanding stays so */
};

/* For a new link: nothing is outstanding, nothing can come late, the echo is unknown. */
void fg_modbus_matcher_init(struct fg_modbus_matcher *matcher, enum fg_modbus_mode mode);

/*
 * Makes the request outstanding and writes its frame to adu. The request is borrowed until it is answered or
 * given up; a broadcast is never outstanding. On RTU the line must be silent: what comes later belongs to
 * this request. Returns 0; -EINVAL when the request is not valid; -EBUSY when there is no room beside what is
 * outstanding, or bytes wait for fg_modbus_matcher_silence; -EAGAIN when too much was given up and not
 * settled.
 */
int fg_modbus_matcher_send(struct fg_modbus_matcher *matcher, const struct fg_modbus_request *request,
                           int64_t now_ns, uint8_t adu[FG_MODBUS_ADU_MAX], size_t *size);

/* Takes bytes from *bytes, moving it on and making *size less. Call until it returns MORE, even when *size is
 * 0. ANSWER sets *answer, REJECT sets *reason. */
enum fg_modbus_event fg_modbus_matcher_feed(struct fg_modbus_matcher *matcher, const uint8_t **bytes,
                                            size_t *size, struct fg_modbus_answer *answer,
                                            enum fg_reason *reason);

/*
 * The line has been silent so long that the frame is over: on RTU for t3.5 and what adapters and schedulers
 * add to it, on TCP for the timeout. Call until it returns MORE; then no bytes are held.
 */
enum fg_modbus_event fg_modbus_matcher_silence(struct fg_modbus_matcher *matcher,
                                               struct fg_modbus_answer *answer, enum fg_reason *reason);

/* The request timed out; it is not borrowed any more. One that is not outstanding is ignored. */
void fg_modbus_matcher_give_up(struct fg_modbus_matcher *matcher, const struct fg_modbus_request *request);

/* No answer of the unit comes any more to what was sent before that time and given up: some timeouts ago. */
void fg_modbus_matcher_settle(struct fg_modbus_matcher *matcher, uint8_t unit, int64_t before_ns);

/* Whether an answer to the request, were it sent now, could be told from those that may come late. */
bool fg_modbus_matcher_safe(const struct fg_modbus_matcher *matcher, const struct fg_modbus_request *request);

/* When what could be mistaken for an answer to the request was sent last, INT64_MIN when it is safe: it
 * becomes so when that is settled. */
int64_t fg_modbus_matcher_doubt_ns(const struct fg_modbus_matcher *matcher,
                                   const struct fg_modbus_request *request);

/* Whether the outstanding request is to be sent again soon, because its answer may have been another's
 * duplicate. */
bool fg_modbus_matcher_doubts(struct fg_modbus_matcher *matcher);

/* Whether bytes are held that may be the begin of a frame. */
static inline bool fg_modbus_matcher_holds(const struct fg_modbus_matcher *matcher)
{
    return matcher->size > matcher->used;
}

/* ---- time on a serial line ---- */

struct fg_modbus_line {
    int64_t baud;
    int bits;       /* of a character, start and stop included */
    int64_t t15_ns; /* silence inside a frame is shorter */
    int64_t t35_ns; /* silence between frames is longer */
};

/* format is as "8N1". Returns 0, or -EINVAL. Serial Line 2.5.1.1: above 19200 baud 750 us and 1.75 ms. */
int fg_modbus_line_init(struct fg_modbus_line *line, int64_t baud, const char *format);

/* How long these bytes take, rounded up. */
int64_t fg_modbus_line_bytes_ns(const struct fg_modbus_line *line, size_t bytes);

/* How long the request takes the line: its frame, the device's turnaround, the answer, and silence after
 * each. */
int64_t fg_modbus_line_exchange_ns(const struct fg_modbus_line *line, const struct fg_modbus_request *request,
                                   int64_t turnaround_ns);

#endif
