#include "support/tempdir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void tempdir_make(char path[TEMPDIR_PATH])
{
    const char *base = getenv("TMPDIR");
    int length = snprintf(path, TEMPDIR_PATH, "%s/fg-XXXXXX", base ? base : "/tmp");
    if (length < 0 || length + 25 >= TEMPDIR_PATH) {
        snprintf(path, TEMPDIR_PATH, "/tmp/fg-XXXXXX");
    }
    if (!mkdtemp(path)) {
        path[0] = '\0';
        fail_msg("no temporary folder");
    }
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

void tempdir_remove(const char *path)
{
    if (path[0] != '\0') {
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}

void tempdir_write(const char *folder, const char *name, const void *bytes, size_t size,
                   char path[TEMPDIR_PATH])
{
    char joined[2 * TEMPDIR_PATH];
    snprintf(joined, sizeof joined, "%s/%s", folder, name);
    int fd = open(joined, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
    assert_true(strlen(joined) < TEMPDIR_PATH);
    memcpy(path, joined, strlen(joined) + 1);
}

char *tempdir_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return NULL;
    }
    char *text = NULL;
    size_t used = 0;
    FILE *memory = open_memstream(&text, &used);
    char chunk[65536];
    for (size_t got; memory && (got = fread(chunk, 1, sizeof chunk, file)) > 0;) {
        fwrite(chunk, 1, got, memory);
    }
    fclose(file);
    if (memory) {
        fclose(memory);
    }
    if (size) {
        *size = used;
    }
    return text;
}
