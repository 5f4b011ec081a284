/*
 * The router of commands: from a message of the broker's to the device that it is for, and from what came of
 * it to an answer. It works on a strand of its own.
 *
 * Each command is answered once: on the Response Topic that it came with, else on {base}/{device}/result. One
 * that repeats a transaction, or that the broker sends again, is not executed again but answered from memory
 * (transactions.h); while the first is under way, it gets that one's answer.
 */
#ifndef FIELDGATE_GATEWAY_COMMANDS_H
#define FIELDGATE_GATEWAY_COMMANDS_H

#include "fieldgate/port.h"
#include "fieldgate/publisher.h"
#include "fieldgate/strand.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Under way at a time, of one device and of all; and repetitions of one that wait for its answer. */
#define FG_COMMANDS_DEVICE_MAX 64
#define FG_COMMANDS_MAX        1024
#define FG_COMMANDS_FOLLOWERS  8

struct fg_commands;
struct fg_commanded;

struct fg_commands_options {
    struct fg_publisher *publisher; /* both live longer */
    struct fg_pool *pool;
    const char *base;    /* the base topic; copied, as journal */
    const char *journal; /* the file of what was executed; NULL: in memory alone */
    /* Hands a command to the port of that name as fg_port_command does. Returns false when there is none (any
     * more): done is not called then. Without locks held; must not block. */
    bool (*give)(void *context, const char *port, const char *identity, size_t length,
                 struct fg_command *command);
    /* After fg_commands_stop, once: all are answered that were given. On a worker. */
    void (*stopped)(void *context);
    void *context;
};

/* Returns 0 or -ENOMEM. */
int fg_commands_new(const struct fg_commands_options *options, struct fg_commands **commands);

/* When the pool has run all tasks, and no device is left. */
void fg_commands_free(struct fg_commands *commands);

/* All devices that are there from the start are known: what has come is looked at from now on. Any thread. */
void fg_commands_ready(struct fg_commands *commands);

/* Another base topic: that of devices that are added from now on. No port is open. Main thread. */
void fg_commands_rename(struct fg_commands *commands, const char *base);

/* Messages have come. Any thread. */
void fg_commands_wake(struct fg_commands *commands);

/* A device that takes commands is there, or gone; name is its own in topics. It is subscribed for. Returns
 * NULL without memory, and for one that takes nothing. Any thread. */
struct fg_commanded *fg_commands_add(struct fg_commands *commands, const struct fg_port_settings *port,
                                     const struct fg_device_defaults *device, const char *name,
                                     const char *identity);
void fg_commands_remove(struct fg_commands *commands, struct fg_commanded *device);

/* All ports are closed: takes no more commands, and calls stopped. Any thread, once. */
void fg_commands_stop(struct fg_commands *commands);

struct fg_command_counts {
    uint64_t received;
    uint64_t repeated; /* of these, not executed again */
    uint64_t rejected[FG_OUTCOME_COUNT];
};
void fg_commands_get_counts(const struct fg_commands *commands, struct fg_command_counts *counts);

#endif
