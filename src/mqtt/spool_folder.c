#include "spool_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
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
        return fg_spool_tell(spool, error, "%s: %s", spool->path, strerror(-error));
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

static int move_log(struct fg_spool *spool, const char *aside)
{
    char *from = fg_spool_path(spool, "-wal");
    char *to = NULL;
    if (asprintf(&to, "%s-wal", aside) < 0) {
        to = NULL;
    }
    int error = from && to ? 0 : -ENOMEM;
    if (!error && rename(from, to) != 0 && errno != ENOENT) {
        error = fg_spool_tell(spool, -errno, "%s: cannot be set aside: %s", from, strerror(errno));
    }
    free(from);
    free(to);
    return error;
}

/* A second name for the damaged file, so that the path always leads to one database or the other; where the
 * file system has no second names, it is renamed. */
static int name_aside(struct fg_spool *spool, char **aside)
{
    time_t now = time(NULL);
    struct tm utc;
    char stamp[32];
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
    for (int i = 1; i < 100; i++) {
        char suffix[64];
        snprintf(suffix, sizeof suffix, i == 1 ? ".damaged-%s" : ".damaged-%s-%d", stamp, i);
        char *path = fg_spool_path(spool, suffix);
        if (!path) {
            return -ENOMEM;
        }
        if (link(spool->path, path) == 0 ||
            (errno != EEXIST && access(path, F_OK) != 0 && rename(spool->path, path) == 0)) {
            *aside = path;
            return 0;
        }
        int error = -errno;
        free(path);
        if (error != -EEXIST) {
            return fg_spool_tell(spool, error, "%s: cannot be set aside: %s", spool->path, strerror(-error));
        }
    }
    return fg_spool_tell(spool, -EEXIST, "%s: too many damaged files beside it; move them away", spool->path);
}

int fg_spool_replace(struct fg_spool *spool, const char *fresh, char **set_aside)
{
    char *aside = NULL;
    int error = name_aside(spool, &aside);
    /* A log is never left beside a database that is not its own: it would be played into it. */
    if (!error) {
        error = move_log(spool, aside);
    }
    if (!error && rename(fresh, spool->path) != 0) {
        error = fg_spool_tell(spool, -errno, "%s: cannot be replaced: %s", spool->path, strerror(errno));
    }
    if (!error) {
        error = fg_spool_sync_folder(spool);
    }
    if (error) {
        free(aside);
        return error;
    }
    *set_aside = aside;
    return 0;
}

int fg_spool_remove_log(struct fg_spool *spool)
{
    char *log = fg_spool_path(spool, "-wal");
    int error = log ? 0 : -ENOMEM;
    if (!error && unlink(log) != 0 && errno != ENOENT) {
        error = fg_spool_tell(spool, -errno, "%s: cannot be removed: %s", log, strerror(errno));
    }
    free(log);
    return error;
}

int fg_spool_remove_files(struct fg_spool *spool)
{
    if (unlink(spool->path) != 0 && errno != ENOENT) {
        return fg_spool_tell(spool, -errno, "%s: cannot be removed: %s", spool->path, strerror(errno));
    }
    return fg_spool_remove_log(spool);
}
