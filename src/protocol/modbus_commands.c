/* Requests out of turn. A write is sent once: when no answer comes, nobody knows whether it was executed. */
#include "modbus_poller.h"

#include <errno.h>

static const char *const outcome_names[] = {
    [FG_MODBUS_DONE] = "ok",         [FG_MODBUS_EXCEPTION] = "exception", [FG_MODBUS_TIMEOUT] = "timeout",
    [FG_MODBUS_EXPIRED] = "expired", [FG_MODBUS_NOT_SENT] = "offline",    [FG_MODBUS_LINK_DOWN] = "link down",
};

const char *fg_modbus_outcome_name(enum fg_modbus_outcome outcome)
{
    return outcome_names[outcome];
}

int fg_modbus_poll_command(struct fg_modbus_poll *poll, struct fg_modbus_command *command, int64_t now_ns)
{
    if (command->device >= poll->count || !fg_modbus_request_valid(&command->request, poll->mode) ||
        !fg_modbus_request_answered(&command->request, poll->mode)) {
        return -EINVAL;
    }
    struct fg_modbus_target *target = &poll->targets[command->device];
    if (!poll->up) {
        return -ENOTCONN;
    }
    if (target->queued == FG_MODBUS_COMMANDS_MAX) {
        return -EBUSY;
    }
    command->next = NULL;
    command->knows_echo = false;
    command->sent = false;
    command->attempts = 0;
    command->since_ns = now_ns;
    *target->last = command;
    target->last = &command->next;
    target->queued++;
    return 0;
}

void fg_modbus_command_finish(struct fg_modbus_poll *poll, struct fg_modbus_target *target,
                              enum fg_modbus_outcome outcome, const struct fg_modbus_answer *answer)
{
    struct fg_modbus_command *command = target->first;
    target->first = command->next;
    if (!target->first) {
        target->last = &target->first;
    }
    target->queued--;
    target->commanded = false;
    poll->events->commanded(poll->context, command, outcome, answer);
}

/* Functions whose answer is the same bytes as the request. */
static bool looks_like_echo(const struct fg_modbus_request *request)
{
    return request->function == FG_MODBUS_WRITE_COIL || request->function == FG_MODBUS_WRITE_REGISTER ||
           request->function == FG_MODBUS_MASK_WRITE;
}

static bool only_reads(const struct fg_modbus_request *request)
{
    return request->function <= FG_MODBUS_READ_INPUT;
}

enum fg_modbus_stage fg_modbus_command_request(const struct fg_modbus_poll *poll,
                                               struct fg_modbus_command *command,
                                               struct fg_modbus_request *request)
{
    const struct fg_modbus_target *target = &poll->targets[command->device];
    uint8_t function = command->request.function;
    if ((function == FG_MODBUS_WRITE_COIL && target->lacks_coil) ||
        (function == FG_MODBUS_WRITE_REGISTER && target->lacks_register)) {
        fg_modbus_request_widen(&command->request);
    }
    bool echo = looks_like_echo(&command->request) && poll->matcher.echo == FG_MODBUS_ECHO_UNKNOWN &&
                !command->knows_echo;
    bool masks = function == FG_MODBUS_MASK_WRITE && target->lacks_mask;
    if (!echo && !masks) {
        *request = command->request;
        return FG_MODBUS_STAGE_ITSELF;
    }
    *request = (struct fg_modbus_request){ .unit = command->request.unit,
                                           .function = FG_MODBUS_READ_HOLDING,
                                           .read = command->request.write };
    if (!echo) {
        return FG_MODBUS_STAGE_REGISTER;
    }
    if (!fg_modbus_matcher_safe(&poll->matcher, request)) {
        request->function = FG_MODBUS_READ_COILS; /* whatever the answer is, it is one */
    }
    return FG_MODBUS_STAGE_ECHO;
}

