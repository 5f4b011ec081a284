/*
 * How far messages are done with, in a few bytes beside the database: a note that costs one write into memory
 * and no wait for the disk, where removing rows costs pages and a sync. It outlives the process; a power cut
 * may undo it, which costs repetitions and no message. The rows go later, many at a time.
 */
#include "spool_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "FGDONE1"

struct note {
    char magic[8];
    uint64_t inode; /* of the database that it is about */
    int64_t through;
    uint64_t check; /* of the bytes before */
};

_Static_assert(sizeof(struct note) == 32, "no padding: it is written as it stands");

/* FNV-1a, 64 bits. */
static uint64_t check_of(const struct note *note)
{
    const unsigned char *bytes = (const unsigned char *)note;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < offsetof(struct note, check); i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static int open_note(const struct fg_spool *spool, int flags)
{
    char *path = fg_spool_path(spool, "-done");
    if (!path) {
        errno = ENOMEM;
        return -1;
    }
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    int cause = errno;
    free(path);
    errno = cause;
    return fd;
}

void fg_spool_done_close(struct fg_spool *spool)
{
    if (spool->done_fd >= 0) {
        close(spool->done_fd);
    }
    spool->done_fd = -1;
    spool->done_through = 0;
}

static int write_note(struct fg_spool *spool, int64_t through)
{
    struct stat file;
    struct note note = { .magic = MAGIC, .through = through };
    if (spool->done_fd < 0) {
        spool->done_fd = open_note(spool, O_RDWR | O_CREAT);
    }
    if (spool->done_fd < 0 || stat(spool->path, &file) != 0) {
        return -errno;
    }
    note.inode = (uint64_t)file.st_ino;
    note.check = check_of(&note);
    ssize_t written = pwrite(spool->done_fd, &note, sizeof note, 0);
    if (written != (ssize_t)sizeof note) {
        int error = written < 0 ? -errno : -EIO;
        fg_spool_done_close(spool);
        return error;
    }
    spool->done_through = through;
    return 0;
}

void fg_spool_done_prepare(struct fg_spool *spool)
{
    (void)write_note(spool, 0);
}

int fg_spool_done(struct fg_spool *spool, int64_t through)
{
    if (!spool->open || !spool->db) {
        return spool->open ? 0 : spool->error;
    }
    return through <= spool->done_through ? 0 : write_note(spool, through);
}

int fg_spool_done_apply(struct fg_spool *spool)
{
    struct stat file;
    struct note note;
    int fd = open_note(spool, O_RDONLY);
    if (fd < 0) {
        return 0;
    }
    bool good = read(fd, &note, sizeof note) == (ssize_t)sizeof note && stat(spool->path, &file) == 0 &&
                memcmp(note.magic, MAGIC, sizeof note.magic) == 0 && note.check == check_of(&note) &&
                note.inode == (uint64_t)file.st_ino && note.through > 0 && note.through < spool->next_id;
    close(fd);
    return good ? fg_spool_remove(spool, &(struct fg_spool_range){ 1, note.through }, 1) : 0;
}

void fg_spool_done_remove(struct fg_spool *spool)
{
    fg_spool_done_close(spool);
    char *path = fg_spool_path(spool, "-done");
    if (path) {
        unlink(path);
    }
    free(path);
}
