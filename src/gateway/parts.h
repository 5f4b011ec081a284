/*
 * The inside of the gateway, shared between its files: gateway.c starts and stops it, reload.c changes it.
 * Main thread, but where a part says otherwise.
 */
#ifndef FIELDGATE_GATEWAY_PARTS_H
#define FIELDGATE_GATEWAY_PARTS_H

#include "commands.h"
#include "generation.h"
#include "inspection.h"
#include "names.h"
#include "outlet.h"
#include "ports.h"
#include "reload.h"
#include "reporting.h"
#include "service.h"

#include <pthread.h>

/*
 * RUNNING -> CLOSING_PORTS: the first SIGTERM or SIGINT.
 * CLOSING_PORTS -> ANSWERING: all ports are closed.
 * ANSWERING -> DRAINING: all commands are answered.
 * DRAINING -> the loop ends: the publisher is stopped.
 */
enum fg_gateway_state {
    FG_GATEWAY_RUNNING,
    FG_GATEWAY_CLOSING_PORTS,
    FG_GATEWAY_ANSWERING,
    FG_GATEWAY_DRAINING
};

struct fg_gateway {
    const struct fg_gateway_options *options;
    struct fg_generation *started; /* the configuration of the start: of what no reload applies, it holds */
    struct fg_generation *present; /* the one that holds */
    struct fg_generation *broker;  /* the one whose settings the publisher uses */
    struct fg_names names;
    struct fg_loop loop;
    struct fg_publisher *publisher;
    struct fg_commands *commands;
    struct fg_outlets outlets;
    struct fg_ports ports;
    struct fg_reporting reporting;
    struct fg_reload reload;
    struct fg_inspection inspection;
    struct fg_service service;
    enum fg_gateway_state state;
    struct fg_task answered, drained;
    pthread_t drainer;
    bool draining_thread;
    uint64_t lost_by_stop;
};

/* What the publisher is to be like; borrows from both. */
struct fg_publisher_options fg_gateway_publisher_options(struct fg_gateway *gateway,
                                                         const struct fg_settings *settings,
                                                         const struct fg_names *names);

#endif
