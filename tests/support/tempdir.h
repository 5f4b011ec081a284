/* Folders of a test's own under $TMPDIR, gone with everything in them when the test ends. */
#ifndef FIELDGATE_TEST_TEMPDIR_H
#define FIELDGATE_TEST_TEMPDIR_H

#include <stddef.h>

#define TEMPDIR_PATH 108 /* short enough for socket addresses with a name behind */

/* Makes a folder, its path short enough that names of up to 24 bytes below it fit a socket address. Fails the
 * test where it cannot. */
void tempdir_make(char path[TEMPDIR_PATH]);

/* Removes the folder and all that is in it; an empty path is left alone. */
void tempdir_remove(const char *path);

/* Writes a file into the folder and gives its path. */
void tempdir_write(const char *folder, const char *name, const void *bytes, size_t size,
                   char path[TEMPDIR_PATH]);

/* The whole of a file as text with a NUL behind (free it), NULL where there is none. */
char *tempdir_read(const char *path, size_t *size);

#endif
