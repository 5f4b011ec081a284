/*
 * The links of a port whose devices are asked. One link at a time is polled; on its strand are the protocol's
 * state, the devices' values and the timer. Between links these rest, and the next link takes them on.
 *
 * Commands go in the same way: they are posted to the strand of the link that is up, and wait there with
 * their device until it is their turn to be given to the protocol.
 */
#ifndef FIELDGATE_DEVICE_POLLER_H
#define FIELDGATE_DEVICE_POLLER_H

#include "device.h"
#include "polling.h"

extern const struct fg_link_events fg_poller_events;

/* Values of a point since the last reading that had it. */
struct fg_polled_point {
    struct fg_value value;
    char *text; /* room for a string's value, NULL: it is none */
    uint16_t group;
    bool came;
    bool written; /* by a command: to be read */
};

/* The points of a device that are read at the same times. */
struct fg_polled_group {
    int64_t taken_ns; /* when the latest of its values came */
    bool waits;       /* a reading is complete, and the sink has no room for it */
};

struct fg_polled_device {
    struct fg_device *device;
    const struct fg_point_settings *settings; /* of its points */
    const struct fg_modbus_point *modbus;
    size_t count, group_count;
    struct fg_polled_point *points;
    struct fg_polled_group *groups; /* as the protocol numbers them: by period, the shortest first */
    struct fg_log_limit refusal_limit;
    struct fg_command *first, **last; /* commands: the first is under way */
    size_t written;                   /* points that are */
    bool to_run;                      /* there is something to do for fg_polled_run_commands */
    bool silent;                      /* that it does not answer was told */
};

struct poller_link;

struct fg_poller {
    struct fg_port *port;
    struct fg_polling polling;
    struct fg_modbus_poll *poll;
    struct fg_polled_device *devices; /* polling.count */
    atomic_bool taken;                /* a link is up */
    struct poller_link *link;         /* commands are posted to it; under the port's lock; NULL: none */
    size_t to_run;                    /* devices that are */
    bool serial;
    size_t waiting;      /* groups that wait: nothing is asked meanwhile */
    bool can_wait;       /* the link lives on, so a reading may wait for room */
    int64_t now_ns;      /* of the call under way */
    int64_t heard_ns;    /* when something came last, or the link came up */
    unsigned unheard;    /* requests since then */
    int64_t patience_ns; /* how long a link that brings nothing is kept */
    struct fg_log_limit exception_limit, link_limit;
};

/* For a port whose devices are added. Returns 0 and *poller, -ENOMEM. */
int fg_poller_new(struct fg_port *port, struct fg_poller **poller);
void fg_poller_free(struct fg_poller *poller);

/* ---- commands ---- */

struct fg_refusal;

/* Under the port's lock: posts the command to the link, or says why not. Returns whether it is taken. */
bool fg_poller_command(struct fg_poller *poller, struct fg_device *device, struct fg_command *command,
                       struct fg_refusal *refusal);

/* Posts a command to the link; there it is queued with its device. Under the port's lock. */
void fg_poller_link_post(struct poller_link *link, struct fg_task *task);
struct poller_link *fg_polled_job_link(const struct fg_command *command);

/* On the link's strand. Queues a command that was posted, or answers it when the link is not up any more. */
void fg_polled_queue(struct fg_command *command, bool up);

/* Does what is to be done about commands. Returns whether anything was. */
bool fg_polled_run_commands(struct fg_poller *poller);

/* What the protocol says came of the request of a command. */
void fg_polled_commanded(struct fg_poller *poller, struct fg_modbus_command *request,
                         enum fg_modbus_outcome outcome, const struct fg_modbus_answer *answer);

/* The link is down: answers all commands that the protocol does not have. */
void fg_polled_drop_commands(struct fg_poller *poller);

/* ---- values; by the poller's links ---- */

/* What the protocol tells. */
extern const struct fg_modbus_poll_events fg_poller_poll_events;

/* Sets up the devices' points. Returns 0, -ENOMEM; fini in every case. */
int fg_polled_init(struct fg_poller *poller);
void fg_polled_fini(struct fg_poller *poller);

/* Takes what an answer says of points, for a reading of its own. */
void fg_polled_take_values(struct fg_poller *poller, size_t device, const uint16_t *points, size_t count,
                           const struct fg_modbus_answer *answer);

/* Offers the readings that wait once more. */
void fg_polled_offer_waiting(struct fg_poller *poller);

/* Puts the protocol's counters where statistics are read. */
void fg_polled_count(const struct fg_poller *poller);

#endif
