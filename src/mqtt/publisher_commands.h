/*
 * The publisher's other direction: what it is subscribed to, and what waits to be answered.
 *
 * A subscription is queued when it is made, when it ends, and on each connection; the queue goes to the
 * broker in its order, in batches, a few of which may be unconfirmed at a time.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_COMMANDS_H
#define FIELDGATE_MQTT_PUBLISHER_COMMANDS_H

#include "publisher_inbox.h"

#include "fieldgate/log.h"

struct fg_publisher;

/* What was sent and is not confirmed. */
struct fg_batch {
    bool used;
    bool over; /* UNSUBSCRIBE */
    int mid;
    size_t count;
    char *filters; /* one behind the other, each with its NUL */
};

struct fg_subscription {
    struct fg_subscription *previous, *next; /* of all that are wanted */
    struct fg_subscription *earlier, *later; /* in the queue */
    bool queued;
    bool over;
    char filter[];
};

struct fg_waiting_answer {
    struct fg_waiting_answer *next;
    size_t bytes;
    struct fg_answer answer; /* points behind this */
};

struct fg_calls {
    struct fg_inbox inbox;
    struct fg_subscription *wanted;          /* the publisher's lock, as all down to answers_bytes */
    struct fg_subscription *oldest, *newest; /* the queue */
    struct fg_waiting_answer *answers, **answers_tail, **again;
    size_t answers_count, answers_bytes;
    atomic_ullong answers_dropped;
    struct fg_batch batches[FG_BATCHES]; /* of whoever holds turn */
    atomic_uint batch_count;             /* of these, that are used */
    struct fg_log_limit refused_limit, retained_limit, overrun_limit, dropped_limit;
};

void fg_calls_init(struct fg_publisher *publisher);
void fg_calls_fini(struct fg_publisher *publisher);

/* Whether there is something to subscribe to or to answer that may go now; with the publisher's lock. */
bool fg_calls_are_due(const struct fg_publisher *publisher);

/* Whether answers wait; with the publisher's lock. */
static inline bool fg_calls_wait(const struct fg_calls *calls)
{
    return calls->answers != NULL;
}

/* All of the following by whoever holds the publisher's turn. */

/* Hands over what may go now. */
void fg_calls_feed(struct fg_publisher *publisher);

/* Takes in what was confirmed. */
void fg_calls_settle(struct fg_publisher *publisher);

/* The connection came up, or went down. */
void fg_calls_up(struct fg_publisher *publisher);
void fg_calls_down(struct fg_publisher *publisher);

/* An answer that was in flight waits again; or is done with (reason: why it was not delivered, or NULL). */
void fg_calls_take_back(struct fg_publisher *publisher, struct fg_waiting_answer *answer);
void fg_calls_drop(struct fg_publisher *publisher, struct fg_waiting_answer *answer, const char *reason);

/* Hands over the oldest answer; there must be a slot. Returns false when there is none. */
bool fg_calls_answer(struct fg_publisher *publisher);

/* Before the end: all that wait are dropped, and counted. */
void fg_calls_give_up(struct fg_publisher *publisher);

/* Whether the gateway is to be told of arrivals, which is done without locks; once. Logs what was dropped. */
bool fg_calls_take_news(struct fg_publisher *publisher);

#endif
