#include "support/tls_lab.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY 86400L

const char *tls_lab_path(const char *folder, const char *name, const char *ending, char path[TLS_LAB_PATH])
{
    assert_true(snprintf(path, TLS_LAB_PATH, "%s/%s%s", folder, name, ending) < TLS_LAB_PATH);
    return path;
}

static FILE *create(const char *folder, const char *name, const char *ending, unsigned mode)
{
    char path[TLS_LAB_PATH];
    FILE *file = fopen(tls_lab_path(folder, name, ending, path), "we");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), (mode_t)mode), 0);
    return file;
}

void tls_lab_write(const char *folder, const char *name, const char *text, unsigned mode,
                   char path[TLS_LAB_PATH])
{
    FILE *file = create(folder, name, "", mode);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    tls_lab_path(folder, name, "", path);
}

static X509 *load_certificate(const char *folder, const char *name)
{
    char path[TLS_LAB_PATH];
    FILE *file = fopen(tls_lab_path(folder, name, ".pem", path), "re");
    assert_non_null(file);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(certificate);
    return certificate;
}

static EVP_PKEY *load_key(const char *folder, const char *name)
{
    char path[TLS_LAB_PATH];
    FILE *file = fopen(tls_lab_path(folder, name, ".key", path), "re");
    assert_non_null(file);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(key);
    return key;
}

static void add_extension(X509 *certificate, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *make_certificate(const struct tls_lab *wanted, EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    assert_non_null(certificate);
    bool dated = wanted->from_s != 0 || wanted->until_s != 0;
    static uint64_t serial;
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), dated ? wanted->from_s : -DAY);
    X509_gmtime_adj(X509_getm_notAfter(certificate), dated ? wanted->until_s : DAY);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)wanted->name, -1, -1, 0);
    X509_set_pubkey(certificate, key);
    if (wanted->authority) {
        add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
        add_extension(certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    if (wanted->names) {
        add_extension(certificate, NID_subject_alt_name, wanted->names);
    }
    return certificate;
}

static void sign(const char *folder, const struct tls_lab *wanted, X509 *certificate, EVP_PKEY *key)
{
    if (!wanted->issuer) {
        X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
        assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
        return;
    }
    X509 *issuer = load_certificate(folder, wanted->issuer);
    EVP_PKEY *issuer_key = load_key(folder, wanted->issuer);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    assert_true(X509_sign(certificate, issuer_key, EVP_sha256()) > 0);
    EVP_PKEY_free(issuer_key);
    X509_free(issuer);
}

void tls_lab_make(const char *folder, const struct tls_lab *wanted)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    X509 *certificate = make_certificate(wanted, key);
    sign(folder, wanted, certificate, key);
    FILE *file = create(folder, wanted->name, ".pem", 0644);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(fclose(file), 0);
    file = create(folder, wanted->name, ".key", 0600);
    const EVP_CIPHER *cipher = wanted->password ? EVP_aes_128_cbc() : NULL;
    int length = wanted->password ? (int)strlen(wanted->password) : 0;
    assert_int_equal(PEM_write_PKCS8PrivateKey(file, key, cipher, wanted->password, length, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

void tls_lab_link_by_hash(const char *folder, const char *name)
{
    char target[TLS_LAB_PATH];
    char hash[24];
    char link[TLS_LAB_PATH];
    X509 *certificate = load_certificate(folder, name);
    snprintf(hash, sizeof hash, "%08lx", X509_subject_name_hash(certificate));
    X509_free(certificate);
    assert_int_equal(
        symlink(tls_lab_path(folder, name, ".pem", target), tls_lab_path(folder, hash, ".0", link)), 0);
}
