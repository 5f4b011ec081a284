/*
 * One client of the control socket.
 *
 * A request is answered when the answer before has been sent, and no more is read meanwhile than a request
 * has bytes: a client that does not read its answers waits. One that takes nothing of what is sent, or sends
 * no request, is disconnected after a time.
 */
#include "control_parts.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of one SEND: so much has gone when the client is seen to take something. */
#define CHUNK_BYTES 16384

#define STALL_NS (30 * FG_NS_PER_S)
#define IDLE_NS  (60 * FG_NS_PER_S)

static void advance(struct fg_control_client *client);

void fg_control_client_wake(struct fg_control_client *client)
{
    if (!client->woken) {
        client->woken = true;
        fg_strand_post(fg_channel_strand(client->channel), &client->wake);
    }
}

static void gone(void *owner)
{
    struct fg_control_client *client = owner;
    struct fg_control *control = client->control;
    fg_buffer_fini(&client->input);
    fg_buffer_fini(&client->output);
    fg_buffer_fini(&client->waiting);
    free(client);
    fg_control_part_gone(control, true);
}

static void disconnect(struct fg_control_client *client)
{
    if (client->closed) {
        return;
    }
    struct fg_control *control = client->control;
    client->closed = true;
    fg_timer_stop(&client->timer);
    pthread_mutex_lock(&control->lock);
    if (client->previous) {
        client->previous->next = client->next;
    } else {
        control->first = client->next;
    }
    if (client->next) {
        client->next->previous = client->previous;
    }
    if (client->watches) {
        client->watches = false;
        atomic_fetch_sub(&control->options.tap->watchers, 1);
    }
    pthread_mutex_unlock(&control->lock);
    fg_channel_close(client->channel, gone);
}

/* ---- what is sent ---- */

static void sent(struct fg_op *op)
{
    struct fg_control_client *client = fg_channel_owner(op->channel);
    client->sending = false;
    if (op->result < 0) {
        disconnect(client);
        return;
    }
    client->moved_ns = fg_clock_now_ns();
    client->sent += (size_t)op->result;
    advance(client);
}

/* Takes what waits as what is to be sent. Returns whether there is something. */
static bool take_waiting(struct fg_control_client *client)
{
    fg_buffer_fini(&client->output);
    client->sent = 0;
    pthread_mutex_lock(&client->control->lock);
    client->output = client->waiting;
    fg_buffer_init(&client->waiting, client->output.limit);
    client->dropping = false;
    client->reloads = client->awaits_reload; /* what has come of it is in output */
    if (client->dropped > 0) {
        fg_control_tell_dropped(client);
    }
    pthread_mutex_unlock(&client->control->lock);
    client->moved_ns = client->output.size > 0 ? fg_clock_now_ns() : client->moved_ns;
    return client->output.size > 0;
}

/* Sends on. Returns whether something is on its way. */
static bool send_more(struct fg_control_client *client)
{
    if (client->sending) {
        return true;
    }
    if (client->sent == client->output.size && !take_waiting(client)) {
        return false;
    }
    size_t rest = client->output.size - client->sent;
    client->out = (struct fg_op){ .kind = FG_OP_SEND, .done = sent };
    client->out.send.data = client->output.bytes + client->sent;
    client->out.send.size = rest < CHUNK_BYTES ? rest : CHUNK_BYTES;
    client->sending = fg_channel_submit(client->channel, &client->out) == 0;
    return true;
}

/* ---- what is asked ---- */

/* Told while the level is the more talkative one of the two. */
static void set_level(enum fg_log_level level)
{
    static const char text[] = "the log level is %s from now on: so the control socket was told";
    if (!fg_log_enabled(level)) {
        fg_log_set_level(level);
        fg_log(FG_LOG_INFO, text, fg_log_level_names[level]);
    } else if (level != FG_LOG_DEBUG && fg_log_enabled(level + 1)) {
        fg_log(FG_LOG_INFO, text, fg_log_level_names[level]);
        fg_log_set_level(level);
    }
}

