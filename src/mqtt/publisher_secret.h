/*
 * Files that the connection to the broker needs: secrets, and what TLS is made of. Read once, when a
 * publisher is made. Problems are logged here, with the setting and the path. May block for the disk.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_SECRET_H
#define FIELDGATE_MQTT_PUBLISHER_SECRET_H

/* Reads a secret of 1..65535 bytes without NUL; one newline at its end is dropped. Returns 0 and *secret,
 * which is the caller's to give to fg_secret_free; or a negative errno. */
int fg_secret_read(const char *setting, const char *path, char **secret);
void fg_secret_free(char *secret); /* wipes it */

/* Whether path is a readable file that holds PEM text. Returns 0 or a negative errno. */
int fg_secret_check_pem(const char *setting, const char *path);

/* Whether path is a readable folder with at least one file. Returns 0 or a negative errno. */
int fg_secret_check_folder(const char *setting, const char *path);

#endif
