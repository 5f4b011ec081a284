/*
 * A null MQTT broker: takes what is published, acknowledges it in batches (all that one read brought with one
 * write), forgets it. Counts readings and follows each device's sequence. MQTT 3.1.1 and 5.0, as much of them
 * as a publisher sees. One thread, one epoll; a client that breaks the protocol or its bounds is
 * disconnected.
 *
 * Says "listening PORT", "connected" for each CONNECT, and what it counted, as JSON, when --expect readings
 * have come and at SIGTERM.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define INPUT_BYTES 262144
/* The longest answer to what fits into the input: each QoS 1 PUBLISH has at least 7 bytes, its PUBACK 4. */
#define OUTPUT_BYTES INPUT_BYTES

enum packet_type {
    CONNECT = 1,
    CONNACK,
    PUBLISH,
    PUBACK,
    PUBREC,
    PUBREL,
    PUBCOMP,
    SUBSCRIBE,
    SUBACK,
    UNSUBSCRIBE,
    UNSUBACK,
    PINGREQ,
    PINGRESP,
    DISCONNECT
};

struct client {
    int fd;
    bool v5, connected;
    bool blocked; /* output waits for the socket: nothing is read meanwhile */
    size_t in_size, out_size;
    uint8_t received[8192]; /* a bit for each packet identifier of QoS 2 between PUBLISH and PUBREL */
    char in[INPUT_BYTES];
    char out[OUTPUT_BYTES];
};

struct packet {
    enum packet_type type;
    unsigned flags;
    const uint8_t *body;
    size_t size;
};

static struct bench_tally tally;
static struct client *clients[CLIENTS_MAX];
static uint64_t expect, reads, bytes;
static bool told;
static int epoll_fd;

static void tell(void)
{
    putchar('{');
    bench_tally_print(&tally, stdout);
    printf(",\"reads\":%llu,\"bytes\":%llu}\n", (unsigned long long)reads, (unsigned long long)bytes);
    fflush(stdout);
}

static bool answer(struct client *client, const uint8_t *packet, size_t size)
{
    if (size > OUTPUT_BYTES - client->out_size) {
        return false;
    }
    memcpy(client->out + client->out_size, packet, size);
    client->out_size += size;
    return true;
}

static bool answer_id(struct client *client, unsigned first, const uint8_t *id)
{
    const uint8_t packet[4] = { (uint8_t)first, 2, id[0], id[1] };
    return answer(client, packet, sizeof packet);
}

/* MQTT 5.0, 1.5.5: a variable byte integer. Returns its bytes, 0 when there are too few, -1 when it is none.
 */
static int get_length(const uint8_t *at, size_t size, size_t *value)
{
    size_t length = 0;
    for (int i = 0; i < 4; i++) {
        if ((size_t)i >= size) {
            return 0;
        }
        length |= (size_t)(at[i] & 0x7f) << (7 * i);
        if (!(at[i] & 0x80)) {
            *value = length;
            return i + 1;
        }
    }
    return -1;
}

static bool on_connect(struct client *client, const struct packet *packet)
{
    if (client->connected || packet->size < 10 || memcmp(packet->body, "\0\4MQTT", 6) != 0) {
        return false;
    }
    client->v5 = packet->body[6] == 5;
    client->connected = true;
    puts("connected");
    fflush(stdout);
    const uint8_t v311[] = { CONNACK << 4, 2, 0, 0 };
    const uint8_t v5[] = { CONNACK << 4, 3, 0, 0, 0 };
    return client->v5 ? answer(client, v5, sizeof v5) : answer(client, v311, sizeof v311);
}

static void count(const uint8_t *payload, size_t size)
{
    struct bench_reading reading;
    bench_tally_add(&tally, payload, size, bench_now_ns(), &reading);
    if (expect > 0 && tally.received >= expect && !told) {
        told = true;
        tell();
    }
}

static bool on_publish(struct client *client, const struct packet *packet)
{
    const uint8_t *body = packet->body;
    size_t at = 2;
    unsigned qos = packet->flags >> 1 & 3;
    if (packet->size < 2 || qos > 2) {
        return false;
    }
    at += (size_t)body[0] << 8 | body[1];
    const uint8_t *id = body + at;
    at += qos > 0 ? 2 : 0;
    if (at > packet->size) {
        return false;
    }
    if (client->v5) {
        size_t properties = 0;
        int bytes_of_length = get_length(body + at, packet->size - at, &properties);
        if (bytes_of_length <= 0 || properties > packet->size - at - (size_t)bytes_of_length) {
            return false;
        }
        at += (size_t)bytes_of_length + properties;
    }
    unsigned number = qos > 0 ? (unsigned)id[0] << 8 | id[1] : 0;
    uint8_t bit = (uint8_t)(1u << (number & 7));
    if (qos < 2 || !(client->received[number >> 3] & bit)) {
        count(body + at, packet->size - at);
    }
    if (qos == 2) {
        client->received[number >> 3] |= bit;
    }
    return qos == 0 || answer_id(client, (unsigned)(qos == 1 ? PUBACK : PUBREC) << 4, id);
}

