/*
 * Commands to polled devices. A job goes with each command, from the check of its values to the answer. Those
 * of one device are done one after the other, so that the fields of one are never written between those of
 * another; each gives the protocol one request at a time. The protocol's events may not call the protocol:
 * they note what comes next, and fg_poller_run_commands does it.
 */
#include "commands.h"
#include "poller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A point of a job. */
struct job_point {
    uint16_t index;
    uint8_t exception; /* of GET: with which the device refuses it */
    bool read;
    bool alone; /* read by itself, because the device refused what it stands in */
};

struct fg_polled_job {
    struct fg_poller *poller;
    struct fg_polled_device *device;
    struct poller_link *link; /* to which it was posted */
    struct fg_command *command;
    struct fg_modbus_command request;
    size_t at;            /* of points: what is asked for */
    size_t covered_count; /* of GET: what its answer will tell */
    uint16_t *covered;    /* by the index of points; behind points */
    size_t count;
    struct job_point points[];
};

static struct fg_polled_job *job_of(struct fg_command *command)
{
    return command->work;
}

static const char *name_of(const struct fg_polled_job *job, size_t at)
{
    return job->device->settings[job->points[at].index].name;
}

static size_t number_of(const struct fg_polled_job *job)
{
    return (size_t)(job->device - job->poller->devices);
}

/* ---- giving ---- */

static bool find_point(const struct fg_polled_device *device, const struct fg_field *field, uint16_t *index)
{
    for (size_t i = 0; i < device->count; i++) {
        const char *name = device->settings[i].name;
        if (strlen(name) == field->name_length && memcmp(name, field->name, field->name_length) == 0) {
            *index = (uint16_t)i;
            return true;
        }
    }
    return false;
}

static void name_refused(struct fg_refusal *refusal, const struct fg_field *field)
{
    size_t length = field->name_length < FG_NAME_MAX ? field->name_length : FG_NAME_MAX;
    memcpy(refusal->point, field->name, length);
    refusal->point[length] = '\0';
}

static uint8_t unit_of(const struct fg_poller *poller, const struct fg_polled_device *device)
{
    return poller->polling.devices[device - poller->devices].unit;
}

/* Makes the request that writes the field; a problem with the value goes to the refusal. */
static bool encode(const struct fg_poller *poller, const struct fg_polled_device *device, uint16_t index,
                   const struct fg_field *field, struct fg_modbus_request *request,
                   struct fg_refusal *refusal)
{
    char why[FG_MODBUS_WHY] = "";
    int error =
        fg_modbus_point_encode(&device->modbus[index], unit_of(poller, device), &field->value, request, why);
    if (!error) {
        return true;
    }
    name_refused(refusal, field);
    return fg_refuse(refusal, error == -EACCES ? FG_OUTCOME_NOT_WRITABLE : FG_OUTCOME_BAD_VALUE, "%s", why);
}

/* Finds the points that a command is about, and of SET looks at all values before one is sent. */
static bool fill(struct fg_polled_job *job, struct fg_refusal *refusal)
{
    const struct fg_command *command = job->command;
    for (size_t i = 0; i < job->count; i++) {
        struct job_point *point = &job->points[i];
        *point = (struct job_point){ .index = (uint16_t)i };
        if (command->count == 0) {
            continue; /* all of them */
        }
        const struct fg_field *field = &command->fields[i];
        struct fg_modbus_request request;
        if (!find_point(job->device, field, &point->index)) {
            name_refused(refusal, field);
            return fg_refuse(refusal, FG_OUTCOME_UNKNOWN_POINT, "the device has no such point");
        }
        if (command->kind == FG_COMMAND_SET &&
            !encode(job->poller, job->device, point->index, field, &request, refusal)) {
            return false;
        }
    }
    return true;
}

static struct fg_polled_job *job_new(struct fg_poller *poller, struct fg_polled_device *device,
                                     struct fg_command *command)
{
    size_t count = command->count > 0 ? command->count : device->count;
    size_t covered = command->kind == FG_COMMAND_GET ? device->count : 0;
    struct fg_polled_job *job =
        malloc(sizeof *job + count * sizeof job->points[0] + covered * sizeof job->covered[0]);
    if (job) {
        *job = (struct fg_polled_job){ .poller = poller,
                                       .device = device,
                                       .link = poller->link,
                                       .command = command,
                                       .covered = (uint16_t *)(void *)&job->points[count],
                                       .count = count };
        job->request.device = (size_t)(device - poller->devices);
        job->request.expires_ns = command->expires_ns;
    }
    return job;
}

static bool is_sound(const struct fg_command *command, struct fg_refusal *refusal)
{
    if (command->kind == FG_COMMAND_SET && command->count == 0) {
        return fg_refuse(refusal, FG_OUTCOME_BAD_REQUEST, "there is no point in it to write");
    }
    if (command->count > FG_RECORD_MAX_FIELDS) {
        return fg_refuse(refusal, FG_OUTCOME_BAD_REQUEST, "it names more than %d points",
                         FG_RECORD_MAX_FIELDS);
    }
    return true;
}

