#include "fieldgate/modbus_plan.h"

#include <errno.h>
#include <stdlib.h>

static const struct fg_modbus_point *point_at(const struct fg_modbus_plan *plan, size_t place)
{
    return &plan->points[plan->order[place]];
}

static uint32_t end_of(const struct fg_modbus_point *point)
{
    return (uint32_t)point->address + point->count;
}

static bool same_range(const struct fg_modbus_point *a, const struct fg_modbus_point *b)
{
    return a->table == b->table && a->address == b->address && a->count == b->count;
}

/* ---- order ---- */

static int64_t period_of(const struct fg_modbus_point *point, int64_t fallback)
{
    return point->poll_interval_ns > 0 ? point->poll_interval_ns : fallback;
}

static bool before(const struct fg_modbus_point *a, const struct fg_modbus_point *b, int64_t fallback)
{
    int64_t period_a = period_of(a, fallback), period_b = period_of(b, fallback);
    if (period_a != period_b) {
        return period_a < period_b;
    }
    if (a->table != b->table) {
        return a->table < b->table;
    }
    return a->address != b->address ? a->address < b->address : a->count < b->count;
}

static void sort_points(struct fg_modbus_plan *plan, int64_t fallback)
{
    for (size_t i = 0; i < plan->count; i++) {
        size_t at = i;
        while (at > 0 && before(&plan->points[i], point_at(plan, at - 1), fallback)) {
            plan->order[at] = plan->order[at - 1];
            at--;
        }
        plan->order[at] = (uint16_t)i;
    }
}

/* ---- blocks ---- */

static struct fg_modbus_block *take_block(struct fg_modbus_plan *plan)
{
    struct fg_modbus_block *block = &plan->blocks[plan->free];
    plan->free = block->next;
    return block;
}

static uint16_t index_of(const struct fg_modbus_plan *plan, const struct fg_modbus_block *block)
{
    return (uint16_t)(block - plan->blocks);
}

/* Sets the block's range from its points. */
static void measure(const struct fg_modbus_plan *plan, struct fg_modbus_block *block)
{
    const struct fg_modbus_point *first = point_at(plan, block->first);
    uint32_t end = 0;
    for (size_t i = block->first; i < (size_t)block->first + block->count; i++) {
        uint32_t point_end = end_of(point_at(plan, i));
        end = point_end > end ? point_end : end;
    }
    block->function = fg_modbus_table_function(first->table);
    block->range = (struct fg_modbus_range){ first->address, (uint16_t)(end - first->address) };
}

/* Whether the point at that place, the one behind the block's, may be read with it. */
static bool fits(const struct fg_modbus_plan *plan, const struct fg_modbus_block *block, size_t place)
{
    const struct fg_modbus_point *point = point_at(plan, place);
    const struct fg_modbus_point *last = point_at(plan, place - 1);
    uint8_t refused = plan->refused[plan->order[place]];
    if (point->table != last->table || refused != block->refused) {
        return false;
    }
    if (refused == FG_MODBUS_ILLEGAL_ADDRESS || refused == FG_MODBUS_ILLEGAL_VALUE) {
        return same_range(point, last);
    }
    uint32_t start = block->range.address;
    uint32_t end = start + block->range.count;
    uint32_t joined = end_of(point) > end ? end_of(point) : end;
    return point->address <= end + plan->max_gap && joined - start <= fg_modbus_table_most(point->table);
}

static void make_blocks(struct fg_modbus_plan *plan, uint16_t group)
{
    struct fg_modbus_group *of = &plan->groups[group];
    struct fg_modbus_block *block = NULL;
    uint16_t *link = &of->blocks;
    for (size_t i = of->first; i < (size_t)of->first + of->count; i++) {
        if (block && fits(plan, block, i)) {
            block->count++;
        } else {
            block = take_block(plan);
            *block = (struct fg_modbus_block){
                .first = (uint16_t)i, .count = 1, .group = group, .refused = plan->refused[plan->order[i]]
            };
            *link = index_of(plan, block);
            link = &block->next;
        }
        measure(plan, block);
    }
    *link = FG_MODBUS_NONE;
    of->changed = false;
}

static void make_groups(struct fg_modbus_plan *plan, int64_t fallback)
{
    for (size_t i = 0; i < plan->count; i++) {
        int64_t period = period_of(point_at(plan, i), fallback);
        struct fg_modbus_group *last = plan->group_count > 0 ? &plan->groups[plan->group_count - 1] : NULL;
        if (!last || last->period_ns != period) {
            last = &plan->groups[plan->group_count++];
            *last = (struct fg_modbus_group){ .period_ns = period, .first = (uint16_t)i };
        }
        last->count++;
    }
    for (uint16_t group = 0; group < plan->group_count; group++) {
        make_blocks(plan, group);
    }
}

int fg_modbus_plan_init(struct fg_modbus_plan *plan, const struct fg_modbus_point *points, size_t count,
                        int64_t period_ns, uint16_t max_gap)
{
    if (count > FG_MODBUS_POINTS_MAX) {
        return -EINVAL;
    }
    struct fg_modbus_plan made = { .points = points, .count = (uint16_t)count, .max_gap = max_gap };
    size_t room = count > 0 ? count : 1;
    made.groups = calloc(room, sizeof *made.groups);
    made.blocks = calloc(room, sizeof *made.blocks);
    made.order = calloc(room, sizeof *made.order);
    made.refused = calloc(room, sizeof *made.refused);
    made.told = calloc(room, sizeof *made.told);
    if (!made.groups || !made.blocks || !made.order || !made.refused || !made.told) {
        fg_modbus_plan_fini(&made);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        made.blocks[i].next = i + 1 < count ? (uint16_t)(i + 1) : FG_MODBUS_NONE;
    }
    sort_points(&made, period_ns);
    make_groups(&made, period_ns);
    *plan = made;
    return 0;
}

