/*
 * The publisher's side of the spool: what is to go to the disk and when, what is read back and when, what is
 * done with. By whoever holds the publisher's turn; what uses the disk is for its thread alone, or for who
 * stops it. Without a spool all of it does nothing.
 *
 * publisher_spool.c knows when; publisher_save.c puts messages on the disk; publisher_replay.c reads them
 * back, and removes what is done with.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_SPOOL_H
#define FIELDGATE_MQTT_PUBLISHER_SPOOL_H

#include "spool.h"

#include "fieldgate/map.h"
#include "fieldgate/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fg_publisher;

/* Readings that were handed over once or taken out, and are to be handed over before all others. */
struct fg_chain {
    struct fg_message *first;
    struct fg_message **tail;
};

static inline void fg_chain_put(struct fg_chain *chain, struct fg_message *message)
{
    if (!chain->first) {
        chain->tail = &chain->first;
    }
    message->next = NULL;
    *chain->tail = message;
    chain->tail = &message->next;
}

static inline struct fg_message *fg_chain_get(struct fg_chain *chain)
{
    struct fg_message *message = chain->first;
    chain->first = message->next;
    message->next = NULL;
    return message;
}

/* The publisher's side of the spool. */
struct fg_keep {
    struct fg_spool *spool; /* NULL: there is none */
    const struct fg_spool_settings *settings;
    struct fg_map origins;   /* of messages that were read back, by port, NUL, device; each a reference */
    struct fg_chain unsaved; /* taken out of the outbox for the spool, and not yet in it */
    bool backlog;            /* there may be messages on the disk past last */
    int64_t last;      /* the newest on the disk that is in memory, too, or was; those after it are not */
    size_t read_bytes; /* of messages that were read back and are in memory */
    struct fg_spool_range *done; /* acknowledged and still on the disk, in their order */
    size_t done_ranges, done_capacity;
    size_t done_count;
    size_t undone_count; /* of these, not noted either: a crash would bring them back */
    int64_t undone_ns;
    int64_t done_ns;                 /* since when there are any */
    int64_t retry_ns;                /* after a failure: nothing is tried before */
    int64_t save_ns;                 /* the disk is full: nothing is saved before */
    int64_t remove_ns;               /* the same for removing */
    bool cannot_save, cannot_remove; /* the disk has no room for it */
    int64_t gap_ns;                  /* the last wait after a failure; 0: all is well */
    int trouble;                     /* the error that was told last; 0: all is well */
    int64_t replay_ns;               /* what replay_rate allows is used up to here */
    int64_t expire_ns;               /* when to look for what is too old */
    int64_t watch_ns;                /* when the thread will look again; INT64_MAX: it sleeps until woken */
    uint64_t seen;                   /* messages published when it looked last */
};

/* Opens the spool. Returns 0, also when the disk fails for now; or a negative errno, the reason being logged:
 * somebody has to do something. */
int fg_keep_init(struct fg_publisher *publisher, const struct fg_spool_settings *settings);

/* Of done. */
struct fg_mqtt_settings;
size_t fg_keep_done_capacity(const struct fg_mqtt_settings *settings);

/* Closes it; what is unsaved is freed. Uses the disk. */
void fg_keep_fini(struct fg_publisher *publisher);

/* Does what is due: saves, reads back, removes. Uses the disk. */
void fg_keep_step(struct fg_publisher *publisher, int64_t now_ns);

/* When fg_keep_step has something to do next; INT64_MAX: when something changes. */
int64_t fg_keep_due_ns(struct fg_publisher *publisher, int64_t now_ns);

/* What the thread is to be woken for. */
unsigned fg_keep_wants(struct fg_publisher *publisher, int64_t now_ns);

/* Whether what is in the outbox must not be handed over: it has to go through the spool, or behind it. */
bool fg_keep_bars(const struct fg_publisher *publisher);

/* Takes messages that were taken out for the spool and did not get there; NULL for none. */
struct fg_message *fg_keep_take(struct fg_publisher *publisher, size_t count);

/* Messages that are acknowledged and would come again after a crash. */
size_t fg_keep_undone(const struct fg_publisher *publisher);

/* The message is done with. */
void fg_keep_forget(struct fg_publisher *publisher, const struct fg_message *message);

/* Before a stop: puts all that is in memory on the disk, what is in flight included, and losses that nobody
 * was told of. Uses the disk. */
void fg_keep_save_all(struct fg_publisher *publisher, bool losses);

/* --- between its files --- */

static inline bool fg_keep_is_open(const struct fg_keep *keep)
{
    return keep->spool && fg_spool_is_open(keep->spool);
}

/* Takes in how a use of the spool went: says so, and when to try again. Returns error. */
int fg_keep_settle(struct fg_publisher *publisher, int error);

/* All that is in memory goes to the disk. Returns 0, or why some is left. */
int fg_keep_save(struct fg_publisher *publisher);

/* Losses that could not be told become messages like readings. */
void fg_keep_save_losses(struct fg_publisher *publisher);

/* Reads on behind keep.last, as much as may be handed over soon. */
int fg_keep_read(struct fg_publisher *publisher, int64_t now_ns);

/* When to do that; INT64_MAX: not now. */
int64_t fg_keep_read_due_ns(const struct fg_publisher *publisher, int64_t now_ns);

/* Notes what is done with, and removes it when it is time. */
int fg_keep_remove(struct fg_publisher *publisher);

/* Removes it now. */
int fg_keep_remove_all(struct fg_publisher *publisher);

/* When to do that; INT64_MAX: there is none. */
int64_t fg_keep_remove_due_ns(const struct fg_publisher *publisher);

/* No message of the spool is in memory: their origins need not be known any more. */
void fg_keep_forget_origins(struct fg_keep *keep);

#endif
