/*
 * Handles of libmosquitto: made from the settings, and changed where a broker refuses what they ask for.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_HANDLE_H
#define FIELDGATE_MQTT_PUBLISHER_HANDLE_H

#include <stdbool.h>

struct fg_session;
struct fg_tls;
struct mosquitto;

/* Makes a handle of the session's identity, protocol, will, user and TLS (*tls: untouched without it). Reads
 * their files. Returns 0 or a negative errno, the reason being logged. */
int fg_handle_new(struct fg_session *session, struct mosquitto **library, struct fg_tls **tls);

/* After a refusal: whether the next connect can do without what was refused. Returns what that is, for the
 * log, or NULL. */
const char *fg_handle_give_way(struct fg_session *session);

/* Whether the broker said that it wants no such client, or floods it: it would do so again at once. */
bool fg_handle_is_unwanted(const struct fg_session *session);

#endif
