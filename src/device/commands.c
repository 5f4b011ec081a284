#include "commands.h"
#include "poller.h"
#include "polling.h"

#include <stdarg.h>
#include <stdio.h>

bool fg_refuse(struct fg_refusal *refusal, enum fg_outcome outcome, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    refusal->outcome = outcome;
    vsnprintf(refusal->why, sizeof refusal->why, format, arguments);
    va_end(arguments);
    return false;
}

bool fg_device_begin_command(struct fg_device *device, struct fg_refusal *refusal)
{
    if (atomic_fetch_add(&device->commands, 1) >= FG_COMMANDS_MAX) {
        atomic_fetch_sub(&device->commands, 1);
        return fg_refuse(refusal, FG_OUTCOME_BUSY, "%d commands wait for the device already",
                         FG_COMMANDS_MAX);
    }
    return true;
}

void fg_device_end_command(struct fg_device *device, struct fg_command *command,
                           const struct fg_command_result *result)
{
    atomic_fetch_sub(&device->commands, 1); /* first: done may give the next one */
    command->done(command, result);
}

enum fg_takes fg_port_takes(const struct fg_port_settings *port, const struct fg_device_defaults *device)
{
    if (fg_port_is_polled(port)) {
        return FG_TAKES_POINTS;
    }
    return device->writable && fg_transport_can_send(&port->transport) ? FG_TAKES_BYTES : FG_TAKES_NOTHING;
}

/* Under the port's lock. Returns whether the command is taken: then it may be over already. */
static bool take(struct fg_port *port, const char *identity, size_t length, struct fg_command *command,
                 struct fg_refusal *refusal)
{
    struct fg_device *device = fg_map_get(&port->devices, identity, length);
    if (!device) {
        return fg_refuse(refusal, FG_OUTCOME_UNKNOWN_DEVICE, "the port %s knows no such device",
                         port->settings->name);
    }
    if (fg_command_is_over(command, fg_clock_now_ns())) {
        return fg_refuse(refusal, FG_OUTCOME_EXPIRED, "it came too late");
    }
    bool bytes = command->kind == FG_COMMAND_SEND;
    switch (fg_port_takes(port->settings, device->settings)) {
    case FG_TAKES_POINTS:
        return bytes ? fg_refuse(refusal, FG_OUTCOME_NOT_SUPPORTED,
                                 "the device has points: name those that are to be written")
                     : fg_poller_command(port->poller, device, command, refusal);
    case FG_TAKES_BYTES:
        return bytes ? fg_stream_command(device, command, refusal)
                     : fg_refuse(refusal, FG_OUTCOME_NOT_SUPPORTED,
                                 "the device has no points to write or read: it takes bytes");
    default:
        return device->settings->writable
                   ? fg_refuse(refusal, FG_OUTCOME_NOT_SUPPORTED, "its transport has no way back")
                   : fg_refuse(refusal, FG_OUTCOME_NOT_WRITABLE, "its settings say writable = false");
    }
}

void fg_port_command(struct fg_port *port, const char *identity, size_t length, struct fg_command *command)
{
    struct fg_refusal refusal;
    refusal.point[0] = '\0';
    pthread_mutex_lock(&port->lock);
    bool taken = take(port, identity, length, command, &refusal);
    pthread_mutex_unlock(&port->lock);
    if (!taken) {
        const struct fg_command_result result = { .outcome = refusal.outcome,
                                                  .point = refusal.point[0] ? refusal.point : NULL,
                                                  .why = refusal.why };
        command->done(command, &result);
    }
}
