#include "publisher_tls.h"

#include "publisher_tls_files.h"
#include "publisher_tls_reason.h"

#include <arpa/inet.h>
#include <errno.h>
#include <mosquitto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fg_tls {
    struct fg_tls_settings settings; /* copies */
    SSL_CTX *context;
    struct fg_tls_files files; /* of the last connect; the authorities are the context's */
    char host[256];
    char refusal[FG_WHY_SIZE]; /* why the broker's certificate was refused in this connect, or "" */
};

static char **texts_of(struct fg_tls_settings *settings, size_t i)
{
    char **const texts[] = { &settings->ca_file,  &settings->ca_path,      &settings->cert_file,
                             &settings->key_file, &settings->psk_identity, &settings->key_password_file,
                             &settings->alpn,     &settings->psk_file };
    return i < sizeof texts / sizeof texts[0] ? texts[i] : NULL;
}

static bool copy_settings(struct fg_tls *tls, const struct fg_tls_settings *settings)
{
    bool copied = true;
    char **text;
    tls->settings = *settings;
    for (size_t i = 0; (text = texts_of(&tls->settings, i)); i++) {
        *text = strdup(*text ? *text : "");
        copied = copied && *text;
    }
    return copied;
}

static int nibble(char digit)
{
    return digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10;
}

static unsigned int on_psk(SSL *ssl, const char *hint, char *identity, unsigned int max_identity,
                           unsigned char *psk, unsigned int max_psk)
{
    const struct fg_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const char *name = tls->settings.psk_identity;
    const char *digits = tls->files.psk;
    (void)hint;
    size_t bytes = digits ? strlen(digits) / 2 : 0;
    if (strlen(name) >= max_identity || bytes > max_psk) {
        return 0;
    }
    memcpy(identity, name, strlen(name) + 1);
    for (size_t i = 0; i < bytes; i++) {
        psk[i] = (unsigned char)(nibble(digits[2 * i]) << 4 | nibble(digits[2 * i + 1]));
    }
    return (unsigned int)bytes;
}

/* The broker asks for a certificate. Given for each connection and not to the context, which would keep an
 * old one beside a new one with another kind of key. */
static int on_certificate(SSL *ssl, void *context)
{
    const struct fg_tls *tls = context;
    return !tls->files.certificate ||
           SSL_use_cert_and_key(ssl, tls->files.certificate, tls->files.key, tls->files.chain, 1) == 1;
}

static int on_verify(int good, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct fg_tls *tls = ssl ? SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)) : NULL;
    if (!good && tls && !tls->refusal[0]) {
        fg_tls_tell_refusal(&tls->settings, tls->host, store, tls->refusal);
    }
    return good;
}

static bool set_up_context(struct fg_tls *tls)
{
    SSL_CTX *context = tls->context;
    unsigned char alpn[256];
    size_t length = strlen(tls->settings.alpn);
    if (length >= sizeof alpn) {
        return false;
    }
    alpn[0] = (unsigned char)length;
    memcpy(alpn + 1, tls->settings.alpn, length);
    SSL_CTX_set_app_data(context, tls);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, on_verify);
    SSL_CTX_set_cert_cb(context, on_certificate, tls);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    if (tls->settings.psk_file[0]) {
        /* With nobody trusted: a certificate fails the handshake, and only the key is left. */
        SSL_CTX_set_psk_client_callback(context, on_psk);
        if (SSL_CTX_set_cipher_list(context, "kPSK:kECDHEPSK:kDHEPSK") != 1) {
            return false;
        }
    }
    int oldest = tls->settings.min_version == 1 ? TLS1_3_VERSION : TLS1_2_VERSION;
    return SSL_CTX_set_min_proto_version(context, oldest) == 1 &&
           (length == 0 || SSL_CTX_set_alpn_protos(context, alpn, (unsigned int)length + 1) == 0);
}

