/*
 * What the control socket shows of the gateway, and how it has it reload. Main thread.
 */
#ifndef FIELDGATE_GATEWAY_INSPECTION_H
#define FIELDGATE_GATEWAY_INSPECTION_H

#include "control.h"
#include "reload.h"

#include <pthread.h>

struct fg_inspection {
    struct fg_gateway *gateway;
    struct fg_control *control; /* NULL: there is none */
    struct fg_reload_waiter waiter;
    struct fg_task closed;
    void (*then)(struct fg_gateway *gateway);
    pthread_mutex_t lock;
    /* Under it, what others than the main thread see: */
    char id[65];
    int64_t queue_bytes;
    bool spools, stopping;
};

/* When ports are being opened. */
void fg_inspection_open(struct fg_inspection *inspection, struct fg_gateway *gateway,
                        const char *event_model);

/* Names, settings or state of the gateway are others now. */
void fg_inspection_update(struct fg_inspection *inspection);

/* Disconnects all; then is called on the main thread. */
void fg_inspection_close(struct fg_inspection *inspection, void (*then)(struct fg_gateway *gateway));

/* After that. */
void fg_inspection_fini(struct fg_inspection *inspection);

#endif
