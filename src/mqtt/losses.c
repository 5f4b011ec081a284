#include "losses.h"

#include "fieldgate/clock.h"
#include "fieldgate/text.h"

#include <string.h>

/* Losses come in floods; their telling must not be one. */
#define MERGE_NS FG_NS_PER_S

void fg_losses_init(struct fg_losses *losses)
{
    *losses = (struct fg_losses){ .due_ns = INT64_MAX };
    losses->tail = &losses->first;
}

void fg_losses_fini(struct fg_losses *losses)
{
    while (losses->first) {
        struct fg_origin *origin = losses->first;
        losses->first = origin->next_hole;
        origin->next_hole = NULL;
        origin->has_hole = false;
        fg_origin_unref(origin);
    }
    fg_losses_init(losses);
}

static void merge(struct fg_hole *hole, int64_t from_ms, int64_t to_ms, uint64_t count)
{
    if (hole->count == 0 || from_ms < hole->from_ms) {
        hole->from_ms = from_ms;
    }
    if (hole->count == 0 || to_ms > hole->to_ms) {
        hole->to_ms = to_ms;
    }
    hole->count += count;
}

static void enlist(struct fg_losses *losses, struct fg_origin *origin)
{
    if (!origin->has_hole) {
        origin->has_hole = true;
        origin->next_hole = NULL;
        *losses->tail = fg_origin_ref(origin);
        losses->tail = &origin->next_hole;
    }
}

bool fg_losses_add(struct fg_losses *losses, struct fg_origin *origin, enum fg_loss reason, int64_t wall_ms,
                   uint64_t count, int64_t now_ns)
{
    struct fg_hole *hole = &origin->holes[reason];
    enlist(losses, origin);
    merge(hole, wall_ms, wall_ms, count);
    losses->open += count;
    if (hole->telling) {
        return false; /* due when that is done */
    }
    int64_t due_ns = hole->next_ns > now_ns ? hole->next_ns : now_ns;
    if (due_ns >= losses->due_ns) {
        return false;
    }
    losses->due_ns = due_ns;
    return true;
}

static bool take_from(struct fg_losses *losses, struct fg_origin *origin, int64_t now_ns,
                      struct fg_loss_told *told)
{
    for (int i = 1; i < FG_LOSS_COUNT; i++) {
        struct fg_hole *hole = &origin->holes[i];
        if (hole->count == 0 || hole->telling) {
            continue;
        }
        if (hole->next_ns > now_ns) {
            losses->due_ns = hole->next_ns < losses->due_ns ? hole->next_ns : losses->due_ns;
            continue;
        }
        *told = (struct fg_loss_told){ fg_origin_ref(origin), (enum fg_loss)i, *hole };
        losses->open -= hole->count;
        losses->telling++;
        *hole = (struct fg_hole){ .telling = true, .next_ns = now_ns + MERGE_NS };
        losses->due_ns = now_ns; /* there may be more */
        return true;
    }
    return false;
}

static bool has_holes(const struct fg_origin *origin)
{
    for (int i = 1; i < FG_LOSS_COUNT; i++) {
        if (origin->holes[i].count > 0 || origin->holes[i].telling) {
            return true;
        }
    }
    return false;
}

bool fg_losses_take(struct fg_losses *losses, int64_t now_ns, struct fg_loss_told *told)
{
    if (losses->due_ns > now_ns) {
        return false;
    }
    losses->due_ns = INT64_MAX;
    struct fg_origin **link = &losses->first;
    while (*link) {
        struct fg_origin *origin = *link;
        if (take_from(losses, origin, now_ns, told)) {
            return true;
        }
        if (has_holes(origin)) {
            link = &origin->next_hole;
            continue;
        }
        *link = origin->next_hole;
        if (!*link) {
            losses->tail = link;
        }
        origin->has_hole = false;
        origin->next_hole = NULL;
        fg_origin_unref(origin);
    }
    return false;
}

void fg_losses_done(struct fg_losses *losses, struct fg_origin *origin, enum fg_loss reason)
{
    struct fg_hole *hole = &origin->holes[reason];
    hole->telling = false;
    losses->telling--;
    if (hole->next_ns < losses->due_ns) {
        losses->due_ns = hole->next_ns; /* for what came meanwhile, and to let go of the origin */
    }
}

void fg_losses_undo(struct fg_losses *losses, const struct fg_loss_told *told)
{
    struct fg_hole *hole = &told->origin->holes[told->reason];
    merge(hole, told->hole.from_ms, told->hole.to_ms, told->hole.count);
    losses->open += told->hole.count;
    fg_losses_done(losses, told->origin, told->reason);
}

void fg_losses_hurry(struct fg_losses *losses)
{
    for (struct fg_origin *origin = losses->first; origin; origin = origin->next_hole) {
        for (int i = 1; i < FG_LOSS_COUNT; i++) {
            origin->holes[i].next_ns = 0;
        }
    }
    losses->due_ns = losses->first ? 0 : INT64_MAX;
}

size_t fg_losses_print(const struct fg_loss_told *told, char *out, size_t size)
{
    struct fg_buffer buffer = { .bytes = (uint8_t *)out, .capacity = size, .limit = size };
    const char *device = told->origin->device;
    int error = fg_buffer_append(&buffer, "{\"device\":", 10);
    if (!error) {
        error = fg_json_put_text(&buffer, device, strlen(device));
    }
    if (!error) {
        error = fg_buffer_printf(&buffer, ",\"from\":%lld,\"to\":%lld,\"count\":%llu,\"reason\":\"%s\"}",
                                 (long long)told->hole.from_ms, (long long)told->hole.to_ms,
                                 (unsigned long long)told->hole.count, fg_loss_name(told->reason));
    }
    return error ? 0 : buffer.size;
}
