#include "spool_parts.h"

#include "fieldgate/clock.h"

#include <errno.h>

#include <sqlite3.h>

static int64_t times_ns(int64_t taken_ms)
{
    int64_t ns;
    return __builtin_mul_overflow(taken_ms, FG_NS_PER_MS, &ns) ? 0 : ns;
}

/* Makes a message of the row that the statement stands on. */
static int load(struct fg_spool *spool, sqlite3_stmt *row, struct fg_message **loaded)
{
    const struct fg_spool_source *source;
    int error = fg_spool_source(spool, sqlite3_column_int64(row, 1), &source);
    if (error) {
        return error;
    }
    int64_t taken_ms = sqlite3_column_int64(row, 2);
    const void *payload = sqlite3_column_blob(row, 4);
    int size = sqlite3_column_bytes(row, 4);
    if (!payload && sqlite3_errcode(spool->db) == SQLITE_NOMEM) {
        return -ENOMEM;
    }
    struct fg_message *message =
        fg_message_new(source->origin, source->topic, source->topic_length, payload, (size_t)size);
    if (!message) {
        return -ENOMEM;
    }
    message->spool_id = sqlite3_column_int64(row, 0);
    message->taken_ns = times_ns(taken_ms);
    message->wall_ms =
        (int64_t)((uint64_t)taken_ms + (uint64_t)source->offset_ms + (uint64_t)sqlite3_column_int64(row, 3));
    message->qos = source->qos;
    message->retain = source->retain;
    message->stamped = source->stamped;
    message->unsynchronised = source->unsynchronised;
    message->earlier_boot = source->earlier_boot;
    *loaded = message;
    return 0;
}

static int read_some(struct fg_spool *spool, int64_t after, size_t count, size_t bytes,
                     struct fg_message **first)
{
    struct fg_message *chain = NULL, **end = &chain;
    sqlite3_stmt *rows = fg_spool_statement(spool, FG_SPOOL_SELECT);
    int error = 0;
    int rc = sqlite3_bind_int64(rows, 1, after);
    while (!error && rc == SQLITE_OK && count > 0 && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        struct fg_message *message;
        error = load(spool, rows, &message);
        if (error) {
            break;
        }
        size_t size = fg_message_bytes(message);
        if (chain && size > bytes) {
            fg_message_free(message);
            break;
        }
        *end = message;
        end = &message->next;
        count--;
        bytes = size < bytes ? bytes - size : 0;
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) {
        error = fg_spool_error(spool, spool->db, rc, "cannot be read");
    }
    sqlite3_reset(rows);
    if (error && (!chain || error != -ENOMEM)) {
        fg_message_free_all(chain);
        return error;
    }
    *first = chain; /* without memory for more, these will do */
    return 0;
}

int fg_spool_oldest(struct fg_spool *spool, int64_t *wall_ms)
{
    struct fg_message *oldest = NULL;
    int error = fg_spool_read(spool, 0, 1, SIZE_MAX, &oldest);
    if (error || !oldest) {
        return error ? error : -ENOENT;
    }
    *wall_ms = fg_spool_wall_ms(spool, oldest);
    fg_message_free(oldest);
    return 0;
}

int fg_spool_read(struct fg_spool *spool, int64_t after, size_t count, size_t bytes,
                  struct fg_message **first)
{
    if (!spool->open) {
        return spool->error;
    }
    int error = -EAGAIN;
    for (int attempt = 0; error == -EAGAIN && attempt < 3; attempt++) {
        if (!spool->db) {
            *first = NULL;
            return 0;
        }
        error = fg_spool_settle(spool, read_some(spool, after, count, bytes, first));
    }
    return error == -EAGAIN ? fg_spool_fail(spool, -EUCLEAN) : error;
}
