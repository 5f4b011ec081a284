#include "command_job.h"

#include "results.h"

#include "fieldgate/origin.h"

#include <stdio.h>
#include <stdlib.h>

void fg_command_answer(struct fg_commands *commands, const struct fg_arrival *arrival,
                       const struct fg_command_address *address, const void *result, size_t size)
{
    char topic[2048];
    const char *where = arrival->response_topic;
    if (!where) {
        int length = snprintf(topic, sizeof topic, "%s/%.*s/result", commands->base,
                              (int)address->device_length, address->device);
        if (length < 0 || (size_t)length >= sizeof topic) {
            return;
        }
        where = topic;
    }
    const struct fg_answer whole = { .topic = where,
                                     .payload = result,
                                     .payload_size = size,
                                     .correlation = arrival->correlation,
                                     .correlation_size = arrival->correlation_size };
    fg_publisher_answer(commands->options.publisher, &whole);
}

static bool try_render(struct fg_buffer *out, size_t limit, const struct fg_command_job *job,
                       const struct fg_command_result *result, bool brief)
{
    fg_buffer_init(out, limit);
    if (fg_result_render(out, job->payload.transaction, job->payload.transaction_length, job->command.kind,
                         result, brief) != 0) {
        fg_buffer_fini(out);
        return false;
    }
    return true;
}

static void render(struct fg_command_job *job, const struct fg_command_result *result)
{
    job->outcome = result->outcome;
    bool whole = try_render(&job->result, FG_RESULT_MAX, job, result, false);
    if (!whole || job->result.size > FG_RESULT_KEPT_MAX) {
        try_render(&job->brief, FG_RESULT_KEPT_MAX, job, result, true);
    }
}

/* The best there is of two texts. */
static const void *text_of(const struct fg_buffer *best, const struct fg_buffer *other, size_t *size)
{
    static const char no_memory[] = "{\"ok\":false,\"error\":\"no memory\"}";
    const struct fg_buffer *buffer = best->size > 0 ? best : other;
    *size = buffer->size > 0 ? buffer->size : sizeof no_memory - 1;
    return buffer->size > 0 ? (const void *)buffer->bytes : no_memory;
}

void fg_command_job_free(struct fg_command_job *job)
{
    while (job->arrival) {
        struct fg_arrival *next = job->arrival->next;
        free(job->arrival);
        job->arrival = next;
    }
    fg_commanded_unref(&job->commands->devices, job->device);
    fg_command_payload_fini(&job->payload);
    fg_buffer_fini(&job->result);
    fg_buffer_fini(&job->brief);
    free(job);
}

/* Whether nothing of it was sent, for certain: of several points the first may have been before time was
 * over, or the device silent. */
static bool was_never_sent(const struct fg_command_job *job)
{
    switch (job->outcome) {
    case FG_OUTCOME_BUSY:
    case FG_OUTCOME_NOT_WRITABLE:
    case FG_OUTCOME_BAD_VALUE:
    case FG_OUTCOME_UNKNOWN_POINT:
    case FG_OUTCOME_UNKNOWN_DEVICE:
    case FG_OUTCOME_NOT_SUPPORTED:
        return true;
    case FG_OUTCOME_EXPIRED:
    case FG_OUTCOME_OFFLINE:
        return job->command.count <= 1;
    case FG_OUTCOME_LINK_DOWN:
        return job->kept_back;
    default:
        return false;
    }
}

/* A transaction of which nothing was sent may be tried again. But a message that the broker sends once more
 * is no new try: it gets the same answer, for its sender was told that nothing was done. */
static void keep_message_in_place_of_transaction(struct fg_command_job *job)
{
    struct fg_transactions *transactions = &job->commands->transactions;
    if (job->deed && job->payload.transaction && was_never_sent(job)) {
        fg_transactions_forget(transactions, job->deed);
        job->deed = NULL;
    }
    if (!job->deed && job->arrival->qos > 0 && job->outcome != FG_OUTCOME_DONE &&
        job->outcome != FG_OUTCOME_INTERRUPTED) {
        job->deed = fg_deliveries_begin(transactions, job->arrival, false);
    }
}

/* Remembers what came of it, where that is to be, and tells all who asked. The journal has it before anybody
 * hears of it. */
static void conclude(struct fg_command_job *job)
{
    struct fg_commands *commands = job->commands;
    size_t size = 0;
    keep_message_in_place_of_transaction(job);
    if (job->deed) {
        const void *kept = text_of(&job->brief, &job->result, &size);
        fg_transactions_finish(&commands->transactions, job->deed, kept, size);
    }
    const void *result = text_of(&job->result, &job->brief, &size);
    for (const struct fg_arrival *arrival = job->arrival; arrival; arrival = arrival->next) {
        fg_command_answer(commands, arrival, &job->address, result, size);
    }
    if (job->outcome != FG_OUTCOME_DONE) {
        fg_count(&commands->rejected[job->outcome], 1);
    }
    fg_command_job_free(job);
}

static void on_finished(struct fg_task *task)
{
    struct fg_command_job *job =
        (struct fg_command_job *)((char *)task - offsetof(struct fg_command_job, finished));
    job->device->under_way--;
    job->commands->under_way--;
    conclude(job);
}

/* On whatever thread, and under whatever lock of the device's: the rest is the strand's. */
static void on_done(struct fg_command *command, const struct fg_command_result *result)
{
    struct fg_command_job *job = (struct fg_command_job *)command;
    render(job, result);
    fg_strand_post(&job->commands->strand, &job->finished);
}

void fg_command_job_refuse(struct fg_command_job *job, enum fg_outcome outcome, const char *why)
{
    const struct fg_command_result result = { .outcome = outcome, .why = why };
    render(job, &result);
    conclude(job);
}

void fg_command_job_count(struct fg_command_job *job)
{
    job->device->under_way++;
    job->commands->under_way++;
}

struct fg_command_job *fg_command_job_new(struct fg_commands *commands, struct fg_arrival *arrival,
                                          const struct fg_command_address *address)
{
    struct fg_command_job *job = calloc(1, sizeof *job);
    if (job) {
        job->commands = commands;
        job->arrival = arrival;
        job->address = *address;
        job->command.done = on_done;
        job->finished.run = on_finished;
    }
    return job;
}
