/*
 * Which link leads to a device that speaks of itself, and commands on their way there.
 */
#include "stream.h"

/* The link that leads to the device. Under the device's lock. */
static struct fg_stream_link *way_to(const struct fg_device *device, struct fg_refusal *refusal)
{
    if (device->link) {
        return device->link;
    }
    if (device->links == 1) {
        return (struct fg_stream_link *)device->links_sum;
    }
    if (device->links > 1) {
        fg_refuse(refusal, FG_OUTCOME_LINK_DOWN,
                  "%u links are up, and nothing came on them that would tell which leads to the device",
                  device->links);
    } else if (fg_counted(&device->port->links) > 0) {
        fg_refuse(refusal, FG_OUTCOME_LINK_DOWN,
                  "nothing came from the device on a link that is up, so the way to it is not known");
    } else {
        fg_refuse(refusal, FG_OUTCOME_LINK_DOWN, "no link is up");
    }
    return NULL;
}

static struct fg_sender *sender_of(struct fg_stream_link *state)
{
    struct fg_sender *sender = atomic_load(&state->sender);
    if (!sender) {
        int64_t gap_ns = state->gap ? fg_framer_gap_ns(&state->framer) : 0;
        sender = fg_sender_new(state->port, state->link, gap_ns);
        atomic_store(&state->sender, sender);
    }
    return sender;
}

/* Under the device's lock: the link cannot go down meanwhile. */
static bool post(struct fg_device *device, struct fg_outgoing *outgoing, struct fg_refusal *refusal)
{
    struct fg_stream_link *state = way_to(device, refusal);
    if (!state) {
        return false;
    }
    struct fg_sender *sender = sender_of(state);
    if (!sender) {
        return fg_refuse(refusal, FG_OUTCOME_NO_MEMORY, "there is no memory for the command");
    }
    if (!fg_device_begin_command(device, refusal)) {
        return false;
    }
    if (!fg_sender_post(sender, outgoing, &device->peer, refusal)) {
        atomic_fetch_sub(&device->commands, 1);
        return false;
    }
    return true;
}

bool fg_stream_command(struct fg_device *device, struct fg_command *command, struct fg_refusal *refusal)
{
    struct fg_outgoing *outgoing = fg_outgoing_new(device, command, refusal);
    if (!outgoing) {
        return false;
    }
    pthread_mutex_lock(&device->lock);
    bool taken = post(device, outgoing, refusal);
    pthread_mutex_unlock(&device->lock);
    if (!taken) {
        fg_outgoing_free(outgoing);
    }
    return taken;
}
