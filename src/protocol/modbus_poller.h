/*
 * What the files of the poller share. Private to this folder.
 */
#ifndef FIELDGATE_PROTOCOL_MODBUS_POLLER_H
#define FIELDGATE_PROTOCOL_MODBUS_POLLER_H

#include "fieldgate/clock.h"
#include "fieldgate/modbus_poll.h"

/* Devices that are offline take this part of the time at most, where others are online. */
#define FG_MODBUS_CREDIT_SHARE 16

enum fg_modbus_state { FG_MODBUS_UNKNOWN, FG_MODBUS_ONLINE, FG_MODBUS_OFFLINE };

/* What a command asks for by one request. */
enum fg_modbus_stage {
    FG_MODBUS_STAGE_ITSELF,
    FG_MODBUS_STAGE_ECHO,     /* a read, to learn whether the line gives an echo */
    FG_MODBUS_STAGE_REGISTER, /* what function 22 would change, where the device does not know it */
};

/* A request that is outstanding. */
struct fg_modbus_exchange {
    bool used;
    bool doubted; /* what came may be the duplicate of another's answer */
    struct fg_modbus_target *target;
    struct fg_modbus_block *block;     /* what is read; NULL for a command */
    struct fg_modbus_command *command; /* NULL for a poll */
    enum fg_modbus_stage stage;
    struct fg_modbus_request request; /* the matcher's, while outstanding */
    int64_t sent_ns;
    int64_t deadline_ns;
    int64_t limit_ns; /* not waited longer, though bytes may come */
};

/* A device. */
struct fg_modbus_target {
    size_t index;
    uint8_t unit;
    int retries;
    int64_t timeout_ns;
    struct fg_modbus_plan plan;
    enum fg_modbus_state state;
    int64_t offline_ns; /* since when it is */
    int64_t backoff_ns;
    int64_t probe_ns;    /* offline: not asked before */
    int64_t served_ns;   /* when its last request was over */
    int64_t response_ns; /* how long it takes to answer */
    size_t doubts;       /* requests in a row that were sent again for doubt */
    size_t asked;        /* its requests that are outstanding */
    struct fg_modbus_command *first, **last;
    size_t queued;
    bool commanded;                              /* the first is asked */
    bool lacks_coil, lacks_register, lacks_mask; /* functions that it does not know */
    struct fg_modbus_poll_stats stats;
};

struct fg_modbus_poll {
    enum fg_modbus_mode mode;
    bool serial;
    struct fg_modbus_line line;
    int64_t gap_ns;
    size_t pipeline;
    const struct fg_modbus_poll_events *events;
    void *context;
    struct fg_modbus_target *targets;
    size_t count;
    bool up;
    bool started;  /* was up before */
    size_t online; /* devices that are */
    size_t in_flight;
    size_t in_a_row;   /* commands */
    int64_t free_ns;   /* the line may be sent to from then on */
    int64_t silent_ns; /* what is held is no frame from then on */
    int64_t credit_ns; /* time that may be spent on devices that are offline */
    int64_t credited_ns;
    struct fg_modbus_matcher matcher;
    struct fg_modbus_exchange exchanges[FG_MODBUS_PIPELINE_MAX];
};

static inline void fg_modbus_sooner(int64_t *wake_ns, int64_t at_ns)
{
    *wake_ns = at_ns < *wake_ns ? at_ns : *wake_ns;
}

/* How long after a request that was given up its answer may come. */
int64_t fg_modbus_settle_ns(const struct fg_modbus_target *target);

/* When the request can be sent so that its answer is its own; at most now when it can. */
int64_t fg_modbus_safe_ns(const struct fg_modbus_poll *poll, const struct fg_modbus_target *target,
                          const struct fg_modbus_request *request);

/* ---- devices ---- */

/* Starts the rounds whose time has come. Tells in *wake_ns when the next one does. */
void fg_modbus_rounds_begin(struct fg_modbus_poll *poll, int64_t now_ns, int64_t *wake_ns);

/* Whose turn it is: the block to read and its device, or NULL, and when to look again. */
struct fg_modbus_block *fg_modbus_pick_block(struct fg_modbus_poll *poll, int64_t now_ns, int64_t *wake_ns,
                                             struct fg_modbus_target **target);

/* Whether an offline device may be asked, with regard to the others; if not, when. */
bool fg_modbus_affords(const struct fg_modbus_poll *poll, int64_t now_ns, int64_t *wake_ns);

void fg_modbus_block_asked(struct fg_modbus_target *target, struct fg_modbus_block *block, int64_t now_ns);
void fg_modbus_target_alive(struct fg_modbus_poll *poll, struct fg_modbus_target *target);
void fg_modbus_block_answered(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange,
                              const struct fg_modbus_answer *answer, int64_t now_ns);
void fg_modbus_block_unanswered(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange,
                                int64_t now_ns);
/* Nothing of it is under way any more; rounds begin anew. */
void fg_modbus_target_rest(struct fg_modbus_poll *poll, struct fg_modbus_target *target);

/* ---- commands ---- */

/* Whose command it is, or NULL, and when to look again; answers those that have expired or cannot be. */
struct fg_modbus_command *fg_modbus_pick_command(struct fg_modbus_poll *poll, int64_t now_ns,
                                                 int64_t *wake_ns);

/* The request that comes next of a command. */
enum fg_modbus_stage fg_modbus_command_request(const struct fg_modbus_poll *poll,
                                               struct fg_modbus_command *command,
                                               struct fg_modbus_request *request);
void fg_modbus_command_answered(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange,
                                const struct fg_modbus_answer *answer);
void fg_modbus_command_unanswered(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange,
                                  int64_t now_ns);
/* The device's first command is over. */
void fg_modbus_command_finish(struct fg_modbus_poll *poll, struct fg_modbus_target *target,
                              enum fg_modbus_outcome outcome, const struct fg_modbus_answer *answer);

#endif
