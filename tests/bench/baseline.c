/*
 * The straightforward program that the daemon is compared with: one thread, one epoll, lines from accepted
 * TCP connections, mosquitto_publish for each, the library's reads and writes in the same epoll; nothing
 * else.
 *
 * It never overruns the library: while that has bytes that the socket did not take, or (QoS 1 and 2) as many
 * messages unacknowledged as its window, nothing is read from the devices.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REST_MAX         256
#define READ_BYTES       16384
#define ACCEPTS_PER_TURN 64

struct connection {
    struct connection *next, **link; /* of all, to free them at the end */
    int fd;
    bool skipping; /* the rest of a line that was too long */
    size_t rest_size;
    char rest[REST_MAX];
};

static struct {
    int listen_port, broker_port, qos, window;
    bool nodelay, v311;
} options = { .window = 100 };

static struct mosquitto *library;
static struct connection *connections;
static int in_flight;
static bool connected;
static const volatile int *stop;

static void on_publish(struct mosquitto *mosquitto, void *context, int mid)
{
    (void)mosquitto;
    (void)context;
    (void)mid;
    in_flight--;
}

static void on_connect(struct mosquitto *mosquitto, void *context, int reason)
{
    (void)mosquitto;
    (void)context;
    connected = reason == 0;
}

static int die(const char *what, const char *why)
{
    fprintf(stderr, "baseline: %s: %s\n", what, why);
    exit(1);
}

static void broker_io(short revents)
{
    int result = MOSQ_ERR_SUCCESS;
    if (mosquitto_want_write(library)) {
        result = mosquitto_loop_write(library, 1);
    }
    if (!result && (revents & (POLLIN | POLLERR | POLLHUP))) {
        result = mosquitto_loop_read(library, 1);
    }
    if (result) {
        die("broker", mosquitto_strerror(result));
    }
}

static void wait_for_broker(void)
{
    struct pollfd pollfd = { .fd = mosquitto_socket(library),
                             .events = (short)(POLLIN | (mosquitto_want_write(library) ? POLLOUT : 0)) };
    int ready = poll(&pollfd, 1, 1000);
    if (ready > 0) {
        broker_io(pollfd.revents);
    } else {
        mosquitto_loop_misc(library);
    }
}

static bool has_room(void)
{
    return !mosquitto_want_write(library) && (options.qos == 0 || in_flight < options.window);
}

static void publish(const char *line, size_t size)
{
    const char *comma = memchr(line, ',', size);
    if (!comma || comma == line || comma - line > 64) {
        return;
    }
    char topic[128];
    snprintf(topic, sizeof topic, "fieldgate/bench/%.*s/state", (int)(comma - line), line);
    int result = mosquitto_publish(library, NULL, topic, (int)size, line, options.qos, false);
    if (result) {
        die("publish", mosquitto_strerror(result));
    }
    in_flight += options.qos > 0;
    while (!has_room() && !*stop) {
        wait_for_broker();
    }
}

/* Publishes the whole lines of data and keeps what is left of them. */
static void take(struct connection *connection, char *data, size_t size)
{
    char *end = data + size;
    char *newline = NULL;
    while ((newline = memchr(data, '\n', (size_t)(end - data)))) {
        if (!connection->skipping && newline > data) {
            publish(data, (size_t)(newline - data));
        }
        connection->skipping = false;
        data = newline + 1;
    }
    connection->rest_size = (size_t)(end - data);
    if (connection->rest_size > REST_MAX) {
        connection->skipping = true;
        connection->rest_size = 0;
    }
    memcpy(connection->rest, data, connection->rest_size);
}

static void drop(struct connection *connection)
{
    *connection->link = connection->next;
    if (connection->next) {
        connection->next->link = connection->link;
    }
    close(connection->fd);
    free(connection);
}

static void read_lines(struct connection *connection)
{
    static char buffer[REST_MAX + READ_BYTES];
    memcpy(buffer, connection->rest, connection->rest_size);
    ssize_t size = read(connection->fd, buffer + connection->rest_size, READ_BYTES);
    if (size > 0) {
        take(connection, buffer, connection->rest_size + (size_t)size);
    } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
        drop(connection);
    }
}

