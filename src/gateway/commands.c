#include "commands.h"

#include "command_job.h"

#include "fieldgate/clock.h"
#include "fieldgate/origin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is known of it already, and how to go on. Returns whether it is dealt with. */
static bool repeats(struct fg_command_job *job, struct fg_deed *deed, bool same_message)
{
    struct fg_commands *commands = job->commands;
    if (!deed) {
        return false;
    }
    fg_count(&commands->repeated, 1);
    if (deed->done && deed->result) {
        fg_command_answer(commands, job->arrival, &job->address, deed->result, deed->result_size);
        fg_command_job_free(job);
        return true;
    }
    if (deed->done) {
        fg_command_job_refuse(job, FG_OUTCOME_INTERRUPTED,
                              "the gateway ended before the result was known; it may have been executed");
        return true;
    }
    struct fg_command_job *first = deed->owner;
    if (same_message) {
        fg_command_job_free(job); /* its answer is on its way */
    } else if (first->followers == FG_COMMANDS_FOLLOWERS) {
        fg_command_job_refuse(job, FG_OUTCOME_BUSY, "the transaction is under way");
    } else {
        first->followers++;
        job->arrival->next = first->arrival->next;
        first->arrival->next = job->arrival;
        job->arrival = NULL;
        fg_command_job_free(job);
    }
    return true;
}

static bool split(const struct fg_commands *commands, const struct fg_arrival *arrival,
                  struct fg_command_address *address)
{
    const char *topic = arrival->topic;
    const char *stop = topic + arrival->topic_length;
    size_t base_length = strlen(commands->base);
    if (arrival->topic_length <= base_length + 1 || memcmp(topic, commands->base, base_length) != 0 ||
        topic[base_length] != '/') {
        return false;
    }
    *address = (struct fg_command_address){ .device = topic + base_length + 1 };
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

static void set_expiry(struct fg_command_job *job)
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
static bool understand(struct fg_command_job *job)
{
    struct fg_arrival *arrival = job->arrival;
    const struct fg_command_address *address = &job->address;
    struct fg_command *command = &job->command;
    const char *why = "";
    command->kind = address->form == FG_PAYLOAD_GET ? FG_COMMAND_GET : FG_COMMAND_SET;
    if (job->device->takes == FG_TAKES_BYTES) {
        if (address->form != FG_PAYLOAD_SET) {
            fg_command_job_refuse(job, FG_OUTCOME_NOT_SUPPORTED, "the device has no points: send it bytes");
            return false;
        }
        command->kind = FG_COMMAND_SEND;
        command->bytes = arrival->payload;
        command->size = arrival->payload_size;
    } else {
        int error = fg_command_payload_read(address->form, address->point, address->point_length,
                                            arrival->payload, arrival->payload_size, &job->payload, &why);
        if (error) {
            fg_command_job_refuse(job, error == -ENOMEM ? FG_OUTCOME_NO_MEMORY : FG_OUTCOME_BAD_REQUEST, why);
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
static bool is_repeated(struct fg_command_job *job)
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

static bool is_refused(struct fg_command_job *job)
{
    struct fg_commands *commands = job->commands;
    if (job->command.expires_ns > 0 && fg_clock_now_ns() >= job->command.expires_ns) {
        fg_command_job_refuse(job, FG_OUTCOME_EXPIRED, NULL);
    } else if (job->device->under_way >= FG_COMMANDS_DEVICE_MAX || commands->under_way >= FG_COMMANDS_MAX) {
        fg_command_job_refuse(job, FG_OUTCOME_BUSY, "too many commands are under way");
    } else if (commands->stopping) {
        fg_command_job_refuse(job, FG_OUTCOME_LINK_DOWN, "the gateway stops");
    } else {
        return false;
    }
    return true;
}

/* Has it remembered from now on. Returns false when the job is dealt with. */
static bool begin(struct fg_command_job *job)
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
            fg_command_job_refuse(job, FG_OUTCOME_NO_MEMORY, NULL);
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
static struct fg_command_job *take_in(struct fg_commands *commands, struct fg_arrival *arrival)
{
    struct fg_command_address address;
    struct fg_command_job *job =
        split(commands, arrival, &address) ? fg_command_job_new(commands, arrival, &address) : NULL;
    if (!job) {
        free(arrival); /* another program's subscription; or there is no memory to say so */
        return NULL;
    }
    fg_count(&commands->received, 1);
    job->device = fg_commanded_find(&commands->devices, address.device, address.device_length);
    if (!job->device) {
        fg_commanded_forget(&commands->devices, address.device, address.device_length);
        fg_command_job_refuse(job, FG_OUTCOME_UNKNOWN_DEVICE, NULL);
        return NULL;
    }
    if (!understand(job) || is_repeated(job) || is_refused(job) || !begin(job)) {
        return NULL;
    }
    fg_command_job_count(job);
    return job;
}

static void give(struct fg_command_job *job)
{
    struct fg_commands *commands = job->commands;
    const struct fg_commanded *device = job->device;
    if (!commands->options.give(commands->options.context, device->port, device->identity,
                                device->identity_length, &job->command)) {
        const struct fg_command_result result = { .outcome = FG_OUTCOME_LINK_DOWN,
                                                  .why = "its port is closed" };
        job->kept_back = true;
        job->command.done(&job->command, &result);
    }
}

static void on_look(struct fg_task *task)
{
    struct fg_commands *commands = (struct fg_commands *)((char *)task - offsetof(struct fg_commands, look));
    atomic_store(&commands->look_posted, false);
    if (!atomic_load(&commands->ready)) {
        return;
    }
    fg_commanded_get_base(&commands->devices, commands->base);
    if (!commands->opened && fg_commanded_any(&commands->devices)) {
        commands->opened = true;
        fg_pool_may_block(commands->options.pool);
        fg_transactions_open(&commands->transactions);
    }
    struct fg_command_job *first = NULL;
    struct fg_command_job **tail = &first;
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
        struct fg_command_job *next = first->next;
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

void fg_commands_rename(struct fg_commands *commands, const char *base)
{
    fg_commanded_rename(&commands->devices, base);
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
