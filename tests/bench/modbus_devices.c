/*
 * Modbus devices for the benchmark: modbus_devices tcp: as many as connect to the port that it says, each of
 * which answers at once; modbus_devices line LINK BAUD TURNAROUND_MS FIRST_DEAD: one line with 32 devices
 * behind a pty with that link, its bytes paced as on a line of that rate; units from FIRST_DEAD on say
 * nothing. The value of a register is its address. Ends with SIGTERM.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEADER      7
#define REQUEST     5 /* function, address, count */
#define LINE_UNITS  32
#define BITS_OF_8N1 10
#define EVENTS      64

/* The answer's PDU to a read of registers. */
static size_t answer(const uint8_t *pdu, uint8_t *to)
{
    unsigned address = (unsigned)(pdu[1] << 8 | pdu[2]);
    unsigned count = (unsigned)(pdu[3] << 8 | pdu[4]);
    if ((pdu[0] != 3 && pdu[0] != 4) || count == 0 || count > 125) {
        to[0] = pdu[0] | 0x80;
        to[1] = 1;
        return 2;
    }
    to[0] = pdu[0];
    to[1] = (uint8_t)(count * 2);
    for (unsigned i = 0; i < count; i++) {
        to[2 + 2 * i] = (uint8_t)((address + i) >> 8);
        to[3 + 2 * i] = (uint8_t)(address + i);
    }
    return 2u + 2 * count;
}

/* One request a read: nobody here pipelines. Returns false when the connection is over. */
static bool serve(int fd)
{
    uint8_t request[64], adu[HEADER + 256];
    ssize_t got = read(fd, request, sizeof request);
    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    if (got < HEADER + REQUEST) {
        return false;
    }
    memcpy(adu, request, HEADER);
    size_t size = answer(request + HEADER, adu + HEADER);
    adu[4] = (uint8_t)((size + 1) >> 8);
    adu[5] = (uint8_t)(size + 1);
    return write(fd, adu, HEADER + size) == (ssize_t)(HEADER + size);
}

static int run_tcp(const volatile int *stop)
{
    int port = 0;
    int listener = bench_listen(&port);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS] = { { .events = EPOLLIN, .data.fd = listener } };
    if (listener < 0 || poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, events) < 0) {
        perror("modbus_devices");
        return 1;
    }
    printf("ready %d\n", port);
    fflush(stdout);
    while (!*stop) {
        int count = epoll_wait(poller, events, EVENTS, 1000);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                struct epoll_event made = { .events = EPOLLIN,
                                            .data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK) };
                if (made.data.fd >= 0) {
                    epoll_ctl(poller, EPOLL_CTL_ADD, made.data.fd, &made);
                }
            } else if (!serve(fd)) {
                close(fd);
            }
        }
    }
    return 0;
}

/* ---- a line ---- */

static unsigned crc16(const uint8_t *bytes, size_t size)
{
    unsigned crc = 0xFFFF;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? (crc >> 1) ^ 0xA001 : crc >> 1;
        }
    }
    return crc;
}

static void pass(int64_t ns)
{
    struct timespec time = { .tv_sec = ns / BENCH_NS_PER_S, .tv_nsec = ns % BENCH_NS_PER_S };
    nanosleep(&time, NULL);
}

static int open_line(const char *link)
{
    int master = -1, slave = -1;
    char name[64];
    struct termios raw = { 0 };
    cfmakeraw(&raw);
    raw.c_cflag |= CREAD | CLOCAL;
    if (openpty(&master, &slave, name, &raw, NULL) < 0 || symlink(name, link) < 0) {
        perror("modbus_devices");
        return -1;
    }
    return master; /* the slave stays open, so that the master never hangs up */
}

static int run_line(char **argv, const volatile int *stop)
{
    long baud = bench_number("modbus_devices", "BAUD", argv[3], 300, 1000000);
    long turnaround_ms = bench_number("modbus_devices", "TURNAROUND_MS", argv[4], 0, 1000);
    long first_dead = bench_number("modbus_devices", "FIRST_DEAD", argv[5], 1, 256);
    int64_t byte_ns = BITS_OF_8N1 * BENCH_NS_PER_S / baud;
    int master = open_line(argv[2]);
    if (master < 0) {
        return 1;
    }
    printf("ready 0\n");
    fflush(stdout);
    uint8_t request[64], adu[260];
    while (!*stop) {
        ssize_t got = read(master, request, sizeof request);
        if (got < REQUEST + 3 || request[0] == 0 || request[0] >= first_dead || request[0] > LINE_UNITS) {
            continue;
        }
        adu[0] = request[0];
        size_t size = 1 + answer(request + 1, adu + 1);
        unsigned crc = crc16(adu, size);
        adu[size++] = (uint8_t)crc;
        adu[size++] = (uint8_t)(crc >> 8);
        pass(((int64_t)size + got) * byte_ns + turnaround_ms * (BENCH_NS_PER_S / 1000));
        if (write(master, adu, size) < 0) {
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const volatile int *stop = bench_stop_on_signals();
    bench_raise_files();
    if (argc == 2 && strcmp(argv[1], "tcp") == 0) {
        return run_tcp(stop);
    }
    if (argc == 6 && strcmp(argv[1], "line") == 0) {
        return run_line(argv, stop);
    }
    fprintf(stderr, "usage: modbus_devices tcp | line LINK BAUD TURNAROUND_MS FIRST_DEAD\n");
    return 2;
}
