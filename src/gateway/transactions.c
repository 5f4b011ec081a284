/*
 * Records of the journal: a letter for what happened, one for the table, the key with its length before, the
 * rest.
 *
 *   I  begun: content (8 bytes, little-endian)
 *   R  done: the result
 *   F  not begun after all
 *   S  another session of the broker whose number is the key: its deliveries are forgotten
 */
#include "transactions.h"

#include "journal.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_TRANSACTIONS 'T'
#define TABLE_DELIVERIES   'D'
#define RECORD_HEAD        4
#define KEY_MAX            2048

/* The journal is written anew when it is so long. What it is for takes less than half of that, in practice
 * much less; the bound of the file follows from both. */
#define JOURNAL_LONG ((size_t)1 << 20)

static struct fg_deeds *table_of(struct fg_transactions *transactions, uint8_t letter)
{
    return letter == TABLE_TRANSACTIONS ? &transactions->transactions : &transactions->deliveries;
}

/* ---- the journal ---- */

static void trouble(struct fg_transactions *transactions, int error)
{
    if (!transactions->warned) {
        transactions->warned = true;
        fg_log(FG_LOG_WARNING,
               "%s: %s; which commands were executed may not be remembered past the next stop",
               transactions->path, error == -EWOULDBLOCK ? "another process uses it" : strerror(-error));
    }
}

static int append(struct fg_journal *journal, uint8_t what, uint8_t table, const uint8_t *key,
                  size_t key_length, const void *rest, size_t rest_size)
{
    uint8_t record[RECORD_HEAD + KEY_MAX + FG_RESULT_KEPT_MAX];
    if (key_length > KEY_MAX || rest_size > FG_RESULT_KEPT_MAX) {
        return -EMSGSIZE;
    }
    record[0] = what;
    record[1] = table;
    record[2] = (uint8_t)(key_length & 0xff);
    record[3] = (uint8_t)(key_length >> 8);
    memcpy(record + RECORD_HEAD, key, key_length);
    if (rest_size > 0) {
        memcpy(record + RECORD_HEAD + key_length, rest, rest_size);
    }
    return fg_journal_append(journal, record, RECORD_HEAD + key_length + rest_size);
}

static int append_begun(struct fg_journal *journal, uint8_t table, const struct fg_deed *deed)
{
    uint8_t content[8];
    for (int i = 0; i < 8; i++) {
        content[i] = (uint8_t)(deed->content >> 8 * i);
    }
    return append(journal, 'I', table, deed->key, deed->key_length, content, sizeof content);
}

static int append_done(struct fg_journal *journal, uint8_t table, const struct fg_deed *deed)
{
    return append(journal, 'R', table, deed->key, deed->key_length, deed->result, deed->result_size);
}

static int write_table(struct fg_journal *journal, uint8_t table, const struct fg_deeds *deeds)
{
    int error = 0;
    for (const struct fg_deed *deed = deeds->oldest; deed && !error; deed = deed->newer) {
        if (deed->noted) {
            error = append_begun(journal, table, deed);
        }
        if (deed->noted && deed->done && deed->result && !error) {
            error = append_done(journal, table, deed);
        }
    }
    return error;
}

static int write_all(void *context, struct fg_journal *journal)
{
    struct fg_transactions *transactions = context;
    int error = write_table(journal, TABLE_TRANSACTIONS, &transactions->transactions);
    return error ? error : write_table(journal, TABLE_DELIVERIES, &transactions->deliveries);
}

static void shorten(struct fg_transactions *transactions)
{
    size_t before = fg_journal_size(transactions->journal);
    if (before < JOURNAL_LONG) {
        return;
    }
    /* Where much is to be remembered, only when there is as much again to be thrown away. */
    size_t live = 0;
    const struct fg_deeds *tables[] = { &transactions->transactions, &transactions->deliveries };
    for (size_t i = 0; i < 2; i++) {
        for (const struct fg_deed *deed = tables[i]->oldest; deed; deed = deed->newer) {
            live += 2 * (deed->key_length + 16) + deed->result_size;
        }
    }
    if (before < 2 * live) {
        return;
    }
    int error = fg_journal_rewrite(transactions->journal, write_all, transactions);
    if (error) {
        trouble(transactions, error);
    }
    if (error && before > FG_JOURNAL_FILE_MAX / 2) {
        fg_journal_close(transactions->journal); /* it would become too long to be read */
        transactions->journal = NULL;
    }
}

