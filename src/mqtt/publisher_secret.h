/*
 * Files that the connection to the broker needs: secrets, and what TLS is made of. Regular files only, so
 * that nobody waits for a pipe. What is wrong is told in why, with the setting, the path and the remedy, for
 * the caller to log. May block for the disk.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_SECRET_H
#define FIELDGATE_MQTT_PUBLISHER_SECRET_H

#include <stdbool.h>

#define FG_WHY_SIZE 512

/*
 * Reads a secret of 1..65535 bytes without NUL; one newline at its end is dropped. Returns 0 and *secret,
 * which is the caller's to give to fg_secret_free; or a negative errno. -EPERM: others can read or write it.
 * A group may, if it is root's or the daemon's own, or if it is one of the daemon's and root decided so: that
 * is how packages install keys, and how credentials of systemd look.
 */
int fg_secret_read(const char *setting, const char *path, char **secret, char why[FG_WHY_SIZE]);
void fg_secret_free(char *secret); /* wipes it */

/* The same for text of at most 4 MiB, which stays as it is; private: with the same rights as a secret. */
int fg_secret_read_pem(const char *setting, const char *path, bool private, char **text,
                       char why[FG_WHY_SIZE]);

/* Whether everybody can read or write the file, which is wrong whoever the daemon will run as; why is then
 * without a setting. False where there is no file. */
bool fg_secret_is_exposed(const char *path, char why[FG_WHY_SIZE]);

#endif
