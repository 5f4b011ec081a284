/*
 * Which commands were executed, and with what result, so that none is executed twice: by the transaction that
 * its sender gave it, and by the packet that brought it. In memory, and in a journal that outlives a crash.
 *
 * Transactions: the last 1000, by device and transaction. That one is begun is on the disk before the command
 * is handed on (fg_transactions_sync).
 *
 * Deliveries, of commands without a transaction: the last 1000, by broker and packet identifier. A broker
 * that did not get our acknowledgement sends a message of QoS 1 again, under the same identifier and, says
 * MQTT 5.0 section 4.4, on the next connection alone and before anything else; the library does not show the
 * DUP flag. So the same content under the same identifier is the same message when it comes on a later
 * connection of the same session, soon after that came up, or (from brokers that do not heed this) at once on
 * the same one. Other content shows that the identifier was used anew. These records are written without
 * waiting for the disk: they outlive the daemon, but perhaps not a power cut.
 *
 * One thread. Syncing, and now and then taking in a record, wait for the disk.
 */
#ifndef FIELDGATE_GATEWAY_TRANSACTIONS_H
#define FIELDGATE_GATEWAY_TRANSACTIONS_H

#include "deeds.h"

#include "fieldgate/log.h"
#include "fieldgate/publisher.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FG_TRANSACTIONS_KEPT 1000

/* Longest result. */
#define FG_RESULT_KEPT_MAX ((size_t)4 * 1024)

/* After a connection came up, how long what was not acknowledged before is expected; and how long something
 * that comes twice on one connection counts once. */
#define FG_AGAIN_LATER_NS (60 * INT64_C(1000000000))
#define FG_AGAIN_NS       (2 * INT64_C(1000000000))

struct fg_journal;

struct fg_transactions {
    struct fg_deeds transactions, deliveries;
    unsigned sessions[16];      /* of the brokers, the latest that is known */
    struct fg_journal *journal; /* NULL: in memory alone */
    char *path;
    bool unsynced;
    bool warned;
    struct fg_log_limit limit;
};

/* path: of the journal, copied; it is opened by fg_transactions_open. NULL: there is none. */
int fg_transactions_init(struct fg_transactions *transactions, const char *path); /* 0 or -ENOMEM */
void fg_transactions_fini(struct fg_transactions *transactions);

/* Opens the journal; what it has is known from then on. Where it cannot be had that is logged, and memory
 * must do. */
void fg_transactions_open(struct fg_transactions *transactions);

/* What is known of a transaction (its token as given) of a device, or NULL. */
struct fg_deed *fg_transactions_find(struct fg_transactions *transactions, const char *device,
                                     const char *transaction, size_t length);

/* A transaction that is not known begins. Returns NULL without memory. */
struct fg_deed *fg_transactions_begin(struct fg_transactions *transactions, const char *device,
                                      const char *transaction, size_t length);

/* Nothing was sent of it, so that it may be begun again. The deed is gone. */
void fg_transactions_forget(struct fg_transactions *transactions, struct fg_deed *deed);

/* What is known of the message that came, when it is one that came before; else NULL. */
struct fg_deed *fg_deliveries_find(struct fg_transactions *transactions, const struct fg_arrival *arrival);

/* A message that is not known is acted upon. note: it shall outlive a crash. Returns NULL without memory. */
struct fg_deed *fg_deliveries_begin(struct fg_transactions *transactions, const struct fg_arrival *arrival,
                                    bool note);

/* All that has begun is on the disk when it returns, as far as the disk works. */
void fg_transactions_sync(struct fg_transactions *transactions);

/* It is done, with this result, of at most FG_RESULT_KEPT_MAX bytes. The deed may be forgotten then. */
void fg_transactions_finish(struct fg_transactions *transactions, struct fg_deed *deed, const char *result,
                            size_t size);

#endif
