#include "support/subscriber.h"

#include "support/client.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Packet types, MQTT 3.1.1 section 2.2.1. */
enum { CONNECT = 1, CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBSCRIBE = 8, SUBACK = 9 };

#define PATIENCE_MS  10000
#define INPUT_ROOM   (256 * 1024)
#define ACKS_AT_ONCE 1024

static size_t put_text(uint8_t *out, const char *text)
{
    size_t length = strlen(text);
    out[0] = (uint8_t)(length >> 8);
    out[1] = (uint8_t)length;
    memcpy(out + 2, text, length);
    return length + 2;
}

static void send_connect(const struct subscriber *subscriber)
{
    uint8_t packet[64] = {
        CONNECT << 4, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, subscriber->keep_session ? 0 : 2, 0, 0
    };
    size_t size = 12 + put_text(packet + 12, subscriber->client_id);
    packet[1] = (uint8_t)(size - 2);
    client_send(subscriber->fd, packet, size);
}

static void send_subscribe(const struct subscriber *subscriber, const char *filter, unsigned qos)
{
    uint8_t packet[120] = { SUBSCRIBE << 4 | 2, 0, 0, 1 };
    assert_true(strlen(filter) < 100);
    size_t size = 4 + put_text(packet + 4, filter);
    packet[size++] = (uint8_t)qos;
    packet[1] = (uint8_t)(size - 2);
    client_send(subscriber->fd, packet, size);
}

/* The packet that begins at input. Returns its whole size and where its body is, or 0 when it is not all
 * there. */
static size_t next_packet(const uint8_t *input, size_t size, const uint8_t **body, size_t *body_size)
{
    size_t length = 0;
    for (size_t i = 1; i < 5 && i < size; i++) {
        length |= (size_t)(input[i] & 0x7f) << (7 * (i - 1));
        if (!(input[i] & 0x80)) {
            *body = input + i + 1;
            *body_size = length;
            return i + 1 + length <= size ? i + 1 + length : 0;
        }
    }
    assert_true(size < 5);
    return 0;
}

/* Waits for one packet of this type, the first on a new connection. Returns the last byte of its body, or -1
 * when the connection ended. */
static int expect_packet(struct subscriber *subscriber, unsigned type)
{
    int64_t deadline = wait_deadline(PATIENCE_MS);
    for (;;) {
        const uint8_t *body;
        size_t body_size;
        size_t size = next_packet(subscriber->input, subscriber->input_size, &body, &body_size);
        if (size > 0) {
            assert_int_equal(subscriber->input[0] >> 4, type);
            int last = body[body_size - 1];
            subscriber->input_size -= size;
            memmove(subscriber->input, subscriber->input + size, subscriber->input_size);
            return last;
        }
        struct pollfd wait = { .fd = subscriber->fd, .events = POLLIN };
        if (poll(&wait, 1, wait_left_ms(deadline)) != 1) {
            fail_msg("the broker does not answer");
        }
        ssize_t got = recv(subscriber->fd, subscriber->input + subscriber->input_size, 64, 0);
        if (got <= 0) {
            return -1;
        }
        subscriber->input_size += (size_t)got;
    }
}

static void connect_session(struct subscriber *subscriber)
{
    int64_t deadline = wait_deadline(PATIENCE_MS);
    for (;;) {
        subscriber->fd = client_tcp(subscriber->port);
        subscriber->input_size = 0;
        send_connect(subscriber);
        int answer = expect_packet(subscriber, CONNACK);
        if (answer == 0) {
            return;
        }
        close(subscriber->fd);
        subscriber->fd = -1;
        if (answer > 0 || wait_over(deadline)) {
            fail_msg("the broker refuses the subscriber: %d", answer);
        }
        wait_nap(); /* it was just going down */
    }
}

static void disconnect(struct subscriber *subscriber)
{
    if (subscriber->fd >= 0) {
        close(subscriber->fd);
        subscriber->fd = -1;
    }
}

void subscriber_close(struct subscriber *subscriber)
{
    disconnect(subscriber);
    for (size_t i = 0; i < subscriber->count; i++) {
        free(subscriber->messages[i].topic);
        free(subscriber->messages[i].payload);
    }
    free(subscriber->messages);
    free(subscriber->input);
    subscriber->messages = NULL;
    subscriber->input = NULL;
    subscriber->count = 0;
}

