/*
 * Salvage: all that can be read of a damaged database goes into a new one, which then takes its place. Until
 * the new one is complete and on disk, the damaged one stays where it is, so that a power cut or a full disk
 * in the middle means only doing it again.
 *
 * A table is read from its start to the first page that cannot be, and from its end back to the last such
 * page.
 */
#include "spool_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

struct salvage {
    sqlite3 *damaged, *fresh; /* damaged: NULL when it cannot be opened at all */
    uint64_t salvaged, gap;
    int64_t last_id;        /* of the message copied last */
    int64_t before, behind; /* messages before the first gap and behind the last; 0: none */
    int64_t from_ms, to_ms;
};

struct table {
    const char *forward, *backward, *insert;
    int columns;
    bool messages;
};

static const struct table tables[] = {
    { "SELECT id,boot,unsynchronised,offset FROM epoch WHERE id>?1 ORDER BY id",
      "SELECT id FROM epoch WHERE id>?1 ORDER BY id DESC", "INSERT OR IGNORE INTO epoch VALUES(?1,?2,?3,?4)",
      4, false },
    { "SELECT id,epoch,flags,port,device,topic FROM source WHERE id>?1 ORDER BY id",
      "SELECT id FROM source WHERE id>?1 ORDER BY id DESC",
      "INSERT OR IGNORE INTO source SELECT ?1,?2,?3,?4,?5,?6 WHERE EXISTS(SELECT 1 FROM epoch WHERE id=?2)"
      " AND ?3 BETWEEN 0 AND 7 AND (?3&3)<3 AND length(?6)<=65535",
      6, false },
    { "SELECT id,source,taken,wall,payload FROM message WHERE id>?1 ORDER BY id",
      "SELECT id,length(payload) FROM message WHERE id>?1 ORDER BY id DESC",
      "INSERT OR IGNORE INTO message SELECT ?1,?2,?3,?4,?5 WHERE EXISTS(SELECT 1 FROM source WHERE id=?2)", 5,
      true },
};

static bool is_memory(int rc)
{
    return rc == SQLITE_NOMEM || rc == SQLITE_IOERR_NOMEM;
}

static void note_copied(struct salvage *salvage, int64_t id)
{
    if (salvage->salvaged > 0 && id > salvage->last_id + 1) {
        salvage->gap += (uint64_t)(id - salvage->last_id - 1);
        salvage->before = salvage->before ? salvage->before : salvage->last_id;
        salvage->behind = id;
    }
    salvage->last_id = id;
    salvage->salvaged++;
}

/* A row that does not fit the schema is left out. Returns an error of the new database, or of memory. */
static int copy_row(struct fg_spool *spool, struct salvage *salvage, const struct table *table,
                    sqlite3_stmt *row, sqlite3_stmt *insert)
{
    int64_t id = sqlite3_column_int64(row, 0);
    if (id <= 0 || id > FG_SPOOL_ID_MAX) {
        return 0;
    }
    int rc = SQLITE_OK;
    for (int i = 0; i < table->columns && rc == SQLITE_OK; i++) {
        rc = sqlite3_bind_value(insert, i + 1, sqlite3_column_value(row, i));
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(insert);
    }
    sqlite3_reset(insert);
    sqlite3_clear_bindings(insert);
    if (rc == SQLITE_DONE) {
        if (table->messages && sqlite3_changes(salvage->fresh) > 0) {
            note_copied(salvage, id);
        }
        return 0;
    }
    return (rc & 0xff) == SQLITE_CONSTRAINT ? 0
                                            : fg_spool_error(spool, salvage->fresh, rc, "cannot be salvaged");
}

/* Copies rows past `after` until one cannot be read. *rc says why it ended. */
static int copy_rows(struct fg_spool *spool, struct salvage *salvage, const struct table *table,
                     int64_t after, int64_t *last, int *rc)
{
    sqlite3_stmt *rows = NULL, *insert = NULL;
    *rc = sqlite3_prepare_v2(salvage->damaged, table->forward, -1, &rows, NULL);
    int error = fg_spool_error(spool, salvage->fresh,
                               sqlite3_prepare_v2(salvage->fresh, table->insert, -1, &insert, NULL),
                               "cannot be salvaged");
    if (*rc == SQLITE_OK && !error) {
        *rc = sqlite3_bind_int64(rows, 1, after);
    }
    while (*rc == SQLITE_OK && !error && (*rc = sqlite3_step(rows)) == SQLITE_ROW) {
        *last = sqlite3_column_int64(rows, 0);
        error = copy_row(spool, salvage, table, rows, insert);
        *rc = SQLITE_OK;
    }
    sqlite3_finalize(rows);
    sqlite3_finalize(insert);
    return error ? error : is_memory(*rc) ? -ENOMEM : 0;
}

