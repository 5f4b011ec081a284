/*
 * The gateway as a service: what it tells the service manager while it runs (notify.h), with the line for
 * "systemctl status", and the watchdog. Main thread.
 */
#ifndef FIELDGATE_GATEWAY_SERVICE_H
#define FIELDGATE_GATEWAY_SERVICE_H

#include "watchdog.h"

/* What the line tells. */
struct fg_service_view {
    size_t devices;
    struct fg_publisher_stats publisher;
};

/* Embedded; zero before the start. */
struct fg_service {
    /* Fills in the view. On a worker, or on the main thread. */
    void (*look)(void *context, struct fg_service_view *view);
    void *context;
    struct fg_strand strand;
    struct fg_timer timer;
    struct fg_task stop;
    bool runs;
    char line[160]; /* as it was told last; the strand's */
    struct fg_watchdog watchdog;
};

/* Tells that the start is done: the configuration stands and ports are being opened. loop and publisher run
 * until fg_service_stop. */
void fg_service_start(struct fg_service *service, struct fg_loop *loop, struct fg_publisher *publisher,
                      void (*look)(void *context, struct fg_service_view *view), void *context);

/* Tells that the stop begins. Nothing where it was not started. */
void fg_service_stop(struct fg_service *service);

#endif
