#include "spool_parts.h"

#include "fieldgate/clock.h"

#include <errno.h>

#include <sqlite3.h>

/* Rows that one statement removes: as many pages of the log, at the most. */
#define STEP 64

/* A removal of messages that are lost by it. */
struct sweep {
    enum fg_loss reason;
    struct fg_spool_time now;
    int64_t after;       /* ids up to this one are done with */
    int64_t first, last; /* the rows of the present step */
    size_t rows;         /* 0: none */
    bool end;            /* there is nothing behind them to look at */
    uint64_t dropped;
    uint64_t dropping;   /* by the transaction under way */
    int64_t dropping_id; /* one of them */
    struct fg_spool_tally tally;
};

/* Begins a transaction; or commits, and begins the log anew, where the next step might be too much for it. */
static int turn_over(struct fg_spool *spool)
{
    bool idle = sqlite3_get_autocommit(spool->db);
    int error = 0;
    if (fg_spool_log_is_full(spool)) {
        error = idle ? 0 : fg_spool_commit(spool);
        if (!error) {
            error = fg_spool_checkpoint(spool);
        }
        idle = true;
    }
    return error || !idle ? error : fg_spool_run(spool, FG_SPOOL_BEGIN, 0, NULL);
}

static int delete_rows(struct fg_spool *spool, int64_t first, int64_t last)
{
    int error = fg_spool_run(spool, FG_SPOOL_DELETE, 2, (int64_t[]){ first, last });
    if (!error) {
        spool->removing += (uint64_t)sqlite3_changes64(spool->db);
    }
    return error;
}

static int remove_range(struct fg_spool *spool, struct fg_spool_range range)
{
    int error = 0;
    while (!error && range.first <= range.last) {
        int64_t first = range.first;
        error = turn_over(spool);
        if (!error) {
            error = fg_spool_ask(spool, FG_SPOOL_NEXT_ID, 1, &range.first, &first);
        }
        if (error || first > range.last) {
            return error == -ENOENT ? 0 : error;
        }
        int64_t last = range.last - first < STEP ? range.last : first + STEP - 1;
        error = delete_rows(spool, first, last);
        if (last == range.last) {
            return error;
        }
        range.first = last + 1;
    }
    return error;
}

static int end_transaction(struct fg_spool *spool, int error)
{
    if (!error && !sqlite3_get_autocommit(spool->db)) {
        error = fg_spool_sweep_sources(spool);
        if (!error) {
            error = fg_spool_commit(spool);
        }
    }
    if (error) {
        fg_spool_rollback(spool);
    }
    return error;
}

static int remove_all(struct fg_spool *spool, const struct fg_spool_range *ranges, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && !error; i++) {
        error = remove_range(spool, ranges[i]);
    }
    return end_transaction(spool, error);
}

/* Whether these ranges are all that there is. */
static bool is_all(struct fg_spool *spool, const struct fg_spool_range *ranges, size_t count)
{
    int64_t next = 1;
    for (size_t i = 0; i < count; i++) {
        int64_t id = 0;
        int error = fg_spool_ask(spool, FG_SPOOL_NEXT_ID, 1, &next, &id);
        if ((error && error != -ENOENT) || (!error && id < ranges[i].first)) {
            return false;
        }
        next = ranges[i].last + 1;
    }
    return fg_spool_ask(spool, FG_SPOOL_NEXT_ID, 1, &next, &(int64_t){ 0 }) == -ENOENT;
}

/* A full disk may have no room for taking rows out. Where nothing is to be left of them the files go, and
 * with them the room that they take. */
static int remove_on_a_full_disk(struct fg_spool *spool, const struct fg_spool_range *ranges, size_t count)
{
    if (!is_all(spool, ranges, count)) {
        return -ENOSPC;
    }
    (void)fg_spool_close_database(spool, false);
    spool->messages = 0;
    fg_spool_done_close(spool);
    int error = fg_spool_remove_files(spool);
    return error ? error : fg_spool_doubt_resolve(spool);
}

int fg_spool_remove(struct fg_spool *spool, const struct fg_spool_range *ranges, size_t count)
{
    if (!spool->open) {
        return spool->error;
    }
    int error = -EAGAIN;
    for (int attempt = 0; error == -EAGAIN && attempt < 3; attempt++) {
        error = spool->db ? remove_all(spool, ranges, count) : 0;
        if (error == -ENOSPC) {
            error = remove_on_a_full_disk(spool, ranges, count);
        }
        error = fg_spool_settle(spool, error);
    }
    return error == -EAGAIN ? fg_spool_fail(spool, -EUCLEAN) : error;
}

enum verdict { DROP, KEEP, STOP };

/* How an old message stands to max_age; see the header. Times of any size may stand in the file. */
static enum verdict judge_age(const struct fg_spool *spool, const struct sweep *sweep,
                              const struct fg_spool_source *source, int64_t taken_ms)
{
    int64_t now_ms = sweep->now.now_ns / FG_NS_PER_MS;
    int64_t age_ms;
    if (source->earlier_boot) {
        if (source->unsynchronised || !spool->anchored ||
            __builtin_add_overflow(taken_ms, source->offset_ms, &taken_ms)) {
            return KEEP;
        }
        now_ms += spool->anchor_ms;
    }
    if (__builtin_sub_overflow(now_ms, taken_ms, &age_ms)) {
        return KEEP;
    }
    return age_ms > spool->options.settings->max_age_ns / FG_NS_PER_MS ? DROP : STOP;
}

static enum verdict judge(const struct fg_spool *spool, const struct sweep *sweep,
                          const struct fg_spool_source *source, int64_t taken_ms)
{
    return sweep->reason == FG_LOSS_EXPIRED ? judge_age(spool, sweep, source, taken_ms) : DROP;
}

