#include "publisher_socket.h"

#include <linux/tcp.h> /* the C library's struct tcp_info ends before the counts of bytes */
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Probes on an idle line begin after one keepalive, and this many fit into the half that is left. */
#define PROBES 3

static void set(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof value); /* without it, a little is noticed later */
}

void fg_socket_set_options(int fd, int keepalive_s)
{
    int between_s = keepalive_s / (2 * PROBES);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_s < 32767 ? keepalive_s : 32767);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, between_s > 0 ? between_s : 1);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
    set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, keepalive_s * 1500);
}

void fg_socket_cork(int fd, int on)
{
    set(fd, IPPROTO_TCP, TCP_CORK, on);
}

int fg_socket_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : 0;
}

static int readable(int fd)
{
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : 0;
}

bool fg_socket_is_readable(int fd)
{
    return readable(fd) > 0;
}

int64_t fg_socket_consumed(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) {
        return -1;
    }
    return (int64_t)info.tcpi_bytes_received - readable(fd);
}
