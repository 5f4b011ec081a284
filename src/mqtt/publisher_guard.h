/*
 * Reading with libmosquitto without being ended by a broker: versions up to 2.0.11 at least stop the whole
 * process, by an assertion of theirs, when an MQTT 5 packet has a property that they do not know.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_GUARD_H
#define FIELDGATE_MQTT_PUBLISHER_GUARD_H

struct mosquitto;

/* As mosquitto_loop_read; errno is 0 before it. MOSQ_ERR_PROTOCOL also where the library would have stopped
 * the process: the connection is open then, and must be made anew. */
int fg_guard_read(struct mosquitto *library);

#endif
