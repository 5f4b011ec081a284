/* The laboratory of certificates that a broker, or somebody in its place, can show. */
#include "tls_bench.h"

#include <dlfcn.h>
#include <netdb.h>

#define YEAR TLS_LAB_YEAR

/* Names of a zone of the tests' own are this machine. The library's calls come here, too. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    bool ours = name && strstr(name, ".example.test");
    return next(ours ? "127.0.0.1" : name, service, hints, result);
}

static void call(struct bench *bench, const char *host)
{
    snprintf(bench->first_address, sizeof bench->first_address, "%s:%d", host, bench->broker.port);
}

static void show(struct bench *bench, const struct tls_lab *certificate)
{
    tls_lab_make(bench->broker.folder, certificate);
    tls_broker(bench, certificate->name, "");
}

static void a_good_certificate_is_taken(void **state)
{
    struct bench *bench = *state;
    call(bench, "broker.example.test");
    show(bench, &(struct tls_lab){ .name = "good", .issuer = "ca", .names = "DNS:broker.example.test" });
    tls_assert_connects(bench);
}

static void an_expired_certificate_is_refused(void **state)
{
    struct bench *bench = *state;
    show(bench, &(struct tls_lab){
                    .name = "old", .issuer = "ca", .names = LOCAL, .from_s = -2 * YEAR, .until_s = -YEAR });
    tls_assert_refused(bench, "the broker's certificate \"old\" has expired");
}

static void a_certificate_of_the_future_is_refused_and_the_clock_suspected(void **state)
{
    struct bench *bench = *state;
    show(bench, &(struct tls_lab){
                    .name = "new", .issuer = "ca", .names = LOCAL, .from_s = YEAR, .until_s = 2 * YEAR });
    tls_assert_refused(bench, "the broker's certificate \"new\" is not valid yet; is the clock right?");
}

static void a_self_signed_certificate_is_refused(void **state)
{
    struct bench *bench = *state;
    show(bench, &(struct tls_lab){ .name = "self", .names = LOCAL });
    tls_assert_refused(bench, "the broker's certificate \"self\" is signed by no authority");
}

static void a_self_signed_certificate_can_be_trusted_by_name(void **state)
{
    struct bench *bench = *state;
    show(bench, &(struct tls_lab){ .name = "self", .names = LOCAL });
    bench->tls.ca_file = tls_setting(bench, 0, "self", ".pem");
    tls_assert_connects(bench);
}

static void a_certificate_of_another_authority_is_refused(void **state)
{
    struct bench *bench = *state;
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "other", .authority = true });
    show(bench, &(struct tls_lab){ .name = "stranger", .issuer = "other", .names = LOCAL });
    tls_assert_refused(bench, "the broker's certificate \"stranger\" is signed by no authority of ");
}

/* Of the same name, which is easily had. */
static void an_authority_that_only_has_the_name_is_refused(void **state)
{
    struct bench *bench = *state;
    show(bench, &(struct tls_lab){ .name = "broker", .issuer = "ca", .names = LOCAL });
    test_broker_kill(&bench->broker);
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "ca", .authority = true });
    unlink(tls_file(bench, "log", ""));
    test_broker_restart(&bench->broker);
    tls_assert_refused(bench, "certificate");
}

static void a_certificate_signed_by_one_that_may_not_is_refused(void **state)
{
    struct bench *bench = *state;
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "middle", .issuer = "ca", .names = LOCAL });
    tls_lab_make(bench->broker.folder,
                 &(struct tls_lab){ .name = "leaf", .issuer = "middle", .names = LOCAL });
    char command[300];
    snprintf(command, sizeof command, "cd %s && cat leaf.pem middle.pem >chain.pem && cp leaf.key chain.key",
             bench->broker.folder);
    assert_int_equal(system(command), 0);
    tls_broker(bench, "chain", "");
    tls_assert_refused(bench, "certificate");
}

static void a_certificate_of_another_name_is_refused(void **state)
{
    struct bench *bench = *state;
    call(bench, "broker.example.test");
    show(bench,
         &(struct tls_lab){ .name = "other", .issuer = "ca", .names = "DNS:other.example.test," LOCAL });
    tls_assert_refused(bench,
                       "the broker's certificate \"other\" is not made out to \"broker.example.test\"");
}

static void a_certificate_of_another_address_is_refused(void **state)
{
    struct bench *bench = *state;
    show(bench, &(struct tls_lab){ .name = "other", .issuer = "ca", .names = "IP:127.0.0.2,DNS:localhost" });
    tls_assert_refused(bench, "the broker's certificate \"other\" is not made out to \"127.0.0.1\"");
}

static void an_address_in_a_certificate_is_taken(void **state)
{
    struct bench *bench = *state;
    show(bench, &(struct tls_lab){ .name = "address", .issuer = "ca", .names = "DNS:elsewhere," LOCAL });
    tls_assert_connects(bench);
}

static void a_wildcard_stands_for_one_label(void **state)
{
    struct bench *bench = *state;
    call(bench, "broker.example.test");
    show(bench, &(struct tls_lab){ .name = "wild", .issuer = "ca", .names = "DNS:*.example.test" });
    tls_assert_connects(bench);
}

static void a_wildcard_does_not_stand_for_two_labels(void **state)
{
    struct bench *bench = *state;
    call(bench, "a.broker.example.test");
    show(bench, &(struct tls_lab){ .name = "wild", .issuer = "ca", .names = "DNS:*.example.test" });
    tls_assert_refused(bench, "not made out to");
}

