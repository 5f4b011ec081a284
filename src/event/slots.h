/*
 * Slots: what an event carries instead of a pointer. A slot's generation moves on when its channel goes, so
 * that an event that was collected before is recognised as stale, although the descriptor number, the slot or
 * the memory is in use again. The caller guards the table with a lock of its own.
 */
#ifndef FIELDGATE_EVENT_SLOTS_H
#define FIELDGATE_EVENT_SLOTS_H

#include <stddef.h>
#include <stdint.h>

struct fg_slot {
    void *value;
    uint32_t generation;
    uint32_t next_free;
};

struct fg_slots {
    struct fg_slot *items;
    uint32_t count;
    uint32_t free; /* index + 1 of the first free one, 0 for none */
};

/* The most there can be: tags with a higher slot are free for other use. */
#define FG_SLOTS_MAX UINT32_C(0x00ffffff)

/* Returns 0 and the event's tag, or -ENOMEM. */
int fg_slots_add(struct fg_slots *slots, void *value, uint64_t *tag);
void fg_slots_remove(struct fg_slots *slots, uint64_t tag);

/* The value of a tag, or NULL when it is stale. */
void *fg_slots_find(const struct fg_slots *slots, uint64_t tag);
void fg_slots_fini(struct fg_slots *slots);

#endif
