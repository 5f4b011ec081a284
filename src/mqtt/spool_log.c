/*
 * The log (SQLite, "WAL-mode File Format"): a header, then frames of a header and a page each, every one with
 * a checksum over all before it. SQLite takes the first frame whose checksum is wrong for the end, which a
 * power cut has torn. But a transaction is written when the one before is on disk, so what a power cut tears
 * is the last: where whole transactions follow, it was damage, and what they held is missing.
 *
 * Frames of an earlier use of the log carry other salts; what is left of a transaction that was undone has no
 * commit. With a header that is wrong SQLite takes the log for empty. That is right where a power cut has
 * torn it when the log was begun anew, all of it being in the database; so it is damage when that is not so.
 */
#include "spool_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC        UINT32_C(0x377f0682)
#define HEADER       32
#define FRAME_HEADER 24
#define SALT_AT      16 /* in the log's header */
#define SUM_AT       24 /* there too */
#define SALT         8
#define COMMIT_AT    4 /* in a frame's header: not 0 in the last of a transaction */
#define FRAME_SALT   8

/* Far more than a log is let grow to. */
#define FRAMES_MAX (1 << 20)

/* Commits behind the first wrong frame that are no power cut: its own, and one that came after it. */
#define COMMITS_OF_DAMAGE 2

struct sums {
    uint32_t a, b;
};

static uint32_t word(const uint8_t *at, bool big)
{
    uint32_t first = big ? at[0] : at[3], second = big ? at[1] : at[2];
    uint32_t third = big ? at[2] : at[1], last = big ? at[3] : at[0];
    return first << 24 | second << 16 | third << 8 | last;
}

static void sum(struct sums *sums, const uint8_t *bytes, size_t size, bool big)
{
    for (size_t i = 0; i < size; i += 8) {
        sums->a += word(bytes + i, big) + sums->b;
        sums->b += word(bytes + i + 4, big) + sums->a;
    }
}

static bool is_sum(const struct sums *sums, const uint8_t *at)
{
    return word(at, true) == sums->a && word(at + 4, true) == sums->b;
}

static ssize_t read_frame(int log, size_t index, uint8_t frame[FG_SPOOL_FRAME])
{
    return pread(log, frame, FG_SPOOL_FRAME, HEADER + (off_t)index * FG_SPOOL_FRAME);
}

/* Counts commits behind the first wrong frame. */
static int follow_sums(int log, const uint8_t header[HEADER], struct sums sums, unsigned *commits)
{
    uint8_t frame[FG_SPOOL_FRAME];
    bool big = (header[3] & 1) != 0, good = true;
    ssize_t got;
    for (size_t i = 0; (got = read_frame(log, i, frame)) == FG_SPOOL_FRAME; i++) {
        bool ours = memcmp(frame + FRAME_SALT, header + SALT_AT, SALT) == 0;
        if (good) {
            sum(&sums, frame, 8, big);
            sum(&sums, frame + FRAME_HEADER, FG_SPOOL_PAGE, big);
            good = ours && is_sum(&sums, frame + 16);
        }
        *commits += !good && ours && word(frame + COMMIT_AT, true) != 0;
    }
    return got < 0 ? -errno : 0;
}

/* The page numbers of the committed frames that the log begins with; to be freed. */
static int list_pages(int log, uint32_t **pages, size_t *count)
{
    uint8_t frame[FG_SPOOL_FRAME], salt[SALT];
    size_t room = 0;
    ssize_t got;
    for (size_t i = 0; (got = read_frame(log, i, frame)) == FG_SPOOL_FRAME; i++) {
        if (i > 0 && memcmp(frame + FRAME_SALT, salt, SALT) != 0) {
            return 0;
        }
        memcpy(salt, frame + FRAME_SALT, SALT);
        if (i == room) {
            room = room ? 2 * room : 256;
            uint32_t *larger = room <= FRAMES_MAX ? reallocarray(*pages, room, sizeof **pages) : NULL;
            if (!larger) {
                return -ENOMEM;
            }
            *pages = larger;
        }
        (*pages)[i] = word(frame, true);
        *count = word(frame + COMMIT_AT, true) ? i + 1 : *count;
    }
    return got < 0 ? -errno : 0;
}

/* Whether the last frame of each page is what the database has for it. */
static int compare(int log, int database, const uint32_t *pages, size_t count, bool *same)
{
    uint8_t frame[FG_SPOOL_FRAME], page[FG_SPOOL_PAGE];
    for (size_t i = 0; i < count && *same; i++) {
        size_t later = i + 1;
        while (later < count && pages[later] != pages[i]) {
            later++;
        }
        if (later < count) {
            continue;
        }
        if (read_frame(log, i, frame) != FG_SPOOL_FRAME) {
            return -EIO;
        }
        off_t at = ((off_t)pages[i] - 1) * FG_SPOOL_PAGE;
        *same = at >= 0 && pread(database, page, sizeof page, at) == FG_SPOOL_PAGE &&
                memcmp(page, frame + FRAME_HEADER, FG_SPOOL_PAGE - FG_SPOOL_RESERVED) == 0;
    }
    return 0;
}

static int compare_with_database(struct fg_spool *spool, int log, bool *same)
{
    uint32_t *pages = NULL;
    size_t count = 0;
    int error = list_pages(log, &pages, &count);
    int database = error ? -1 : open(spool->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (!error) {
        error = database < 0 ? -errno : compare(log, database, pages, count, same);
    }
    if (database >= 0) {
        close(database);
    }
    free(pages);
    return error;
}

static int look_through(struct fg_spool *spool, int log, bool *damaged)
{
    uint8_t header[HEADER];
    ssize_t got = pread(log, header, sizeof header, 0);
    if (got != (ssize_t)sizeof header) {
        return got < 0 ? -errno : 0;
    }
    struct sums sums = { 0 };
    sum(&sums, header, SUM_AT, (header[3] & 1) != 0);
    int error;
    if ((word(header, true) & ~UINT32_C(1)) == MAGIC && is_sum(&sums, header + SUM_AT)) {
        unsigned commits = 0;
        error = follow_sums(log, header, sums, &commits);
        *damaged = commits >= COMMITS_OF_DAMAGE;
    } else {
        bool same = true;
        error = compare_with_database(spool, log, &same);
        *damaged = !same;
    }
    return error;
}

int fg_spool_check_log(struct fg_spool *spool)
{
    char *path = fg_spool_path(spool, "-wal");
    if (!path) {
        return -ENOMEM;
    }
    int error = 0;
    bool damaged = false;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        error = errno == ENOENT ? 0 : -errno;
    } else {
        error = look_through(spool, fd, &damaged);
        spool->read_failed |= error == -EIO;
        close(fd);
    }
    if (error) {
        fg_spool_tell(spool, error, "%s: %s", path, strerror(-error));
    } else if (damaged) {
        error = fg_spool_tell(spool, -EUCLEAN, "%s: is damaged", path);
    }
    free(path);
    return error;
}
