/*
 * The system calls behind the operations, for the models that make them themselves. None blocks. Each returns
 * the operation's result, or -EAGAIN when the descriptor is not ready.
 */
#ifndef FIELDGATE_EVENT_IO_H
#define FIELDGATE_EVENT_IO_H

#include "fieldgate/event_model.h"

/* Reads into buffer and sets op->recv. */
int64_t fg_io_recv(int fd, uint8_t flags, struct fg_op *op, void *buffer, size_t size);

/* A connection, or an error that the caller of ACCEPT is to know. */
int64_t fg_io_accept(int fd, struct fg_op *op);

/* Whether accept(2) passes on an error of the connection that it was about to return: the next one may be
 * well. */
bool fg_io_is_of_connection(int error);

/* Writes on from op->send.sent. */
int64_t fg_io_send(int fd, uint8_t flags, struct fg_op *op);

/* Tells what of op->poll.events holds now. */
int64_t fg_io_poll(int fd, const struct fg_op *op);

/* What to ask epoll(7) for, whose bits are those of poll(2). Errors and hang-up come unasked; naming them
 * arms a POLL that asks for nothing else. */
uint32_t fg_io_poll_events(const struct fg_op *op);

/* Starts (*started false), or looks how it went. */
int64_t fg_io_connect(int fd, struct fg_op *op, bool *started);

/* Closes a channel's descriptor. On the channel's strand: that of a serial line may wait for what is still to
 * be sent. */
void fg_io_close(const struct fg_channel *channel, int fd);

#endif
