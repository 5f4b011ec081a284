/*
 * Whether somebody listens at an address: a TCP connection that is closed at once. On a thread of its own,
 * since a look-up of a name can last for minutes and cannot be cancelled. No call blocks. One thread per
 * probe.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_PROBE_H
#define FIELDGATE_MQTT_PUBLISHER_PROBE_H

struct fg_probe;

enum fg_probe_state { FG_PROBE_RUNNING, FG_PROBE_ANSWERED, FG_PROBE_FAILED };

/* Returns 0 or a negative errno. host is copied. */
int fg_probe_start(const char *host, int port, struct fg_probe **probe);

enum fg_probe_state fg_probe_look(const struct fg_probe *probe);

/* Also while it runs: it is left behind then, and touches nothing of the caller's. */
void fg_probe_free(struct fg_probe *probe);

#endif
