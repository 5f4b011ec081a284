/*
 * Reload: the configuration file is read again and checked whole, and what it changes is changed in the
 * running gateway. Ports whose settings are the same keep their links. Main thread, but for the reading.
 *
 * IDLE -> READING: asked for. A worker reads the file.
 * READING -> IDLE: it does not stand, and all stays as it was.
 * READING -> CLOSING: ports that are gone or have changed are being closed, with other topics all of them.
 * CLOSING -> IDLE: they are, and those that are new or have changed are open.
 * CLOSING -> CHANGING: the same, and the publisher takes on other settings; where topics change, ports are
 * opened only when it has. CHANGING -> IDLE: it has.
 * What is asked for meanwhile is done afterwards, once. A stop ends it wherever it is.
 */
#ifndef FIELDGATE_GATEWAY_RELOAD_H
#define FIELDGATE_GATEWAY_RELOAD_H

#include "generation.h"
#include "names.h"
#include "reload_plan.h"

#include "fieldgate/strand.h"

struct fg_gateway;

enum fg_reload_state { FG_RELOAD_IDLE, FG_RELOAD_READING, FG_RELOAD_CLOSING, FG_RELOAD_CHANGING };

/* Who wants to know what becomes of a reload; the asker's again when done is called, which happens once. */
struct fg_reload_waiter {
    /* applied: the file stands, and what a reload can change was. outcome is one line, valid until done
     * returns. Main thread. */
    void (*done)(struct fg_reload_waiter *waiter, bool applied, const char *outcome);
    struct fg_reload_waiter *next;
};

#define FG_RELOAD_TEXT 1536

struct fg_reload {
    struct fg_gateway *gateway;
    enum fg_reload_state state;
    bool asked;                      /* for one more */
    struct fg_reload_waiter *askers; /* who asked for that, */
    struct fg_reload_waiter *served; /* and for the one under way */
    struct fg_strand strand;
    struct fg_task read, judge, changed;
    /* The worker's while it reads: */
    struct fg_config *config;
    int error;
    char problem[FG_RELOAD_TEXT / 2]; /* the first */
    /* Of the one under way: */
    struct fg_reload_plan plan;
    struct fg_names names;
    bool renames;                 /* topics change */
    size_t opened, closed, again; /* ports */
    struct fg_publisher_change *change;
};

void fg_reload_init(struct fg_reload *reload, struct fg_gateway *gateway);

/* When no worker runs any more. */
void fg_reload_fini(struct fg_reload *reload);

/* Asks for a reload; waiter may be NULL. Main thread. */
void fg_reload_request(struct fg_reload *reload, struct fg_reload_waiter *waiter);

/* A port that was to be closed is. */
void fg_reload_port_closed(struct fg_reload *reload);

/* The gateway stops: whoever waits is told. */
void fg_reload_stop(struct fg_reload *reload);

#endif
