#include "support/e2e.h"

#include "support/arrivals.h"

#include "fieldgate/event_model.h"

#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define PATIENCE_MS 10000
#define MODELS_MAX  8
#define TESTS_MAX   64

/* A test of one model, as cmocka is given it. */
struct item {
    const struct e2e_test *test;
    const char *model;
    struct e2e *e2e;
};

static int set_up(void **state)
{
    struct item *item = *state;
    struct e2e *e2e = calloc(1, sizeof *e2e);
    assert_non_null(e2e);
    item->e2e = e2e;
    e2e->model = item->model;
    e2e->subscriber.fd = -1;
    e2e->stats_interval = "100ms";
    e2e->queue_bytes = "4MiB";
    e2e->shutdown_timeout = "5s";
    e2e->gateway_more = "";
    e2e->mqtt_more = "";
    tempdir_make(e2e->folder);
    e2e_broker_init(&e2e->broker, e2e->folder);
    return 0;
}

static void run(void **state)
{
    struct item *item = *state;
    item->test->run(item->e2e);
    if (item->e2e->daemon.pid > 0) {
        assert_int_equal(daemon_stop(&item->e2e->daemon, PATIENCE_MS), 0);
    }
    item->e2e->passed = true;
}

static int tear_down(void **state)
{
    struct item *item = *state;
    struct e2e *e2e = item->e2e;
    int status;
    if (e2e->daemon.pid > 0 && waitpid(e2e->daemon.pid, &status, WNOHANG) == e2e->daemon.pid) {
        fprintf(stderr, "the daemon ended by itself: %s %d\n", WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        e2e->daemon.pid = 0;
    }
    daemon_kill(&e2e->daemon);
    if (!e2e->passed) {
        daemon_show_log(&e2e->daemon);
    }
    load_stop(&e2e->load);
    load_join(&e2e->load);
    for (size_t i = 0; i < e2e->pty_count; i++) {
        pty_unplug(&e2e->ptys[i]);
    }
    subscriber_close(&e2e->subscriber);
    e2e_broker_kill(&e2e->broker);
    tempdir_remove(e2e->folder);
    free(e2e);
    item->e2e = NULL;
    return 0;
}

static void cannot_run_here(void **state)
{
    print_message("event model %s\n", (const char *)*state);
    skip();
}

/* A model that the kernel, or an emulator, does not grant is a skipped test and not a silent gap. */
static void show_skipped(const char *group, const char *model, const char *why)
{
    char name[96];
    char about[320];
    snprintf(name, sizeof name, "%s[%s]", group, model);
    snprintf(about, sizeof about, "%s cannot run here: %s", model, why);
    const struct CMUnitTest skipped = { name, cannot_run_here, NULL, NULL, about };
    _cmocka_run_group_tests(name, &skipped, 1, NULL, NULL);
}

/* The models to run: those that the environment names, or all that the daemon has and that can run here. */
static size_t choose_models(const char *group, const char *models[MODELS_MAX])
{
    static char chosen[256];
    const char *wanted = getenv("FG_TEST_EVENT_MODELS");
    size_t count = 0;
    if (!wanted) {
        for (size_t i = 0; fg_models[i] && count < MODELS_MAX; i++) {
            char why[256] = "";
            if (fg_models[i]->probe(why, sizeof why)) {
                show_skipped(group, fg_models[i]->name, why);
            } else {
                models[count++] = fg_models[i]->name;
            }
        }
        return count;
    }
    snprintf(chosen, sizeof chosen, "%s", wanted);
    for (char *name = strtok(chosen, ","); name && count < MODELS_MAX; name = strtok(NULL, ",")) {
        models[count++] = name;
    }
    return count;
}

static int run_model(const char *group, const struct e2e_test *tests, size_t count, const char *model)
{
    struct CMUnitTest units[TESTS_MAX];
    struct item items[TESTS_MAX];
    char names[TESTS_MAX][96];
    char group_name[96];
    assert_true(count <= TESTS_MAX);
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct item){ .test = &tests[i], .model = model };
        snprintf(names[i], sizeof names[i], "%s[%s]", tests[i].name, model);
        units[i] = (struct CMUnitTest){ names[i], run, set_up, tear_down, &items[i] };
    }
    snprintf(group_name, sizeof group_name, "%s[%s]", group, model);
    return _cmocka_run_group_tests(group_name, units, count, NULL, NULL);
}

