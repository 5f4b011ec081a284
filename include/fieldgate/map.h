/*
 * A hash map from byte strings to pointers. Keys are borrowed: they stand in what the value points to and
 * live as long. Not thread-safe.
 */
#ifndef FIELDGATE_MAP_H
#define FIELDGATE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct fg_map_slot {
    const char *key;
    size_t length;
    uint64_t hash;
    void *value;
};

struct fg_map {
    struct fg_map_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    uint64_t seed; /* random: keys come from outside */
};

void fg_map_init(struct fg_map *map);
void fg_map_fini(struct fg_map *map); /* frees the table, not the values */
void *fg_map_get(const struct fg_map *map, const char *key, size_t length);

/* Adds a key that is not there yet. Returns 0, -EEXIST, -ENOMEM. */
int fg_map_add(struct fg_map *map, const char *key, size_t length, void *value);

/* Calls visit for each value, in no order. */
void fg_map_each(const struct fg_map *map, void (*visit)(void *value, void *context), void *context);

#endif
