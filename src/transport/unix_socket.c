/*
 * Transport "unix": programs of this machine connect, or send datagrams, to a path.
 *
 * How the socket comes into being, and what is done about what is in the way: unix_file.h.
 */
#include "fieldgate/clock.h"
#include "fieldgate/unix_file.h"
#include "transports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { KIND_STREAM, KIND_DATAGRAM };

struct unix_settings {
    char *path;
    char *mode;
    int kind;
    int64_t max_connections;
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
      .maximum = FG_UNIX_PATH_MAX,
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

/* The state is the endpoint's strand's. */
static void remove_socket(struct fg_endpoint *endpoint)
{
    const struct unix_settings *settings = endpoint->settings;
    fg_unix_file_remove(endpoint->state, settings->path);
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
    mode_t mode = 0;
    int fd = parse_mode(settings->mode, &mode);
    if (fd == 0) {
        fd = fg_unix_file_make(settings->path, socket_type(settings), mode, endpoint->state, NULL);
    }
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
    .state_size = sizeof(struct fg_unix_file),
    .retry_min_ns = 500 * FG_NS_PER_MS,
    .retry_max_ns = 10 * FG_NS_PER_S,
    .can_wait = true,
    .is_datagram = is_datagram,
    .start = unix_start,
    .open = unix_open,
    .stop = remove_socket,
};