static int answer(struct fg_control_client *client, const struct fg_control_request *request,
                  struct fg_buffer *out)
{
    struct fg_control *control = client->control;
    switch (request->command) {
    case FG_CONTROL_STATUS:
        return fg_control_answer_status(out, control);
    case FG_CONTROL_DEVICES:
        return fg_control_answer_devices(out, control);
    case FG_CONTROL_STATS:
        return fg_control_answer_stats(out, control);
    case FG_CONTROL_WATCH:
        return fg_control_answer_watch(out, control, request->device);
    case FG_CONTROL_LOG_LEVEL:
        if (request->level >= 0) {
            set_level((enum fg_log_level)request->level);
        }
        return fg_control_answer_level(out);
    case FG_CONTROL_RELOAD:
        return control->options.hooks.reload ? 0 : fg_control_answer_error(out, "reload is not available");
    }
    return -EINVAL;
}

/* What a request begins besides its answer. Under the control's lock, the answer is in place. */
static void begin(struct fg_control_client *client, const struct fg_control_request *request)
{
    struct fg_control *control = client->control;
    if (request->command == FG_CONTROL_RELOAD && control->options.hooks.reload && !control->closing) {
        client->awaits_reload = client->reloads = true;
        fg_control_begin_reload(control);
    } else if (request->command == FG_CONTROL_WATCH) {
        memcpy(client->device, request->device, sizeof client->device);
        client->watches = true;
        client->waiting.limit = FG_CONTROL_WATCH_BYTES;
        atomic_fetch_add(&control->options.tap->watchers, 1);
    }
}

static void handle(struct fg_control_client *client, const char *line, size_t length)
{
    struct fg_control_request request;
    char why[FG_CONTROL_ERROR_BYTES];
    struct fg_buffer out;
    fg_buffer_init(&out, FG_CONTROL_ANSWER_BYTES);
    enum fg_control_verdict verdict = fg_control_parse(line, length, &request, why);
    int error =
        verdict == FG_CONTROL_GOOD ? answer(client, &request, &out) : fg_control_answer_error(&out, why);
    if (error) {
        fg_buffer_fini(&out);
        error = fg_control_answer_error(&out, error == -EMSGSIZE ? "the answer would be too long"
                                                                 : "no memory for the answer");
    }
    client->last = client->last || error || verdict == FG_CONTROL_MALFORMED;
    pthread_mutex_lock(&client->control->lock);
    client->waiting = out; /* it was empty */
    if (verdict == FG_CONTROL_GOOD && !error) {
        begin(client, &request);
    }
    pthread_mutex_unlock(&client->control->lock);
}

/* Handles the next request, if all of it is there. Returns whether there was one. */
static bool handle_next(struct fg_control_client *client)
{
    struct fg_buffer *input = &client->input;
    const uint8_t *end = input->size > 0 ? memchr(input->bytes, '\n', input->size) : NULL;
    size_t length = end ? (size_t)(end - input->bytes) : input->size;
    bool cut = !end && (length > FG_CONTROL_LINE_BYTES || (client->ended && length > 0));
    if (!end && !cut) {
        return false;
    }
    size_t trimmed = end && length > 0 && input->bytes[length - 1] == '\r' ? length - 1 : length;
    if (end && trimmed == 0) {
        fg_buffer_consume(input, length + 1);
        return true;
    }
    handle(client, (const char *)input->bytes, trimmed);
    client->last = client->last || cut;
    fg_buffer_consume(input, length + (end ? 1 : 0));
    return true;
}

/* ---- what comes ---- */

static void received(struct fg_op *op)
{
    struct fg_control_client *client = fg_channel_owner(op->channel);
    client->receiving = false;
    if (op->result < 0) {
        disconnect(client);
        return;
    }
    client->moved_ns = fg_clock_now_ns();
    client->ended = op->result == 0;
    /* Who watches has nothing more to say; only the end of it is heard. */
    if (!client->watches && !client->last && op->result > 0 &&
        fg_buffer_append(&client->input, op->recv.data, (size_t)op->result)) {
        disconnect(client);
        return;
    }
    advance(client);
}

