#include "publisher_tls_files.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int complain(char why[FG_WHY_SIZE], const char *setting, const char *path, const char *what)
{
    snprintf(why, FG_WHY_SIZE, "%s: %s: %s", setting, path, what);
    return -EINVAL;
}

/* What OpenSSL asks for passwords; it would ask at the terminal if there were nobody. */
static int on_password(char *buffer, int size, int writing, void *context)
{
    const char *password = context;
    size_t length = password ? strlen(password) : 0;
    (void)writing;
    if (size <= 0 || length > (size_t)size) {
        return -1;
    }
    memcpy(buffer, password ? password : "", length);
    return (int)length;
}

/* Whether reading ended where there was nothing more, and not at something broken. */
static bool at_end(void)
{
    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

static int read_certificates(const char *setting, const char *path, STACK_OF(X509) * *certificates,
                             char why[FG_WHY_SIZE])
{
    char *text = NULL;
    int error = fg_secret_read_pem(setting, path, false, &text, why);
    if (error) {
        return error;
    }
    BIO *bio = BIO_new_mem_buf(text, -1);
    STACK_OF(X509) *read = sk_X509_new_null();
    bool memory = bio && read;
    X509 *certificate = NULL;
    while (memory && (certificate = PEM_read_bio_X509_AUX(bio, NULL, on_password, NULL))) {
        memory = sk_X509_push(read, certificate) > 0;
        if (!memory) {
            X509_free(certificate);
        }
    }
    bool good = memory && at_end() && sk_X509_num(read) > 0;
    BIO_free(bio);
    free(text);
    if (!good) {
        sk_X509_pop_free(read, X509_free);
        return memory ? complain(why, setting, path, "holds no certificate (PEM), or a broken one")
                      : complain(why, setting, path, strerror(ENOMEM));
    }
    *certificates = read;
    return 0;
}

/* --- authorities --- */

static int add_file(X509_STORE *store, const char *path, char why[FG_WHY_SIZE])
{
    STACK_OF(X509) *certificates = NULL;
    int error = read_certificates("tls.ca_file", path, &certificates, why);
    for (int i = 0; !error && i < sk_X509_num(certificates); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(certificates, i)) != 1) {
            error = complain(why, "tls.ca_file", path, "cannot be used");
        }
    }
    sk_X509_pop_free(certificates, X509_free);
    return error;
}

/* OpenSSL finds an authority in a folder by a name of this form only: "1a2b3c4d.0". */
static bool is_link_by_hash(const char *name)
{
    size_t hash = strspn(name, "0123456789abcdef");
    return hash == 8 && name[8] == '.' && name[9] >= '0' && name[9] <= '9';
}

static int look_into(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        return -errno;
    }
    bool found = false;
    const struct dirent *entry;
    while (!found && (entry = readdir(folder))) {
        found = is_link_by_hash(entry->d_name);
    }
    closedir(folder);
    return found;
}

static int add_folder(X509_STORE *store, const char *path, char why[FG_WHY_SIZE])
{
    int found = look_into(path);
    if (found < 0) {
        complain(why, "tls.ca_path", path, strerror(-found));
        return found;
    }
    if (found == 0) {
        snprintf(why, FG_WHY_SIZE, "tls.ca_path: %s: holds no links by hash: openssl rehash %s", path, path);
        return -EINVAL;
    }
    return X509_STORE_load_path(store, path) == 1 ? 0 : complain(why, "tls.ca_path", path, "cannot be used");
}

/* Where nobody is trusted nothing can be verified, and it is better to say so at once. */
static int add_system(X509_STORE *store, char why[FG_WHY_SIZE])
{
    const char *file = getenv(X509_get_default_cert_file_env());
    const char *folder = getenv(X509_get_default_cert_dir_env());
    file = file ? file : X509_get_default_cert_file();
    folder = folder ? folder : X509_get_default_cert_dir();
    if (access(file, R_OK) != 0 && look_into(folder) <= 0) {
        return complain(why, "tls", folder,
                        "the system has no authorities; install ca-certificates or set tls.ca_file");
    }
    return X509_STORE_set_default_paths(store) == 1 ? 0 : complain(why, "tls", folder, "cannot be used");
}

