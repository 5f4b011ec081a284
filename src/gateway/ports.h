/*
 * The ports of the gateway. The main thread opens and closes them; others look at them under the lock.
 */
#ifndef FIELDGATE_GATEWAY_PORTS_H
#define FIELDGATE_GATEWAY_PORTS_H

#include "generation.h"

#include <pthread.h>

/* A port, and what it was opened with. The main thread's. */
struct fg_opened;

struct fg_ports {
    struct fg_loop *loop;
    const struct fg_sink *sink;
    /* Called on the main thread when a port that was to be closed is. */
    void (*closed)(void *context);
    void *context;
    pthread_rwlock_t lock;
    struct fg_port **ports; /* lock, as count; by the main thread alone they are changed */
    size_t count;
    struct fg_opened **opened; /* as ports */
    size_t capacity;
    size_t closing; /* of these */
    bool keeps;     /* what is closed is kept: its counters are told once more */
};

void fg_ports_init(struct fg_ports *ports, struct fg_loop *loop, const struct fg_sink *sink,
                   void (*closed)(void *context), void *context);

/* When no worker runs any more. Frees the ports. */
void fg_ports_fini(struct fg_ports *ports);

/* Opens a port of the generation, which is referred to until the port is freed. Returns 0, -ENOMEM. */
int fg_ports_open(struct fg_ports *ports, const struct fg_port_settings *settings,
                  struct fg_generation *generation);

/* What a port was opened with. */
const struct fg_port_settings *fg_ports_settings(const struct fg_ports *ports, size_t index);

/* Begins to close one; it is freed once it is closed. Nothing happens to one that is being closed. */
void fg_ports_close(struct fg_ports *ports, size_t index);

/* Begins to close all, and keeps them until fini. */
void fg_ports_close_all(struct fg_ports *ports);

/* The sink has room again: ports that wait go on. Any thread. */
void fg_ports_resume(struct fg_ports *ports);

#endif
