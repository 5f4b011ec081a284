#include "commands.h"

#include "commanded.h"
#include "results.h"
#include "transactions.h"

#include "fieldgate/clock.h"
#include "fieldgate/command_payload.h"
#include "fieldgate/origin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fg_commands {
    struct fg_commands_options options;
    size_t base_length;
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
struct address {
    const char *device;
    size_t device_length;
    const char *point;
    size_t point_length;
    enum fg_payload_form form;
};

/* One command on its way. */
struct job {
    struct fg_command command; /* first */
    struct fg_commands *commands;
    struct job *next;
    struct address address;
    struct fg_commanded *device;
    struct fg_arrival *arrival; /* and behind it those that repeat it */
    size_t followers;
    struct fg_command_payload payload;
    struct fg_deed *deed; /* NULL: nothing remembers it */
    struct fg_task finished;
    enum fg_outcome outcome;
    struct fg_buffer result;
    struct fg_buffer brief; /* what is remembered, where the result is too long for it */
};

/* ---- answers ---- */

static void answer(struct fg_commands *commands, const struct fg_arrival *arrival,
                   const struct address *address, const void *result, size_t size)
{
    char topic[2048];
    const char *where = arrival->response_topic;
    if (!where) {
        int length = snprintf(topic, sizeof topic, "%s/%.*s/result", commands->options.base,
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

static bool try_render(struct fg_buffer *out, size_t limit, const struct job *job,
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

static void render(struct job *job, const struct fg_command_result *result)
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

static void free_job(struct job *job)
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
static bool was_never_sent(const struct job *job)
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
    default:
        return false;
    }
}

/* A transaction of which nothing was sent may be tried again. But a message that the broker sends once more
 * is no new try: it gets the same answer, for its sender was told that nothing was done. */
static void keep_message_in_place_of_transaction(struct job *job)
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
static void conclude(struct job *job)
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
        answer(commands, arrival, &job->address, result, size);
    }
    if (job->outcome != FG_OUTCOME_DONE) {
        fg_count(&commands->rejected[job->outcome], 1);
    }
    free_job(job);
}

static void on_finished(struct fg_task *task)
{
    struct job *job = (struct job *)((char *)task - offsetof(struct job, finished));
    job->device->under_way--;
    job->commands->under_way--;
    conclude(job);
}

/* On whatever thread, and under whatever lock of the device's: the rest is the strand's. */
static void on_done(struct fg_command *command, const struct fg_command_result *result)
{
    struct job *job = (struct job *)command;
    render(job, result);
    fg_strand_post(&job->commands->strand, &job->finished);
}

/* ---- refusals ---- */

static void refuse(struct job *job, enum fg_outcome outcome, const char *why)
{
    const struct fg_command_result result = { .outcome = outcome, .why = why };
    render(job, &result);
    conclude(job);
}

/* What is known of it already, and how to go on. Returns whether it is dealt with. */
static bool repeats(struct job *job, struct fg_deed *deed, bool same_message)
{
    struct fg_commands *commands = job->commands;
    if (!deed) {
        return false;
    }
    fg_count(&commands->repeated, 1);
    if (deed->done && deed->result) {
        answer(commands, job->arrival, &job->address, deed->result, deed->result_size);
        free_job(job);
        return true;
    }
    if (deed->done) {
        const struct fg_command_result result = {
            .outcome = FG_OUTCOME_INTERRUPTED,
            .why = "the gateway ended before the result was known; it may have been executed"
        };
        render(job, &result);
        conclude(job);
        return true;
    }
    struct job *first = deed->owner;
    if (same_message) {
        free_job(job); /* its answer is on its way */
    } else if (first->followers == FG_COMMANDS_FOLLOWERS) {
        const struct fg_command_result result = { .outcome = FG_OUTCOME_BUSY,
                                                  .why = "the transaction is under way" };
        render(job, &result);
        conclude(job);
    } else {
        first->followers++;
        job->arrival->next = first->arrival->next;
        first->arrival->next = job->arrival;
        job->arrival = NULL;
        free_job(job);
    }
    return true;
}

/* ---- from message to command ---- */

static bool split(const struct fg_commands *commands, const struct fg_arrival *arrival,
                  struct address *address)
{
    const char *topic = arrival->topic;
    const char *stop = topic + arrival->topic_length;
    if (arrival->topic_length <= commands->base_length + 1 ||
        memcmp(topic, commands->options.base, commands->base_length) != 0 ||
        topic[commands->base_length] != '/') {
        return false;
    }
    *address = (struct address){ .device = topic + commands->base_length + 1 };
    const char *rest = memchr(address->device, '/', (size_t)(stop - address->device));
    if (!rest) {
        return false;
    }
    address->device_length = (size_t)(rest - address->device);
    rest++;
    if (strcmp(rest, "set") == 0 || strcmp(rest, "get") == 0) {
        address->form = rest[0] == 's' ? FG_PAYLOAD_SET : FG_PAYLOAD_GET;
        return true;
    }
    const char *last = strchr(rest, '/');
    address->form = FG_PAYLOAD_SET_POINT;
    address->point = rest;
    address->point_length = last ? (size_t)(last - rest) : 0;
    return last && strcmp(last, "/set") == 0;
}

