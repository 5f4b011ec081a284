/* What TLS is made of: authorities, keys and secrets in files, and what becomes of these later. */
#include "tls_bench.h"

#include "support/daemon.h"

#include <errno.h>
#include <sys/stat.h>

#define YEAR TLS_LAB_YEAR

static char psk_identity[] = "gateway", user[] = "gw";

static char *write_setting(const struct bench *bench, int slot, const char *name, const char *text,
                           unsigned mode)
{
    tls_lab_write(bench->broker.folder, name, text, mode, tls_paths[slot]);
    return tls_paths[slot];
}

/* --- authorities --- */

/* With the setting and the path in the log, and nothing begun. */
static void assert_no_publisher(struct bench *bench, const char *setting, const char *path, const char *why)
{
    char text[300];
    snprintf(text, sizeof text, "mqtt.%s: %s: %s", setting, path, why);
    assert_true(bench_new(bench) < 0);
    assert_null(bench->publisher);
    assert_int_equal(tls_logged(bench, text), 1);
}

static void an_empty_file_of_authorities_is_an_error(void **state)
{
    struct bench *bench = *state;
    bench->tls.ca_file = write_setting(bench, 0, "empty", "", 0644);
    assert_no_publisher(bench, "tls.ca_file", bench->tls.ca_file, "is empty");
}

static void garbage_in_place_of_authorities_is_an_error(void **state)
{
    struct bench *bench = *state;
    bench->tls.ca_file = write_setting(bench, 0, "garbage", "garbage\n", 0644);
    assert_no_publisher(bench, "tls.ca_file", bench->tls.ca_file, "holds no certificate");
}

static void garbage_between_the_lines_of_a_certificate_is_an_error(void **state)
{
    struct bench *bench = *state;
    bench->tls.ca_file = write_setting(bench, 0, "garbage",
                                       "-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n"
                                       "-----END CERTIFICATE-----\n",
                                       0644);
    assert_no_publisher(bench, "tls.ca_file", bench->tls.ca_file, "holds no certificate");
}

static void a_folder_in_place_of_authorities_is_an_error(void **state)
{
    struct bench *bench = *state;
    bench->tls.ca_file = bench->broker.folder;
    assert_no_publisher(bench, "tls.ca_file", bench->tls.ca_file, "Is a directory");
}

static void a_pipe_in_place_of_authorities_holds_nobody_up(void **state)
{
    struct bench *bench = *state;
    bench->tls.ca_file = tls_setting(bench, 0, "pipe", "");
    assert_int_equal(mkfifo(bench->tls.ca_file, 0600), 0);
    assert_no_publisher(bench, "tls.ca_file", bench->tls.ca_file, "is no file");
}

static void authorities_that_cannot_be_read_are_an_error(void **state)
{
    struct bench *bench = *state;
    if (geteuid() == 0) {
        skip(); /* root reads everything */
    }
    bench->tls.ca_file = write_setting(bench, 0, "closed", "x", 0000);
    assert_no_publisher(bench, "tls.ca_file", bench->tls.ca_file, "Permission denied");
}

static char *folder_of_authorities(struct bench *bench)
{
    char *folder = tls_setting(bench, 1, "authorities", "");
    assert_int_equal(mkdir(folder, 0755), 0);
    tls_lab_make(folder, &(struct tls_lab){ .name = "ca", .authority = true });
    bench->tls.ca_file = text_empty;
    bench->tls.ca_path = folder;
    return folder;
}

static void a_folder_of_authorities_is_enough(void **state)
{
    struct bench *bench = *state;
    char *folder = folder_of_authorities(bench);
    tls_lab_link_by_hash(folder, "ca");
    tls_lab_make(folder, &(struct tls_lab){ .name = "broker", .issuer = "ca", .names = LOCAL });
    tls_broker(bench, "authorities/broker", "");
    tls_assert_connects(bench);
}

static void a_folder_that_was_not_prepared_is_an_error(void **state)
{
    struct bench *bench = *state;
    char *folder = folder_of_authorities(bench);
    assert_no_publisher(bench, "tls.ca_path", folder, "holds no links by hash: openssl rehash ");
}

