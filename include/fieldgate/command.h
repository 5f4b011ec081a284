/*
 * Commands: what a user asks of a device, and what came of it. The gateway makes a command of a message from
 * the broker and hands it to the device's port (fg_port_command); the port answers each exactly once.
 */
#ifndef FIELDGATE_COMMAND_H
#define FIELDGATE_COMMAND_H

#include "fieldgate/strand.h"
#include "fieldgate/value.h"

#include <stdint.h>

enum fg_command_kind {
    FG_COMMAND_SET,  /* write the fields, in their order */
    FG_COMMAND_GET,  /* read the points that the fields name, without fields all of them */
    FG_COMMAND_SEND, /* send the bytes, as one frame */
};

/* What came of a command, and its name in results. */
#define FG_OUTCOMES(X)                                                                                       \
    X(DONE, "ok")                       /* acknowledged by the device; of SEND without reply: sent */        \
    X(EXCEPTION, "exception")           /* the device refused: the number says why */                        \
    X(TIMEOUT, "timeout")               /* no answer: of a write, nobody knows whether it was executed */    \
    X(LINK_DOWN, "link down")           /* there is no link to the device */                                 \
    X(OFFLINE, "offline")               /* not sent: the device does not answer, others need the line */     \
    X(EXPIRED, "expired")               /* its time was over before its turn came */                         \
    X(BUSY, "busy")                     /* too many wait */                                                  \
    X(NOT_WRITABLE, "not writable")     /* nothing was sent */                                               \
    X(BAD_VALUE, "bad value")           /* not of the point's type or range; nothing was sent */             \
    X(UNKNOWN_POINT, "unknown point")   /* nothing was sent */                                               \
    X(UNKNOWN_DEVICE, "unknown device") /* nothing was sent */                                               \
    X(NOT_SUPPORTED, "not supported")   /* the device takes no such command */                               \
    X(BAD_REQUEST, "bad request")       /* a payload that cannot be understood; nothing was sent */          \
    X(INTERRUPTED, "interrupted")       /* the gateway ended meanwhile: as TIMEOUT */                        \
    X(NO_MEMORY, "no memory")

enum fg_outcome {
#define FG_OUTCOME_ENUM(symbol, name) FG_OUTCOME_##symbol,
    FG_OUTCOMES(FG_OUTCOME_ENUM)
#undef FG_OUTCOME_ENUM
        FG_OUTCOME_COUNT
};

/* Valid until the call to which it is given returns. */
struct fg_command_result {
    enum fg_outcome outcome;
    uint8_t exception;             /* of EXCEPTION */
    const char *point;             /* which one failed, or NULL */
    const char *why;               /* in words, with what would be right; or NULL */
    const struct fg_field *fields; /* of GET: what was read, whatever the outcome */
    size_t count;
    const uint8_t *reply; /* of SEND: the frame that answered, or NULL */
    size_t reply_size;
};

struct fg_command {
    enum fg_command_kind kind;
    const struct fg_field *fields; /* as all below, the maker's, until done is called */
    size_t count;
    const uint8_t *bytes;
    size_t size;
    int64_t expires_ns; /* on fg_clock_now_ns: not sent from then on; 0: never */
    /* Called once, on a worker or by the thread that gave the command; must not block. The command is its
     * maker's again, and may be freed there. */
    void (*done)(struct fg_command *command, const struct fg_command_result *result);
    /* The port's, until done is called: */
    struct fg_task task;
    struct fg_command *next;
    void *work;
};

/* "ok", "timeout", … */
const char *fg_outcome_name(enum fg_outcome outcome);

#endif
