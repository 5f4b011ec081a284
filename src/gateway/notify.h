/*
 * What the service manager is told, by the protocol of sd_notify(3). All of it is nothing where nobody
 * listens (no $NOTIFY_SOCKET), and where the daemon is built without libsystemd. Any thread; a call is one
 * datagram at most.
 */
#ifndef FIELDGATE_GATEWAY_NOTIFY_H
#define FIELDGATE_GATEWAY_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Whether somebody listens. */
bool fg_notify_wanted(void);

/* The start is done; or a reload is, whatever became of it. */
void fg_notify_ready(void);

/* A reload begins. fg_notify_ready must follow: until then "systemctl reload" waits. */
void fg_notify_reloading(void);

/* The stop begins. */
void fg_notify_stopping(void);

/* One line for "systemctl status". */
void fg_notify_status(const char *line);

/* How often fg_notify_alive has to be called, at the least; 0: nobody looks. */
int64_t fg_notify_watchdog_ns(void);
void fg_notify_alive(void);

#endif
