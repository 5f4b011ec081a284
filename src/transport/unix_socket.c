/*
 * Transport "unix": programs of this machine connect, or send datagrams, to a path.
 *
 * The socket comes into being under a name beside the path, gets its mode, listens, and only then takes the
 * path's name: nobody finds it half made. What is in the way goes only when it is a socket that nobody
 * serves.
 */
#include "fieldgate/clock.h"
#include "transports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG          64
#define TEMPORARY_SUFFIX 10 /* ".%08x" and NUL */

enum kind { KIND_STREAM, KIND_DATAGRAM };

struct unix_settings {
    char *path;
    char *mode;
    int kind;
    int64_t max_connections;
};

/* The endpoint's strand's. */
struct unix_socket {
    bool ours; /* we made the socket that has this number */
    dev_t device;
    ino_t inode;
};

static int parse_mode(const char *text, mode_t *mode)
{
    size_t length = strlen(text);
    if (length < 3 || length > 4 || strspn(text, "01234567") != length) {
        return -EINVAL;
    }
    unsigned long value = strtoul(text, NULL, 8);
    if (value > 0777) {
        return -EINVAL;
    }
    *mode = (mode_t)value;
    return 0;
}

static void check_mode(struct fg_check *check, const char *key, const void *field)
{
    const char *text = *(char *const *)field;
    mode_t mode = 0;
    if (parse_mode(text, &mode) < 0) {
        fg_check_problem(check, key, "%s is not an octal mode up to 0777; write it as \"0660\"", text);
    }
}

static const char *const kind_names[] = { "stream", "datagram", NULL };

static const struct fg_setting settings_table[] = {
    { .key = "path",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct unix_settings, path),
      .minimum = 1,
      .maximum = sizeof(((struct sockaddr_un *)NULL)->sun_path) - TEMPORARY_SUFFIX,
      .help =
          "The socket's path. It is made at the start and removed at the end; a socket that nobody serves is "
          "replaced." },
    { .key = "mode",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct unix_settings, mode),
      .fallback = "0660",
      .minimum = 3,
      .maximum = 4,
      .check = check_mode,
      .help = "The socket's mode, octal: who may write to it." },
    { .key = "kind",
      .type = FG_SETTING_CHOICE,
      .offset = offsetof(struct unix_settings, kind),
      .fallback = "stream",
      .choices = kind_names,
      .help = "Connections, or datagrams, each of which is one frame unless framing is given." },
    { .key = "max_connections",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct unix_settings, max_connections),
      .fallback = "64",
      .minimum = 1,
      .maximum = 100000,
      .help = "Connections beyond this number are closed at once and counted." },
    { .key = NULL },
};

static const struct fg_schema schema = {
    .name = "unix",
    .help = "A socket for programs of this machine.",
    .size = sizeof(struct unix_settings),
    .settings = settings_table,
};

static int socket_type(const struct unix_settings *settings)
{
    return settings->kind == KIND_DATAGRAM ? SOCK_DGRAM : SOCK_STREAM;
}

static void address_of(const char *path, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
}

/* Whether nobody serves the socket at path. */
static bool is_stale(const char *path, int type)
{
    struct sockaddr_un address;
    address_of(path, &address);
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool refused =
        connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* Removes what is at path when it may be. Returns 0 when nothing is there then. */
static int make_way(const char *path, int type)
{
    struct stat found;
    if (lstat(path, &found) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(found.st_mode)) {
        return -EEXIST;
    }
    if (!is_stale(path, type)) {
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
        snprintf(name, sizeof name, "%.*s.%08x", (int)(sizeof name - TEMPORARY_SUFFIX), path,
                 (unsigned)number);
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

static int finish_socket(struct fg_endpoint *endpoint, int fd, const char *temporary)
{
    const struct unix_settings *settings = endpoint->settings;
    struct unix_socket *state = endpoint->state;
    mode_t mode = 0;
    struct stat made;
    int error = parse_mode(settings->mode, &mode);
    if (error == 0 && (chmod(temporary, mode) < 0 || lstat(temporary, &made) < 0)) {
        error = -errno;
    }
    if (error == 0 && settings->kind == KIND_STREAM && listen(fd, BACKLOG) < 0) {
        error = -errno;
    }
    if (error == 0) {
        error = make_way(settings->path, socket_type(settings));
    }
    if (error == 0) {
        error = take_name(temporary, settings->path);
    }
    if (error == 0) {
        *state = (struct unix_socket){ .ours = true, .device = made.st_dev, .inode = made.st_ino };
    }
    return error;
}

static int make_socket(struct fg_endpoint *endpoint)
{
    const struct unix_settings *settings = endpoint->settings;
    struct sockaddr_un temporary;
    int fd = socket(AF_UNIX, socket_type(settings) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    /* The file is made with this mode less the umask: nobody else gets in before it has its own. */
    int error = fchmod(fd, 0600) < 0 ? -errno : bind_temporary(fd, settings->path, &temporary);
    if (error == 0) {
        error = finish_socket(endpoint, fd, temporary.sun_path);
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

/* Removes the path when it is still the socket that we made. */
static void remove_socket(struct fg_endpoint *endpoint)
{
    const struct unix_settings *settings = endpoint->settings;
    struct unix_socket *state = endpoint->state;
    struct stat found;
    if (state->ours && lstat(settings->path, &found) == 0 && found.st_dev == state->device &&
        found.st_ino == state->inode) {
        unlink(settings->path);
    }
    state->ours = false;
}

static bool is_datagram(const void *settings)
{
    const struct unix_settings *unix_settings = settings;
    return unix_settings->kind == KIND_DATAGRAM;
}

static int unix_start(struct fg_endpoint *endpoint)
{
    const struct unix_settings *settings = endpoint->settings;
    endpoint->max_connections = settings->max_connections;
    return 0;
}

static void unix_open(struct fg_endpoint *endpoint)
{
    const struct unix_settings *settings = endpoint->settings;
    bool datagram = settings->kind == KIND_DATAGRAM;
    remove_socket(endpoint); /* of a listener that was lost */
    struct fg_link *link = NULL;
    int fd = make_socket(endpoint);
    int error = fd;
    if (fd >= 0) {
        const struct fg_link_options options = { .fd = fd,
                                                 .kind = datagram ? FG_LINK_DATAGRAM : FG_LINK_LISTENER,
                                                 .principal = true };
        error = fg_link_new(endpoint, &options, &link);
        if (error < 0) {
            close(fd);
        }
    }
    if (error == -EEXIST) {
        fg_endpoint_fail(endpoint, "%s is in the way and is not a socket", settings->path);
    } else if (error == -EADDRINUSE) {
        fg_endpoint_fail(endpoint, "%s is in use by another program", settings->path);
    } else if (error < 0) {
        fg_endpoint_fail(endpoint, "cannot make the socket %s: %s", settings->path, fg_error_text(error));
    } else {
        fg_endpoint_describe(endpoint, "%s on %s", datagram ? "receiving" : "listening", settings->path);
        fg_link_start(link);
    }
}

const struct fg_transport fg_transport_unix = {
    .variant = { .name = "unix", .help = "Programs of this machine, over a Unix socket.", .schema = &schema },
    .state_size = sizeof(struct unix_socket),
    .retry_min_ns = 500 * FG_NS_PER_MS,
    .retry_max_ns = 10 * FG_NS_PER_S,
    .can_wait = true,
    .is_datagram = is_datagram,
    .start = unix_start,
    .open = unix_open,
    .stop = remove_socket,
};
