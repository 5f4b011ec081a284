#include "commanded.h"

#include "fieldgate/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fg_commanded_init(struct fg_commanded_table *table, struct fg_publisher *publisher, const char *base)
{
    *table = (struct fg_commanded_table){ .publisher = publisher };
    snprintf(table->base, sizeof table->base, "%s", base);
    pthread_mutex_init(&table->lock, NULL);
}

void fg_commanded_rename(struct fg_commanded_table *table, const char *base)
{
    pthread_mutex_lock(&table->lock);
    snprintf(table->base, sizeof table->base, "%s", base);
    pthread_mutex_unlock(&table->lock);
}

void fg_commanded_get_base(struct fg_commanded_table *table, char base[FG_COMMANDED_BASE])
{
    pthread_mutex_lock(&table->lock);
    memcpy(base, table->base, sizeof table->base);
    pthread_mutex_unlock(&table->lock);
}

void fg_commanded_fini(struct fg_commanded_table *table)
{
    pthread_mutex_destroy(&table->lock);
}

/* All names are devices', and bounded by their number. */
static struct fg_commanded **bucket_of(struct fg_commanded_table *table, const char *name, size_t length)
{
    uint32_t hash = UINT32_C(0x811c9dc5);
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (uint8_t)name[i]) * UINT32_C(0x01000193);
    }
    return &table->buckets[(hash ^ hash >> 16) % FG_COMMANDED_BUCKETS];
}

static struct fg_commanded *first_named(struct fg_commanded_table *table, const char *name, size_t length)
{
    struct fg_commanded *device = *bucket_of(table, name, length);
    while (device && (strlen(device->name) != length || memcmp(device->name, name, length) != 0)) {
        device = device->next;
    }
    return device;
}

static const char *const suffixes[FG_COMMANDED_TOPICS] = { "set", "+/set", "get" };

/* The broker is never asked for more than the device takes. */
static size_t count_topics(enum fg_takes takes)
{
    return takes == FG_TAKES_POINTS ? FG_COMMANDED_TOPICS : takes == FG_TAKES_BYTES ? 1 : 0;
}

/* With the lock, so that the ends and beginnings of one name reach the publisher in their order. */
static void subscribe(struct fg_commanded_table *table, struct fg_commanded *device)
{
    device->has_topics = true;
    for (size_t i = 0; i < count_topics(device->takes); i++) {
        char filter[2048];
        int length = snprintf(filter, sizeof filter, "%s/%s/%s", table->base, device->name, suffixes[i]);
        if (length > 0 && (size_t)length < sizeof filter) {
            device->subscriptions[i] = fg_publisher_subscribe(table->publisher, filter);
        }
        if (!device->subscriptions[i]) {
            fg_log_port(FG_LOG_WARNING, device->port, device->name, "takes no commands: no memory");
        }
    }
}

static void unsubscribe(struct fg_commanded_table *table, struct fg_commanded *device)
{
    for (size_t i = 0; i < FG_COMMANDED_TOPICS; i++) {
        fg_publisher_unsubscribe(table->publisher, device->subscriptions[i]);
        device->subscriptions[i] = NULL;
    }
}

static struct fg_commanded *make(enum fg_takes takes, const char *name, const char *port,
                                 const char *identity)
{
    size_t name_size = strlen(name) + 1;
    size_t port_size = strlen(port) + 1;
    size_t identity_size = strlen(identity) + 1;
    struct fg_commanded *device = calloc(1, sizeof *device + name_size + port_size + identity_size);
    if (device) {
        char *at = (char *)(device + 1);
        device->references = 1;
        device->takes = takes;
        device->name = memcpy(at, name, name_size);
        device->port = memcpy(at + name_size, port, port_size);
        device->identity = memcpy(at + name_size + port_size, identity, identity_size);
        device->identity_length = identity_size - 1;
    }
    return device;
}

struct fg_commanded *fg_commanded_add(struct fg_commanded_table *table, enum fg_takes takes, const char *name,
                                      const char *port, const char *identity)
{
    struct fg_commanded *device = make(takes, name, port, identity);
    if (!device) {
        return NULL;
    }
    pthread_mutex_lock(&table->lock);
    const struct fg_commanded *first = first_named(table, name, strlen(name));
    struct fg_commanded **link = bucket_of(table, name, strlen(name));
    while (*link) {
        link = &(*link)->next;
    }
    *link = device;
    table->any = true;
    if (!first) {
        subscribe(table, device);
    } else {
        fg_log_port(FG_LOG_WARNING, port, name,
                    "takes no commands while a device of port %s has the same name in topics", first->port);
    }
    pthread_mutex_unlock(&table->lock);
    return device;
}

static void unref(struct fg_commanded *device)
{
    if (--device->references == 0) {
        free(device);
    }
}

void fg_commanded_remove(struct fg_commanded_table *table, struct fg_commanded *device)
{
    if (!device) {
        return;
    }
    size_t length = strlen(device->name);
    pthread_mutex_lock(&table->lock);
    struct fg_commanded **link = bucket_of(table, device->name, length);
    while (*link != device) {
        link = &(*link)->next;
    }
    *link = device->next;
    if (device->has_topics) {
        unsubscribe(table, device);
        struct fg_commanded *heir = first_named(table, device->name, length);
        if (heir) {
            subscribe(table, heir);
        }
    }
    unref(device);
    pthread_mutex_unlock(&table->lock);
}

struct fg_commanded *fg_commanded_find(struct fg_commanded_table *table, const char *name, size_t length)
{
    pthread_mutex_lock(&table->lock);
    struct fg_commanded *device = first_named(table, name, length);
    if (device) {
        device->references++;
    }
    pthread_mutex_unlock(&table->lock);
    return device;
}

void fg_commanded_unref(struct fg_commanded_table *table, struct fg_commanded *device)
{
    if (device) {
        pthread_mutex_lock(&table->lock);
        unref(device);
        pthread_mutex_unlock(&table->lock);
    }
}

bool fg_commanded_any(struct fg_commanded_table *table)
{
    pthread_mutex_lock(&table->lock);
    bool any = table->any;
    pthread_mutex_unlock(&table->lock);
    return any;
}

void fg_commanded_forget(struct fg_commanded_table *table, const char *name, size_t length)
{
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < FG_COMMANDED_TOPICS && !first_named(table, name, length); i++) {
        char filter[2048];
        int size = snprintf(filter, sizeof filter, "%s/%.*s/%s", table->base, (int)length, name, suffixes[i]);
        if (size > 0 && (size_t)size < sizeof filter) {
            fg_publisher_unsubscribe_stale(table->publisher, filter);
        }
    }
    pthread_mutex_unlock(&table->lock);
}
