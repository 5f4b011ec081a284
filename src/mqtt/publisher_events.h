/*
 * What libmosquitto tells of a session, through its callbacks: they run under its locks, and only record.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_EVENTS_H
#define FIELDGATE_MQTT_PUBLISHER_EVENTS_H

#include <stdbool.h>

struct fg_session;
struct mosquitto;

/* To a handle whose user data is the session. */
void fg_events_attach(struct mosquitto *library);

/* The library's own words, of which the first error is kept. It makes the text of a debug line for each
 * message, so this is for the time of a connect. */
void fg_events_log(struct mosquitto *library, bool on);

/* Records that a message was acknowledged. */
void fg_events_acknowledged(struct fg_session *session, int mid, int reason);

#endif
