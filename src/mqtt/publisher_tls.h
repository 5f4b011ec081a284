/*
 * TLS of the connection to the broker, as far as libmosquitto leaves it to its user. The publisher's thread
 * only, but for fg_tls_configure, which comes before it.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_TLS_H
#define FIELDGATE_MQTT_PUBLISHER_TLS_H

#include "fieldgate/publisher.h"

struct mosquitto;

/* Secrets of the TLS group; NULL where not set. */
struct fg_tls_secrets {
    char *key_password;
    char *psk; /* hexadecimal */
    char *psk_identity;
};

/* Reads and checks the files of the group. Returns 0 or a negative errno, the reason being logged. */
int fg_tls_read(const struct fg_tls_settings *settings, struct fg_tls_secrets *secrets);
void fg_tls_secrets_fini(struct fg_tls_secrets *secrets);

/* Sets up a library handle, which uses secrets from then on. key_password is libmosquitto's callback for it.
 * Returns as above. */
int fg_tls_configure(const struct fg_tls_settings *settings, struct fg_tls_secrets *secrets,
                     struct mosquitto *library, int (*key_password)(char *, int, int, void *));

enum fg_tls_progress { FG_TLS_HANDSHAKE, FG_TLS_VERIFIED, FG_TLS_UNVERIFIED };

/* How far the handshake is. VERIFIED: done, and the broker has shown who it is, by a certificate that was
 * checked or by the pre-shared key. The handshake itself sees to that; this looks once more before anything
 * is sent. */
enum fg_tls_progress fg_tls_progress(struct mosquitto *library, const struct fg_tls_settings *settings);

/* Whether the handshake waits for the socket to take more. */
bool fg_tls_wants_write(struct mosquitto *library);

#endif
