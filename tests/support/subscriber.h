/*
 * A subscriber of the test's own, speaking MQTT 3.1.1 without any library: it keeps up with a hundred
 * thousand messages a second, checks what it is given by the protocol's rules, and can come back to its
 * session after the broker was gone. It reads only inside the calls below. What cannot be had fails the test.
 */
#ifndef FIELDGATE_TEST_SUBSCRIBER_H
#define FIELDGATE_TEST_SUBSCRIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct subscriber_message {
    char *topic;
    char *payload; /* with a NUL behind */
    size_t size;
    unsigned qos;
    bool retained; /* stood at the broker before the subscription */
    bool taken;
};

struct subscriber {
    unsigned port;
    char client_id[24];
    bool keep_session;
    int fd; /* -1: not connected */
    uint8_t *input;
    size_t input_size;
    size_t input_room;
    struct subscriber_message *messages;
    size_t count;
    size_t room;
    size_t first_untaken;
    /* Called first with each message, where it is not NULL; what it returns true for is not kept. */
    bool (*handle)(void *context, const char *topic, size_t topic_size, const char *payload, size_t size);
    void *context;
};

/* Connects and subscribes; with keep_session the broker keeps what comes while the subscriber is away. */
void subscriber_open(struct subscriber *subscriber, unsigned port, const char *client_id, bool keep_session,
                     const char *filter, unsigned qos);
void subscriber_close(struct subscriber *subscriber);

/* Connects again to the session that was kept, as soon as the broker is there. */
void subscriber_return(struct subscriber *subscriber);

/* Reads what is there, waiting at most ms for something. Returns false once the connection has ended. */
bool subscriber_read(struct subscriber *subscriber, int ms);

/* Reads until the broker is gone and nothing is left of what it sent. */
void subscriber_read_to_end(struct subscriber *subscriber);

/* The first message of the topic that was not taken yet, now or before the deadline; NULL when none came.
 * Valid until the next call that reads. */
const struct subscriber_message *subscriber_take(struct subscriber *subscriber, const char *topic,
                                                 int64_t ms);

/* Reads until holds(context). Returns whether it holds. */
bool subscriber_read_until(struct subscriber *subscriber, bool (*holds)(void *context), void *context,
                           int64_t ms);

#endif
