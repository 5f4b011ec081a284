/*
 * What tests share whose victim is their own program, started again as a child: a publisher with a spool, in
 * a process of its own.
 */
#ifndef FIELDGATE_TEST_SPOOL_CHILD_H
#define FIELDGATE_TEST_SPOOL_CHILD_H

#include "publisher_bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- in the child --- */

/* What the child's publisher is to be like where it differs. */
static int child_protocol = FG_MQTT_5;
static int64_t child_spool_bytes = 64 << 20;

static int child_open(const char *address, const char *path, const char *gateway, int window, int durability,
                      struct fg_publisher **publisher)
{
    static char *addresses[1];
    static struct fg_mqtt_settings settings;
    static struct fg_spool_settings spool;
    addresses[0] = strdup(address);
    settings = (struct fg_mqtt_settings){
        .address = { 1, addresses },
        .protocol = child_protocol,
        .client_id = text_id,
        .username = text_empty,
        .password_file = text_empty,
        .keepalive_ns = S(60),
        .clean_session = true,
        .qos = 1,
        .max_inflight = window,
        .reconnect_min_ns = MS(50),
        .reconnect_max_ns = MS(100),
        .base_topic = text_base,
    };
    spool = (struct fg_spool_settings){ .path = strdup(path),
                                        .durability = durability,
                                        .max_bytes = child_spool_bytes };
    const struct fg_publisher_options options = {
        .settings = &settings, .gateway = gateway, .queue_bytes = 4 << 20, .spool = &spool
    };
    int error = fg_publisher_new(&options, publisher);
    return error ? error : fg_publisher_start(*publisher);
}

static struct fg_message *child_message(struct fg_origin *origin, const char *topic, long number)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%ld", number);
    struct fg_message *message = fg_message_new(origin, topic, strlen(topic), text, (size_t)length);
    if (message) {
        message->qos = 1;
        message->taken_ns = fg_clock_now_ns();
        message->wall_ms = fg_clock_wall_ms();
    }
    return message;
}

/* For as long as it takes. */
static void child_offer(struct fg_publisher *publisher, struct fg_message *message)
{
    while (fg_publisher_offer(publisher, message) == -ENOBUFS) {
        usleep(100);
    }
}

/* --- in the test --- */

struct child {
    pid_t pid;
    int out; /* its standard output */
};

/* Starts this program with these arguments, NULL at the end. */
static struct child child_start(const char *const arguments[])
{
    extern char **environ;
    int ends[2];
    struct child child = { 0 };
    posix_spawn_file_actions_t actions;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    assert_int_equal(
        posix_spawn(&child.pid, "/proc/self/exe", &actions, NULL, (char **)(uintptr_t)arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    child.out = ends[0];
    return child;
}

/* Waits for its end. Returns its status as waitpid gives it. */
static int child_end(struct child *child)
{
    int status = -1;
    close(child->out);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    return status;
}

#endif
