#include "spool_vfs.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

struct fg_spool_vfs {
    sqlite3_vfs vfs;
    sqlite3_vfs *below;
    char name[48];
    uint64_t written;
    int64_t log_end;
    uint8_t page[FG_SPOOL_PAGE];
    bool lending;
    uint8_t first[FG_SPOOL_PAGE];
};

struct file {
    sqlite3_file base;
    struct fg_spool_vfs *vfs;
    bool database, log;
    _Alignas(8) unsigned char below[]; /* the file of the VFS below */
};

static sqlite3_file *below(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((struct file *)(void *)file)->below;
}

/* Fletcher's sums over 32-bit words, begun with the place so that a page elsewhere does not pass, nor one of
 * zeros. */
static uint64_t checksum(const uint8_t *page, int64_t offset)
{
    uint32_t a = (uint32_t)(offset / FG_SPOOL_PAGE) + 1;
    uint32_t b = ~a;
    for (size_t i = 0; i < FG_SPOOL_PAGE - FG_SPOOL_RESERVED; i += 4) {
        uint32_t word = (uint32_t)page[i] | (uint32_t)page[i + 1] << 8 | (uint32_t)page[i + 2] << 16 |
                        (uint32_t)page[i + 3] << 24;
        a += word + b;
        b += a;
    }
    return (uint64_t)a << 32 | b;
}

static void put_checksum(uint8_t *page, int64_t offset)
{
    uint64_t sum = checksum(page, offset);
    for (int i = 0; i < FG_SPOOL_RESERVED; i++) {
        page[FG_SPOOL_PAGE - FG_SPOOL_RESERVED + i] = (uint8_t)(sum >> (8 * i));
    }
}

static bool has_checksum(const uint8_t *page, int64_t offset)
{
    uint64_t sum = 0;
    for (int i = 0; i < FG_SPOOL_RESERVED; i++) {
        sum |= (uint64_t)page[FG_SPOOL_PAGE - FG_SPOOL_RESERVED + i] << (8 * i);
    }
    return sum == checksum(page, offset);
}

static int file_close(sqlite3_file *file)
{
    return below(file)->pMethods->xClose(below(file));
}

/* Where the number of pages stands in the first of them (SQLite, "Database File Format", 1.3). */
#define PAGE_COUNT_AT 28

/* Reads within the first page. Returns whether another one was lent for it. */
static bool read_lent(struct file *file, void *bytes, int size, sqlite3_int64 offset)
{
    struct fg_spool_vfs *vfs = file->vfs;
    sqlite3_file *under = below(&file->base);
    sqlite3_int64 length = 0;
    if (under->pMethods->xFileSize(under, &length) != SQLITE_OK || length < 2 * FG_SPOOL_PAGE ||
        (under->pMethods->xRead(under, vfs->page, FG_SPOOL_PAGE, 0) == SQLITE_OK &&
         has_checksum(vfs->page, 0))) {
        return false;
    }
    memcpy(bytes, vfs->first + offset, (size_t)size);
    uint32_t pages = (uint32_t)(length / FG_SPOOL_PAGE);
    for (int i = 0; i < 4; i++) {
        sqlite3_int64 at = PAGE_COUNT_AT + i - offset;
        if (at >= 0 && at < size) {
            ((uint8_t *)bytes)[at] = (uint8_t)(pages >> (24 - 8 * i));
        }
    }
    return true;
}

static int file_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 offset)
{
    struct file *self = (struct file *)(void *)file;
    if (self->database && self->vfs->lending && offset + size <= FG_SPOOL_PAGE &&
        read_lent(self, bytes, size, offset)) {
        return SQLITE_OK;
    }
    int rc = below(file)->pMethods->xRead(below(file), bytes, size, offset);
    sqlite3_int64 length = 0;
    if (!self->database || size != FG_SPOOL_PAGE || (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ)) {
        return rc;
    }
    /* What is read behind the end of the file is no page; of one that the end cuts, the rest is zeros. */
    bool page = rc == SQLITE_OK ||
                (below(file)->pMethods->xFileSize(below(file), &length) == SQLITE_OK && length > offset);
    return page && !has_checksum(bytes, offset) ? SQLITE_IOERR_DATA : rc;
}

