/* The devices of a line: their rounds of requests, and whether they answer. */
#include "modbus_poller.h"

#include <string.h>

#define BACKOFF_MIN_NS FG_NS_PER_S
#define BACKOFF_MAX_NS (60 * FG_NS_PER_S)

static struct fg_modbus_block *block_at(struct fg_modbus_target *target, uint16_t index)
{
    return index == FG_MODBUS_NONE ? NULL : &target->plan.blocks[index];
}

static const uint16_t *points_of(const struct fg_modbus_target *target, const struct fg_modbus_block *block)
{
    return target->plan.order + block->first;
}

/* ---- rounds ---- */

static void wait_for_turn(struct fg_modbus_block *block, int64_t since_ns)
{
    if (block->state == FG_MODBUS_BLOCK_IDLE) {
        block->state = FG_MODBUS_BLOCK_WAITS;
        block->since_ns = since_ns;
    }
}

static void begin_round(struct fg_modbus_target *target, struct fg_modbus_group *group, int64_t now_ns)
{
    bool any = false;
    for (uint16_t i = group->blocks; i != FG_MODBUS_NONE; i = target->plan.blocks[i].next) {
        struct fg_modbus_block *block = &target->plan.blocks[i];
        if (!block->refused || now_ns >= block->retry_ns) {
            wait_for_turn(block, group->due_ns);
            any = true;
        }
    }
    if (!any) { /* all are refused: one is asked, to know whether the device still answers */
        wait_for_turn(&target->plan.blocks[group->blocks], group->due_ns);
    }
    group->running = true;
    group->whole = true;
    group->begun_ns = 0;
}

void fg_modbus_block_asked(struct fg_modbus_target *target, struct fg_modbus_block *block, int64_t now_ns)
{
    struct fg_modbus_group *group = &target->plan.groups[block->group];
    block->state = FG_MODBUS_BLOCK_ASKED;
    block->hurried = false;
    if (group->whole && group->begun_ns == 0) {
        group->begun_ns = now_ns;
    }
}

void fg_modbus_rounds_begin(struct fg_modbus_poll *poll, int64_t now_ns, int64_t *wake_ns)
{
    for (size_t i = 0; i < poll->count; i++) {
        struct fg_modbus_target *target = &poll->targets[i];
        for (uint16_t k = 0; k < target->plan.group_count; k++) {
            struct fg_modbus_group *group = &target->plan.groups[k];
            if (group->whole) {
                continue;
            }
            if (group->due_ns > now_ns) {
                fg_modbus_sooner(wake_ns, group->due_ns);
            } else {
                begin_round(target, group, now_ns);
            }
        }
    }
}

static void tell_reading(struct fg_modbus_poll *poll, struct fg_modbus_target *target,
                         struct fg_modbus_group *group)
{
    if (group->yielded) {
        group->yielded = false;
        poll->events->reading(poll->context, target->index, (size_t)(group - target->plan.groups));
    }
}

/* Periods that have passed wholly until then. */
static int64_t passed(const struct fg_modbus_group *group, int64_t then_ns)
{
    return then_ns > group->due_ns ? (then_ns - group->due_ns) / group->period_ns : 0;
}

/* The round that is over was that of the period in which it was begun. The next one's time is a period later;
 * what has passed wholly between is missed. */
static void advance(struct fg_modbus_target *target, struct fg_modbus_group *group, int64_t now_ns)
{
    int64_t before = passed(group, group->begun_ns);
    group->due_ns += before * group->period_ns;
    int64_t since = passed(group, now_ns);
    since = since < 1 ? 1 : since;
    group->due_ns += since * group->period_ns;
    target->stats.missed += (uint64_t)(before + since - 1);
    group->whole = false;
}

static void end_round(struct fg_modbus_poll *poll, struct fg_modbus_target *target,
                      struct fg_modbus_group *group, int64_t now_ns)
{
    for (struct fg_modbus_block *block = block_at(target, group->blocks); block;
         block = block_at(target, block->next)) {
        if (block->state != FG_MODBUS_BLOCK_IDLE) {
            return;
        }
    }
    group->running = false;
    tell_reading(poll, target, group);
    if (group->whole) {
        advance(target, group, now_ns);
    }
    fg_modbus_plan_tidy(&target->plan, group);
}

void fg_modbus_target_rest(struct fg_modbus_poll *poll, struct fg_modbus_target *target)
{
    for (uint16_t k = 0; k < target->plan.group_count; k++) {
        struct fg_modbus_group *group = &target->plan.groups[k];
        tell_reading(poll, target, group);
        group->running = group->whole;
        group->begun_ns = 0;
        for (struct fg_modbus_block *block = block_at(target, group->blocks); block;
             block = block_at(target, block->next)) {
            bool again = group->whole && (!block->refused || block->state != FG_MODBUS_BLOCK_IDLE);
            block->hurried = false;
            block->attempts = 0;
            if (block->state == FG_MODBUS_BLOCK_ASKED) {
                group->running = true;
                continue;
            }
            block->state = FG_MODBUS_BLOCK_IDLE;
            if (again) {
                wait_for_turn(block, group->due_ns);
            }
        }
    }
}

