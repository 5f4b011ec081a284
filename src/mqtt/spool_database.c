#include "spool_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

/* Larger files are not read through at the start; damage is then found when its page is read. */
#define CHECKED_PAGES (INT64_C(256) << 8)

/* A page of slack for what a transaction touches beside rows: header, free list, upper pages of the trees. */
#define SLACK_PAGES 16

/*
 * message.wall is what wall_ms differs from taken + epoch.offset: nothing or little, and so a byte or none.
 * message.taken is in milliseconds. source.flags: bits 0..1 qos, 2 retain, 3 stamped. spare holds what source
 * does, on pages of its own: without its row of source a message is worth nothing, and all rows of source may
 * be on one page.
 */
static const char schema[] =
    "CREATE TABLE epoch(id INTEGER PRIMARY KEY, boot TEXT NOT NULL, unsynchronised INTEGER NOT NULL,"
    " offset INTEGER NOT NULL, process INTEGER NOT NULL) STRICT;"
    "CREATE TABLE source(id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " port TEXT NOT NULL, device TEXT NOT NULL, topic TEXT NOT NULL) STRICT;"
    "CREATE TABLE spare(id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " port TEXT NOT NULL, device TEXT NOT NULL, topic TEXT NOT NULL) STRICT;"
    "CREATE TABLE message(id INTEGER PRIMARY KEY, source INTEGER NOT NULL, taken INTEGER NOT NULL,"
    " wall INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;"
    "PRAGMA application_id=1179079504;"
    "PRAGMA user_version=1;";
_Static_assert(FG_SPOOL_APPLICATION == 1179079504 && FG_SPOOL_VERSION == 1, "as in the schema");

static const char select_source[] =
    "SELECT flags,offset,boot,unsynchronised,port,device,topic FROM source JOIN epoch ON epoch.id=epoch"
    " WHERE source.id=?1";

static const char *const texts[FG_SPOOL_STATEMENT_COUNT] = {
    [FG_SPOOL_BEGIN] = "BEGIN IMMEDIATE",
    [FG_SPOOL_COMMIT] = "COMMIT",
    [FG_SPOOL_ROLLBACK] = "ROLLBACK",
    [FG_SPOOL_INSERT] = "INSERT INTO message VALUES(?1,?2,?3,?4,?5)",
    [FG_SPOOL_INSERT_SOURCE] = "INSERT INTO source VALUES(?1,?2,?3,?4,?5,?6)",
    [FG_SPOOL_INSERT_SPARE] = "INSERT INTO spare SELECT * FROM source WHERE id=?1",
    [FG_SPOOL_INSERT_EPOCH] = "INSERT INTO epoch(boot,unsynchronised,offset,process) VALUES(?1,?2,?3,?4)",
    [FG_SPOOL_SELECT] = "SELECT id,source,taken,wall,payload FROM message WHERE id>?1 ORDER BY id",
    [FG_SPOOL_SELECT_AGES] =
        "SELECT id,source,taken,wall,length(payload) FROM message WHERE id>?1 ORDER BY id",
    [FG_SPOOL_SELECT_SOURCE] = select_source,
    [FG_SPOOL_DELETE] = "DELETE FROM message WHERE id BETWEEN ?1 AND ?2",
    [FG_SPOOL_DELETE_SOURCES] = "DELETE FROM source WHERE id BETWEEN ?1 AND ?2",
    [FG_SPOOL_DELETE_SPARES] = "DELETE FROM spare WHERE id BETWEEN ?1 AND ?2",
    [FG_SPOOL_DELETE_EPOCHS] = "DELETE FROM epoch WHERE id<(SELECT min(epoch) FROM source)",
    [FG_SPOOL_NEXT_ID] = "SELECT id FROM message WHERE id>=?1 ORDER BY id LIMIT 1",
    [FG_SPOOL_NEXT_SOURCE] = "SELECT id FROM source WHERE id>=?1 ORDER BY id LIMIT 1",
    [FG_SPOOL_PAGES] = "PRAGMA page_count",
    [FG_SPOOL_FREE_PAGES] = "PRAGMA freelist_count",
};

/* What says something to those who read it. The rest must not be taken for what calls return for reasons of
 * their own: a full quota is no message dropped. */
