#include "publisher_connect.h"

#include "publisher_handle.h"
#include "publisher_parts.h"

#include "fieldgate/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define CONNECT_TIMEOUT_NS (10 * FG_NS_PER_S)

/* A connection that stood this long was a good one: the next failure is the first again. */
#define LASTING_NS (10 * FG_NS_PER_S)

/* How often the first address must answer before the connection moves back to it; twice as often each time
 * that the connection there did not last, up to a limit. */
#define ANSWERS_NEEDED     3
#define ANSWERS_NEEDED_MAX 64

/* For so long acknowledgements are waited for before the connection moves. What is still not there is sent
 * again on the next connection. */
#define RETURN_NS (5 * FG_NS_PER_S)

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
        publisher->session->broker = (unsigned)publisher->address;
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

/* By chance between half of it and all of it, so that a hundred gateways do not come back to a broker in one
 * moment. */
static int64_t scatter(int64_t gap_ns, int64_t shortest_ns)
{
    int64_t lower = gap_ns / 2 > shortest_ns ? gap_ns / 2 : shortest_ns;
    uint64_t chance = 0;
    if (gap_ns <= lower || getrandom(&chance, sizeof chance, GRND_NONBLOCK) != (ssize_t)sizeof chance) {
        return gap_ns;
    }
    return lower + (int64_t)(chance % (uint64_t)(gap_ns - lower + 1));
}

/* Doubles with each round of failures. */
static int64_t backoff_ns(const struct fg_publisher *publisher)
{
    int64_t shortest = publisher->settings->reconnect_min_ns;
    int64_t longest = publisher->settings->reconnect_max_ns;
    int64_t upper = shortest;
    for (unsigned i = 0; i <= publisher->failures && upper < longest; i++) {
        upper *= 2;
    }
    return scatter(upper < longest ? upper : longest, shortest);
}

static int64_t longest_gap_ns(const struct fg_publisher *publisher)
{
    return scatter(publisher->settings->reconnect_max_ns, 0);
}

static const char *name(const struct fg_publisher *publisher, size_t address)
{
    return publisher->settings->address.items[address];
}

/* For fg_publisher_get_broker. reason NULL: as it was. */
static void tell_broker(struct fg_publisher *publisher, bool connected, size_t address, const char *reason)
{
    pthread_mutex_lock(&publisher->lock);
    struct fg_broker_state *broker = &publisher->broker;
    if (broker->connected != connected || broker->since_ns == 0) {
        broker->since_ns = fg_clock_now_ns();
    }
    broker->connected = connected;
    if (address < publisher->settings->address.count) {
        snprintf(broker->address, sizeof broker->address, "%s", name(publisher, address));
    }
    if (reason) {
        snprintf(broker->reason, sizeof broker->reason, "%s", reason);
    }
    pthread_mutex_unlock(&publisher->lock);
}

static void log_down(struct fg_publisher *publisher, bool was_up, size_t next, int64_t wait_ns)
{
    const char *reason = publisher->session->reason;
    const char *broker = name(publisher, publisher->address);
    bool news = was_up || strcmp(reason, publisher->last_reason) != 0;
    enum fg_log_level level = news ? FG_LOG_WARNING : FG_LOG_DEBUG;
    memcpy(publisher->last_reason, reason, sizeof publisher->last_reason);
    if (next == publisher->address) {
        fg_log(level, "broker %s: %s%s; trying again in %.1f s", broker, was_up ? "connection lost: " : "",
               reason, (double)wait_ns / FG_NS_PER_S);
    } else {
        fg_log(level, "broker %s: %s%s; trying %s in %.1f s", broker, was_up ? "connection lost: " : "",
               reason, name(publisher, next), (double)wait_ns / FG_NS_PER_S);
    }
}

/* The first address from there on that may be tried at at_ns; as many as there are: none. */
static size_t first_open(const struct fg_publisher *publisher, size_t from, int64_t at_ns)
{
    size_t count = publisher->settings->address.count;
    while (from < count && publisher->connector.barred_ns[from] > at_ns) {
        from++;
    }
    return from;
}

static size_t first_to_open(const struct fg_publisher *publisher)
{
    size_t best = 0;
    for (size_t i = 1; i < publisher->settings->address.count; i++) {
        if (publisher->connector.barred_ns[i] < publisher->connector.barred_ns[best]) {
            best = i;
        }
    }
    return best;
}

/* Where to try next, and in what time. A connection that lasted begins a new round. */
static size_t choose(struct fg_publisher *publisher, bool lasted, int64_t now_ns, int64_t *wait_ns)
{
    size_t count = publisher->settings->address.count;
    size_t next = lasted ? count : first_open(publisher, publisher->address + 1, now_ns);
    *wait_ns = 0;
    if (next < count) {
        return next;
    }
    *wait_ns = backoff_ns(publisher);
    publisher->failures += publisher->failures < 32;
    next = first_open(publisher, 0, now_ns + *wait_ns);
    if (next == count) {
        next = first_to_open(publisher);
        *wait_ns = publisher->connector.barred_ns[next] - now_ns;
    }
    return next;
}

