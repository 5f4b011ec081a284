#include "deeds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void fg_deeds_init(struct fg_deeds *deeds, size_t capacity)
{
    *deeds = (struct fg_deeds){ .capacity = capacity };
}

void fg_deeds_fini(struct fg_deeds *deeds)
{
    while (deeds->oldest) {
        fg_deeds_remove(deeds, deeds->oldest);
    }
}

/* Keys come from outside; there are a few thousand at most, so that chosen ones make no harm. */
static size_t bucket_of(const uint8_t *key, size_t length)
{
    uint32_t hash = UINT32_C(0x811c9dc5);
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ key[i]) * UINT32_C(0x01000193);
    }
    return (hash ^ hash >> 16) % FG_DEED_BUCKETS;
}

struct fg_deed *fg_deeds_find(const struct fg_deeds *deeds, const void *key, size_t length)
{
    struct fg_deed *deed = deeds->buckets[bucket_of(key, length)];
    while (deed && (deed->key_length != length || memcmp(deed->key, key, length) != 0)) {
        deed = deed->next;
    }
    return deed;
}

static void forget_oldest(struct fg_deeds *deeds)
{
    struct fg_deed *deed = deeds->oldest;
    while (deed && !deed->done) {
        deed = deed->newer;
    }
    if (deed) {
        fg_deeds_remove(deeds, deed);
    }
}

struct fg_deed *fg_deeds_add(struct fg_deeds *deeds, const void *key, size_t length)
{
    struct fg_deed *deed = calloc(1, sizeof *deed + length);
    if (!deed) {
        return NULL;
    }
    if (deeds->count >= deeds->capacity) {
        forget_oldest(deeds);
    }
    memcpy(deed->key, key, length);
    deed->key_length = length;
    size_t bucket = bucket_of(key, length);
    deed->next = deeds->buckets[bucket];
    deeds->buckets[bucket] = deed;
    deed->older = deeds->newest;
    *(deeds->newest ? &deeds->newest->newer : &deeds->oldest) = deed;
    deeds->newest = deed;
    deeds->count++;
    return deed;
}

int fg_deed_finish(struct fg_deed *deed, const void *result, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    deed->done = true;
    deed->owner = NULL;
    free(deed->result);
    deed->result = copy;
    deed->result_size = copy ? size : 0;
    if (!copy) {
        return -ENOMEM;
    }
    memcpy(copy, result, size);
    return 0;
}

void fg_deeds_remove(struct fg_deeds *deeds, struct fg_deed *deed)
{
    struct fg_deed **link = &deeds->buckets[bucket_of(deed->key, deed->key_length)];
    while (*link != deed) {
        link = &(*link)->next;
    }
    *link = deed->next;
    *(deed->older ? &deed->older->newer : &deeds->oldest) = deed->newer;
    *(deed->newer ? &deed->newer->older : &deeds->newest) = deed->older;
    deeds->count--;
    free(deed->result);
    free(deed);
}
