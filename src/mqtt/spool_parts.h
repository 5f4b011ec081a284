/*
 * What the spool's files share. Everything here is called by the spool's owner, may block for the disk, and
 * returns 0 or a negative errno; -EUCLEAN is a damaged database.
 */
#ifndef FIELDGATE_MQTT_SPOOL_PARTS_H
#define FIELDGATE_MQTT_SPOOL_PARTS_H

#include "spool.h"
#include "spool_vfs.h"

#include "fieldgate/map.h"

#define FG_SPOOL_APPLICATION 0x46475350 /* "FGSP" */
#define FG_SPOOL_VERSION     1
/* A version past this was never written by anyone: it is damage, not the future. */
#define FG_SPOOL_VERSION_MAX 1000
#define FG_SPOOL_ID_MAX      (INT64_C(1) << 60)

/* Damaged databases that are kept beside the spool, for somebody to look at. */
#define FG_SPOOL_ASIDE_MAX 4

#define FG_SPOOL_CACHE_PAGES 32
#define FG_SPOOL_FRAME       (FG_SPOOL_PAGE + 24)

struct sqlite3;
struct sqlite3_stmt;

enum fg_spool_statement {
    FG_SPOOL_BEGIN,
    FG_SPOOL_COMMIT,
    FG_SPOOL_ROLLBACK,
    FG_SPOOL_INSERT,
    FG_SPOOL_INSERT_SOURCE,
    FG_SPOOL_INSERT_SPARE,
    FG_SPOOL_INSERT_EPOCH,
    FG_SPOOL_SELECT,
    FG_SPOOL_SELECT_AGES,
    FG_SPOOL_SELECT_SOURCE,
    FG_SPOOL_DELETE,
    FG_SPOOL_DELETE_SOURCES,
    FG_SPOOL_DELETE_SPARES,
    FG_SPOOL_DELETE_EPOCHS,
    FG_SPOOL_NEXT_ID,
    FG_SPOOL_NEXT_SOURCE,
    FG_SPOOL_PAGES,
    FG_SPOOL_FREE_PAGES,
    FG_SPOOL_STATEMENT_COUNT
};

/* One row of the table source, as kept in memory for reading. */
struct fg_spool_source {
    int64_t id;
    int64_t offset_ms; /* wall clock less monotonic clock, when its epoch began */
    struct fg_origin *origin;
    uint8_t qos;
    bool retain, stamped, unsynchronised, earlier_boot;
    uint16_t topic_length;
    char topic[];
};

/* What a row of source is known by, for appending. */
struct fg_spool_known {
    struct fg_spool_known *next; /* of those added by the transaction under way */
    int64_t id;                  /* 0: its row was rolled back */
    size_t length;
    char key[];
};

/* Rows of source up to `source` are used by no message past `message`. */
struct fg_spool_generation {
    int64_t source, message;
};

#define FG_SPOOL_SOURCE_CACHE 128
#define FG_SPOOL_KNOWN_MAX    4096
#define FG_SPOOL_GENERATIONS  8

/* Origins whose losses one transaction keeps until it is committed. */
#define FG_SPOOL_TALLY_MAX 32

struct fg_spool_tally {
    size_t count;
    struct fg_spool_loss entries[FG_SPOOL_TALLY_MAX]; /* each with a reference of its origin */
};

/* What a commit that failed may have done nevertheless, until another one succeeds or the disk is asked. */
struct fg_spool_doubt {
    int64_t first, last; /* ids that it appended; 0: none */
    int64_t dropped;     /* one of those that it dropped; 0: none */
    struct fg_spool_tally losses;
};

struct fg_spool {
    struct fg_spool_options options;
    char *path;
    char *folder; /* of path, without '/' at its end */
    char boot[40];
    int64_t process; /* a number that no other process has */
    struct fg_spool_vfs *vfs;
    char problem[768];

    bool open;               /* the folder was good and the lock is ours */
    int error;               /* what has closed it, or -ESHUTDOWN */
    unsigned unreadable;     /* times in a row that the file could not be read */
    bool read_failed;        /* since the present fg_spool_open began */
    bool give_up_unreadable; /* salvage goes on without what cannot be read */
    struct fg_spool_doubt doubt;
    int lock_fd;
    struct sqlite3 *db; /* NULL: resting */
    struct sqlite3_stmt *statements[FG_SPOOL_STATEMENT_COUNT];

