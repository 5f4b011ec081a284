/*
 * Salvage: all that can be read of a damaged database goes into a new one, which then takes its place. Until
 * the new one is complete and on disk, the damaged one stays where it is, so that a power cut or a full disk
 * in the middle means only doing it again; or, behind that point, finishing it.
 *
 * Tables are read around the pages that cannot be. The first page of all, which the others cannot be found
 * without and which is written the most often, is the same in every spool but for the number of pages: where
 * it is damaged, that of an empty one is read in its place. Pages inside of a tree have no such stand-in:
 * what is below a damaged one is missing.
 */
#include "spool_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

struct salvage {
    sqlite3 *damaged, *fresh; /* damaged: NULL when it cannot be opened at all */
    uint64_t salvaged, gap;
    bool interrupted;       /* what was found is not known any more */
    int64_t last_id;        /* of the message copied last */
    int64_t before, behind; /* messages before the first gap and behind the last; 0: none */
    int64_t from_ms, to_ms;
};

struct table {
    const char *select, *insert;
    int columns;
    bool messages;
    const char *afterwards; /* to be run on the new database; or NULL */
};

#define INSERT_SOURCE                                                                                        \
    "INSERT OR IGNORE INTO source SELECT ?1,?2,?3,?4,?5,?6 WHERE ?3 BETWEEN 0 AND 7 AND (?3&3)<3"            \
    " AND length(CAST(?6 AS BLOB))<=65535"

static const struct table tables[] = {
    { "SELECT id,boot,unsynchronised,offset,process FROM epoch WHERE id>=?1 ORDER BY id",
      "INSERT OR IGNORE INTO epoch VALUES(?1,?2,?3,?4,?5)", 5, false, NULL },
    { "SELECT id,epoch,flags,port,device,topic FROM source WHERE id>=?1 ORDER BY id", INSERT_SOURCE, 6, false,
      NULL },
    /* Without its epoch a message is of some time that is not known. */
    { "SELECT id,epoch,flags,port,device,topic FROM spare WHERE id>=?1 ORDER BY id", INSERT_SOURCE, 6, false,
      "INSERT INTO spare SELECT * FROM source;"
      "INSERT OR IGNORE INTO epoch SELECT DISTINCT epoch,'',1,0,0 FROM source" },
    { "SELECT id,source,taken,wall,payload FROM message WHERE id>=?1 ORDER BY id",
      "INSERT OR IGNORE INTO message SELECT ?1,?2,?3,?4,?5 WHERE EXISTS(SELECT 1 FROM source WHERE id=?2)", 5,
      true, NULL },
};

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

/* Whether a code of the damaged database says that there is something in it that cannot be read. Anything
 * else, such as no memory, must not be taken for that. */
static bool is_damage(const struct fg_spool *spool, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* a table is missing */
    case SQLITE_TOOBIG:
        return true;
    default:
        return rc == SQLITE_IOERR_DATA || rc == SQLITE_IOERR_CORRUPTFS ||
               (rc == SQLITE_IOERR_READ && spool->give_up_unreadable);
    }
}

/* *damage: whether it was that; the error for the caller otherwise. */
static int judge(struct fg_spool *spool, struct salvage *salvage, int rc, bool *damage)
{
    *damage = is_damage(spool, rc);
    bool fine = *damage || rc == SQLITE_ROW || rc == SQLITE_DONE;
    return fine ? 0 : fg_spool_error(spool, salvage->damaged, rc, "cannot be salvaged");
}

/* Stands a statement before rows with ids from `from` on. */
static int seek(struct salvage *salvage, const struct table *table, int64_t from, sqlite3_stmt **rows)
{
    int rc = sqlite3_prepare_v2(salvage->damaged, table->select, -1, rows, NULL);
    return rc == SQLITE_OK ? sqlite3_bind_int64(*rows, 1, from) : rc;
}

/* Copies rows with ids from *from on until one cannot be read, and moves *from behind them. */
static int copy_rows(struct fg_spool *spool, struct salvage *salvage, const struct table *table,
                     int64_t *from, bool *damage)
{
    sqlite3_stmt *rows = NULL, *insert = NULL;
    int rc = seek(salvage, table, *from, &rows);
    int error = fg_spool_error(spool, salvage->fresh,
                               sqlite3_prepare_v2(salvage->fresh, table->insert, -1, &insert, NULL),
                               "cannot be salvaged");
    while (rc == SQLITE_OK && !error && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(rows, 0);
        if (id < *from || id > FG_SPOOL_ID_MAX) {
            rc = SQLITE_CORRUPT;
        } else {
            error = copy_row(spool, salvage, table, rows, insert);
            *from = id + 1;
            rc = SQLITE_OK;
        }
    }
    if (!error) {
        error = judge(spool, salvage, rc, damage);
    }
    sqlite3_finalize(rows);
    sqlite3_finalize(insert);
    return error;
}

/* Whether what begins with an id can be read, be it only that there is nothing. */
static int probe(struct fg_spool *spool, struct salvage *salvage, const struct table *table, int64_t from,
                 bool *damage)
{
    sqlite3_stmt *rows = NULL;
    int rc = seek(salvage, table, from, &rows);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(rows);
    }
    int error = judge(spool, salvage, rc, damage);
    sqlite3_finalize(rows);
    return error;
}

