#include "ctl.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* More than a daemon ever says in one line. */
#define LINE_MAX_BYTES ((size_t)64 << 20)
#define READ_BYTES     65536

/* The socket may be in a folder that we may not enter: then the folder says which group may. */
static void explain_denied(const char *path)
{
    char folder[sizeof((struct sockaddr_un *)0)->sun_path];
    struct stat found;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = '\0';
    }
    bool known = stat(path, &found) == 0 || stat(folder, &found) == 0;
    const struct group *group = known ? getgrgid(found.st_gid) : NULL;
    fprintf(stderr, "fieldgatectl: you may not use %s: ", path);
    if (group) {
        fprintf(stderr,
                "is your user in the group %s? If not: sudo usermod -aG %s \"$USER\", and log in again; "
                "or use sudo\n",
                group->gr_name, group->gr_name);
    } else {
        fprintf(stderr, "is your user in its group? Or use sudo\n");
    }
}

static void explain(const char *path, int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        explain_denied(path);
        break;
    case ENOENT:
    case ENOTDIR:
        fprintf(stderr,
                "fieldgatectl: there is no socket %s: is fieldgated running (systemctl status fieldgated)? "
                "Where gateway.control_socket names another, give it with --socket\n",
                path);
        break;
    case ECONNREFUSED:
        fprintf(stderr,
                "fieldgatectl: nobody answers at %s: is fieldgated running (systemctl status fieldgated)?\n",
                path);
        break;
    case EAGAIN:
        fprintf(stderr, "fieldgatectl: %s: fieldgated takes no connection: it is busy, or hangs\n", path);
        break;
    default:
        fprintf(stderr, "fieldgatectl: %s: %s\n", path, strerror(error));
        break;
    }
}

bool ctl_connect(struct ctl_line *line, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    *line = (struct ctl_line){ .fd = -1 };
    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "fieldgatectl: %s: a socket's path has at most %zu bytes\n", path,
                sizeof address.sun_path - 1);
        return false;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    line->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (line->fd < 0 || connect(line->fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        explain(path, errno);
        ctl_disconnect(line);
        return false;
    }
    return true;
}

void ctl_disconnect(struct ctl_line *line)
{
    if (line->fd >= 0) {
        close(line->fd);
    }
    free(line->bytes);
    *line = (struct ctl_line){ .fd = -1 };
}

/* A request is short, and the socket is empty: it takes it at once. One that is closed has something to say
 * about it, which is read later. */
bool ctl_send(struct ctl_line *line, json_t *request)
{
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text) {
        fprintf(stderr, "fieldgatectl: no memory\n");
        return false;
    }
    size_t length = strlen(text);
    text[length] = '\n';
    ssize_t sent = send(line->fd, text, length + 1, MSG_NOSIGNAL);
    bool good = sent == (ssize_t)(length + 1) || (sent < 0 && (errno == EPIPE || errno == ECONNRESET));
    if (!good) {
        fprintf(stderr, "fieldgatectl: the request could not be sent: %s\n",
                sent < 0 ? strerror(errno) : "it is too long");
    }
    free(text);
    return good;
}

char *ctl_take(struct ctl_line *line)
{
    char *end = line->size > line->scanned
                    ? memchr(line->bytes + line->scanned, '\n', line->size - line->scanned)
                    : NULL;
    if (!end) {
        line->scanned = line->size;
        return NULL;
    }
    char *text = line->bytes + line->start;
    *end = '\0';
    line->start = line->scanned = (size_t)(end - line->bytes) + 1;
    return text;
}

static bool make_room(struct ctl_line *line)
{
    if (line->start > 0) {
        memmove(line->bytes, line->bytes + line->start, line->size - line->start);
        line->size -= line->start;
        line->scanned -= line->start;
        line->start = 0;
    }
    if (line->capacity - line->size >= READ_BYTES) {
        return true;
    }
    size_t capacity = line->capacity ? 2 * line->capacity : 2 * (size_t)READ_BYTES;
    char *bytes = capacity <= LINE_MAX_BYTES ? realloc(line->bytes, capacity) : NULL;
    if (!bytes) {
        return false;
    }
    line->bytes = bytes;
    line->capacity = capacity;
    return true;
}

bool ctl_read(struct ctl_line *line)
{
    if (!make_room(line)) {
        return false;
    }
    ssize_t count = recv(line->fd, line->bytes + line->size, READ_BYTES, MSG_DONTWAIT);
    if (count <= 0) {
        return count < 0 && (errno == EAGAIN || errno == EINTR);
    }
    line->size += (size_t)count;
    return true;
}

json_t *ctl_parse(const char *text)
{
    json_t *answer = json_loads(text, 0, NULL);
    json_t *protocol = json_object_get(answer, "protocol");
    if (!json_is_integer(protocol) || json_integer_value(protocol) != CTL_PROTOCOL) {
        fprintf(stderr,
                "fieldgatectl: the daemon speaks another protocol than %d: are both of one version?\n",
                CTL_PROTOCOL);
        json_decref(answer);
        return NULL;
    }
    if (json_is_false(json_object_get(answer, "ok"))) {
        const char *why = json_string_value(json_object_get(answer, "error"));
        fprintf(stderr, "fieldgatectl: the daemon says: %s\n", why ? why : "no");
        json_decref(answer);
        return NULL;
    }
    return answer;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

json_t *ctl_ask(struct ctl_line *line, json_t *request, int timeout_s, const char **text)
{
    int64_t deadline_ms = now_ms() + (int64_t)timeout_s * 1000;
    *text = NULL;
    if (!ctl_send(line, request)) {
        return NULL;
    }
    while (!(*text = ctl_take(line))) {
        int64_t left_ms = deadline_ms - now_ms();
        struct pollfd wait = { .fd = line->fd, .events = POLLIN };
        if (left_ms <= 0 || poll(&wait, 1, (int)left_ms) == 0) {
            fprintf(stderr, "fieldgatectl: fieldgated took the request and did not answer in %d s\n",
                    timeout_s);
            return NULL;
        }
        if (!ctl_read(line)) {
            fprintf(stderr, "fieldgatectl: fieldgated closed the connection: has it been stopped?\n");
            return NULL;
        }
    }
    return ctl_parse(*text);
}
