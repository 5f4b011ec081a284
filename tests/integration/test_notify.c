/* What a service manager is told: the test is one, with a socket of its own as $NOTIFY_SOCKET. */
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef FG_HAVE_SYSTEMD

#define PATIENCE_MS 10000
#define NO_WATCHDOG 0

/* Who is only slow is not stuck: a third of it. */
#define WATCHDOG_MS 1500

/* The port's settings are of no matter. */
#define PORT E2E_UNIX("in") E2E_RAW "}"

struct manager {
    int fd;
    char socket[TEMPDIR_PATH];
    char port[TEMPDIR_PATH];
    char status[256]; /* the latest */
    unsigned ready, stopping, alive, reloading;
    long long reload_us; /* the latest one's time, on the monotonic clock */
};

static void manager_open(struct manager *manager, struct e2e *e2e, unsigned watchdog_ms)
{
    *manager = (struct manager){ .fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
    assert_true(manager->fd >= 0);
    snprintf(manager->socket, sizeof manager->socket, "%.80s/notify", e2e->folder);
    snprintf(manager->port, sizeof manager->port, "%.80s/port", e2e->folder);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", manager->socket);
    assert_int_equal(bind(manager->fd, (struct sockaddr *)&address, sizeof address), 0);
    setenv("NOTIFY_SOCKET", manager->socket, 1);
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    if (watchdog_ms > 0) {
        char text[32];
        snprintf(text, sizeof text, "%u000", watchdog_ms);
        setenv("WATCHDOG_USEC", text, 1);
    }
}

static void manager_close(struct manager *manager)
{
    close(manager->fd);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
}

static void take_line(struct manager *manager, const char *line)
{
    manager->ready += strcmp(line, "READY=1") == 0;
    manager->stopping += strcmp(line, "STOPPING=1") == 0;
    manager->reloading += strcmp(line, "RELOADING=1") == 0;
    manager->alive += strcmp(line, "WATCHDOG=1") == 0;
    if (strncmp(line, "MONOTONIC_USEC=", 15) == 0) {
        manager->reload_us = strtoll(line + 15, NULL, 10);
    }
    if (strncmp(line, "STATUS=", 7) == 0) {
        snprintf(manager->status, sizeof manager->status, "%s", line + 7);
    }
}

/* Takes what comes within so many milliseconds, at most one datagram. Returns whether one came. */
static bool manager_take(struct manager *manager, int ms)
{
    struct pollfd fd = { .fd = manager->fd, .events = POLLIN };
    if (poll(&fd, 1, ms) <= 0) {
        return false;
    }
    char text[1024] = "";
    assert_true(recv(manager->fd, text, sizeof text - 1, 0) > 0);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        take_line(manager, line);
    }
    return true;
}

static void wait_count(struct manager *manager, const unsigned *counter, unsigned count)
{
    int64_t deadline = wait_deadline(PATIENCE_MS);
    while (*counter < count && manager_take(manager, wait_left_ms(deadline))) {
    }
    assert_true(*counter >= count);
}

static void wait_line(struct manager *manager, const char *line)
{
    int64_t deadline = wait_deadline(PATIENCE_MS);
    while (strcmp(manager->status, line) != 0 && manager_take(manager, wait_left_ms(deadline))) {
    }
    assert_string_equal(manager->status, line);
}

/* --- threads of the daemon --- */

/* The thread of that name; "" is the main thread. 0: there is none. */
static pid_t find_thread(const struct daemon *daemon, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)daemon->pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    pid_t found = *name ? 0 : daemon->pid;
    for (struct dirent *entry; !found && (entry = readdir(folder));) {
        char comm[sizeof path + sizeof entry->d_name + 8];
        snprintf(comm, sizeof comm, "%s/%s/comm", path, entry->d_name);
        char *text = entry->d_name[0] == '.' ? NULL : tempdir_read(comm, NULL);
        if (text && strncmp(text, name, strlen(name)) == 0 && text[strlen(name)] == '\n') {
            found = (pid_t)strtol(entry->d_name, NULL, 10);
        }
        free(text);
    }
    closedir(folder);
    return found;
}

/* Stops one thread, and that one only. Returns whether that is possible here. */
static bool stop_thread(pid_t thread)
{
    if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) != 0) {
        fprintf(stderr, "this test cannot run here: ptrace: %s\n", strerror(errno));
        return false;
    }
    assert_int_equal(ptrace(PTRACE_INTERRUPT, thread, NULL, NULL), 0);
    int status = 0;
    assert_int_equal(waitpid(thread, &status, __WALL), thread);
    assert_true(WIFSTOPPED(status));
    return true;
}

/* --- tests --- */

static void ready_comes_when_the_gateway_runs_without_a_broker_too(struct e2e *e2e)
{
    struct manager manager;
    manager_open(&manager, e2e, NO_WATCHDOG);
    e2e_start_daemon(e2e, PORT, manager.port);
    wait_count(&manager, &manager.ready, 1);
    wait_line(&manager, "1 device, broker down, 0 waiting");
    assert_int_equal(daemon_stop(&e2e->daemon, PATIENCE_MS), 0);
    wait_count(&manager, &manager.stopping, 1);
    assert_int_equal(manager.ready, 1);
    manager_close(&manager);
}