void fg_modbus_plan_fini(struct fg_modbus_plan *plan)
{
    if (plan) {
        free(plan->groups);
        free(plan->blocks);
        free(plan->order);
        free(plan->refused);
        free(plan->told);
        *plan = (struct fg_modbus_plan){ 0 };
    }
}

void fg_modbus_block_request(const struct fg_modbus_block *block, uint8_t unit,
                             struct fg_modbus_request *request)
{
    *request = (struct fg_modbus_request){ .unit = unit, .function = block->function, .read = block->range };
}

/* ---- what the device says to them ---- */

static void set_refused(struct fg_modbus_plan *plan, struct fg_modbus_block *block, uint8_t exception)
{
    block->refused = exception;
    for (size_t i = block->first; i < (size_t)block->first + block->count; i++) {
        plan->refused[plan->order[i]] = exception;
    }
}

bool fg_modbus_plan_answered(struct fg_modbus_plan *plan, struct fg_modbus_block *block)
{
    block->suspect = false;
    if (!block->refused) {
        return false;
    }
    set_refused(plan, block, 0);
    plan->groups[block->group].changed = true;
    return true;
}

/*
 * Where to split a block: at the widest hole of those about its middle, so that a hole is found soon and a
 * point in a number of steps that grows with the logarithm only. Points of the same range stay together.
 * Returns the place of the first point that goes, 0 when there is none.
 */
static size_t place_to_split(const struct fg_modbus_plan *plan, const struct fg_modbus_block *block)
{
    size_t middle2 = 2 * (size_t)block->first + block->count; /* twice the middle */
    size_t best = 0, best_away = 0;
    uint32_t best_hole = 0;
    bool best_central = false;
    uint32_t end = end_of(point_at(plan, block->first));
    for (size_t i = (size_t)block->first + 1; i < (size_t)block->first + block->count; i++) {
        const struct fg_modbus_point *point = point_at(plan, i);
        uint32_t hole = point->address > end ? point->address - end : 0;
        size_t away = 2 * i > middle2 ? 2 * i - middle2 : middle2 - 2 * i;
        bool central = 2 * away <= block->count;
        end = end_of(point) > end ? end_of(point) : end;
        if (same_range(point, point_at(plan, i - 1))) {
            continue;
        }
        bool better = central != best_central        ? central
                      : central && hole != best_hole ? hole > best_hole
                                                     : away < best_away;
        if (best == 0 || better) {
            best = i;
            best_away = away;
            best_hole = hole;
            best_central = central;
        }
    }
    return best;
}

static void split(struct fg_modbus_plan *plan, struct fg_modbus_block *block, size_t place)
{
    struct fg_modbus_block *taken = take_block(plan);
    *taken = (struct fg_modbus_block){ .first = (uint16_t)place,
                                       .count = (uint16_t)(block->first + block->count - place),
                                       .group = block->group,
                                       .next = block->next,
                                       .suspect = true };
    block->count = (uint16_t)(place - block->first);
    block->next = index_of(plan, taken);
    block->suspect = true;
    measure(plan, block);
    measure(plan, taken);
}

enum fg_modbus_verdict fg_modbus_plan_exception(struct fg_modbus_plan *plan, struct fg_modbus_block *block,
                                                uint8_t exception)
{
    bool function = exception == FG_MODBUS_ILLEGAL_FUNCTION;
    bool place = exception == FG_MODBUS_ILLEGAL_ADDRESS || exception == FG_MODBUS_ILLEGAL_VALUE;
    if (block->refused || (!function && !place)) {
        return FG_MODBUS_VERDICT_KEPT;
    }
    size_t at = place ? place_to_split(plan, block) : 0;
    if (at > 0) {
        split(plan, block, at);
        return FG_MODBUS_VERDICT_SPLIT;
    }
    set_refused(plan, block, exception);
    block->suspect = false;
    plan->groups[block->group].changed = true;
    return FG_MODBUS_VERDICT_REFUSED;
}

bool fg_modbus_plan_tidy(struct fg_modbus_plan *plan, struct fg_modbus_group *group)
{
    if (!group->changed) {
        return false;
    }
    int64_t retry_ns = INT64_MAX;
    for (uint16_t i = group->blocks; i != FG_MODBUS_NONE; i = plan->blocks[i].next) {
        const struct fg_modbus_block *block = &plan->blocks[i];
        if (block->suspect) {
            return false;
        }
        if (block->refused && block->retry_ns < retry_ns) {
            retry_ns = block->retry_ns;
        }
    }
    while (group->blocks != FG_MODBUS_NONE) {
        struct fg_modbus_block *block = &plan->blocks[group->blocks];
        group->blocks = block->next;
        block->next = plan->free;
        plan->free = index_of(plan, block);
    }
    make_blocks(plan, (uint16_t)(group - plan->groups));
    for (uint16_t i = group->blocks; i != FG_MODBUS_NONE; i = plan->blocks[i].next) {
        plan->blocks[i].retry_ns = plan->blocks[i].refused ? retry_ns : 0;
    }
    return true;
}

struct fg_modbus_block *fg_modbus_plan_block_of(struct fg_modbus_plan *plan, uint16_t point)
{
    for (uint16_t group = 0; group < plan->group_count; group++) {
        for (uint16_t i = plan->groups[group].blocks; i != FG_MODBUS_NONE; i = plan->blocks[i].next) {
            const struct fg_modbus_block *block = &plan->blocks[i];
            for (size_t k = 0; k < block->count; k++) {
                if (plan->order[block->first + k] == point) {
                    return &plan->blocks[i];
                }
            }
        }
    }
    return NULL;
}