static int errno_of_system(int system)
{
    switch (system) {
    case ENOSPC:
    case EDQUOT:
        return -ENOSPC;
    case ENOMEM:
    case EROFS:
    case EACCES:
    case ENODEV:
    case ENXIO:
    case EMFILE:
    case ENFILE:
        return -system;
    default:
        return -EIO;
    }
}

static int errno_of(sqlite3 *db, int rc)
{
    switch (rc) {
    case SQLITE_IOERR_NOMEM:
        return -ENOMEM;
    case SQLITE_IOERR_DATA:
    case SQLITE_IOERR_CORRUPTFS:
        return -EUCLEAN;
    case SQLITE_READONLY_DBMOVED:
        return -ENOENT;
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
        return -EIO; /* whatever the reason, what was written before is no longer known to be there */
    default:
        break;
    }
    switch (rc & 0xff) {
    case SQLITE_OK:
        return 0;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_TOOBIG:
        return -EMSGSIZE;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        return errno_of_system(db ? sqlite3_system_errno(db) : 0);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return -EUCLEAN;
    default:
        return -EIO;
    }
}

int fg_spool_error(struct fg_spool *spool, sqlite3 *db, int rc, const char *doing)
{
    int error = errno_of(db, rc);
    spool->read_failed |= rc == SQLITE_IOERR_READ;
    if (error && doing) {
        const char *words = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
        fg_spool_tell(spool, error, "%s: %s: %s (%s)", spool->path, doing, words, strerror(-error));
    }
    return error;
}

static int execute(struct fg_spool *spool, sqlite3 *db, const char *sql)
{
    return fg_spool_error(spool, db, sqlite3_exec(db, sql, NULL, NULL, NULL), "cannot be used");
}

int fg_spool_connect(struct fg_spool *spool, const char *path, sqlite3 **db)
{
    sqlite3 *made = NULL;
    int rc = sqlite3_open_v2(path, &made, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                             fg_spool_vfs_name(spool->vfs));
    int error = fg_spool_error(spool, made, rc, "cannot be opened");
    if (!error) {
        char pragmas[256];
        snprintf(pragmas, sizeof pragmas,
                 "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL; PRAGMA cache_size=%d;"
                 " PRAGMA secure_delete=OFF; PRAGMA trusted_schema=OFF; PRAGMA wal_autocheckpoint=0;",
                 FG_SPOOL_CACHE_PAGES);
        error = execute(spool, made, pragmas);
    }
    if (error) {
        sqlite3_close(made);
        return error;
    }
    *db = made;
    return 0;
}

static int lay_out(struct fg_spool *spool, sqlite3 *db)
{
    int reserved = FG_SPOOL_RESERVED;
    int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
    int error = fg_spool_error(spool, db, rc, "cannot be made");
    /* Without a journal: this file does not count before all of it is on disk. */
    return error ? error : execute(spool, db, "PRAGMA page_size=4096; PRAGMA journal_mode=OFF; BEGIN");
}

int fg_spool_make_database(struct fg_spool *spool, const char *path,
                           int (*fill)(struct fg_spool *spool, sqlite3 *fresh, void *context), void *context)
{
    sqlite3 *db = NULL;
    int error = fg_spool_make_file(spool, path);
    if (!error) {
        error = fg_spool_connect(spool, path, &db);
    }
    if (!error) {
        error = lay_out(spool, db);
    }
    if (!error) {
        error = execute(spool, db, schema);
    }
    if (!error && fill) {
        error = fill(spool, db, context);
    }
    if (!error) {
        error = execute(spool, db, "COMMIT; PRAGMA journal_mode=WAL");
    }
    int rc = sqlite3_close(db);
    error = error ? error : fg_spool_error(spool, NULL, rc, "cannot be closed");
    if (error) {
        unlink(path);
    }
    return error;
}

static int cannot_read(struct fg_spool *spool, int rc)
{
    int error = fg_spool_error(spool, spool->db, rc, "cannot be read");
    return rc == SQLITE_ERROR ? -EUCLEAN : error; /* a table or a column is missing */
}

