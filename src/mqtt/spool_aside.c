/*
 * Setting a damaged database aside, and what was salvaged in its place.
 *
 * A database and its log cannot be renamed at once, and neither may ever be beside another's. So what was
 * salvaged first takes a name that says that it is complete; from then on it is what counts, and whoever
 * finds that name does the rest.
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

/* Renames one of the spool's files, if it is there. */
static int move(struct fg_spool *spool, const char *suffix, const char *aside, const char *aside_suffix)
{
    char *from = fg_spool_path(spool, suffix);
    char *to = NULL;
    if (asprintf(&to, "%s%s", aside, aside_suffix) < 0) {
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

/* A name that is not there yet; names of later times sort behind those of earlier ones. */
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
        if (access(path, F_OK) != 0) {
            *aside = path;
            return 0;
        }
        free(path);
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

static bool remove_beside(const struct fg_spool *spool, const char *name, const char *suffix)
{
    char *path;
    if (asprintf(&path, "%s/%s%s", spool->folder, name, suffix) < 0) {
        return false;
    }
    bool removed = unlink(path) == 0;
    free(path);
    return removed;
}

/* The oldest of those set aside, but for the one just made, whatever the clock made of their names. Returns
 * how many there are. */
static size_t find_oldest(const struct fg_spool *spool, const char *made, char oldest[NAME_MAX + 1])
{
    size_t count = 0;
    DIR *folder = opendir(spool->folder);
    oldest[0] = '\0';
    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        if (is_aside(spool, entry->d_name) && strcmp(entry->d_name, made) != 0) {
            count++;
            if (!oldest[0] || strcmp(entry->d_name, oldest) < 0) {
                snprintf(oldest, NAME_MAX + 1, "%s", entry->d_name);
            }
        }
    }
    if (folder) {
        closedir(folder);
    }
    return count;
}

/* A disk that keeps on damaging files must not be filled with them: the oldest go. Best effort. */
static void prune(const struct fg_spool *spool, const char *made)
{
    char oldest[NAME_MAX + 1];
    const char *slash = strrchr(made, '/');
    made = slash ? slash + 1 : made;
    while (find_oldest(spool, made, oldest) >= FG_SPOOL_ASIDE_MAX && remove_beside(spool, oldest, "")) {
        (void)remove_beside(spool, oldest, "-wal");
    }
}

bool fg_spool_has_salvaged(const struct fg_spool *spool)
{
    char *salvaged = fg_spool_path(spool, FG_SPOOL_SALVAGED);
    bool there = salvaged && access(salvaged, F_OK) == 0;
    free(salvaged);
    return there;
}

int fg_spool_replace(struct fg_spool *spool, char **set_aside)
{
    char *aside = NULL;
    char *salvaged = fg_spool_path(spool, FG_SPOOL_SALVAGED);
    int error = salvaged ? name_aside(spool, &aside) : -ENOMEM;
    if (!error) {
        error = move(spool, "", aside, "");
    }
    if (!error) {
        error = move(spool, "-wal", aside, "-wal");
    }
    if (!error) {
        error = fg_spool_sync_folder(spool);
    }
    if (!error && rename(salvaged, spool->path) != 0) {
        error = fg_spool_tell(spool, -errno, "%s: cannot be replaced: %s", spool->path, strerror(errno));
    }
    if (!error) {
        error = fg_spool_sync_folder(spool);
    }
    free(salvaged);
    if (error) {
        free(aside);
        return error;
    }
    prune(spool, aside);
    *set_aside = aside;
    return 0;
}
