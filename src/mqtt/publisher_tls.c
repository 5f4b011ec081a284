#include "publisher_tls.h"

#include "publisher_secret.h"

#include "fieldgate/log.h"

#include <errno.h>
#include <mosquitto.h>
#include <openssl/ssl.h>
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
    if (!error && secrets->psk && strspn(secrets->psk, "0123456789abcdefABCDEF") != strlen(secrets->psk)) {
        fg_log(FG_LOG_ERROR, "mqtt.tls.psk_file: %s: is not hexadecimal", settings->psk_file);
        error = -EINVAL;
    }
    return error;
}

void fg_tls_secrets_fini(struct fg_tls_secrets *secrets)
{
    fg_secret_free(secrets->key_password);
    fg_secret_free(secrets->psk);
    *secrets = (struct fg_tls_secrets){ 0 };
}

/* A handle without any of CA file, CA path, system store or key would connect in the clear, so one is always
 * set. */
static int set_trust(const struct fg_tls_settings *settings, const struct fg_tls_secrets *secrets,
                     struct mosquitto *library, int (*key_password)(char *, int, int, void *))
{
    if (secrets->psk) {
        /* Suites that show a certificate besides are left out: it could not be told from a stranger's. */
        return mosquitto_tls_psk_set(library, secrets->psk, settings->psk_identity, "kPSK:kECDHEPSK:kDHEPSK");
    }
    const char *ca_file = set(settings->ca_file);
    const char *ca_path = set(settings->ca_path);
    int result = MOSQ_ERR_SUCCESS;
    if (!ca_file && !ca_path) {
        /* mosquitto_tls_set insists on one of the two; the folder is the one that the system's store is. */
        ca_path = "/etc/ssl/certs";
        result = mosquitto_int_option(library, MOSQ_OPT_TLS_USE_OS_CERTS, 1);
        if (!result && fg_secret_check_folder("tls: the system's certificates", ca_path) != 0) {
            return MOSQ_ERR_TLS;
        }
    }
    return result ? result
                  : mosquitto_tls_set(library, ca_file, ca_path, set(settings->cert_file),
                                      set(settings->key_file), key_password);
}

int fg_tls_configure(const struct fg_tls_settings *settings, const struct fg_tls_secrets *secrets,
                     struct mosquitto *library, int (*key_password)(char *, int, int, void *))
{
    /* The versions first: they would take back the suites of a pre-shared key. */
    int result = mosquitto_tls_opts_set(library, VERIFY_PEER, versions[settings->min_version == 1], NULL);
    if (!result) {
        result = set_trust(settings, secrets, library, key_password);
    }
    if (!result && set(settings->alpn)) {
        result = mosquitto_string_option(library, MOSQ_OPT_TLS_ALPN, settings->alpn);
    }
    if (!result) {
        result = mosquitto_tls_insecure_set(library, settings->insecure);
    }
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
