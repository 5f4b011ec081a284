/*
 * Devices of a port: found by identity, with their availability and their report state.
 *
 * Locks: a port's lock guards its map of devices and is taken before a device's lock. A device's lock guards
 * its state and keeps its readings in the order in which they were judged.
 */
#ifndef FIELDGATE_DEVICE_DEVICE_H
#define FIELDGATE_DEVICE_DEVICE_H

#include "report.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"
#include "fieldgate/map.h"
#include "fieldgate/port.h"
#include "fieldgate/strand.h"
#include "fieldgate/timer.h"
#include "fieldgate/transport.h"

#include <pthread.h>

/* A reading that min_interval held back, copied. With payload "points" only the fields that are to go. */
struct fg_held_reading {
    struct fg_reading reading;
    struct fg_field fields[];
};

struct fg_device {
    const struct fg_device_defaults *settings;
    struct fg_port *port;
    struct fg_source *source;
    pthread_mutex_t lock;
    struct fg_report *report; /* NULL: every reading is published */
    struct fg_held_reading *held;
    void *link;            /* the one that brought the latest reading, NULL: it is down */
    union fg_address peer; /* who sent that, on a link that takes datagrams from anyone */
    atomic_uint commands;  /* that were taken and are not answered */
    size_t number;         /* with a protocol: among the poller's */
    unsigned links;        /* up, where they are the device's own; see fg_device_own_link_up */
    uintptr_t links_sum;   /* all of these, exclusively or-ed: where there is one, that is it */
    bool online;
    bool stopping;
    enum fg_log_level away; /* level at which it went away: it is told at the same when it comes back */
    int64_t seen_ns;        /* when its latest reading came or was offered again */
    int64_t retry_ns;       /* when held may go */
    /* On the port's strand: one timer for staleness and for what is held. */
    struct fg_task wake; /* posted to set the timer */
    bool wake_posted;
    struct fg_timer timer;
    size_t identity_length;
    char identity[];
};

struct fg_port {
    struct fg_loop *loop;
    const struct fg_port_settings *settings;
    const struct fg_sink *sink;
    struct fg_strand strand; /* of the devices' timers */
    struct fg_task end;
    bool by_port, by_peer; /* identity */
    bool own_links;        /* every link belongs to the port's one device */
    const char *identity_key;
    size_t identity_key_length;
    void (*closed)(void *context);
    void *context;
    struct fg_device *only; /* with identity "port", else NULL */
    /* Links with a frame that the sink refused, and when there was none any more: nobody is read meanwhile,
     * so nobody is stale. */
    atomic_uint waiting;
    _Atomic int64_t waited_ns;
    atomic_ullong links;
    atomic_ullong received;
    atomic_ullong rejected[FG_REASON_COUNT];
    struct fg_log_limit *reject_limits; /* by reason */
    pthread_mutex_t lock;
    struct fg_map devices;
    struct fg_poller *poller;     /* NULL: the devices send of themselves */
    struct fg_endpoint *endpoint; /* NULL once it is closing */
};

/* How the links of a port whose devices speak of themselves are read. */
extern const struct fg_link_events fg_stream_events;

/* Counts for the port and, when it is known whose it was, the device; and logs, within limits. */
void fg_port_reject(struct fg_port *port, struct fg_device *device, enum fg_reason reason, uint64_t count);
void fg_port_count_rejected(struct fg_port *port, struct fg_device *device, enum fg_reason reason,
                            uint64_t count);
void fg_port_on_rejected(void *port, enum fg_reason reason, uint64_t count);

/* The device of that identity, made when it is allowed. Returns NULL and *reason otherwise. */
struct fg_device *fg_device_find(struct fg_port *port, const char *identity, size_t length,
                                 enum fg_reason *reason);

/* Makes a listed device. Returns 0, -EEXIST, -ENOMEM. */
int fg_device_add(struct fg_port *port, const struct fg_device_defaults *settings, const char *identity,
                  size_t length);

/* What brings a reading. */
struct fg_way {
    void *link;                     /* the link's state; NULL: the device is asked */
    const union fg_address *sender; /* of a datagram */
    bool can_wait;
};

/* A reading of the device came: the device is online. Returns 0: published, held, suppressed, or lost and
 * counted; or, only when the way can wait, -ENOBUFS: the sink has no room, and nothing was counted. */
int fg_device_take(struct fg_device *device, const struct fg_reading *reading, const struct fg_way *way);

/* A reading of the device is lost before it could be taken. */
void fg_device_lose(struct fg_device *device, enum fg_loss reason, int64_t wall_ms);

/* A link is up that belongs to this device alone: it is online, whether or not it says something. Each such
 * link is told to fg_device_own_link_down when it goes; with the last of them the device is offline. */
void fg_device_own_link_up(struct fg_device *device, void *link);
void fg_device_own_link_down(struct fg_device *device, void *link);

/* A link is down that any device could speak on: the device is offline if that link brought its latest
 * reading. */
void fg_device_link_down(struct fg_device *device, const void *link);

/* Of a device that is asked. It answers: it is online, whether or not a reading comes of it. */
void fg_device_answers(struct fg_device *device);

/* It does not, for a reason that is logged; NULL: its link is down. */
void fg_device_fails(struct fg_device *device, const char *why);

/* The port stops: publishes what is held, stops the timer. On the port's strand. */
void fg_device_stop(struct fg_device *device);

/* When no strand runs any more. */
void fg_device_free(struct fg_device *device);

#endif
