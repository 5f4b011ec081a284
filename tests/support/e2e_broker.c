#include "support/e2e_broker.h"

#include "support/client.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_config(const struct e2e_broker *broker)
{
    char text[1024];
    char path[TEMPDIR_PATH];
    int length = snprintf(text, sizeof text,
                          "listener %u 127.0.0.1\n"
                          "allow_anonymous true\n"
                          "user root\n"
                          "max_queued_messages 0\n"
                          "max_inflight_messages 0\n"
                          "set_tcp_nodelay true\n"
                          "persistence true\n"
                          "persistence_location %s/\n"
                          "log_dest stderr\n"
                          "log_type error\n"
                          "log_type warning\n",
                          broker->port, broker->folder);
    tempdir_write(broker->folder, "mosquitto.conf", text, (size_t)length, path);
}

void e2e_broker_init(struct e2e_broker *broker, const char *folder)
{
    *broker = (struct e2e_broker){ .port = client_free_port() };
    snprintf(broker->folder, sizeof broker->folder, "%.80s/broker", folder);
    assert_int_equal(mkdir(broker->folder, 0755), 0);
    write_config(broker);
}

static _Noreturn void become_mosquitto(const struct e2e_broker *broker)
{
    char config[TEMPDIR_PATH + 16];
    char log[TEMPDIR_PATH + 16];
    snprintf(config, sizeof config, "%s/mosquitto.conf", broker->folder);
    snprintf(log, sizeof log, "%s/log", broker->folder);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Debian keeps it where an ordinary user's PATH does not look. */
    execlp("mosquitto", "mosquitto", "-c", config, (char *)NULL);
    execl("/usr/sbin/mosquitto", "mosquitto", "-c", config, (char *)NULL);
    _exit(127);
}

void e2e_broker_start(struct e2e_broker *broker)
{
    fflush(NULL);
    broker->pid = fork();
    assert_true(broker->pid >= 0);
    if (broker->pid == 0) {
        become_mosquitto(broker);
    }
    int64_t deadline = wait_deadline(10000);
    int fd;
    while ((fd = client_try_tcp(broker->port)) < 0) {
        int status;
        if (waitpid(broker->pid, &status, WNOHANG) == broker->pid) {
            broker->pid = 0;
            fail_msg("mosquitto ended with status %d; is it installed?", WEXITSTATUS(status));
        }
        if (wait_over(deadline)) {
            fail_msg("mosquitto does not answer");
        }
        wait_nap();
    }
    close(fd);
}

void e2e_broker_save(struct e2e_broker *broker)
{
    char path[TEMPDIR_PATH + 16];
    struct stat about;
    snprintf(path, sizeof path, "%s/mosquitto.db", broker->folder);
    unlink(path);
    kill(broker->pid, SIGUSR1);
    int64_t deadline = wait_deadline(5000);
    while (stat(path, &about) != 0) {
        if (wait_over(deadline)) {
            fail_msg("mosquitto does not save");
        }
        wait_nap();
    }
}

void e2e_broker_kill(struct e2e_broker *broker)
{
    if (broker->pid > 0) {
        kill(broker->pid, SIGKILL);
        waitpid(broker->pid, NULL, 0);
        broker->pid = 0;
    }
}

void e2e_broker_freeze(struct e2e_broker *broker)
{
    int status;
    kill(broker->pid, SIGSTOP);
    waitpid(broker->pid, &status, WUNTRACED);
}

void e2e_broker_thaw(struct e2e_broker *broker)
{
    kill(broker->pid, SIGCONT);
}
