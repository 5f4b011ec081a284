#include "support/client.h"

#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 10000

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static unsigned bound_port(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

/* Ports are dealt from below the range of outgoing connections, so that none of those takes one before the
 * daemon does; each process begins elsewhere. */
unsigned client_free_port(void)
{
    static unsigned next;
    if (next == 0) {
        next = 12000 + (unsigned)getpid() * 61 % 18000;
    }
    for (unsigned attempt = 0; attempt < 2000; attempt++) {
        next = next >= 31999 ? 12000 : next + 1;
        struct sockaddr_in address = loopback(next);
        int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        bool is_free = bind(stream, (struct sockaddr *)&address, sizeof address) == 0 &&
                       bind(datagrams, (struct sockaddr *)&address, sizeof address) == 0;
        close(stream);
        close(datagrams);
        if (is_free) {
            return next;
        }
    }
    fail_msg("no free port");
    return 0;
}

static int try_tcp(unsigned port, const char *source)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (source) {
        struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(source) };
        assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    }
    struct sockaddr_in address = loopback(port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    return fd;
}

int client_try_tcp(unsigned port)
{
    return try_tcp(port, NULL);
}

int client_tcp_from(unsigned port, const char *source)
{
    int64_t deadline = wait_deadline(PATIENCE_MS);
    int fd;
    while ((fd = try_tcp(port, source)) < 0 && !wait_over(deadline)) {
        wait_nap();
    }
    if (fd < 0) {
        fail_msg("nobody listens on TCP port %u: %s", port, strerror(-fd));
    }
    return fd;
}

int client_tcp(unsigned port)
{
    return client_tcp_from(port, NULL);
}

int client_listen(unsigned *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = loopback(0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    *port = bound_port(fd);
    return fd;
}

int client_accept(int listener)
{
    struct pollfd wait = { .fd = listener, .events = POLLIN };
    if (poll(&wait, 1, wait_left_ms(wait_deadline(PATIENCE_MS))) != 1) {
        fail_msg("nobody connects");
    }
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    return fd;
}

/* Sums over the rows of /proc/net/{tcp,udp} with this local port. Returns how many there are. */
static unsigned look_up(const char *table, unsigned port, uint64_t *receive_queue, uint64_t *send_queue,
                        uint64_t *drops)
{
    unsigned found = 0;
    FILE *file = fopen(table, "re");
    char line[512];
    *receive_queue = *send_queue = *drops = 0;
    while (file && fgets(line, sizeof line, file)) {
        unsigned local;
        unsigned remote;
        unsigned state;
        unsigned long to_send;
        unsigned long to_read;
        if (sscanf(line, " %*d: %*x:%x %*x:%x %x %lx:%lx", &local, &remote, &state, &to_send, &to_read) !=
            5) {
            continue;
        }
        if (local == port) {
            found++;
            *receive_queue += state == 10 ? 0 : to_read; /* a listener's row counts connections there */
            size_t length = strlen(line);
            while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '\n')) {
                line[--length] = '\0';
            }
            const char *last = strrchr(line, ' '); /* "drops" in the table of UDP */
            *drops += last ? strtoul(last, NULL, 10) : 0;
        } else if (remote == port) {
            *send_queue += to_send;
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

uint64_t client_tcp_unread(unsigned port)
{
    uint64_t to_read;
    uint64_t to_send;
    uint64_t ignored;
    look_up("/proc/net/tcp", port, &to_read, &to_send, &ignored);
    return to_read + to_send;
}

uint64_t client_udp_unread(unsigned port, uint64_t *drops)
{
    uint64_t to_read;
    uint64_t ignored;
    look_up("/proc/net/udp", port, &to_read, &ignored, drops);
    return to_read;
}

int client_udp(unsigned port)
{
    uint64_t ignored;
    int64_t deadline = wait_deadline(PATIENCE_MS);
    while (look_up("/proc/net/udp", port, &ignored, &ignored, &ignored) == 0) {
        if (wait_over(deadline)) {
            fail_msg("nobody has bound UDP port %u", port);
        }
        wait_nap();
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(port);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

int client_unix(const char *path, int kind)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    assert_true(strlen(path) < sizeof address.sun_path);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    int64_t deadline = wait_deadline(PATIENCE_MS);
    while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        if (wait_over(deadline)) {
            fail_msg("%s: %s", path, strerror(errno));
        }
        wait_nap();
    }
    return fd;
}

void client_send(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent < 0) {
            fail_msg("send: %s", strerror(errno));
        }
        at += sent;
        size -= (size_t)sent;
    }
}

void client_print(int fd, const char *format, ...)
{
    char text[4096];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    assert_in_range(length, 1, sizeof text - 1);
    client_send(fd, text, (size_t)length);
}

void client_reset(int fd)
{
    struct linger at_once = { .l_onoff = 1 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

bool client_wait_closed(int fd, int64_t ms)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    char byte;
    return poll(&wait, 1, wait_left_ms(wait_deadline(ms))) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}
