#include "availability.h"

#include <errno.h>
#include <string.h>

void fg_availability_init(struct fg_availability *known)
{
    *known = (struct fg_availability){ 0 };
}

static void forget_origin(struct fg_availability *known, struct fg_origin **link)
{
    struct fg_origin *origin = *link;
    *link = origin->next_known;
    known->count--;
    known->pending -= !origin->announced;
    known->gone -= origin->gone;
    origin->known = origin->gone = false;
    origin->next_known = NULL;
    fg_origin_unref(origin);
}

void fg_availability_fini(struct fg_availability *known)
{
    while (known->first) {
        forget_origin(known, &known->first);
    }
}

static void set_announced(struct fg_availability *known, struct fg_origin *origin, bool announced)
{
    if (origin->announced != announced) {
        origin->announced = announced;
        known->pending += announced ? (size_t)-1 : 1;
    }
}

/* The oldest of those that are gone and need not be told go first. */
static void forget_gone(struct fg_availability *known, size_t most)
{
    struct fg_origin **link = &known->first;
    while (*link && known->gone > most) {
        if ((*link)->gone && (*link)->announced) {
            forget_origin(known, link);
        } else {
            link = &(*link)->next_known;
        }
    }
}

static int learn(struct fg_availability *known, struct fg_origin *origin)
{
    /* After a reload the same device can come with another origin; there must not be two voices for one
     * topic. */
    struct fg_origin **link = &known->first;
    while (*link) {
        if (strcmp((*link)->device, origin->device) == 0) {
            forget_origin(known, link);
        } else {
            link = &(*link)->next_known;
        }
    }
    if (known->count >= FG_AVAILABILITY_MAX) {
        forget_gone(known, 0);
        for (link = &known->first; *link; link = &(*link)->next_known) {
        }
    }
    if (known->count >= FG_AVAILABILITY_MAX) {
        return -ENOSPC;
    }
    *link = fg_origin_ref(origin);
    origin->next_known = NULL;
    origin->known = true;
    origin->announced = true;
    known->count++;
    return 0;
}

int fg_availability_set(struct fg_availability *known, struct fg_origin *origin, bool online)
{
    if (origin->known && origin->online == online) {
        return 0;
    }
    if (!origin->known) {
        int error = learn(known, origin);
        if (error) {
            return error;
        }
    }
    origin->online = online;
    set_announced(known, origin, false);
    return 1;
}

int fg_availability_retire(struct fg_availability *known, struct fg_origin *origin)
{
    if (!origin->known || origin->gone) {
        return 0;
    }
    origin->gone = true;
    known->gone++;
    return fg_availability_set(known, origin, false);
}

void fg_availability_forget(struct fg_availability *known)
{
    for (struct fg_origin *origin = known->first; origin; origin = origin->next_known) {
        set_announced(known, origin, false);
    }
}

void fg_availability_all_offline(struct fg_availability *known)
{
    for (struct fg_origin *origin = known->first; origin; origin = origin->next_known) {
        if (origin->online) {
            origin->online = false;
            set_announced(known, origin, false);
        }
    }
}

struct fg_origin *fg_availability_take(struct fg_availability *known, bool *online)
{
    if (known->pending == 0) {
        forget_gone(known, FG_AVAILABILITY_GONE_MAX);
        return NULL;
    }
    struct fg_origin *origin = known->first;
    while (origin && origin->announced) {
        origin = origin->next_known;
    }
    if (!origin) {
        return NULL;
    }
    set_announced(known, origin, true);
    *online = origin->online;
    return fg_origin_ref(origin);
}

void fg_availability_undo(struct fg_availability *known, struct fg_origin *origin)
{
    if (origin->known) {
        set_announced(known, origin, false);
    }
}