static int prepare(struct fg_spool *spool)
{
    for (int i = 0; i < FG_SPOOL_STATEMENT_COUNT; i++) {
        int rc = sqlite3_prepare_v3(spool->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &spool->statements[i],
                                    NULL);
        if (rc != SQLITE_OK) {
            return cannot_read(spool, rc);
        }
    }
    return 0;
}

/* What the check of the database found: damage, but for pages that it could not get for another reason, which
 * is a number in its words. */
static int judge_check(struct fg_spool *spool, const char *text)
{
    static const char mark[] = "error code=";
    const char *code = strstr(text, mark);
    int rc = code ? (int)strtol(code + sizeof mark - 1, NULL, 10) : SQLITE_CORRUPT;
    int error = fg_spool_error(spool, NULL, rc, NULL);
    error = error ? error : -EUCLEAN;
    return fg_spool_tell(spool, error, error == -EUCLEAN ? "%s: is damaged: %.200s" : "%s: %.200s",
                         spool->path, text);
}

/* Runs a statement of one row of up to three integers. A text in the first column is compared with
 * `expected`. */
static int look(struct fg_spool *spool, const char *sql, const char *expected, int64_t numbers[3])
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(spool->db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    int error = rc == SQLITE_ROW ? 0 : cannot_read(spool, rc);
    if (rc == SQLITE_ROW && expected) {
        const unsigned char *text = sqlite3_column_text(statement, 0);
        if (!text) {
            error = -ENOMEM;
        } else if (strcmp((const char *)text, expected) != 0) {
            error = judge_check(spool, (const char *)text);
        }
    }
    for (int i = 0; rc == SQLITE_ROW && numbers && i < 3; i++) {
        numbers[i] = sqlite3_column_int64(statement, i);
    }
    sqlite3_finalize(statement);
    return error;
}

static int take_stock(struct fg_spool *spool)
{
    int64_t found[3] = { 0 };
    int error = look(spool, "SELECT count(*),max(id),(SELECT max(id) FROM source) FROM message", NULL, found);
    if (error) {
        return error;
    }
    if (found[1] > FG_SPOOL_ID_MAX || found[2] > FG_SPOOL_ID_MAX) {
        return fg_spool_tell(spool, -EUCLEAN, "%s: is damaged: numbers beyond use", spool->path);
    }
    spool->messages = (uint64_t)found[0];
    spool->next_id = found[1] >= spool->next_id ? found[1] + 1 : spool->next_id;
    spool->last_source = found[2] > spool->last_source ? found[2] : spool->last_source;
    fg_spool_intern_reset(spool);
    spool->looked_at = 0;
    return 0;
}

/* A bound that was lowered: the file shrinks to what it holds, which at first takes as much again. Where
 * there is no room for that, it stays as it is. */
