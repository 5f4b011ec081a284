#include "sender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A frame that cannot be written for so long: nobody reads at the other end. */
#define SENDING_MAX_NS (10 * FG_NS_PER_S)

/* What one UDP datagram can carry. */
#define DATAGRAM_MAX 65507

/* What a framing puts around the payload, at the most: every byte escaped, and a few at the ends. */
#define FRAME_ROOM(size) (2 * (size) + 64)

struct fg_outgoing {
    struct fg_outgoing *next;
    struct fg_sender *sender;
    struct fg_device *device;
    struct fg_command *command; /* NULL: it is answered */
    struct fg_buffer frame;
    union fg_address to;
    int64_t sent_ns;     /* when it was handed to the link */
    int64_t deadline_ns; /* of its answer */
};

struct queue {
    struct fg_outgoing *first, **last;
};

struct fg_sender {
    struct fg_link *link;
    struct fg_timer timer;
    struct fg_task burial;
    struct fg_op op;
    struct queue waiting;        /* to be sent */
    struct queue awaiting;       /* their answers */
    struct fg_outgoing *sending; /* may be one of awaiting, too */
    int64_t sending_until_ns;
    int64_t gap_ns;
    int64_t quiet_ns;    /* nothing is sent before */
    int64_t baud;        /* of a serial line, else 0 */
    bool overdue;        /* what is being sent takes too long */
    bool down;           /* the link */
    atomic_uint pending; /* posted and not freed; any thread */
};

/* ---- queues ---- */

