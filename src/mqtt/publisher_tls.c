#include "publisher_tls.h"

#include "publisher_secret.h"

#include "fieldgate/log.h"

#include <errno.h>
#include <mosquitto.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

static const char *const versions[] = { "tlsv1.2", "tlsv1.3" };

/* libmosquitto's name for "verify the peer": OpenSSL's SSL_VERIFY_PEER. */
#define VERIFY_PEER 1

static const char *set(const char *text)
{
    return text && text[0] ? text : NULL;
}

static int check_files(const struct fg_tls_settings *settings)
{
    int error = 0;
    if (set(settings->ca_file)) {
        error = fg_secret_check_pem("tls.ca_file", settings->ca_file);
    }
    if (!error && set(settings->ca_path)) {
        error = fg_secret_check_folder("tls.ca_path", settings->ca_path);
    }
    if (!error && set(settings->cert_file)) {
        error = fg_secret_check_pem("tls.cert_file", settings->cert_file);
    }
    if (!error && set(settings->key_file)) {
        error = fg_secret_check_pem("tls.key_file", settings->key_file);
    }
    return error;
}

int fg_tls_read(const struct fg_tls_settings *settings, struct fg_tls_secrets *secrets)
{
    int error = check_files(settings);
    if (!error && set(settings->key_password_file)) {
        error = fg_secret_read("tls.key_password_file", settings->key_password_file, &secrets->key_password);
    }
    if (!error && set(settings->psk_file)) {
        error = fg_secret_read("tls.psk_file", settings->psk_file, &secrets->psk);
    }
    if (!error && secrets->psk) {
        size_t digits = strspn(secrets->psk, "0123456789abcdefABCDEF");
        secrets->psk_identity = strdup(settings->psk_identity);
        if (secrets->psk[digits] != '\0' || digits % 2 != 0 || digits / 2 > PSK_MAX_PSK_LEN) {
            fg_log(FG_LOG_ERROR, "mqtt.tls.psk_file: %s: is no key of 1..%d bytes in hexadecimal",
                   settings->psk_file, PSK_MAX_PSK_LEN);
            error = -EINVAL;
        } else if (!secrets->psk_identity) {
            error = -ENOMEM;
        }
    }
    return error;
}

void fg_tls_secrets_fini(struct fg_tls_secrets *secrets)
{
    fg_secret_free(secrets->key_password);
    fg_secret_free(secrets->psk);
    free(secrets->psk_identity);
    *secrets = (struct fg_tls_secrets){ 0 };
}

static int nibble(char digit)
{
    return digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10;
}

/* OpenSSL asks for identity and key; the secrets stand in the context's data. */
static unsigned int on_psk(SSL *ssl, const char *hint, char *identity, unsigned int max_identity,
                           unsigned char *psk, unsigned int max_psk)
{
    const struct fg_tls_secrets *secrets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    (void)hint;
    size_t bytes = strlen(secrets->psk) / 2;
    if (strlen(secrets->psk_identity) >= max_identity || bytes > max_psk) {
        return 0;
    }
    memcpy(identity, secrets->psk_identity, strlen(secrets->psk_identity) + 1);
    for (size_t i = 0; i < bytes; i++) {
        psk[i] = (unsigned char)(nibble(secrets->psk[2 * i]) << 4 | nibble(secrets->psk[2 * i + 1]));
    }
    return (unsigned int)bytes;
}

static bool set_up_psk(SSL_CTX *context, const struct fg_tls_settings *settings,
                       struct fg_tls_secrets *secrets)
{
    unsigned char alpn[256];
    size_t length = strlen(settings->alpn);
    alpn[0] = (unsigned char)length;
    memcpy(alpn + 1, settings->alpn, length + 1);
    SSL_CTX_set_app_data(context, secrets);
    SSL_CTX_set_psk_client_callback(context, on_psk);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return SSL_CTX_set_min_proto_version(context,
                                         settings->min_version == 1 ? TLS1_3_VERSION : TLS1_2_VERSION) &&
           SSL_CTX_set_cipher_list(context, "kPSK:kECDHEPSK:kDHEPSK") &&
           (length == 0 || SSL_CTX_set_alpn_protos(context, alpn, (unsigned int)length + 1) == 0);
}

