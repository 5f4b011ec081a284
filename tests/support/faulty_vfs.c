#include "support/faulty_vfs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <sqlite3.h>

struct file {
    sqlite3_file base;
    bool log, database;
    ino_t inode;
    _Alignas(8) unsigned char below[];
};

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *below;
    unsigned kinds, nth;
    int error;
    bool lasting, failed, skip_syncs, recording;
    int64_t bad_sector;
    ino_t bad_file; /* 0: none */
    uint64_t mark;
    struct faulty_operation *record;
    size_t recorded, room;
} faulty;

static sqlite3_file *below(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((struct file *)(void *)file)->below;
}

static bool fails(enum faulty_kind kind)
{
    if (!(faulty.kinds & kind) || faulty.nth == 0) {
        return false;
    }
    if (faulty.nth > 1) {
        faulty.nth--;
        return false;
    }
    faulty.nth = faulty.lasting ? 1 : 0;
    faulty.failed = true;
    errno = faulty.error;
    return true;
}

static void note(const sqlite3_file *file, enum faulty_kind kind, const void *bytes, size_t size,
                 int64_t offset)
{
    const struct file *self = (const struct file *)(const void *)file;
    if (!faulty.recording || (!self->log && !self->database)) {
        return;
    }
    if (faulty.recorded == faulty.room) {
        faulty.room = faulty.room ? 2 * faulty.room : 256;
        faulty.record = realloc(faulty.record, faulty.room * sizeof *faulty.record);
        assert_non_null(faulty.record);
    }
    struct faulty_operation *made = &faulty.record[faulty.recorded++];
    *made = (struct faulty_operation){ kind, self->log, offset, size, NULL, faulty.mark };
    if (size > 0) {
        made->bytes = malloc(size);
        assert_non_null(made->bytes);
        memcpy(made->bytes, bytes, size);
    }
}

static int file_close(sqlite3_file *file)
{
    return below(file)->pMethods->xClose(below(file));
}

static int file_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 offset)
{
    const struct file *self = (const struct file *)(void *)file;
    if (fails(FAULTY_READ)) {
        return SQLITE_IOERR_READ;
    }
    if (faulty.bad_file && self->inode == faulty.bad_file && offset <= faulty.bad_sector &&
        offset + size > faulty.bad_sector) {
        errno = EIO;
        return SQLITE_IOERR_READ;
    }
    return below(file)->pMethods->xRead(below(file), bytes, size, offset);
}

