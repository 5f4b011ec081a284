/*
 * Polling: who is asked next on a Modbus line, when, and what comes of it. One line with all of its devices;
 * it owns the line's matcher. Pure: no descriptor, no clock, no thread: the caller has the descriptor, says
 * what time it is (fg_clock_now_ns), and calls from the strand of the line. Time never goes back. Memory is
 * taken once, by fg_modbus_poll_new.
 *
 * The caller: opens the link and calls fg_modbus_poll_up; gives every byte that comes to fg_modbus_poll_feed;
 * and after each of these, after a command, and at *wake_ns, calls fg_modbus_poll_next until it returns 0,
 * and writes what it gives. When the link goes down it calls fg_modbus_poll_down.
 *
 * Whose turn it is: commands first; then what is hurried; then who has been waiting for the line the longest,
 * from when the time had come or from the device's last turn, whichever was later: so that no device takes
 * the line from others because it has much to say. After FG_MODBUS_COMMANDS_IN_A_ROW commands, or
 * one that was not answered, a poll that is due has its turn.
 *
 * A round reads all points of a device that have the same period, with as many requests as it takes. Its next
 * one begins a period after the time at which it should have begun; whole periods that have passed then are
 * counted as missed and not caught up.
 *
 * States of a device:
 *   UNKNOWN -> ONLINE    an answer came
 *   UNKNOWN -> OFFLINE   none came to the first request
 *   ONLINE  -> OFFLINE   none came to a request and its retries, in between which others had their turn
 *   OFFLINE -> ONLINE    an answer came
 *   any     -> UNKNOWN   the link went down
 * Offline it is asked once after 1 s, then after twice as long each time, up to 60 s; and where others are
 * online, all that are not take a sixteenth of the time at most. Exceptions are answers, but for those with
 * which a gateway says that nobody answers behind it (10 and 11).
 */
#ifndef FIELDGATE_MODBUS_POLL_H
#define FIELDGATE_MODBUS_POLL_H

#include "fieldgate/modbus_plan.h"

#define FG_MODBUS_COMMANDS_IN_A_ROW 8
#define FG_MODBUS_COMMANDS_MAX      16 /* waiting, of one device */

/* Points that the device refused twice, in two rounds, are asked for again after this long. */
#define FG_MODBUS_REFUSED_NS (3600 * INT64_C(1000000000))

/* What is assumed to pass until a device begins to answer, in the bus budget. */
#define FG_MODBUS_TURNAROUND_NS INT64_C(20000000)

struct fg_modbus_poll_device {
    uint8_t unit;
    int64_t poll_interval_ns, timeout_ns;
    int retries;
    uint16_t max_gap;
    const struct fg_modbus_point *points; /* borrowed */
    size_t count;
};

struct fg_modbus_poll_settings {
    enum fg_modbus_mode mode;
    const struct fg_modbus_line *line; /* of a serial line, copied; NULL: not a serial line */
    int64_t gap_ns;                    /* RTU: silence that ends a frame; 0: what fits the line */
    size_t pipeline;                   /* TCP: requests outstanding at a time, up to FG_MODBUS_PIPELINE_MAX */
};

enum fg_modbus_outcome {
    FG_MODBUS_DONE,      /* the device acknowledged it */
    FG_MODBUS_EXCEPTION, /* the device refused it: answer->exception says why */
    FG_MODBUS_TIMEOUT,   /* no answer: for a write, nobody knows whether it was executed */
    FG_MODBUS_EXPIRED,   /* its time was over before its turn came */
    FG_MODBUS_NOT_SENT,  /* not sent: the device is offline, and the line is kept for the others */
    FG_MODBUS_LINK_DOWN,
};

/* In words: "ok", "exception", "timeout", "expired", "offline", "link down". */
const char *fg_modbus_outcome_name(enum fg_modbus_outcome outcome);

/* A request out of turn. The caller's, and borrowed until events->commanded is called with it. */
struct fg_modbus_command {
    struct fg_modbus_request request; /* may be changed to what the device knows: 15 for 5, 16 for 6, and for
                                         22 a read and a write */
    size_t device;
    int64_t expires_ns; /* not sent from then on; 0: never */
    /* The poller's: */
    struct fg_modbus_command *next;
    bool knows_echo;
    bool sent; /* it itself, not only what had to be known before */
    uint8_t attempts;
    int64_t since_ns;
};

