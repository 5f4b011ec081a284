/* How the daemon tells that the proactor cannot run here. */
#include "support/client.h"
#include "support/daemon.h"
#include "support/tempdir.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_config(const char *folder, char path[TEMPDIR_PATH])
{
    char text[400];
    int length =
        snprintf(text, sizeof text,
                 "gateway: { id = \"gw\"; control_socket = \"\"; };\nmqtt: { address = \"127.0.0.1:1\"; };\n"
                 "ports = ( { name = \"in\"; transport: { type = \"tcp-server\"; tcp_port = %u; };\n"
                 "  framing: { type = \"line\"; }; decoder: { type = \"raw\"; }; } );\n",
                 client_free_port());
    tempdir_write(folder, "fieldgate.cfg", text, (size_t)length, path);
}

#ifdef FG_HAVE_IO_URING

#include "event/proactor.h"

static void each_refusal_has_its_words(void **state)
{
    (void)state;
    static const struct {
        int error, disabled;
        const char *words;
    } cases[] = {
        { -EPERM, 2, "switched off (kernel.io_uring_disabled = 2)" },
        { -EPERM, 1, "switched off (kernel.io_uring_disabled = 1)" },
        { -EPERM, 0, "filter" },
        { -EPERM, -1, "filter" },
        { -ENOSYS, 0, "filter" },
        { -ENOSYS, -1, "this kernel has no io_uring" },
        { -ENOMEM, 0, "memory" },
        { -EINVAL, 0, "too old: Linux 5.19" },
        { -EMFILE, 0, "Too many open files" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[160] = "";
        fg_proactor_tell_refusal(cases[i].error, cases[i].disabled, why, sizeof why);
        if (!strstr(why, cases[i].words)) {
            fail_msg("%d: \"%s\" does not say \"%s\"", i, why, cases[i].words);
        }
    }
}

/* From here on io_uring_setup fails with the error for this process and what it executes. */
static int refuse_io_uring(int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* the number of the call */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof filter / sizeof filter[0], .filter = filter };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* Emulators do not let programs filter the calls that they make for them. */
static void skip_without_filters(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(refuse_io_uring(EPERM) ? 1 : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        skip();
    }
}

/* Starts a daemon that is refused io_uring, its log in a file of the folder. */
static pid_t start_refused(const char *folder, const char *model, char *log, size_t log_size)
{
    char config[TEMPDIR_PATH];
    snprintf(log, log_size, "%.80s/log", folder);
    write_config(folder, config);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || refuse_io_uring(EPERM)) {
            _exit(127);
        }
        execl(FG_TEST_DAEMON, FG_TEST_DAEMON, "-c", config, "--event-model", model, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static void expect_in_log(const char *log, const char *words)
{
    int64_t deadline = wait_deadline(10000);
    bool found = false;
    while (!found) {
        char *text = tempdir_read(log, NULL);
        found = text && strstr(text, words);
        if (!found && wait_over(deadline)) {
            fail_msg("the log is: %s", text ? text : "");
        }
        free(text);
        wait_nap();
    }
}

static void a_daemon_that_is_told_to_use_it_ends_and_says_why_it_cannot(void **state)
{
    (void)state;
    skip_without_filters();
    char folder[TEMPDIR_PATH], log[TEMPDIR_PATH];
    tempdir_make(folder);
    pid_t pid = start_refused(folder, "proactor", log, sizeof log);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    expect_in_log(log, "event model proactor cannot run here: io_uring is not permitted");
    tempdir_remove(folder);
}

static void auto_takes_the_next_model_and_says_why(void **state)
{
    (void)state;
    skip_without_filters();
    char folder[TEMPDIR_PATH], log[TEMPDIR_PATH];
    tempdir_make(folder);
    pid_t pid = start_refused(folder, "auto", log, sizeof log);
    expect_in_log(log, "event model auto: simulated-proactor; not proactor: io_uring is not permitted");
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    tempdir_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_refusal_has_its_words),
        cmocka_unit_test(a_daemon_that_is_told_to_use_it_ends_and_says_why_it_cannot),
        cmocka_unit_test(auto_takes_the_next_model_and_says_why),
    };
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}

#else

static void a_daemon_without_it_says_so(void **state)
{
    (void)state;
    char output[4096];
    char folder[TEMPDIR_PATH], config[TEMPDIR_PATH];
    tempdir_make(folder);
    write_config(folder, config);
    const char *const arguments[] = { "-c", config, "--event-model", "proactor", NULL };
    assert_int_equal(daemon_run(arguments, 10000, output, sizeof output), 1);
    assert_non_null(strstr(output, "event model proactor cannot run here: it is not built in"));
    tempdir_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_daemon_without_it_says_so) };
    return cmocka_run_group_tests_name("not built in", tests, NULL, NULL);
}

#endif
