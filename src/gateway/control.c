#include "control_parts.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_MODE 0660

/* Without descriptors or memory, connections wait for so long. */
#define PAUSE_NS FG_NS_PER_S

/* How soon a socket that could not be made is tried again, and how late at most. */
#define RETRY_MIN_NS (FG_NS_PER_S / 4)
#define RETRY_MAX_NS (10 * FG_NS_PER_S)

/* "process 123 (fieldgated)", as far as it can be seen. */
static void name_server(pid_t server, char *text, size_t size)
{
    char name[32] = "";
    char file[64];
    snprintf(file, sizeof file, "/proc/%d/comm", (int)server);
    FILE *comm = server > 0 ? fopen(file, "re") : NULL;
    if (comm && fgets(name, sizeof name, comm)) {
        name[strcspn(name, "\n")] = '\0';
    }
    if (comm) {
        fclose(comm);
    }
    if (name[0]) {
        snprintf(text, size, "process %d (%s)", (int)server, name);
    } else if (server > 0) { /* it is hidden from us, or it has ended and is not gone yet */
        bool ended = kill(server, 0) < 0 && errno == ESRCH;
        snprintf(text, size, "process %d%s", (int)server, ended ? ", which is ending" : "");
    } else {
        snprintf(text, size, "another program");
    }
}

static void log_failure(struct fg_control *control, int error, pid_t server)
{
    char text[128];
    if (error == -EADDRINUSE) {
        char who[80];
        name_server(server, who, sizeof who);
        snprintf(text, sizeof text, "it is served by %s", who);
    } else if (error == -EEXIST) {
        snprintf(text, sizeof text, "what is there is not a socket");
    } else {
        snprintf(text, sizeof text, "%s%s", strerror(-error),
                 error == -ENOENT ? " (its folder is not there)" : "");
    }
    bool news = strcmp(text, control->told) != 0;
    snprintf(control->told, sizeof control->told, "%s", text);
    fg_log(news ? FG_LOG_WARNING : FG_LOG_DEBUG,
           "control socket %s: %s: fieldgatectl does not reach this daemon; trying again", control->path,
           text);
}

/* Of an accepted connection that cannot be served. It has room for one line: nothing was sent on it. */
static void turn_away(int fd, int error)
{
    struct fg_buffer line;
    fg_buffer_init(&line, 1024);
    const char *why = error == -ENOBUFS ? "too many clients are connected" : "no memory";
    if (error != -ECANCELED && fg_control_answer_error(&line, why) == 0) {
        ssize_t sent = send(fd, line.bytes, line.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)sent; /* it was a courtesy */
    }
    fg_buffer_fini(&line);
    close(fd);
}

static void accepted(struct fg_op *op)
{
    struct fg_control *control = fg_channel_owner(op->channel);
    int64_t result = op->result;
    if (result == -ECANCELED) {
        return;
    }
    if (result < 0) {
        fg_log_limited(&control->accept_limit, FG_LOG_WARNING, NULL, NULL, "control socket: %s",
                       strerror((int)-result));
        fg_timer_start(&control->pause, PAUSE_NS);
        return;
    }
    int error = fg_control_client_new(control, (int)result);
    if (error) {
        turn_away((int)result, error);
    }
    fg_channel_submit(control->listener, op);
}

static void pause_expired(struct fg_timer *timer)
{
    struct fg_control *control = (struct fg_control *)((char *)timer - offsetof(struct fg_control, pause));
    fg_channel_submit(control->listener, &control->accept);
}

void fg_control_part_gone(struct fg_control *control, bool client)
{
    pthread_mutex_lock(&control->lock);
    control->clients -= client;
    control->open--;
    bool last = control->closing && control->open == 0;
    pthread_mutex_unlock(&control->lock);
    if (last) {
        control->closed(control->context);
    }
}

static void listener_gone(void *owner)
{
    fg_control_part_gone(owner, false);
}

static void close_listener(struct fg_task *task)
{
    struct fg_control *control =
        (struct fg_control *)((char *)task - offsetof(struct fg_control, close_listener));
    fg_timer_stop(&control->pause);
    fg_channel_close(control->listener, listener_gone);
}

static void strand_gone(struct fg_strand *strand)
{
    fg_control_part_gone((struct fg_control *)((char *)strand - offsetof(struct fg_control, strand)), false);
}

static void close_all(struct fg_task *task)
{
    struct fg_control *control = (struct fg_control *)((char *)task - offsetof(struct fg_control, close));
    fg_timer_stop(&control->retry);
    fg_unix_file_remove(&control->file, control->path);
    if (control->listener) {
        fg_strand_post(fg_channel_strand(control->listener), &control->close_listener);
    }
    fg_strand_close(&control->strand, strand_gone);
}

