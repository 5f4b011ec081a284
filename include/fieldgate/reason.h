/*
 * Why input was rejected. Every rejection is counted under one of these, by port and by device, and its name
 * stands in the statistics. A new one is a line here.
 */
#ifndef FIELDGATE_REASON_H
#define FIELDGATE_REASON_H

#define FG_REASONS(X)                                                                                        \
    X(OVERSIZED, "oversized")   /* frame longer than max_bytes, or more text than a record holds */          \
    X(INCOMPLETE, "incomplete") /* the link went down, or the datagram ended, inside a frame */              \
    X(BAD_LENGTH, "bad-length") /* a length field that cannot be */                                          \
    X(BAD_ESCAPE, "bad-escape") /* SLIP or COBS code that cannot be */                                       \
    X(NOISE, "noise")           /* bytes outside any frame */                                                \
    X(CHECKSUM, "checksum")     /* checksum missing or wrong */                                              \
    X(MALFORMED, "malformed")   /* the decoder could not read it */                                          \
    X(ENCODING, "encoding")     /* text that is not UTF-8 */                                                 \
    X(TOO_DEEP, "too-deep")     /* nested deeper than allowed */                                             \
    X(TOO_MANY_FIELDS, "too-many-fields")     /* more fields than a record holds */                          \
    X(EMPTY, "empty")                         /* no fields, or a datagram without bytes */                   \
    X(TRUNCATED, "truncated")                 /* datagram longer than the buffer */                          \
    X(NO_IDENTITY, "no-identity")             /* the field that names the device is missing */               \
    X(UNKNOWN_DEVICE, "unknown-device")       /* not listed, and allow_unknown is off */                     \
    X(MAX_DEVICES, "max-devices")             /* max_devices is reached */                                   \
    X(NOT_ALLOWED, "not-allowed")             /* peer outside the allowed networks */                        \
    X(MAX_CONNECTIONS, "max-connections")     /* max_connections is reached */                               \
    X(BAD_TIME, "bad-time")                   /* time_key without a readable time; the reading is kept */    \
    X(OVERRUN, "overrun")                     /* the driver said that it lost bytes */                       \
    X(LATE, "late")                           /* the answer to a request given up, or perhaps to it */       \
    X(DUPLICATE, "duplicate")                 /* an answer once more */                                      \
    X(UNSOLICITED, "unsolicited")             /* an answer to which there is no request */                   \
    X(FOREIGN_UNIT, "foreign-unit")           /* an answer of another unit than the one asked */             \
    X(WRONG_FUNCTION, "wrong-function")       /* an answer to another function than the one asked */         \
    X(WRONG_TRANSACTION, "wrong-transaction") /* an answer under a number that was not given */              \
    X(BYTE_COUNT, "byte-count")               /* more or less data than was asked for */                     \
    X(WRITE_MISMATCH, "write-mismatch")       /* a write is confirmed with another address or value */       \
    X(ECHO, "echo")                           /* our own request, come back from the line */

enum fg_reason {
    FG_REASON_NONE = 0,
#define FG_REASON_ENUM(symbol, name) FG_REASON_##symbol,
    FG_REASONS(FG_REASON_ENUM)
#undef FG_REASON_ENUM
        FG_REASON_COUNT
};

/* The reason's name in statistics and logs; "" for NONE. */
const char *fg_reason_name(enum fg_reason reason);

/* Why an accepted reading was lost: told on {base}/loss. */
#define FG_LOSSES(X)                                                                                         \
    X(QUEUE_FULL, "queue-full")       /* the outbox was full and the device could not be made to wait */     \
    X(TOO_LARGE, "too-large")         /* larger than the whole queue, or than the broker takes */            \
    X(REFUSED, "refused")             /* the broker or the client library refused the message for good */    \
    X(SHUTDOWN, "shutdown")           /* still waiting when the daemon had to stop */                        \
    X(NO_MEMORY, "no-memory")         /* no memory for the message */                                        \
    X(SPOOL_FULL, "spool-full")       /* the spool's max_bytes was used up */                                \
    X(EXPIRED, "expired")             /* waited in the spool for longer than its max_age */                  \
    X(SPOOL_DAMAGED, "spool-damaged") /* could not be read back from a damaged spool */

enum fg_loss {
    FG_LOSS_NONE = 0,
#define FG_LOSS_ENUM(symbol, name) FG_LOSS_##symbol,
    FG_LOSSES(FG_LOSS_ENUM)
#undef FG_LOSS_ENUM
        FG_LOSS_COUNT
};

const char *fg_loss_name(enum fg_loss loss);

#endif
