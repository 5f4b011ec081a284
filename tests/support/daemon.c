#include "support/daemon.h"

#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 24

/* Replaces the child by the daemon. Its signals are as a shell would leave them, whatever the test has
 * blocked. */
static _Noreturn void become_daemon(const char *const arguments[], int output, int errors,
                                    unsigned descriptors)
{
    char wrapper[256] = "";
    char *list[ARGUMENTS_MAX];
    size_t count = 0;
    if (getenv("FG_TEST_WRAPPER")) {
        snprintf(wrapper, sizeof wrapper, "%s", getenv("FG_TEST_WRAPPER"));
    }
    for (char *word = strtok(wrapper, " "); word && count < 12; word = strtok(NULL, " ")) {
        list[count++] = word;
    }
    list[count++] = strdup(FG_TEST_DAEMON);
    for (size_t i = 0; arguments[i] && count < ARGUMENTS_MAX - 1; i++) {
        list[count++] = strdup(arguments[i]);
    }
    list[count] = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    unsetenv("JOURNAL_STREAM");
    if (descriptors > 0) {
        struct rlimit limit = { .rlim_cur = descriptors, .rlim_max = descriptors };
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(list[0], list);
    dprintf(STDERR_FILENO, "%s: %s\n", list[0], strerror(errno));
    _exit(127);
}

static pid_t spawn(const char *const arguments[], const char *output_path, unsigned descriptors)
{
    int output = open(output_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    assert_true(output >= 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        become_daemon(arguments, output, output, descriptors);
    }
    close(output);
    return pid;
}

void daemon_start(struct daemon *daemon, const char *folder, const char *config, unsigned descriptors)
{
    tempdir_write(folder, "fieldgate.cfg", config, strlen(config), daemon->config);
    snprintf(daemon->log, sizeof daemon->log, "%.80s/log", folder);
    const char *arguments[] = { "-c", daemon->config, NULL };
    daemon->pid = spawn(arguments, daemon->log, descriptors);
}

void daemon_signal(const struct daemon *daemon, int signal)
{
    assert_true(daemon->pid > 0);
    assert_int_equal(kill(daemon->pid, signal), 0);
}

static int wait_exit(pid_t pid, int64_t ms)
{
    int64_t deadline = wait_deadline(ms);
    for (;;) {
        int status;
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        if (wait_over(deadline)) {
            return -1;
        }
        wait_nap();
    }
}

int daemon_wait_exit(struct daemon *daemon, int64_t ms)
{
    int status = wait_exit(daemon->pid, ms);
    if (status >= 0) {
        daemon->pid = 0;
    }
    return status;
}

int daemon_stop(struct daemon *daemon, int64_t ms)
{
    daemon_signal(daemon, SIGTERM);
    return daemon_wait_exit(daemon, ms);
}

void daemon_kill(struct daemon *daemon)
{
    if (daemon->pid > 0) {
        kill(daemon->pid, SIGKILL);
        waitpid(daemon->pid, NULL, 0);
        daemon->pid = 0;
    }
}

bool daemon_log_has(const struct daemon *daemon, const char *text)
{
    char *log = tempdir_read(daemon->log, NULL);
    bool has = log && strstr(log, text);
    free(log);
    return has;
}

bool daemon_wait_log(const struct daemon *daemon, const char *text, int64_t ms)
{
    int64_t deadline = wait_deadline(ms);
    while (!daemon_log_has(daemon, text)) {
        if (wait_over(deadline)) {
            return false;
        }
        wait_nap();
    }
    return true;
}

void daemon_show_log(const struct daemon *daemon)
{
    size_t size = 0;
    char *log = daemon->log[0] != '\0' ? tempdir_read(daemon->log, &size) : NULL;
    if (log) {
        fprintf(stderr, "--- the daemon's log:\n%s---\n", size > 6000 ? log + size - 6000 : log);
    }
    free(log);
}

/* A file of the daemon's folder in /proc. */
static char *read_proc(const struct daemon *daemon, const char *name)
{
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)daemon->pid, name);
    char *text = tempdir_read(path, NULL);
    assert_non_null(text);
    return text;
}

static unsigned number_after(const char *text, const char *label)
{
    const char *at = strstr(text, label);
    return at ? (unsigned)strtoul(at + strlen(label), NULL, 10) : 0;
}

void daemon_memory(const struct daemon *daemon, unsigned *rss, unsigned *pss)
{
    char *text = read_proc(daemon, "smaps_rollup");
    *rss = number_after(text, "\nRss:");
    *pss = number_after(text, "\nPss:");
    free(text);
}

unsigned daemon_open_descriptors(const struct daemon *daemon)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)daemon->pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        count += entry->d_name[0] != '.';
    }
    closedir(folder);
    return count;
}

bool daemon_has_open(const struct daemon *daemon, const char *target)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)daemon->pid);
    DIR *folder = opendir(path);
    bool found = false;
    for (struct dirent *entry; folder && !found && (entry = readdir(folder));) {
        char name[512];
        char link[256];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        ssize_t length = readlink(name, link, sizeof link - 1);
        if (length > 0) {
            link[length] = '\0';
            found = strcmp(link, target) == 0;
        }
    }
    if (folder) {
        closedir(folder);
    }
    return found;
}

uint64_t daemon_waits(const struct daemon *daemon)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)daemon->pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    uint64_t sum = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] != '.') {
            char name[sizeof entry->d_name + 16];
            snprintf(name, sizeof name, "task/%s/status", entry->d_name);
            char *text = read_proc(daemon, name);
            sum += number_after(text, "\nvoluntary_ctxt_switches:");
            free(text);
        }
    }
    closedir(folder);
    return sum;
}

uint64_t daemon_cpu_ms(const struct daemon *daemon)
{
    char *text = read_proc(daemon, "stat");
    const char *after_name = strrchr(text, ')');
    unsigned long user = 0;
    unsigned long system = 0;
    assert_non_null(after_name);
    int got = sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    free(text);
    assert_int_equal(got, 2);
    return (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

int daemon_run(const char *const arguments[], int64_t ms, char *output, size_t size)
{
    char folder[TEMPDIR_PATH];
    char path[TEMPDIR_PATH];
    tempdir_make(folder);
    snprintf(path, sizeof path, "%.80s/output", folder);
    struct daemon daemon = { .pid = spawn(arguments, path, 0) };
    int status = daemon_wait_exit(&daemon, ms);
    daemon_kill(&daemon);
    char *text = tempdir_read(path, NULL);
    snprintf(output, size, "%s", text ? text : "");
    free(text);
    tempdir_remove(folder);
    return status;
}
