#include "support/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void reset(int fd)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

/* Moves what is there from one end to the other. Returns how much, or -1 when the connection is over. */
static ssize_t relay(int from, int to)
{
    char bytes[1500];
    ssize_t length = read(from, bytes, sizeof bytes);
    for (ssize_t sent = 0; sent < length;) {
        ssize_t step = send(to, bytes + sent, (size_t)(length - sent), MSG_NOSIGNAL);
        if (step <= 0) {
            return -1;
        }
        sent += step;
    }
    return length > 0 ? length : -1;
}

/* Relays one connection until it ends or is cut. Returns false when the proxy is to end. */
static bool serve(struct test_proxy *proxy, int client)
{
    struct sockaddr_in address = loopback(proxy->target_port);
    int target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool open = connect(target, (struct sockaddr *)&address, sizeof address) == 0;
    char order = 'c';
    bool paused = false;
    while (open) {
        struct pollfd fds[] = { { proxy->control[0], POLLIN, 0 },
                                { paused ? -1 : client, POLLIN, 0 },
                                { target, POLLIN, 0 } };
        poll(fds, 3, -1);
        if (fds[0].revents) {
            open = read(proxy->control[0], &order, 1) == 1 && order == 'p';
            paused = true;
        }
        if (open && fds[1].revents) {
            ssize_t length = relay(client, target);
            open = length > 0;
            atomic_fetch_add(&proxy->relayed_bytes, length > 0 ? length : 0);
        }
        if (open && fds[2].revents) {
            open = relay(target, client) > 0;
        }
    }
    reset(client);
    reset(target);
    atomic_fetch_add(&proxy->cuts, 1);
    return order != 'q';
}

static void *run(void *context)
{
    struct test_proxy *proxy = context;
    for (;;) {
        struct pollfd fds[] = { { proxy->control[0], POLLIN, 0 }, { proxy->listener, POLLIN, 0 } };
        char order = 0;
        poll(fds, 2, -1);
        if (fds[0].revents && read(proxy->control[0], &order, 1) == 1) {
            if (order == 'q') {
                return NULL;
            }
            atomic_fetch_add(&proxy->cuts, order == 'c'); /* there is nothing to cut just now */
        }
        if (fds[1].revents) {
            int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
            if (client >= 0 && !serve(proxy, client)) {
                return NULL;
            }
        }
    }
}

void test_proxy_start(struct test_proxy *proxy, int target_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    *proxy = (struct test_proxy){ .target_port = target_port };
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(proxy->listener, 16), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&address, &size), 0);
    proxy->port = ntohs(address.sin_port);
    assert_int_equal(pipe(proxy->control), 0);
    assert_int_equal(pthread_create(&proxy->thread, NULL, run, proxy), 0);
}

void test_proxy_cut(struct test_proxy *proxy)
{
    assert_int_equal(write(proxy->control[1], "c", 1), 1);
}

void test_proxy_pause(struct test_proxy *proxy)
{
    assert_int_equal(write(proxy->control[1], "p", 1), 1);
}

void test_proxy_stop(struct test_proxy *proxy)
{
    if (proxy->port) {
        assert_int_equal(write(proxy->control[1], "q", 1), 1);
        pthread_join(proxy->thread, NULL);
        close(proxy->listener);
        close(proxy->control[0]);
        close(proxy->control[1]);
        proxy->port = 0;
    }
}
