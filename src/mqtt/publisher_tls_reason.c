#include "publisher_tls_reason.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The setting that says who is trusted, and its value. */
static const char *trusted(const struct fg_tls_settings *settings, char *text, size_t size)
{
    if (settings->ca_file[0]) {
        snprintf(text, size, "tls.ca_file %s", settings->ca_file);
    } else if (settings->ca_path[0]) {
        snprintf(text, size, "tls.ca_path %s", settings->ca_path);
    } else {
        snprintf(text, size, "the system's; set tls.ca_file");
    }
    return text;
}

static void tell_certificate(const struct fg_tls_settings *settings, const char *host, int error,
                             const char *certificate, char why[FG_WHY_SIZE])
{
    char authorities[FG_WHY_SIZE / 2];
    trusted(settings, authorities, sizeof authorities);
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        snprintf(why, FG_WHY_SIZE, "%s has expired", certificate);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        snprintf(why, FG_WHY_SIZE, "%s is not valid yet; is the clock right?", certificate);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        snprintf(why, FG_WHY_SIZE, "%s is not made out to \"%s\"", certificate, host);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        snprintf(why, FG_WHY_SIZE, "%s is signed by no authority of %s", certificate, authorities);
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        snprintf(why, FG_WHY_SIZE, "%s is none of %s", certificate, authorities);
        break;
    default:
        snprintf(why, FG_WHY_SIZE, "%s is refused: %s", certificate, X509_verify_cert_error_string(error));
        break;
    }
}

void fg_tls_tell_refusal(const struct fg_tls_settings *settings, const char *host, X509_STORE_CTX *store,
                         char why[FG_WHY_SIZE])
{
    if (settings->psk_file[0]) {
        snprintf(why, FG_WHY_SIZE, "the broker shows a certificate instead of knowing the pre-shared key");
        return;
    }
    char name[80] = "";
    char certificate[128];
    const X509 *shown = X509_STORE_CTX_get_current_cert(store);
    if (shown) {
        X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, name, sizeof name);
    }
    const char *whose = X509_STORE_CTX_get_error_depth(store) == 0 ? "broker" : "authority";
    snprintf(certificate, sizeof certificate, "the %s's certificate \"%s\"", whose, name);
    tell_certificate(settings, host, X509_STORE_CTX_get_error(store), certificate, why);
}

static bool is_alert(int reason)
{
    return reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256;
}

/* Alerts that say what the other side thinks of a certificate (RFC 8446, 6.2). */
static bool is_about_certificate(int reason)
{
    switch (reason - SSL_AD_REASON_OFFSET) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
        return true;
    default:
        return false;
    }
}

static void tell_reason(const struct fg_tls_settings *settings, int reason, const char *text, bool handshake,
                        char why[FG_WHY_SIZE])
{
    if (reason == SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION || reason == SSL_R_UNSUPPORTED_PROTOCOL) {
        snprintf(why, FG_WHY_SIZE, "the broker speaks no version of TLS that tls.min_version takes: %s",
                 text);
    } else if (handshake &&
               (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
        snprintf(why, FG_WHY_SIZE, "no TLS came about: %s; does the broker speak TLS on this port?", text);
    } else if (settings->psk_file[0] && is_alert(reason)) {
        snprintf(why, FG_WHY_SIZE,
                 "the broker does not take the pre-shared key \"%s\" of tls.psk_file %s: %s",
                 settings->psk_identity, settings->psk_file, text);
    } else if (settings->cert_file[0] && is_about_certificate(reason)) {
        snprintf(why, FG_WHY_SIZE, "tls.cert_file: %s: the broker refused this certificate: %s",
                 settings->cert_file, text);
    } else if (reason == SSL_AD_REASON_OFFSET + TLS13_AD_CERTIFICATE_REQUIRED && !settings->cert_file[0]) {
        snprintf(why, FG_WHY_SIZE, "the broker asks for a certificate: set tls.cert_file and tls.key_file");
    } else if (reason == SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE && !settings->cert_file[0]) {
        snprintf(why, FG_WHY_SIZE, "TLS: %s; brokers that ask for a certificate (tls.cert_file) can say this",
                 text);
    } else {
        snprintf(why, FG_WHY_SIZE, "TLS: %s", text);
    }
}

void fg_tls_tell_error(const struct fg_tls_settings *settings, const char *error, bool handshake,
                       char why[FG_WHY_SIZE])
{
    const char *code = strstr(error, "error:");
    if (strncmp(error, "OpenSSL Error[", 14) != 0 || !code) {
        snprintf(why, FG_WHY_SIZE, "%s", error);
        return;
    }
    unsigned long number = strtoul(code + strlen("error:"), NULL, 16);
    const char *text = strrchr(error, ':') + 1;
    int reason = ERR_GET_LIB(number) == ERR_LIB_SSL ? ERR_GET_REASON(number) : 0;
    tell_reason(settings, reason, text, handshake, why);
}
