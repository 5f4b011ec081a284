/*
 * What TLS is made of, read from the files of the group. Read anew before each connect: what was renewed is
 * used, and what was withdrawn or spoilt is not. May block for the disk.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_TLS_FILES_H
#define FIELDGATE_MQTT_PUBLISHER_TLS_FILES_H

#include "publisher_secret.h"

#include "fieldgate/publisher.h"

#include <openssl/x509.h>

struct fg_tls_files {
    X509_STORE *authorities;
    X509 *certificate; /* NULL without one of our own, as chain and key */
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    char *psk; /* hexadecimal; in place of all the others */
};

/* Returns 0 or a negative errno, with why; files is then empty. */
int fg_tls_files_read(const struct fg_tls_settings *settings, struct fg_tls_files *files,
                      char why[FG_WHY_SIZE]);
void fg_tls_files_fini(struct fg_tls_files *files);

#endif