int e2e_main(const char *group, const struct e2e_test *tests, size_t count)
{
    const char *models[MODELS_MAX];
    struct rlimit limit;
    int failed = 0;
    if (getenv("FG_TEST_FILTER")) {
        cmocka_set_test_filter(getenv("FG_TEST_FILTER"));
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGPIPE, SIG_IGN);
    size_t model_count = choose_models(group, models);
    for (size_t i = 0; i < model_count; i++) {
        failed += run_model(group, tests, count, models[i]);
    }
    return failed > 0;
}

/* Nothing more comes from a daemon that has ended: no need to wait for the deadline. */
static void assert_running(const struct e2e *e2e)
{
    siginfo_t about = { 0 };
    if (e2e->daemon.pid > 0 &&
        waitid(P_PID, (id_t)e2e->daemon.pid, &about, WEXITED | WNOHANG | WNOWAIT) == 0 && about.si_pid != 0) {
        fail_msg("the daemon has ended");
    }
}

/* The whole configuration (free it). */
static char *make_config(const struct e2e *e2e, const char *ports, va_list values)
{
    char *list = NULL;
    char *config = NULL;
    char spool[TEMPDIR_PATH + 96] = "";
    char control[TEMPDIR_PATH + 16] = "";
    if (e2e->spool) {
        snprintf(spool, sizeof spool, "spool: { path = \"%s/spool.db\"; durability = \"%s\"; };\n",
                 e2e->folder, e2e->spool);
    }
    if (e2e->control) {
        snprintf(control, sizeof control, "%s/control.sock", e2e->folder);
    }
    assert_true(vasprintf(&list, ports, values) >= 0);
    size_t length = strlen(list);
    while (length > 0 && strchr(" \n,", list[length - 1])) {
        list[--length] = '\0';
    }
    assert_true(
        asprintf(
            &config,
            "gateway: { id = \"gw\"; event_model = \"%s\"; control_socket = \"%s\";\n"
            "  state_directory = \"%s\"; queue_bytes = \"%s\";\n"
            "  stats_interval = \"%s\"; shutdown_timeout = \"%s\"; %s };\n"
            "mqtt: { address = \"127.0.0.1:%u\"; reconnect_min = \"100ms\"; reconnect_max = \"200ms\"; %s "
            "};\n%s"
            "ports = (\n%s\n);\n",
            e2e->model, control, e2e->folder, e2e->queue_bytes, e2e->stats_interval, e2e->shutdown_timeout,
            e2e->gateway_more, e2e->broker.port, e2e->mqtt_more, spool, list) >= 0);
    free(list);
    return config;
}

static void start_daemon(struct e2e *e2e, const char *ports, va_list values)
{
    char *config = make_config(e2e, ports, values);
    daemon_start(&e2e->daemon, e2e->folder, config, e2e->descriptors);
    free(config);
}

static void rewrite(struct e2e *e2e, const char *ports, va_list values)
{
    char *config = make_config(e2e, ports, values);
    char path[TEMPDIR_PATH];
    tempdir_write(e2e->folder, "next.cfg", config, strlen(config), path);
    assert_int_equal(rename(path, e2e->daemon.config), 0);
    free(config);
}

void e2e_rewrite(struct e2e *e2e, const char *ports, ...)
{
    va_list values;
    va_start(values, ports);
    rewrite(e2e, ports, values);
    va_end(values);
}

unsigned e2e_count_log(const struct e2e *e2e, const char *text)
{
    unsigned count = 0;
    char *log = tempdir_read(e2e->daemon.log, NULL);
    for (const char *at = log; at && (at = strstr(at, text)); at += strlen(text)) {
        count++;
    }
    free(log);
    return count;
}

void e2e_wait_log(struct e2e *e2e, const char *text, unsigned times)
{
    int64_t deadline = wait_deadline(PATIENCE_MS);
    while (e2e_count_log(e2e, text) < times) {
        assert_running(e2e);
        if (wait_over(deadline)) {
            fail_msg("\"%s\" is not in the log %u times", text, times);
        }
        wait_nap();
    }
}

void e2e_reload(struct e2e *e2e, const char *ports, ...)
{
    unsigned done = e2e_count_log(e2e, "reload: done");
    va_list values;
    va_start(values, ports);
    rewrite(e2e, ports, values);
    va_end(values);
    daemon_signal(&e2e->daemon, SIGHUP);
    e2e_wait_log(e2e, "reload: done", done + 1);
}

void e2e_start_broker(struct e2e *e2e)
{
    e2e_broker_start(&e2e->broker);
}

void e2e_subscribe(struct e2e *e2e)
{
    subscriber_open(&e2e->subscriber, e2e->broker.port, "watcher", false, E2E_BASE "/#", 1);
}