static bool connected_twice(void *context)
{
    return test_broker_logged(context, "New client connected") == 2;
}

/* With a publisher that was connected, and is cut off for as long as somebody is at its files. */
static void begin_outage(struct bench *bench)
{
    bench->settings.reconnect_min_ns = bench->settings.reconnect_max_ns = MS(50);
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 10000));
    test_broker_stop(&bench->broker);
    assert_true(test_wait(is_disconnected, bench, 10000));
}

struct expected {
    const struct bench *bench;
    const char *text;
};

static bool has_logged(void *context)
{
    const struct expected *expected = context;
    return tls_logged(expected->bench, expected->text) > 0;
}

static void assert_stays_away(struct bench *bench, const char *why)
{
    test_broker_restart(&bench->broker);
    assert_true(test_wait(has_logged, &(struct expected){ bench, why }, 10000));
    /* It goes on trying, and nothing comes of it. */
    struct timespec some_tries = { .tv_nsec = 300000000 };
    nanosleep(&some_tries, NULL);
    assert_false(bench_stats(bench).connected);
    assert_int_equal(test_broker_logged(&bench->broker, "New client connected"), 1);
    assert_int_equal(tls_logged(bench, why), 1);
}

static void assert_comes_back(struct bench *bench)
{
    assert_true(test_wait(connected_twice, &bench->broker, 10000));
}

static void authorities_that_are_emptied_later_let_nobody_in_until_they_are_back(void **state)
{
    struct bench *bench = *state;
    char path[TLS_LAB_PATH];
    tls_good_broker(bench, "");
    begin_outage(bench);
    rename(tls_file(bench, "ca", ".pem"), tls_lab_path(bench->broker.folder, "kept", "", path));
    tls_lab_write(bench->broker.folder, "ca.pem", "", 0644, (char[TLS_LAB_PATH]){ 0 });
    assert_stays_away(bench, "ca.pem: is empty");
    assert_int_equal(rename(path, tls_file(bench, "ca", ".pem")), 0);
    assert_comes_back(bench);
}

static void authorities_that_vanish_later_let_nobody_in_until_they_are_back(void **state)
{
    struct bench *bench = *state;
    char path[TLS_LAB_PATH];
    tls_good_broker(bench, "");
    begin_outage(bench);
    rename(tls_file(bench, "ca", ".pem"), tls_lab_path(bench->broker.folder, "kept", "", path));
    assert_stays_away(bench, "ca.pem: No such file or directory");
    assert_int_equal(rename(path, tls_file(bench, "ca", ".pem")), 0);
    assert_comes_back(bench);
}

static void an_authority_that_was_replaced_is_not_trusted_any_more(void **state)
{
    struct bench *bench = *state;
    tls_good_broker(bench, "");
    begin_outage(bench);
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "other", .authority = true });
    assert_int_equal(
        system((snprintf(tls_paths[7], TLS_LAB_PATH, "cd %s && cp other.pem ca.pem", bench->broker.folder),
                tls_paths[7])),
        0);
    assert_stays_away(bench, "is signed by no authority of ");
}

static void a_new_authority_is_trusted_without_a_restart(void **state)
{
    struct bench *bench = *state;
    tls_good_broker(bench, "");
    begin_outage(bench);
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "ca", .authority = true });
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "broker", .issuer = "ca", .names = LOCAL });
    test_broker_restart(&bench->broker);
    assert_comes_back(bench);
}

/* --- the gateway's own certificate --- */

static void ask_for_certificates(struct bench *bench)
{
    tls_good_broker(bench, "cafile %s/ca.pem\nrequire_certificate true");
}

static void present(struct bench *bench, const struct tls_lab *certificate)
{
    tls_lab_make(bench->broker.folder, certificate);
    bench->tls.cert_file = tls_setting(bench, 2, certificate->name, ".pem");
    bench->tls.key_file = tls_setting(bench, 3, certificate->name, ".key");
}

/* The broker closes while the publisher may still be writing, so now and then its words are lost: a later try
 * hears them. */