static void accept_all(int epoll_fd, int listen_fd)
{
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        struct connection *connection = calloc(1, sizeof *connection);
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };
        if (!connection || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
            die("accept", strerror(errno));
        }
        connection->fd = fd;
        connection->next = connections;
        connection->link = &connections;
        if (connections) {
            connections->link = &connection->next;
        }
        connections = connection;
    }
}

static void connect_broker(void)
{
    mosquitto_lib_init();
    library = mosquitto_new("baseline", true, NULL);
    if (!library) {
        die("mosquitto_new", strerror(errno));
    }
    mosquitto_int_option(library, MOSQ_OPT_PROTOCOL_VERSION,
                         options.v311 ? MQTT_PROTOCOL_V311 : MQTT_PROTOCOL_V5);
    mosquitto_int_option(library, MOSQ_OPT_TCP_NODELAY, options.nodelay);
    mosquitto_max_inflight_messages_set(library, (unsigned)options.window);
    mosquitto_connect_callback_set(library, on_connect);
    if (options.qos > 0) {
        mosquitto_publish_callback_set(library, on_publish);
    }
    int result = mosquitto_connect(library, "127.0.0.1", options.broker_port, 60);
    if (result) {
        die("connect", mosquitto_strerror(result));
    }
    for (int i = 0; i < 10 && !connected; i++) {
        wait_for_broker();
    }
    if (!connected) {
        die("connect", "no CONNACK");
    }
}

static void run(int epoll_fd, int listen_fd)
{
    struct epoll_event events[64];
    int64_t misc_ns = bench_now_ns();
    while (!*stop) {
        int count = epoll_wait(epoll_fd, events, 64, 1000);
        for (int i = 0; i < count; i++) {
            if (!events[i].data.ptr) {
                accept_all(epoll_fd, listen_fd);
            } else if (events[i].data.ptr == library) {
                broker_io(POLLIN);
            } else {
                read_lines(events[i].data.ptr);
            }
        }
        if (count <= 0 || bench_now_ns() - misc_ns >= BENCH_NS_PER_S) {
            misc_ns = bench_now_ns();
            mosquitto_loop_misc(library);
        }
    }
}

static void parse(int argc, char **argv)
{
    static const struct option known[] = { { "listen", required_argument, NULL, 'l' },
                                           { "broker", required_argument, NULL, 'b' },
                                           { "qos", required_argument, NULL, 'q' },
                                           { "window", required_argument, NULL, 'w' },
                                           { "nodelay", no_argument, NULL, 'n' },
                                           { "v311", no_argument, NULL, '3' },
                                           { 0 } };
    int option = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'l':
            options.listen_port = (int)bench_number("baseline", "listen", optarg, 0, 65535);
            break;
        case 'b':
            options.broker_port = (int)bench_number("baseline", "broker", optarg, 1, 65535);
            break;
        case 'q':
            options.qos = (int)bench_number("baseline", "qos", optarg, 0, 2);
            break;
        case 'w':
            options.window = (int)bench_number("baseline", "window", optarg, 1, 65535);
            break;
        case 'n':
            options.nodelay = true;
            break;
        case '3':
            options.v311 = true;
            break;
        default:
            exit(2);
        }
    }
    if (options.broker_port == 0) {
        fprintf(stderr,
                "usage: baseline --broker N [--listen N] [--qos N] [--window N] [--nodelay] [--v311]\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    stop = bench_stop_on_signals();
    bench_raise_files();
    int port = options.listen_port;
    int listen_fd = bench_listen(&port);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listen_fd < 0 || epoll_fd < 0) {
        die("listen", strerror(errno));
    }
    connect_broker();
    struct epoll_event listening = { .events = EPOLLIN };
    struct epoll_event broker = { .events = EPOLLIN, .data.ptr = library };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &listening) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, mosquitto_socket(library), &broker) < 0) {
        die("epoll", strerror(errno));
    }
    printf("listening %d\n", port);
    fflush(stdout);
    run(epoll_fd, listen_fd);
    while (connections) {
        drop(connections);
    }
    mosquitto_disconnect(library);
    mosquitto_destroy(library);
    mosquitto_lib_cleanup();
    return 0;
}