static void note(struct fg_transactions *transactions, int error)
{
    if (error) {
        trouble(transactions, error);
    } else {
        shorten(transactions);
    }
}

static struct fg_deed *replayed(struct fg_deeds *deeds, uint8_t table, const uint8_t *key, size_t key_length)
{
    struct fg_deed *deed = fg_deeds_find(deeds, key, key_length);
    if (!deed) {
        deed = fg_deeds_add(deeds, key, key_length);
    }
    if (deed) {
        /* Not done is what was interrupted; nobody does it any more. */
        deed->done = deed->noted = true;
        deed->table = table;
    }
    return deed;
}

static void forget_deliveries(struct fg_transactions *transactions, uint8_t broker)
{
    struct fg_deed *deed = transactions->deliveries.oldest;
    while (deed) {
        struct fg_deed *newer = deed->newer;
        if (deed->key[0] == broker && deed->done) {
            fg_deeds_remove(&transactions->deliveries, deed);
        } else if (deed->key[0] == broker) {
            deed->content = ~deed->content; /* whoever does it still holds it; no message is it any more */
        }
        deed = newer;
    }
}

static void replay(void *context, const uint8_t *bytes, size_t size)
{
    struct fg_transactions *transactions = context;
    size_t key_length = size >= RECORD_HEAD ? (size_t)(bytes[2] | bytes[3] << 8) : 0;
    if (key_length == 0 || key_length > size - RECORD_HEAD || key_length > KEY_MAX) {
        return;
    }
    const uint8_t *key = bytes + RECORD_HEAD;
    const uint8_t *rest = key + key_length;
    size_t rest_size = size - RECORD_HEAD - key_length;
    struct fg_deeds *deeds = table_of(transactions, bytes[1]);
    if (bytes[0] == 'S') {
        forget_deliveries(transactions, key[0]);
        return;
    }
    struct fg_deed *old = fg_deeds_find(deeds, key, key_length);
    if (old && (bytes[0] == 'I' || bytes[0] == 'F')) {
        fg_deeds_remove(deeds, old);
    }
    if (bytes[0] == 'I' && rest_size == 8) {
        struct fg_deed *deed = replayed(deeds, bytes[1], key, key_length);
        for (size_t i = 0; deed && i < 8; i++) {
            deed->content |= (uint64_t)rest[i] << 8 * i;
        }
    } else if (bytes[0] == 'R' && rest_size <= FG_RESULT_KEPT_MAX) {
        struct fg_deed *deed = replayed(deeds, bytes[1], key, key_length);
        if (deed) {
            fg_deed_finish(deed, rest, rest_size);
        }
    }
}

/* ---- for the router ---- */

int fg_transactions_init(struct fg_transactions *transactions, const char *path)
{
    *transactions = (struct fg_transactions){ .path = path ? strdup(path) : NULL };
    fg_deeds_init(&transactions->transactions, FG_TRANSACTIONS_KEPT);
    fg_deeds_init(&transactions->deliveries, FG_TRANSACTIONS_KEPT);
    return path && !transactions->path ? -ENOMEM : 0;
}

void fg_transactions_fini(struct fg_transactions *transactions)
{
    fg_journal_close(transactions->journal);
    fg_deeds_fini(&transactions->transactions);
    fg_deeds_fini(&transactions->deliveries);
    free(transactions->path);
}

void fg_transactions_open(struct fg_transactions *transactions)
{
    if (!transactions->path || transactions->journal) {
        return;
    }
    int error = fg_journal_open(transactions->path, replay, transactions, &transactions->journal);
    if (error) {
        transactions->journal = NULL;
        trouble(transactions, error);
    }
}

static size_t transaction_key(uint8_t key[KEY_MAX], const char *device, const char *transaction,
                              size_t length)
{
    size_t used = strlen(device) + 1;
    if (used + length > KEY_MAX) {
        return 0;
    }
    memcpy(key, device, used);
    memcpy(key + used, transaction, length);
    return used + length;
}

struct fg_deed *fg_transactions_find(struct fg_transactions *transactions, const char *device,
                                     const char *transaction, size_t length)
{
    uint8_t key[KEY_MAX];
    size_t key_length = transaction_key(key, device, transaction, length);
    return key_length > 0 ? fg_deeds_find(&transactions->transactions, key, key_length) : NULL;
}