static void set_expiry(struct job *job)
{
    const struct fg_arrival *arrival = job->arrival;
    int64_t expires_ns = 0;
    if (arrival->expires) {
        expires_ns = arrival->came_ns + (int64_t)arrival->expiry_s * FG_NS_PER_S;
    }
    if (job->payload.expires) {
        int64_t own_ns = arrival->came_ns + job->payload.expires_ms * FG_NS_PER_MS;
        expires_ns = expires_ns > 0 && expires_ns < own_ns ? expires_ns : own_ns;
    }
    job->command.expires_ns = expires_ns;
}

/* Makes the command of the payload. Returns false when the job is dealt with. */
static bool understand(struct job *job)
{
    struct fg_arrival *arrival = job->arrival;
    const struct address *address = &job->address;
    struct fg_command *command = &job->command;
    const char *why = "";
    command->kind = address->form == FG_PAYLOAD_GET ? FG_COMMAND_GET : FG_COMMAND_SET;
    if (job->device->takes == FG_TAKES_BYTES) {
        if (address->form != FG_PAYLOAD_SET) {
            refuse(job, FG_OUTCOME_NOT_SUPPORTED, "the device has no points: send it bytes");
            return false;
        }
        command->kind = FG_COMMAND_SEND;
        command->bytes = arrival->payload;
        command->size = arrival->payload_size;
    } else {
        int error = fg_command_payload_read(address->form, address->point, address->point_length,
                                            arrival->payload, arrival->payload_size, &job->payload, &why);
        if (error) {
            refuse(job, error == -ENOMEM ? FG_OUTCOME_NO_MEMORY : FG_OUTCOME_BAD_REQUEST, why);
            return false;
        }
        command->fields = job->payload.fields;
        command->count = job->payload.count;
    }
    set_expiry(job);
    return true;
}

/* Reading is not worth remembering: it is done as often as it is asked for. Returns whether it was dealt
 * with. */
static bool is_repeated(struct job *job)
{
    struct fg_transactions *transactions = &job->commands->transactions;
    const struct fg_command_payload *payload = &job->payload;
    if (job->command.kind == FG_COMMAND_GET) {
        return false;
    }
    return repeats(job, fg_deliveries_find(transactions, job->arrival), true) ||
           (payload->transaction &&
            repeats(job,
                    fg_transactions_find(transactions, job->device->name, payload->transaction,
                                         payload->transaction_length),
                    false));
}

static bool is_refused(struct job *job)
{
    struct fg_commands *commands = job->commands;
    if (job->command.expires_ns > 0 && fg_clock_now_ns() >= job->command.expires_ns) {
        refuse(job, FG_OUTCOME_EXPIRED, NULL);
    } else if (job->device->under_way >= FG_COMMANDS_DEVICE_MAX || commands->under_way >= FG_COMMANDS_MAX) {
        refuse(job, FG_OUTCOME_BUSY, "too many commands are under way");
    } else if (commands->stopping) {
        refuse(job, FG_OUTCOME_LINK_DOWN, "the gateway stops");
    } else {
        return false;
    }
    return true;
}

/* Has it remembered from now on. Returns false when the job is dealt with. */
static bool begin(struct job *job)
{
    struct fg_commands *commands = job->commands;
    const struct fg_command_payload *payload = &job->payload;
    if (job->command.kind == FG_COMMAND_GET) {
        return true;
    }
    if (payload->transaction) {
        job->deed = fg_transactions_begin(&commands->transactions, job->device->name, payload->transaction,
                                          payload->transaction_length);
        if (!job->deed) {
            refuse(job, FG_OUTCOME_NO_MEMORY, NULL);
            return false;
        }
    } else if (job->arrival->qos > 0) {
        job->deed = fg_deliveries_begin(&commands->transactions, job->arrival, true);
    }
    if (job->deed) {
        job->deed->owner = job;
    }
    return true;
}

