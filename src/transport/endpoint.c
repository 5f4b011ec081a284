#include "endpoint.h"

#include "fieldgate/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* After so many short ups in a row the log has them at debug only, but for one line a minute. */
#define FLAPS_TOLD 3

static_assert(offsetof(struct fg_transport, variant) == 0, "fg_transports points to the variants");

void fg_wants_init(struct fg_wants *wants, void (*fire)(struct fg_task *task))
{
    wants->task.run = fire;
    atomic_init(&wants->bits, 0);
}

void fg_want(struct fg_wants *wants, struct fg_strand *strand, unsigned bits)
{
    if (atomic_fetch_or(&wants->bits, bits) == 0) {
        fg_strand_post(strand, &wants->task);
    }
}

unsigned fg_wants_take(struct fg_wants *wants)
{
    return atomic_exchange(&wants->bits, 0);
}

const char *fg_error_text(int error)
{
    const char *text = strerrordesc_np(error < 0 ? -error : error);
    return text != NULL ? text : "unknown error";
}

void fg_endpoint_want(struct fg_endpoint *endpoint, unsigned bits)
{
    fg_want(&endpoint->wants, &endpoint->strand, bits);
}

static uint64_t endpoint_random(struct fg_endpoint *endpoint)
{
    /* xorshift64: for jitter only */
    uint64_t x = endpoint->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    endpoint->random = x;
    return x;
}

static void open_later(struct fg_endpoint *endpoint)
{
    if (endpoint->stopped) {
        return;
    }
    const struct fg_transport *transport = endpoint->transport;
    int64_t delay_ns = endpoint->delay_ns * 2;
    if (delay_ns < transport->retry_min_ns) {
        delay_ns = transport->retry_min_ns;
    } else if (delay_ns > transport->retry_max_ns) {
        delay_ns = transport->retry_max_ns;
    }
    endpoint->delay_ns = delay_ns;
    /* Ports that lost the same thing at the same time do not come back in step: 0.75 to 1.25 of the delay. */
    int64_t jitter_ns = (int64_t)(endpoint_random(endpoint) % (uint64_t)(delay_ns / 2));
    if (fg_timer_start(&endpoint->retry, delay_ns - delay_ns / 4 + jitter_ns) < 0) {
        fg_log_port(FG_LOG_ERROR, endpoint->options.name, NULL, "no memory for a timer: the port stays down");
    }
}

static void tell(struct fg_endpoint *endpoint, bool up, const char *trouble)
{
    pthread_mutex_lock(&endpoint->mutex);
    endpoint->is_up = up;
    snprintf(endpoint->told, sizeof endpoint->told, "%s", trouble);
    pthread_mutex_unlock(&endpoint->mutex);
}

void fg_endpoint_get_state(struct fg_endpoint *endpoint, struct fg_endpoint_state *state)
{
    pthread_mutex_lock(&endpoint->mutex);
    state->up = endpoint->is_up;
    memcpy(state->trouble, endpoint->told, sizeof state->trouble);
    pthread_mutex_unlock(&endpoint->mutex);
}

void fg_endpoint_fail(struct fg_endpoint *endpoint, const char *format, ...)
{
    char text[FG_ENDPOINT_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bool news = strcmp(text, endpoint->told) != 0 && endpoint->flaps < FLAPS_TOLD;
    fg_log_port(news ? FG_LOG_WARNING : FG_LOG_DEBUG, endpoint->options.name, NULL, "%s; trying again", text);
    tell(endpoint, false, text);
    open_later(endpoint);
}

void fg_endpoint_describe(struct fg_endpoint *endpoint, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(endpoint->what, sizeof endpoint->what, format, arguments);
    va_end(arguments);
}

static void principal_up(struct fg_endpoint *endpoint)
{
    endpoint->up_ns = fg_clock_now_ns();
    enum fg_log_level level = endpoint->told[0] != '\0' ? FG_LOG_WARNING : FG_LOG_INFO;
    if (endpoint->flaps >= FLAPS_TOLD && fg_timer_start(&endpoint->retry, endpoint->delay_ns) == 0) {
        level = FG_LOG_DEBUG; /* to be told when it stays */
    }
    fg_log_port(level, endpoint->options.name, NULL, "%s", endpoint->what);
    tell(endpoint, true, "");
}

static void principal_lost(struct fg_endpoint *endpoint, int error)
{
    /* What opens and goes at once keeps its growing delays. */
    if (fg_clock_now_ns() - endpoint->up_ns > endpoint->delay_ns) {
        endpoint->delay_ns = 0;
        endpoint->flaps = 0;
    } else if (endpoint->flaps < FLAPS_TOLD) {
        endpoint->flaps++;
    } else {
        fg_log_limited(&endpoint->flap_limit, FG_LOG_WARNING, endpoint->options.name, NULL,
                       "comes and goes at once, again and again: %s", fg_error_text(error));
    }
    fg_endpoint_fail(endpoint, "lost: %s", error == 0 ? "closed by the peer" : fg_error_text(error));
}

static void principal_gone(struct fg_endpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->mutex);
    int error = endpoint->gone_error;
    bool was_up = endpoint->gone_up;
    endpoint->is_up = false;
    pthread_mutex_unlock(&endpoint->mutex);
    if (endpoint->stopped) {
        return;
    }
    fg_timer_stop(&endpoint->retry);
    if (was_up) {
        principal_lost(endpoint, error);
    } else if (endpoint->transport->not_up != NULL) {
        endpoint->transport->not_up(endpoint, error);
    } else {
        fg_endpoint_fail(endpoint, "cannot open: %s", fg_error_text(error));
    }
}