static int file_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    if (fails(FAULTY_WRITE)) {
        int error = errno;
        (void)below(file)->pMethods->xWrite(below(file), bytes, size / 2, offset);
        errno = error;
        return error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    note(file, FAULTY_WRITE, bytes, (size_t)size, offset);
    return below(file)->pMethods->xWrite(below(file), bytes, size, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (fails(FAULTY_TRUNCATE)) {
        return SQLITE_IOERR_TRUNCATE;
    }
    note(file, FAULTY_TRUNCATE, NULL, 0, size);
    return below(file)->pMethods->xTruncate(below(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    if (fails(FAULTY_SYNC)) {
        return SQLITE_IOERR_FSYNC;
    }
    note(file, FAULTY_SYNC, NULL, 0, 0);
    return faulty.skip_syncs ? SQLITE_OK : below(file)->pMethods->xSync(below(file), flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return fails(FAULTY_OTHER) ? SQLITE_IOERR_FSTAT : below(file)->pMethods->xFileSize(below(file), size);
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

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *opened, int flags, int *out_flags)
{
    (void)vfs;
    struct file *file = (struct file *)(void *)opened;
    file->base.pMethods = NULL;
    if (fails(FAULTY_OPEN)) {
        return SQLITE_CANTOPEN;
    }
    int rc = faulty.below->xOpen(faulty.below, name, below(opened), flags, out_flags);
    if (below(opened)->pMethods) {
        file->base.pMethods = &methods;
    }
    struct stat about;
    file->inode = name && stat(name, &about) == 0 ? about.st_ino : 0;
    file->log = (flags & SQLITE_OPEN_WAL) != 0;
    file->database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    return fails(FAULTY_OTHER) ? SQLITE_IOERR_DELETE : faulty.below->xDelete(faulty.below, name, sync_folder);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result)
{
    (void)vfs;
    return fails(FAULTY_OTHER) ? SQLITE_IOERR_ACCESS
                               : faulty.below->xAccess(faulty.below, name, flags, result);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void)vfs;
    return faulty.below->xGetLastError(faulty.below, size, text);
}

static void forget_record(void)
{
    for (size_t i = 0; i < faulty.recorded; i++) {
        free(faulty.record[i].bytes);
    }
    free(faulty.record);
    faulty.record = NULL;
    faulty.recorded = faulty.room = 0;
    faulty.recording = false;
}

void faulty_vfs_reset(void)
{
    if (!faulty.below) {
        assert_int_equal(sqlite3_initialize(), SQLITE_OK);
        faulty.below = sqlite3_vfs_find(NULL);
        faulty.vfs = *faulty.below;
        faulty.vfs.iVersion = 1;
        faulty.vfs.zName = FAULTY_VFS;
        faulty.vfs.szOsFile += (int)sizeof(struct file);
        faulty.vfs.xOpen = vfs_open;
        faulty.vfs.xDelete = vfs_delete;
        faulty.vfs.xAccess = vfs_access;
        faulty.vfs.xGetLastError = vfs_last_error;
        assert_int_equal(sqlite3_vfs_register(&faulty.vfs, 0), SQLITE_OK);
    }
    forget_record();
    faulty_vfs_heal();
    faulty.skip_syncs = false;
    faulty.bad_file = 0;
    faulty.mark = 0;
}

void faulty_vfs_fail(unsigned kinds, unsigned nth, int error, bool lasting)
{
    faulty.kinds = kinds;
    faulty.nth = nth;
    faulty.error = error;
    faulty.lasting = lasting;
    faulty.failed = false;
}

void faulty_vfs_heal(void)
{
    faulty.kinds = faulty.nth = 0;
}

bool faulty_vfs_has_failed(void)
{
    return faulty.failed;
}

void faulty_vfs_bad_sector(const char *path, int64_t offset)
{
    struct stat about;
    faulty.bad_sector = offset;
    faulty.bad_file = path && stat(path, &about) == 0 ? about.st_ino : 0;
}

void faulty_vfs_skip_syncs(bool skip)
{
    faulty.skip_syncs = skip;
}

void faulty_vfs_record(bool record)
{
    faulty.recording = record;
}

void faulty_vfs_mark(uint64_t mark)
{
    faulty.mark = mark;
}

const struct faulty_operation *faulty_vfs_recorded(size_t *count)
{
    *count = faulty.recorded;
    return faulty.record;
}

static struct {
    sqlite3_mem_methods below;
    unsigned nth;
    bool lasting, failed, installed;
} memory;

static bool memory_fails(void)
{
    if (memory.nth == 0) {
        return false;
    }
    if (memory.nth > 1) {
        memory.nth--;
        return false;
    }
    memory.nth = memory.lasting ? 1 : 0;
    memory.failed = true;
    return true;
}

static void *memory_new(int size)
{
    return memory_fails() ? NULL : memory.below.xMalloc(size);
}

static void *memory_resize(void *old, int size)
{
    return memory_fails() ? NULL : memory.below.xRealloc(old, size);
}

void faulty_memory(unsigned nth, bool lasting)
{
    if (!memory.installed) {
        assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory.below), SQLITE_OK);
        sqlite3_mem_methods replaced = memory.below;
        replaced.xMalloc = memory_new;
        replaced.xRealloc = memory_resize;
        assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &replaced), SQLITE_OK);
        memory.installed = true;
    }
    memory.nth = nth;
    memory.lasting = lasting;
    memory.failed = nth == 0 && memory.failed;
}

bool faulty_memory_has_failed(void)
{
    return memory.failed;
}
