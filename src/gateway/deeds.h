/*
 * What was done, by a key: the last so many, the oldest of those that are done forgotten first. One thread.
 */
#ifndef FIELDGATE_GATEWAY_DEEDS_H
#define FIELDGATE_GATEWAY_DEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fg_deed {
    struct fg_deed *older, *newer;
    struct fg_deed *next; /* in its bucket */
    void *owner;          /* who does it, while it is not done */
    bool done;
    bool noted;    /* a journal has it, */
    uint8_t table; /* under this letter */
    char *result;
    size_t result_size;
    uint64_t content;    /* of a delivery: what it brought, */
    unsigned connection; /* on which connection, 0: before the start, */
    int64_t came_ns;     /* and when */
    size_t key_length;
    uint8_t key[];
};

#define FG_DEED_BUCKETS 256

struct fg_deeds {
    size_t count, capacity;
    struct fg_deed *oldest, *newest;
    struct fg_deed *buckets[FG_DEED_BUCKETS];
};

void fg_deeds_init(struct fg_deeds *deeds, size_t capacity);
void fg_deeds_fini(struct fg_deeds *deeds);

struct fg_deed *fg_deeds_find(const struct fg_deeds *deeds, const void *key, size_t length);

/* Adds one that is not there yet, as the newest. Past the capacity the oldest that is done is forgotten;
 * those that are not done stay. Returns NULL without memory. */
struct fg_deed *fg_deeds_add(struct fg_deeds *deeds, const void *key, size_t length);

/* It is done, with this result (copied). Returns 0 or -ENOMEM: then there is none. */
int fg_deed_finish(struct fg_deed *deed, const void *result, size_t size);

void fg_deeds_remove(struct fg_deeds *deeds, struct fg_deed *deed);

#endif
