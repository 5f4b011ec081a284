/*
 * Setting a damaged database aside, and another in its place.
 */
#include "spool_parts.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MARK ".damaged-"

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
    for (int i = 0; i < 100; i++) {
        struct timespec now;
        struct tm utc;
        char stamp[32], suffix[64];
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &utc);
        strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &utc);
        snprintf(suffix, sizeof suffix, MARK "%s.%06ldZ", stamp, now.tv_nsec / 1000);
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

/* Whether a name in the folder is of a database that was set aside. */
static bool is_aside(const struct fg_spool *spool, const char *name)
{
    const char *base = strrchr(spool->path, '/');
    base = base ? base + 1 : spool->path;
    size_t length = strlen(base), mark = strlen(MARK), whole = strlen(name);
    return strncmp(name, base, length) == 0 && strncmp(name + length, MARK, mark) == 0 &&
           (whole < 4 || strcmp(name + whole - 4, "-wal") != 0);
}

static void remove_beside(const struct fg_spool *spool, const char *name, const char *suffix)
{
    char *path;
    if (asprintf(&path, "%s/%s%s", spool->folder, name, suffix) >= 0) {
        (void)unlink(path);
        free(path);
    }
}

/* A disk that keeps on damaging files must not be filled with them: the oldest go, whatever the clock made of
 * their names never the one just made. Best effort. */
static void prune(struct fg_spool *spool, const char *made)
{
    const char *slash = strrchr(made, '/');
    made = slash ? slash + 1 : made;
    size_t count;
    do {
        char oldest[NAME_MAX + 1] = "";
        DIR *folder = opendir(spool->folder);
        count = 0;
        for (const struct dirent *entry; folder && (entry = readdir(folder));) {
            if (is_aside(spool, entry->d_name) && strcmp(entry->d_name, made) != 0) {
                count++;
                if (!oldest[0] || strcmp(entry->d_name, oldest) < 0) {
                    snprintf(oldest, sizeof oldest, "%s", entry->d_name);
                }
            }
        }
        if (folder) {
            closedir(folder);
        }
        if (count >= FG_SPOOL_ASIDE_MAX) {
            remove_beside(spool, oldest, "");
            remove_beside(spool, oldest, "-wal");
        }
    } while (count > FG_SPOOL_ASIDE_MAX);
}

int fg_spool_replace(struct fg_spool *spool, const char *fresh, char **set_aside)
{
    char *aside = NULL;
    int error = name_aside(spool, &aside);
    /* A log is never left beside a database that is not its own: it would be played into it. */
    if (!error) {
        error = move_log(spool, aside);
    }
    if (!error) {
        error = fg_spool_sync_folder(spool);
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
    prune(spool, aside);
    *set_aside = aside;
    return 0;
}
