/*
 * Broker addresses as they stand in the configuration: "host:port" or "[v6]:port". Pure functions.
 */
#ifndef FIELDGATE_MQTT_ADDRESS_H
#define FIELDGATE_MQTT_ADDRESS_H

#include <stddef.h>

#define FG_HOST_MAX      255
#define FG_ADDRESSES_MAX 16 /* of a list */

/* Splits text; host has room for FG_HOST_MAX + 1 bytes and comes without brackets. Returns 0 or -EINVAL. */
int fg_mqtt_parse_address(const char *text, char host[FG_HOST_MAX + 1], int *port);

#endif
