/* What the tests of TLS share: a bench with an authority, a broker with a certificate, the publisher's log.
 */
#ifndef FIELDGATE_TEST_TLS_BENCH_H
#define FIELDGATE_TEST_TLS_BENCH_H

#include "publisher_bench.h"

#include "support/tls_lab.h"

#include "fieldgate/log.h"

#include <fcntl.h>
#include <unistd.h>

#define LOCAL "IP:127.0.0.1"

static int real_stderr = -1;
static char tls_paths[8][TLS_LAB_PATH];

static const char *tls_file(const struct bench *bench, const char *name, const char *ending)
{
    static char path[TLS_LAB_PATH];
    return tls_lab_path(bench->broker.folder, name, ending, path);
}

/* The path stays as it is until the slot is used again: settings hold it. */
static char *tls_setting(const struct bench *bench, int slot, const char *name, const char *ending)
{
    tls_lab_path(bench->broker.folder, name, ending, tls_paths[slot]);
    return tls_paths[slot];
}

static int tls_set_up(void **state)
{
    assert_int_equal(bench_set_up(state), 0);
    struct bench *bench = *state;
    int fd = open(tls_file(bench, "stderr", ""), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    dup2(fd, STDERR_FILENO);
    close(fd);
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "ca", .authority = true });
    bench->tls.ca_file = tls_setting(bench, 0, "ca", ".pem");
    bench->settings.tls = &bench->tls;
    return 0;
}

static int tls_tear_down(void **state)
{
    struct bench *bench = *state;
    if (bench->publisher) {
        fg_publisher_stop(bench->publisher, 0);
        fg_publisher_free(bench->publisher);
        bench->publisher = NULL;
    }
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    FILE *log = fopen(tls_file(bench, "stderr", ""), "re");
    char line[1100];
    while (log && fgets(line, sizeof line, log)) {
        fputs(line, stderr);
    }
    if (log) {
        fclose(log);
    }
    return bench_tear_down(state);
}

static int tls_logged(const struct bench *bench, const char *text)
{
    char line[1100];
    int count = 0;
    FILE *log = fopen(tls_file(bench, "stderr", ""), "re");
    assert_non_null(log);
    while (fgets(line, sizeof line, log)) {
        count += strstr(line, text) != NULL;
    }
    fclose(log);
    return count;
}

/* A broker with the certificate NAME. */
static inline void tls_broker(struct bench *bench, const char *name, const char *extra_config)
{
    char config[400];
    snprintf(config, sizeof config, "certfile %%s/%s.pem\nkeyfile %%s/%s.key\n%s", name, name, extra_config);
    bench_broker(bench, config);
}

/* A broker with a certificate of this authority for 127.0.0.1. */
static inline void tls_good_broker(struct bench *bench, const char *extra_config)
{
    tls_lab_make(bench->broker.folder, &(struct tls_lab){ .name = "broker", .issuer = "ca", .names = LOCAL });
    tls_broker(bench, "broker", extra_config);
}

static inline bool tls_was_refused(void *context)
{
    return tls_logged(context, "trying again") > 0 || bench_stats(context).connected;
}

/* The connection fails before the broker has seen as much as a name, and the log says why. */
static inline void tls_assert_refused(struct bench *bench, const char *why)
{
    bench->settings.reconnect_min_ns = bench->settings.reconnect_max_ns = MS(50);
    bench_start(bench);
    bench_offer(bench, "base/a", "x", 1);
    assert_true(test_wait(tls_was_refused, bench, 10000));
    assert_false(bench_stats(bench).connected);
    assert_int_equal(test_broker_logged(&bench->broker, "New client connected"), 0);
    assert_int_equal(tls_logged(bench, why), 1);
}

static inline void tls_assert_connects(struct bench *bench)
{
    bench_start(bench);
    bench_offer(bench, "base/a", "x", 1);
    assert_true(test_wait(is_drained, bench, 10000));
    assert_int_equal(bench_stats(bench).acknowledged, 1);
    assert_int_equal(tls_logged(bench, "trying again"), 0);
}

#define TLS_CASE(name) cmocka_unit_test_setup_teardown(name, tls_set_up, tls_tear_down)

#endif
