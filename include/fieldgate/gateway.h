/*
 * The gateway: everything put together. Main thread.
 */
#ifndef FIELDGATE_GATEWAY_H
#define FIELDGATE_GATEWAY_H

#include "fieldgate/config.h"
#include "fieldgate/port.h"
#include "fieldgate/publisher.h"
#include "fieldgate/setting.h"

struct fg_gateway_settings {
    char *id; /* "" is the host name */
    int event_model;
    int64_t workers;
    int log_level;
    char *control_socket;
    int64_t queue_bytes;
    int64_t stats_interval_ns;
    int64_t shutdown_timeout_ns;
};

/* A whole configuration file. */
struct fg_settings {
    struct fg_gateway_settings gateway;
    struct fg_mqtt_settings mqtt;
    struct fg_spool_settings *spool; /* NULL: no spool */
    struct fg_settings_list ports;   /* struct fg_port_settings */
};

extern const struct fg_schema fg_settings_schema;

/* Names of the event models that a configuration may ask for, in the order of event_model; NULL at the end.
 */
extern const char *const fg_event_model_names[];

struct fg_gateway_options {
    const char *file;         /* the configuration, to be read again by a reload */
    struct fg_config *config; /* what it says, by fg_settings_schema; the gateway's from the call on */
    int event_model;          /* in place of what the file says, as log_level; -1: as it says */
    int log_level;
    /* Told of each problem of a file that is read again; any thread, one at a time. */
    void (*problem)(void *context, const char *problem);
    void *context;
};

/* Runs until a signal stops it. Logs what goes wrong. Returns the exit status: 0 or 1. */
int fg_gateway_run(const struct fg_gateway_options *options);

#endif
