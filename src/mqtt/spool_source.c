/*
 * What messages have in common stands once in the table source: port, device, topic, qos, retain, and the
 * epoch, which is a stretch of one start of the board with the wall clock either set or not.
 *
 * No row of source is ever looked for on disk: what this process knows, it knows from having written it. So
 * rows come in generations; a generation ends when the process does or knows too many, and its rows are
 * removed when the last message that can use them is.
 */
#include "spool_parts.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#define KEY_MAX   2048
#define SWEEP_MAX 256

/* The key: flags, port, NUL, device, NUL, topic. Returns its length, or 0 when it is longer than is kept. */
static size_t make_key(char key[KEY_MAX], const struct fg_message *message)
{
    size_t port = strlen(message->origin->port) + 1;
    size_t device = strlen(message->origin->device) + 1;
    size_t length = 1 + port + device + message->topic_length;
    if (length > KEY_MAX) {
        return 0;
    }
    key[0] = (char)(message->qos | message->retain << 2 | message->stamped << 3);
    memcpy(key + 1, message->origin->port, port);
    memcpy(key + 1 + port, message->origin->device, device);
    memcpy(key + 1 + port + device, fg_message_topic(message), message->topic_length);
    return length;
}

/* Each process begins an epoch of its own: that is a row now and then, and nothing to look for. */
static int begin_epoch(struct fg_spool *spool, bool unsynchronised)
{
    struct fg_spool_time now;
    fg_spool_read_time(spool, &now);
    int64_t offset_ms = now.wall_ms - now.now_ns / FG_NS_PER_MS;
    sqlite3_stmt *statement = fg_spool_statement(spool, FG_SPOOL_INSERT_EPOCH);
    int rc = sqlite3_bind_text(statement, 1, spool->boot, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int(statement, 2, unsynchronised);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(statement, 3, offset_ms);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(statement, 4, spool->process);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    int error = rc == SQLITE_DONE ? 0 : fg_spool_error(spool, spool->db, rc, "cannot be written");
    sqlite3_reset(statement);
    if (error) {
        return error;
    }
    fg_spool_intern_reset(spool);
    spool->epoch = sqlite3_last_insert_rowid(spool->db);
    spool->epoch_is_new = true;
    spool->epoch_unsynchronised = unsynchronised;
    spool->epoch_offset_ms = offset_ms;
    return 0;
}

static int insert_source(struct fg_spool *spool, const struct fg_message *message, int64_t id)
{
    sqlite3_stmt *statement = fg_spool_statement(spool, FG_SPOOL_INSERT_SOURCE);
    int rc = sqlite3_bind_int64(statement, 1, id);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(statement, 2, spool->epoch);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int(statement, 3, message->qos | message->retain << 2 | message->stamped << 3);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(statement, 4, message->origin->port, -1, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(statement, 5, message->origin->device, -1, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(statement, 6, fg_message_topic(message), message->topic_length, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    int error = rc == SQLITE_DONE ? 0 : fg_spool_error(spool, spool->db, rc, "cannot be written");
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return error ? error : fg_spool_run(spool, FG_SPOOL_INSERT_SPARE, 1, &id);
}

static struct fg_spool_known *remember(struct fg_spool *spool, const char *key, size_t length)
{
    struct fg_spool_known *known = malloc(sizeof *known + length);
    if (known) {
        *known = (struct fg_spool_known){ .length = length };
        memcpy(known->key, key, length);
        if (fg_map_add(&spool->known, known->key, length, known) == 0) {
            return known;
        }
        free(known);
    }
    return NULL;
}

int fg_spool_intern(struct fg_spool *spool, const struct fg_message *message, int64_t *id)
{
    char key[KEY_MAX];
    int error = 0;
    if (spool->epoch == 0 || spool->epoch_unsynchronised != message->unsynchronised) {
        error = begin_epoch(spool, message->unsynchronised);
    }
    if (!error && spool->known.count >= FG_SPOOL_KNOWN_MAX) {
        int64_t epoch = spool->epoch;
        fg_spool_intern_reset(spool);
        spool->epoch = epoch;
    }
    size_t length = make_key(key, message);
    struct fg_spool_known *known = length ? fg_map_get(&spool->known, key, length) : NULL;
    if (error || (known && known->id)) {
        *id = error ? *id : known->id;
        return error;
    }
    int64_t made = spool->last_source + 1;
    error = insert_source(spool, message, made);
    if (!error && length && !known) {
        known = remember(spool, key, length);
        error = known ? 0 : -ENOMEM;
    }
    if (error) {
        return error;
    }
    spool->last_source = made;
    if (known) {
        known->id = made;
        known->next = spool->added;
        spool->added = known;
    }
    *id = made;
    return 0;
}

void fg_spool_intern_settle(struct fg_spool *spool, bool committed)
{
    while (spool->added) {
        struct fg_spool_known *known = spool->added;
        spool->added = known->next;
        known->next = NULL;
        known->id = committed ? known->id : 0;
    }
    if (spool->epoch_is_new && !committed) {
        spool->epoch = 0;
    }
    spool->epoch_is_new = false;
}

static void free_known(void *value, void *context)
{
    (void)context;
    free(value);
}

void fg_spool_intern_reset(struct fg_spool *spool)
{
    fg_map_each(&spool->known, free_known, NULL);
    fg_map_fini(&spool->known);
    fg_map_init(&spool->known);
    spool->added = NULL;
    spool->epoch = 0;
    if (!spool->db) {
        spool->generation_count = 0;
    } else if (spool->last_source > 0) {
        /* Of more generations than have a place, the newest go together: they last as long as the newest. */
        size_t at = spool->generation_count < FG_SPOOL_GENERATIONS ? spool->generation_count++
                                                                   : FG_SPOOL_GENERATIONS - 1;
        spool->generations[at] = (struct fg_spool_generation){ spool->last_source, spool->next_id - 1 };
    }
}

int fg_spool_sweep_sources(struct fg_spool *spool)
{
    if (spool->generation_count == 0) {
        return 0;
    }
    int64_t oldest, first;
    int error = fg_spool_ask(spool, FG_SPOOL_NEXT_ID, 1, (int64_t[]){ 0 }, &oldest);
    if (error == -ENOENT) {
        oldest = INT64_MAX;
    } else if (error) {
        return error;
    }
    const struct fg_spool_generation *generation = &spool->generations[0];
    if (oldest <= generation->message) {
        return 0;
    }
    error = fg_spool_ask(spool, FG_SPOOL_NEXT_SOURCE, 1, (int64_t[]){ 0 }, &first);
    if (error && error != -ENOENT) {
        return error;
    }
    if (error || first > generation->source) {
        memmove(spool->generations, spool->generations + 1,
                --spool->generation_count * sizeof *spool->generations);
        return 0;
    }
    /* Some at a time: the transaction has a bound. */
    int64_t last = first + SWEEP_MAX < generation->source ? first + SWEEP_MAX : generation->source;
    error = fg_spool_run(spool, FG_SPOOL_DELETE_SOURCES, 2, (int64_t[]){ first, last });
    if (!error) {
        error = fg_spool_run(spool, FG_SPOOL_DELETE_SPARES, 2, (int64_t[]){ first, last });
    }
    return error ? error : fg_spool_run(spool, FG_SPOOL_DELETE_EPOCHS, 0, NULL);
}

static void free_source(struct fg_spool_source *source)
{
    if (source) {
        fg_origin_unref(source->origin);
        free(source);
    }
}

void fg_spool_forget_sources(struct fg_spool *spool)
{
    for (size_t i = 0; i < FG_SPOOL_SOURCE_CACHE; i++) {
        free_source(spool->sources[i]);
        spool->sources[i] = NULL;
    }
}

/* Takes the row that the statement stands on. */
static int load(struct fg_spool *spool, sqlite3_stmt *row, int64_t id, struct fg_spool_source **loaded)
{
    int64_t flags = sqlite3_column_int64(row, 0);
    const char *boot = (const char *)sqlite3_column_text(row, 2);
    const char *port = (const char *)sqlite3_column_text(row, 4);
    const char *device = (const char *)sqlite3_column_text(row, 5);
    const char *topic = (const char *)sqlite3_column_text(row, 6);
    int length = sqlite3_column_bytes(row, 6);
    if (!boot || !port || !device || !topic) {
        return -ENOMEM; /* the columns are never NULL */
    }
    if (length > UINT16_MAX || (flags & 3) > 2) {
        return fg_spool_tell(spool, -EUCLEAN, "%s: is damaged: a source cannot be", spool->path);
    }
    struct fg_spool_source *source = malloc(sizeof *source + (size_t)length);
    if (!source) {
        return -ENOMEM;
    }
    *source = (struct fg_spool_source){
        .id = id,
        .offset_ms = sqlite3_column_int64(row, 1),
        .origin = spool->options.events->origin(spool->options.context, port, device),
        .qos = (uint8_t)(flags & 3),
        .retain = (flags & 4) != 0,
        .stamped = (flags & 8) != 0,
        .unsynchronised = sqlite3_column_int(row, 3) != 0,
        .earlier_boot = strcmp(boot, spool->boot) != 0,
        .topic_length = (uint16_t)length,
    };
    memcpy(source->topic, topic, (size_t)length);
    if (!source->origin) {
        free(source);
        return -ENOMEM;
    }
    *loaded = source;
    return 0;
}

int fg_spool_source(struct fg_spool *spool, int64_t id, const struct fg_spool_source **source)
{
    struct fg_spool_source **place = &spool->sources[(uint64_t)id % FG_SPOOL_SOURCE_CACHE];
    if (*place && (*place)->id == id) {
        *source = *place;
        return 0;
    }
    sqlite3_stmt *row = fg_spool_statement(spool, FG_SPOOL_SELECT_SOURCE);
    struct fg_spool_source *loaded = NULL;
    int rc = sqlite3_bind_int64(row, 1, id);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(row);
    }
    int error = 0;
    if (rc == SQLITE_ROW) {
        error = load(spool, row, id, &loaded);
    } else if (rc == SQLITE_DONE) {
        error = fg_spool_tell(spool, -EUCLEAN, "%s: is damaged: a source is missing", spool->path);
    } else {
        error = fg_spool_error(spool, spool->db, rc, "cannot be read");
    }
    sqlite3_reset(row);
    if (!error) {
        free_source(*place);
        *place = loaded;
        *source = loaded;
    }
    return error;
}