static void receive(struct fg_control_client *client)
{
    if (client->receiving || client->ended || client->closed || client->input.size > FG_CONTROL_LINE_BYTES) {
        return;
    }
    client->in = (struct fg_op){ .kind = FG_OP_RECV, .done = received };
    client->receiving = fg_channel_submit(client->channel, &client->in) == 0;
}

static int64_t patience_ends_ns(const struct fg_control_client *client)
{
    return client->moved_ns + (client->sending ? STALL_NS : IDLE_NS);
}

/* What moves would move the timer all the time: it is moved when it expires. */
static void set_timer(struct fg_control_client *client)
{
    int64_t ends_ns = patience_ends_ns(client);
    if (!client->sending && (client->watches || client->reloads)) {
        fg_timer_stop(&client->timer);
    } else if ((!fg_timer_is_set(&client->timer) || client->timer.deadline_ns > ends_ns) &&
               fg_timer_set(&client->timer, ends_ns)) {
        disconnect(client);
    }
}

static void expired(struct fg_timer *timer)
{
    struct fg_control_client *client =
        (struct fg_control_client *)((char *)timer - offsetof(struct fg_control_client, timer));
    if (client->closed) {
        return;
    }
    if (fg_clock_now_ns() >= patience_ends_ns(client)) {
        disconnect(client);
    } else {
        set_timer(client);
    }
}

/* Goes on as far as it goes. */
static void advance(struct fg_control_client *client)
{
    while (!client->closed && !send_more(client)) {
        if (client->last || (client->watches && client->ended)) {
            disconnect(client);
        } else if (client->watches || client->reloads) {
            break;
        } else if (!handle_next(client)) {
            client->last = client->ended;
            if (!client->last) {
                break;
            }
        }
    }
    if (!client->closed) {
        receive(client);
        set_timer(client);
    }
}

static void wake(struct fg_task *task)
{
    struct fg_control_client *client =
        (struct fg_control_client *)((char *)task - offsetof(struct fg_control_client, wake));
    pthread_mutex_lock(&client->control->lock);
    client->woken = false;
    bool closing = client->control->closing;
    pthread_mutex_unlock(&client->control->lock);
    if (closing) {
        disconnect(client);
    } else if (!client->closed) {
        advance(client);
    }
}

/* Takes one of the places. */
static int reserve(struct fg_control *control)
{
    int error = 0;
    pthread_mutex_lock(&control->lock);
    if (control->closing) {
        error = -ECANCELED;
    } else if (control->clients >= FG_CONTROL_CLIENTS) {
        error = -ENOBUFS;
    } else {
        control->clients++;
        control->open++;
    }
    pthread_mutex_unlock(&control->lock);
    return error;
}

static void enlist(struct fg_control_client *client)
{
    struct fg_control *control = client->control;
    pthread_mutex_lock(&control->lock);
    client->next = control->first;
    if (client->next) {
        client->next->previous = client;
    }
    control->first = client;
    fg_control_client_wake(client);
    pthread_mutex_unlock(&control->lock);
}

int fg_control_client_new(struct fg_control *control, int fd)
{
    int error = reserve(control);
    if (error) {
        return error;
    }
    struct fg_control_client *client = calloc(1, sizeof *client);
    error =
        client ? fg_channel_new(control->options.loop->model, fd, FG_CHANNEL_STREAM, client, &client->channel)
               : -ENOMEM;
    if (error) {
        free(client);
        fg_control_part_gone(control, true);
        return error;
    }
    client->control = control;
    client->moved_ns = fg_clock_now_ns();
    client->wake.run = wake;
    fg_buffer_init(&client->input, FG_CONTROL_LINE_BYTES + 2 * FG_TURN_BYTES);
    fg_timer_init(&client->timer, control->options.loop->timers, fg_channel_strand(client->channel), expired);
    enlist(client);
    return 0;
}
