/*
 * TLS of the connection to the broker. libmosquitto is given a context that is made here, and does no more
 * than call OpenSSL: with its own it goes on trusting authorities that were replaced, compares names in its
 * own way (a wildcard can stand for a number of an address), and verifies nothing with a pre-shared key.
 *
 * The publisher's thread only, but for fg_tls_new, which comes before it. What fails is told in why, without
 * "mqtt." before it.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_TLS_H
#define FIELDGATE_MQTT_PUBLISHER_TLS_H

#include "publisher_secret.h"

#include "fieldgate/publisher.h"

struct mosquitto;
struct fg_tls;

/* Reads and checks the files of the group, and gives library a context, which lasts as long as the longer of
 * the two. The settings are copied. Returns 0 or a negative errno. */
int fg_tls_new(const struct fg_tls_settings *settings, struct mosquitto *library, struct fg_tls **tls,
               char why[FG_WHY_SIZE]);
void fg_tls_free(struct fg_tls *tls);

/* Before each connect: reads the files anew, and sets the name or address that the broker's certificate is to
 * be made out to. Returns 0 or a negative errno: there must be no connect then. Blocks for the disk. */
int fg_tls_prepare(struct fg_tls *tls, const char *host, char why[FG_WHY_SIZE]);

enum fg_tls_progress { FG_TLS_HANDSHAKE, FG_TLS_VERIFIED, FG_TLS_UNVERIFIED };

/* How far the handshake is. VERIFIED: done, and the broker has shown who it is, by a certificate that was
 * checked or by the pre-shared key. The handshake itself sees to that; this looks once more before anything
 * is sent. */
enum fg_tls_progress fg_tls_progress(const struct fg_tls *tls, struct mosquitto *library);

/* Whether the handshake waits for the socket to take more. */
bool fg_tls_wants_write(struct mosquitto *library);

/* Says in the user's terms why a connection failed; error is what the library logged. handshake: it was not
 * over yet. */
void fg_tls_explain(const struct fg_tls *tls, const char *error, bool handshake, char why[FG_WHY_SIZE]);

#endif
