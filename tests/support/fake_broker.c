#include "support/fake_broker.h"

#include "support/broker.h"
#include "support/fake_link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LINKS_MAX 8

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void accept_link(struct fake_broker *broker, struct fake_link links[LINKS_MAX])
{
    int fd = accept4(broker->listener, NULL, NULL, SOCK_CLOEXEC);
    struct fake_link *link = NULL;
    for (size_t i = 0; i < LINKS_MAX && !link; i++) {
        link = links[i].fd < 0 ? &links[i] : NULL;
    }
    if (fd < 0 || !link) {
        close(fd);
        return;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    memset(link, 0, sizeof *link);
    link->fd = fd;
    link->broker = broker;
    fake_link_open(link);
    pthread_mutex_lock(&broker->lock);
    link->script = broker->script;
    broker->script.cut_in += broker->script.cut_in ? broker->script.cut_later : 0;
    broker->script.cut_out += broker->script.cut_out ? broker->script.cut_later : 0;
    pthread_mutex_unlock(&broker->lock);
    atomic_fetch_add(&broker->open, 1);
    atomic_fetch_add(&broker->accepted, 1);
    if (link->script.slam) {
        fake_link_close(link);
    }
}

/* Returns false when the thread is to end. */
static bool obey(struct fake_broker *broker, struct fake_link links[LINKS_MAX])
{
    char order = 'q';
    ssize_t got = read(broker->control[0], &order, 1);
    for (size_t i = 0; i < LINKS_MAX && got == 1; i++) {
        if (links[i].fd >= 0 && order == 'r') {
            links[i].script.acks = FAKE_ACKS_GOOD;
            fake_link_release(&links[i], false);
        } else if (links[i].fd >= 0 && order == 's') {
            pthread_mutex_lock(&broker->lock);
            fake_link_say(&links[i], broker->says, broker->says_size);
            pthread_mutex_unlock(&broker->lock);
        } else if (links[i].fd >= 0) {
            fake_link_close(&links[i]);
        }
    }
    return got == 1 && order != 'q';
}

static void *run(void *context)
{
    struct fake_broker *broker = context;
    struct fake_link *links = calloc(LINKS_MAX, sizeof *links);
    for (size_t i = 0; i < LINKS_MAX; i++) {
        links[i].fd = -1;
    }
    for (;;) {
        struct pollfd fds[LINKS_MAX + 2] = { { broker->control[0], POLLIN, 0 },
                                             { broker->listener, POLLIN, 0 } };
        for (size_t i = 0; i < LINKS_MAX; i++) {
            fds[i + 2] = (struct pollfd){ links[i].fd, links[i].fd < 0 ? 0 : fake_link_wants(&links[i]), 0 };
        }
        poll(fds, LINKS_MAX + 2, -1);
        for (size_t i = 0; i < LINKS_MAX; i++) {
            if (links[i].fd >= 0 && fds[i + 2].revents) {
                fake_link_serve(&links[i], fds[i + 2].revents);
            }
        }
        if (fds[1].revents) {
            accept_link(broker, links);
        }
        if (fds[0].revents && !obey(broker, links)) {
            free(links);
            return NULL;
        }
    }
}

void fake_broker_start(struct fake_broker *broker, int port, const struct fake_script *script)
{
    struct sockaddr_in address = loopback(port);
    socklen_t size = sizeof address;
    const int on = 1;
    *broker = (struct fake_broker){ .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    setsockopt(broker->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(broker->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(broker->listener, 16), 0);
    assert_int_equal(getsockname(broker->listener, (struct sockaddr *)&address, &size), 0);
    broker->port = ntohs(address.sin_port);
    broker->unreleased = calloc(UINT16_MAX + 1, sizeof *broker->unreleased);
    pthread_mutex_init(&broker->lock, NULL);
    fake_broker_behave(broker, script);
    assert_int_equal(pipe(broker->control), 0);
    assert_int_equal(pthread_create(&broker->thread, NULL, run, broker), 0);
}

void fake_broker_stop(struct fake_broker *broker)
{
    if (broker->port) {
        assert_int_equal(write(broker->control[1], "q", 1), 1);
        pthread_join(broker->thread, NULL);
        close(broker->listener);
        close(broker->control[0]);
        close(broker->control[1]);
        fake_broker_forget(broker);
        free(broker->unreleased);
        free(broker->taken);
        pthread_mutex_destroy(&broker->lock);
        broker->port = 0;
    }
}

void fake_broker_behave(struct fake_broker *broker, const struct fake_script *script)
{
    pthread_mutex_lock(&broker->lock);
    broker->script = script ? *script : (struct fake_script){ 0 };
    pthread_mutex_unlock(&broker->lock);
}

void fake_broker_cut(struct fake_broker *broker)
{
    assert_int_equal(write(broker->control[1], "c", 1), 1);
}

void fake_broker_release(struct fake_broker *broker)
{
    assert_int_equal(write(broker->control[1], "r", 1), 1);
}

void fake_broker_say(struct fake_broker *broker, const void *bytes, size_t size)
{
    int left = 1;
    assert_true(size <= sizeof broker->says);
    do { /* what was said before has to be read first */
        assert_int_equal(ioctl(broker->control[0], FIONREAD, &left), 0);
    } while (left > 0);
    pthread_mutex_lock(&broker->lock);
    memcpy(broker->says, bytes, size);
    broker->says_size = size;
    pthread_mutex_unlock(&broker->lock);
    assert_int_equal(write(broker->control[1], "s", 1), 1);
}

size_t fake_publish(int version, bool dup, uint16_t id, const char *topic, const char *payload,
                    uint8_t packet[FAKE_SAYS_BYTES])
{
    size_t topic_length = strlen(topic);
    size_t size = 2 + topic_length + 2 + (version == 5) + strlen(payload);
    uint8_t *at = packet;
    assert_true(size < 16384 && size + 4 <= FAKE_SAYS_BYTES);
    *at++ = (uint8_t)(0x32 | (dup ? 8 : 0));
    *at++ = (uint8_t)(size % 128 | 128);
    *at++ = (uint8_t)(size / 128);
    *at++ = (uint8_t)(topic_length >> 8);
    *at++ = (uint8_t)topic_length;
    memcpy(at, topic, topic_length);
    at += topic_length;
    *at++ = (uint8_t)(id >> 8);
    *at++ = (uint8_t)id;
    if (version == 5) {
        *at++ = 0;
    }
    memcpy(at, payload, strlen(payload));
    return size + 3;
}

size_t fake_broker_subscribed(struct fake_broker *broker, const char *what)
{
    size_t count = 0;
    pthread_mutex_lock(&broker->lock);
    for (size_t i = 0; i < broker->filter_count; i++) {
        count += !what || strcmp(broker->filters[i], what) == 0;
    }
    pthread_mutex_unlock(&broker->lock);
    return count;
}

static const struct fake_taken *find(const struct fake_broker *broker, const char *topic, size_t index,
                                     size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < broker->taken_count; i++) {
        if (!broker->taken[i].held && (!topic || strcmp(broker->taken[i].topic, topic) == 0)) {
            if (index == *count) {
                return &broker->taken[i];
            }
            ++*count;
        }
    }
    return NULL;
}

size_t fake_broker_count(struct fake_broker *broker, const char *topic)
{
    size_t count = 0;
    pthread_mutex_lock(&broker->lock);
    find(broker, topic, SIZE_MAX, &count);
    pthread_mutex_unlock(&broker->lock);
    return count;
}

bool fake_broker_get(struct fake_broker *broker, const char *topic, size_t index, struct fake_taken *taken)
{
    size_t count = 0;
    pthread_mutex_lock(&broker->lock);
    const struct fake_taken *found = find(broker, topic, index, &count);
    if (found) {
        *taken = *found;
    }
    pthread_mutex_unlock(&broker->lock);
    return found != NULL;
}

bool fake_broker_said(struct fake_broker *broker, int index, struct fake_connect *said)
{
    bool there = index < atomic_load(&broker->connects) &&
                 index >= atomic_load(&broker->connects) - FAKE_CONNECTS_KEPT;
    pthread_mutex_lock(&broker->lock);
    if (there) {
        *said = broker->said[index % FAKE_CONNECTS_KEPT];
    }
    pthread_mutex_unlock(&broker->lock);
    return there;
}
