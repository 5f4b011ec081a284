#include "fieldgate/modbus_poll.h"

#include "modbus_poller.h"

#include <errno.h>
#include <stdlib.h>

/* Silence that ends a frame: what USB adapters hold back, and converters between TCP and a serial line. */
#define ADAPTER_NS   (20 * FG_NS_PER_MS)
#define CONVERTER_NS (100 * FG_NS_PER_MS)

/* RTU through TCP: what comes at once after an answer still belongs to it. */
#define PAUSE_NS (5 * FG_NS_PER_MS)

/* After a doubtful answer the request's own is waited for: so long, and twice as long as the device takes. */
#define DOUBT_NS   (50 * FG_NS_PER_MS)
#define DOUBTS_MAX 3

#define SETTLE_TIMEOUTS 4
#define SETTLE_MIN_NS   (2 * FG_NS_PER_S)

#define CREDIT_MAX_NS (2 * FG_NS_PER_S)

int64_t fg_modbus_settle_ns(const struct fg_modbus_target *target)
{
    int64_t settle_ns = target->timeout_ns * SETTLE_TIMEOUTS;
    return settle_ns > SETTLE_MIN_NS ? settle_ns : SETTLE_MIN_NS;
}

int64_t fg_modbus_safe_ns(const struct fg_modbus_poll *poll, const struct fg_modbus_target *target,
                          const struct fg_modbus_request *request)
{
    int64_t doubt_ns = fg_modbus_matcher_doubt_ns(&poll->matcher, request);
    return doubt_ns == INT64_MIN ? doubt_ns : doubt_ns + fg_modbus_settle_ns(target);
}

/* ---- life ---- */

static bool device_valid(const struct fg_modbus_poll_device *device, enum fg_modbus_mode mode)
{
    return device->poll_interval_ns > 0 && device->timeout_ns > 0 && device->retries >= 0 &&
           device->retries < UINT8_MAX && (mode == FG_MODBUS_TCP || device->unit > 0);
}

static int init_target(struct fg_modbus_target *target, const struct fg_modbus_poll_device *device)
{
    target->unit = device->unit;
    target->retries = device->retries;
    target->timeout_ns = device->timeout_ns;
    target->served_ns = INT64_MIN;
    target->last = &target->first;
    return fg_modbus_plan_init(&target->plan, device->points, device->count, device->poll_interval_ns,
                               device->max_gap);
}

static int64_t gap_of(const struct fg_modbus_poll_settings *settings)
{
    if (settings->gap_ns > 0) {
        return settings->gap_ns;
    }
    return settings->line ? settings->line->t35_ns + ADAPTER_NS : CONVERTER_NS;
}

int fg_modbus_poll_new(const struct fg_modbus_poll_settings *settings,
                       const struct fg_modbus_poll_device *devices, size_t count,
                       const struct fg_modbus_poll_events *events, void *context,
                       struct fg_modbus_poll **poll)
{
    bool tcp = settings->mode == FG_MODBUS_TCP;
    for (size_t i = 0; i < count; i++) {
        if (!device_valid(&devices[i], settings->mode)) {
            return -EINVAL;
        }
    }
    if (tcp && (settings->pipeline < 1 || settings->pipeline > FG_MODBUS_PIPELINE_MAX)) {
        return -EINVAL;
    }
    struct fg_modbus_poll *made = calloc(1, sizeof *made);
    struct fg_modbus_target *targets = calloc(count > 0 ? count : 1, sizeof *targets);
    if (!made || !targets) {
        free(made);
        free(targets);
        return -ENOMEM;
    }
    made->mode = settings->mode;
    made->serial = settings->line != NULL;
    if (settings->line) {
        made->line = *settings->line;
    }
    made->gap_ns = gap_of(settings);
    made->pipeline = tcp ? settings->pipeline : 1;
    made->events = events;
    made->context = context;
    made->targets = targets;
    for (size_t i = 0; i < count; i++) {
        targets[i].index = i;
        int error = init_target(&targets[i], &devices[i]);
        if (error) {
            fg_modbus_poll_free(made);
            return error;
        }
        made->count = i + 1;
        if (tcp && targets[i].timeout_ns > made->gap_ns) {
            made->gap_ns = targets[i].timeout_ns; /* a frame may come in pieces for so long */
        }
    }
    *poll = made;
    return 0;
}

void fg_modbus_poll_free(struct fg_modbus_poll *poll)
{
    if (poll) {
        for (size_t i = 0; i < poll->count; i++) {
            fg_modbus_plan_fini(&poll->targets[i].plan);
        }
        free(poll->targets);
        free(poll);
    }
}