void fg_modbus_poll_hurry(struct fg_modbus_poll *poll, size_t device, uint16_t point, int64_t now_ns)
{
    struct fg_modbus_target *target = &poll->targets[device];
    struct fg_modbus_block *block = fg_modbus_plan_block_of(&target->plan, point);
    if (block) {
        block->hurried = true;
        wait_for_turn(block, now_ns);
        target->plan.groups[block->group].running = true;
    }
}

size_t fg_modbus_poll_reading(struct fg_modbus_poll *poll, size_t device, uint16_t point,
                              struct fg_modbus_request *request, uint16_t *points)
{
    struct fg_modbus_target *target = &poll->targets[device];
    const struct fg_modbus_block *block = fg_modbus_plan_block_of(&target->plan, point);
    if (!block) {
        return 0;
    }
    fg_modbus_block_request(block, target->unit, request);
    memcpy(points, points_of(target, block), block->count * sizeof points[0]);
    return block->count;
}

/* ---- turns ---- */

bool fg_modbus_affords(const struct fg_modbus_poll *poll, int64_t now_ns, int64_t *wake_ns)
{
    if (poll->online == 0 || poll->credit_ns > 0) {
        return true;
    }
    fg_modbus_sooner(wake_ns, now_ns + (1 - poll->credit_ns) * FG_MODBUS_CREDIT_SHARE);
    return false;
}

/* Whether the device may be asked something more now; if not, when. */
static bool may_be_asked(const struct fg_modbus_poll *poll, const struct fg_modbus_target *target,
                         int64_t now_ns, int64_t *wake_ns)
{
    if (target->state == FG_MODBUS_ONLINE) {
        return true;
    }
    if (target->asked > 0) {
        return false;
    }
    if (target->state == FG_MODBUS_UNKNOWN) {
        return true;
    }
    if (target->probe_ns > now_ns) {
        fg_modbus_sooner(wake_ns, target->probe_ns);
        return false;
    }
    return fg_modbus_affords(poll, now_ns, wake_ns);
}

static bool goes_before(const struct fg_modbus_block *block, const struct fg_modbus_block *other)
{
    if (block->hurried != other->hurried) {
        return block->hurried;
    }
    return block->since_ns < other->since_ns;
}

/* The device's next block of those whose answer would be told from what may come late. */
static struct fg_modbus_block *next_block(struct fg_modbus_poll *poll, struct fg_modbus_target *target,
                                          int64_t now_ns, int64_t *wake_ns)
{
    struct fg_modbus_block *best = NULL;
    for (uint16_t k = 0; k < target->plan.group_count; k++) {
        struct fg_modbus_group *group = &target->plan.groups[k];
        if (!group->running) {
            continue;
        }
        for (struct fg_modbus_block *block = block_at(target, group->blocks); block;
             block = block_at(target, block->next)) {
            if (block->state != FG_MODBUS_BLOCK_WAITS || (best && !goes_before(block, best))) {
                continue;
            }
            struct fg_modbus_request request;
            fg_modbus_block_request(block, target->unit, &request);
            int64_t safe_ns = fg_modbus_safe_ns(poll, target, &request);
            if (safe_ns <= now_ns) {
                best = block;
            } else {
                fg_modbus_sooner(wake_ns, safe_ns);
            }
        }
    }
    return best;
}

struct fg_modbus_block *fg_modbus_pick_block(struct fg_modbus_poll *poll, int64_t now_ns, int64_t *wake_ns,
                                             struct fg_modbus_target **target)
{
    struct fg_modbus_block *best = NULL;
    int64_t best_ns = 0;
    for (size_t i = 0; i < poll->count; i++) {
        struct fg_modbus_target *candidate = &poll->targets[i];
        if (!may_be_asked(poll, candidate, now_ns, wake_ns)) {
            continue;
        }
        struct fg_modbus_block *block = next_block(poll, candidate, now_ns, wake_ns);
        if (!block) {
            continue;
        }
        int64_t waits_ns = block->since_ns > candidate->served_ns ? block->since_ns : candidate->served_ns;
        bool sooner = !best || (block->hurried != best->hurried ? block->hurried : waits_ns < best_ns);
        if (sooner) {
            best = block;
            best_ns = waits_ns;
            *target = candidate;
        }
    }
    return best;
}

/* ---- answers ---- */

void fg_modbus_target_alive(struct fg_modbus_poll *poll, struct fg_modbus_target *target)
{
    if (target->state != FG_MODBUS_ONLINE) {
        target->state = FG_MODBUS_ONLINE;
        target->stats.online = true;
        target->backoff_ns = 0;
        poll->online++;
        poll->events->online(poll->context, target->index, true);
    }
}