static bool on_pubrel(struct client *client, const struct packet *packet)
{
    if (packet->size < 2) {
        return false;
    }
    unsigned number = (unsigned)packet->body[0] << 8 | packet->body[1];
    client->received[number >> 3] &= (uint8_t) ~(1u << (number & 7));
    return answer_id(client, PUBCOMP << 4, packet->body);
}

/* Grants QoS 0 to one filter; more than one in a packet is more than a publisher asks for here. */
static bool on_subscribe(struct client *client, const struct packet *packet)
{
    if (packet->size < 5) {
        return false;
    }
    const uint8_t v311[] = { SUBACK << 4, 3, packet->body[0], packet->body[1], 0 };
    const uint8_t v5[] = { SUBACK << 4, 4, packet->body[0], packet->body[1], 0, 0 };
    return client->v5 ? answer(client, v5, sizeof v5) : answer(client, v311, sizeof v311);
}

static bool on_packet(struct client *client, const struct packet *packet)
{
    static const uint8_t pong[] = { PINGRESP << 4, 0 };
    if (!client->connected && packet->type != CONNECT) {
        return false;
    }
    switch (packet->type) {
    case CONNECT:
        return on_connect(client, packet);
    case PUBLISH:
        return on_publish(client, packet);
    case PUBREL:
        return on_pubrel(client, packet);
    case SUBSCRIBE:
        return on_subscribe(client, packet);
    case PINGREQ:
        return answer(client, pong, sizeof pong);
    default:
        return false; /* DISCONNECT, and what a broker does not get */
    }
}

static bool take_packets(struct client *client)
{
    const uint8_t *in = (const uint8_t *)client->in;
    size_t at = 0;
    while (client->in_size - at >= 2) {
        size_t size = 0;
        int length = get_length(in + at + 1, client->in_size - at - 1, &size);
        if (length < 0 || size > INPUT_BYTES - 5) {
            return false;
        }
        size_t whole = 1 + (size_t)length + size;
        if (length == 0 || client->in_size - at < whole) {
            break;
        }
        const struct packet packet = { (enum packet_type)(in[at] >> 4), in[at] & 0xfu, in + at + 1 + length,
                                       size };
        if (!on_packet(client, &packet)) {
            return false;
        }
        at += whole;
    }
    client->in_size -= at;
    memmove(client->in, client->in + at, client->in_size);
    return true;
}

static bool flush(struct client *client)
{
    size_t sent = 0;
    while (sent < client->out_size) {
        ssize_t written = send(client->fd, client->out + sent, client->out_size - sent, MSG_NOSIGNAL);
        if (written < 0 && errno == EAGAIN) {
            break;
        }
        if (written < 0 && errno != EINTR) {
            return false;
        }
        sent += written > 0 ? (size_t)written : 0;
    }
    client->out_size -= sent;
    memmove(client->out, client->out + sent, client->out_size);
    bool blocked = client->out_size > 0;
    if (blocked != client->blocked) {
        struct epoll_event event = { .events = blocked ? EPOLLOUT : EPOLLIN, .data.ptr = client };
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
        client->blocked = blocked;
    }
    return true;
}

static bool serve(struct client *client)
{
    if (client->blocked) {
        return flush(client);
    }
    ssize_t size = read(client->fd, client->in + client->in_size, INPUT_BYTES - client->in_size);
    if (size <= 0) {
        return size < 0 && (errno == EAGAIN || errno == EINTR);
    }
    reads++;
    bytes += (uint64_t)size;
    client->in_size += (size_t)size;
    return take_packets(client) && flush(client);
}

static void welcome(int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = clients[i] ? NULL : calloc(1, sizeof *client);
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
        if (client && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) {
            client->fd = fd;
            clients[i] = client;
            return;
        }
        free(client);
    }
    close(fd);
}

static void dismiss(struct client *client)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (clients[i] == client) {
            clients[i] = NULL;
        }
    }
    close(client->fd);
    free(client);
}

static int parse(int argc, char **argv)
{
    static const struct option known[] = { { "port", required_argument, NULL, 'p' },
                                           { "expect", required_argument, NULL, 'e' },
                                           { 0 } };
    int option = 0;
    int port = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'p':
            port = (int)bench_number("sink", "port", optarg, 0, 65535);
            break;
        case 'e':
            expect = (uint64_t)bench_number("sink", "expect", optarg, 0, 1000000000);
            break;
        default:
            fprintf(stderr, "usage: sink [--port N] [--expect READINGS]\n");
            exit(2);
        }
    }
    return port;
}

int main(int argc, char **argv)
{
    int port = parse(argc, argv);
    const volatile int *stop = bench_stop_on_signals();
    int listen_fd = bench_listen(&port);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event listening = { .events = EPOLLIN };
    if (listen_fd < 0 || !bench_tally_init(&tally) ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &listening) < 0) {
        fprintf(stderr, "sink: %s\n", strerror(errno));
        return 1;
    }
    printf("listening %d\n", port);
    fflush(stdout);
    while (!*stop) {
        struct epoll_event events[CLIENTS_MAX + 1];
        int ready = epoll_wait(epoll_fd, events, CLIENTS_MAX + 1, 1000);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) {
                welcome(listen_fd);
            } else if (!serve(client)) {
                dismiss(client);
            }
        }
    }
    tell();
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (clients[i]) {
            dismiss(clients[i]);
        }
    }
    bench_tally_fini(&tally);
    return 0;
}