void fg_modbus_poll_get_stats(const struct fg_modbus_poll *poll, size_t device,
                              struct fg_modbus_poll_stats *stats)
{
    *stats = poll->targets[device].stats;
}

/* ---- the link ---- */

void fg_modbus_poll_up(struct fg_modbus_poll *poll, int64_t now_ns)
{
    fg_modbus_matcher_init(&poll->matcher, poll->mode);
    poll->up = true;
    poll->free_ns = now_ns;
    poll->credit_ns = CREDIT_MAX_NS;
    poll->credited_ns = now_ns;
    for (size_t i = 0; i < poll->count && !poll->started; i++) {
        struct fg_modbus_plan *plan = &poll->targets[i].plan;
        for (uint16_t k = 0; k < plan->group_count; k++) {
            plan->groups[k].due_ns = now_ns;
        }
    }
    poll->started = true;
}

static void release(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange)
{
    exchange->used = false;
    exchange->target->asked--;
    poll->in_flight--;
}

void fg_modbus_poll_down(struct fg_modbus_poll *poll, int64_t now_ns)
{
    (void)now_ns;
    poll->up = false;
    for (size_t i = 0; i < FG_MODBUS_PIPELINE_MAX; i++) {
        struct fg_modbus_exchange *exchange = &poll->exchanges[i];
        if (exchange->used) {
            if (exchange->block) {
                exchange->block->state = FG_MODBUS_BLOCK_WAITS;
            }
            release(poll, exchange);
        }
    }
    for (size_t i = 0; i < poll->count; i++) {
        struct fg_modbus_target *target = &poll->targets[i];
        bool online = target->state == FG_MODBUS_ONLINE;
        while (target->first) {
            fg_modbus_command_finish(poll, target, FG_MODBUS_LINK_DOWN, NULL);
        }
        fg_modbus_target_rest(poll, target);
        target->state = FG_MODBUS_UNKNOWN;
        target->stats.online = false;
        if (online) {
            poll->events->online(poll->context, i, false);
        }
    }
    poll->online = 0;
}

/* ---- what comes ---- */

static struct fg_modbus_exchange *exchange_of(struct fg_modbus_poll *poll,
                                              const struct fg_modbus_request *request)
{
    for (size_t i = 0; i < FG_MODBUS_PIPELINE_MAX; i++) {
        if (poll->exchanges[i].used && &poll->exchanges[i].request == request) {
            return &poll->exchanges[i];
        }
    }
    return NULL;
}

/* The longest of late, slowly forgotten. */
static void note_response(struct fg_modbus_exchange *exchange, int64_t now_ns)
{
    struct fg_modbus_target *target = exchange->target;
    int64_t response_ns = now_ns - exchange->sent_ns;
    target->response_ns -= target->response_ns / 8;
    target->response_ns = response_ns > target->response_ns ? response_ns : target->response_ns;
    target->doubts = 0;
}

static void answered(struct fg_modbus_poll *poll, const struct fg_modbus_answer *answer, int64_t now_ns)
{
    struct fg_modbus_exchange *exchange = exchange_of(poll, answer->request);
    if (!exchange) {
        return;
    }
    struct fg_modbus_poll_stats *stats = &exchange->target->stats;
    exchange->target->served_ns = now_ns;
    stats->answers++;
    note_response(exchange, now_ns);
    stats->exceptions += answer->exception != 0;
    release(poll, exchange);
    if (exchange->command) {
        fg_modbus_command_answered(poll, exchange, answer);
    } else {
        fg_modbus_block_answered(poll, exchange, answer, now_ns);
    }
}

/* What is doubted is asked again soon. */
static void hasten(struct fg_modbus_poll *poll, int64_t now_ns)
{
    struct fg_modbus_exchange *exchange = &poll->exchanges[0];
    if (!exchange->used || !fg_modbus_matcher_doubts(&poll->matcher)) {
        return;
    }
    int64_t soon_ns = now_ns + DOUBT_NS;
    int64_t usual_ns = exchange->sent_ns + 2 * exchange->target->response_ns;
    soon_ns = soon_ns > usual_ns ? soon_ns : usual_ns;
    if (soon_ns < exchange->deadline_ns) {
        exchange->doubted = true;
        exchange->deadline_ns = soon_ns;
    }
}

