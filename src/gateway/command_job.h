/*
 * The inside of the router, shared between its files: commands.c (from message to command), command_job.c
 * (what came of it, and who is told). All on the router's strand but where it says otherwise.
 */
#ifndef FIELDGATE_GATEWAY_COMMAND_JOB_H
#define FIELDGATE_GATEWAY_COMMAND_JOB_H

#include "commanded.h"
#include "commands.h"
#include "transactions.h"

#include "fieldgate/buffer.h"
#include "fieldgate/command_payload.h"
#include "fieldgate/strand.h"

#include <stdatomic.h>

struct fg_commands {
    struct fg_commands_options options;
    char base[FG_COMMANDED_BASE]; /* the strand's */
    struct fg_commanded_table devices;
    struct fg_strand strand;
    struct fg_task look, stop;
    atomic_bool look_posted, ready;
    struct fg_transactions transactions; /* the strand's, as all down to under_way */
    bool opened, stopping;
    size_t under_way;
    atomic_ullong received, repeated, rejected[FG_OUTCOME_COUNT];
};

/* What a topic says; stands in the topic. */
struct fg_command_address {
    const char *device;
    size_t device_length;
    const char *point;
    size_t point_length;
    enum fg_payload_form form;
};

/* One command on its way. */
struct fg_command_job {
    struct fg_command command; /* first */
    struct fg_commands *commands;
    struct fg_command_job *next;
    struct fg_command_address address;
    struct fg_commanded *device;
    struct fg_arrival *arrival; /* and behind it those that repeat it */
    size_t followers;
    struct fg_command_payload payload;
    struct fg_deed *deed; /* NULL: nothing remembers it */
    struct fg_task finished;
    enum fg_outcome outcome;
    bool kept_back; /* its port was closed: it was not given */
    struct fg_buffer result;
    struct fg_buffer brief; /* what is remembered, where the result is too long for it */
};

/* A job for the message, which is its own from then on. Returns NULL without memory. */
struct fg_command_job *fg_command_job_new(struct fg_commands *commands, struct fg_arrival *arrival,
                                          const struct fg_command_address *address);
void fg_command_job_free(struct fg_command_job *job);

/* Answers a message with a text; no job is needed. */
void fg_command_answer(struct fg_commands *commands, const struct fg_arrival *arrival,
                       const struct fg_command_address *address, const void *result, size_t size);

/* Answers the job with what did not come about, and frees it. */
void fg_command_job_refuse(struct fg_command_job *job, enum fg_outcome outcome, const char *why);

/* From now on the job is one of those under way, until done is called. */
void fg_command_job_count(struct fg_command_job *job);

#endif