static int file_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    const struct file *self = (struct file *)(void *)file;
    struct fg_spool_vfs *vfs = self->vfs;
    if (self->database && size == FG_SPOOL_PAGE) {
        memcpy(vfs->page, bytes, FG_SPOOL_PAGE);
        put_checksum(vfs->page, offset);
        bytes = vfs->page;
    }
    int rc = below(file)->pMethods->xWrite(below(file), bytes, size, offset);
    vfs->written += (uint64_t)size;
    if (self->log) {
        int64_t end = offset + size;
        vfs->log_end = offset == 0 || end > vfs->log_end ? end : vfs->log_end;
    }
    return rc;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    const struct file *self = (struct file *)(void *)file;
    if (self->log && size < self->vfs->log_end) {
        self->vfs->log_end = size;
    }
    return below(file)->pMethods->xTruncate(below(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    return below(file)->pMethods->xSync(below(file), flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return below(file)->pMethods->xFileSize(below(file), size);
}

static int file_lock(sqlite3_file *file, int lock)
{
    return below(file)->pMethods->xLock(below(file), lock);
}

static int file_unlock(sqlite3_file *file, int lock)
{
    return below(file)->pMethods->xUnlock(below(file), lock);
}

static int file_check_lock(sqlite3_file *file, int *locked)
{
    return below(file)->pMethods->xCheckReservedLock(below(file), locked);
}

static int file_control(sqlite3_file *file, int operation, void *argument)
{
    return below(file)->pMethods->xFileControl(below(file), operation, argument);
}

static int file_sector(sqlite3_file *file)
{
    return below(file)->pMethods->xSectorSize(below(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return below(file)->pMethods->xDeviceCharacteristics(below(file));
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_characteristics,
};

static struct fg_spool_vfs *self_of(sqlite3_vfs *vfs)
{
    return vfs->pAppData;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *opened, int flags, int *out_flags)
{
    struct file *file = (struct file *)(void *)opened;
    struct fg_spool_vfs *self = self_of(vfs);
    file->base.pMethods = NULL;
    file->vfs = self;
    file->database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    file->log = (flags & SQLITE_OPEN_WAL) != 0;
    int rc = self->below->xOpen(self->below, name, below(opened), flags, out_flags);
    if (rc != SQLITE_OK) {
        if (below(opened)->pMethods) {
            below(opened)->pMethods->xClose(below(opened));
        }
        return rc;
    }
    sqlite3_int64 size = 0;
    if (file->log && below(opened)->pMethods->xFileSize(below(opened), &size) == SQLITE_OK) {
        self->log_end = size;
    }
    file->base.pMethods = &methods;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    return self_of(vfs)->below->xDelete(self_of(vfs)->below, name, sync_folder);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result)
{
    return self_of(vfs)->below->xAccess(self_of(vfs)->below, name, flags, result);
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int size, char *full)
{
    return self_of(vfs)->below->xFullPathname(self_of(vfs)->below, name, size, full);
}

static int vfs_random(sqlite3_vfs *vfs, int size, char *bytes)
{
    return self_of(vfs)->below->xRandomness(self_of(vfs)->below, size, bytes);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    return self_of(vfs)->below->xSleep(self_of(vfs)->below, microseconds);
}

static int vfs_time(sqlite3_vfs *vfs, double *day)
{
    return self_of(vfs)->below->xCurrentTime(self_of(vfs)->below, day);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    return self_of(vfs)->below->xGetLastError(self_of(vfs)->below, size, text);
}

int fg_spool_vfs_new(const char *name, struct fg_spool_vfs **vfs)
{
    if (sqlite3_initialize() != SQLITE_OK) {
        return -ENOMEM;
    }
    sqlite3_vfs *under = sqlite3_vfs_find(name);
    if (!under) {
        return -EINVAL;
    }
    struct fg_spool_vfs *made = calloc(1, sizeof *made);
    if (!made) {
        return -ENOMEM;
    }
    made->below = under;
    snprintf(made->name, sizeof made->name, "fieldgate-spool-%p", (void *)made);
    made->vfs = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = (int)sizeof(struct file) + under->szOsFile,
        .mxPathname = under->mxPathname,
        .zName = made->name,
        .pAppData = made,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_name,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_last_error,
    };
    if (sqlite3_vfs_register(&made->vfs, 0) != SQLITE_OK) {
        free(made);
        return -ENOMEM;
    }
    *vfs = made;
    return 0;
}

void fg_spool_vfs_free(struct fg_spool_vfs *vfs)
{
    if (vfs) {
        sqlite3_vfs_unregister(&vfs->vfs);
        free(vfs);
    }
}

const char *fg_spool_vfs_name(const struct fg_spool_vfs *vfs)
{
    return vfs->name;
}

void fg_spool_vfs_lend_first(struct fg_spool_vfs *vfs, const uint8_t page[FG_SPOOL_PAGE])
{
    vfs->lending = page != NULL;
    if (page) {
        memcpy(vfs->first, page, FG_SPOOL_PAGE);
    }
}

uint64_t fg_spool_vfs_written(const struct fg_spool_vfs *vfs)
{
    return vfs->written;
}

int64_t fg_spool_vfs_log_end(const struct fg_spool_vfs *vfs)
{
    return vfs->log_end;
}

void fg_spool_vfs_log_done(struct fg_spool_vfs *vfs)
{
    vfs->log_end = 0;
}