/*
 * libmosquitto's own way with a pre-shared key verifies nothing: a stranger that shows any certificate
 * instead of knowing the key is talked to, password and all. So the context is made here, with nobody
 * trusted: a certificate fails the handshake, and only the key is left.
 */
static int set_psk(const struct fg_tls_settings *settings, struct fg_tls_secrets *secrets,
                   struct mosquitto *library)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) {
        return MOSQ_ERR_NOMEM;
    }
    int result = set_up_psk(context, settings, secrets) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_TLS;
    if (!result) {
        result = mosquitto_int_option(library, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
    }
    if (!result) {
        result = mosquitto_void_option(library, MOSQ_OPT_SSL_CTX, context);
    }
    SSL_CTX_free(context); /* the library has a reference */
    return result;
}

/* A handle without any of CA file, CA path and system store would connect in the clear, so one is always set.
 */
static int set_trust(const struct fg_tls_settings *settings, struct mosquitto *library,
                     int (*key_password)(char *, int, int, void *))
{
    const char *ca_file = set(settings->ca_file);
    const char *ca_path = set(settings->ca_path);
    int result = mosquitto_tls_opts_set(library, VERIFY_PEER, versions[settings->min_version == 1], NULL);
    if (!result && !ca_file && !ca_path) {
        /* mosquitto_tls_set insists on one of the two; the folder is the one that the system's store is. */
        ca_path = "/etc/ssl/certs";
        result = mosquitto_int_option(library, MOSQ_OPT_TLS_USE_OS_CERTS, 1);
        if (!result && fg_secret_check_folder("tls: the system's certificates", ca_path) != 0) {
            return MOSQ_ERR_TLS;
        }
    }
    if (!result) {
        result = mosquitto_tls_set(library, ca_file, ca_path, set(settings->cert_file),
                                   set(settings->key_file), key_password);
    }
    if (!result && set(settings->alpn)) {
        result = mosquitto_string_option(library, MOSQ_OPT_TLS_ALPN, settings->alpn);
    }
    return result ? result : mosquitto_tls_insecure_set(library, settings->insecure);
}

int fg_tls_configure(const struct fg_tls_settings *settings, struct fg_tls_secrets *secrets,
                     struct mosquitto *library, int (*key_password)(char *, int, int, void *))
{
    int result =
        secrets->psk ? set_psk(settings, secrets, library) : set_trust(settings, library, key_password);
    if (result) {
        fg_log(FG_LOG_ERROR, "mqtt.tls: cannot be set up: %s", mosquitto_strerror(result));
        return result == MOSQ_ERR_NOMEM ? -ENOMEM : -EINVAL;
    }
    return 0;
}

enum fg_tls_progress fg_tls_progress(struct mosquitto *library, const struct fg_tls_settings *settings)
{
    SSL *ssl = mosquitto_ssl_get(library);
    if (!ssl) {
        return FG_TLS_UNVERIFIED;
    }
    if (!SSL_is_init_finished(ssl)) {
        return FG_TLS_HANDSHAKE;
    }
    X509 *certificate = SSL_get_peer_certificate(ssl);
    bool verified =
        set(settings->psk_file) ? !certificate : certificate && SSL_get_verify_result(ssl) == X509_V_OK;
    X509_free(certificate);
    return verified ? FG_TLS_VERIFIED : FG_TLS_UNVERIFIED;
}

bool fg_tls_wants_write(struct mosquitto *library)
{
    SSL *ssl = mosquitto_ssl_get(library);
    return ssl && SSL_want_write(ssl);
}
