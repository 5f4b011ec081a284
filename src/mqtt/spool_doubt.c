/*
 * Losses on their way to the owner, and commits of which only the disk knows whether they came to be.
 */
#include "spool_parts.h"

#include <errno.h>

#include <sqlite3.h>

bool fg_spool_tally_add(struct fg_spool_tally *tally, const struct fg_spool_loss *loss)
{
    size_t i = 0;
    while (i < tally->count && tally->entries[i].origin != loss->origin) {
        i++;
    }
    if (i == FG_SPOOL_TALLY_MAX) {
        return false;
    }
    struct fg_spool_loss *entry = &tally->entries[i];
    if (i == tally->count) {
        tally->count++;
        *entry = *loss;
        fg_origin_ref(entry->origin);
        return true;
    }
    entry->from_ms = loss->from_ms < entry->from_ms ? loss->from_ms : entry->from_ms;
    entry->to_ms = loss->to_ms > entry->to_ms ? loss->to_ms : entry->to_ms;
    entry->count += loss->count;
    entry->bytes += loss->bytes;
    return true;
}

void fg_spool_tally_end(struct fg_spool *spool, struct fg_spool_tally *tally, bool tell)
{
    for (size_t i = 0; i < tally->count; i++) {
        if (tell) {
            spool->options.events->lost(spool->options.context, &tally->entries[i]);
        }
        fg_origin_unref(tally->entries[i].origin);
    }
    tally->count = 0;
}

void fg_spool_doubt_append(struct fg_spool *spool, int64_t first, int64_t last)
{
    fg_spool_doubt_clear(spool);
    spool->doubt.first = first;
    spool->doubt.last = last;
}

void fg_spool_doubt_drop(struct fg_spool *spool, int64_t id, struct fg_spool_tally *losses)
{
    fg_spool_doubt_clear(spool);
    spool->doubt.dropped = id;
    spool->doubt.losses = *losses;
    losses->count = 0;
}

void fg_spool_doubt_clear(struct fg_spool *spool)
{
    fg_spool_tally_end(spool, &spool->doubt.losses, false);
    spool->doubt.first = spool->doubt.last = spool->doubt.dropped = 0;
}

/* Only what this process wrote: another one may have had the spool in between, and given the same ids. */
static int undo_append(struct fg_spool *spool)
{
    sqlite3_stmt *statement = NULL;
    int rc =
        sqlite3_prepare_v2(spool->db,
                           "DELETE FROM message WHERE id BETWEEN ?1 AND ?2 AND source IN (SELECT source.id"
                           " FROM source JOIN epoch ON epoch.id=epoch WHERE process=?3)",
                           -1, &statement, NULL);
    const int64_t values[] = { spool->doubt.first, spool->doubt.last, spool->process };
    for (int i = 0; i < 3 && rc == SQLITE_OK; i++) {
        rc = sqlite3_bind_int64(statement, i + 1, values[i]);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    int error = rc == SQLITE_DONE ? 0 : fg_spool_error(spool, spool->db, rc, "cannot be written");
    sqlite3_finalize(statement);
    if (!error) {
        spool->messages -= (uint64_t)sqlite3_changes64(spool->db);
    }
    return error;
}

int fg_spool_doubt_resolve(struct fg_spool *spool)
{
    int error = 0;
    if (spool->doubt.first && spool->db) {
        error = undo_append(spool);
    }
    if (!error && spool->doubt.dropped) {
        int64_t found = 0;
        if (spool->db) {
            error = fg_spool_ask(spool, FG_SPOOL_NEXT_ID, 1, &spool->doubt.dropped, &found);
            error = error == -ENOENT ? 0 : error;
        }
        if (!error) {
            fg_spool_tally_end(spool, &spool->doubt.losses, found != spool->doubt.dropped);
        }
    }
    if (!error) {
        fg_spool_doubt_clear(spool);
    }
    return error;
}
