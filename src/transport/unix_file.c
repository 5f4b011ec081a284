#include "fieldgate/unix_file.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 64

static void address_of(const char *path, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
}

/* Whether nobody serves the socket at path; else *server is who does, if that can be known. */
static bool is_stale(const char *path, int type, pid_t *server)
{
    struct sockaddr_un address;
    address_of(path, &address);
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    int result = connect(fd, (const struct sockaddr *)&address, sizeof address);
    bool refused = result < 0 && errno == ECONNREFUSED;
    struct ucred peer = { 0 };
    socklen_t length = sizeof peer;
    if (result == 0 && server && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) {
        *server = peer.pid;
    }
    close(fd);
    return refused;
}

/* Removes what is at path when it may be. Returns 0 when nothing is there then. */
static int make_way(const char *path, int type, pid_t *server)
{
    struct stat found;
    if (lstat(path, &found) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(found.st_mode)) {
        return -EEXIST;
    }
    if (!is_stale(path, type, server)) {
        return -EADDRINUSE;
    }
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_temporary(int fd, const char *path, struct sockaddr_un *address)
{
    char name[sizeof address->sun_path];
    for (int tries = 0; tries < 4; tries++) {
        uint32_t number = 0;
        if (getrandom(&number, sizeof number, GRND_NONBLOCK) < 0) {
            number = (uint32_t)fg_clock_now_ns();
        }
        snprintf(name, sizeof name, "%.*s.%08x", (int)FG_UNIX_PATH_MAX, path, (unsigned)number);
        address_of(name, address);
        if (bind(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
            return 0;
        }
        if (errno != EADDRINUSE) {
            return -errno;
        }
    }
    return -EADDRINUSE;
}

/* Gives the temporary name's socket the path's name, unless something has come there meanwhile. */
static int take_name(const char *temporary, const char *path)
{
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -errno;
    }
    /* A file system that cannot: a link does not replace either. */
    if (link(temporary, path) < 0) {
        return -errno;
    }
    unlink(temporary);
    return 0;
}

struct making {
    const char *path;
    int type;
    mode_t mode;
    pid_t *server;
};

static int finish(const struct making *making, int fd, const char *temporary, struct fg_unix_file *file)
{
    struct stat made;
    int error = 0;
    if (chmod(temporary, making->mode) < 0 || lstat(temporary, &made) < 0) {
        error = -errno;
    }
    if (error == 0 && making->type == SOCK_STREAM && listen(fd, BACKLOG) < 0) {
        error = -errno;
    }
    if (error == 0) {
        error = make_way(making->path, making->type, making->server);
    }
    if (error == 0) {
        error = take_name(temporary, making->path);
    }
    if (error == 0) {
        *file = (struct fg_unix_file){ .ours = true, .device = made.st_dev, .inode = made.st_ino };
    }
    return error;
}

int fg_unix_file_make(const char *path, int type, mode_t mode, struct fg_unix_file *file, pid_t *server)
{
    struct making making = { .path = path, .type = type, .mode = mode, .server = server };
    struct sockaddr_un temporary;
    if (server) {
        *server = 0;
    }
    if (strlen(path) > FG_UNIX_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    /* The file is made with this mode less the umask: nobody else gets in before it has its own. */
    int error = fchmod(fd, 0600) < 0 ? -errno : bind_temporary(fd, path, &temporary);
    if (error == 0) {
        error = finish(&making, fd, temporary.sun_path, file);
        if (error < 0) {
            unlink(temporary.sun_path);
        }
    }
    if (error < 0) {
        close(fd);
        return error;
    }
    return fd;
}

void fg_unix_file_remove(struct fg_unix_file *file, const char *path)
{
    struct stat found;
    if (file->ours && lstat(path, &found) == 0 && found.st_dev == file->device &&
        found.st_ino == file->inode) {
        unlink(path);
    }
    file->ours = false;
}
