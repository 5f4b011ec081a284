#include "publisher_probe.h"

#include "address.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* As long as for a connect in earnest, all addresses of the name together. */
#define TIMEOUT_NS (10 * FG_NS_PER_S)

struct fg_probe {
    atomic_int owners; /* the caller and the thread */
    atomic_int state;
    char host[FG_HOST_MAX + 1];
    char service[8];
};

static void release(struct fg_probe *probe)
{
    if (atomic_fetch_sub(&probe->owners, 1) == 1) {
        free(probe);
    }
}

static bool answers(const struct addrinfo *address, int64_t until_ns)
{
    int fd =
        socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol);
    if (fd < 0) {
        return false;
    }
    bool answered = connect(fd, address->ai_addr, address->ai_addrlen) == 0;
    if (!answered && errno == EINPROGRESS) {
        int64_t left_ms = (until_ns - fg_clock_now_ns()) / FG_NS_PER_MS;
        struct pollfd writable = { .fd = fd, .events = POLLOUT };
        int error = 0;
        socklen_t size = sizeof error;
        answered = left_ms > 0 && poll(&writable, 1, (int)left_ms) == 1 &&
                   getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    }
    close(fd);
    return answered;
}

static void *run(void *argument)
{
    struct fg_probe *probe = argument;
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    bool answered = false;
    if (getaddrinfo(probe->host, probe->service, &hints, &found) == 0) {
        int64_t until_ns = fg_clock_now_ns() + TIMEOUT_NS;
        for (const struct addrinfo *at = found; at && !answered; at = at->ai_next) {
            answered = answers(at, until_ns);
        }
        freeaddrinfo(found);
    }
    atomic_store(&probe->state, answered ? FG_PROBE_ANSWERED : FG_PROBE_FAILED);
    release(probe);
    return NULL;
}

int fg_probe_start(const char *host, int port, struct fg_probe **result)
{
    struct fg_probe *probe = calloc(1, sizeof *probe);
    if (!probe) {
        return -ENOMEM;
    }
    snprintf(probe->host, sizeof probe->host, "%s", host);
    snprintf(probe->service, sizeof probe->service, "%d", port);
    atomic_init(&probe->owners, 2);
    atomic_init(&probe->state, FG_PROBE_RUNNING);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attributes, run, probe);
    pthread_attr_destroy(&attributes);
    if (error) {
        free(probe);
        return -error;
    }
    *result = probe;
    return 0;
}

enum fg_probe_state fg_probe_look(const struct fg_probe *probe)
{
    return (enum fg_probe_state)atomic_load(&probe->state);
}

void fg_probe_free(struct fg_probe *probe)
{
    if (probe) {
        release(probe);
    }
}
