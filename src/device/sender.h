/*
 * Commands to devices that speak of themselves: what is sent on a link, one frame at a time, and the frames
 * that answer. A sender belongs to its link's strand, but where told otherwise; it is made with the first
 * command to the link, so a link that only listens has none.
 *
 * A command waits -> is sent -> with `reply`: its answer is awaited; and is answered when it leaves this way.
 * While an answer of a device is awaited, further commands to that device wait; those to others of the link
 * do not.
 */
#ifndef FIELDGATE_DEVICE_SENDER_H
#define FIELDGATE_DEVICE_SENDER_H

#include "commands.h"

#include "fieldgate/framing.h"

/* The most commands on one link, whatever the number of its devices. */
#define FG_SENDER_MAX 256

struct fg_sender;
struct fg_outgoing; /* a command with its frame */

/* Frames the bytes of a command. Any thread. Returns NULL and the refusal for what cannot be framed. */
struct fg_outgoing *fg_outgoing_new(struct fg_device *device, struct fg_command *command,
                                    struct fg_refusal *refusal);
void fg_outgoing_free(struct fg_outgoing *outgoing);

/* gap_ns of silence are kept before a frame. Under the port's lock. NULL without memory. */
struct fg_sender *fg_sender_new(const struct fg_port *port, struct fg_link *link, int64_t gap_ns);

/* Posts a command that was begun; to is for links that take datagrams from anyone. Under the port's lock.
 * Returns false and the refusal when too many are there. */
bool fg_sender_post(struct fg_sender *sender, struct fg_outgoing *outgoing, const union fg_address *to,
                    struct fg_refusal *refusal);

/* Something came on the link. */
void fg_sender_heard(struct fg_sender *sender, int64_t received_ns);

/* A frame of the device came: it answers the command that awaits it. */
void fg_sender_take_frame(struct fg_sender *sender, const struct fg_device *device,
                          const struct fg_frame *frame, int64_t received_ns);

/* The link is down, and nothing is posted any more: all is answered, and the sender goes. */
void fg_sender_down(struct fg_sender *sender);

#endif