static void assert_refused_by_broker(struct bench *bench, const char *why)
{
    bench->settings.reconnect_min_ns = bench->settings.reconnect_max_ns = MS(50);
    bench_start(bench);
    bench_offer(bench, "base/a", "x", 1);
    assert_true(test_wait(has_logged, &(struct expected){ bench, why }, 10000));
    assert_false(bench_stats(bench).connected);
    assert_int_equal(test_broker_logged(&bench->broker, "New client connected"), 0);
}

static void a_broker_that_asks_for_a_certificate_gets_it(void **state)
{
    struct bench *bench = *state;
    ask_for_certificates(bench);
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    tls_assert_connects(bench);
}

static void a_broker_that_asks_for_a_certificate_in_vain_is_understood(void **state)
{
    struct bench *bench = *state;
    ask_for_certificates(bench);
    assert_refused_by_broker(bench, "the broker asks for a certificate: set tls.cert_file and tls.key_file");
}

static void a_foreign_certificate_that_the_broker_refuses_is_named(void **state)
{
    struct bench *bench = *state;
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "other", .authority = true });
    ask_for_certificates(bench);
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "other" });
    assert_refused_by_broker(bench,
                             "client.pem: the broker refused this certificate: tlsv1 alert unknown ca");
}

static void an_expired_certificate_that_the_broker_refuses_is_named(void **state)
{
    struct bench *bench = *state;
    ask_for_certificates(bench);
    present(bench,
            &(struct tls_lab){ .name = "client", .issuer = "ca", .from_s = -2 * YEAR, .until_s = -YEAR });
    assert_refused_by_broker(
        bench, "client.pem: the broker refused this certificate: sslv3 alert certificate expired");
}

static void a_renewed_certificate_is_used_without_a_restart(void **state)
{
    struct bench *bench = *state;
    ask_for_certificates(bench);
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    begin_outage(bench);
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    test_broker_restart(&bench->broker);
    assert_comes_back(bench);
}

static void a_key_with_a_password_is_opened(void **state)
{
    struct bench *bench = *state;
    ask_for_certificates(bench);
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca", .password = "open sesame" });
    bench->tls.key_password_file = write_setting(bench, 4, "secret", "open sesame\n", 0600);
    tls_assert_connects(bench);
}

static void a_wrong_password_of_a_key_is_an_error(void **state)
{
    struct bench *bench = *state;
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca", .password = "open sesame" });
    bench->tls.key_password_file = write_setting(bench, 4, "secret", "open barley\n", 0600);
    assert_no_publisher(bench, "tls.key_file", bench->tls.key_file,
                        "is not opened by the password in tls.key_password_file");
}

static void a_key_without_its_password_is_an_error(void **state)
{
    struct bench *bench = *state;
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca", .password = "open sesame" });
    assert_no_publisher(bench, "tls.key_file", bench->tls.key_file,
                        "is encrypted: set tls.key_password_file");
}

static void a_key_of_another_certificate_is_an_error(void **state)
{
    struct bench *bench = *state;
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "other" });
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    bench->tls.key_file = tls_setting(bench, 3, "other", ".key");
    assert_no_publisher(bench, "tls.key_file", bench->tls.key_file,
                        "is not the key of the certificate in tls.cert_file");
}

/* --- secrets that others can read --- */

static const char chmod_text[] = "others can read it: chmod 600 ";

static void a_key_that_others_can_read_is_an_error(void **state)
{
    struct bench *bench = *state;
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    assert_int_equal(chmod(bench->tls.key_file, 0644), 0);
    assert_no_publisher(bench, "tls.key_file", bench->tls.key_file, chmod_text);
}

static void a_key_that_others_can_write_is_an_error(void **state)
{
    struct bench *bench = *state;
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    assert_int_equal(chmod(bench->tls.key_file, 0602), 0);
    assert_no_publisher(bench, "tls.key_file", bench->tls.key_file, "others can write it: chmod 600 ");
}

static void a_password_of_a_key_that_others_can_read_is_an_error(void **state)
{
    struct bench *bench = *state;
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca", .password = "open sesame" });
    bench->tls.key_password_file = write_setting(bench, 4, "secret", "open sesame\n", 0604);
    assert_no_publisher(bench, "tls.key_password_file", bench->tls.key_password_file, chmod_text);
}

