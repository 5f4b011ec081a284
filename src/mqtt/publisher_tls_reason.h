/* Why TLS did not come about, in the user's terms: what is wrong, and which setting has to do with it. */
#ifndef FIELDGATE_MQTT_PUBLISHER_TLS_REASON_H
#define FIELDGATE_MQTT_PUBLISHER_TLS_REASON_H

#include "publisher_secret.h"

#include "fieldgate/publisher.h"

#include <openssl/x509_vfy.h>

/* The broker's certificate was refused; store is as OpenSSL's callback finds it. */
void fg_tls_tell_refusal(const struct fg_tls_settings *settings, const char *host, X509_STORE_CTX *store,
                         char why[FG_WHY_SIZE]);

/* From what libmosquitto logs, "OpenSSL Error[0]: error:0A000410:SSL routines::…". Other text stays. */
void fg_tls_tell_error(const struct fg_tls_settings *settings, const char *error, bool handshake,
                       char why[FG_WHY_SIZE]);

#endif
