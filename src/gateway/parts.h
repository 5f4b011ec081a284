/*
 * The inside of the gateway, shared between its files: gateway.c starts and stops it. Main thread, but where
 * a part says otherwise.
 */
#ifndef FIELDGATE_GATEWAY_PARTS_H
#define FIELDGATE_GATEWAY_PARTS_H

#include "generation.h"
#include "outlet.h"
#include "ports.h"
#include "reporting.h"

#include <pthread.h>

/*
 * RUNNING -> CLOSING_PORTS: the first SIGTERM or SIGINT.
 * CLOSING_PORTS -> DRAINING: all ports are closed.
 * DRAINING -> the loop ends: the publisher is stopped.
 */
enum fg_gateway_state { FG_GATEWAY_RUNNING, FG_GATEWAY_CLOSING_PORTS, FG_GATEWAY_DRAINING };

struct fg_gateway {
    const struct fg_gateway_options *options;
    struct fg_generation *present; /* the configuration that holds */
    struct fg_loop loop;
    struct fg_publisher *publisher;
    struct fg_outlets outlets;
    struct fg_ports ports;
    struct fg_reporting reporting;
    enum fg_gateway_state state;
    char id[65];
    char base[1100]; /* the base topic, expanded */
    struct fg_task drained;
    pthread_t drainer;
    bool draining_thread;
    uint64_t lost_by_stop;
};

#endif