static void forget_probes(struct fg_connector *connector)
{
    fg_probe_free(connector->probe);
    connector->probe = NULL;
    connector->answers = 0;
}

/* The connection left for the first address by itself. */
static void move(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_connector *connector = &publisher->connector;
    fg_log(FG_LOG_INFO, "broker %s: left for %s, which answers again", name(publisher, publisher->address),
           name(publisher, 0));
    connector->returning = false;
    connector->returned = true;
    publisher->lost_ns = publisher->retry_ns = now_ns;
    publisher->address = 0;
    tell_broker(publisher, false, 0, NULL);
}

/* After the connection went down, or could not be made: decides when and where to try next. */
static void note_down(struct fg_publisher *publisher, bool was_up, int64_t now_ns)
{
    struct fg_session *session = publisher->session;
    struct fg_connector *connector = &publisher->connector;
    fg_flow_down(publisher);
    forget_probes(connector);
    if (publisher->phase == FG_LEAVING) {
        return;
    }
    if (was_up) {
        publisher->lost_ns = now_ns;
    }
    if (was_up && connector->returning) {
        move(publisher, now_ns);
        return;
    }
    const char *without = was_up ? NULL : fg_handle_give_way(session);
    if (without) {
        fg_log(FG_LOG_WARNING, "broker %s: %s; from now on without %s", name(publisher, publisher->address),
               session->reason, without);
        publisher->retry_ns = now_ns;
        return;
    }
    bool lasted = was_up && now_ns - publisher->since_ns >= LASTING_NS && !connector->distrusts;
    if (lasted) {
        publisher->failures = 0;
    }
    if (connector->returned && !lasted && connector->needed < ANSWERS_NEEDED_MAX) {
        connector->needed *= 2;
    }
    connector->returned = false;
    if (fg_handle_is_unwanted(session)) {
        connector->barred_ns[publisher->address] = now_ns + longest_gap_ns(publisher);
    }
    int64_t wait_ns = 0;
    size_t next = choose(publisher, lasted, now_ns, &wait_ns);
    if (publisher->phase != FG_RUNNING && wait_ns > FG_NS_PER_S) {
        wait_ns = FG_NS_PER_S; /* there is no later to be polite for */
    }
    log_down(publisher, was_up, next, wait_ns);
    tell_broker(publisher, false, next, session->reason);
    publisher->address = next;
    publisher->retry_ns = now_ns + wait_ns;
}

/* What the library would send again goes wrong when this broker knows nothing of the session: the second half
 * of a QoS 2 message whose first half is nowhere, and it would be taken for delivered. And the library never
 * forgets what another broker once set as limits. Nor is there any other way to know what it has, when it had
 * no memory in the middle of a message. */
static bool must_start_over(const struct fg_publisher *publisher)
{
    const struct fg_session *session = publisher->session;
    bool halves = publisher->inflight.qos2 > 0;
    if (session->doubtful) {
        return true;
    }
    return session->present ? session->other_limits && !halves : session->other_limits || halves;
}

/* Before anything is written to the connection that came up. Returns whether it was dropped, to be made again
 * at once; all that was in flight is to be handed over again then. */
static bool start_over(struct fg_publisher *publisher)
{
    if (!must_start_over(publisher) || fg_session_renew(publisher->session) != 0) {
        return false;
    }
    fg_log(FG_LOG_DEBUG, "broker %s: has other limits, or no session: all is handed over anew",
           name(publisher, publisher->address));
    publisher->noted = FG_SESSION_DOWN;
    fg_flow_down(publisher);
    publisher->retry_ns = fg_clock_now_ns();
    return true;
}

static void note_up(struct fg_publisher *publisher, int64_t now_ns)
{
    const char *address = name(publisher, publisher->address);
    const char *session = publisher->session->present ? "the broker kept the session" : "a new session";
    struct fg_connector *connector = &publisher->connector;
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
    tell_broker(publisher, true, publisher->address, NULL);
    publisher->ever_connected = true;
    publisher->last_reason[0] = '\0';
    publisher->since_ns = now_ns;
    publisher->tick_ns = now_ns + fg_session_tick_ns(publisher->session);
    connector->distrusts = connector->returning = false;
    connector->oldest = NULL;
    connector->barred_ns[publisher->address] = 0;
    connector->probe_ns = now_ns + longest_gap_ns(publisher);
    fg_flow_up(publisher);
}