static int set_up(struct fg_tls *tls, struct mosquitto *library, char why[FG_WHY_SIZE])
{
    tls->context = SSL_CTX_new(TLS_client_method());
    if (!tls->context || !set_up_context(tls)) {
        ERR_clear_error();
        snprintf(why, FG_WHY_SIZE, "tls: cannot be set up");
        return tls->context ? -EINVAL : -ENOMEM;
    }
    int result = mosquitto_int_option(library, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
    if (!result) {
        result = mosquitto_void_option(library, MOSQ_OPT_SSL_CTX, tls->context);
    }
    if (result) {
        snprintf(why, FG_WHY_SIZE, "tls: cannot be set up: %s", mosquitto_strerror(result));
        return -EINVAL;
    }
    return fg_tls_files_read(&tls->settings, &tls->files, why);
}

int fg_tls_new(const struct fg_tls_settings *settings, struct mosquitto *library, struct fg_tls **result,
               char why[FG_WHY_SIZE])
{
    struct fg_tls *tls = calloc(1, sizeof *tls);
    int error = -ENOMEM;
    snprintf(why, FG_WHY_SIZE, "tls: %s", strerror(ENOMEM));
    if (tls && copy_settings(tls, settings)) {
        error = set_up(tls, library, why);
    }
    if (error) {
        fg_tls_free(tls);
        return error;
    }
    *result = tls;
    return 0;
}

void fg_tls_free(struct fg_tls *tls)
{
    if (!tls) {
        return;
    }
    char **text;
    for (size_t i = 0; (text = texts_of(&tls->settings, i)); i++) {
        free(*text);
    }
    SSL_CTX_free(tls->context);
    fg_tls_files_fini(&tls->files);
    free(tls);
}

/* The host without what is no part of a name: the root's dot ("broker.lan.") and a zone ("fe80::1%eth0"). */
static void keep_host(struct fg_tls *tls, const char *host)
{
    snprintf(tls->host, sizeof tls->host, "%s", host);
    tls->host[strcspn(tls->host, "%")] = '\0';
    size_t length = strlen(tls->host);
    if (length > 1 && tls->host[length - 1] == '.') {
        tls->host[length - 1] = '\0';
    }
}

static bool set_name(struct fg_tls *tls)
{
    X509_VERIFY_PARAM *wanted = SSL_CTX_get0_param(tls->context);
    unsigned char address[sizeof(struct in6_addr)];
    size_t size = inet_pton(AF_INET, tls->host, address) == 1    ? sizeof(struct in_addr)
                  : inet_pton(AF_INET6, tls->host, address) == 1 ? sizeof(struct in6_addr)
                                                                 : 0;
    bool name = size == 0 && !tls->settings.insecure;
    bool number = size > 0 && !tls->settings.insecure;
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(wanted, name ? tls->host : NULL, 0) == 1 &&
           X509_VERIFY_PARAM_set1_ip(wanted, number ? address : NULL, number ? size : 0) == 1 &&
           (!name || tls->host[0]);
}

int fg_tls_prepare(struct fg_tls *tls, const char *host, char why[FG_WHY_SIZE])
{
    struct fg_tls_files files;
    int error = fg_tls_files_read(&tls->settings, &files, why);
    if (error) {
        return error;
    }
    fg_tls_files_fini(&tls->files);
    tls->files = files;
    tls->refusal[0] = '\0';
    keep_host(tls, host);
    if (!files.psk) {
        SSL_CTX_set_cert_store(tls->context, files.authorities);
        tls->files.authorities = NULL;
    }
    if (!files.psk && !set_name(tls)) {
        ERR_clear_error();
        snprintf(why, FG_WHY_SIZE, "tls: no certificate can be made out to \"%s\"", host);
        return -EINVAL;
    }
    return 0;
}

enum fg_tls_progress fg_tls_progress(const struct fg_tls *tls, struct mosquitto *library)
{
    SSL *ssl = mosquitto_ssl_get(library);
    if (!ssl || SSL_get_SSL_CTX(ssl) != tls->context) {
        return FG_TLS_UNVERIFIED;
    }
    if (!SSL_is_init_finished(ssl)) {
        return FG_TLS_HANDSHAKE;
    }
    X509 *certificate = SSL_get_peer_certificate(ssl);
    bool verified = tls->files.psk ? !certificate : certificate && SSL_get_verify_result(ssl) == X509_V_OK;
    X509_free(certificate);
    return verified ? FG_TLS_VERIFIED : FG_TLS_UNVERIFIED;
}

bool fg_tls_wants_write(struct mosquitto *library)
{
    SSL *ssl = mosquitto_ssl_get(library);
    return ssl && SSL_want_write(ssl);
}

void fg_tls_explain(const struct fg_tls *tls, const char *error, bool handshake, char why[FG_WHY_SIZE])
{
    if (tls->refusal[0]) {
        snprintf(why, FG_WHY_SIZE, "%s", tls->refusal);
    } else {
        fg_tls_tell_error(&tls->settings, error, handshake, why);
    }
}