static int shrink(struct fg_spool *spool)
{
    int64_t pages = 0, unused = 0;
    int error = fg_spool_ask(spool, FG_SPOOL_PAGES, 0, NULL, &pages);
    if (!error) {
        error = fg_spool_ask(spool, FG_SPOOL_FREE_PAGES, 0, NULL, &unused);
    }
    if (error || pages <= spool->page_limit) {
        return error;
    }
    if (spool->options.settings->when_full == FG_SPOOL_DROP_OLDEST && pages - unused > spool->page_limit) {
        error = fg_spool_drop_oldest(spool, pages - unused - spool->page_limit);
    }
    if (!error || error == -ENOBUFS) {
        error = fg_spool_ask(spool, FG_SPOOL_FREE_PAGES, 0, NULL, &unused);
    }
    if (!error && unused > 0) {
        error = execute(spool, spool->db, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    }
    return error == -EUCLEAN ? error : 0;
}

static int check_and_prepare(struct fg_spool *spool)
{
    int64_t pages[3] = { 0 };
    int error = look(spool, "PRAGMA journal_mode=WAL", "wal", NULL);
    if (!error) {
        error = look(spool, "PRAGMA page_count", NULL, pages);
    }
    if (!error && pages[0] <= CHECKED_PAGES) {
        error = look(spool, "PRAGMA quick_check(1)", "ok", NULL);
        spool->unreadable = error ? spool->unreadable : 0;
    }
    if (!error) {
        error = take_stock(spool);
    }
    return error ? error : prepare(spool);
}

int fg_spool_open_database(struct fg_spool *spool)
{
    int error = fg_spool_connect(spool, spool->path, &spool->db);
    if (!error) {
        error = check_and_prepare(spool);
    }
    /* After a failure the kernel may have taken for written what was not; writing it anew makes sure. */
    int64_t log = fg_spool_vfs_log_end(spool->vfs);
    if (!error && log > 0 && (log > spool->log_limit || spool->error != -ESHUTDOWN)) {
        error = execute(spool, spool->db, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    if (!error) {
        error = fg_spool_doubt_resolve(spool);
    }
    if (!error) {
        error = shrink(spool);
    }
    if (error) {
        (void)fg_spool_close_database(spool, false);
    }
    return error;
}

int fg_spool_close_database(struct fg_spool *spool, bool orderly)
{
    if (!spool->db) {
        return 0;
    }
    int error = orderly ? fg_spool_checkpoint(spool) : 0;
    for (int i = 0; i < FG_SPOOL_STATEMENT_COUNT; i++) {
        sqlite3_finalize(spool->statements[i]);
        spool->statements[i] = NULL;
    }
    if (!orderly || error) {
        sqlite3_db_config(spool->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    sqlite3_close(spool->db);
    spool->db = NULL;
    spool->removing = 0;
    fg_spool_forget_sources(spool);
    fg_spool_intern_reset(spool);
    return error;
}

sqlite3_stmt *fg_spool_statement(struct fg_spool *spool, enum fg_spool_statement which)
{
    return spool->statements[which];
}

static int step_once(struct fg_spool *spool, enum fg_spool_statement which, size_t count,
                     const int64_t *values, int64_t *answer)
{
    sqlite3_stmt *statement = spool->statements[which];
    int rc = SQLITE_OK;
    for (size_t i = 0; i < count && rc == SQLITE_OK; i++) {
        rc = sqlite3_bind_int64(statement, (int)i + 1, values[i]);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    int error = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : fg_spool_error(spool, spool->db, rc, "failed");
    if (answer && !error) {
        if (rc == SQLITE_ROW && sqlite3_column_type(statement, 0) == SQLITE_INTEGER) {
            *answer = sqlite3_column_int64(statement, 0);
        } else {
            error = -ENOENT;
        }
    }
    sqlite3_reset(statement);
    return error;
}

int fg_spool_run(struct fg_spool *spool, enum fg_spool_statement which, size_t count, const int64_t *values)
{
    return step_once(spool, which, count, values, NULL);
}

int fg_spool_ask(struct fg_spool *spool, enum fg_spool_statement which, size_t count, const int64_t *values,
                 int64_t *answer)
{
    return step_once(spool, which, count, values, answer);
}

void fg_spool_rollback(struct fg_spool *spool)
{
    if (!sqlite3_get_autocommit(spool->db)) {
        char kept[sizeof spool->problem]; /* the words for what led here */
        memcpy(kept, spool->problem, sizeof kept);
        (void)fg_spool_run(spool, FG_SPOOL_ROLLBACK, 0, NULL);
        memcpy(spool->problem, kept, sizeof kept);
    }
    spool->removing = 0;
    fg_spool_intern_settle(spool, false);
}

int fg_spool_commit(struct fg_spool *spool)
{
    int error = fg_spool_run(spool, FG_SPOOL_COMMIT, 0, NULL);
    if (error) {
        fg_spool_rollback(spool);
    } else {
        spool->messages -= spool->removing;
        spool->removing = 0;
        fg_spool_doubt_clear(spool);
        fg_spool_intern_settle(spool, true);
    }
    return error;
}

int fg_spool_checkpoint(struct fg_spool *spool)
{
    int in_log = 0, moved = 0;
    int rc = sqlite3_wal_checkpoint_v2(spool->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &moved);
    int error = fg_spool_error(spool, spool->db, rc, "the log cannot be brought in");
    if (!error && in_log == moved) {
        fg_spool_vfs_log_done(spool->vfs);
    }
    return error;
}

bool fg_spool_log_is_full(const struct fg_spool *spool)
{
    int64_t unwritten = (FG_SPOOL_CACHE_PAGES + SLACK_PAGES) * FG_SPOOL_FRAME;
    return fg_spool_vfs_log_end(spool->vfs) + unwritten > spool->log_limit;
}