/* Called from fg_modbus_poll_next, _feed, _command, _down. They must not call the poller. */
struct fg_modbus_poll_events {
    /* These points were read: decode them from answer, which is valid for the call. */
    void (*values)(void *context, size_t device, const uint16_t *points, size_t count,
                   const struct fg_modbus_answer *answer);
    /* These points have no value: the device answered with that exception. */
    void (*failed)(void *context, size_t device, const uint16_t *points, size_t count, uint8_t exception);
    /* From now on these points are not read (exception), or are again (0). */
    void (*refused)(void *context, size_t device, const uint16_t *points, size_t count, uint8_t exception);
    /* A round is over, or what was read out of turn has come: a reading of that group of points. Not called
     * when no values came. */
    void (*reading)(void *context, size_t device, size_t group);
    void (*online)(void *context, size_t device, bool online);
    /* Bytes were dropped. */
    void (*rejected)(void *context, enum fg_reason reason);
    /* answer is NULL but for DONE and EXCEPTION. */
    void (*commanded)(void *context, struct fg_modbus_command *command, enum fg_modbus_outcome outcome,
                      const struct fg_modbus_answer *answer);
};

struct fg_modbus_poll_stats {
    uint64_t requests, answers, exceptions, timeouts;
    uint64_t missed; /* periods */
    bool online;
};

struct fg_modbus_poll;

/* The events are borrowed, the settings are not. Returns 0 and *poll, -EINVAL for settings that cannot be,
 * -ENOMEM. */
int fg_modbus_poll_new(const struct fg_modbus_poll_settings *settings,
                       const struct fg_modbus_poll_device *devices, size_t count,
                       const struct fg_modbus_poll_events *events, void *context,
                       struct fg_modbus_poll **poll);

/* After fg_modbus_poll_down; commands that still wait are forgotten. */
void fg_modbus_poll_free(struct fg_modbus_poll *poll);

/* A new link is there. All that is due is asked for. */
void fg_modbus_poll_up(struct fg_modbus_poll *poll, int64_t now_ns);

/* The link is gone: all devices are offline, all commands are answered. */
void fg_modbus_poll_down(struct fg_modbus_poll *poll, int64_t now_ns);

/* Returns the size of the frame to write now, or 0: nothing before *wake_ns (INT64_MAX: before something
 * comes). Tells of timeouts. */
size_t fg_modbus_poll_next(struct fg_modbus_poll *poll, int64_t now_ns, uint8_t adu[FG_MODBUS_ADU_MAX],
                           int64_t *wake_ns);

/* Bytes came. */
void fg_modbus_poll_feed(struct fg_modbus_poll *poll, const uint8_t *bytes, size_t size, int64_t now_ns);

/* Queues a command. Returns 0; -EBUSY when FG_MODBUS_COMMANDS_MAX of the device wait; -ENOTCONN when the link
 * is down; -EINVAL for a request that cannot be, and on RTU for one to everyone. */
int fg_modbus_poll_command(struct fg_modbus_poll *poll, struct fg_modbus_command *command, int64_t now_ns);

/* Reads the point, and what is read with it, as soon as possible: ahead of polls, and though it was refused.
 * After a command, what is read is what stands there after it. */
void fg_modbus_poll_hurry(struct fg_modbus_poll *poll, size_t device, uint16_t point, int64_t now_ns);

/* Makes the request with which the point is read, without asking for it: as a command it is ahead of polls
 * and has an outcome. Returns how many points its answer tells, and which. */
size_t fg_modbus_poll_reading(struct fg_modbus_poll *poll, size_t device, uint16_t point,
                              struct fg_modbus_request *request, uint16_t *points);

void fg_modbus_poll_get_stats(const struct fg_modbus_poll *poll, size_t device,
                              struct fg_modbus_poll_stats *stats);

/* ---- budget ---- */

/* What polling takes of the line, every device answering. */
struct fg_modbus_budget {
    bool serial; /* else how fast the line is, is a guess */
    size_t devices;
    size_t requests;   /* of one round of everything */
    double percent;    /* of the time */
    int64_t oldest_ns; /* how old a value becomes before it is read again */
    int64_t dead_ns;   /* and how old while a device does not answer */
    size_t heaviest;   /* the device that takes most */
    double heaviest_percent;
};

void fg_modbus_poll_budget(const struct fg_modbus_poll *poll, struct fg_modbus_budget *budget);

/* "3 devices, 41 % of the line, oldest value 1.2 s"; and over 100 % what to do about it. */
void fg_modbus_budget_print(const struct fg_modbus_budget *budget, char *text, size_t size);

#endif
