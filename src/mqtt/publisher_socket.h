/*
 * What the publisher asks of the kernel about the TCP connection to the broker. Pure system calls; none
 * blocks.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_SOCKET_H
#define FIELDGATE_MQTT_PUBLISHER_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

/* Sends at once what is written, and notices a dead peer: the connection breaks when nothing answers for one
 * and a half times keepalive_s, whether something was sent or the line was idle. */
void fg_socket_set_options(int fd, int keepalive_s);

/* Holds back partial segments, so that a batch goes out in few packets; or no longer. */
void fg_socket_cork(int fd, int on);

/* Why a connection broke, or 0. */
int fg_socket_error(int fd);

/* Whether something came that is not read. */
bool fg_socket_is_readable(int fd);

/* Bytes read since it was connected; -1: the kernel does not say. */
int64_t fg_socket_consumed(int fd);

#endif
