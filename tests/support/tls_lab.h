/*
 * Certificates of a test's own, made at run time: NAME.pem and NAME.key in a folder. Keys are EC P-256, so
 * that making one takes a millisecond. Failures end the test.
 */
#ifndef FIELDGATE_TEST_TLS_LAB_H
#define FIELDGATE_TEST_TLS_LAB_H

#include <stdbool.h>

#define TLS_LAB_PATH 128
#define TLS_LAB_YEAR (365L * 86400)

struct tls_lab {
    const char *name;     /* of the files, and the common name */
    const char *issuer;   /* the name of one that was made before in this folder; NULL: itself */
    const char *names;    /* as OpenSSL's subjectAltName: "DNS:broker,IP:127.0.0.1"; NULL: none */
    bool authority;       /* may sign others */
    long from_s, until_s; /* seconds from now; both 0: from yesterday to tomorrow */
    const char *password; /* of the key file; NULL: none */
};

void tls_lab_make(const char *folder, const struct tls_lab *wanted);

/* The path of NAME with that ending (".pem", ".key"). */
const char *tls_lab_path(const char *folder, const char *name, const char *ending, char path[TLS_LAB_PATH]);

/* Writes a file and sets its mode, whatever the umask is. */
void tls_lab_write(const char *folder, const char *name, const char *text, unsigned mode,
                   char path[TLS_LAB_PATH]);

/* Makes the link that OpenSSL finds an authority by in a folder of such. */
void tls_lab_link_by_hash(const char *folder, const char *name);

#endif
