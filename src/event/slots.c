#include "slots.h"

#include <errno.h>
#include <stdlib.h>

int fg_slots_add(struct fg_slots *slots, void *value, uint64_t *tag)
{
    if (!slots->free) {
        uint32_t count = slots->count ? slots->count * 2 : 16;
        if (count > FG_SLOTS_MAX) {
            return -ENOMEM;
        }
        struct fg_slot *items = realloc(slots->items, count * sizeof *items);
        if (!items) {
            return -ENOMEM;
        }
        for (uint32_t i = count; i-- > slots->count;) {
            items[i] = (struct fg_slot){ .next_free = slots->free };
            slots->free = i + 1;
        }
        slots->items = items;
        slots->count = count;
    }
    uint32_t index = slots->free - 1;
    struct fg_slot *slot = &slots->items[index];
    slots->free = slot->next_free;
    slot->value = value;
    *tag = (uint64_t)slot->generation << 32 | index;
    return 0;
}

void *fg_slots_find(const struct fg_slots *slots, uint64_t tag)
{
    uint32_t index = (uint32_t)tag;
    if (index >= slots->count || slots->items[index].generation != (uint32_t)(tag >> 32)) {
        return NULL;
    }
    return slots->items[index].value;
}

void fg_slots_remove(struct fg_slots *slots, uint64_t tag)
{
    if (!fg_slots_find(slots, tag)) {
        return;
    }
    uint32_t index = (uint32_t)tag;
    struct fg_slot *slot = &slots->items[index];
    slot->value = NULL;
    slot->generation++;
    slot->next_free = slots->free;
    slots->free = index + 1;
}

void fg_slots_fini(struct fg_slots *slots)
{
    free(slots->items);
    *slots = (struct fg_slots){ 0 };
}