static int read_authorities(const struct fg_tls_settings *settings, X509_STORE **authorities,
                            char why[FG_WHY_SIZE])
{
    X509_STORE *store = X509_STORE_new();
    if (!store) {
        snprintf(why, FG_WHY_SIZE, "tls: %s", strerror(ENOMEM));
        return -ENOMEM;
    }
    int error = 0;
    if (settings->ca_file[0]) {
        error = add_file(store, settings->ca_file, why);
    }
    if (!error && settings->ca_path[0]) {
        error = add_folder(store, settings->ca_path, why);
    }
    if (!error && !settings->ca_file[0] && !settings->ca_path[0]) {
        error = add_system(store, why);
    }
    if (error) {
        X509_STORE_free(store);
        return error;
    }
    *authorities = store;
    return 0;
}

/* --- a certificate of our own --- */

static int open_key(const struct fg_tls_settings *settings, char *text, char *password, EVP_PKEY **key,
                    char why[FG_WHY_SIZE])
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *opened = bio ? PEM_read_bio_PrivateKey(bio, NULL, on_password, password) : NULL;
    BIO_free(bio);
    if (opened) {
        *key = opened;
        return 0;
    }
    const char *what = !strstr(text, "ENCRYPTED") ? "holds no private key (PEM), or a broken one"
                       : password                 ? "is not opened by the password in tls.key_password_file"
                                                  : "is encrypted: set tls.key_password_file";
    return complain(why, "tls.key_file", settings->key_file, what);
}

static int read_key(const struct fg_tls_settings *settings, EVP_PKEY **key, char why[FG_WHY_SIZE])
{
    char *password = NULL;
    char *text = NULL;
    int error = 0;
    if (settings->key_password_file[0]) {
        error = fg_secret_read("tls.key_password_file", settings->key_password_file, &password, why);
    }
    if (!error) {
        error = fg_secret_read_pem("tls.key_file", settings->key_file, true, &text, why);
    }
    if (!error) {
        error = open_key(settings, text, password, key, why);
    }
    fg_secret_free(text);
    fg_secret_free(password);
    return error;
}

static int read_certificate(const struct fg_tls_settings *settings, struct fg_tls_files *files,
                            char why[FG_WHY_SIZE])
{
    int error = read_certificates("tls.cert_file", settings->cert_file, &files->chain, why);
    if (error) {
        return error;
    }
    files->certificate = sk_X509_shift(files->chain);
    error = read_key(settings, &files->key, why);
    if (!error && X509_check_private_key(files->certificate, files->key) != 1) {
        error = complain(why, "tls.key_file", settings->key_file,
                         "is not the key of the certificate in tls.cert_file");
    }
    return error;
}

static int read_psk(const struct fg_tls_settings *settings, char **psk, char why[FG_WHY_SIZE])
{
    char *text = NULL;
    int error = fg_secret_read("tls.psk_file", settings->psk_file, &text, why);
    if (error) {
        return error;
    }
    size_t digits = strspn(text, "0123456789abcdefABCDEF");
    if (text[digits] != '\0' || digits % 2 != 0 || digits / 2 > PSK_MAX_PSK_LEN) {
        fg_secret_free(text);
        snprintf(why, FG_WHY_SIZE, "tls.psk_file: %s: is no key of 1..%d bytes in hexadecimal",
                 settings->psk_file, PSK_MAX_PSK_LEN);
        return -EINVAL;
    }
    *psk = text;
    return 0;
}

int fg_tls_files_read(const struct fg_tls_settings *settings, struct fg_tls_files *files,
                      char why[FG_WHY_SIZE])
{
    struct fg_tls_files read = { 0 };
    int error = settings->psk_file[0] ? read_psk(settings, &read.psk, why)
                                      : read_authorities(settings, &read.authorities, why);
    if (!error && settings->cert_file[0]) {
        error = read_certificate(settings, &read, why);
    }
    ERR_clear_error(); /* the next call into OpenSSL would take what is left for its own */
    if (error) {
        fg_tls_files_fini(&read);
        return error;
    }
    *files = read;
    return 0;
}

void fg_tls_files_fini(struct fg_tls_files *files)
{
    X509_STORE_free(files->authorities);
    X509_free(files->certificate);
    sk_X509_pop_free(files->chain, X509_free);
    EVP_PKEY_free(files->key);
    fg_secret_free(files->psk);
    *files = (struct fg_tls_files){ 0 };
}