static void retry_expired(struct fg_timer *timer)
{
    struct fg_endpoint *endpoint =
        (struct fg_endpoint *)(void *)((char *)timer - offsetof(struct fg_endpoint, retry));
    if (endpoint->is_up) {
        endpoint->delay_ns = 0;
        endpoint->flaps = 0;
        fg_log_port(FG_LOG_WARNING, endpoint->options.name, NULL, "%s, and stays so", endpoint->what);
    } else {
        endpoint->transport->open(endpoint);
    }
}

static void endpoint_gone(struct fg_strand *strand)
{
    struct fg_endpoint *endpoint =
        (struct fg_endpoint *)(void *)((char *)strand - offsetof(struct fg_endpoint, strand));
    void (*closed)(void *port) = endpoint->closed;
    void *port = endpoint->options.port;
    fg_networks_fini(&endpoint->allow);
    pthread_mutex_destroy(&endpoint->mutex);
    free(endpoint->state);
    free(endpoint);
    closed(port);
}

static void endpoint_finish(struct fg_endpoint *endpoint)
{
    /* The link that asked for this did so under the mutex: it is out of it once we were in. */
    pthread_mutex_lock(&endpoint->mutex);
    pthread_mutex_unlock(&endpoint->mutex);
    fg_strand_close(&endpoint->strand, endpoint_gone);
}

static void endpoint_stop(struct fg_endpoint *endpoint)
{
    endpoint->stopped = true;
    fg_timer_stop(&endpoint->retry);
    if (endpoint->transport->stop != NULL) {
        endpoint->transport->stop(endpoint);
    }
    pthread_mutex_lock(&endpoint->mutex);
    endpoint->closing = true;
    bool last = endpoint->children == 0;
    struct fg_link_node *heads[] = { &endpoint->open, &endpoint->paused };
    for (size_t i = 0; i < 2; i++) {
        for (struct fg_link_node *node = heads[i]->next; node != heads[i]; node = node->next) {
            fg_link_want_close((struct fg_link *)(void *)node);
        }
    }
    pthread_mutex_unlock(&endpoint->mutex);
    if (last) {
        endpoint_finish(endpoint);
    }
}

static void endpoint_start(struct fg_endpoint *endpoint)
{
    if (endpoint->stopped) {
        return;
    }
    int error = endpoint->transport->start != NULL ? endpoint->transport->start(endpoint) : 0;
    if (error < 0) {
        fg_log_port(FG_LOG_ERROR, endpoint->options.name, NULL, "cannot start: %s", fg_error_text(error));
        return;
    }
    endpoint->transport->open(endpoint);
}

static void endpoint_run(struct fg_task *task)
{
    struct fg_endpoint *endpoint =
        (struct fg_endpoint *)(void *)((char *)task - offsetof(struct fg_endpoint, wants.task));
    unsigned bits = fg_wants_take(&endpoint->wants);
    if (bits & FG_ENDPOINT_START) {
        endpoint_start(endpoint);
    }
    if ((bits & FG_ENDPOINT_LINK_UP) && !endpoint->stopped) {
        principal_up(endpoint);
    }
    if (bits & FG_ENDPOINT_LINK_GONE) {
        principal_gone(endpoint);
    }
    if (bits & FG_ENDPOINT_CLOSE) {
        endpoint_stop(endpoint);
    }
    if (bits & FG_ENDPOINT_FINISH) {
        endpoint_finish(endpoint);
    }
}

int fg_endpoint_open(const struct fg_endpoint_options *options, struct fg_endpoint **endpoint)
{
    struct fg_endpoint *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->options = *options;
    made->transport = (const struct fg_transport *)(const void *)options->transport->variant;
    made->settings = options->transport->settings;
    made->state = calloc(1, made->transport->state_size);
    if (made->state == NULL) {
        free(made);
        return -ENOMEM;
    }
    if (getrandom(&made->random, sizeof made->random, GRND_NONBLOCK) < 0 || made->random == 0) {
        made->random = (uint64_t)fg_clock_now_ns() | 1;
    }
    fg_strand_init(&made->strand, options->loop->pool);
    fg_wants_init(&made->wants, endpoint_run);
    fg_timer_init(&made->retry, options->loop->timers, &made->strand, retry_expired);
    pthread_mutex_init(&made->mutex, NULL);
    made->open.next = made->open.previous = &made->open;
    made->paused.next = made->paused.previous = &made->paused;
    atomic_init(&made->paused_count, 0);
    *endpoint = made;
    fg_endpoint_want(made, FG_ENDPOINT_START);
    return 0;
}

void fg_endpoint_resume(struct fg_endpoint *endpoint)
{
    /*
     * A read-modify-write, so that it stands before or after that of a link that pauses: after it, the link
     * is seen here; before it, the link sees the room that the caller made when it tries once more.
     */
    if (atomic_fetch_add(&endpoint->paused_count, 0) == 0) {
        return;
    }
    pthread_mutex_lock(&endpoint->mutex);
    while (endpoint->paused.next != &endpoint->paused) {
        struct fg_link *link = (struct fg_link *)(void *)endpoint->paused.next;
        fg_link_unpause_locked(link);
        fg_link_want_try(link);
    }
    pthread_mutex_unlock(&endpoint->mutex);
}

void fg_endpoint_close(struct fg_endpoint *endpoint, void (*closed)(void *port))
{
    endpoint->closed = closed;
    fg_endpoint_want(endpoint, FG_ENDPOINT_CLOSE);
}