static char *copy_text(const uint8_t *bytes, size_t size)
{
    char *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

static void keep(struct subscriber *subscriber, struct subscriber_message message)
{
    if (subscriber->count == subscriber->room) {
        subscriber->room = subscriber->room ? 2 * subscriber->room : 256;
        subscriber->messages = realloc(subscriber->messages, subscriber->room * sizeof *subscriber->messages);
        assert_non_null(subscriber->messages);
    }
    subscriber->messages[subscriber->count++] = message;
}

/* Takes one PUBLISH (3.3). Writes its acknowledgement to ack; returns the size of that. */
static size_t take_publish(struct subscriber *subscriber, unsigned flags, const uint8_t *body, size_t size,
                           uint8_t *ack)
{
    unsigned qos = flags >> 1 & 3;
    assert_true(size >= 2);
    size_t topic_size = (size_t)body[0] << 8 | body[1];
    size_t at = 2 + topic_size;
    size_t ack_size = 0;
    assert_true(qos < 2 && at + (qos > 0 ? 2 : 0) <= size);
    if (qos == 1) {
        memcpy(ack, (uint8_t[]){ PUBACK << 4, 2, body[at], body[at + 1] }, 4);
        ack_size = 4;
        at += 2;
    }
    const char *topic = (const char *)body + 2;
    if (!subscriber->handle ||
        !subscriber->handle(subscriber->context, topic, topic_size, (const char *)body + at, size - at)) {
        keep(subscriber, (struct subscriber_message){ .topic = copy_text(body + 2, topic_size),
                                                      .payload = copy_text(body + at, size - at),
                                                      .size = size - at,
                                                      .qos = qos,
                                                      .retained = flags & 1 });
    }
    return ack_size;
}

static void send_acks(struct subscriber *subscriber, const uint8_t *acks, size_t size)
{
    if (size > 0 && send(subscriber->fd, acks, size, MSG_NOSIGNAL) < 0) {
        /* The broker is gone: what it sent before is still to be read. */
        assert_true(errno == EPIPE || errno == ECONNRESET);
    }
}

/* Handles all whole packets of the input. */
static void digest(struct subscriber *subscriber)
{
    uint8_t acks[ACKS_AT_ONCE * 4];
    size_t acks_size = 0;
    size_t used = 0;
    const uint8_t *body;
    size_t body_size;
    size_t size;
    while ((size = next_packet(subscriber->input + used, subscriber->input_size - used, &body, &body_size)) >
           0) {
        uint8_t first = subscriber->input[used];
        if (first >> 4 == PUBLISH) {
            acks_size += take_publish(subscriber, first & 15, body, body_size, acks + acks_size);
        }
        used += size;
        if (acks_size == sizeof acks) {
            send_acks(subscriber, acks, acks_size);
            acks_size = 0;
        }
    }
    send_acks(subscriber, acks, acks_size);
    subscriber->input_size -= used;
    memmove(subscriber->input, subscriber->input + used, subscriber->input_size);
}

void subscriber_open(struct subscriber *subscriber, unsigned port, const char *client_id, bool keep_session,
                     const char *filter, unsigned qos)
{
    *subscriber = (struct subscriber){ .port = port, .keep_session = keep_session, .fd = -1 };
    snprintf(subscriber->client_id, sizeof subscriber->client_id, "%s", client_id);
    subscriber->input_room = INPUT_ROOM;
    subscriber->input = malloc(INPUT_ROOM);
    assert_non_null(subscriber->input);
    connect_session(subscriber);
    send_subscribe(subscriber, filter, qos);
    assert_int_equal(expect_packet(subscriber, SUBACK), qos);
    digest(subscriber); /* what is retained came right behind */
}

void subscriber_return(struct subscriber *subscriber)
{
    disconnect(subscriber);
    connect_session(subscriber);
    digest(subscriber); /* what was kept came right behind */
}

bool subscriber_read(struct subscriber *subscriber, int ms)
{
    struct pollfd wait = { .fd = subscriber->fd, .events = POLLIN };
    if (subscriber->fd < 0) {
        return false;
    }
    if (poll(&wait, 1, ms) != 1) {
        return true;
    }
    if (subscriber->input_size == subscriber->input_room) {
        subscriber->input_room *= 2;
        subscriber->input = realloc(subscriber->input, subscriber->input_room);
        assert_non_null(subscriber->input);
    }
    ssize_t got = recv(subscriber->fd, subscriber->input + subscriber->input_size,
                       subscriber->input_room - subscriber->input_size, MSG_DONTWAIT);
    if (got <= 0) {
        disconnect(subscriber);
        return false;
    }
    subscriber->input_size += (size_t)got;
    digest(subscriber);
    return true;
}

void subscriber_read_to_end(struct subscriber *subscriber)
{
    int64_t deadline = wait_deadline(PATIENCE_MS);
    while (subscriber_read(subscriber, wait_left_ms(deadline))) {
        if (wait_over(deadline)) {
            fail_msg("the broker is still there");
        }
    }
}

static struct subscriber_message *find_untaken(struct subscriber *subscriber, const char *topic, size_t *from)
{
    while (subscriber->first_untaken < subscriber->count &&
           subscriber->messages[subscriber->first_untaken].taken) {
        subscriber->first_untaken++;
    }
    if (*from < subscriber->first_untaken) {
        *from = subscriber->first_untaken;
    }
    for (; *from < subscriber->count; ++*from) {
        struct subscriber_message *message = &subscriber->messages[*from];
        if (!message->taken && strcmp(message->topic, topic) == 0) {
            return message;
        }
    }
    return NULL;
}

const struct subscriber_message *subscriber_take(struct subscriber *subscriber, const char *topic, int64_t ms)
{
    int64_t deadline = wait_deadline(ms);
    size_t from = 0;
    for (;;) {
        struct subscriber_message *message = find_untaken(subscriber, topic, &from);
        if (message) {
            message->taken = true;
            return message;
        }
        if (wait_over(deadline) || !subscriber_read(subscriber, wait_left_ms(deadline))) {
            return NULL;
        }
    }
}

bool subscriber_read_until(struct subscriber *subscriber, bool (*holds)(void *context), void *context,
                           int64_t ms)
{
    int64_t deadline = wait_deadline(ms);
    while (!holds(context)) {
        if (wait_over(deadline) || !subscriber_read(subscriber, 20)) {
            return holds(context);
        }
    }
    return true;
}
