#include "publisher_secret.h"

#include "fieldgate/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_MAX 65535
#define PEM_MAX    (4u << 20)

static int complain(const char *setting, const char *path, int error, const char *what)
{
    fg_log(FG_LOG_ERROR, "mqtt.%s: %s: %s", setting, path, what ? what : strerror(-error));
    return error;
}

/* Reads up to size - 1 bytes and ends them with a NUL. Returns their number or a negative errno. */
static long read_file(const char *path, char *bytes, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return -errno;
    }
    errno = 0;
    size_t length = fread(bytes, 1, size - 1, file);
    long result = (long)length;
    if (ferror(file)) {
        result = errno ? -errno : -EIO;
    }
    fclose(file);
    bytes[length] = '\0';
    return result;
}

int fg_secret_read(const char *setting, const char *path, char **secret)
{
    char *bytes = malloc(SECRET_MAX + 3);
    if (!bytes) {
        return -ENOMEM;
    }
    long length = read_file(path, bytes, SECRET_MAX + 3);
    int error = 0;
    if (length < 0) {
        error = complain(setting, path, (int)length, NULL);
    } else if (strlen(bytes) != (size_t)length) {
        error = complain(setting, path, -EINVAL, "holds a NUL byte");
    } else {
        if (length > 0 && bytes[length - 1] == '\n') {
            bytes[--length] = '\0';
        }
        if (length > 0 && bytes[length - 1] == '\r') {
            bytes[--length] = '\0';
        }
        if (length == 0 || length > SECRET_MAX) {
            error = complain(setting, path, -EINVAL, length == 0 ? "is empty" : "is longer than 65535 bytes");
        }
    }
    if (error) {
        fg_secret_free(bytes);
        return error;
    }
    *secret = bytes;
    return 0;
}

void fg_secret_free(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
}

int fg_secret_check_pem(const char *setting, const char *path)
{
    char *bytes = malloc(PEM_MAX);
    if (!bytes) {
        return -ENOMEM;
    }
    long length = read_file(path, bytes, PEM_MAX);
    int error = 0;
    if (length < 0) {
        error = complain(setting, path, (int)length, NULL);
    } else if (!strstr(bytes, "-----BEGIN ")) {
        error = complain(setting, path, -EINVAL, "holds no PEM text (\"-----BEGIN …\")");
    }
    explicit_bzero(bytes, length > 0 ? (size_t)length : 0);
    free(bytes);
    return error;
}

int fg_secret_check_folder(const char *setting, const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        return complain(setting, path, -errno, NULL);
    }
    bool found = false;
    const struct dirent *entry;
    while (!found && (entry = readdir(folder))) {
        found = entry->d_name[0] != '.';
    }
    closedir(folder);
    return found ? 0 : complain(setting, path, -ENOENT, "is empty");
}