bool fg_poller_command(struct fg_poller *poller, struct fg_device *device, struct fg_command *command,
                       struct fg_refusal *refusal)
{
    struct fg_polled_device *polled = &poller->devices[device->number];
    if (!is_sound(command, refusal)) {
        return false;
    }
    struct fg_polled_job *job = job_new(poller, polled, command);
    if (!job) {
        return fg_refuse(refusal, FG_OUTCOME_NO_MEMORY, "there is no memory for the command");
    }
    bool good = fill(job, refusal);
    if (good && !poller->link) {
        good = fg_refuse(refusal, FG_OUTCOME_LINK_DOWN, "the port has no link");
    }
    if (!good || !fg_device_begin_command(device, refusal)) {
        free(job);
        return false;
    }
    command->work = job;
    command->next = NULL;
    fg_poller_link_post(poller->link, &command->task);
    return true;
}

struct poller_link *fg_polled_job_link(const struct fg_command *command)
{
    const struct fg_polled_job *job = command->work;
    return job->link;
}

/* ---- on the link's strand ---- */

static void answer(struct fg_command *command, const struct fg_command_result *result)
{
    struct fg_polled_job *job = job_of(command);
    struct fg_device *device = job->device->device;
    free(job);
    fg_device_end_command(device, command, result);
}

/* The device's first command is over. */
static void finish(struct fg_polled_device *device, const struct fg_command_result *result)
{
    struct fg_command *command = device->first;
    device->first = command->next;
    if (!device->first) {
        device->last = &device->first;
    }
    answer(command, result);
}

static void want_run(struct fg_poller *poller, struct fg_polled_device *device)
{
    poller->to_run += !device->to_run;
    device->to_run = true;
}

static const struct fg_command_result gone = { .outcome = FG_OUTCOME_LINK_DOWN,
                                               .why = "the link went down before its turn came" };

void fg_polled_queue(struct fg_command *command, bool up)
{
    struct fg_polled_job *job = job_of(command);
    struct fg_polled_device *device = job->device;
    if (!up) {
        answer(command, &gone);
        return;
    }
    *device->last = command;
    device->last = &command->next;
    if (device->first == command) {
        want_run(job->poller, device);
    }
}

void fg_polled_drop_commands(struct fg_poller *poller)
{
    for (size_t i = 0; i < poller->polling.count; i++) {
        while (poller->devices[i].first) {
            finish(&poller->devices[i], &gone);
        }
    }
}

static void prepare_read(struct fg_polled_job *job)
{
    const struct job_point *asked = &job->points[job->at];
    const struct fg_modbus_point *point = &job->device->modbus[asked->index];
    if (!asked->alone) {
        job->covered_count = fg_modbus_poll_reading(job->poller->poll, number_of(job), asked->index,
                                                    &job->request.request, job->covered);
        return;
    }
    job->covered[0] = asked->index;
    job->covered_count = 1;
    job->request.request =
        (struct fg_modbus_request){ .unit = unit_of(job->poller, job->device),
                                    .function = fg_modbus_table_function(point->table),
                                    .read = { .address = point->address, .count = point->count } };
}

/* Gives the protocol the next request of the device's first command. Returns false when that is over without
 * one. */
static bool give(struct fg_polled_job *job, struct fg_command_result *result, struct fg_refusal *refusal)
{
    refusal->point[0] = '\0';
    bool good = true;
    if (job->command->kind == FG_COMMAND_SET) {
        good = encode(job->poller, job->device, job->points[job->at].index, &job->command->fields[job->at],
                      &job->request.request, refusal);
    } else {
        prepare_read(job);
    }
    int error = good ? fg_modbus_poll_command(job->poller->poll, &job->request, job->poller->now_ns) : 0;
    if (error == -ENOTCONN) {
        good = fg_refuse(refusal, FG_OUTCOME_LINK_DOWN, "the link is down");
    } else if (error) {
        good = fg_refuse(refusal, FG_OUTCOME_NOT_SUPPORTED, "the protocol has no such request");
    }
    *result = (struct fg_command_result){ .outcome = refusal->outcome,
                                          .point = name_of(job, job->at),
                                          .why = refusal->why };
    return good;
}

static void hurry_written(struct fg_poller *poller, struct fg_polled_device *device)
{
    for (size_t i = 0; i < device->count && device->written > 0; i++) {
        if (device->points[i].written) {
            device->points[i].written = false;
            device->written--;
            fg_modbus_poll_hurry(poller->poll, (size_t)(device - poller->devices), (uint16_t)i,
                                 poller->now_ns);
        }
    }
}

bool fg_polled_run_commands(struct fg_poller *poller)
{
    bool any = poller->to_run > 0;
    for (size_t i = 0; i < poller->polling.count && poller->to_run > 0; i++) {
        struct fg_polled_device *device = &poller->devices[i];
        if (!device->to_run) {
            continue;
        }
        device->to_run = false;
        poller->to_run--;
        hurry_written(poller, device);
        struct fg_command_result result;
        struct fg_refusal refusal;
        while (device->first && !give(job_of(device->first), &result, &refusal)) {
            finish(device, &result);
        }
    }
    return any;
}