/* Moves *from, where nothing can be read, to where something can. -ENOENT: nowhere. */
static int skip_damage(struct fg_spool *spool, struct salvage *salvage, const struct table *table,
                       int64_t *from)
{
    int64_t bad = *from, good = bad;
    bool damage = true;
    for (int64_t step = 1; damage; step *= 2) {
        if (step > FG_SPOOL_ID_MAX - bad) {
            return -ENOENT;
        }
        bad = good;
        good = bad + step;
        int error = probe(spool, salvage, table, good, &damage);
        if (error) {
            return error;
        }
    }
    while (good - bad > 1) {
        int64_t middle = bad + (good - bad) / 2;
        int error = probe(spool, salvage, table, middle, &damage);
        if (error) {
            return error;
        }
        if (damage) {
            bad = middle;
        } else {
            good = middle;
        }
    }
    *from = good;
    return 0;
}

static int copy_table(struct fg_spool *spool, struct salvage *salvage, const struct table *table)
{
    int64_t from = 1, again = 0;
    for (;;) {
        bool damage = false;
        int error = copy_rows(spool, salvage, table, &from, &damage);
        if (!error && damage && from == again) {
            error = skip_damage(spool, salvage, table, &from);
        }
        if (error || !damage) {
            return error == -ENOENT ? 0 : error;
        }
        again = from; /* what fails once may not fail twice */
    }
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

/* Reads the first page of an empty spool. */
static int borrow_first(struct fg_spool *spool, const char *path)
{
    uint8_t page[FG_SPOOL_PAGE];
    int error = fg_spool_make_database(spool, path, NULL, NULL);
    if (error) {
        return error;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, page, sizeof page, 0) != (ssize_t)sizeof page) {
        error = fg_spool_tell(spool, -EIO, "%s: cannot be read", path);
    } else {
        fg_spool_vfs_lend_first(spool->vfs, page);
    }
    if (fd >= 0) {
        close(fd);
    }
    return error;
}

/* Opens what is damaged; -EUCLEAN is no error, but nothing to salvage. */
static int open_damaged(struct fg_spool *spool, struct salvage *salvage)
{
    int error = fg_spool_connect(spool, spool->path, &salvage->damaged);
    if (!error) {
        /* Lets it be read although the file is shorter than the number of its pages says. */
        int rc = sqlite3_exec(salvage->damaged, "PRAGMA writable_schema=ON", NULL, NULL, NULL);
        error = fg_spool_error(spool, salvage->damaged, rc, "cannot be salvaged");
    }
    return error == -EUCLEAN ? 0 : error;
}

static int fill(struct fg_spool *spool, sqlite3 *fresh, void *context)
{
    struct salvage *salvage = context;
    int error = 0;
    salvage->fresh = fresh;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && salvage->damaged && !error; i++) {
        error = copy_table(spool, salvage, &tables[i]);
        if (!error && tables[i].afterwards) {
            int rc = sqlite3_exec(fresh, tables[i].afterwards, NULL, NULL, NULL);
            error = fg_spool_error(spool, fresh, rc, "cannot be salvaged");
        }
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

static int name_salvaged(struct fg_spool *spool, const char *fresh)
{
    char *salvaged = fg_spool_path(spool, FG_SPOOL_SALVAGED);
    int error = salvaged ? 0 : -ENOMEM;
    if (!error && rename(fresh, salvaged) != 0) {
        error = fg_spool_tell(spool, -errno, "%s: cannot be made: %s", salvaged, strerror(errno));
    }
    free(salvaged);
    return error ? error : fg_spool_sync_folder(spool);
}

/* Puts what was salvaged in place of what was damaged, and opens it. */
static int take_place(struct fg_spool *spool, struct salvage *salvage, uint64_t known, const char *why)
{
    char *aside = NULL;
    int error = fg_spool_replace(spool, &aside);
    if (error) {
        return error;
    }
    error = fg_spool_open_database(spool);
    if (!error && salvage->interrupted) {
        salvage->salvaged = spool->messages;
    }
    tell(spool, salvage, known, why, aside);
    free(aside);
    return error == -EUCLEAN ? -EIO : error;
}

int fg_spool_salvage(struct fg_spool *spool, const char *why)
{
    struct salvage salvage = { 0 };
    uint64_t known = spool->db ? spool->messages : 0;
    (void)fg_spool_close_database(spool, false);
    char *fresh = fg_spool_path(spool, ".new");
    int error = fresh ? borrow_first(spool, fresh) : -ENOMEM;
    if (!error) {
        error = open_damaged(spool, &salvage);
    }
    if (!error) {
        error = fg_spool_make_database(spool, fresh, fill, &salvage);
    }
    fg_spool_vfs_lend_first(spool->vfs, NULL);
    if (salvage.damaged) {
        sqlite3_db_config(salvage.damaged, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_close(salvage.damaged);
    }
    if (!error) {
        error = name_salvaged(spool, fresh);
    }
    free(fresh);
    return error ? error : take_place(spool, &salvage, known, why);
}

int fg_spool_finish_salvage(struct fg_spool *spool)
{
    struct salvage salvage = { .interrupted = true };
    return take_place(spool, &salvage, 0, "the salvage of a damaged spool was interrupted");
}
