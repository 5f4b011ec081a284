/*
 * Unix sockets that have a path. The socket comes into being under a name beside the path, gets its mode,
 * listens, and only then takes the path's name: nobody finds it half made. What is in the way goes only when
 * it is a socket that nobody serves. Any thread; nothing waits.
 */
#ifndef FIELDGATE_UNIX_FILE_H
#define FIELDGATE_UNIX_FILE_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* The longest path: the temporary name has a dot and eight digits more. */
#define FG_UNIX_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof ".00000000")

/* Which file we made, zeroed before the first use. */
struct fg_unix_file {
    bool ours;
    dev_t device;
    ino_t inode;
};

/*
 * Makes a socket of type SOCK_STREAM, which listens, or SOCK_DGRAM; its file has exactly this mode, and never
 * a wider one. Returns a descriptor (non-blocking, close-on-exec) and fills *file; or a negative errno:
 * -EADDRINUSE when somebody serves the path, *server is then the process where it can be known, else 0
 * (server may be NULL); -EEXIST when it is no socket.
 */
int fg_unix_file_make(const char *path, int type, mode_t mode, struct fg_unix_file *file, pid_t *server);

/* Removes the path when it is still the socket that we made. */
void fg_unix_file_remove(struct fg_unix_file *file, const char *path);

#endif
