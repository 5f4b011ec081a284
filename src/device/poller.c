#include "poller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A reading that the sink has no room for is offered again after this. */
#define WAITING_RETRY_NS (FG_NS_PER_S / 20)

/* A request that cannot be written for so long: nobody reads at the other end. */
#define SENDING_MAX_NS (10 * FG_NS_PER_S)

/* A connection on which nothing comes may be none any more: it is made anew after so many timeouts, at least
 * this time, and after twice as long each time that it did not help. */
#define PATIENCE_TIMEOUTS 20
#define PATIENCE_MIN_NS   FG_NS_PER_S
#define PATIENCE_MAX_NS   (600 * FG_NS_PER_S)
#define PATIENCE_UNHEARD  3

/* The link that is polled, on its strand. */
struct poller_link {
    struct fg_poller *poller;
    struct fg_link *link;
    struct fg_timer timer;
    struct fg_task burial;
    struct fg_op op;
    bool sending;
    bool down;
    uint8_t adu[FG_MODBUS_ADU_MAX];
};

static int64_t patience_of(const struct fg_poller *poller)
{
    int64_t longest_ns = PATIENCE_MIN_NS / PATIENCE_TIMEOUTS;
    for (size_t i = 0; i < poller->polling.count; i++) {
        int64_t timeout_ns = poller->polling.devices[i].timeout_ns;
        longest_ns = timeout_ns > longest_ns ? timeout_ns : longest_ns;
    }
    return longest_ns * PATIENCE_TIMEOUTS;
}

static struct poller_link *link_of(struct fg_op *op)
{
    return (struct poller_link *)(void *)((char *)op - offsetof(struct poller_link, op));
}

static void pump(struct poller_link *state);

static void on_sent(struct fg_op *op)
{
    struct poller_link *state = link_of(op);
    state->sending = false;
    if (op->result < 0) {
        fg_link_close(state->link, (int)op->result);
        return;
    }
    pump(state);
}

/* Returns whether more may be sent now. */
static bool send_request(struct poller_link *state, size_t size)
{
    state->op.done = on_sent;
    state->op.send.data = state->adu;
    state->op.send.size = size;
    state->sending = true;
    state->poller->unheard++;
    int error = fg_link_send(state->link, &state->op);
    if (error) {
        state->sending = false;
        fg_link_close(state->link, error);
        return false;
    }
    return true;
}

/* Whether the link is to be given up because nothing comes. A serial line has nothing that could be made
 * anew. */
static bool is_forsaken(const struct fg_poller *poller)
{
    return !poller->serial && poller->unheard >= PATIENCE_UNHEARD &&
           poller->now_ns - poller->heard_ns > poller->patience_ns;
}

/* Commands and the protocol, until there is a request to send or nothing to do now. */
static size_t next_request(struct poller_link *state, int64_t *wake_ns)
{
    struct fg_poller *poller = state->poller;
    size_t size = 0;
    fg_polled_run_commands(poller);
    do {
        size = fg_modbus_poll_next(poller->poll, poller->now_ns, state->adu, wake_ns);
    } while (size == 0 && fg_polled_run_commands(poller));
    return size;
}

/* Does what is to be done now, and sets the timer to when it is to be called again. */
static void pump(struct poller_link *state)
{
    struct fg_poller *poller = state->poller;
    int64_t wake_ns = INT64_MAX;
    poller->now_ns = fg_clock_now_ns();
    if (poller->waiting > 0) {
        fg_polled_offer_waiting(poller);
    }
    if (is_forsaken(poller)) {
        poller->patience_ns =
            poller->patience_ns < PATIENCE_MAX_NS / 2 ? poller->patience_ns * 2 : PATIENCE_MAX_NS;
        fg_link_close(state->link, -ETIMEDOUT);
        return;
    }
    if (poller->waiting > 0) {
        wake_ns = poller->now_ns + WAITING_RETRY_NS;
    } else if (state->sending) {
        wake_ns = poller->now_ns + SENDING_MAX_NS;
    } else {
        size_t size = next_request(state, &wake_ns);
        if (size > 0 && !send_request(state, size)) {
            return;
        }
        wake_ns = size > 0 ? poller->now_ns + SENDING_MAX_NS : wake_ns;
        fg_polled_count(poller);
    }
    if (wake_ns == INT64_MAX) {
        fg_timer_stop(&state->timer);
    } else if (fg_timer_set(&state->timer, wake_ns)) {
        fg_link_close(state->link, -ENOMEM);
    }
}

static void on_time(struct fg_timer *timer)
{
    struct poller_link *state =
        (struct poller_link *)(void *)((char *)timer - offsetof(struct poller_link, timer));
    if (state->sending && state->poller->waiting == 0) {
        fg_link_close(state->link, -ETIMEDOUT);
        return;
    }
    pump(state);
}

