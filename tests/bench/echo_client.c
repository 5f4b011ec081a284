#include "echo_client.h"

#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "echo: client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_message(int fd)
{
    static const char message[BENCH_LINE_BYTES] = "ECHO";
    if (send(fd, message, sizeof message, MSG_NOSIGNAL) != sizeof message) {
        die("send");
    }
}

void echo_client_run(const int *fds, size_t pairs, size_t count)
{
    size_t rounds = count / pairs;
    size_t *left = calloc(pairs, sizeof *left);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!left) {
        die("memory");
    }
    for (size_t i = 0; i < pairs; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = i };
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event);
        left[i] = rounds;
        send_message(fds[i]);
    }
    for (size_t busy = pairs; busy > 0;) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll_fd, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            size_t index = (size_t)events[i].data.u64;
            char reply[BENCH_LINE_BYTES];
            if (recv(fds[index], reply, sizeof reply, MSG_WAITALL) != sizeof reply || reply[0] != 'e') {
                die("no echo");
            }
            if (--left[index] > 0) {
                send_message(fds[index]);
            } else {
                close(fds[index]);
                busy--;
            }
        }
    }
    free(left);
    exit(0);
}
