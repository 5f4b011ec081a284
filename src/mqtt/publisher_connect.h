/*
 * When and where the publisher connects. By the publisher's thread, which holds turn.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_CONNECT_H
#define FIELDGATE_MQTT_PUBLISHER_CONNECT_H

#include <stdint.h>

struct fg_publisher;

/* Connects, gives a connect up, keeps the connection alive, when it is time for that. Gives the turn away
 * while a name is looked up. Does not come back if the publisher was left behind meanwhile. */
void fg_connect_step(struct fg_publisher *publisher, int64_t now_ns);

/* When that is. */
int64_t fg_connect_next_ns(const struct fg_publisher *publisher);

/* Sees what became of the connection since the last call. */
void fg_connect_note(struct fg_publisher *publisher);

#endif
