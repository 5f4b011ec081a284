#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_whole(int fd, char *text, size_t room, size_t *length)
{
    size_t at = 0;
    while (at < room) {
        ssize_t count = read(fd, text + at, room - at);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return -errno;
        }
        if (count == 0) {
            break;
        }
        at += (size_t)count;
    }
    *length = at;
    return 0;
}

static int check_text(const char *text, size_t length, char why[WHY_ROOM], int *line)
{
    const char *nul = memchr(text, '\0', length);
    if (!nul) {
        return 0;
    }
    for (const char *at = text; at < nul; at++) {
        *line += *at == '\n';
    }
    snprintf(why, WHY_ROOM, "this is no text file: it has a NUL byte; save it as plain UTF-8 text");
    return -EINVAL;
}

static int read_open(struct arena *memory, int fd, size_t limit, struct source *source, char why[WHY_ROOM],
                     int *line)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        snprintf(why, WHY_ROOM, "cannot be read: %s", strerror(errno));
        return -EINVAL;
    }
    if (!S_ISREG(status.st_mode)) {
        snprintf(why, WHY_ROOM, "is %s; name a file",
                 S_ISDIR(status.st_mode) ? "a directory" : "a device, pipe or socket");
        return -EINVAL;
    }
    if (status.st_size < 0 || (uintmax_t)status.st_size > limit) {
        snprintf(why, WHY_ROOM, "is too large: a configuration has at most %d KiB with all that it includes",
                 CONFIG_MAX_BYTES / 1024);
        return -EINVAL;
    }
    /* A file that grows meanwhile is read up to the size that was checked. */
    size_t length = (size_t)status.st_size;
    char *text = arena_new(memory, length + 1);
    if (!text) {
        return -ENOMEM;
    }
    int error = read_whole(fd, text, length, &length);
    if (error) {
        snprintf(why, WHY_ROOM, "cannot be read: %s", strerror(-error));
        return -EINVAL;
    }
    error = check_text(text, length, why, line);
    if (error) {
        return error;
    }
    bool mark = length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0; /* some editors begin UTF-8 so */
    *source = (struct source){ .text = text,
                               .length = length,
                               .at = mark ? 3 : 0,
                               .line = 1,
                               .device = status.st_dev,
                               .inode = status.st_ino };
    return 0;
}

int source_read(struct arena *memory, const char *path, size_t limit, struct source *source,
                char why[WHY_ROOM], int *line)
{
    *line = 1;
    if (!*path) {
        snprintf(why, WHY_ROOM, "no file is named");
        return -EINVAL;
    }
    const char *name = arena_copy(memory, path, strlen(path));
    if (!name) {
        return -ENOMEM;
    }
    /* Without O_NONBLOCK a FIFO would hold the caller until somebody writes to it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        snprintf(why, WHY_ROOM, "cannot be opened: %s", strerror(errno));
        return -EINVAL;
    }
    int error = read_open(memory, fd, limit, source, why, line);
    close(fd);
    if (!error) {
        source->name = name;
    }
    return error;
}
