/* Passwords and TLS. Certificates are made here by the openssl program. */
#include "publisher_bench.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char user[] = "gw", psk_identity[] = "gateway";

static void run(const struct bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void run(const struct bench *bench, const char *format, ...)
{
    char inner[700];
    char command[900];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(inner, sizeof inner, format, arguments);
    va_end(arguments);
    snprintf(command, sizeof command, "cd %s && { %s; } >/dev/null 2>&1", bench->broker.folder, inner);
    assert_int_equal(system(command), 0);
}

static void write_file(const struct bench *bench, const char *name, const char *text, char path[128])
{
    snprintf(path, 128, "%s/%s", bench->broker.folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fchmod(fileno(file), 0600);
    fclose(file);
}

static void use_password(struct bench *bench, const char *password)
{
    run(bench, "mosquitto_passwd -c -b users gw right && chmod 600 users");
    write_file(bench, "password", password, bench->password_file);
    bench->settings.username = user;
    bench->settings.password_file = bench->password_file;
    bench_broker(bench, "allow_anonymous false\npassword_file %s/users");
}

static void the_password_comes_from_its_file(void **state)
{
    struct bench *bench = *state;
    use_password(bench, "right\n");
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 5000));
}

static bool tried_five_times(void *context)
{
    const struct bench *bench = context;
    return test_broker_logged(&bench->broker, "not authorised") >= 5;
}

static void a_wrong_password_is_tried_again_without_hammering(void **state)
{
    struct bench *bench = *state;
    bench->settings.reconnect_min_ns = MS(100);
    bench->settings.reconnect_max_ns = MS(400);
    use_password(bench, "wrong");
    long long before_ms = test_now_ms();
    bench_start(bench);
    assert_true(test_wait(tried_five_times, bench, 10000));
    /* four waits: 100..200, 200..400, 200..400, 200..400 */
    assert_true(test_now_ms() - before_ms >= 650);
    assert_false(bench_stats(bench).connected);
    assert_int_equal(bench_stats(bench).reconnects, 0);
}

static void a_missing_password_file_is_an_error_at_once(void **state)
{
    struct bench *bench = *state;
    char missing[] = "/nonexistent/password";
    bench->settings.username = user;
    bench->settings.password_file = missing;
    assert_int_equal(bench_new(bench), -ENOENT);
}

/* An authority, the broker's certificate for 127.0.0.1, and another authority that nobody uses. */
static bool make_certificates(struct bench *bench, const char *name)
{
    if (system("command -v openssl >/dev/null 2>&1") != 0) {
        print_message("the openssl program is missing: TLS is not tested\n");
        return false;
    }
    for (int i = 0; i < 2; i++) {
        const char *authority = i == 0 ? "ca" : "other";
        run(bench,
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=%s "
            "-keyout %s.key "
            "-out %s.pem",
            authority, authority, authority);
    }
    run(bench,
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=broker -keyout server.key "
        "-out "
        "server.csr && printf 'subjectAltName=%s' > ext && openssl x509 -req -in server.csr -CA ca.pem "
        "-CAkey ca.key "
        "-CAcreateserial -days 2 -extfile ext -out server.pem",
        name);
    return true;
}

static void use_tls(struct bench *bench, const char *authority)
{
    snprintf(bench->ca_file, sizeof bench->ca_file, "%s/%s.pem", bench->broker.folder, authority);
    bench->tls.ca_file = bench->ca_file;
    bench->settings.tls = &bench->tls;
    bench_broker(bench, "certfile %s/server.pem\nkeyfile %s/server.key");
}

static void readings_arrive_over_tls(void **state)
{
    struct bench *bench = *state;
    if (!make_certificates(bench, "IP:127.0.0.1")) {
        skip();
    }
    use_tls(bench, "ca");
    bench_start(bench);
    for (int i = 0; i < 1000; i++) {
        bench_offer(bench, "base/a", "x", 1 + i % 2);
    }
    assert_true(test_wait(is_drained, bench, 10000));
    assert_int_equal(bench_stats(bench).acknowledged, 1000);
    assert_int_equal(bench_stats(bench).reconnects, 0);
}

/* As the broker sees it: a handshake that failed, or a connection that was closed before any packet. */
static bool was_refused(void *context)
{
    const struct bench *bench = context;
    return test_broker_logged(&bench->broker, "127.0.0.1 failed: ") +
               test_broker_logged(&bench->broker, "Client <unknown>") >=
           2; /* one of them is the test's own, that looked whether the broker is there */
}

