#include "spool_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

char *fg_spool_path(const struct fg_spool *spool, const char *suffix)
{
    char *path;
    return asprintf(&path, "%s%s", spool->path, suffix) < 0 ? NULL : path;
}

int fg_spool_check_folder(struct fg_spool *spool)
{
    struct stat folder;
    if (stat(spool->folder, &folder) != 0) {
        return fg_spool_tell(spool, -errno, "%s: %s; make it: install -d -m 0750 -o USER %s", spool->folder,
                             strerror(errno), spool->folder);
    }
    if (!S_ISDIR(folder.st_mode)) {
        return fg_spool_tell(spool, -ENOTDIR, "%s: is no folder", spool->folder);
    }
    if (folder.st_uid != geteuid()) {
        return fg_spool_tell(
            spool, -EPERM, "%s: belongs to user %u, and the daemon runs as user %u; give it: chown %u %s",
            spool->folder, (unsigned)folder.st_uid, (unsigned)geteuid(), (unsigned)geteuid(), spool->folder);
    }
    if (folder.st_mode & (S_IWGRP | S_IWOTH)) {
        return fg_spool_tell(spool, -EPERM, "%s: can be written by others; change that: chmod go-w %s",
                             spool->folder, spool->folder);
    }
    return 0;
}

int fg_spool_sync_folder(struct fg_spool *spool)
{
    int fd = open(spool->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) != 0 ? -errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return error ? fg_spool_tell(spool, error, "%s: %s", spool->folder, strerror(-error)) : 0;
}

/* The lock is on a file of its own, which stays: the database is not always there, and is replaced. It goes
 * with the process, however that ends. */
int fg_spool_lock(struct fg_spool *spool)
{
    char *path = fg_spool_path(spool, ".lock");
    if (!path) {
        return -ENOMEM;
    }
    int error = 0;
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        error = fg_spool_tell(spool, -errno, "%s: %s", path, strerror(errno));
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        error = errno == EWOULDBLOCK ? -EBUSY : -errno;
        fg_spool_tell(spool, error,
                      error == -EBUSY
                          ? "%s: another process has this spool; give each gateway a path of its own"
                          : "%s: cannot be locked",
                      spool->path);
        close(fd);
    } else {
        spool->lock_fd = fd;
    }
    free(path);
    return error;
}

int fg_spool_check_lock(struct fg_spool *spool)
{
    char *path = fg_spool_path(spool, ".lock");
    if (!path) {
        return -ENOMEM;
    }
    struct stat ours, there;
    bool same = fstat(spool->lock_fd, &ours) == 0 && lstat(path, &there) == 0 &&
                ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
    free(path);
    return same ? 0 : fg_spool_tell(spool, -ENOENT, "%s: is not the folder it was", spool->folder);
}

void fg_spool_unlock(struct fg_spool *spool)
{
    if (spool->lock_fd >= 0) {
        close(spool->lock_fd);
        spool->lock_fd = -1;
    }
}

int fg_spool_make_file(struct fg_spool *spool, const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return fg_spool_tell(spool, -errno, "%s: is in the way: %s", path, strerror(errno));
    }
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fg_spool_tell(spool, -errno, "%s: cannot be made: %s", path, strerror(errno));
    }
    close(fd);
    return 0;
}

static uint32_t number_at(const uint8_t *header, size_t offset)
{
    return (uint32_t)header[offset] << 24 | (uint32_t)header[offset + 1] << 16 |
           (uint32_t)header[offset + 2] << 8 | header[offset + 3];
}

/* The header of the file (SQLite, "Database File Format", 1.3), before SQLite is let near it: it would bring
 * a log into a database that is not ours. */
static int check_header(struct fg_spool *spool, const uint8_t *header, size_t size)
{
    if (size < 100 || memcmp(header, "SQLite format 3", 16) != 0) {
        return fg_spool_tell(spool, -EUCLEAN, "%s: is no SQLite database", spool->path);
    }
    if (number_at(header, 68) != FG_SPOOL_APPLICATION) {
        return fg_spool_tell(spool, -EUCLEAN, "%s: is a database of another application", spool->path);
    }
    uint32_t version = number_at(header, 60);
    if (version > FG_SPOOL_VERSION && version <= FG_SPOOL_VERSION_MAX) {
        return fg_spool_tell(
            spool, -EPROTONOSUPPORT,
            "%s: was written by a newer version of fieldgate (format %u, this one knows %d); use that "
            "version, or move the file away",
            spool->path, (unsigned)version, FG_SPOOL_VERSION);
    }
    unsigned page = (unsigned)header[16] << 8 | header[17];
    if (version != FG_SPOOL_VERSION || page != FG_SPOOL_PAGE || header[20] != FG_SPOOL_RESERVED) {
        return fg_spool_tell(spool, -EUCLEAN, "%s: the header is damaged", spool->path);
    }
    return 0;
}

int fg_spool_check_file(struct fg_spool *spool)
{
    int fd = open(spool->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat file;
    if (fd < 0 && errno == ENOENT) {
        return -ENOENT;
    }
    if (fd < 0 || fstat(fd, &file) != 0) {
        int error = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return fg_spool_tell(spool, error, "%s: %s", spool->path,
                             error == -ELOOP ? "is a symbolic link; name the file that it leads to"
                                             : strerror(-error));
    }
    if (!S_ISREG(file.st_mode)) {
        close(fd);
        return fg_spool_tell(spool, -EPERM, "%s: is no file; move it away", spool->path);
    }
    uint8_t header[100];
    ssize_t size = pread(fd, header, sizeof header, 0);
    int error = -errno;
    if (size >= 0 && file.st_mode & (S_IRWXG | S_IRWXO)) {
        (void)fchmod(fd, 0600); /* best effort: the folder may be readable by others */
    }
    close(fd);
    if (size < 0) {
        return fg_spool_tell(spool, error, "%s: %s", spool->path, strerror(-error));
    }
    return size == 0 ? -ENOENT : check_header(spool, header, (size_t)size);
}

int fg_spool_remove_log(struct fg_spool *spool)
{
    char *log = fg_spool_path(spool, "-wal");
    int error = log ? 0 : -ENOMEM;
    bool removed = !error && unlink(log) == 0;
    if (!error && !removed && errno != ENOENT) {
        error = fg_spool_tell(spool, -errno, "%s: cannot be removed: %s", log, strerror(errno));
    }
    free(log);
    return removed ? fg_spool_sync_folder(spool) : error;
}

int fg_spool_remove_files(struct fg_spool *spool)
{
    fg_spool_done_remove(spool); /* before the file that it is about */
    if (unlink(spool->path) != 0 && errno != ENOENT) {
        return fg_spool_tell(spool, -errno, "%s: cannot be removed: %s", spool->path, strerror(errno));
    }
    return fg_spool_remove_log(spool);
}