/* Returns whether there may be more. */
static bool take(struct fg_modbus_poll *poll, enum fg_modbus_event event,
                 const struct fg_modbus_answer *answer, enum fg_reason reason, int64_t now_ns)
{
    switch (event) {
    case FG_MODBUS_ANSWER:
        answered(poll, answer, now_ns);
        return true;
    case FG_MODBUS_REJECT:
        poll->events->rejected(poll->context, reason);
        if (reason == FG_REASON_DUPLICATE) {
            hasten(poll, now_ns);
        } else if (reason == FG_REASON_INCOMPLETE && poll->mode == FG_MODBUS_TCP) {
            /* Without a CRC, its rest would be as good as that of the next frame that is cut: it has some
             * time to come while nothing is expected. */
            poll->free_ns = now_ns + poll->gap_ns;
        }
        return true;
    default:
        return false;
    }
}

void fg_modbus_poll_feed(struct fg_modbus_poll *poll, const uint8_t *bytes, size_t size, int64_t now_ns)
{
    struct fg_modbus_answer answer;
    enum fg_reason reason = FG_REASON_NONE;
    enum fg_modbus_event event;
    if (!poll->up || size == 0) {
        return;
    }
    poll->silent_ns = now_ns + poll->gap_ns;
    if (poll->mode == FG_MODBUS_RTU) {
        poll->free_ns = now_ns + (poll->serial ? poll->line.t35_ns : PAUSE_NS);
    }
    do {
        event = fg_modbus_matcher_feed(&poll->matcher, &bytes, &size, &answer, &reason);
    } while (take(poll, event, &answer, reason, now_ns));
}

/* ---- time ---- */

static void hear_silence(struct fg_modbus_poll *poll, int64_t now_ns)
{
    struct fg_modbus_answer answer;
    enum fg_reason reason = FG_REASON_NONE;
    enum fg_modbus_event event;
    if (!fg_modbus_matcher_holds(&poll->matcher) || now_ns < poll->silent_ns) {
        return;
    }
    do {
        event = fg_modbus_matcher_silence(&poll->matcher, &answer, &reason);
    } while (take(poll, event, &answer, reason, now_ns));
}

/* While a frame comes in, its time is not over. */
static int64_t deadline_of(const struct fg_modbus_poll *poll, const struct fg_modbus_exchange *exchange)
{
    int64_t deadline_ns = exchange->deadline_ns;
    if (fg_modbus_matcher_holds(&poll->matcher) && poll->silent_ns > deadline_ns) {
        deadline_ns = poll->silent_ns < exchange->limit_ns ? poll->silent_ns : exchange->limit_ns;
    }
    return deadline_ns;
}

/* Not for want of an answer: so it is no retry, and it keeps its turn. */
static void ask_again(struct fg_modbus_exchange *exchange)
{
    if (exchange->block) {
        exchange->block->state = FG_MODBUS_BLOCK_WAITS;
        exchange->block->since_ns = exchange->sent_ns;
    } else {
        exchange->target->commanded = false;
    }
}

static void time_out(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange, int64_t now_ns)
{
    struct fg_modbus_target *target = exchange->target;
    fg_modbus_matcher_give_up(&poll->matcher, &exchange->request);
    if (exchange->doubted && target->doubts < DOUBTS_MAX) {
        target->doubts++;
        release(poll, exchange);
        ask_again(exchange);
        return;
    }
    if (target->state == FG_MODBUS_OFFLINE && poll->online > 0) {
        poll->credit_ns -= now_ns - exchange->sent_ns;
    }
    target->stats.timeouts++;
    target->served_ns = now_ns;
    release(poll, exchange);
    if (exchange->command) {
        fg_modbus_command_unanswered(poll, exchange, now_ns);
    } else {
        fg_modbus_block_unanswered(poll, exchange, now_ns);
    }
}

static void pass_time(struct fg_modbus_poll *poll, int64_t now_ns)
{
    int64_t earned_ns = (now_ns - poll->credited_ns) / FG_MODBUS_CREDIT_SHARE;
    poll->credit_ns =
        poll->credit_ns + earned_ns < CREDIT_MAX_NS ? poll->credit_ns + earned_ns : CREDIT_MAX_NS;
    poll->credited_ns += earned_ns * FG_MODBUS_CREDIT_SHARE;
    hear_silence(poll, now_ns);
    for (size_t i = 0; i < FG_MODBUS_PIPELINE_MAX && poll->in_flight > 0; i++) {
        struct fg_modbus_exchange *exchange = &poll->exchanges[i];
        if (exchange->used && deadline_of(poll, exchange) <= now_ns) {
            time_out(poll, exchange, now_ns);
        }
    }
    for (size_t i = 0; i < poll->count && poll->matcher.sent_count > poll->matcher.outstanding; i++) {
        const struct fg_modbus_target *target = &poll->targets[i];
        fg_modbus_matcher_settle(&poll->matcher, target->unit, now_ns - fg_modbus_settle_ns(target) + 1);
    }
}

