#include "publisher_connect.h"

#include "address.h"
#include "publisher_parts.h"

#include "fieldgate/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define CONNECT_TIMEOUT_NS (10 * FG_NS_PER_S)

/* A connection that stood this long was a good one: the next failure is the first again. */
#define LASTING_NS (10 * FG_NS_PER_S)

static void note_down(struct fg_publisher *publisher, bool was_up, int64_t now_ns);

/* A look-up can last for minutes, and cannot be cancelled. A stop does not wait for it: it leaves the thread
 * behind, and what the publisher only borrows is gone when the thread comes out. */
static void enter_connect(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    publisher->connecting = true;
    pthread_cond_broadcast(&publisher->finished_condition);
    pthread_mutex_unlock(&publisher->lock);
    pthread_mutex_unlock(&publisher->turn);
}

static void leave_connect(struct fg_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    publisher->connecting = false;
    bool abandoned = publisher->abandoned;
    pthread_mutex_unlock(&publisher->lock);
    if (abandoned) {
        pthread_exit(NULL);
    }
    pthread_mutex_lock(&publisher->turn);
}

static void try_connect(struct fg_publisher *publisher, int64_t now_ns)
{
    char host[FG_HOST_MAX + 1];
    int port = 0;
    const char *address = publisher->settings->address.items[publisher->address];
    publisher->since_ns = now_ns;
    if (fg_mqtt_parse_address(address, host, &port) != 0) {
        snprintf(publisher->session->reason, sizeof publisher->session->reason, "no address");
    } else {
        fg_session_prepare(publisher->session);
        enter_connect(publisher);
        fg_session_connect(publisher->session, host, port);
        leave_connect(publisher);
        fg_session_begun(publisher->session);
    }
    publisher->noted = publisher->session->state;
    if (publisher->noted == FG_SESSION_DOWN) {
        note_down(publisher, false, fg_clock_now_ns());
    }
}

/* Doubles with each round of failures, with chance in its upper half, so that a hundred gateways do not come
 * back to a broker in one moment. */
static int64_t backoff_ns(const struct fg_publisher *publisher)
{
    int64_t shortest = publisher->settings->reconnect_min_ns;
    int64_t longest = publisher->settings->reconnect_max_ns;
    int64_t upper = shortest;
    for (unsigned i = 0; i <= publisher->failures && upper < longest; i++) {
        upper *= 2;
    }
    upper = upper < longest ? upper : longest;
    int64_t lower = upper / 2 > shortest ? upper / 2 : shortest;
    uint64_t chance = 0;
    if (upper <= lower || getrandom(&chance, sizeof chance, GRND_NONBLOCK) != (ssize_t)sizeof chance) {
        return upper;
    }
    return lower + (int64_t)(chance % (uint64_t)(upper - lower + 1));
}

static void log_down(struct fg_publisher *publisher, bool was_up, int64_t wait_ns)
{
    const char *reason = publisher->session->reason;
    bool news = was_up || strcmp(reason, publisher->last_reason) != 0;
    memcpy(publisher->last_reason, reason, sizeof publisher->last_reason);
    fg_log(news ? FG_LOG_WARNING : FG_LOG_DEBUG, "broker %s: %s%s; trying again in %.1f s",
           publisher->settings->address.items[publisher->address], was_up ? "connection lost: " : "", reason,
           (double)wait_ns / FG_NS_PER_S);
}

/* After the connection went down, or could not be made: decides when and where to try next. */
static void note_down(struct fg_publisher *publisher, bool was_up, int64_t now_ns)
{
    fg_flow_down(publisher);
    if (publisher->phase == FG_LEAVING) {
        return;
    }
    size_t next = was_up ? 0 : publisher->address + 1;
    int64_t wait_ns = 0;
    if (was_up && now_ns - publisher->since_ns >= LASTING_NS) {
        publisher->failures = 0;
    }
    if (was_up || next >= publisher->settings->address.count) {
        next = 0;
        wait_ns = backoff_ns(publisher);
        publisher->failures += publisher->failures < 32;
    }
    if (publisher->phase != FG_RUNNING && wait_ns > FG_NS_PER_S) {
        wait_ns = FG_NS_PER_S; /* there is no later to be polite for */
    }
    if (was_up) {
        publisher->lost_ns = now_ns;
    }
    log_down(publisher, was_up, wait_ns);
    publisher->address = next;
    publisher->retry_ns = now_ns + wait_ns;
}

static void note_up(struct fg_publisher *publisher, int64_t now_ns)
{
    const char *address = publisher->settings->address.items[publisher->address];
    const char *session = publisher->session->present ? "the broker kept the session" : "a new session";
    if (publisher->ever_connected) {
        fg_count(&publisher->reconnects, 1);
        fg_log(FG_LOG_WARNING, "broker %s: connected again after %.1f s, %s", address,
               (double)(now_ns - publisher->lost_ns) / FG_NS_PER_S, session);
    } else {
        fg_log(publisher->last_reason[0] ? FG_LOG_WARNING : FG_LOG_INFO, "broker %s: connected, %s", address,
               session);
    }
    if (publisher->settings->tls && publisher->settings->tls->insecure) {
        fg_log(FG_LOG_WARNING, "broker %s: the name in its certificate is not checked (tls.insecure)",
               address);
    }
    publisher->ever_connected = true;
    publisher->last_reason[0] = '\0';
    publisher->since_ns = now_ns;
    publisher->tick_ns = now_ns + fg_session_tick_ns(publisher->session);
    fg_flow_up(publisher);
}

/* What became of the connection since it was looked at last. */
void fg_connect_note(struct fg_publisher *publisher)
{
    enum fg_session_state before = publisher->noted;
    enum fg_session_state after = publisher->session->state;
    bool came_up = publisher->session->connack == 0 && before == FG_SESSION_CONNECTING;
    if (before == FG_SESSION_CONNECTING &&
        (after == FG_SESSION_UP || (after == FG_SESSION_DOWN && came_up))) {
        note_up(publisher, fg_clock_now_ns());
    }
    publisher->noted = after;
    fg_flow_settle(publisher);
    if (before != FG_SESSION_DOWN && after == FG_SESSION_DOWN) {
        note_down(publisher, before == FG_SESSION_UP || came_up, fg_clock_now_ns());
    }
}

void fg_connect_step(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_session *session = publisher->session;
    switch (session->state) {
    case FG_SESSION_DOWN:
        if (now_ns >= publisher->retry_ns && publisher->phase != FG_LEAVING) {
            try_connect(publisher, now_ns);
        }
        break;
    case FG_SESSION_CONNECTING:
        if (now_ns - publisher->since_ns >= CONNECT_TIMEOUT_NS) {
            fg_session_drop(session, "no answer for 10 s");
        }
        break;
    case FG_SESSION_UP:
        if (now_ns >= publisher->tick_ns) {
            publisher->tick_ns = now_ns + fg_session_tick_ns(session);
            fg_session_tick(session);
        }
        break;
    }
}

int64_t fg_connect_next_ns(const struct fg_publisher *publisher)
{
    switch (publisher->session->state) {
    case FG_SESSION_DOWN:
        return publisher->retry_ns;
    case FG_SESSION_CONNECTING:
        return publisher->since_ns + CONNECT_TIMEOUT_NS;
    case FG_SESSION_UP:
        return publisher->tick_ns;
    }
    return INT64_MAX;
}
