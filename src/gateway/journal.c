#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD 8 /* of the file, and of a record */

static const char magic[HEAD] = "fgcmds1\n";

struct fg_journal {
    int fd;
    size_t size;
    char *path;
};

/* CRC-32 (ITU-T V.42), bit by bit: records are short and rare. */
static uint32_t checksum(const uint8_t *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xEDB88320) : 0);
        }
    }
    return ~crc;
}

static void put_number(uint8_t *at, uint32_t number)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(number >> 8 * i);
    }
}

static uint32_t get_number(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? -errno : -EIO;
        }
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

static int read_all(int fd, uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = pread(fd, bytes + at, size - at, (off_t)at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? -errno : -EIO;
        }
        at += (size_t)got;
    }
    return 0;
}

/* Calls replay for the good records. Returns where they end. */
static size_t replay_records(const uint8_t *bytes, size_t size,
                             void (*replay)(void *context, const uint8_t *bytes, size_t size), void *context)
{
    size_t at = HEAD;
    while (size - at >= HEAD) {
        size_t length = get_number(bytes + at);
        if (length == 0 || length > FG_JOURNAL_RECORD_MAX || length > size - at - HEAD ||
            checksum(bytes + at + HEAD, length) != get_number(bytes + at + 4)) {
            break;
        }
        replay(context, bytes + at + HEAD, length);
        at += HEAD + length;
    }
    return at;
}

/* Leaves in the file what is good, and the end of it as the place to append. */
static int cut(struct fg_journal *journal, size_t size)
{
    if (ftruncate(journal->fd, (off_t)size) != 0 || lseek(journal->fd, (off_t)size, SEEK_SET) < 0) {
        return -errno;
    }
    journal->size = size;
    return 0;
}

static int begin(struct fg_journal *journal)
{
    int error = cut(journal, 0);
    if (!error) {
        error = write_all(journal->fd, (const uint8_t *)magic, HEAD);
    }
    journal->size = error ? 0 : HEAD;
    return error;
}

static int load(struct fg_journal *journal, void (*replay)(void *context, const uint8_t *bytes, size_t size),
                void *context)
{
    struct stat about;
    if (fstat(journal->fd, &about) != 0) {
        return -errno;
    }
    if (!S_ISREG(about.st_mode)) {
        return -EINVAL;
    }
    if ((about.st_mode & 0777) != 0600 && fchmod(journal->fd, 0600) != 0) {
        return -errno;
    }
    size_t size = about.st_size < (off_t)FG_JOURNAL_FILE_MAX ? (size_t)about.st_size : FG_JOURNAL_FILE_MAX;
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    int error = bytes ? read_all(journal->fd, bytes, size) : -ENOMEM;
    if (!error && (size < HEAD || memcmp(bytes, magic, HEAD) != 0)) {
        /* A file that was just being made is begun anew; one of another kind is not ours to destroy. */
        bool torn = size < HEAD && memcmp(bytes, magic, size) == 0;
        error = torn ? begin(journal) : -EINVAL;
    } else if (!error) {
        error = cut(journal, replay_records(bytes, size, replay, context));
    }
    free(bytes);
    return error;
}

/* Opens and locks; the lock goes with the descriptor. */
static int open_file(const char *path, int flags)
{
    int fd = open(path, flags | O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) {
        return -errno;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int fg_journal_open(const char *path, void (*replay)(void *context, const uint8_t *bytes, size_t size),
                    void *context, struct fg_journal **result)
{
    struct fg_journal *journal = calloc(1, sizeof *journal);
    if (!journal) {
        return -ENOMEM;
    }
    journal->fd = -1;
    journal->path = strdup(path);
    int error = journal->path ? 0 : -ENOMEM;
    if (!error) {
        journal->fd = open_file(path, 0);
        error = journal->fd < 0 ? journal->fd : load(journal, replay, context);
    }
    if (error) {
        fg_journal_close(journal);
        return error;
    }
    *result = journal;
    return 0;
}

void fg_journal_close(struct fg_journal *journal)
{
    if (journal) {
        if (journal->fd >= 0) {
            close(journal->fd);
        }
        free(journal->path);
        free(journal);
    }
}

int fg_journal_append(struct fg_journal *journal, const void *bytes, size_t size)
{
    uint8_t record[HEAD + FG_JOURNAL_RECORD_MAX];
    if (size == 0 || size > FG_JOURNAL_RECORD_MAX) {
        return -EMSGSIZE;
    }
    put_number(record, (uint32_t)size);
    put_number(record + 4, checksum(bytes, size));
    memcpy(record + HEAD, bytes, size);
    int error = 0;
    if (journal->size == 0) {
        error = begin(journal); /* it could not be undone the last time */
    }
    if (!error) {
        error = write_all(journal->fd, record, HEAD + size);
    }
    if (!error) {
        journal->size += HEAD + size;
    } else if (cut(journal, journal->size) != 0) {
        journal->size = 0;
    }
    return error;
}

int fg_journal_sync(struct fg_journal *journal)
{
    return fdatasync(journal->fd) == 0 ? 0 : -errno;
}

size_t fg_journal_size(const struct fg_journal *journal)
{
    return journal->size;
}

/* So that the new name is there after a power cut, too. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 1;
    if (length < sizeof folder) {
        memcpy(folder, slash ? path : ".", length);
        folder[length] = '\0';
        int fd = open(length > 0 ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            fsync(fd);
            close(fd);
        }
    }
}

int fg_journal_rewrite(struct fg_journal *journal, int (*write)(void *context, struct fg_journal *journal),
                       void *context)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s.new", journal->path);
    if (length < 0 || (size_t)length >= sizeof path) {
        return -ENAMETOOLONG;
    }
    unlink(path); /* what a crash left */
    struct fg_journal fresh = { .fd = open_file(path, O_EXCL) };
    if (fresh.fd < 0) {
        return fresh.fd;
    }
    int error = begin(&fresh);
    if (!error) {
        error = write(context, &fresh);
    }
    if (!error) {
        error = fg_journal_sync(&fresh);
    }
    if (!error && rename(path, journal->path) != 0) {
        error = -errno;
    }
    if (error) {
        unlink(path);
        close(fresh.fd);
        return error;
    }
    sync_folder(path);
    close(journal->fd);
    journal->fd = fresh.fd;
    journal->size = fresh.size;
    return 0;
}
