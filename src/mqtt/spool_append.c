#include "spool_parts.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <string.h>

#include <sqlite3.h>

/* When it is full, a part of the bound is freed at once: a commit more for each such part, and not for each
 * append. */
#define DROP_PART 64

/* Between two looks at how far the log has grown. */
#define LOOK_MESSAGES 32

size_t fg_spool_batch_bytes(const struct fg_spool *spool)
{
    return (size_t)spool->log_limit / 4;
}

static int insert(struct fg_spool *spool, const struct fg_message *message, int64_t id)
{
    int64_t source;
    int error = fg_spool_intern(spool, message, &source);
    if (error) {
        return error;
    }
    int64_t taken_ms = message->taken_ns / FG_NS_PER_MS;
    int64_t wall =
        (int64_t)((uint64_t)message->wall_ms - (uint64_t)taken_ms - (uint64_t)spool->epoch_offset_ms);
    sqlite3_stmt *statement = fg_spool_statement(spool, FG_SPOOL_INSERT);
    int rc = sqlite3_bind_int64(statement, 1, id);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(statement, 2, source);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(statement, 3, taken_ms);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(statement, 4, wall);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_blob64(statement, 5, fg_message_payload(message), message->payload_size,
                                 SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    error = rc == SQLITE_DONE ? 0 : fg_spool_error(spool, spool->db, rc, "cannot be written");
    sqlite3_reset(statement);
    return error;
}

/* What a try at appending comes to beside errors. */
enum { FITS, LOG_FULL, DATABASE_FULL };

static int insert_all(struct fg_spool *spool, const struct fg_message *first, int *room, int64_t *pages)
{
    size_t count = 0;
    for (const struct fg_message *message = first; message; message = message->next) {
        int error = insert(spool, message, spool->next_id++);
        if (error) {
            return error;
        }
        if ((++count % LOOK_MESSAGES == 0 || !message->next) && fg_spool_log_is_full(spool)) {
            *room = LOG_FULL;
            return 0;
        }
    }
    return fg_spool_ask(spool, FG_SPOOL_PAGES, 0, NULL, pages);
}

/* One transaction, undone unless all of it fits. *excess: pages that there would be too many. */
static int try_append(struct fg_spool *spool, const struct fg_message *first, int *room, int64_t *excess)
{
    int64_t next_id = spool->next_id, limit = 0, pages = 0;
    int error = fg_spool_run(spool, FG_SPOOL_BEGIN, 0, NULL);
    if (!error) {
        error = fg_spool_ask(spool, FG_SPOOL_PAGES, 0, NULL, &limit);
    }
    if (!error) {
        error = insert_all(spool, first, room, &pages);
    }
    /* After the bound was lowered the file may be larger. It is used as it is, and does not grow. */
    limit = limit > spool->page_limit ? limit : spool->page_limit;
    if (!error && *room == FITS && pages > limit) {
        *excess = pages - limit;
        *room = DATABASE_FULL;
    }
    if (!error && *room == FITS) {
        error = fg_spool_commit(spool);
        if (error) {
            fg_spool_doubt_append(spool, next_id, spool->next_id - 1);
        }
    } else {
        fg_spool_rollback(spool);
    }
    if (error || *room != FITS) {
        spool->next_id = next_id;
    }
    return error;
}

static void give_ids(struct fg_spool *spool, struct fg_message *first)
{
    uint64_t count = 0;
    for (const struct fg_message *message = first; message; message = message->next) {
        count++;
    }
    int64_t id = spool->next_id - (int64_t)count;
    for (struct fg_message *message = first; message; message = message->next) {
        message->spool_id = id++;
    }
    spool->messages += count;
}

static int make_room(struct fg_spool *spool, int64_t excess)
{
    switch (spool->options.settings->when_full) {
    case FG_SPOOL_DROP_OLDEST:
        return fg_spool_drop_oldest(spool, excess + spool->page_limit / DROP_PART);
    case FG_SPOOL_DROP_NEWEST:
        return -EDQUOT;
    default:
        return -ENOBUFS;
    }
}

static int append(struct fg_spool *spool, struct fg_message *first)
{
    bool restarted = false;
    for (;;) {
        int room = FITS;
        int64_t excess = 0;
        int error = fg_spool_log_is_full(spool) ? fg_spool_checkpoint(spool) : 0;
        if (!error) {
            error = try_append(spool, first, &room, &excess);
        }
        if (!error && room == DATABASE_FULL) {
            error = make_room(spool, excess);
        } else if (!error && room == LOG_FULL) {
            /* The second time it was begun anew for this alone. */
            error = restarted ? -EMSGSIZE : fg_spool_checkpoint(spool);
            restarted = true;
        }
        if (error || room == FITS) {
            return error;
        }
    }
}

/* A folder that was unmounted or removed takes the file with it, and writing goes on to nowhere. */
static int check_place(struct fg_spool *spool)
{
    int moved = 0;
    int rc = sqlite3_file_control(spool->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (rc == SQLITE_OK && moved) {
        return fg_spool_tell(spool, -ENOENT, "%s: is no longer there", spool->path);
    }
    return 0;
}

int fg_spool_append(struct fg_spool *spool, struct fg_message *first)
{
    size_t bytes = 0;
    for (const struct fg_message *message = first; message; message = message->next) {
        bytes += fg_message_bytes(message);
    }
    if (bytes > fg_spool_batch_bytes(spool)) {
        return -EMSGSIZE;
    }
    int error = first ? -EAGAIN : 0;
    for (int attempt = 0; error == -EAGAIN && attempt < 3; attempt++) {
        error = fg_spool_use(spool);
        if (!error) {
            error = check_place(spool);
        }
        if (!error) {
            error = append(spool, first);
        }
        error = fg_spool_settle(spool, error);
    }
    if (error == -EAGAIN) {
        return fg_spool_fail(spool, -EUCLEAN);
    }
    if (!error && first) {
        give_ids(spool, first);
    }
    return error;
}