static void assert_never_connects(struct bench *bench)
{
    bench->settings.reconnect_min_ns = bench->settings.reconnect_max_ns = S(60);
    bench_start(bench);
    bench_offer(bench, "base/a", "x", 1);
    assert_true(test_wait(was_refused, bench, 10000));
    assert_false(bench_stats(bench).connected);
    assert_int_equal(test_broker_logged(&bench->broker, "New client connected"), 0);
}

static void a_broker_of_another_authority_is_not_talked_to(void **state)
{
    struct bench *bench = *state;
    if (!make_certificates(bench, "IP:127.0.0.1")) {
        skip();
    }
    use_tls(bench, "other");
    assert_never_connects(bench);
}

static void a_broker_of_another_name_is_not_talked_to(void **state)
{
    struct bench *bench = *state;
    if (!make_certificates(bench, "DNS:elsewhere")) {
        skip();
    }
    use_tls(bench, "ca");
    assert_never_connects(bench);
}

static void insecure_takes_another_name_but_no_other_authority(void **state)
{
    struct bench *bench = *state;
    if (!make_certificates(bench, "DNS:elsewhere")) {
        skip();
    }
    bench->tls.insecure = true;
    use_tls(bench, "ca");
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 5000));
    fg_publisher_stop(bench->publisher, S(5));
    fg_publisher_free(bench->publisher);
    bench->publisher = NULL;
    test_broker_kill(&bench->broker);
    snprintf(bench->ca_file, sizeof bench->ca_file, "%s/other.pem", bench->broker.folder);
    run(bench, "rm -f log mosquitto.db"); /* the log is counted */
    test_broker_restart(&bench->broker);
    assert_never_connects(bench);
}

static void the_systems_authorities_do_not_sign_strangers(void **state)
{
    struct bench *bench = *state;
    if (!make_certificates(bench, "IP:127.0.0.1") ||
        access("/etc/ssl/certs/ca-certificates.crt", R_OK) != 0) {
        skip();
    }
    use_tls(bench, "ca");
    bench->ca_file[0] = '\0';
    assert_never_connects(bench);
}

static void without_readable_authorities_there_is_no_publisher(void **state)
{
    struct bench *bench = *state;
    static const char *const paths[] = { "/nonexistent/ca.pem", "/dev/null", "/tmp" };
    bench->settings.tls = &bench->tls;
    bench->tls.ca_file = bench->ca_file;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        snprintf(bench->ca_file, sizeof bench->ca_file, "%s", paths[i]);
        assert_true(bench_new(bench) < 0);
        assert_null(bench->publisher);
    }
    bench->ca_file[0] = '\0';
    char nowhere[] = "/nonexistent";
    bench->tls.ca_path = nowhere;
    assert_int_equal(bench_new(bench), -ENOENT);
}

static void use_psk(struct bench *bench, const char *key)
{
    write_file(bench, "psk", key, bench->psk_file);
    bench->tls.psk_file = bench->psk_file;
    bench->tls.psk_identity = psk_identity;
    bench->settings.tls = &bench->tls;
}

static void a_shared_key_is_enough(void **state)
{
    struct bench *bench = *state;
    char path[128];
    write_file(bench, "keys", "gateway:0123456789abcdef\n", path);
    use_psk(bench, "0123456789abcdef\n");
    bench_broker(bench, "psk_hint hint\npsk_file %s/keys");
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 5000));
}

/* A man in the middle has no key, but a certificate is quickly made. */
static void a_broker_without_the_shared_key_is_not_talked_to(void **state)
{
    struct bench *bench = *state;
    if (!make_certificates(bench, "IP:127.0.0.1")) {
        skip();
    }
    use_psk(bench, "0123456789abcdef");
    bench_broker(bench, "certfile %s/server.pem\nkeyfile %s/server.key");
    assert_never_connects(bench);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(the_password_comes_from_its_file),
        CASE(a_wrong_password_is_tried_again_without_hammering),
        CASE(a_missing_password_file_is_an_error_at_once),
        CASE(readings_arrive_over_tls),
        CASE(a_broker_of_another_authority_is_not_talked_to),
        CASE(a_broker_of_another_name_is_not_talked_to),
        CASE(insecure_takes_another_name_but_no_other_authority),
        CASE(the_systems_authorities_do_not_sign_strangers),
        CASE(without_readable_authorities_there_is_no_publisher),
        CASE(a_shared_key_is_enough),
        CASE(a_broker_without_the_shared_key_is_not_talked_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