void e2e_start_daemon(struct e2e *e2e, const char *ports, ...)
{
    va_list values;
    va_start(values, ports);
    start_daemon(e2e, ports, values);
    va_end(values);
}

void e2e_start(struct e2e *e2e, const char *ports, ...)
{
    e2e_start_broker(e2e);
    e2e_subscribe(e2e);
    va_list values;
    va_start(values, ports);
    start_daemon(e2e, ports, values);
    va_end(values);
    e2e_wait_online(e2e);
    if (e2e->control) { /* the broker can be faster */
        assert_true(daemon_wait_log(&e2e->daemon, "gateway gw, event model ", PATIENCE_MS));
    }
}

void e2e_wait_online(struct e2e *e2e)
{
    e2e_wait_status(e2e, "status", "online");
}

void e2e_start_broker_unseen(struct e2e *e2e)
{
    daemon_signal(&e2e->daemon, SIGSTOP);
    e2e_start_broker(e2e);
    e2e_subscribe(e2e);
    daemon_signal(&e2e->daemon, SIGCONT);
}

static const struct subscriber_message *take(struct e2e *e2e, const char *topic, int64_t ms)
{
    char whole[256];
    int64_t deadline = wait_deadline(ms);
    const struct subscriber_message *message;
    snprintf(whole, sizeof whole, "%s/%s", E2E_BASE, topic);
    while (!(message = subscriber_take(&e2e->subscriber, whole, ms < 100 ? ms : 100)) &&
           !wait_over(deadline)) {
        assert_running(e2e);
    }
    return message;
}

const struct subscriber_message *e2e_next(struct e2e *e2e, const char *topic)
{
    const struct subscriber_message *message = take(e2e, topic, PATIENCE_MS);
    if (!message) {
        fail_msg("nothing came on %s", topic);
    }
    return message;
}

void e2e_expect(struct e2e *e2e, const char *topic, const char *payload)
{
    const struct subscriber_message *message = e2e_next(e2e, topic);
    assert_string_equal(message->payload, payload);
    assert_int_equal(message->size, strlen(payload));
}

static json_t *next_object(struct e2e *e2e, const char *topic)
{
    const struct subscriber_message *message = e2e_next(e2e, topic);
    json_error_t error;
    json_t *object = json_loadb(message->payload, message->size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object)) {
        print_error("%s: %s\n", topic, message->payload);
        fail_msg("no JSON object: %s", object ? "something else" : error.text);
    }
    return object;
}

static json_t *expected_object(const char *fields)
{
    json_error_t error;
    json_t *object = json_loads(fields, JSON_REJECT_DUPLICATES, &error);
    if (!object) {
        fail_msg("the test's own JSON: %s: %s", error.text, fields);
    }
    return object;
}

static _Noreturn void fail_objects(const char *topic, json_t *got, json_t *expected)
{
    char *got_text = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *expected_text = json_dumps(expected, JSON_COMPACT | JSON_SORT_KEYS);
    print_error("%s: %s in place of %s\n", topic, got_text, expected_text);
    free(got_text);
    free(expected_text);
    _fail(__FILE__, __LINE__);
    abort();
}

int64_t e2e_expect_json(struct e2e *e2e, const char *topic, const char *fields)
{
    json_t *got = next_object(e2e, topic);
    json_t *expected = expected_object(fields);
    json_t *ts = json_object_get(got, "ts");
    int64_t time_ms = json_integer_value(ts);
    if (!json_is_integer(ts)) {
        fail_objects(topic, got, expected);
    }
    json_object_del(got, "ts");
    if (!json_equal(got, expected)) {
        fail_objects(topic, got, expected);
    }
    json_decref(got);
    json_decref(expected);
    return time_ms;
}

void e2e_expect_fields(struct e2e *e2e, const char *topic, const char *fields)
{
    json_t *got = next_object(e2e, topic);
    json_t *expected = expected_object(fields);
    const char *name;
    json_t *value;
    json_object_foreach(expected, name, value)
    {
        if (!json_equal(json_object_get(got, name), value)) {
            fail_objects(topic, got, expected);
        }
    }
    json_decref(got);
    json_decref(expected);
}

void e2e_expect_no_more(struct e2e *e2e, const char *topic)
{
    const struct subscriber_message *message = take(e2e, topic, 0);
    if (message) {
        fail_msg("one more on %s: %s", topic, message->payload);
    }
}

void e2e_wait_status(struct e2e *e2e, const char *topic, const char *status)
{
    const struct subscriber_message *message;
    do {
        message = take(e2e, topic, PATIENCE_MS);
        if (!message) {
            fail_msg("%s did not become %s", topic, status);
        }
        assert_true(strcmp(message->payload, "online") == 0 || strcmp(message->payload, "offline") == 0);
    } while (strcmp(message->payload, status) != 0);
}

