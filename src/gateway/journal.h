/*
 * An append-only file of records, each with its length and its CRC-32: what a crash cuts off at the end is
 * noticed, and cut off. A file belongs to one process at a time. One thread at a time; appending does not
 * wait for the disk, syncing and rewriting do.
 *
 *   file:   8 bytes "fgcmds1\n", records
 *   record: length (4 bytes), CRC-32 of the bytes (4 bytes), bytes; numbers little-endian
 */
#ifndef FIELDGATE_GATEWAY_JOURNAL_H
#define FIELDGATE_GATEWAY_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

/* Longest record, and longest file that is read. */
#define FG_JOURNAL_RECORD_MAX ((size_t)16 * 1024)
#define FG_JOURNAL_FILE_MAX   ((size_t)64 << 20)

struct fg_journal;

/* Opens the file, or makes it with mode 0600, and calls replay for each record that it has, in their order;
 * behind the first bad one it is cut off. Returns 0; -EWOULDBLOCK: another process has it; or another
 * negative errno. */
int fg_journal_open(const char *path, void (*replay)(void *context, const uint8_t *bytes, size_t size),
                    void *context, struct fg_journal **journal);
void fg_journal_close(struct fg_journal *journal);

/* Returns 0 or a negative errno: then the record is not there, and the file is as it was. */
int fg_journal_append(struct fg_journal *journal, const void *bytes, size_t size);

/* Returns when all that was appended is on the disk: 0 or a negative errno. */
int fg_journal_sync(struct fg_journal *journal);

/* Bytes in the file. */
size_t fg_journal_size(const struct fg_journal *journal);

/* Puts a new file in the place of the old one: what write appends through the journal it is given. Returns 0,
 * or a negative errno: then the old file stays. */
int fg_journal_rewrite(struct fg_journal *journal, int (*write)(void *context, struct fg_journal *journal),
                       void *context);

#endif