static void take_command(struct fg_task *task)
{
    struct fg_command *command =
        (struct fg_command *)(void *)((char *)task - offsetof(struct fg_command, task));
    struct poller_link *state = fg_polled_job_link(command);
    fg_polled_queue(command, !state->down);
    if (!state->down && !state->sending) { /* else when it is sent, or its time is over */
        pump(state);
    }
}

void fg_poller_link_post(struct poller_link *link, struct fg_task *task)
{
    task->run = take_command;
    fg_strand_post(fg_link_strand(link->link), task);
}

/* From here on commands are posted to the link, or not any more. */
static void register_link(struct fg_poller *poller, struct poller_link *link)
{
    pthread_mutex_lock(&poller->port->lock);
    poller->link = link;
    pthread_mutex_unlock(&poller->port->lock);
}

static size_t on_received(void *context, const struct fg_packet *packet)
{
    struct poller_link *state = context;
    struct fg_poller *poller = state->poller;
    if (packet->size > 0) {
        /* It may have been read before the timer ran; for the protocol time never goes back. */
        poller->now_ns = packet->received_ns > poller->now_ns ? packet->received_ns : poller->now_ns;
        poller->heard_ns = poller->now_ns;
        poller->unheard = 0;
        poller->patience_ns = patience_of(poller);
        fg_modbus_poll_feed(poller->poll, packet->data, packet->size, poller->now_ns);
        pump(state);
    }
    return packet->size;
}

static void *on_up(void *context, struct fg_link *link)
{
    struct fg_port *port = context;
    struct fg_poller *poller = port->poller;
    struct poller_link *state = calloc(1, sizeof *state);
    if (!state) {
        return NULL;
    }
    if (atomic_exchange(&poller->taken, true)) {
        fg_log_limited(&poller->link_limit, FG_LOG_WARNING, port->settings->name, NULL,
                       "a further connection is refused: one is polled at a time");
        fg_port_count_rejected(port, NULL, FG_REASON_MAX_CONNECTIONS, 1);
        free(state);
        return NULL;
    }
    state->poller = poller;
    state->link = link;
    fg_timer_init(&state->timer, fg_link_timers(link), fg_link_strand(link), on_time);
    poller->now_ns = poller->heard_ns = fg_clock_now_ns();
    poller->unheard = 0;
    poller->can_wait = true;
    fg_count(&port->links, 1);
    fg_modbus_poll_up(poller->poll, poller->now_ns);
    pump(state);
    register_link(poller, state);
    return state;
}

static void bury(struct fg_task *task)
{
    free((struct poller_link *)(void *)((char *)task - offsetof(struct poller_link, burial)));
}

static void on_down(void *context, int error)
{
    struct poller_link *state = context;
    struct fg_poller *poller = state->poller;
    struct fg_port *port = poller->port;
    (void)error;
    fg_timer_stop(&state->timer);
    register_link(poller, NULL);
    state->down = true;
    poller->now_ns = fg_clock_now_ns();
    poller->can_wait = false; /* taken or lost, and told */
    fg_polled_offer_waiting(poller);
    fg_modbus_poll_down(poller->poll, poller->now_ns);
    fg_polled_drop_commands(poller);
    fg_polled_count(poller);
    atomic_fetch_sub_explicit(&port->links, 1, memory_order_relaxed);
    atomic_store(&poller->taken, false);
    /* The timer's task may still stand in the link's mailbox: the state goes with a task behind it. */
    state->burial.run = bury;
    fg_strand_post(fg_link_strand(state->link), &state->burial);
}

const struct fg_link_events fg_poller_events = {
    .up = on_up, .received = on_received, .down = on_down, .rejected = fg_port_on_rejected
};

static void tell_budget(const struct fg_poller *poller)
{
    struct fg_modbus_budget budget;
    char text[FG_PORT_BUDGET_TEXT];
    fg_modbus_poll_budget(poller->poll, &budget);
    fg_modbus_budget_print(&budget, text, sizeof text);
    fg_log_port(budget.percent > 100 ? FG_LOG_WARNING : FG_LOG_INFO, poller->port->settings->name, NULL, "%s",
                text);
}

int fg_poller_new(struct fg_port *port, struct fg_poller **poller)
{
    struct fg_poller *made = calloc(1, sizeof *made);
    if (!made) {
        return -ENOMEM;
    }
    made->port = port;
    int error = fg_polling_init(&made->polling, port->settings);
    made->patience_ns = patience_of(made);
    made->serial = made->polling.settings.line != NULL;
    if (!error) {
        error = fg_modbus_poll_new(&made->polling.settings, made->polling.devices, made->polling.count,
                                   &fg_poller_poll_events, made, &made->poll);
    }
    if (!error) {
        error = fg_polled_init(made);
    }
    if (error) {
        fg_poller_free(made);
        return error;
    }
    tell_budget(made);
    *poller = made;
    return 0;
}

void fg_poller_free(struct fg_poller *poller)
{
    if (poller) {
        fg_polled_fini(poller);
        fg_modbus_poll_free(poller->poll);
        fg_polling_fini(&poller->polling);
        free(poller);
    }
}