/* The id before the lowest that can be reached from the end. */
static int find_tail(struct salvage *salvage, const struct table *table, int64_t after, int64_t *before_tail)
{
    sqlite3_stmt *rows = NULL;
    bool found = false;
    int rc = sqlite3_prepare_v2(salvage->damaged, table->backward, -1, &rows, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(rows, 1, after);
    }
    while (rc == SQLITE_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        *before_tail = sqlite3_column_int64(rows, 0) - 1;
        found = true;
        rc = SQLITE_OK;
    }
    sqlite3_finalize(rows);
    return is_memory(rc) ? -ENOMEM : found ? 0 : -ENOENT;
}

static int copy_table(struct fg_spool *spool, struct salvage *salvage, const struct table *table)
{
    int64_t last = 0, before_tail;
    int rc;
    int error = copy_rows(spool, salvage, table, 0, &last, &rc);
    if (error || rc == SQLITE_DONE) {
        return error;
    }
    error = find_tail(salvage, table, last, &before_tail);
    if (error) {
        return error == -ENOENT ? 0 : error;
    }
    return copy_rows(spool, salvage, table, before_tail, &last, &rc);
}

/* When the message was taken, as it is told. */
static int ask_wall(struct fg_spool *spool, struct salvage *salvage, int64_t id, int64_t *wall_ms)
{
    sqlite3_stmt *row = NULL;
    int rc = sqlite3_prepare_v2(salvage->fresh,
                                "SELECT taken+offset+wall FROM message JOIN source ON source.id=source"
                                " JOIN epoch ON epoch.id=epoch WHERE message.id=?1",
                                -1, &row, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(row, 1, id);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(row);
    }
    if (rc == SQLITE_ROW) {
        *wall_ms = sqlite3_column_int64(row, 0);
    }
    int error = rc == SQLITE_ROW || rc == SQLITE_DONE
                    ? 0
                    : fg_spool_error(spool, salvage->fresh, rc, "cannot be salvaged");
    sqlite3_finalize(row);
    return error;
}

static int fill(struct fg_spool *spool, sqlite3 *fresh, void *context)
{
    struct salvage *salvage = context;
    int error = 0;
    salvage->fresh = fresh;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && salvage->damaged && !error; i++) {
        error = copy_table(spool, salvage, &tables[i]);
    }
    if (!error && salvage->before) {
        error = ask_wall(spool, salvage, salvage->before, &salvage->from_ms);
    }
    if (!error && salvage->behind) {
        error = ask_wall(spool, salvage, salvage->behind, &salvage->to_ms);
    }
    return error;
}

static void tell(struct fg_spool *spool, const struct salvage *salvage, uint64_t known, const char *why,
                 const char *aside)
{
    /* What the spool knew to be there beats what the gaps tell, which removed messages leave too. */
    uint64_t missing = known == 0 ? salvage->gap : known > salvage->salvaged ? known - salvage->salvaged : 0;
    struct fg_spool_damage damage = {
        .why = why,
        .set_aside = aside,
        .salvaged = salvage->salvaged,
        .missing = missing,
        .from_ms = salvage->from_ms,
        .to_ms = salvage->to_ms,
    };
    spool->options.events->damaged(spool->options.context, &damage);
}

int fg_spool_salvage(struct fg_spool *spool, const char *why)
{
    struct salvage salvage = { 0 };
    uint64_t known = spool->db ? spool->messages : 0;
    (void)fg_spool_close_database(spool, false);
    int error = fg_spool_connect(spool, spool->path, &salvage.damaged);
    error = error == -EUCLEAN ? 0 : error; /* then there is nothing to salvage */
    char *fresh = fg_spool_path(spool, ".new");
    if (!error) {
        error = fresh ? fg_spool_make_database(spool, fresh, fill, &salvage) : -ENOMEM;
    }
    if (salvage.damaged) {
        sqlite3_db_config(salvage.damaged, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_close(salvage.damaged);
    }
    char *aside = NULL;
    if (!error) {
        error = fg_spool_replace(spool, fresh, &aside);
    }
    free(fresh);
    if (!error) {
        error = fg_spool_open_database(spool);
        tell(spool, &salvage, known, why, aside);
    }
    free(aside);
    return error == -EUCLEAN ? -EIO : error;
}
