/*
 * The devices that take commands: which topics are theirs, and what the broker is subscribed to for them. Of
 * two with one name in topics the first has the topics, and the next when that one goes. Any thread.
 */
#ifndef FIELDGATE_GATEWAY_COMMANDED_H
#define FIELDGATE_GATEWAY_COMMANDED_H

#include "fieldgate/port.h"
#include "fieldgate/publisher.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define FG_COMMANDED_BUCKETS 1024
#define FG_COMMANDED_TOPICS  3
#define FG_COMMANDED_BASE    1100

struct fg_commanded {
    /* The table's: */
    struct fg_commanded *next; /* in its bucket, those of one name in the order in which they came */
    size_t references;
    bool has_topics;
    struct fg_subscription *subscriptions[FG_COMMANDED_TOPICS];
    /* The router's: */
    size_t under_way;
    /* Fixed: */
    enum fg_takes takes;
    const char *name; /* as it stands in topics; all three stand behind the struct */
    const char *port;
    const char *identity;
    size_t identity_length;
};

struct fg_commanded_table {
    struct fg_publisher *publisher;
    pthread_mutex_t lock;
    char base[FG_COMMANDED_BASE]; /* lock, as all below */
    bool any;                     /* there was one, ever */
    struct fg_commanded *buckets[FG_COMMANDED_BUCKETS];
};

void fg_commanded_init(struct fg_commanded_table *table, struct fg_publisher *publisher, const char *base);
/* Another base topic, for devices that are added from now on; none is there now. */
void fg_commanded_rename(struct fg_commanded_table *table, const char *base);
void fg_commanded_get_base(struct fg_commanded_table *table, char base[FG_COMMANDED_BASE]);
void fg_commanded_fini(struct fg_commanded_table *table); /* none is left */

/* A device is there, and subscribed for. Returns NULL without memory; name, port and identity are copied. */
struct fg_commanded *fg_commanded_add(struct fg_commanded_table *table, enum fg_takes takes, const char *name,
                                      const char *port, const char *identity);

/* It is gone: its topics are the next one's of that name, or nobody's. NULL is none. */
void fg_commanded_remove(struct fg_commanded_table *table, struct fg_commanded *device);

/* Who has the topics of that name: a reference, or NULL. */
struct fg_commanded *fg_commanded_find(struct fg_commanded_table *table, const char *name, size_t length);
void fg_commanded_unref(struct fg_commanded_table *table, struct fg_commanded *device);

/* Whether there was one since the start. */
bool fg_commanded_any(struct fg_commanded_table *table);

/* The broker has subscriptions of a device that is not there (any more): ends them. */
void fg_commanded_forget(struct fg_commanded_table *table, const char *name, size_t length);

#endif