/* Answers what need not be sent. Returns whether the device's first command may be. */
static bool worth_sending(struct fg_modbus_poll *poll, struct fg_modbus_target *target, int64_t now_ns)
{
    int64_t unused_ns = INT64_MAX;
    const struct fg_modbus_command *command = target->first;
    if (command->expires_ns > 0 && now_ns >= command->expires_ns) {
        fg_modbus_command_finish(poll, target, FG_MODBUS_EXPIRED, NULL);
        return false;
    }
    if (target->state == FG_MODBUS_OFFLINE && !fg_modbus_affords(poll, now_ns, &unused_ns)) {
        fg_modbus_command_finish(poll, target, FG_MODBUS_NOT_SENT, NULL);
        return false;
    }
    return true;
}

struct fg_modbus_command *fg_modbus_pick_command(struct fg_modbus_poll *poll, int64_t now_ns,
                                                 int64_t *wake_ns)
{
    struct fg_modbus_command *best = NULL;
    for (size_t i = 0; i < poll->count; i++) {
        struct fg_modbus_target *target = &poll->targets[i];
        while (target->first && !target->commanded && !worth_sending(poll, target, now_ns)) {
        }
        struct fg_modbus_command *command = target->first;
        if (!command || target->commanded) {
            continue;
        }
        struct fg_modbus_request request;
        fg_modbus_command_request(poll, command, &request);
        int64_t safe_ns = fg_modbus_safe_ns(poll, target, &request);
        if (safe_ns > now_ns) {
            fg_modbus_sooner(wake_ns, safe_ns);
            if (command->expires_ns > 0) {
                fg_modbus_sooner(wake_ns, command->expires_ns);
            }
        } else if (!best || command->since_ns < best->since_ns) {
            best = command;
        }
    }
    return best;
}

/* The device does not know the function: takes another one that does the same. Returns false without one. */
static bool find_another_way(struct fg_modbus_target *target, struct fg_modbus_request *request)
{
    switch (request->function) {
    case FG_MODBUS_WRITE_COIL:
        target->lacks_coil = true;
        return fg_modbus_request_widen(request);
    case FG_MODBUS_WRITE_REGISTER:
        target->lacks_register = true;
        return fg_modbus_request_widen(request);
    case FG_MODBUS_MASK_WRITE:
        target->lacks_mask = true;
        return true;
    default:
        return false;
    }
}

/* Application Protocol 6.16, done here. */
static void write_masked(struct fg_modbus_request *request, uint16_t word)
{
    unsigned mask = request->and_mask;
    request->function = FG_MODBUS_WRITE_REGISTER;
    request->registers[0] = (uint16_t)((word & mask) | (request->or_mask & ~mask));
}

void fg_modbus_command_answered(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange,
                                const struct fg_modbus_answer *answer)
{
    struct fg_modbus_target *target = exchange->target;
    struct fg_modbus_command *command = exchange->command;
    bool nobody =
        answer->exception == FG_MODBUS_GATEWAY_PATH || answer->exception == FG_MODBUS_GATEWAY_TARGET;
    target->commanded = false;
    command->attempts = 0;
    if (!nobody) {
        fg_modbus_target_alive(poll, target);
    }
    if (exchange->stage == FG_MODBUS_STAGE_ECHO && !nobody) {
        command->knows_echo = true;
        return;
    }
    if (exchange->stage == FG_MODBUS_STAGE_REGISTER && !answer->exception) {
        write_masked(&command->request, fg_modbus_answer_register(answer, command->request.write.address));
        return;
    }
    if (exchange->stage == FG_MODBUS_STAGE_ITSELF && answer->exception == FG_MODBUS_ILLEGAL_FUNCTION &&
        find_another_way(target, &command->request)) {
        return;
    }
    fg_modbus_command_finish(poll, target, answer->exception ? FG_MODBUS_EXCEPTION : FG_MODBUS_DONE, answer);
}

void fg_modbus_command_unanswered(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange,
                                  int64_t now_ns)
{
    struct fg_modbus_target *target = exchange->target;
    struct fg_modbus_command *command = exchange->command;
    target->commanded = false;
    poll->in_a_row = FG_MODBUS_COMMANDS_IN_A_ROW; /* it took long enough: polls that are due come first */
    if (only_reads(&exchange->request) && target->state == FG_MODBUS_ONLINE &&
        command->attempts < target->retries) {
        command->attempts++;
        command->since_ns = now_ns;
        return;
    }
    fg_modbus_command_finish(poll, target, FG_MODBUS_TIMEOUT, NULL);
}