static struct fg_deed *begin(struct fg_transactions *transactions, uint8_t table, const uint8_t *key,
                             size_t key_length, uint64_t content, bool noted)
{
    struct fg_deed *deed =
        key_length > 0 ? fg_deeds_add(table_of(transactions, table), key, key_length) : NULL;
    if (deed) {
        deed->content = content;
        deed->noted = noted;
        deed->table = table;
        transactions->unsynced |= noted && table == TABLE_TRANSACTIONS;
        if (noted && transactions->journal) {
            note(transactions, append_begun(transactions->journal, table, deed));
        }
    }
    return deed;
}

struct fg_deed *fg_transactions_begin(struct fg_transactions *transactions, const char *device,
                                      const char *transaction, size_t length)
{
    uint8_t key[KEY_MAX];
    size_t key_length = transaction_key(key, device, transaction, length);
    return begin(transactions, TABLE_TRANSACTIONS, key, key_length, 0, true);
}

void fg_transactions_forget(struct fg_transactions *transactions, struct fg_deed *deed)
{
    if (deed->noted && transactions->journal) {
        note(transactions,
             append(transactions->journal, 'F', deed->table, deed->key, deed->key_length, NULL, 0));
    }
    fg_deeds_remove(table_of(transactions, deed->table), deed);
}

static uint64_t content_of(const struct fg_arrival *arrival)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i <= arrival->topic_length; i++) { /* with its NUL */
        hash = (hash ^ (uint8_t)arrival->topic[i]) * UINT64_C(0x100000001b3);
    }
    for (size_t i = 0; i < arrival->payload_size; i++) {
        hash = (hash ^ arrival->payload[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

#define DELIVERY_KEY 3

static void delivery_key(const struct fg_arrival *arrival, uint8_t key[DELIVERY_KEY])
{
    key[0] = (uint8_t)(arrival->broker % 16);
    key[1] = (uint8_t)(arrival->mid >> 8);
    key[2] = (uint8_t)(arrival->mid & 0xff);
}

/* In another session all identifiers are free. */
static void follow_session(struct fg_transactions *transactions, const struct fg_arrival *arrival)
{
    uint8_t broker = (uint8_t)(arrival->broker % 16);
    if (transactions->sessions[broker] != arrival->session) {
        transactions->sessions[broker] = arrival->session;
        forget_deliveries(transactions, broker);
        if (transactions->journal) {
            note(transactions, append(transactions->journal, 'S', TABLE_DELIVERIES, &broker, 1, NULL, 0));
        }
    }
}

struct fg_deed *fg_deliveries_find(struct fg_transactions *transactions, const struct fg_arrival *arrival)
{
    uint8_t key[DELIVERY_KEY];
    follow_session(transactions, arrival);
    delivery_key(arrival, key);
    struct fg_deed *deed = fg_deeds_find(&transactions->deliveries, key, sizeof key);
    if (arrival->qos == 0 || !deed || deed->content != content_of(arrival)) {
        return NULL;
    }
    bool again = deed->connection == arrival->connection
                     ? arrival->came_ns - deed->came_ns < FG_AGAIN_NS
                     : arrival->came_ns - arrival->connected_ns < FG_AGAIN_LATER_NS;
    return again ? deed : NULL;
}

struct fg_deed *fg_deliveries_begin(struct fg_transactions *transactions, const struct fg_arrival *arrival,
                                    bool noted)
{
    uint8_t key[DELIVERY_KEY];
    delivery_key(arrival, key);
    struct fg_deed *old = fg_deeds_find(&transactions->deliveries, key, sizeof key);
    if (old && !old->done) {
        return NULL; /* who does it holds it; this one cannot be known again */
    }
    if (old) {
        fg_deeds_remove(&transactions->deliveries, old);
    }
    struct fg_deed *deed = begin(transactions, TABLE_DELIVERIES, key, sizeof key, content_of(arrival), noted);
    if (deed) {
        deed->connection = arrival->connection;
        deed->came_ns = arrival->came_ns;
    }
    return deed;
}

void fg_transactions_sync(struct fg_transactions *transactions)
{
    if (transactions->unsynced && transactions->journal) {
        int error = fg_journal_sync(transactions->journal);
        if (error) {
            trouble(transactions, error);
        }
    }
    transactions->unsynced = false;
}

void fg_transactions_finish(struct fg_transactions *transactions, struct fg_deed *deed, const char *result,
                            size_t size)
{
    if (fg_deed_finish(deed, result, size) == 0 && deed->noted && transactions->journal) {
        note(transactions, append_done(transactions->journal, deed->table, deed));
    }
}
