/*
 * The load generator: opens connections, says "ready", waits for a line on its standard input, sends
 * readings, says as JSON what it did, and keeps the connections until its standard input ends.
 *
 * Connection i is device i. With --rate the readings are spread evenly over time and connections, one write
 * each; without it each connection is filled as fast as it takes them.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_LINES 64
#define STALL_NS    (60 * BENCH_NS_PER_S)

struct connection {
    int fd;
    uint64_t sent; /* whole lines */
    uint64_t quota;
    size_t size, written; /* of chunk */
    char *chunk;
};

struct options {
    int port;
    size_t connections;
    uint64_t count;
    long rate; /* a second; 0: as fast as possible */
    bool end_marks;
};

static struct options options = { .connections = 50 };
static const volatile int *stop;

static int fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    return 1;
}

static bool open_connections(struct connection *connections)
{
    for (size_t i = 0; i < options.connections; i++) {
        struct sockaddr_in address = bench_loopback(options.port);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        connections[i].fd = fd;
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
            return false;
        }
        connections[i].quota =
            options.count / options.connections + (i < options.count % options.connections);
    }
    return true;
}

/* Refuses to go on where the other side closed at once, as one that is full does. */
static bool all_stand(const struct connection *connections)
{
    for (size_t i = 0; i < options.connections; i++) {
        char byte;
        if (recv(connections[i].fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0) {
            errno = ECONNRESET;
            return false;
        }
    }
    return true;
}

static bool await_line(void)
{
    char byte;
    return read(STDIN_FILENO, &byte, 1) == 1;
}

static void fill(struct connection *connection, unsigned device)
{
    int64_t now_ns = bench_now_ns();
    connection->size = connection->written = 0;
    while (connection->sent < connection->quota && connection->size < CHUNK_LINES * BENCH_LINE_BYTES) {
        const struct bench_reading reading = { device, connection->sent++, now_ns };
        bench_reading_print(&reading, connection->chunk + connection->size);
        connection->size += BENCH_LINE_BYTES;
    }
}

/* Returns 1 when the connection has sent all, 0 to go on, -1 on an error. */
static int push(struct connection *connection, unsigned device)
{
    for (int i = 0; i < 8; i++) {
        if (connection->written == connection->size) {
            fill(connection, device);
            if (connection->size == 0) {
                return 1;
            }
        }
        ssize_t written = send(connection->fd, connection->chunk + connection->written,
                               connection->size - connection->written, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        }
        connection->written += (size_t)written;
    }
    return 0;
}

static bool send_fast(struct connection *connections)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    size_t busy = options.connections;
    for (size_t i = 0; i < options.connections; i++) {
        struct epoll_event event = { .events = EPOLLOUT, .data.u64 = i };
        connections[i].chunk = malloc((size_t)CHUNK_LINES * BENCH_LINE_BYTES);
        if (!connections[i].chunk || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connections[i].fd, &event) < 0) {
            close(epoll_fd);
            return false;
        }
    }
    bool good = true;
    while (good && busy > 0 && !*stop) {
        struct epoll_event events[64];
        int count = epoll_wait(epoll_fd, events, 64, (int)(STALL_NS / 1000000));
        if (count == 0 || (count < 0 && errno != EINTR)) {
            errno = count == 0 ? ETIMEDOUT : errno;
            good = false;
        }
        for (int i = 0; i < count; i++) {
            size_t index = (size_t)events[i].data.u64;
            int done = push(&connections[index], (unsigned)index);
            if (done) {
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, connections[index].fd, NULL);
                busy--;
                good &= done > 0;
            }
        }
    }
    int error = errno;
    close(epoll_fd);
    errno = error;
    return good;
}

static bool send_line(const struct connection *connection, const char *line)
{
    size_t sent = 0;
    while (sent < BENCH_LINE_BYTES) {
        ssize_t written =
            send(connection->fd, line + sent, BENCH_LINE_BYTES - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written >= 0) {
            sent += (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd pollfd = { .fd = connection->fd, .events = POLLOUT };
            if (poll(&pollfd, 1, (int)(STALL_NS / 1000000)) == 0) {
                errno = ETIMEDOUT;
                return false;
            }
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void sleep_until(int64_t at_ns)
{
    const struct timespec at = { .tv_sec = (time_t)(at_ns / BENCH_NS_PER_S),
                                 .tv_nsec = (long)(at_ns % BENCH_NS_PER_S) };
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static bool send_steadily(struct connection *connections)
{
    int64_t start_ns = bench_now_ns();
    for (uint64_t k = 0; k < options.count && !*stop; k++) {
        int64_t due_ns = start_ns + (int64_t)(k * (uint64_t)BENCH_NS_PER_S / (uint64_t)options.rate);
        if (bench_now_ns() < due_ns) {
            sleep_until(due_ns);
        }
        size_t index = (size_t)(k % options.connections);
        const struct bench_reading reading = { (unsigned)index, connections[index].sent++, bench_now_ns() };
        char line[BENCH_LINE_BYTES];
        bench_reading_print(&reading, line);
        if (!send_line(&connections[index], line)) {
            return false;
        }
    }
    return true;
}

static bool send_end_marks(const struct connection *connections)
{
    for (size_t i = 0; i < options.connections; i++) {
        const struct bench_reading reading = { BENCH_END_DEVICE, i, bench_now_ns() };
        char line[BENCH_LINE_BYTES];
        bench_reading_print(&reading, line);
        if (!send_line(&connections[i], line)) {
            return false;
        }
    }
    return true;
}

static void parse(int argc, char **argv)
{
    static const struct option known[] = {
        { "port", required_argument, NULL, 'p' },  { "connections", required_argument, NULL, 'c' },
        { "count", required_argument, NULL, 'n' }, { "rate", required_argument, NULL, 'r' },
        { "end-marks", no_argument, NULL, 'e' },   { 0 }
    };
    int option = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'p':
            options.port = (int)bench_number("load", "port", optarg, 1, 65535);
            break;
        case 'c':
            options.connections = (size_t)bench_number("load", "connections", optarg, 1, 50000);
            break;
        case 'n':
            options.count = (uint64_t)bench_number("load", "count", optarg, 0, 1000000000);
            break;
        case 'r':
            options.rate = bench_number("load", "rate", optarg, 0, 1000000);
            break;
        case 'e':
            options.end_marks = true;
            break;
        default:
            exit(2);
        }
    }
    if (options.port == 0) {
        fprintf(stderr, "usage: load --port N [--connections N] [--count N] [--rate N] [--end-marks]\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    stop = bench_stop_on_signals();
    bench_raise_files();
    prctl(PR_SET_TIMERSLACK, 1ul);
    struct connection *connections = calloc(options.connections, sizeof *connections);
    if (!connections || !open_connections(connections)) {
        return fail("connecting");
    }
    puts("ready");
    fflush(stdout);
    if (!await_line()) {
        return 0;
    }
    if (!all_stand(connections)) {
        return fail("the connections");
    }
    int64_t start_ns = bench_now_ns();
    bool good = options.rate > 0 ? send_steadily(connections) : send_fast(connections);
    if (!good || (options.end_marks && !send_end_marks(connections))) {
        return fail("sending");
    }
    printf("{\"sent\":%llu,\"elapsed_s\":%.6f}\n", (unsigned long long)options.count,
           (double)(bench_now_ns() - start_ns) / BENCH_NS_PER_S);
    fflush(stdout);
    while (await_line()) {
    }
    for (size_t i = 0; i < options.connections; i++) {
        free(connections[i].chunk);
        close(connections[i].fd);
    }
    free(connections);
    return 0;
}
