/*
 * Faults of the disk and of memory for a whole program, by standing in front of the C library's functions: in
 * a program that includes this header, files below one folder are opened, written, synced and cut through
 * here. Any thread. Not in the support library: from there the linker would take it into every program.
 */
#ifndef FIELDGATE_TEST_FAULTY_IO_H
#define FIELDGATE_TEST_FAULTY_IO_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum faulty_io_kind {
    FAULTY_IO_OPEN = 1,
    FAULTY_IO_WRITE = 2,
    FAULTY_IO_SYNC = 4,
    FAULTY_IO_TRUNCATE = 8,
    FAULTY_IO_MALLOC = 16, /* of all that the program does; not where a sanitizer has malloc */
};

/* Whether malloc can fail here. */
static bool faulty_io_has_malloc(void);

/* Lets the nth operation (from 1, counted from now) of these kinds on files whose paths begin so fail, and
 * those after it where it is to last. Files that were opened before the first call are not known. */
static void faulty_io_fail(const char *path, unsigned kinds, unsigned nth, int error, bool lasting);
static void faulty_io_heal(void);

/* How many there were since faulty_io_fail. */
static unsigned faulty_io_count(void);

#define FDS 1024

static char below[256];
static atomic_bool ours[FDS]; /* descriptors of files below the folder */
static atomic_uint armed;     /* kinds; 0: none */
static atomic_uint counted, due;
static atomic_int with;
static atomic_bool lasts;

static void *real(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) {
        abort();
    }
    return function;
}

/* What stands behind: call. */
#define REAL(name)                                                                                           \
    static _Atomic(void *) known;                                                                            \
    void *found = known ? known : real(#name);                                                               \
    __typeof__(name) *call;                                                                                  \
    memcpy(&call, &found, sizeof call);                                                                      \
    known = found

static bool fails(unsigned kind)
{
    if (!(atomic_load(&armed) & kind)) {
        return false;
    }
    unsigned number = atomic_fetch_add(&counted, 1) + 1;
    unsigned nth = atomic_load(&due);
    if (number == nth || (number > nth && atomic_load(&lasts))) {
        errno = atomic_load(&with);
        return true;
    }
    return false;
}

static bool is_ours(int fd)
{
    return fd >= 0 && fd < FDS && atomic_load(&ours[fd]);
}

static void faulty_io_fail(const char *path, unsigned kinds, unsigned nth, int error, bool lasting)
{
    snprintf(below, sizeof below, "%s", path);
    atomic_store(&counted, 0);
    atomic_store(&due, nth);
    atomic_store(&with, error);
    atomic_store(&lasts, lasting);
    atomic_store(&armed, kinds);
}

static void faulty_io_heal(void)
{
    atomic_store(&due, UINT32_MAX);
}

static unsigned faulty_io_count(void)
{
    return atomic_load(&counted);
}

/* The names that the C library gives these where file offsets have 64 bits. */
int open64(const char *path, int flags, ...);
int fdatasync(int fd);
int fsync(int fd);
int ftruncate64(int fd, off64_t size);
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset);

int open64(const char *path, int flags, ...)
{
    REAL(open64);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    bool mine = below[0] && strncmp(path, below, strlen(below)) == 0;
    if (mine && fails(FAULTY_IO_OPEN)) {
        return -1;
    }
    int fd = call(path, flags, mode);
    if (fd >= 0 && fd < FDS) {
        atomic_store(&ours[fd], mine);
    }
    return fd;
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return is_ours(fd) && fails(FAULTY_IO_SYNC) ? -1 : call(fd);
}

int fsync(int fd)
{
    REAL(fsync);
    return is_ours(fd) && fails(FAULTY_IO_SYNC) ? -1 : call(fd);
}

int ftruncate64(int fd, off64_t size)
{
    REAL(ftruncate64);
    return is_ours(fd) && fails(FAULTY_IO_TRUNCATE) ? -1 : call(fd, size);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    REAL(pwrite64);
    return is_ours(fd) && fails(FAULTY_IO_WRITE) ? -1 : call(fd, bytes, size, offset);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

static bool faulty_io_has_malloc(void)
{
    return false;
}

#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

static bool faulty_io_has_malloc(void)
{
    return true;
}

void *malloc(size_t size)
{
    return fails(FAULTY_IO_MALLOC) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(FAULTY_IO_MALLOC) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return fails(FAULTY_IO_MALLOC) ? NULL : __libc_realloc(block, size);
}

#endif
#endif
