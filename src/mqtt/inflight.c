#include "inflight.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int fg_inflight_init(struct fg_inflight *table, size_t capacity)
{
    size_t buckets = 16;
    while (buckets < capacity) {
        buckets *= 2;
    }
    *table = (struct fg_inflight){ .capacity = capacity, .mask = buckets - 1 };
    table->entries = calloc(capacity, sizeof *table->entries);
    table->buckets = calloc(buckets, sizeof *table->buckets);
    if (!table->entries || !table->buckets) {
        free(table->entries);
        free(table->buckets);
        *table = (struct fg_inflight){ 0 };
        return -ENOMEM;
    }
    for (size_t i = capacity; i > 0; i--) {
        table->entries[i - 1].next = table->free;
        table->free = &table->entries[i - 1];
    }
    return 0;
}

void fg_inflight_fini(struct fg_inflight *table)
{
    while (table->oldest) {
        struct fg_flight flight;
        fg_inflight_remove(table, table->oldest, &flight);
        fg_message_free(flight.message);
        fg_origin_unref(flight.origin);
        free(flight.answer);
    }
    free(table->entries);
    free(table->buckets);
    *table = (struct fg_inflight){ 0 };
}

void fg_inflight_add(struct fg_inflight *table, const struct fg_flight *flight)
{
    struct fg_flight *entry = table->free;
    assert(entry);
    table->free = entry->next;
    *entry = *flight;
    entry->older = table->newest;
    entry->newer = NULL;
    entry->next = NULL;
    *(table->newest ? &table->newest->newer : &table->oldest) = entry;
    table->newest = entry;
    struct fg_inflight_bucket *bucket = &table->buckets[entry->mid & table->mask];
    *(bucket->first ? &bucket->last->next : &bucket->first) = entry;
    bucket->last = entry;
    table->count++;
    table->qos2 += entry->qos == 2;
}

struct fg_flight *fg_inflight_find(const struct fg_inflight *table, uint16_t mid)
{
    struct fg_flight *entry = table->buckets[mid & table->mask].first;
    while (entry && entry->mid != mid) {
        entry = entry->next;
    }
    return entry;
}

void fg_inflight_remove(struct fg_inflight *table, struct fg_flight *entry, struct fg_flight *flight)
{
    struct fg_inflight_bucket *bucket = &table->buckets[entry->mid & table->mask];
    struct fg_flight *before = NULL;
    for (struct fg_flight *other = bucket->first; other != entry; other = other->next) {
        before = other;
    }
    *(before ? &before->next : &bucket->first) = entry->next;
    if (bucket->last == entry) {
        bucket->last = before;
    }
    *(entry->older ? &entry->older->newer : &table->oldest) = entry->newer;
    *(entry->newer ? &entry->newer->older : &table->newest) = entry->older;
    *flight = *entry;
    entry->next = table->free;
    table->free = entry;
    table->count--;
    table->qos2 -= flight->qos == 2;
}