/* ---- what came of a request ---- */

/* It may stand there now: it is read, and published, as soon as possible. */
static void note_written(const struct fg_polled_job *job)
{
    struct fg_polled_point *point = &job->device->points[job->points[job->at].index];
    job->device->written += !point->written;
    point->written = true;
}

static const enum fg_outcome outcomes[] = {
    [FG_MODBUS_DONE] = FG_OUTCOME_DONE,        [FG_MODBUS_EXCEPTION] = FG_OUTCOME_EXCEPTION,
    [FG_MODBUS_TIMEOUT] = FG_OUTCOME_TIMEOUT,  [FG_MODBUS_EXPIRED] = FG_OUTCOME_EXPIRED,
    [FG_MODBUS_NOT_SENT] = FG_OUTCOME_OFFLINE, [FG_MODBUS_LINK_DOWN] = FG_OUTCOME_LINK_DOWN,
};

static const char *why_of(const struct fg_modbus_command *request, enum fg_modbus_outcome outcome,
                          bool writes, uint8_t exception)
{
    switch (outcome) {
    case FG_MODBUS_EXCEPTION:
        return fg_modbus_exception_name(exception);
    case FG_MODBUS_TIMEOUT:
        return writes ? "no answer came: whether it was executed is not known" : "no answer came";
    case FG_MODBUS_EXPIRED:
        return "its time was over before it could be sent";
    case FG_MODBUS_NOT_SENT:
        return "the device does not answer, and others need the line";
    case FG_MODBUS_LINK_DOWN:
        return writes && request->sent ? "the link went down before the answer: whether it was executed is "
                                         "not known"
                                       : "the link went down before it was sent";
    default:
        return NULL;
    }
}

/* With the fields of what was read so far. */
static void finish_read(struct fg_polled_job *job, struct fg_command_result *result)
{
    struct fg_polled_device *device = job->device;
    struct fg_field fields[FG_RECORD_MAX_FIELDS];
    for (size_t i = 0; i < job->count; i++) {
        const struct job_point *point = &job->points[i];
        if (point->read) {
            const char *name = name_of(job, i);
            fields[result->count++] = (struct fg_field){ .name = name,
                                                         .name_length = strlen(name),
                                                         .value = device->points[point->index].value };
        } else if (point->exception && result->outcome == FG_OUTCOME_DONE) {
            result->outcome = FG_OUTCOME_EXCEPTION;
            result->exception = point->exception;
            result->point = name_of(job, i);
            result->why = fg_modbus_exception_name(point->exception);
        }
    }
    result->fields = fields;
    finish(device, result);
}

static bool is_covered(const struct fg_polled_job *job, uint16_t index)
{
    for (size_t i = 0; i < job->covered_count; i++) {
        if (job->covered[i] == index) {
            return true;
        }
    }
    return false;
}

/* What the answer told of the job's points: values, or that the device refuses them. Where it refuses several
 * at once, each is asked for alone. */
static void note_read(struct fg_polled_job *job, uint8_t exception)
{
    for (size_t i = 0; i < job->count; i++) {
        struct job_point *point = &job->points[i];
        if (point->read || point->exception || !is_covered(job, point->index)) {
            continue;
        }
        if (!exception) {
            point->read = true;
        } else if (job->covered_count > 1) {
            point->alone = true;
        } else {
            point->exception = exception;
        }
    }
    while (job->at < job->count && (job->points[job->at].read || job->points[job->at].exception)) {
        job->at++;
    }
}

static void was_read(struct fg_polled_job *job, const struct fg_modbus_answer *answer)
{
    struct fg_poller *poller = job->poller;
    if (answer->exception == 0) {
        fg_polled_take_values(poller, number_of(job), job->covered, job->covered_count, answer);
    }
    note_read(job, answer->exception);
    if (job->at == job->count) {
        struct fg_command_result result = { .outcome = FG_OUTCOME_DONE };
        finish_read(job, &result);
    }
}

void fg_polled_commanded(struct fg_poller *poller, struct fg_modbus_command *request,
                         enum fg_modbus_outcome outcome, const struct fg_modbus_answer *answer)
{
    struct fg_polled_job *job =
        (struct fg_polled_job *)(void *)((char *)request - offsetof(struct fg_polled_job, request));
    struct fg_polled_device *device = job->device;
    bool writes = job->command->kind == FG_COMMAND_SET;
    want_run(poller, device);
    if (!writes && answer) {
        was_read(job, answer);
        return;
    }
    if (writes && (outcome == FG_MODBUS_DONE || outcome == FG_MODBUS_TIMEOUT)) {
        note_written(job);
    }
    if (outcome == FG_MODBUS_DONE && ++job->at < job->count) {
        return;
    }
    uint8_t exception = answer ? answer->exception : 0;
    struct fg_command_result result = { .outcome = outcomes[outcome],
                                        .exception = exception,
                                        .why = why_of(request, outcome, writes, exception) };
    if (outcome != FG_MODBUS_DONE) {
        result.point = name_of(job, job->at);
    }
    if (writes) {
        finish(device, &result);
    } else {
        finish_read(job, &result);
    }
}