/* The block's turn is over, unless it was hurried meanwhile. */
static void turn_over(struct fg_modbus_poll *poll, struct fg_modbus_target *target,
                      struct fg_modbus_block *block, int64_t now_ns)
{
    block->attempts = 0;
    block->state = FG_MODBUS_BLOCK_IDLE;
    if (block->hurried) {
        wait_for_turn(block, now_ns);
    }
    end_round(poll, target, &target->plan.groups[block->group], now_ns);
}

/* Notes of all points of the block whether it is known that they are refused. Returns whether it was news of
 * any. */
static bool note_told(const struct fg_modbus_target *target, const struct fg_modbus_block *block, bool told)
{
    const uint16_t *points = points_of(target, block);
    bool news = false;
    for (size_t i = 0; i < block->count; i++) {
        news |= target->plan.told[points[i]] != told;
        target->plan.told[points[i]] = told;
    }
    return news;
}

static void block_excepted(struct fg_modbus_poll *poll, struct fg_modbus_target *target,
                           struct fg_modbus_block *block, uint8_t exception, int64_t now_ns)
{
    switch (fg_modbus_plan_exception(&target->plan, block, exception)) {
    case FG_MODBUS_VERDICT_SPLIT: {
        struct fg_modbus_block *taken = &target->plan.blocks[block->next];
        block->attempts = 0;
        block->state = FG_MODBUS_BLOCK_WAITS;
        taken->since_ns = block->since_ns;
        taken->hurried = block->hurried;
        taken->state = FG_MODBUS_BLOCK_WAITS;
        return;
    }
    case FG_MODBUS_VERDICT_REFUSED:
        block->retry_ns = 0; /* one answer can be wrong */
        break;
    case FG_MODBUS_VERDICT_KEPT:
        if (!block->refused) {
            break;
        }
        block->retry_ns = now_ns + FG_MODBUS_REFUSED_NS;
        if (note_told(target, block, true)) {
            poll->events->refused(poll->context, target->index, points_of(target, block), block->count,
                                  exception);
        }
        break;
    }
    poll->events->failed(poll->context, target->index, points_of(target, block), block->count, exception);
    turn_over(poll, target, block, now_ns);
}

void fg_modbus_block_answered(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange,
                              const struct fg_modbus_answer *answer, int64_t now_ns)
{
    struct fg_modbus_target *target = exchange->target;
    struct fg_modbus_block *block = exchange->block;
    if (answer->exception == FG_MODBUS_GATEWAY_PATH || answer->exception == FG_MODBUS_GATEWAY_TARGET) {
        fg_modbus_block_unanswered(poll, exchange, now_ns);
        return;
    }
    fg_modbus_target_alive(poll, target);
    if (answer->exception) {
        block_excepted(poll, target, block, answer->exception, now_ns);
        return;
    }
    const uint16_t *points = points_of(target, block);
    if (fg_modbus_plan_answered(&target->plan, block) && note_told(target, block, false)) {
        poll->events->refused(poll->context, target->index, points, block->count, 0);
    }
    target->plan.groups[block->group].yielded = true;
    poll->events->values(poll->context, target->index, points, block->count, answer);
    turn_over(poll, target, block, now_ns);
}

/* No answer came to a request, or it was the last of its retries. */
static void go_offline(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange, int64_t now_ns)
{
    struct fg_modbus_target *target = exchange->target;
    if (target->state == FG_MODBUS_OFFLINE) {
        if (exchange->sent_ns < target->offline_ns) {
            return; /* one of several that were outstanding when it went */
        }
        target->backoff_ns =
            target->backoff_ns < BACKOFF_MAX_NS / 2 ? target->backoff_ns * 2 : BACKOFF_MAX_NS;
        target->probe_ns = now_ns + target->backoff_ns;
        fg_modbus_target_rest(poll, target);
        return;
    }
    if (target->state == FG_MODBUS_ONLINE) {
        poll->online--;
    }
    target->state = FG_MODBUS_OFFLINE;
    target->stats.online = false;
    target->offline_ns = now_ns;
    target->backoff_ns = BACKOFF_MIN_NS;
    target->probe_ns = now_ns + target->backoff_ns;
    fg_modbus_target_rest(poll, target);
    poll->events->online(poll->context, target->index, false);
}

void fg_modbus_block_unanswered(struct fg_modbus_poll *poll, struct fg_modbus_exchange *exchange,
                                int64_t now_ns)
{
    struct fg_modbus_block *block = exchange->block;
    bool online = exchange->target->state == FG_MODBUS_ONLINE;
    block->state = FG_MODBUS_BLOCK_WAITS;
    block->since_ns = now_ns;
    if (!online || block->attempts >= exchange->target->retries) {
        go_offline(poll, exchange, now_ns);
        return;
    }
    block->attempts++;
}
