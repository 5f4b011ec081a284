#include "support/broker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* libmosquitto 2.0.11 unlocks a mutex that it does not hold when the broker says good-bye with MQTT 5. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "mutex:libmosquitto.so\n";
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int test_free_port(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

long long test_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool test_wait(bool (*check)(void *context), void *context, int timeout_ms)
{
    long long deadline_ms = test_now_ms() + timeout_ms;
    while (!check(context)) {
        if (test_now_ms() >= deadline_ms) {
            return false;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    return true;
}

static bool listens(void *context)
{
    struct test_broker *broker = context;
    struct sockaddr_in address = loopback(broker->port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) {
        close(fd);
    }
    /* Another process may have taken the port meanwhile; then the broker has ended. */
    if (broker->pid > 0 && waitpid(broker->pid, NULL, WNOHANG) != 0) {
        broker->pid = 0;
    }
    return connected && broker->pid > 0;
}

void test_broker_prepare(struct test_broker *broker)
{
    *broker = (struct test_broker){ .port = test_free_port(), .folder = "/tmp/fieldgate-broker-XXXXXX" };
    assert_non_null(mkdtemp(broker->folder));
    snprintf(broker->address, sizeof broker->address, "127.0.0.1:%d", broker->port);
}

static void write_config(const struct test_broker *broker, const char *extra_config)
{
    char path[128];
    snprintf(path, sizeof path, "%s/conf", broker->folder);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file,
            "user root\npersistence true\npersistence_location %s/\nlog_dest file %s/log\nlog_type all\n"
            "max_queued_messages 100000\nlistener %d 127.0.0.1\n",
            broker->folder, broker->folder, broker->port);
    for (const char *at = extra_config ? extra_config : ""; *at; at++) {
        if (at[0] == '%' && at[1] == 's') {
            fputs(broker->folder, file);
            at++;
        } else {
            fputc(*at, file);
        }
    }
    fprintf(file, "\n%s\n",
            extra_config && strstr(extra_config, "allow_anonymous") ? "" : "allow_anonymous true");
    fclose(file);
}

void test_broker_restart(struct test_broker *broker)
{
    char path[128];
    assert_int_equal(broker->pid, 0);
    snprintf(path, sizeof path, "%s/conf", broker->folder);
    broker->pid = fork();
    assert_true(broker->pid >= 0);
    if (broker->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execlp("mosquitto", "mosquitto", "-c", path, (char *)NULL);
        execl("/usr/sbin/mosquitto", "mosquitto", "-c", path, (char *)NULL);
        _exit(127);
    }
    assert_true(test_wait(listens, broker, 10000));
}

void test_broker_run(struct test_broker *broker, const char *extra_config)
{
    write_config(broker, extra_config);
    test_broker_restart(broker);
}

void test_broker_start(struct test_broker *broker, const char *extra_config)
{
    test_broker_prepare(broker);
    test_broker_run(broker, extra_config);
}

static void end(struct test_broker *broker, int signal)
{
    if (broker->pid > 0) {
        kill(broker->pid, signal);
        waitpid(broker->pid, NULL, 0);
        broker->pid = 0;
    }
}

void test_broker_stop(struct test_broker *broker)
{
    end(broker, SIGTERM);
}

void test_broker_kill(struct test_broker *broker)
{
    end(broker, SIGKILL);
}

void test_broker_remove(struct test_broker *broker)
{
    char command[128];
    end(broker, SIGKILL);
    if (broker->folder[0]) {
        snprintf(command, sizeof command, "rm -rf '%s'", broker->folder);
        assert_int_equal(system(command), 0);
        broker->folder[0] = '\0';
    }
}

int test_broker_logged(const struct test_broker *broker, const char *text)
{
    char path[128];
    char line[1024];
    int count = 0;
    snprintf(path, sizeof path, "%s/log", broker->folder);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        count += strstr(line, text) != NULL;
    }
    if (file) {
        fclose(file);
    }
    return count;
}

/* --- the subscriber --- */

static void on_connect(struct mosquitto *library, void *context, int reason)
{
    struct test_subscriber *subscriber = context;
    if (reason == 0) {
        mosquitto_subscribe(library, NULL, subscriber->filter, 2);
    }
}

static void on_subscribe(struct mosquitto *library, void *context, int mid, int count, const int *granted)
{
    struct test_subscriber *subscriber = context;
    (void)library;
    (void)mid;
    (void)count;
    (void)granted;
    pthread_mutex_lock(&subscriber->lock);
    subscriber->subscribed = true;
    pthread_cond_broadcast(&subscriber->news);
    pthread_mutex_unlock(&subscriber->lock);
}

static void on_message(struct mosquitto *library, void *context, const struct mosquitto_message *message)
{
    struct test_subscriber *subscriber = context;
    (void)library;
    pthread_mutex_lock(&subscriber->lock);
    if (subscriber->count == subscriber->capacity) {
        subscriber->capacity = subscriber->capacity ? 2 * subscriber->capacity : 64;
        subscriber->messages =
            realloc(subscriber->messages, subscriber->capacity * sizeof *subscriber->messages);
    }
    size_t size = (size_t)message->payloadlen;
    char *payload = malloc(size + 1);
    if (size > 0) {
        memcpy(payload, message->payload, size);
    }
    payload[size] = '\0';
    subscriber->messages[subscriber->count++] =
        (struct test_message){ strdup(message->topic), payload, size, message->qos, message->retain };
    pthread_cond_broadcast(&subscriber->news);
    pthread_mutex_unlock(&subscriber->lock);
}

/* With the lock held. Returns false when the deadline has passed. */
static bool wait_news(struct test_subscriber *subscriber, long long deadline_ms)
{
    struct timespec until = { .tv_sec = (time_t)(deadline_ms / 1000),
                              .tv_nsec = (long)(deadline_ms % 1000 * 1000000) };
    return pthread_cond_timedwait(&subscriber->news, &subscriber->lock, &until) != ETIMEDOUT;
}

void test_subscriber_start(struct test_subscriber *subscriber, const struct test_broker *broker,
                           const char *id, const char *filter)
{
    pthread_condattr_t attributes;
    *subscriber = (struct test_subscriber){ 0 };
    snprintf(subscriber->filter, sizeof subscriber->filter, "%s", filter);
    pthread_mutex_init(&subscriber->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&subscriber->news, &attributes);
    pthread_condattr_destroy(&attributes);
    mosquitto_lib_init();
    subscriber->library = mosquitto_new(id, false, subscriber);
    assert_non_null(subscriber->library);
    mosquitto_connect_callback_set(subscriber->library, on_connect);
    mosquitto_subscribe_callback_set(subscriber->library, on_subscribe);
    mosquitto_message_callback_set(subscriber->library, on_message);
    mosquitto_reconnect_delay_set(subscriber->library, 1, 1, false);
    assert_int_equal(mosquitto_connect(subscriber->library, "127.0.0.1", broker->port, 60), MOSQ_ERR_SUCCESS);
    assert_int_equal(mosquitto_loop_start(subscriber->library), MOSQ_ERR_SUCCESS);
    long long deadline_ms = test_now_ms() + 10000;
    pthread_mutex_lock(&subscriber->lock);
    while (!subscriber->subscribed && wait_news(subscriber, deadline_ms)) {
    }
    bool subscribed = subscriber->subscribed;
    pthread_mutex_unlock(&subscriber->lock);
    assert_true(subscribed);
}

void test_subscriber_stop(struct test_subscriber *subscriber)
{
    if (!subscriber->library) {
        return;
    }
    mosquitto_disconnect(subscriber->library);
    mosquitto_loop_stop(subscriber->library, true);
    mosquitto_destroy(subscriber->library);
    for (size_t i = 0; i < subscriber->count; i++) {
        free(subscriber->messages[i].topic);
        free(subscriber->messages[i].payload);
    }
    free(subscriber->messages);
    pthread_cond_destroy(&subscriber->news);
    pthread_mutex_destroy(&subscriber->lock);
    subscriber->library = NULL;
}

static size_t count_locked(const struct test_subscriber *subscriber, const char *topic)
{
    size_t count = 0;
    for (size_t i = 0; i < subscriber->count; i++) {
        count += !topic || strcmp(subscriber->messages[i].topic, topic) == 0;
    }
    return count;
}

size_t test_subscriber_count(struct test_subscriber *subscriber, const char *topic)
{
    pthread_mutex_lock(&subscriber->lock);
    size_t count = count_locked(subscriber, topic);
    pthread_mutex_unlock(&subscriber->lock);
    return count;
}

bool test_subscriber_wait_count(struct test_subscriber *subscriber, const char *topic, size_t count,
                                int timeout_ms)
{
    long long deadline_ms = test_now_ms() + timeout_ms;
    pthread_mutex_lock(&subscriber->lock);
    bool reached;
    while (!(reached = count_locked(subscriber, topic) >= count) && wait_news(subscriber, deadline_ms)) {
    }
    pthread_mutex_unlock(&subscriber->lock);
    return reached;
}

static const struct test_message *find_locked(const struct test_subscriber *subscriber, const char *topic,
                                              size_t index, bool last)
{
    const struct test_message *found = NULL;
    for (size_t i = 0; i < subscriber->count; i++) {
        if (strcmp(subscriber->messages[i].topic, topic) == 0) {
            found = &subscriber->messages[i];
            if (!last && index-- == 0) {
                return found;
            }
        }
    }
    return last ? found : NULL;
}

bool test_subscriber_wait_payload(struct test_subscriber *subscriber, const char *topic, const char *payload,
                                  int timeout_ms)
{
    long long deadline_ms = test_now_ms() + timeout_ms;
    pthread_mutex_lock(&subscriber->lock);
    bool reached;
    for (;;) {
        const struct test_message *message = find_locked(subscriber, topic, 0, true);
        reached = message && strcmp(message->payload, payload) == 0;
        if (reached || !wait_news(subscriber, deadline_ms)) {
            break;
        }
    }
    pthread_mutex_unlock(&subscriber->lock);
    return reached;
}

bool test_subscriber_payload(struct test_subscriber *subscriber, const char *topic, size_t index,
                             char *payload, size_t size)
{
    pthread_mutex_lock(&subscriber->lock);
    const struct test_message *message = find_locked(subscriber, topic, index, false);
    if (message) {
        snprintf(payload, size, "%s", message->payload);
    }
    pthread_mutex_unlock(&subscriber->lock);
    return message != NULL;
}
