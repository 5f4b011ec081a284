/*
 * Ports and devices: what comes on links becomes frames, readings of devices, and goes to the sink. A port
 * owns its endpoint, its devices and their counters.
 */
#ifndef FIELDGATE_PORT_H
#define FIELDGATE_PORT_H

#include "fieldgate/command.h"
#include "fieldgate/loop.h"
#include "fieldgate/modbus_point.h"
#include "fieldgate/origin.h"
#include "fieldgate/setting.h"
#include "fieldgate/value.h"

#include <stdbool.h>
#include <stdint.h>

/* report: when a point is worth a message. */
struct fg_report_settings {
    bool on_change;
    double deadband;
    double deadband_percent;
    int64_t min_interval_ns;
    int64_t max_interval_ns;
};

struct fg_point_settings {
    char *name;
    struct fg_report_settings report;
    struct fg_modbus_point_settings modbus; /* with a protocol */
};

/* What may stand on a device, or on a port for all of its devices. */
struct fg_device_defaults {
    int64_t qos; /* these two first, as in struct fg_mqtt_settings: they are inherited from there */
    bool retain;
    char *topic;
    int payload; /* enum fg_payload_choice */
    int64_t stale_after_ns;
    char *time_key;
    bool writable, reply; /* without a protocol */
    struct fg_report_settings report;
    struct fg_settings_list points;          /* struct fg_point_settings */
    struct fg_modbus_device_settings modbus; /* with a protocol */
};

enum fg_payload_choice {
    FG_PAYLOAD_CHOICE_AUTO,
    FG_PAYLOAD_CHOICE_JSON,
    FG_PAYLOAD_CHOICE_RAW,
    FG_PAYLOAD_CHOICE_POINTS
};

struct fg_device_settings {
    char *name;
    struct fg_device_defaults defaults;
};

struct fg_port_settings {
    char *name;
    struct fg_chosen transport;
    struct fg_chosen framing;  /* no variant: each datagram is a frame */
    struct fg_chosen decoder;  /* no variant: raw */
    struct fg_chosen protocol; /* no variant: the devices send of themselves */
    char *identity;
    bool allow_unknown;
    int64_t max_devices;
    struct fg_device_defaults defaults;
    struct fg_settings_list devices; /* struct fg_device_settings */
};

/* The table of one port. */
extern const struct fg_schema fg_port_schema;

#define FG_PORT_BUDGET_TEXT 256

/* What polling takes of a port's line, every device answering. */
struct fg_port_budget {
    double percent;
    bool measured;                  /* how fast the line is, is known: it is a serial one */
    char text[FG_PORT_BUDGET_TEXT]; /* "3 devices, 41 % of the line, oldest value 1.2 s" */
};

/* Of a port with a protocol, whose settings have no problem. Returns 0, -EINVAL, -ENOMEM. */
int fg_port_get_budget(const struct fg_port_settings *port, struct fg_port_budget *budget);

/*
 * Where readings go. Calls about one device are made one at a time, from any worker.
 */
struct fg_sink {
    /* A device is known from now on: returns what stands for it in the other calls, or NULL without memory.
     * identity is as the device gave it: any UTF-8. */
    struct fg_source *(*source_new)(void *context, const struct fg_port_settings *port,
                                    const struct fg_device_defaults *device, const char *identity);
    void (*source_free)(struct fg_source *source);
    /* Takes a reading. Returns 0; or -ENOBUFS: no room, the caller has it still and is resumed when there is;
     * any other fault the sink has counted as lost itself. */
    int (*offer)(struct fg_source *source, const struct fg_reading *reading);
    void (*lose)(struct fg_source *source, enum fg_loss reason, int64_t wall_ms);
    void (*available)(struct fg_source *source, bool online);
    /* Where a reading counts as accepted only when the sink has saved it: a mark behind all that was offered
     * so far, and whether all before a mark is saved. Streams are read on when it is; fg_port_resume is
     * called some time after an answer that was no. Both NULL: there is nothing to wait for. */
    uint64_t (*mark)(void *context);
    bool (*saved)(void *context, uint64_t mark);
    void *context;
};

/* The sink's state of a device begins with this. */
struct fg_source {
    struct fg_origin *origin;
};

struct fg_port;

/* Makes a port and opens its endpoint. All arguments live as long as the port. Returns 0 and *port, -ENOMEM.
 */
int fg_port_open(struct fg_loop *loop, const struct fg_port_settings *settings, const struct fg_sink *sink,
                 struct fg_port **port);

/* The sink has room again: links that wait go on. Any thread, until fg_port_close. */
void fg_port_resume(struct fg_port *port);

/* What commands a device takes. */
enum fg_takes {
    FG_TAKES_NOTHING, /* there is no way back: nobody to send to, or framing that cannot be made */
    FG_TAKES_POINTS,  /* FG_COMMAND_SET and _GET */
    FG_TAKES_BYTES,   /* FG_COMMAND_SEND */
};
enum fg_takes fg_port_takes(const struct fg_port_settings *port, const struct fg_device_defaults *device);

/*
 * Hands a command to the device of that identity. It is answered by command->done, once: at the latest when
 * the port closes (link down), and perhaps before this returns. Any thread, until fg_port_close; never
 * blocks.
 */
void fg_port_command(struct fg_port *port, const char *identity, size_t length, struct fg_command *command);

/* Closes endpoint and links; readings that are held are offered a last time, else lost. closed(context) is
 * called on a worker when all is down. Any thread, once. */
void fg_port_close(struct fg_port *port, void (*closed)(void *context), void *context);

/* After closed was called. Frees the devices too. */
void fg_port_free(struct fg_port *port);

struct fg_port_stats {
    uint64_t links; /* open now */
    uint64_t received;
    uint64_t rejected[FG_REASON_COUNT];
};

const char *fg_port_name(const struct fg_port *port);
void fg_port_get_stats(struct fg_port *port, struct fg_port_stats *stats);

/* Calls visit for each device known, in no order, with the port's lock held: visit must not call the port. */
void fg_port_each_device(struct fg_port *port, void (*visit)(struct fg_origin *origin, void *context),
                         void *context);

#endif
