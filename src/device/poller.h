/*
 * The links of a port whose devices are asked. One link at a time is polled; on its strand are the protocol's
 * state, the devices' values and the timer. Between links these rest, and the next link takes them on.
 *
 * Commands go in the same way: on the strand of the link that is up, then fg_modbus_poll_command and
 * fg_modbus_poll_hurry on the poller's protocol.
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
    bool silent; /* that it does not answer was told */
};

struct fg_poller {
    struct fg_port *port;
    struct fg_polling polling;
    struct fg_modbus_poll *poll;
    struct fg_polled_device *devices; /* polling.count */
    atomic_bool taken;                /* a link is up */
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

/* ---- values; by the poller's links ---- */

/* What the protocol tells. */
extern const struct fg_modbus_poll_events fg_poller_poll_events;

/* Sets up the devices' points. Returns 0, -ENOMEM; fini in every case. */
int fg_polled_init(struct fg_poller *poller);
void fg_polled_fini(struct fg_poller *poller);

/* Offers the readings that wait once more. */
void fg_polled_offer_waiting(struct fg_poller *poller);

/* Puts the protocol's counters where statistics are read. */
void fg_polled_count(const struct fg_poller *poller);

#endif