static void a_wildcard_does_not_stand_for_a_number_of_an_address(void **state)
{
    struct bench *bench = *state;
    show(bench, &(struct tls_lab){ .name = "wild", .issuer = "ca", .names = "DNS:*.0.0.1" });
    tls_assert_refused(bench, "not made out to");
}

static void a_dot_at_the_end_of_the_name_changes_nothing(void **state)
{
    struct bench *bench = *state;
    call(bench, "broker.example.test.");
    show(bench, &(struct tls_lab){ .name = "good", .issuer = "ca", .names = "DNS:broker.example.test" });
    tls_assert_connects(bench);
}

static void each_address_of_a_list_is_verified_by_its_own_name(void **state)
{
    struct bench *bench = *state;
    call(bench, "first.example.test");
    snprintf(bench->second_address, sizeof bench->second_address, "second.example.test:%d",
             bench->broker.port);
    bench->settings.address.count = 2;
    show(bench, &(struct tls_lab){ .name = "second", .issuer = "ca", .names = "DNS:second.example.test" });
    bench_start(bench);
    assert_true(test_wait(is_connected, bench, 10000));
    assert_int_equal(tls_logged(bench, "is not made out to \"first.example.test\""), 1);
    assert_int_equal(test_broker_logged(&bench->broker, "New client connected"), 1);
}

static void an_expired_authority_is_refused(void **state)
{
    struct bench *bench = *state;
    tls_lab_make(bench->broker.folder,
                 &(struct tls_lab){ .name = "ca", .authority = true, .from_s = -2 * YEAR, .until_s = -YEAR });
    show(bench, &(struct tls_lab){ .name = "broker", .issuer = "ca", .names = LOCAL });
    tls_assert_refused(bench, "the authority's certificate \"ca\" has expired");
}

static int warnings(const struct bench *bench)
{
    return tls_logged(bench, "the name in its certificate is not checked (tls.insecure)");
}

static bool warned_twice(void *context)
{
    return warnings(context) == 2;
}

static void insecure_warns_at_each_connect(void **state)
{
    struct bench *bench = *state;
    bench->tls.insecure = true;
    show(bench, &(struct tls_lab){ .name = "other", .issuer = "ca", .names = "DNS:elsewhere" });
    tls_assert_connects(bench);
    assert_int_equal(warnings(bench), 1);
    test_broker_stop(&bench->broker);
    test_broker_restart(&bench->broker);
    assert_true(test_wait(warned_twice, bench, 10000));
}

static void insecure_trusts_no_other_authority(void **state)
{
    struct bench *bench = *state;
    bench->tls.insecure = true;
    show(bench, &(struct tls_lab){ .name = "self", .names = LOCAL });
    tls_assert_refused(bench, "the broker's certificate \"self\" is signed by no authority");
}

static void insecure_takes_no_expired_certificate(void **state)
{
    struct bench *bench = *state;
    bench->tls.insecure = true;
    show(bench, &(struct tls_lab){
                    .name = "old", .issuer = "ca", .names = LOCAL, .from_s = -2 * YEAR, .until_s = -YEAR });
    tls_assert_refused(bench, "has expired");
}

static void a_broker_without_tls_is_not_talked_to(void **state)
{
    struct bench *bench = *state;
    bench_broker(bench, "");
    tls_assert_refused(bench, "trying again");
}

static bool tried_five_times(void *context)
{
    return test_broker_logged(context, "New connection from") >= 5 + 1; /* one is the test's own */
}

static void a_broker_that_is_refused_is_tried_again_without_hammering(void **state)
{
    struct bench *bench = *state;
    bench->settings.reconnect_min_ns = MS(100);
    bench->settings.reconnect_max_ns = MS(400);
    show(bench, &(struct tls_lab){ .name = "self", .names = LOCAL });
    long long before_ms = test_now_ms();
    bench_start(bench);
    assert_true(test_wait(tried_five_times, &bench->broker, 20000));
    /* four waits: 100..200, 200..400, 200..400, 200..400 */
    assert_true(test_now_ms() - before_ms >= 650);
    assert_int_equal(tls_logged(bench, "signed by no authority"), 1); /* not once for each try */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_CASE(a_good_certificate_is_taken),
        TLS_CASE(an_expired_certificate_is_refused),
        TLS_CASE(a_certificate_of_the_future_is_refused_and_the_clock_suspected),
        TLS_CASE(a_self_signed_certificate_is_refused),
        TLS_CASE(a_self_signed_certificate_can_be_trusted_by_name),
        TLS_CASE(a_certificate_of_another_authority_is_refused),
        TLS_CASE(an_authority_that_only_has_the_name_is_refused),
        TLS_CASE(a_certificate_signed_by_one_that_may_not_is_refused),
        TLS_CASE(a_certificate_of_another_name_is_refused),
        TLS_CASE(a_certificate_of_another_address_is_refused),
        TLS_CASE(an_address_in_a_certificate_is_taken),
        TLS_CASE(a_wildcard_stands_for_one_label),
        TLS_CASE(a_wildcard_does_not_stand_for_two_labels),
        TLS_CASE(a_wildcard_does_not_stand_for_a_number_of_an_address),
        TLS_CASE(a_dot_at_the_end_of_the_name_changes_nothing),
        TLS_CASE(each_address_of_a_list_is_verified_by_its_own_name),
        TLS_CASE(an_expired_authority_is_refused),
        TLS_CASE(insecure_warns_at_each_connect),
        TLS_CASE(insecure_trusts_no_other_authority),
        TLS_CASE(insecure_takes_no_expired_certificate),
        TLS_CASE(a_broker_without_tls_is_not_talked_to),
        TLS_CASE(a_broker_that_is_refused_is_tried_again_without_hammering),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