void fg_connect_note(struct fg_publisher *publisher)
{
    enum fg_session_state before = publisher->noted;
    enum fg_session_state after = publisher->session->state;
    bool came_up = publisher->session->connack == 0 && before == FG_SESSION_CONNECTING;
    if (before == FG_SESSION_CONNECTING &&
        (after == FG_SESSION_UP || (after == FG_SESSION_DOWN && came_up))) {
        if (after == FG_SESSION_UP && start_over(publisher)) {
            return;
        }
        note_up(publisher, fg_clock_now_ns());
    }
    publisher->noted = after;
    fg_flow_settle(publisher);
    if (before != FG_SESSION_DOWN && after == FG_SESSION_DOWN) {
        note_down(publisher, before == FG_SESSION_UP || came_up, fg_clock_now_ns());
    }
}

/* A broker that answers pings and acknowledges nothing would hold all up. */
static void watch_acknowledgements(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_connector *connector = &publisher->connector;
    const struct fg_flight *oldest = publisher->inflight.oldest;
    bool same =
        oldest && oldest->qos > 0 && oldest == connector->oldest && oldest->mid == connector->oldest_mid;
    if (!same) {
        connector->oldest = oldest;
        connector->oldest_mid = oldest ? oldest->mid : 0;
        connector->oldest_ns = now_ns;
    } else if (now_ns - connector->oldest_ns >= fg_session_patience_ns(publisher->session) * 2 / 3) {
        /* Two ticks have passed besides, at most: it is all of the patience then. */
        connector->distrusts = true;
        fg_session_drop(publisher->session, "the broker does not acknowledge a message");
    }
}

static void tick(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_session *session = publisher->session;
    fg_session_tick(session);
    if (session->state == FG_SESSION_UP) {
        watch_acknowledgements(publisher, now_ns);
    }
    publisher->tick_ns = now_ns + fg_session_tick_ns(session);
    if (publisher->address == 0 && now_ns - publisher->since_ns >= LASTING_NS) {
        publisher->connector.needed = ANSWERS_NEEDED;
        publisher->connector.returned = false;
    }
}

static void probe(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_connector *connector = &publisher->connector;
    char host[FG_HOST_MAX + 1];
    int port = 0;
    enum fg_probe_state state = connector->probe ? fg_probe_look(connector->probe) : FG_PROBE_FAILED;
    connector->probe_ns = now_ns + longest_gap_ns(publisher);
    connector->answers = state == FG_PROBE_ANSWERED ? connector->answers + 1 : 0;
    if (state == FG_PROBE_RUNNING) {
        return;
    }
    fg_probe_free(connector->probe);
    connector->probe = NULL;
    if (connector->answers >= connector->needed) {
        connector->returning = true;
        connector->return_ns = now_ns + RETURN_NS;
        fg_session_hold(publisher->session, true);
    } else if (fg_mqtt_parse_address(name(publisher, 0), host, &port) == 0 &&
               fg_probe_start(host, port, &connector->probe) != 0) {
        connector->probe = NULL; /* for want of memory; the next may go better */
    }
}

/* While another address than the first is in use. */
static void look_back(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_connector *connector = &publisher->connector;
    if (publisher->phase != FG_RUNNING) {
        connector->returning = false;
        fg_session_hold(publisher->session, false);
        return;
    }
    if (!connector->returning && now_ns >= connector->probe_ns) {
        probe(publisher, now_ns);
    }
    if (connector->returning && (publisher->inflight.count == 0 || now_ns >= connector->return_ns)) {
        fg_session_drop(publisher->session, "left for the first address");
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
            tick(publisher, now_ns);
        }
        if (publisher->address > 0 && session->state == FG_SESSION_UP) {
            look_back(publisher, now_ns);
        }
        break;
    }
}

int64_t fg_connect_next_ns(const struct fg_publisher *publisher)
{
    const struct fg_connector *connector = &publisher->connector;
    int64_t next = INT64_MAX;
    switch (publisher->session->state) {
    case FG_SESSION_DOWN:
        return publisher->retry_ns;
    case FG_SESSION_CONNECTING:
        return publisher->since_ns + CONNECT_TIMEOUT_NS;
    case FG_SESSION_UP:
        if (publisher->address > 0 && publisher->phase == FG_RUNNING) {
            next = connector->returning ? connector->return_ns : connector->probe_ns;
        }
        return publisher->tick_ns < next ? publisher->tick_ns : next;
    }
    return next;
}

void fg_connect_init(struct fg_publisher *publisher)
{
    publisher->connector.needed = ANSWERS_NEEDED;
    tell_broker(publisher, false, 0, NULL);
}

void fg_connect_fini(struct fg_publisher *publisher)
{
    forget_probes(&publisher->connector);
}
