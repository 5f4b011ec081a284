/*
 * The log (SQLite, "WAL-mode File Format"): a header, then frames of a header and a page each, every one with
 * a checksum over all before it. SQLite takes the first frame whose checksum is wrong for the end, which a
 * power cut has torn. But a transaction is written when the one before is on disk, so what a power cut tears
 * is the last: where whole transactions follow, it was damage, and what they held is missing.
 *
 * Frames of an earlier use of the log carry other salts; what is left of a transaction that was undone has no
 * commit. A header that is wrong says nothing of what follows; that too counts as damage, although a power
 * cut in the middle of its 32 bytes would look the same.
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
#define FRAME_SALT   8

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

/* Counts commits behind the first wrong frame. */
static int read_through(int fd, unsigned *commits)
{
    uint8_t header[HEADER], frame[FG_SPOOL_FRAME], salt[8];
    ssize_t got = pread(fd, header, sizeof header, 0);
    if (got != (ssize_t)sizeof header) {
        return got < 0 ? -errno : 0;
    }
    bool big = (header[3] & 1) != 0;
    struct sums sums = { 0 };
    sum(&sums, header, 24, big);
    bool good = (word(header, true) & ~UINT32_C(1)) == MAGIC && is_sum(&sums, header + 24);
    memcpy(salt, header + SALT_AT, sizeof salt);
    bool salted = good;
    off_t at = HEADER;
    while ((got = pread(fd, frame, sizeof frame, at)) == (ssize_t)sizeof frame) {
        if (!salted) { /* with the header gone, the first frame tells */
            memcpy(salt, frame + FRAME_SALT, sizeof salt);
            salted = true;
        }
        bool ours = memcmp(frame + FRAME_SALT, salt, sizeof salt) == 0;
        if (good) {
            sum(&sums, frame, 8, big);
            sum(&sums, frame + FRAME_HEADER, FG_SPOOL_PAGE, big);
            good = ours && is_sum(&sums, frame + 16);
        }
        *commits += !good && ours && word(frame + 4, true) != 0;
        at += FG_SPOOL_FRAME;
    }
    return got < 0 ? -errno : 0;
}

int fg_spool_check_log(struct fg_spool *spool)
{
    char *path = fg_spool_path(spool, "-wal");
    if (!path) {
        return -ENOMEM;
    }
    int error = 0;
    unsigned commits = 0;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        error = errno == ENOENT ? 0 : -errno;
    } else {
        error = read_through(fd, &commits);
        spool->read_failed |= error != 0;
        close(fd);
    }
    if (error) {
        fg_spool_tell(spool, error, "%s: %s", path, strerror(-error));
    } else if (commits >= COMMITS_OF_DAMAGE) {
        error = fg_spool_tell(spool, -EUCLEAN, "%s: is damaged", path);
    }
    free(path);
    return error;
}
