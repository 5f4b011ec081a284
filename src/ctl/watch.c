#include "ctl.h"
#include "table.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Signals come while we wait, and at no other time: none is missed. */
static void catch_signals(sigset_t *waiting)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = interrupt };
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaction(numbers[i], &action, NULL);
        sigaddset(&blocked, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, waiting);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigdelset(waiting, numbers[i]);
    }
    signal(SIGPIPE, SIG_IGN); /* seen as an error of stdout */
}

static void put_clean(const char *dirty)
{
    char *clean = strdup(dirty);
    if (clean) {
        table_clean(clean);
        fputs(clean, stdout);
        free(clean);
    }
}

static void put_time(const json_t *reading)
{
    json_int_t ms = json_integer_value(json_object_get(reading, "ts"));
    time_t seconds = (time_t)(ms / 1000);
    struct tm local;
    char text[32] = "";
    if (ms >= 0 && localtime_r(&seconds, &local)) {
        strftime(text, sizeof text, "%H:%M:%S", &local);
    }
    printf("%s.%03d", text, (int)(ms >= 0 ? ms % 1000 : 0));
}

static void put_value(const char *name, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    printf("  ");
    put_clean(name);
    printf("=");
    put_clean(text ? text : "?");
    free(text);
}

static void put_reading(const json_t *reading, bool colour)
{
    const char *device = json_string_value(json_object_get(reading, "device"));
    const char *hex = json_string_value(json_object_get(reading, "hex"));
    const char *name;
    json_t *value;
    put_time(reading);
    printf("  %s", table_on(TABLE_HEAD, colour));
    put_clean(device ? device : "?");
    printf("%s", table_off(TABLE_HEAD, colour));
    json_object_foreach(json_object_get(reading, "values"), name, value)
    {
        put_value(name, value);
    }
    if (hex) {
        printf("  hex ");
        put_clean(hex);
        printf("… (%lld bytes)", (long long)json_integer_value(json_object_get(reading, "bytes")));
    }
    printf("\n");
}

/* What is told of readings that are not there goes to stderr: stdout has a line a reading. */
static bool show_line(const struct ctl_options *options, const char *line)
{
    if (options->json) {
        puts(line);
        return true;
    }
    json_t *answer = ctl_parse(line);
    json_int_t dropped = json_integer_value(json_object_get(answer, "dropped"));
    if (dropped > 0) {
        fprintf(stderr, "fieldgatectl: %lld readings are not shown: they came too fast, or were too long\n",
                (long long)dropped);
    } else if (answer) {
        put_reading(answer, options->colour);
    }
    json_decref(answer);
    return answer != NULL;
}

/* Shows what is there. Returns -1 to go on, else the exit status. */
static int show_lines(const struct ctl_options *options, struct ctl_line *line)
{
    for (const char *text; (text = ctl_take(line));) {
        if (!show_line(options, text)) {
            return CTL_FAILED;
        }
    }
    return fflush(stdout) == 0 ? -1 : CTL_OK; /* whoever read it has had enough */
}

static int follow(const struct ctl_options *options, struct ctl_line *line, const sigset_t *waiting)
{
    struct pollfd fds[] = { { .fd = line->fd, .events = POLLIN }, { .fd = STDOUT_FILENO, .events = 0 } };
    int status = show_lines(options, line);
    while (status < 0) {
        int ready = ppoll(fds, 2, NULL, waiting);
        if (interrupted || (ready > 0 && (fds[1].revents & (POLLERR | POLLNVAL)))) {
            return CTL_OK;
        }
        if (ready < 0 && errno != EINTR) {
            fprintf(stderr, "fieldgatectl: %s\n", strerror(errno));
            return CTL_FAILED;
        }
        bool more = ready <= 0 || !fds[0].revents || ctl_read(line);
        status = show_lines(options, line);
        if (status < 0 && !more) {
            fprintf(stderr, "fieldgatectl: fieldgated closed the connection: has it been stopped?\n");
            return CTL_FAILED;
        }
    }
    return status;
}

int ctl_watch(const struct ctl_options *options, const char *device)
{
    struct ctl_line line;
    sigset_t waiting;
    const char *text = NULL;
    if (!ctl_connect(&line, options->socket)) {
        return CTL_FAILED;
    }
    catch_signals(&waiting);
    json_t *request = json_pack("{s:s}", "command", "watch");
    if (request && device && json_object_set_new(request, "device", json_string(device)) != 0) {
        fprintf(stderr, "fieldgatectl: the device's name is not UTF-8\n");
        json_decref(request);
        ctl_disconnect(&line);
        return CTL_USAGE;
    }
    json_t *answer = ctl_ask(&line, request, 10, &text);
    int status = answer ? CTL_OK : CTL_FAILED;
    if (options->json && text) {
        puts(text);
    } else if (answer && json_is_false(json_object_get(answer, "known"))) {
        fprintf(stderr, "fieldgatectl: no device %s has been seen so far; waiting for it\n", device);
    }
    json_decref(answer);
    if (status == CTL_OK) {
        status = follow(options, &line, &waiting);
    }
    ctl_disconnect(&line);
    return status;
}
