/*
 * Commands on their way to a device. A command is given by any thread: it is looked at under the port's lock,
 * and refused at once, or posted to the strand of the link that leads to the device; from then on it is that
 * strand's. A link is registered and taken back under the same lock, so nothing is posted to one that went
 * down. Whoever answers holds no lock.
 */
#ifndef FIELDGATE_DEVICE_COMMANDS_H
#define FIELDGATE_DEVICE_COMMANDS_H

#include "device.h"

/* Commands of one device that wait or are under way. */
#define FG_COMMANDS_MAX 16

/* Whether its time is over. */
static inline bool fg_command_is_over(const struct fg_command *command, int64_t now_ns)
{
    return command->expires_ns > 0 && now_ns >= command->expires_ns;
}

#define FG_REFUSAL_WHY 192

/* Why a command is not taken. The texts are its own. */
struct fg_refusal {
    enum fg_outcome outcome;
    char point[FG_NAME_MAX + 1]; /* "": none */
    char why[FG_REFUSAL_WHY];
};

/* Returns false, for those who return whether a command is taken. */
bool fg_refuse(struct fg_refusal *refusal, enum fg_outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Counts the command as one more of the device. Returns false and the refusal when there are too many. */
bool fg_device_begin_command(struct fg_device *device, struct fg_refusal *refusal);

/* Answers a command that was begun. It is its maker's again. */
void fg_device_end_command(struct fg_device *device, struct fg_command *command,
                           const struct fg_command_result *result);

/* Of a device that speaks of itself: posts the command to the link that leads to it. Under the port's lock.
 * Returns whether it is taken. */
bool fg_stream_command(struct fg_device *device, struct fg_command *command, struct fg_refusal *refusal);

#endif
