/*
 * The inside of the control socket, shared between its files: control.c (the socket, who is connected),
 * control_client.c (one client: its lines in and out), control_answer.c (what the answers say),
 * control_watch.c (readings for those who watch).
 */
#ifndef FIELDGATE_GATEWAY_CONTROL_PARTS_H
#define FIELDGATE_GATEWAY_CONTROL_PARTS_H

#include "control.h"
#include "control_request.h"

#include "fieldgate/buffer.h"
#include "fieldgate/log.h"
#include "fieldgate/unix_file.h"

#include <pthread.h>

#define FG_CONTROL_CLIENTS 8

/* The longest answer: some 100 000 devices. */
#define FG_CONTROL_ANSWER_BYTES ((size_t)32 << 20)

/* Readings that wait for one who watches; as many again are on their way to the socket. */
#define FG_CONTROL_WATCH_BYTES ((size_t)2 << 20)

/* Lock order: a device's lock, then the control's lock. */
struct fg_control_client {
    struct fg_control *control;
    struct fg_channel *channel;

    /* The strand's: */
    struct fg_op in, out;
    bool receiving, sending; /* in flight */
    bool ended;              /* nothing more comes from the client */
    bool last;               /* once all is sent, it is disconnected */
    bool closed;
    bool reloads; /* nothing else is answered until the reload is */
    struct fg_timer timer;
    int64_t moved_ns; /* when something came or went last */
    struct fg_buffer input;
    struct fg_buffer output; /* being sent, */
    size_t sent;             /* so much of it is */

    /* Under the control's lock: */
    struct fg_control_client *next, *previous; /* in its list; not once it closes */
    struct fg_task wake;
    bool woken;               /* wake is posted */
    struct fg_buffer waiting; /* goes behind output */
    bool awaits_reload;
    bool watches;
    bool dropping;    /* until what waits is taken */
    uint64_t dropped; /* readings, not yet told */
    char device[FG_NAME_MAX + 1];
};

struct fg_control {
    struct fg_control_options options;
    char path[FG_UNIX_PATH_MAX + 1];

    /* The control's own strand, of which are: */
    struct fg_strand strand;
    struct fg_task close;
    struct fg_timer retry;
    int64_t delay_ns; /* of the retry */
    char told[128];   /* what the log says is wrong; "": nothing was */
    struct fg_unix_file file;
    struct fg_channel *listener; /* NULL: the socket could not be made so far */

    /* The listener's strand, of which are: */
    struct fg_op accept;
    struct fg_timer pause;
    struct fg_task close_listener;

    struct fg_task reload; /* for the main thread */
    struct fg_log_limit accept_limit;
    void (*closed)(void *context);
    void *context;

    pthread_mutex_t lock;
    /* Under it: */
    struct fg_control_client *first;
    size_t clients;
    size_t open; /* strand, listener and clients that are not gone */
    bool closing;
    bool reloading;
};

/* control_client.c */

/* Serves a connection from now on, which is the client's then. Returns 0, -ENOBUFS when there are too many,
 * -ECANCELED, -ENOMEM, or the errno of the poller. */
int fg_control_client_new(struct fg_control *control, int fd);

/* Has the client look at what waits for it. Under the control's lock. */
void fg_control_client_wake(struct fg_control_client *client);

/* control.c */

/* Has the configuration read again; who awaits it is told. Under the control's lock. */
void fg_control_begin_reload(struct fg_control *control);

/* The listener or a client is gone. */
void fg_control_part_gone(struct fg_control *control, bool client);

/* control_answer.c: each appends one line. Return as fg_buffer_append. */

int fg_control_answer_error(struct fg_buffer *out, const char *why);
int fg_control_answer_status(struct fg_buffer *out, struct fg_control *control);
int fg_control_answer_devices(struct fg_buffer *out, struct fg_control *control);
int fg_control_answer_stats(struct fg_buffer *out, struct fg_control *control);
int fg_control_answer_reload(struct fg_buffer *out, bool applied, const char *outcome);
int fg_control_answer_level(struct fg_buffer *out);
int fg_control_answer_watch(struct fg_buffer *out, struct fg_control *control, const char *device);

/* control_watch.c */

/* For the tap. */
void fg_control_show(void *context, const struct fg_origin *origin, const struct fg_reading *reading);

/* Tells of readings that were dropped, where there is room now. Under the control's lock. */
void fg_control_tell_dropped(struct fg_control_client *client);

#endif