/* Returns the job that is to be given to its device, or NULL when the message is dealt with. */
static struct job *take_in(struct fg_commands *commands, struct fg_arrival *arrival)
{
    struct address address;
    struct job *job = split(commands, arrival, &address) ? calloc(1, sizeof *job) : NULL;
    if (!job) {
        free(arrival); /* another program's subscription; or there is no memory to say so */
        return NULL;
    }
    job->commands = commands;
    job->arrival = arrival;
    job->address = address;
    job->command.done = on_done;
    job->finished.run = on_finished;
    fg_count(&commands->received, 1);
    job->device = fg_commanded_find(&commands->devices, address.device, address.device_length);
    if (!job->device) {
        fg_commanded_forget(&commands->devices, address.device, address.device_length);
        refuse(job, FG_OUTCOME_UNKNOWN_DEVICE, NULL);
        return NULL;
    }
    if (!understand(job) || is_repeated(job) || is_refused(job) || !begin(job)) {
        return NULL;
    }
    job->device->under_way++;
    commands->under_way++;
    return job;
}

static void give(struct job *job)
{
    struct fg_commands *commands = job->commands;
    const struct fg_commanded *device = job->device;
    if (!commands->options.give(commands->options.context, device->port, device->identity,
                                device->identity_length, &job->command)) {
        const struct fg_command_result result = { .outcome = FG_OUTCOME_LINK_DOWN,
                                                  .why = "its port is closed" };
        on_done(&job->command, &result);
    }
}

static void on_look(struct fg_task *task)
{
    struct fg_commands *commands = (struct fg_commands *)((char *)task - offsetof(struct fg_commands, look));
    atomic_store(&commands->look_posted, false);
    if (!atomic_load(&commands->ready)) {
        return;
    }
    if (!commands->opened && fg_commanded_any(&commands->devices)) {
        commands->opened = true;
        fg_pool_may_block(commands->options.pool);
        fg_transactions_open(&commands->transactions);
    }
    struct job *first = NULL;
    struct job **tail = &first;
    struct fg_arrival *arrival = fg_publisher_take_arrivals(commands->options.publisher);
    while (arrival) {
        struct fg_arrival *next = arrival->next;
        arrival->next = NULL;
        *tail = take_in(commands, arrival);
        tail = *tail ? &(*tail)->next : tail;
        arrival = next;
    }
    if (commands->transactions.unsynced) {
        fg_pool_may_block(commands->options.pool);
        fg_transactions_sync(&commands->transactions);
    }
    while (first) {
        struct job *next = first->next;
        give(first);
        first = next;
    }
}

static void on_stop(struct fg_task *task)
{
    struct fg_commands *commands = (struct fg_commands *)((char *)task - offsetof(struct fg_commands, stop));
    commands->stopping = true;
    commands->options.stopped(commands->options.context);
}

/* ---- for the gateway ---- */

int fg_commands_new(const struct fg_commands_options *options, struct fg_commands **result)
{
    struct fg_commands *commands = calloc(1, sizeof *commands);
    if (!commands) {
        return -ENOMEM;
    }
    commands->options = *options;
    commands->base_length = strlen(options->base);
    commands->look.run = on_look;
    commands->stop.run = on_stop;
    fg_commanded_init(&commands->devices, options->publisher, options->base);
    fg_strand_init(&commands->strand, options->pool);
    int error = fg_transactions_init(&commands->transactions, options->journal);
    if (error) {
        fg_commands_free(commands);
        return error;
    }
    *result = commands;
    return 0;
}

void fg_commands_free(struct fg_commands *commands)
{
    if (commands) {
        fg_transactions_fini(&commands->transactions);
        fg_commanded_fini(&commands->devices);
        free(commands);
    }
}

void fg_commands_ready(struct fg_commands *commands)
{
    atomic_store(&commands->ready, true);
    fg_commands_wake(commands);
}

void fg_commands_wake(struct fg_commands *commands)
{
    if (!atomic_exchange(&commands->look_posted, true)) {
        fg_strand_post(&commands->strand, &commands->look);
    }
}

struct fg_commanded *fg_commands_add(struct fg_commands *commands, const struct fg_port_settings *port,
                                     const struct fg_device_defaults *device, const char *name,
                                     const char *identity)
{
    enum fg_takes takes = fg_port_takes(port, device);
    return takes == FG_TAKES_NOTHING
               ? NULL
               : fg_commanded_add(&commands->devices, takes, name, port->name, identity);
}

void fg_commands_remove(struct fg_commands *commands, struct fg_commanded *device)
{
    fg_commanded_remove(&commands->devices, device);
}

void fg_commands_stop(struct fg_commands *commands)
{
    fg_strand_post(&commands->strand, &commands->stop);
}

void fg_commands_get_counts(const struct fg_commands *commands, struct fg_command_counts *counts)
{
    *counts = (struct fg_command_counts){ .received = fg_counted(&commands->received),
                                          .repeated = fg_counted(&commands->repeated) };
    for (int i = 0; i < FG_OUTCOME_COUNT; i++) {
        counts->rejected[i] = fg_counted(&commands->rejected[i]);
    }
}