static void a_shared_key_that_others_can_read_is_an_error(void **state)
{
    struct bench *bench = *state;
    bench->tls.ca_file = text_empty;
    bench->tls.psk_identity = psk_identity;
    bench->tls.psk_file = write_setting(bench, 5, "psk", "0123456789abcdef\n", 0644);
    assert_no_publisher(bench, "tls.psk_file", bench->tls.psk_file, chmod_text);
}

static void a_password_that_others_can_read_is_an_error(void **state)
{
    struct bench *bench = *state;
    bench->settings.username = user;
    bench->settings.password_file = write_setting(bench, 5, "password", "secret\n", 0644);
    assert_no_publisher(bench, "password_file", bench->settings.password_file, chmod_text);
}

static void a_key_that_a_strange_group_can_read_is_an_error(void **state)
{
    struct bench *bench = *state;
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    if (chown(bench->tls.key_file, (uid_t)-1, 54321) != 0) {
        skip(); /* only root may give files away */
    }
    assert_int_equal(chmod(bench->tls.key_file, 0640), 0);
    assert_no_publisher(bench, "tls.key_file", bench->tls.key_file, "group 54321 can read it: chmod 600 ");
}

/* As packages install it, and as systemd hands out credentials where there are access lists. */
static void a_key_that_the_daemons_own_group_can_read_is_taken(void **state)
{
    struct bench *bench = *state;
    ask_for_certificates(bench);
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    assert_int_equal(chown(bench->tls.key_file, (uid_t)-1, getegid()), 0);
    assert_int_equal(chmod(bench->tls.key_file, 0440), 0);
    tls_assert_connects(bench);
}

static void a_key_that_others_can_read_later_is_not_used_until_that_is_mended(void **state)
{
    struct bench *bench = *state;
    ask_for_certificates(bench);
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    begin_outage(bench);
    assert_int_equal(chmod(bench->tls.key_file, 0644), 0);
    assert_stays_away(bench, chmod_text);
    assert_int_equal(chmod(bench->tls.key_file, 0600), 0);
    assert_comes_back(bench);
}

static void the_check_tells_of_a_key_that_others_can_read(void **state)
{
    struct bench *bench = *state;
    char text[1000];
    char output[2000];
    char config[TLS_LAB_PATH];
    present(bench, &(struct tls_lab){ .name = "client", .issuer = "ca" });
    assert_int_equal(chmod(bench->tls.key_file, 0644), 0);
    snprintf(text, sizeof text,
             "mqtt: { tls: { cert_file = \"%s\";\n key_file = \"%s\"; }; };\n"
             "ports = ({ name = \"a\"; transport: { type = \"udp\"; udp_port = 9000; }; });\n",
             bench->tls.cert_file, bench->tls.key_file);
    tls_lab_write(bench->broker.folder, "cfg", text, 0644, config);
    const char *const arguments[] = { "--check", "-c", config, NULL };
    int status = daemon_run(arguments, 10000, output, sizeof output);
    if (status != 78 || !strstr(output, "mqtt.tls.key_file") || !strstr(output, chmod_text)) {
        fail_msg("%d: %s", status, output);
    }
    assert_int_equal(chmod(bench->tls.key_file, 0600), 0);
    status = daemon_run(arguments, 10000, output, sizeof output);
    if (status != 0) {
        fail_msg("%d: %s", status, output);
    }
}

/* --- shared keys --- */

static void share(struct bench *bench, const char *brokers, const char *ours)
{
    char keys[TLS_LAB_PATH];
    tls_lab_write(bench->broker.folder, "keys", brokers, 0600, keys);
    bench->tls.ca_file = text_empty;
    bench->tls.psk_identity = psk_identity;
    bench->tls.psk_file = write_setting(bench, 5, "psk", ours, 0600);
    bench_broker(bench, "psk_hint hint\npsk_file %s/keys");
}

static void a_shared_key_is_taken(void **state)
{
    struct bench *bench = *state;
    share(bench, "gateway:0123456789abcdef\n", "0123456789abcdef\n");
    tls_assert_connects(bench);
}