void fg_control_begin_reload(struct fg_control *control)
{
    if (!control->reloading) {
        control->reloading = true;
        fg_loop_post(control->options.loop, &control->reload);
    }
}

static void reload(struct fg_task *task)
{
    struct fg_control *control = (struct fg_control *)((char *)task - offsetof(struct fg_control, reload));
    const struct fg_control_hooks *hooks = &control->options.hooks;
    char outcome[FG_CONTROL_OUTCOME] = "";
    int error = hooks->reload(hooks->context, outcome, sizeof outcome);
    if (error != -EINPROGRESS) {
        fg_control_reloaded(control, error == 0, outcome[0] || !error ? outcome : strerror(-error));
    }
}

void fg_control_reloaded(struct fg_control *control, bool applied, const char *outcome)
{
    pthread_mutex_lock(&control->lock);
    control->reloading = false;
    for (struct fg_control_client *client = control->first; client; client = client->next) {
        if (client->awaits_reload) {
            client->awaits_reload = false;
            fg_control_answer_reload(&client->waiting, applied, outcome);
            fg_control_client_wake(client);
        }
    }
    pthread_mutex_unlock(&control->lock);
}

static int listen_on(struct fg_control *control, pid_t *server)
{
    int fd = fg_unix_file_make(control->path, SOCK_STREAM, SOCKET_MODE, &control->file, server);
    if (fd < 0) {
        return fd;
    }
    struct fg_loop *loop = control->options.loop;
    int error = fg_channel_new(loop->model, fd, FG_CHANNEL_STREAM, control, &control->listener);
    if (error) {
        fg_unix_file_remove(&control->file, control->path);
        close(fd);
        return error;
    }
    fg_timer_init(&control->pause, loop->timers, fg_channel_strand(control->listener), pause_expired);
    control->accept = (struct fg_op){ .kind = FG_OP_ACCEPT, .done = accepted };
    pthread_mutex_lock(&control->lock);
    control->open++;
    pthread_mutex_unlock(&control->lock);
    fg_channel_submit(control->listener, &control->accept);
    return 0;
}

/* A folder can come later, and who is in the way go: one that was killed is seen for a while. */
static void try_to_listen(struct fg_control *control)
{
    pid_t server = 0;
    int error = listen_on(control, &server);
    if (error) {
        log_failure(control, error, server);
        control->delay_ns = control->delay_ns ? 2 * control->delay_ns : RETRY_MIN_NS;
        control->delay_ns = control->delay_ns < RETRY_MAX_NS ? control->delay_ns : RETRY_MAX_NS;
        fg_timer_start(&control->retry, control->delay_ns);
    } else if (control->told[0]) {
        fg_log(FG_LOG_WARNING, "control socket %s: listening", control->path);
    }
}

static void retry_expired(struct fg_timer *timer)
{
    try_to_listen((struct fg_control *)((char *)timer - offsetof(struct fg_control, retry)));
}

struct fg_control *fg_control_open(const struct fg_control_options *options)
{
    if (!options->path[0]) {
        return NULL;
    }
    struct fg_control *control = calloc(1, sizeof *control);
    if (!control) {
        fg_log(FG_LOG_WARNING, "control socket %s: no memory for it", options->path);
        return NULL;
    }
    control->options = *options;
    snprintf(control->path, sizeof control->path, "%s", options->path);
    control->options.path = control->path;
    control->open = 1;
    control->close.run = close_all;
    control->close_listener.run = close_listener;
    control->reload.run = reload;
    fg_strand_init(&control->strand, options->loop->pool);
    fg_timer_init(&control->retry, options->loop->timers, &control->strand, retry_expired);
    pthread_mutex_init(&control->lock, NULL);
    options->tap->reading = fg_control_show;
    options->tap->context = control;
    try_to_listen(control);
    return control;
}

void fg_control_close(struct fg_control *control, void (*closed)(void *context), void *context)
{
    control->closed = closed;
    control->context = context;
    pthread_mutex_lock(&control->lock);
    control->closing = true;
    for (struct fg_control_client *client = control->first; client; client = client->next) {
        fg_control_client_wake(client);
    }
    pthread_mutex_unlock(&control->lock);
    fg_strand_post(&control->strand, &control->close);
}

void fg_control_free(struct fg_control *control)
{
    if (control) {
        pthread_mutex_destroy(&control->lock);
        free(control);
    }
}
