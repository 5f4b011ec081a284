/*
 * The spool: messages that the broker has not acknowledged, on disk, in the order in which they were
 * appended. A SQLite database in WAL mode, of one owner at a time; every call may block for the disk.
 *
 * A commit is on disk before append or remove returns (synchronous=FULL: NORMAL would spare one fdatasync a
 * group and lose the group to a power cut). The file is made at the first append and removed by a close that
 * leaves it empty, so that a day without an outage writes nothing. Each page carries a checksum: what is read
 * back is what was written, or is told as damaged.
 *
 * Damage is found when the file is opened (all of it is read then, up to 256 MiB) or when it is come across.
 * What can be read goes into a new file, the damaged one is set aside, and the hole is told. Damage to the
 * end of the log, be it its last transactions, cannot be told from a power cut before they were committed.
 *
 * Beside PATH there are PATH-wal, PATH.lock, which stays; PATH.new and PATH.salvaged, for moments; and
 * PATH.damaged-TIME (with -wal), of which some are kept, outside of max_bytes. A salvage and a bound that was
 * lowered take as much again for a while.
 *
 * States: closed -> resting (locked, no file) -> open; closed -> open (there was a file); resting or open ->
 * closed (by fg_spool_close, or by a failure of the disk, after which calls return that error until
 * fg_spool_open succeeds again).
 *
 * Errors that do not close it: -ENOMEM, -ENOSPC, -ENOBUFS, -EDQUOT, -EMSGSIZE. What failed was not done. A
 * commit that failed may still have reached the disk; fg_spool_open then undoes an append, so that the
 * caller's copy is the only one, and tells of a drop that came to be. A remove is to be repeated: ids that
 * are gone do not matter.
 *
 * Time. A message is kept with the moment on the monotonic clock at which it was taken, the start of the
 * board that this clock belongs to, and the setting of the wall clock then. max_age goes by the monotonic
 * clock within one start. A message of an earlier start is aged by the wall clock only if that was set then
 * and is set now, and only once: at the first moment of this process at which it is set. From then on the
 * monotonic clock counts, so no step of the wall clock expires or spares anything. Without both, its age is
 * unknown and it does not expire; max_bytes bounds it. Order is that of appending, whatever clocks say.
 * taken_ns is kept to the millisecond. A message comes back with the times that it came with; losses have an
 * `unsynchronised` wall_ms that is not of an `earlier_boot` set right.
 */
#ifndef FIELDGATE_MQTT_SPOOL_H
#define FIELDGATE_MQTT_SPOOL_H

#include "fieldgate/message.h"
#include "fieldgate/spool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fg_spool;

struct fg_spool_time {
    int64_t now_ns;  /* fg_clock_now_ns */
    int64_t wall_ms; /* fg_clock_wall_ms */
    bool synchronised;
};

struct fg_spool_damage {
    const char *why;
    const char *set_aside;  /* the path that the damaged file has now */
    uint64_t salvaged;      /* messages that were carried over */
    uint64_t missing;       /* that were not, as far as the gaps in their numbers tell: at the least */
    int64_t from_ms, to_ms; /* times of the messages before and behind the gaps; both 0: unknown */
};

/* Messages of one origin that were dropped. */
struct fg_spool_loss {
    struct fg_origin *origin; /* borrowed for the call */
    enum fg_loss reason;      /* FG_LOSS_SPOOL_FULL, FG_LOSS_EXPIRED */
    int64_t from_ms, to_ms; /* Unix ms of the first and the last; as good as the clock was, see Time above */
    uint64_t count;
    uint64_t bytes; /* of their payloads */
};

/* Called from within calls of the spool, which they must not call again. lost and damaged are called when
 * what they tell is on disk, and once for each loss. One drop may come in several losses of an origin. */
struct fg_spool_events {
    /* The origin of these names: a reference, or NULL without memory. */
    struct fg_origin *(*origin)(void *context, const char *port, const char *device);
    void (*lost)(void *context, const struct fg_spool_loss *loss);
    void (*damaged)(void *context, const struct fg_spool_damage *damage);
    /* NULL: the system's clocks; the wall clock counts as set from 2025 on. */
    void (*time)(void *context, struct fg_spool_time *time);
};