static void queue_init(struct queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static void append(struct queue *queue, struct fg_outgoing *outgoing)
{
    outgoing->next = NULL;
    *queue->last = outgoing;
    queue->last = &outgoing->next;
}

/* Takes out what at points to. */
static struct fg_outgoing *take_out(struct queue *queue, struct fg_outgoing **at)
{
    struct fg_outgoing *outgoing = *at;
    *at = outgoing->next;
    if (!*at) {
        queue->last = at;
    }
    return outgoing;
}

static void remove_from(struct queue *queue, const struct fg_outgoing *outgoing)
{
    for (struct fg_outgoing **at = &queue->first; *at; at = &(*at)->next) {
        if (*at == outgoing) {
            take_out(queue, at);
            return;
        }
    }
}

/* ---- frames ---- */

static bool refuse_bytes(struct fg_refusal *refusal, const struct fg_port_settings *port, size_t size,
                         int error)
{
    const char *framing = port->framing.variant->name;
    switch (error) {
    case -EMSGSIZE:
        return fg_refuse(refusal, FG_OUTCOME_BAD_VALUE, "%zu bytes are more than a frame of \"%s\" can have",
                         size, framing);
    case -ENOMEM:
        return fg_refuse(refusal, FG_OUTCOME_NO_MEMORY, "there is no memory for the command");
    default:
        if (size == 0) {
            return fg_refuse(refusal, FG_OUTCOME_BAD_VALUE, "\"%s\" has no frame without bytes", framing);
        }
        if (strcmp(framing, "fixed") == 0) {
            return fg_refuse(refusal, FG_OUTCOME_BAD_VALUE,
                             "%zu bytes are not as many as the frames of the "
                             "port have",
                             size);
        }
        return fg_refuse(refusal, FG_OUTCOME_BAD_VALUE,
                         "a byte in it means the begin or the end of a frame of \"%s\"", framing);
    }
}

static bool put_frame(struct fg_outgoing *outgoing, struct fg_refusal *refusal)
{
    const struct fg_port_settings *port = outgoing->device->port->settings;
    const struct fg_command *command = outgoing->command;
    int error = 0;
    if (port->framing.variant) {
        error = fg_framing_encode(port->framing.variant, port->framing.settings, command->bytes,
                                  command->size, &outgoing->frame);
        return error ? refuse_bytes(refusal, port, command->size, error) : true;
    }
    if (command->size == 0 || command->size > DATAGRAM_MAX) {
        return fg_refuse(refusal, FG_OUTCOME_BAD_VALUE, "a datagram has 1 to %d bytes, and this is %zu",
                         DATAGRAM_MAX, command->size);
    }
    error = fg_buffer_append(&outgoing->frame, command->bytes, command->size);
    return error ? fg_refuse(refusal, FG_OUTCOME_NO_MEMORY, "there is no memory for the command") : true;
}

struct fg_outgoing *fg_outgoing_new(struct fg_device *device, struct fg_command *command,
                                    struct fg_refusal *refusal)
{
    struct fg_outgoing *made = calloc(1, sizeof *made);
    if (!made) {
        fg_refuse(refusal, FG_OUTCOME_NO_MEMORY, "there is no memory for the command");
        return NULL;
    }
    made->device = device;
    made->command = command;
    fg_buffer_init(&made->frame, FRAME_ROOM(command->size));
    if (!put_frame(made, refusal)) {
        fg_outgoing_free(made);
        return NULL;
    }
    return made;
}

void fg_outgoing_free(struct fg_outgoing *outgoing)
{
    if (outgoing) {
        fg_buffer_fini(&outgoing->frame);
        free(outgoing);
    }
}

/* ---- answers ---- */

static void answer(struct fg_outgoing *outgoing, const struct fg_command_result *result)
{
    struct fg_command *command = outgoing->command;
    outgoing->command = NULL;
    if (command) {
        fg_device_end_command(outgoing->device, command, result);
    }
}

/* It stands in no queue any more and is not being sent. */
static void end(struct fg_sender *sender, struct fg_outgoing *outgoing, enum fg_outcome outcome,
                const char *why)
{
    const struct fg_command_result result = { .outcome = outcome, .why = why };
    answer(outgoing, &result);
    fg_outgoing_free(outgoing);
    atomic_fetch_sub(&sender->pending, 1);
}

static bool is_awaited(const struct fg_outgoing *outgoing)
{
    return outgoing->device->settings->reply;
}

static void step(struct fg_sender *sender);

void fg_sender_take_frame(struct fg_sender *sender, const struct fg_device *device,
                          const struct fg_frame *frame, int64_t received_ns)
{
    for (struct fg_outgoing **at = &sender->awaiting.first; *at; at = &(*at)->next) {
        if ((*at)->device != device || (*at)->sent_ns > received_ns) {
            continue; /* or it came before the question */
        }
        const struct fg_command_result result = { .outcome = FG_OUTCOME_DONE,
                                                  .reply = frame->bytes,
                                                  .reply_size = frame->size };
        struct fg_outgoing *outgoing = take_out(&sender->awaiting, at);
        answer(outgoing, &result);
        if (outgoing != sender->sending) { /* else its bytes are not ours yet */
            end(sender, outgoing, FG_OUTCOME_DONE, NULL);
        }
        step(sender);
        return;
    }
}

static void end_awaiting(struct fg_sender *sender, int64_t now_ns)
{
    struct fg_outgoing **at = &sender->awaiting.first;
    while (*at) {
        if ((*at)->deadline_ns > now_ns) {
            at = &(*at)->next;
        } else {
            end(sender, take_out(&sender->awaiting, at), FG_OUTCOME_TIMEOUT,
                "it was sent, and no frame came in answer");
        }
    }
}

/* ---- sending ---- */

/* How long the bytes are on the wire, after they were handed to the driver. */
static int64_t wire_ns(const struct fg_sender *sender, size_t size)
{
    return sender->baud > 0 ? (int64_t)size * 11 * FG_NS_PER_S / sender->baud : 0;
}

static void keep_quiet(struct fg_sender *sender, int64_t until_ns)
{
    sender->quiet_ns = until_ns > sender->quiet_ns ? until_ns : sender->quiet_ns;
}

static struct fg_sender *sender_of(struct fg_op *op)
{
    return (struct fg_sender *)(void *)((char *)op - offsetof(struct fg_sender, op));
}

static void end_failed(struct fg_sender *sender, struct fg_outgoing *outgoing, int error)
{
    const char *text = strerrordesc_np(-error);
    if (sender->overdue) {
        end(sender, outgoing, FG_OUTCOME_TIMEOUT,
            "it could not be sent whole: nobody reads at the other end");
    } else if (error == -EMSGSIZE) {
        end(sender, outgoing, FG_OUTCOME_BAD_VALUE, "it is longer than a datagram can be on the way there");
    } else {
        end(sender, outgoing, FG_OUTCOME_LINK_DOWN,
            error == -ECANCELED ? "the link went down while it was sent"
            : text              ? text
                                : "it cannot be sent");
    }
}

static void on_sent(struct fg_op *op)
{
    struct fg_sender *sender = sender_of(op);
    struct fg_outgoing *outgoing = sender->sending;
    int64_t over_ns = fg_clock_now_ns() + wire_ns(sender, outgoing->frame.size);
    bool stream = outgoing->to.any.sa_family == AF_UNSPEC;
    sender->sending = NULL;
    keep_quiet(sender, over_ns + sender->gap_ns);
    if (op->result < 0) {
        remove_from(&sender->awaiting, outgoing);
        end_failed(sender, outgoing, (int)op->result);
        sender->overdue = false;
        if (stream) {
            fg_link_close(sender->link, (int)op->result); /* what follows a frame that is cut is none */
        }
    } else if (outgoing->command && is_awaited(outgoing)) {
        outgoing->deadline_ns = over_ns + outgoing->device->settings->modbus.timeout_ns;
    } else {
        end(sender, outgoing, FG_OUTCOME_DONE, NULL); /* or it is answered already */
    }
    step(sender);
}

/* The first that need not wait for an answer of its device. */
static struct fg_outgoing *take_next(struct fg_sender *sender)
{
    for (struct fg_outgoing **at = &sender->waiting.first; *at; at = &(*at)->next) {
        const struct fg_outgoing *other = sender->awaiting.first;
        while (other && other->device != (*at)->device) {
            other = other->next;
        }
        if (!other) {
            return take_out(&sender->waiting, at);
        }
    }
    return NULL;
}

static void send_frame(struct fg_sender *sender, struct fg_outgoing *outgoing, int64_t now_ns)
{
    sender->op = (struct fg_op){ .done = on_sent };
    sender->op.send.data = outgoing->frame.bytes;
    sender->op.send.size = outgoing->frame.size;
    sender->op.send.to = &outgoing->to;
    int error = fg_link_send(sender->link, &sender->op);
    if (error) {
        end_failed(sender, outgoing, error);
        return;
    }
    sender->sending = outgoing;
    sender->sending_until_ns = now_ns + SENDING_MAX_NS;
    outgoing->sent_ns = now_ns;
    outgoing->deadline_ns = INT64_MAX; /* until all of it is sent */
    if (is_awaited(outgoing)) {
        append(&sender->awaiting, outgoing);
    }
}

static void send_next(struct fg_sender *sender, int64_t now_ns)
{
    struct fg_outgoing *next = NULL;
    while (!sender->sending && sender->quiet_ns <= now_ns && (next = take_next(sender))) {
        if (fg_command_is_over(next->command, now_ns)) {
            end(sender, next, FG_OUTCOME_EXPIRED, "its time was over before it could be sent");
        } else {
            send_frame(sender, next, now_ns);
        }
    }
}

static void set_timer(struct fg_sender *sender, int64_t now_ns)
{
    int64_t wake_ns = INT64_MAX;
    for (const struct fg_outgoing *at = sender->awaiting.first; at; at = at->next) {
        wake_ns = at->deadline_ns < wake_ns ? at->deadline_ns : wake_ns;
    }
    int64_t own_ns = sender->sending ? sender->sending_until_ns : sender->quiet_ns;
    if ((sender->sending || sender->waiting.first) && own_ns < wake_ns &&
        own_ns > now_ns) { /* else it is an answer that is waited for, or the end of the link */
        wake_ns = own_ns;
    }
    if (wake_ns == INT64_MAX) {
        fg_timer_stop(&sender->timer);
    } else if (fg_timer_set(&sender->timer, wake_ns)) {
        fg_link_close(sender->link, -ENOMEM);
    }
}

/* Does what is to be done now, and sets the timer to when there is more. */
static void step(struct fg_sender *sender)
{
    int64_t now_ns = fg_clock_now_ns();
    end_awaiting(sender, now_ns);
    if (sender->sending && !sender->overdue && sender->sending_until_ns <= now_ns) {
        sender->overdue = true;
        fg_link_close(sender->link, -ETIMEDOUT); /* on_sent follows, and down */
    }
    send_next(sender, now_ns);
    set_timer(sender, now_ns);
}

static void on_time(struct fg_timer *timer)
{
    step((struct fg_sender *)(void *)((char *)timer - offsetof(struct fg_sender, timer)));
}

/* ---- the way in ---- */

struct fg_sender *fg_sender_new(const struct fg_port *port, struct fg_link *link, int64_t gap_ns)
{
    struct fg_sender *made = calloc(1, sizeof *made);
    const char *format = NULL;
    if (!made) {
        return NULL;
    }
    made->link = link;
    queue_init(&made->waiting);
    queue_init(&made->awaiting);
    made->gap_ns = gap_ns;
    made->quiet_ns = gap_ns > 0 ? fg_clock_now_ns() + gap_ns : 0; /* nobody looked at the time until now */
    fg_transport_serial_line(&port->settings->transport, &made->baud, &format);
    fg_timer_init(&made->timer, fg_link_timers(link), fg_link_strand(link), on_time);
    return made;
}

static void take_posted(struct fg_task *task)
{
    struct fg_command *command =
        (struct fg_command *)(void *)((char *)task - offsetof(struct fg_command, task));
    struct fg_outgoing *outgoing = command->work;
    struct fg_sender *sender = outgoing->sender;
    if (sender->down) {
        end(sender, outgoing, FG_OUTCOME_LINK_DOWN, "the link went down before it was sent");
        return;
    }
    append(&sender->waiting, outgoing);
    step(sender);
}

bool fg_sender_post(struct fg_sender *sender, struct fg_outgoing *outgoing, const union fg_address *to,
                    struct fg_refusal *refusal)
{
    if (atomic_fetch_add(&sender->pending, 1) >= FG_SENDER_MAX) {
        atomic_fetch_sub(&sender->pending, 1);
        return fg_refuse(refusal, FG_OUTCOME_BUSY, "%d commands wait for the link already", FG_SENDER_MAX);
    }
    outgoing->sender = sender;
    outgoing->to = *to;
    outgoing->command->work = outgoing;
    outgoing->command->task.run = take_posted;
    fg_strand_post(fg_link_strand(sender->link), &outgoing->command->task);
    return true;
}

void fg_sender_heard(struct fg_sender *sender, int64_t received_ns)
{
    if (sender->gap_ns > 0) {
        keep_quiet(sender, received_ns + sender->gap_ns);
    }
}

static void bury(struct fg_task *task)
{
    free((struct fg_sender *)(void *)((char *)task - offsetof(struct fg_sender, burial)));
}

void fg_sender_down(struct fg_sender *sender)
{
    sender->down = true;
    fg_timer_stop(&sender->timer);
    while (sender->waiting.first) {
        end(sender, take_out(&sender->waiting, &sender->waiting.first), FG_OUTCOME_LINK_DOWN,
            "the link went down before it was sent");
    }
    while (sender->awaiting.first) {
        end(sender, take_out(&sender->awaiting, &sender->awaiting.first), FG_OUTCOME_LINK_DOWN,
            "it was sent, and the link went down before an answer came");
    }
    /* What was posted before, and the timer's task, may still stand in the link's mailbox. */
    sender->burial.run = bury;
    fg_strand_post(fg_link_strand(sender->link), &sender->burial);
}