static void a_wrong_shared_key_is_named(void **state)
{
    struct bench *bench = *state;
    share(bench, "gateway:0123456789abcdef\n", "fedcba9876543210\n");
    tls_assert_refused(bench, "the broker does not take the pre-shared key \"gateway\" of ");
}

static void a_shared_key_with_an_unknown_name_is_named(void **state)
{
    struct bench *bench = *state;
    share(bench, "nobody:0123456789abcdef\n", "0123456789abcdef\n");
    tls_assert_refused(bench, "the broker does not take the pre-shared key \"gateway\" of ");
}

static void a_renewed_shared_key_is_used_without_a_restart(void **state)
{
    struct bench *bench = *state;
    share(bench, "gateway:0123456789abcdef\n", "0123456789abcdef\n");
    begin_outage(bench);
    char keys[TLS_LAB_PATH];
    tls_lab_write(bench->broker.folder, "keys", "gateway:aa55\n", 0600, keys);
    write_setting(bench, 5, "psk", "aa55\n", 0600);
    test_broker_restart(&bench->broker);
    assert_comes_back(bench);
}

static void a_shared_key_that_is_no_hexadecimal_is_an_error(void **state)
{
    struct bench *bench = *state;
    bench->tls.ca_file = text_empty;
    bench->tls.psk_identity = psk_identity;
    bench->tls.psk_file = write_setting(bench, 5, "psk", "0123456789abcde\n", 0600);
    assert_no_publisher(bench, "tls.psk_file", bench->tls.psk_file, "is no key of ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_CASE(an_empty_file_of_authorities_is_an_error),
        TLS_CASE(garbage_in_place_of_authorities_is_an_error),
        TLS_CASE(garbage_between_the_lines_of_a_certificate_is_an_error),
        TLS_CASE(a_folder_in_place_of_authorities_is_an_error),
        TLS_CASE(a_pipe_in_place_of_authorities_holds_nobody_up),
        TLS_CASE(authorities_that_cannot_be_read_are_an_error),
        TLS_CASE(a_folder_of_authorities_is_enough),
        TLS_CASE(a_folder_that_was_not_prepared_is_an_error),
        TLS_CASE(authorities_that_are_emptied_later_let_nobody_in_until_they_are_back),
        TLS_CASE(authorities_that_vanish_later_let_nobody_in_until_they_are_back),
        TLS_CASE(an_authority_that_was_replaced_is_not_trusted_any_more),
        TLS_CASE(a_new_authority_is_trusted_without_a_restart),
        TLS_CASE(a_broker_that_asks_for_a_certificate_gets_it),
        TLS_CASE(a_broker_that_asks_for_a_certificate_in_vain_is_understood),
        TLS_CASE(a_foreign_certificate_that_the_broker_refuses_is_named),
        TLS_CASE(an_expired_certificate_that_the_broker_refuses_is_named),
        TLS_CASE(a_renewed_certificate_is_used_without_a_restart),
        TLS_CASE(a_key_with_a_password_is_opened),
        TLS_CASE(a_wrong_password_of_a_key_is_an_error),
        TLS_CASE(a_key_without_its_password_is_an_error),
        TLS_CASE(a_key_of_another_certificate_is_an_error),
        TLS_CASE(a_key_that_others_can_read_is_an_error),
        TLS_CASE(a_key_that_others_can_write_is_an_error),
        TLS_CASE(a_password_of_a_key_that_others_can_read_is_an_error),
        TLS_CASE(a_shared_key_that_others_can_read_is_an_error),
        TLS_CASE(a_password_that_others_can_read_is_an_error),
        TLS_CASE(a_key_that_a_strange_group_can_read_is_an_error),
        TLS_CASE(a_key_that_the_daemons_own_group_can_read_is_taken),
        TLS_CASE(a_key_that_others_can_read_later_is_not_used_until_that_is_mended),
        TLS_CASE(the_check_tells_of_a_key_that_others_can_read),
        TLS_CASE(a_shared_key_is_taken),
        TLS_CASE(a_wrong_shared_key_is_named),
        TLS_CASE(a_shared_key_with_an_unknown_name_is_named),
        TLS_CASE(a_renewed_shared_key_is_used_without_a_restart),
        TLS_CASE(a_shared_key_that_is_no_hexadecimal_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