/* ---- sending ---- */

/* Whose turn it is, into exchange. Returns false when it is nobody's. */
static bool pick(struct fg_modbus_poll *poll, int64_t now_ns, int64_t *wake_ns,
                 struct fg_modbus_exchange *exchange)
{
    struct fg_modbus_command *command = fg_modbus_pick_command(poll, now_ns, wake_ns);
    struct fg_modbus_block *block = NULL;
    struct fg_modbus_target *target = NULL;
    if (!command || poll->in_a_row >= FG_MODBUS_COMMANDS_IN_A_ROW) {
        block = fg_modbus_pick_block(poll, now_ns, wake_ns, &target);
    }
    if (block) {
        poll->in_a_row = 0;
        exchange->target = target;
        exchange->block = block;
        exchange->command = NULL;
        fg_modbus_block_request(block, target->unit, &exchange->request);
        return true;
    }
    if (command) {
        poll->in_a_row++;
        exchange->target = &poll->targets[command->device];
        exchange->block = NULL;
        exchange->command = command;
        exchange->stage = fg_modbus_command_request(poll, command, &exchange->request);
        return true;
    }
    return false;
}

static void mark_sent(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange, int64_t now_ns)
{
    struct fg_modbus_target *target = exchange->target;
    int64_t line_ns = 0;
    if (poll->serial) {
        line_ns = fg_modbus_line_exchange_ns(&poll->line, &exchange->request, 0);
    }
    exchange->used = true;
    exchange->doubted = false;
    exchange->sent_ns = now_ns;
    exchange->deadline_ns = now_ns + line_ns + target->timeout_ns;
    exchange->limit_ns = exchange->deadline_ns + target->timeout_ns;
    poll->in_flight++;
    target->asked++;
    target->stats.requests++;
    if (exchange->command) {
        target->commanded = true;
        exchange->command->sent |= exchange->stage == FG_MODBUS_STAGE_ITSELF;
    } else {
        fg_modbus_block_asked(target, exchange->block, now_ns);
    }
}

static struct fg_modbus_exchange *unused_exchange(struct fg_modbus_poll *poll)
{
    for (size_t i = 0; i < poll->pipeline; i++) {
        if (!poll->exchanges[i].used) {
            return &poll->exchanges[i];
        }
    }
    return NULL;
}

/* Whether a request may go out now; if not, when. */
static bool line_is_free(const struct fg_modbus_poll *poll, int64_t now_ns, int64_t *wake_ns)
{
    if (poll->in_flight == poll->pipeline) {
        return false;
    }
    bool idle = poll->mode == FG_MODBUS_RTU || poll->in_flight == 0;
    if (idle && fg_modbus_matcher_holds(&poll->matcher)) {
        return false; /* until its silence, at which it wakes anyway */
    }
    if (poll->free_ns > now_ns) {
        fg_modbus_sooner(wake_ns, poll->free_ns);
        return false;
    }
    return true;
}

size_t fg_modbus_poll_next(struct fg_modbus_poll *poll, int64_t now_ns, uint8_t adu[FG_MODBUS_ADU_MAX],
                           int64_t *wake_ns)
{
    size_t size = 0;
    *wake_ns = INT64_MAX;
    if (!poll->up) {
        return 0;
    }
    pass_time(poll, now_ns);
    fg_modbus_rounds_begin(poll, now_ns, wake_ns);
    struct fg_modbus_exchange *exchange = unused_exchange(poll);
    if (line_is_free(poll, now_ns, wake_ns) && exchange && pick(poll, now_ns, wake_ns, exchange)) {
        int error = fg_modbus_matcher_send(&poll->matcher, &exchange->request, now_ns, adu, &size);
        if (!error) {
            mark_sent(poll, exchange, now_ns);
            return size;
        }
        /* Too much is in doubt: until some of it is settled. */
        fg_modbus_sooner(wake_ns, now_ns + SETTLE_MIN_NS / 20);
    }
    for (size_t i = 0; i < FG_MODBUS_PIPELINE_MAX && poll->in_flight > 0; i++) {
        if (poll->exchanges[i].used) {
            fg_modbus_sooner(wake_ns, deadline_of(poll, &poll->exchanges[i]));
        }
    }
    if (fg_modbus_matcher_holds(&poll->matcher)) {
        fg_modbus_sooner(wake_ns, poll->silent_ns);
    }
    return 0;
}
