/*
 * A SQLite VFS over the default one: real files, with faults on demand and a record of what was written. One
 * for the whole program, under the name FAULTY_VFS; not thread-safe.
 */
#ifndef FIELDGATE_TEST_FAULTY_VFS_H
#define FIELDGATE_TEST_FAULTY_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULTY_VFS "faulty"

enum faulty_kind {
    FAULTY_READ = 1,
    FAULTY_WRITE = 2,
    FAULTY_SYNC = 4,
    FAULTY_TRUNCATE = 8,
    FAULTY_OPEN = 16,
    FAULTY_OTHER = 32, /* delete, access, size */
    FAULTY_ANY = 63,
};

/* Registers it, where that was not done, without faults and with an empty record. */
void faulty_vfs_reset(void);

/* Lets the nth operation (from 1, counted from now) of these kinds fail with an errno, and those after it
 * where it is to last. A write that fails for want of space has written its first half. */
void faulty_vfs_fail(unsigned kinds, unsigned nth, int error, bool lasting);
void faulty_vfs_heal(void);

/* Whether one has failed since faulty_vfs_fail. */
bool faulty_vfs_has_failed(void);

/* Lets every read fail that touches this place of the file that has this name now, whatever it is called
 * later. NULL: none. */
void faulty_vfs_bad_sector(const char *path, int64_t offset);

/* Lets syncs only seem to be done: for speed, where nothing depends on them. */
void faulty_vfs_skip_syncs(bool skip);

/* One recorded operation on a database or a log. */
struct faulty_operation {
    enum faulty_kind kind; /* WRITE, SYNC, TRUNCATE */
    bool log;
    int64_t offset; /* of a truncation: the new size */
    size_t size;
    uint8_t *bytes;
    uint64_t mark; /* what faulty_vfs_mark said last */
};

/* Records from now on, or not; what was recorded stays until reset. */
void faulty_vfs_record(bool record);
void faulty_vfs_mark(uint64_t mark);
const struct faulty_operation *faulty_vfs_recorded(size_t *count);

/* Lets the nth allocation of SQLite's (from 1) fail, and those after it where it is to last; 0: none. Must
 * have been called with 0 before SQLite is used at all. */
void faulty_memory(unsigned nth, bool lasting);
bool faulty_memory_has_failed(void);

#endif