/* Looks at one row. Returns whether to go on with the next; the step otherwise ends before this one. */
static bool take_row(struct fg_spool *spool, struct sweep *sweep, sqlite3_stmt *row,
                     const struct fg_spool_source *source)
{
    int64_t id = sqlite3_column_int64(row, 0);
    int64_t taken_ms = sqlite3_column_int64(row, 2);
    int64_t wall_ms =
        (int64_t)((uint64_t)taken_ms + (uint64_t)source->offset_ms + (uint64_t)sqlite3_column_int64(row, 3));
    enum verdict verdict = judge(spool, sweep, source, taken_ms);
    if (verdict == KEEP && sweep->rows == 0) {
        sweep->after = spool->looked_at = id;
        return true;
    }
    wall_ms = fg_spool_right_ms(spool, taken_ms, wall_ms, source->unsynchronised, source->earlier_boot);
    struct fg_spool_loss loss = {
        source->origin, sweep->reason, wall_ms, wall_ms, 1, (uint64_t)sqlite3_column_int64(row, 4)
    };
    if (verdict != DROP || !fg_spool_tally_add(&sweep->tally, &loss)) {
        sweep->end = verdict == STOP;
        return false;
    }
    sweep->first = sweep->rows == 0 ? id : sweep->first;
    sweep->last = sweep->after = sweep->dropping_id = id;
    sweep->dropping++;
    return ++sweep->rows < STEP;
}

/* Finds the rows of the next step. */
static int find_rows(struct fg_spool *spool, struct sweep *sweep)
{
    sqlite3_stmt *rows = fg_spool_statement(spool, FG_SPOOL_SELECT_AGES);
    int error = 0;
    bool more = true;
    int rc = sqlite3_bind_int64(rows, 1, sweep->after);
    sweep->rows = 0;
    while (!error && more && rc == SQLITE_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        const struct fg_spool_source *source;
        error = fg_spool_source(spool, sqlite3_column_int64(rows, 1), &source);
        more = !error && take_row(spool, sweep, rows, source);
        rc = more ? SQLITE_OK : rc;
    }
    if (rc == SQLITE_DONE) {
        sweep->end = true;
    } else if (rc != SQLITE_ROW && rc != SQLITE_OK) {
        error = fg_spool_error(spool, spool->db, rc, "cannot be read");
    }
    sqlite3_reset(rows);
    return error;
}

/* One transaction of a sweep: it ends when the tally or the log is full, or enough pages are free. */
static int sweep_once(struct fg_spool *spool, struct sweep *sweep, int64_t enough, int64_t *unused)
{
    sweep->dropping = 0;
    int error = fg_spool_log_is_full(spool) ? fg_spool_checkpoint(spool) : 0;
    if (!error) {
        error = fg_spool_run(spool, FG_SPOOL_BEGIN, 0, NULL);
    }
    do {
        if (!error) {
            error = find_rows(spool, sweep);
        }
        if (!error && sweep->rows > 0) {
            error = delete_rows(spool, sweep->first, sweep->last);
        }
        if (!error) {
            error = fg_spool_ask(spool, FG_SPOOL_FREE_PAGES, 0, NULL, unused);
        }
    } while (!error && sweep->rows > 0 && !sweep->end && *unused < enough &&
             sweep->tally.count < FG_SPOOL_TALLY_MAX && !fg_spool_log_is_full(spool));
    if (!error && sweep->tally.count == 0) {
        fg_spool_rollback(spool); /* nothing was changed */
        fg_spool_tally_end(spool, &sweep->tally, false);
        return error;
    }
    bool committing = !error;
    error = end_transaction(spool, error);
    if (error && committing) {
        fg_spool_doubt_drop(spool, sweep->dropping_id, &sweep->tally);
    }
    sweep->dropped += error ? 0 : sweep->dropping;
    fg_spool_tally_end(spool, &sweep->tally, !error);
    return error;
}

int fg_spool_drop_oldest(struct fg_spool *spool, int64_t pages)
{
    struct sweep sweep = { .reason = FG_LOSS_SPOOL_FULL, .after = spool->held };
    int64_t unused;
    fg_spool_read_time(spool, &sweep.now);
    int error = fg_spool_ask(spool, FG_SPOOL_FREE_PAGES, 0, NULL, &unused);
    int64_t enough = error ? 0 : unused + pages;
    while (!error && !sweep.end && unused < enough) {
        error = sweep_once(spool, &sweep, enough, &unused);
    }
    return error ? error : sweep.dropped > 0 ? 0 : -ENOBUFS;
}

static int expire(struct fg_spool *spool)
{
    struct sweep sweep = { .reason = FG_LOSS_EXPIRED };
    int64_t unused;
    int error = 0;
    fg_spool_read_time(spool, &sweep.now);
    sweep.after = spool->held > spool->looked_at ? spool->held : spool->looked_at;
    while (!error && !sweep.end) {
        error = sweep_once(spool, &sweep, INT64_MAX, &unused);
    }
    return error;
}

int fg_spool_expire(struct fg_spool *spool)
{
    if (!spool->open) {
        return spool->error;
    }
    int error = -EAGAIN;
    for (int attempt = 0; error == -EAGAIN && attempt < 3; attempt++) {
        bool needed = spool->db && spool->messages > 0 && spool->options.settings->max_age_ns > 0;
        error = needed ? fg_spool_settle(spool, expire(spool)) : 0;
    }
    return error == -EAGAIN ? fg_spool_fail(spool, -EUCLEAN) : error;
}