static void ready_never_comes_with_a_wrong_configuration(struct e2e *e2e)
{
    struct manager manager;
    manager_open(&manager, e2e, NO_WATCHDOG);
    e2e->gateway_more = "worker = 2;";
    e2e_start_daemon(e2e, PORT, manager.port);
    assert_int_equal(daemon_wait_exit(&e2e->daemon, PATIENCE_MS), 78);
    assert_false(manager_take(&manager, 0));
    manager_close(&manager);
}

static void status_follows_the_broker(struct e2e *e2e)
{
    struct manager manager;
    manager_open(&manager, e2e, NO_WATCHDOG);
    e2e_start(e2e, PORT, manager.port);
    wait_line(&manager, "1 device, broker up, 0 waiting");
    e2e_broker_kill(&e2e->broker);
    wait_line(&manager, "1 device, broker down, 0 waiting");
    manager_close(&manager);
}

static void a_reload_is_told_from_begin_to_end(struct e2e *e2e)
{
    struct manager manager;
    manager_open(&manager, e2e, NO_WATCHDOG);
    e2e_start_daemon(e2e, PORT, manager.port);
    wait_count(&manager, &manager.ready, 1);
    struct timespec before;
    clock_gettime(CLOCK_MONOTONIC, &before);
    daemon_signal(&e2e->daemon, SIGHUP);
    wait_count(&manager, &manager.reloading, 1);
    assert_true(manager.reload_us >= (long long)before.tv_sec * 1000000 + before.tv_nsec / 1000);
    wait_count(&manager, &manager.ready, 2);
    /* One that does not stand has an end, too. */
    tempdir_write(e2e->folder, "fieldgate.cfg", "?", 1, e2e->daemon.config);
    daemon_signal(&e2e->daemon, SIGHUP);
    wait_count(&manager, &manager.reloading, 2);
    wait_count(&manager, &manager.ready, 3);
    manager_close(&manager);
}

static void an_idle_gateway_proves_that_it_is_alive(struct e2e *e2e)
{
    struct manager manager;
    manager_open(&manager, e2e, 1000);
    e2e_start_daemon(e2e, PORT, manager.port);
    wait_count(&manager, &manager.ready, 1);
    wait_count(&manager, &manager.alive, 4);
    manager_close(&manager);
}

/* Of one event model: what it is makes no difference here. Emulators and wrappers have threads of their own.
 */
static void stopped(struct e2e *e2e, const char *thread, const char *name)
{
    if (strcmp(e2e->model, "reactor") != 0 || getenv("FG_TEST_WRAPPER")) {
        return;
    }
    struct manager manager;
    manager_open(&manager, e2e, WATCHDOG_MS);
    e2e_start(e2e, PORT, manager.port);
    wait_count(&manager, &manager.alive, 1);
    pid_t id = find_thread(&e2e->daemon, thread);
    assert_true(id > 0);
    if (stop_thread(id)) {
        char line[80];
        snprintf(line, sizeof line, "%s has not moved for", name);
        bool named = daemon_wait_log(&e2e->daemon, line, 3 * (int64_t)WATCHDOG_MS);
        while (manager_take(&manager, 0)) { /* what had been said before; from then on there is silence */
        }
        unsigned before = manager.alive;
        for (int64_t until_ms = wait_now_ms() + WATCHDOG_MS; wait_now_ms() < until_ms;) {
            manager_take(&manager, 100);
        }
        unsigned meanwhile = manager.alive;
        ptrace(PTRACE_DETACH, id, NULL, NULL); /* or nobody could wait for the daemon's end */
        assert_true(named);
        assert_int_equal(meanwhile, before);
        wait_count(&manager, &manager.alive, before + 1);
    }
    manager_close(&manager);
}

static void a_worker_that_is_stuck_is_named(struct e2e *e2e)
{
    stopped(e2e, "fg-worker-2", "worker 2");
}

static void a_publisher_that_is_stuck_is_named(struct e2e *e2e)
{
    stopped(e2e, "fg-publisher", "the publisher");
}

static void a_main_loop_that_is_stuck_is_named(struct e2e *e2e)
{
    stopped(e2e, "", "the main loop");
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(ready_comes_when_the_gateway_runs_without_a_broker_too),
        E2E_TEST(ready_never_comes_with_a_wrong_configuration),
        E2E_TEST(status_follows_the_broker),
        E2E_TEST(a_reload_is_told_from_begin_to_end),
        E2E_TEST(an_idle_gateway_proves_that_it_is_alive),
        E2E_TEST(a_worker_that_is_stuck_is_named),
        E2E_TEST(a_publisher_that_is_stuck_is_named),
        E2E_TEST(a_main_loop_that_is_stuck_is_named),
    };
    return e2e_main("notify", tests, sizeof tests / sizeof tests[0]);
}

#else

int main(void)
{
    fprintf(stderr, "the daemon is built without libsystemd\n");
    return 0;
}

#endif
