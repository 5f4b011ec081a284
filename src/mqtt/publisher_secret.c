#include "publisher_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX 65535
#define PEM_MAX    (4 << 20)
#define GROUPS_MAX 128

static int complain(char why[FG_WHY_SIZE], const char *setting, const char *path, int error, const char *what)
{
    if (snprintf(why, FG_WHY_SIZE, "%s: %s: %s", setting, path, what ? what : strerror(-error)) >=
        FG_WHY_SIZE) {
        memcpy(why + FG_WHY_SIZE - 4, "...", 4);
    }
    return error;
}

static bool is_ours(gid_t group)
{
    gid_t groups[GROUPS_MAX];
    int count = getgroups(GROUPS_MAX, groups);
    for (int i = 0; i < count; i++) {
        if (groups[i] == group) {
            return true;
        }
    }
    return false;
}

static bool is_trusted_group(const struct stat *file)
{
    return file->st_gid == 0 || file->st_gid == getegid() || (file->st_uid == 0 && is_ours(file->st_gid));
}

/* The file may belong to root and be read by the daemon as one of the others: then the mode is not all. */
static void tell_remedy(const struct stat *file, const char *path, const char *who, bool reads,
                        char why[FG_WHY_SIZE])
{
    char owner[32] = "";
    if (geteuid() != 0 && file->st_uid != geteuid()) {
        snprintf(owner, sizeof owner, "chown %u ", (unsigned)geteuid());
    }
    snprintf(why, FG_WHY_SIZE, "%s can %s it: %s%s%schmod 600 %s", who, reads ? "read" : "write", owner,
             owner[0] ? path : "", owner[0] ? " && " : "", path);
}

static bool is_open_to_all(const struct stat *file, const char *path, char why[FG_WHY_SIZE])
{
    if (!(file->st_mode & (S_IROTH | S_IWOTH))) {
        return false;
    }
    tell_remedy(file, path, "others", file->st_mode & S_IROTH, why);
    return true;
}

static bool is_open_to_group(const struct stat *file, const char *path, char why[FG_WHY_SIZE])
{
    if (!(file->st_mode & (S_IRGRP | S_IWGRP)) || is_trusted_group(file)) {
        return false;
    }
    char who[32];
    snprintf(who, sizeof who, "group %u", (unsigned)file->st_gid);
    tell_remedy(file, path, who, file->st_mode & S_IRGRP, why);
    return true;
}

static int check_file(int fd, const char *setting, const char *path, bool private, struct stat *file,
                      char why[FG_WHY_SIZE])
{
    if (fstat(fd, file) != 0) {
        return complain(why, setting, path, -errno, NULL);
    }
    if (!S_ISREG(file->st_mode)) {
        bool folder = S_ISDIR(file->st_mode);
        return complain(why, setting, path, folder ? -EISDIR : -EINVAL, folder ? NULL : "is no file");
    }
    char what[FG_WHY_SIZE];
    if (private && (is_open_to_all(file, path, what) || is_open_to_group(file, path, what))) {
        return complain(why, setting, path, -EPERM, what);
    }
    return 0;
}

/* Returns the number of bytes, which is less than size, or a negative errno. */
static long read_all(int fd, char *bytes, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t got = read(fd, bytes + length, size - length);
        if (got < 0 && errno != EINTR) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        length += got > 0 ? (size_t)got : 0;
    }
    return (long)length;
}

/* The whole of a file that is open, without NUL. */
static int read_text(int fd, const char *setting, const char *path, size_t size, char **text,
                     char why[FG_WHY_SIZE])
{
    char *bytes = calloc(1, size + 1); /* as long as the file said; what it grows by meanwhile is left */
    if (!bytes) {
        return complain(why, setting, path, -ENOMEM, NULL);
    }
    long length = read_all(fd, bytes, size);
    int error = 0;
    if (length < 0) {
        error = complain(why, setting, path, (int)length, NULL);
    } else if (length == 0) {
        error = complain(why, setting, path, -EINVAL, "is empty");
    } else if (strlen(bytes) != (size_t)length) {
        error = complain(why, setting, path, -EINVAL, "holds a NUL byte");
    }
    if (error) {
        explicit_bzero(bytes, size);
        free(bytes);
        return error;
    }
    *text = bytes;
    return 0;
}

static int read_file(const char *setting, const char *path, bool private, long limit, char **text,
                     char why[FG_WHY_SIZE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return complain(why, setting, path, -errno, NULL);
    }
    struct stat file;
    int error = check_file(fd, setting, path, private, &file, why);
    if (!error && file.st_size > limit) {
        char what[48];
        snprintf(what, sizeof what, "is longer than %ld bytes", limit);
        error = complain(why, setting, path, -EINVAL, what);
    }
    if (!error) {
        error = read_text(fd, setting, path, (size_t)file.st_size, text, why);
    }
    close(fd);
    return error;
}

int fg_secret_read(const char *setting, const char *path, char **secret, char why[FG_WHY_SIZE])
{
    char *text = NULL;
    int error = read_file(setting, path, true, SECRET_MAX + 2, &text, why);
    if (error || !text) {
        return error;
    }
    size_t length = strlen(text);
    if (length > 0 && text[length - 1] == '\n') {
        text[--length] = '\0';
    }
    if (length > 0 && text[length - 1] == '\r') {
        text[--length] = '\0';
    }
    if (length == 0 || length > SECRET_MAX) {
        fg_secret_free(text);
        return complain(why, setting, path, -EINVAL, length == 0 ? "is empty" : "is longer than 65535 bytes");
    }
    *secret = text;
    return 0;
}

void fg_secret_free(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
}

int fg_secret_read_pem(const char *setting, const char *path, bool private, char **text,
                       char why[FG_WHY_SIZE])
{
    return read_file(setting, path, private, PEM_MAX, text, why);
}

bool fg_secret_is_exposed(const char *path, char why[FG_WHY_SIZE])
{
    struct stat file;
    return stat(path, &file) == 0 && S_ISREG(file.st_mode) && is_open_to_all(&file, path, why);
}
