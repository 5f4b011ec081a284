/*
 * The control socket: how fieldgatectl looks into the daemon. Its protocol is described in docs/control.md.
 *
 * Clients are served by the workers, each on its own strand; nothing waits for a client. Who may connect is
 * for the socket's permissions to say: 0660, owner and group of the process.
 */
#ifndef FIELDGATE_GATEWAY_CONTROL_H
#define FIELDGATE_GATEWAY_CONTROL_H

#include "outlet.h"

#include "fieldgate/loop.h"
#include "fieldgate/port.h"
#include "fieldgate/publisher.h"

struct fg_control;

/* What there is to look at. */
struct fg_control_view {
    char gateway[65]; /* its id */
    struct fg_publisher *publisher;
    const struct fg_commands *commands;
    struct fg_port *const *ports;
    size_t port_count;
    int64_t queue_bytes;
    bool spools;
    bool stopping;
};

#define FG_CONTROL_OUTCOME 2048

struct fg_control_hooks {
    void *context;
    /* Fills in the view, which stands until seen is called; both on a worker, soon after each other. */
    void (*look)(void *context, struct fg_control_view *view);
    void (*seen)(void *context);
    /*
     * Reads the configuration again; main thread. Returns 0 when that is done; -EINPROGRESS:
     * fg_control_reloaded will be called; or another negative errno: the old configuration goes on. outcome
     * says in words what was done, or what is wrong. NULL: this is not possible.
     */
    int (*reload)(void *context, char *outcome, size_t size);
};

struct fg_control_options {
    struct fg_loop *loop;
    const char *path;        /* of the socket; "" is none */
    struct fg_tap *tap;      /* nobody else's, and not yet in use */
    const char *event_model; /* lives as long as the control */
    size_t workers;
    int64_t started_ns;
    struct fg_control_hooks hooks;
};

/* Makes the socket and serves it; while there cannot be one, which is logged, it is tried again. NULL where
 * there is to be none, or no memory. Main thread. */
struct fg_control *fg_control_open(const struct fg_control_options *options);

/* A reload that was in progress is done; or it is not, for what outcome says. Main thread. */
void fg_control_reloaded(struct fg_control *control, bool applied, const char *outcome);

/* Removes the socket and disconnects all; closed(context) is called on a worker when that is done. Main
 * thread, once. */
void fg_control_close(struct fg_control *control, void (*closed)(void *context), void *context);

/* After that. Takes NULL. */
void fg_control_free(struct fg_control *control);

#endif