struct fg_spool_options {
    const struct fg_spool_settings *settings; /* borrowed for the spool's life */
    const struct fg_spool_events *events;     /* borrowed for the spool's life */
    void *context;
    const char *boot_id; /* names this start of the board; NULL: as the kernel says */
    const char *vfs;     /* the SQLite VFS below; NULL: the default one */
};

/* A closed spool. Returns 0 or -ENOMEM. */
int fg_spool_new(const struct fg_spool_options *options, struct fg_spool **spool);

/* Closes first. Takes NULL. */
void fg_spool_free(struct fg_spool *spool);

/*
 * Opens what is there, salvaging what is damaged; also again after a failure. Returns 0. Somebody has to do
 * something about: -EBUSY (another process has it), -EPERM (owner or mode of the folder, or no plain file in
 * it), -ELOOP (a symbolic link), -EPROTONOSUPPORT (written by a newer version). Others, such as -EROFS, -EIO,
 * -ENOENT (no folder): as long as that lasts. After any of them it may be tried again.
 *
 * A file that can be opened and yet not be read the third time in a row is taken to be damaged.
 */
int fg_spool_open(struct fg_spool *spool);

/* Whether calls can work: open or resting. */
bool fg_spool_is_open(const struct fg_spool *spool);

/* The last problem in words, with the path, and the remedy where there is one; "" for none. */
const char *fg_spool_problem(const struct fg_spool *spool);

/*
 * Commits a chain of messages, all or none, and sets their spool_id. Fewer and longer chains wear the disk
 * less: a commit writes a page (4 KiB) and what its messages take. They stay the caller's. Returns 0;
 * -ENOBUFS: full, and when_full is block, or all that could be dropped is held; -EDQUOT: full, and
 * when_full is drop-newest: the caller is to drop the chain, and to tell; -EMSGSIZE: more than
 * fg_spool_batch_bytes; -ENOSPC, -ENOMEM; or the error that has closed the spool.
 */
int fg_spool_append(struct fg_spool *spool, struct fg_message *first);

/* What a chain may come to for one append: the sum of fg_message_bytes. */
size_t fg_spool_batch_bytes(const struct fg_spool *spool);

/* Reads messages with ids past after: at most count, and at most bytes of fg_message_bytes but at least one.
 * Returns 0 and the chain, NULL at the end; or a negative errno. */
int fg_spool_read(struct fg_spool *spool, int64_t after, size_t count, size_t bytes,
                  struct fg_message **first);

/* Messages up to this id are in the connection's hands: they are neither dropped nor expired. */
void fg_spool_hold(struct fg_spool *spool, int64_t last);

struct fg_spool_range {
    int64_t first, last; /* ids, both included */
};

/* Removes messages, in one commit; in several where one would break max_bytes, so that after a failure some
 * may be gone. Ids that are not there are none of its business. Returns 0 or a negative errno. */
int fg_spool_remove(struct fg_spool *spool, const struct fg_spool_range *ranges, size_t count);

/*
 * Notes that messages up to this id are done with, without waiting for the disk: a crash of the process does
 * not bring them back, a power cut may. They still count, and stand on the disk, until they are removed, or
 * until the next fg_spool_open. Returns 0, or a negative errno, and then only a removal helps.
 */
int fg_spool_done(struct fg_spool *spool, int64_t through);

/* Drops what is older than max_age; to be called every now and then. Returns 0 or a negative errno. */
int fg_spool_expire(struct fg_spool *spool);

struct fg_spool_counts {
    uint64_t messages;      /* waiting */
    int64_t last_id;        /* of the newest message ever appended; 0: none */
    uint64_t disk_bytes;    /* the files' sizes: database and log, not what was set aside */
    uint64_t written_bytes; /* to disk, since fg_spool_new */
};
void fg_spool_get_counts(const struct fg_spool *spool, struct fg_spool_counts *counts);

/* When the oldest message was taken, as Unix ms. Returns 0; -ENOENT: there is none; or a negative errno. */
int fg_spool_oldest(struct fg_spool *spool, int64_t *wall_ms);

/* wall_ms of a message; where it was taken before the clock was set, and that was done since in the same
 * start of the board, what it would have been. */
int64_t fg_spool_wall_ms(struct fg_spool *spool, const struct fg_message *message);

/* Brings the log into the database, or removes both where no message is left; gives up the lock. Returns 0 or
 * the error of the last of this. */
int fg_spool_close(struct fg_spool *spool);

#endif