    int64_t page_limit; /* of the database */
    int64_t log_limit;  /* bytes of the log */
    uint64_t messages;
    uint64_t removing; /* by the transaction under way */
    int64_t next_id;
    int64_t held; /* messages up to here are not dropped */
    int done_fd;  /* -1: not open */
    int64_t done_through;

    /* Appending */
    int64_t epoch;     /* row of the present one; 0: none yet */
    bool epoch_is_new; /* made by the transaction under way */
    bool epoch_unsynchronised;
    int64_t epoch_offset_ms;
    struct fg_map known;
    struct fg_spool_known *added;
    int64_t last_source;
    struct fg_spool_generation generations[FG_SPOOL_GENERATIONS];
    size_t generation_count;

    /* Reading */
    struct fg_spool_source *sources[FG_SPOOL_SOURCE_CACHE];

    /* Ages: whether the wall clock has been set in this process, and its first trusted difference to the
     * monotonic clock; messages up to looked_at have no age that could expire. */
    bool anchored;
    int64_t anchor_ms;
    int64_t looked_at;
};

/* spool.c */

/* Keeps words for fg_spool_problem. Returns error. */
int fg_spool_tell(struct fg_spool *spool, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Gives up database and lock after an error; calls return it from now on. Returns error. */
int fg_spool_fail(struct fg_spool *spool, int error);

/* What follows from the error of a call: damage is salvaged (-EAGAIN: do it again), errors of the disk close
 * the spool. Returns the error for the caller otherwise. */
int fg_spool_settle(struct fg_spool *spool, int error);

/* Whether the spool is open, and its database too; makes one when there is none. */
int fg_spool_use(struct fg_spool *spool);

/* The clocks, and what they say about ages. */
void fg_spool_read_time(struct fg_spool *spool, struct fg_spool_time *now);

/* When something was taken, after the clocks were read: see fg_spool_wall_ms. */
int64_t fg_spool_right_ms(const struct fg_spool *spool, int64_t taken_ms, int64_t wall_ms,
                          bool unsynchronised, bool earlier_boot);

/* spool_doubt.c */

/* Adds to the losses of an origin. Returns false when there is no place for it. */
bool fg_spool_tally_add(struct fg_spool_tally *tally, const struct fg_spool_loss *loss);

/* Tells the losses (or not), and begins anew. */
void fg_spool_tally_end(struct fg_spool *spool, struct fg_spool_tally *tally, bool tell);

/* A commit has failed that was to append these ids. */
void fg_spool_doubt_append(struct fg_spool *spool, int64_t first, int64_t last);

/* A commit has failed that was to drop `id` and others; takes the losses. */
void fg_spool_doubt_drop(struct fg_spool *spool, int64_t id, struct fg_spool_tally *losses);

/* Nothing of what is in doubt has come to be: its place in the log was written anew. */
void fg_spool_doubt_clear(struct fg_spool *spool);

/* Finds out on disk; with the database open, or without any. */
int fg_spool_doubt_resolve(struct fg_spool *spool);

/* spool_folder.c */

int fg_spool_check_folder(struct fg_spool *spool);
int fg_spool_sync_folder(struct fg_spool *spool);
int fg_spool_lock(struct fg_spool *spool);
void fg_spool_unlock(struct fg_spool *spool);

/* Whether the folder is still the one that was locked: another file system may have come or gone there. */
int fg_spool_check_lock(struct fg_spool *spool);

/* Looks at the database's file. Returns 0; -ENOENT: there is none, or an empty one; -EUCLEAN,
 * -EPROTONOSUPPORT or another error, told. */
int fg_spool_check_file(struct fg_spool *spool);

/* Makes an empty file that only its owner can read. */
int fg_spool_make_file(struct fg_spool *spool, const char *path);

/* Path with a suffix, on the heap. */
char *fg_spool_path(const struct fg_spool *spool, const char *suffix);

/* Removes a log without database, for good: it must never meet another one. */
int fg_spool_remove_log(struct fg_spool *spool);

/* Removes database and log. */
int fg_spool_remove_files(struct fg_spool *spool);

/* spool_aside.c */

/* What was salvaged has this suffix once it is complete and on disk. */
#define FG_SPOOL_SALVAGED ".salvaged"
bool fg_spool_has_salvaged(const struct fg_spool *spool);

/* Gives the damaged database and its log (which may be gone already) another name, and what was salvaged
 * theirs. *set_aside is for the caller to free. */
int fg_spool_replace(struct fg_spool *spool, char **set_aside);

/* spool_log.c */

/* Looks for damage in the middle of the log, which SQLite would take for its end. Returns 0, also when there
 * is no log; -EUCLEAN, told; or another error. */
int fg_spool_check_log(struct fg_spool *spool);

/* spool_database.c */

/* The negative errno for a SQLite code; words are kept where doing is not NULL. */
int fg_spool_error(struct fg_spool *spool, struct sqlite3 *db, int rc, const char *doing);

/* Opens a database with the settings that all have. */
int fg_spool_connect(struct fg_spool *spool, const char *path, struct sqlite3 **db);

/* Makes a database at path. fill (may be NULL) puts rows into it before it counts. Removes it on failure. */
int fg_spool_make_database(struct fg_spool *spool, const char *path,
                           int (*fill)(struct fg_spool *spool, struct sqlite3 *fresh, void *context),
                           void *context);

/* Opens spool->db, checks it and counts what is in it. */
int fg_spool_open_database(struct fg_spool *spool);

/* Orderly: the log is brought into the database first; otherwise both stay as they are on disk. */
int fg_spool_close_database(struct fg_spool *spool, bool orderly);

/* A statement, ready for binding; to be reset by fg_spool_done. */
struct sqlite3_stmt *fg_spool_statement(struct fg_spool *spool, enum fg_spool_statement which);

/* Runs a statement without result, with count integers bound. */
int fg_spool_run(struct fg_spool *spool, enum fg_spool_statement which, size_t count, const int64_t *values);

/* The one integer that a statement gives; -ENOENT: no row, or NULL. */
int fg_spool_ask(struct fg_spool *spool, enum fg_spool_statement which, size_t count, const int64_t *values,
                 int64_t *answer);

/* Ends the transaction under way, if any. commit undoes it when it fails, as far as it knows: see doubt. */
int fg_spool_commit(struct fg_spool *spool);
void fg_spool_rollback(struct fg_spool *spool);

/* Brings the log into the database, so that it starts anew. */
int fg_spool_checkpoint(struct fg_spool *spool);

/* Whether a transaction could by now need more of the log than it may. */
bool fg_spool_log_is_full(const struct fg_spool *spool);

/* spool_source.c */

/* The row of source for a message, made where there is none; within a transaction. */
int fg_spool_intern(struct fg_spool *spool, const struct fg_message *message, int64_t *id);

/* The transaction that added rows was committed, or undone. */
void fg_spool_intern_settle(struct fg_spool *spool, bool committed);

/* What was known stays on disk for the messages there are; from now on new rows are made. */
void fg_spool_intern_reset(struct fg_spool *spool);

/* Removes rows of source that no message uses any more; within a transaction. */
int fg_spool_sweep_sources(struct fg_spool *spool);

/* A row of source; stays valid until the next call. */
int fg_spool_source(struct fg_spool *spool, int64_t id, const struct fg_spool_source **source);
void fg_spool_forget_sources(struct fg_spool *spool);

/* spool_remove.c */

/* Drops the oldest messages until `pages` more are free, or all that may be. -ENOBUFS: nothing may be. */
int fg_spool_drop_oldest(struct fg_spool *spool, int64_t pages);

/* spool_salvage.c */

/* Puts a new database in place of the damaged one, with all that can be read of it, and opens it. */
int fg_spool_salvage(struct fg_spool *spool, const char *why);

/* The same from where it was interrupted: what was salvaged is complete. */
int fg_spool_finish_salvage(struct fg_spool *spool);

/* spool_done.c: the note of what is done with. Apply removes what it says from the open database; prepare
 * then writes one that says nothing, so that a disk that is full later has room for it; remove is for when
 * the database goes. */
int fg_spool_done_apply(struct fg_spool *spool);
void fg_spool_done_prepare(struct fg_spool *spool);
void fg_spool_done_close(struct fg_spool *spool);
void fg_spool_done_remove(struct fg_spool *spool);

#endif
