#include "support/load.h"

#include "support/client.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 16384

/* What one connection still has to send. */
struct sender {
    unsigned next;  /* number of the next line to be written */
    unsigned whole; /* lines in the chunk */
    size_t size;
    size_t sent;
    char chunk[CHUNK];
};

unsigned load_line_60(unsigned connection, unsigned number, char *out)
{
    int length = snprintf(out, LOAD_LINE_MAX, "d%03u,%07u,", connection, number);
    memset(out + length, 'x', (size_t)(59 - length));
    out[59] = '\n';
    return 60;
}

bool load_line_read(const char *line, unsigned size, unsigned *connection, unsigned *number)
{
    if (size != 59 || line[0] != 'd' || line[4] != ',' || line[12] != ',') {
        return false;
    }
    *connection = (unsigned)strtoul(line + 1, NULL, 10);
    *number = (unsigned)strtoul(line + 5, NULL, 10);
    return strspn(line + 13, "x") >= 46;
}

/* Lines that the rate allows by now, over all connections. */
static unsigned allowed(const struct load *load, int64_t began_us)
{
    if (load->rate == 0) {
        return load->lines * load->connections;
    }
    return (unsigned)((wait_now_us() - began_us) * load->rate / 1000000);
}

static void fill(struct load *load, struct sender *sender, unsigned connection, unsigned *started,
                 unsigned limit)
{
    sender->size = sender->sent = 0;
    sender->whole = 0;
    while (sender->next < load->lines && *started < limit && sender->size + LOAD_LINE_MAX <= CHUNK) {
        sender->size += load->line(connection, sender->next++, sender->chunk + sender->size);
        sender->whole++;
        ++*started;
        if (load->rate > 0) {
            break; /* the connections take turns */
        }
    }
}

/* Sends what the connection takes now. Returns 1 when it made progress, 0 when not, or a negative errno. */
static int push(struct load *load, struct sender *sender, int fd)
{
    if (sender->sent == sender->size) {
        return 0;
    }
    ssize_t sent =
        send(fd, sender->chunk + sender->sent, sender->size - sender->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    sender->sent += (size_t)sent;
    if (sender->sent == sender->size) {
        atomic_fetch_add(&load->sent, sender->whole);
        sender->size = sender->sent = 0;
    }
    return 1;
}

/* One turn over all connections. Returns 1 for progress, 0 for none, or a negative errno. */
static int turn(struct load *load, struct sender *senders, struct pollfd *waits, unsigned *started,
                unsigned limit)
{
    int progress = 0;
    for (unsigned i = 0; i < load->connections; i++) {
        if (senders[i].sent == senders[i].size) {
            fill(load, &senders[i], i, started, limit);
        }
        int pushed = push(load, &senders[i], load->descriptors[i]);
        if (pushed < 0) {
            return pushed;
        }
        progress |= pushed;
        waits[i].fd = senders[i].sent < senders[i].size ? load->descriptors[i] : -1;
        waits[i].events = POLLOUT;
    }
    return progress;
}

static void *run(void *context)
{
    struct load *load = context;
    struct sender *senders = calloc(load->connections, sizeof *senders);
    struct pollfd *waits = calloc(load->connections, sizeof *waits);
    int64_t began_us = wait_now_us();
    unsigned total = load->lines * load->connections;
    unsigned started = 0;
    while (senders && waits && !atomic_load(&load->stop) && atomic_load(&load->sent) < total) {
        int progress = turn(load, senders, waits, &started, allowed(load, began_us));
        if (progress < 0) {
            load->error = progress;
            break;
        }
        if (progress == 0) {
            poll(waits, load->connections, load->rate > 0 ? 1 : 100);
        }
    }
    free(senders);
    free(waits);
    return NULL;
}

void load_start(struct load *load)
{
    load->descriptors = calloc(load->connections, sizeof *load->descriptors);
    assert_non_null(load->descriptors);
    for (unsigned i = 0; i < load->connections; i++) {
        load->descriptors[i] = client_tcp(load->port);
        if (load->send_buffer > 0) {
            setsockopt(load->descriptors[i], SOL_SOCKET, SO_SNDBUF, &load->send_buffer,
                       sizeof load->send_buffer);
        }
    }
    assert_int_equal(pthread_create(&load->thread, NULL, run, load), 0);
    load->running = true;
}

int load_join(struct load *load)
{
    if (load->running) {
        pthread_join(load->thread, NULL);
        load->running = false;
    }
    if (load->descriptors) {
        for (unsigned i = 0; i < load->connections; i++) {
            close(load->descriptors[i]);
        }
        free(load->descriptors);
        load->descriptors = NULL;
    }
    return load->error;
}

struct progress {
    const struct load *load;
    unsigned lines;
};

static bool has_sent(void *context)
{
    const struct progress *progress = context;
    return atomic_load(&progress->load->sent) >= progress->lines;
}

void load_wait_sent(const struct load *load, unsigned lines, int64_t ms)
{
    struct progress progress = { load, lines };
    assert_true(wait_until(has_sent, &progress, ms));
}

unsigned load_wait_stalled(const struct load *load)
{
    int64_t deadline = wait_deadline(10000);
    int64_t since_ms = wait_now_ms();
    unsigned sent = 0;
    while (sent == 0 || wait_now_ms() - since_ms < 300) {
        unsigned now = atomic_load(&load->sent);
        if (now != sent) {
            sent = now;
            since_ms = wait_now_ms();
        }
        if (wait_over(deadline)) {
            fail_msg("%u lines are sent and it goes on", sent);
        }
        wait_nap();
    }
    return sent;
}

void load_stop(struct load *load)
{
    atomic_store(&load->stop, true);
}