void e2e_wait_open(struct e2e *e2e, const char *port, unsigned times)
{
    char begin[96];
    unsigned opened;
    int64_t deadline = wait_deadline(PATIENCE_MS);
    snprintf(begin, sizeof begin, "port %s: ", port);
    do {
        char *log = tempdir_read(e2e->daemon.log, NULL);
        char *rest = NULL;
        opened = 0;
        for (char *line = log ? strtok_r(log, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
            opened += strstr(line, begin) && strstr(line, " is open, ");
        }
        free(log);
        if (opened < times) {
            assert_running(e2e);
            assert_false(wait_over(deadline));
            wait_nap();
        }
    } while (opened < times);
}

uint64_t e2e_counter(const json_t *stats, const char *path)
{
    char copy[256];
    char *rest = NULL;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *name = strtok_r(copy, ".", &rest); name; name = strtok_r(NULL, ".", &rest)) {
        stats = json_object_get(stats, name);
    }
    return (uint64_t)json_integer_value(stats);
}

json_t *e2e_next_stats(struct e2e *e2e)
{
    return next_object(e2e, "stats");
}

void e2e_wait_counter(struct e2e *e2e, const char *path, uint64_t value)
{
    int64_t deadline = wait_deadline(PATIENCE_MS);
    for (;;) {
        json_t *stats = e2e_next_stats(e2e);
        uint64_t counted = e2e_counter(stats, path);
        if (counted == value) {
            json_decref(stats);
            return;
        }
        if (counted > value || wait_over(deadline)) {
            char *text = json_dumps(stats, JSON_COMPACT);
            print_error("%s is %llu in place of %llu: %s\n", path, (unsigned long long)counted,
                        (unsigned long long)value, text);
            free(text);
            fail();
        }
        json_decref(stats);
    }
}

struct pty *e2e_plug_pty(struct e2e *e2e, const char *name)
{
    assert_true(e2e->pty_count < E2E_PTYS);
    struct pty *pty = &e2e->ptys[e2e->pty_count++];
    pty_init(pty, e2e->folder, name);
    pty_plug(pty);
    return pty;
}

void e2e_wait_loss(struct e2e *e2e, const char *device, const char *reason, uint64_t count)
{
    uint64_t sum = 0;
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    while (sum < count) {
        json_t *loss = next_object(e2e, "loss");
        const char *told_device = json_string_value(json_object_get(loss, "device"));
        const char *told_reason = json_string_value(json_object_get(loss, "reason"));
        int64_t from = json_integer_value(json_object_get(loss, "from"));
        int64_t to = json_integer_value(json_object_get(loss, "to"));
        int64_t told = json_integer_value(json_object_get(loss, "count"));
        assert_non_null(told_device);
        assert_non_null(told_reason);
        assert_string_equal(told_device, device);
        assert_string_equal(told_reason, reason);
        assert_true(told > 0);
        assert_in_range(from, now_ms - 600000, to);
        assert_in_range(to, from, now_ms + 600000);
        sum += (uint64_t)told;
        json_decref(loss);
    }
    assert_int_equal(sum, count);
}

void e2e_expect_retained(struct e2e *e2e, const char *topic, const char *status)
{
    struct subscriber late;
    subscriber_open(&late, e2e->broker.port, "late", false, topic, 1);
    const struct subscriber_message *message = subscriber_take(&late, topic, 5000);
    assert_non_null(message);
    assert_true(message->retained);
    assert_string_equal(message->payload, status);
    subscriber_close(&late);
}

void e2e_begin_load(struct e2e *e2e, unsigned port, unsigned connections, unsigned lines, unsigned rate)
{
    e2e->load = (struct load){
        .port = port, .connections = connections, .lines = lines, .rate = rate, .line = load_line_60
    };
    load_start(&e2e->load);
}

void e2e_start_under_load(struct e2e *e2e, struct arrivals *arrivals, unsigned port, unsigned connections,
                          unsigned lines, unsigned rate)
{
    e2e_start_broker(e2e);
    subscriber_open(&e2e->subscriber, e2e->broker.port, "watcher", false, E2E_BASE "/#", 1);
    arrivals_watch(arrivals, &e2e->subscriber);
    e2e_start_daemon(e2e, E2E_TCP("in") E2E_LOAD "}", port);
    e2e_wait_online(e2e);
    e2e_begin_load(e2e, port, connections, lines, rate);
}
