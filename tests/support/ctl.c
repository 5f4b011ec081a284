#include "support/ctl.h"

#include "support/client.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 24

static _Noreturn void become_ctl(const char *words, int out, int err, unsigned uid)
{
    char text[1024];
    char *list[WORDS_MAX];
    size_t count = 0;
    snprintf(text, sizeof text, "%s %s %s", getenv("FG_TEST_WRAPPER") ? getenv("FG_TEST_WRAPPER") : "",
             FG_TEST_CTL, words);
    for (char *word = strtok(text, " "); word && count < WORDS_MAX - 1; word = strtok(NULL, " ")) {
        list[count++] = word;
    }
    list[count] = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (uid > 0 && (setgid(uid) < 0 || setuid(uid) < 0)) {
        _exit(126);
    }
    execvp(list[0], list);
    dprintf(STDERR_FILENO, "%s: %s\n", list[0], strerror(errno));
    _exit(127);
}

static int open_file(const char *folder, const char *name, char path[TEMPDIR_PATH])
{
    static unsigned number;
    snprintf(path, TEMPDIR_PATH, "%.80s/%s%u", folder, name, number++);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    return fd;
}

void ctl_start(struct ctl *ctl, const char *folder, const char *words, int out, unsigned uid)
{
    *ctl = (struct ctl){ .status = -1 };
    int file = open_file(folder, "out", ctl->out_path);
    int err = open_file(folder, "err", ctl->err_path);
    fflush(NULL);
    ctl->pid = fork();
    assert_true(ctl->pid >= 0);
    if (ctl->pid == 0) {
        become_ctl(words, out >= 0 ? out : file, err, uid);
    }
    close(file);
    close(err);
}

void ctl_join(struct ctl *ctl, int64_t ms)
{
    int64_t deadline = wait_deadline(ms);
    int status = 0;
    while (waitpid(ctl->pid, &status, WNOHANG) != ctl->pid) {
        if (wait_over(deadline)) {
            kill(ctl->pid, SIGKILL);
            waitpid(ctl->pid, &status, 0);
            fail_msg("fieldgatectl did not end");
        }
        wait_nap();
    }
    ctl->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ctl->pid = 0;
    ctl->out = tempdir_read(ctl->out_path, NULL);
    ctl->err = tempdir_read(ctl->err_path, NULL);
    assert_non_null(ctl->out);
    assert_non_null(ctl->err);
}

void ctl_run(struct ctl *ctl, const char *folder, const char *words)
{
    ctl_start(ctl, folder, words, -1, 0);
    ctl_join(ctl, 20000);
}

static unsigned count_lines(const char *path)
{
    unsigned lines = 0;
    char *text = tempdir_read(path, NULL);
    for (const char *at = text; at && (at = strchr(at, '\n')); at++) {
        lines++;
    }
    free(text);
    return lines;
}

void ctl_wait_lines(const struct ctl *ctl, unsigned lines, int64_t ms)
{
    int64_t deadline = wait_deadline(ms);
    for (unsigned there; (there = count_lines(ctl->out_path)) < lines;) {
        if (wait_over(deadline)) {
            fail_msg("%u of %u lines came", there, lines);
        }
        wait_nap();
    }
}

bool ctl_wait_err(const struct ctl *ctl, const char *text, int64_t ms)
{
    int64_t deadline = wait_deadline(ms);
    for (;;) {
        char *err = tempdir_read(ctl->err_path, NULL);
        bool there = err && strstr(err, text);
        free(err);
        if (there || wait_over(deadline)) {
            return there;
        }
        wait_nap();
    }
}

void ctl_free(struct ctl *ctl)
{
    if (ctl->pid > 0) {
        kill(ctl->pid, SIGKILL);
        waitpid(ctl->pid, NULL, 0);
    }
    free(ctl->out);
    free(ctl->err);
    *ctl = (struct ctl){ .status = -1 };
}

char *ctl_read_line(int fd)
{
    size_t size = 0;
    size_t room = 65536;
    char *line = malloc(room);
    int64_t deadline = wait_deadline(20000);
    assert_non_null(line);
    for (;;) {
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        if (wait_over(deadline) || poll(&wait, 1, wait_left_ms(deadline)) < 0) {
            fail_msg("no line came");
        }
        if (size + 1 == room) {
            room *= 2;
            line = realloc(line, room);
            assert_non_null(line);
        }
        /* Byte by byte up to the newline: what follows is for the next call. */
        ssize_t seen = recv(fd, line + size, room - size - 1, MSG_PEEK | MSG_DONTWAIT);
        if (seen == 0 || (seen < 0 && errno != EAGAIN)) {
            free(line);
            return NULL;
        }
        char *end = seen > 0 ? memchr(line + size, '\n', (size_t)seen) : NULL;
        size_t take = end ? (size_t)(end - (line + size)) + 1 : seen > 0 ? (size_t)seen : 0;
        if (take > 0) {
            assert_int_equal(recv(fd, line + size, take, MSG_DONTWAIT), take);
            size += take;
        }
        if (end) {
            line[size - 1] = '\0';
            return line;
        }
    }
}

json_t *ctl_request(int fd, const char *line)
{
    client_print(fd, "%s\n", line);
    char *answer = ctl_read_line(fd);
    assert_non_null(answer);
    json_t *object = json_loads(answer, 0, NULL);
    if (!object) {
        fail_msg("no JSON: %s", answer);
    }
    free(answer);
    assert_int_equal(json_integer_value(json_object_get(object, "protocol")), 1);
    return object;
}
