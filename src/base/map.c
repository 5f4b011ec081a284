#include "fieldgate/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void fg_map_init(struct fg_map *map)
{
    *map = (struct fg_map){ 0 };
    if (getrandom(&map->seed, sizeof map->seed, GRND_NONBLOCK) != (ssize_t)sizeof map->seed) {
        map->seed = (uint64_t)(uintptr_t)map;
    }
}

void fg_map_fini(struct fg_map *map)
{
    free(map->slots);
    map->slots = NULL;
    map->capacity = map->count = 0;
}

/* FNV-1a from a random start, with a final mix: cheap for short names. Maps are bounded, so that even a flood
 * of chosen keys costs at most the bound. */
static uint64_t hash_of(const struct fg_map *map, const char *key, size_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ map->seed;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (uint8_t)key[i]) * UINT64_C(0x100000001b3);
    }
    return hash ^ (hash >> 32);
}

static struct fg_map_slot *place(struct fg_map_slot *slots, size_t capacity, const char *key, size_t length,
                                 uint64_t hash)
{
    size_t at = (size_t)hash & (capacity - 1);
    while (slots[at].key && (slots[at].hash != hash || slots[at].length != length ||
                             memcmp(slots[at].key, key, length) != 0)) {
        at = (at + 1) & (capacity - 1);
    }
    return &slots[at];
}

void *fg_map_get(const struct fg_map *map, const char *key, size_t length)
{
    if (map->count == 0) {
        return NULL;
    }
    struct fg_map_slot *slot = place(map->slots, map->capacity, key, length, hash_of(map, key, length));
    return slot->key ? slot->value : NULL;
}

static int grow(struct fg_map *map)
{
    size_t capacity = map->capacity ? map->capacity * 2 : 8;
    struct fg_map_slot *slots = calloc(capacity, sizeof *slots);
    if (!slots) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        const struct fg_map_slot *old = &map->slots[i];
        if (old->key) {
            *place(slots, capacity, old->key, old->length, old->hash) = *old;
        }
    }
    free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    return 0;
}

int fg_map_add(struct fg_map *map, const char *key, size_t length, void *value)
{
    if ((map->count + 1) * 4 > map->capacity * 3) {
        int error = grow(map);
        if (error) {
            return error;
        }
    }
    uint64_t hash = hash_of(map, key, length);
    struct fg_map_slot *slot = place(map->slots, map->capacity, key, length, hash);
    if (slot->key) {
        return -EEXIST;
    }
    *slot = (struct fg_map_slot){ .key = key, .length = length, .hash = hash, .value = value };
    map->count++;
    return 0;
}

void fg_map_each(const struct fg_map *map, void (*visit)(void *value, void *context), void *context)
{
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].key) {
            visit(map->slots[i].value, context);
        }
    }
}
