/*
 * The layer between SQLite and its files: counts what is written, knows how far the log has grown, and puts a
 * checksum at the end of each page of the database. One for each spool, under a name of its own. Used by the
 * spool's owner only.
 *
 * It has no shared memory: with locking_mode=EXCLUSIVE the log's index is in the process, and there is no
 * third file.
 */
#ifndef FIELDGATE_MQTT_SPOOL_VFS_H
#define FIELDGATE_MQTT_SPOOL_VFS_H

#include <stdint.h>

#define FG_SPOOL_PAGE     4096
#define FG_SPOOL_RESERVED 8 /* bytes at the end of a page, for its checksum */

struct fg_spool_vfs;

/* below: the name of the VFS to stand on, NULL for the default. Returns 0, -ENOMEM, -EINVAL. */
int fg_spool_vfs_new(const char *below, struct fg_spool_vfs **vfs);
void fg_spool_vfs_free(struct fg_spool_vfs *vfs);

/* The name to open databases with. */
const char *fg_spool_vfs_name(const struct fg_spool_vfs *vfs);

/* A database whose first page cannot be read, or is damaged, is read with this one instead (copied). NULL:
 * not any more. */
void fg_spool_vfs_lend_first(struct fg_spool_vfs *vfs, const uint8_t page[FG_SPOOL_PAGE]);

/* Bytes written to any file. */
uint64_t fg_spool_vfs_written(const struct fg_spool_vfs *vfs);

/* Bytes of the log that are in use: it starts anew at 0 once all of it is in the database. */
int64_t fg_spool_vfs_log_end(const struct fg_spool_vfs *vfs);

/* All of the log is in the database. */
void fg_spool_vfs_log_done(struct fg_spool_vfs *vfs);

#endif
