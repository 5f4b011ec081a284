#include "support/transport_rig.h"
#include "support/wait.h"

#include "fieldgate/clock.h"
#include "transport/address.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define CLIENTS 8

static void put_all(int fd, const void *data, size_t size)
{
    const char *next = data;
    while (size > 0) {
        ssize_t put = send(fd, next, size, MSG_NOSIGNAL);
        assert_true(put > 0);
        next += put;
        size -= (size_t)put;
    }
}

/* Whether the peer closes within the socket's patience. */
static bool is_closed_by_peer(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

static struct rig_port *open_server(struct rig *rig, uint16_t tcp_port, const char *more)
{
    struct rig_port *port = rig_port_new(rig, "type = \"tcp-server\"; tcp_port = %u; %s", tcp_port, more);
    RIG_WAIT(port, port->endpoint != NULL);
    return port;
}

/* ---- server
 * ------------------------------------------------------------------------------------------------ */

static void what_a_peer_sends_comes_with_its_address(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "");
    int fd = rig_connect(number);
    put_all(fd, "hello", 5);
    RIG_WAIT(port, port->links[0].size == 5);
    assert_memory_equal(port->links[0].data, "hello", 5);
    assert_string_equal(port->links[0].from, "127.0.0.1");
    close(fd);
    rig_port_free(port);
}

static void all_comes_before_the_end_of_a_half_closed_connection(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "");
    int fd = rig_connect(number);
    static char block[300000];
    put_all(fd, block, sizeof block);
    shutdown(fd, SHUT_WR);
    RIG_WAIT(port, port->downs == 1);
    assert_int_equal(port->links[0].error, 0);
    assert_int_equal(port->links[0].size, sizeof block);
    assert_true(is_closed_by_peer(fd));
    close(fd);
    rig_port_free(port);
}

static void a_reset_is_told_as_such(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "");
    int fd = rig_connect(number);
    RIG_WAIT(port, port->ups == 1);
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
    RIG_WAIT(port, port->downs == 1);
    assert_int_equal(port->links[0].error, -ECONNRESET);
    rig_port_free(port);
}

static void connections_beyond_the_most_are_closed_and_counted(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "max_connections = 2;");
    int first = rig_connect(number);
    int second = rig_connect(number);
    RIG_WAIT(port, port->ups == 2);
    int third = rig_connect(number);
    assert_true(is_closed_by_peer(third));
    RIG_WAIT(port, port->rejected[FG_REASON_MAX_CONNECTIONS] == 1);
    close(third);
    close(first);
    RIG_WAIT(port, port->downs == 1);
    /* The place is free again once the link is gone, which is a little later than down. */
    for (size_t tries = 0; RIG_GET(port, port->ups) == 2; tries++) {
        assert_in_range(tries, 0, 1000);
        int fourth = rig_connect(number);
        uint64_t refused = RIG_GET(port, port->rejected[FG_REASON_MAX_CONNECTIONS]);
        RIG_WAIT(port, port->ups == 3 || port->rejected[FG_REASON_MAX_CONNECTIONS] > refused || refused > 1);
        close(fourth);
    }
    close(second);
    rig_port_free(port);
}

static void peers_outside_the_allowed_networks_are_closed_and_counted(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "allow = [ \"10.0.0.0/8\", \"::1\" ];");
    int fd = rig_connect(number);
    assert_true(is_closed_by_peer(fd));
    RIG_WAIT(port, port->rejected[FG_REASON_NOT_ALLOWED] == 1);
    assert_int_equal(port->ups, 0);
    close(fd);
    rig_port_free(port);
}

static void an_ipv4_peer_of_a_dual_stack_listener_matches_ipv4_networks(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "bind = \"::\"; allow = [ \"127.0.0.0/8\" ];");
    int fd = rig_connect(number);
    put_all(fd, "x", 1);
    RIG_WAIT(port, port->links[0].size == 1);
    assert_string_equal(port->links[0].from, "127.0.0.1");
    close(fd);
    rig_port_free(port);
}

static void a_silent_connection_is_closed_after_idle_timeout(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    int nap_ms = wait_is_slowed() ? 300 : 40;
    char setting[40];
    snprintf(setting, sizeof setting, "idle_timeout = \"%dms\";", 5 * nap_ms);
    struct rig_port *port = open_server(*state, number, setting);
    int fd = rig_connect(number);
    int64_t last_ns = fg_clock_now_ns();
    for (int i = 0; i < 10; i++) { /* twice the timeout, in which something comes now and then */
        put_all(fd, "x", 1);
        last_ns = fg_clock_now_ns();
        poll(NULL, 0, nap_ms);
    }
    RIG_WAIT(port, port->downs == 1);
    assert_int_equal(port->links[0].error, -ETIMEDOUT);
    assert_int_equal(port->links[0].size, 10);
    assert_true(fg_clock_now_ns() - last_ns >= (5 * nap_ms - 10) * FG_NS_PER_MS);
    close(fd);
    rig_port_free(port);
}

static void a_connection_that_waits_for_room_is_not_idle(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port =
        rig_port_prepare(*state, "type = \"tcp-server\"; tcp_port = %u; idle_timeout = \"100ms\";", number);
    port->limited = true;
    rig_port_open(*state, port);
    int fd = rig_connect(number);
    put_all(fd, "abc", 3);
    RIG_WAIT(port, port->offers > 0);
    poll(NULL, 0, 350); /* more than three times what it may be idle */
    assert_int_equal(RIG_GET(port, port->downs), 0);
    rig_port_add_room(port, 3);
    RIG_WAIT(port, port->links[0].size == 3);
    RIG_WAIT(port, port->downs == 1);
    assert_int_equal(port->links[0].error, -ETIMEDOUT);
    close(fd);
    rig_port_free(port);
}

static void without_descriptors_accepting_pauses_and_goes_on(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    /* The limit stands before the port listens, and descriptors are taken up to it: whoever accepts may look
     * at the limit only once. */
    int lowest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int taken[32];
    size_t count = 0;
    struct rlimit few = { .rlim_cur = (rlim_t)lowest + sizeof taken / sizeof taken[0],
                          .rlim_max = before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct rig_port *port = open_server(*state, number, "");
    int first = rig_connect(number);
    RIG_WAIT(port, port->ups == 1);
    int second = lowest;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(number),
                                   .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    rig_log_begin();
    for (int fd = dup(first); fd >= 0 && count < sizeof taken / sizeof taken[0]; fd = dup(first)) {
        taken[count++] = fd;
    }
    int64_t cpu_ns = rig_cpu_ns();
    assert_int_equal(connect(second, (struct sockaddr *)&address, sizeof address), 0);
    put_all(first, "served", 6);
    RIG_WAIT(port, port->links[0].size == 6);
    poll(NULL, 0, 1500);
    cpu_ns = rig_cpu_ns() - cpu_ns;
    size_t ups = RIG_GET(port, port->ups);
    size_t told = rig_log_count("cannot accept connections");
    while (count > 0) {
        close(taken[--count]);
    }
    setrlimit(RLIMIT_NOFILE, &before);
    rig_log_end();
    assert_int_equal(ups, 1);
    assert_int_equal(told, 1);
    assert_true(cpu_ns < 500 * FG_NS_PER_MS);
    RIG_WAIT(port, port->ups == 2);
    close(first);
    close(second);
    rig_port_free(port);
}

static void a_taken_port_is_tried_again(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    int holder = rig_listen(number);
    rig_log_begin();
    struct rig_port *port = open_server(*state, number, "");
    for (int i = 0; i < 1000 && rig_log_count("Address already in use") == 0; i++) {
        poll(NULL, 0, 10);
    }
    close(holder);
    int fd = rig_connect(number);
    RIG_WAIT(port, port->ups == 1);
    size_t told = rig_log_count("Address already in use");
    rig_log_end();
    assert_int_equal(told, 1);
    close(fd);
    rig_port_free(port);
}

static void closing_takes_all_connections_down(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "");
    int fds[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        fds[i] = rig_connect(number);
    }
    RIG_WAIT(port, port->ups == CLIENTS);
    rig_port_close(port);
    RIG_WAIT(port, port->closed);
    assert_int_equal(port->downs, CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(port->links[i].error, -ECANCELED);
        assert_true(is_closed_by_peer(fds[i]));
        close(fds[i]);
    }
    rig_port_free(port);
}

static void closing_while_peers_connect_leaves_nothing(void **state)
{
    for (int round = 0; round < 20; round++) {
        uint16_t number = rig_free_port(SOCK_STREAM);
        struct rig_port *port = open_server(*state, number, "");
        int fds[CLIENTS];
        fds[0] = rig_connect(number);
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(number),
                                       .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
        for (size_t i = 1; i < CLIENTS; i++) {
            fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            connect(fds[i], (struct sockaddr *)&address, sizeof address);
        }
        rig_port_free(port);
        for (size_t i = 0; i < CLIENTS; i++) {
            close(fds[i]);
        }
    }
}

static void a_link_that_its_owner_refuses_is_closed(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = rig_port_prepare(*state, "type = \"tcp-server\"; tcp_port = %u;", number);
    port->refuse = true;
    rig_port_open(*state, port);
    int fd = rig_connect(number);
    assert_true(is_closed_by_peer(fd));
    close(fd);
    rig_port_free(port);
}

static void an_owner_can_close_a_link(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "");
    int fd = rig_connect(number);
    RIG_WAIT(port, port->ups == 1);
    rig_link_close(&port->links[0]);
    RIG_WAIT(port, port->downs == 1);
    assert_int_equal(port->links[0].error, -EPROTO);
    assert_true(is_closed_by_peer(fd));
    close(fd);
    rig_port_free(port);
}

/* ---- room
 * -------------------------------------------------------------------------------------------------- */

struct feeder {
    pthread_t thread;
    int fd;
    uint8_t *data;
    size_t size;
};

static void *feed(void *argument)
{
    struct feeder *feeder = argument;
    put_all(feeder->fd, feeder->data, feeder->size);
    return NULL;
}

static void nothing_is_lost_or_reordered_by_pauses(void **state)
{
    static uint8_t data[CLIENTS][200000];
    struct feeder feeders[CLIENTS];
    unsigned seed = (unsigned)fg_clock_now_ns();
    print_message("seed %u\n", seed);
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = rig_port_prepare(*state, "type = \"tcp-server\"; tcp_port = %u;", number);
    port->limited = true;
    port->random = seed | 1;
    rig_port_open(*state, port);
    for (size_t i = 0; i < CLIENTS; i++) {
        for (size_t at = 0; at < sizeof data[i]; at++) {
            data[i][at] = (uint8_t)rand_r(&seed);
        }
        feeders[i] = (struct feeder){ .fd = rig_connect(number), .data = data[i], .size = sizeof data[i] };
        RIG_WAIT(port, port->ups == i + 1);
        pthread_create(&feeders[i].thread, NULL, feed, &feeders[i]);
    }
    size_t total = 0;
    while (total < sizeof data) {
        rig_port_add_room(port, 1 + (size_t)rand_r(&seed) % 50000);
        size_t before = total;
        RIG_WAIT(port, ({
                     total = 0;
                     for (size_t i = 0; i < CLIENTS; i++) {
                         total += port->links[i].size;
                     }
                     total > before || port->room > 0;
                 }));
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        pthread_join(feeders[i].thread, NULL);
        assert_int_equal(port->links[i].size, sizeof data[i]);
        assert_memory_equal(port->links[i].data, data[i], sizeof data[i]);
        close(feeders[i].fd);
    }
    rig_port_free(port);
}

static void a_peer_waits_while_there_is_no_room(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = rig_port_prepare(*state, "type = \"tcp-server\"; tcp_port = %u;", number);
    port->limited = true;
    rig_port_open(*state, port);
    int fd = rig_connect(number);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    static char block[65536];
    size_t put = 0;
    struct pollfd ready = { .fd = fd, .events = POLLOUT };
    while (poll(&ready, 1, 300) > 0) {
        ssize_t now = send(fd, block, sizeof block, MSG_NOSIGNAL);
        put += now > 0 ? (size_t)now : 0;
        assert_in_range(put, 0, 64 * 1024 * 1024);
    }
    size_t offers = RIG_GET(port, port->offers);
    assert_in_range(offers, 1, 4);
    rig_port_add_room(port, SIZE_MAX / 2);
    RIG_WAIT(port, port->links[0].size == put);
    close(fd);
    rig_port_free(port);
}

static void a_paused_link_asks_again_after_resume_even_with_nothing(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "");
    int fd = rig_connect(number);
    RIG_WAIT(port, port->ups == 1);
    rig_link_pause(&port->links[0]);
    RIG_WAIT(port, port->links[0].packets == 1); /* the try in case that room came meanwhile */
    assert_int_equal(RIG_GET(port, port->links[0].size), 0);
    put_all(fd, "on", 2);
    RIG_WAIT(port, port->links[0].size == 2);
    close(fd);
    rig_port_free(port);
}

static void the_rest_is_given_before_a_link_goes_down(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = rig_port_prepare(*state, "type = \"tcp-server\"; tcp_port = %u;", number);
    port->limited = true;
    port->room = 3;
    rig_port_open(*state, port);
    int fd = rig_connect(number);
    put_all(fd, "abcdef", 6);
    RIG_WAIT(port, port->links[0].size == 3 && port->offers >= 2);
    rig_port_close(port);
    RIG_WAIT(port, port->closed);
    assert_int_equal(port->links[0].size, 6);
    assert_memory_equal(port->links[0].data, "abcdef", 6);
    close(fd);
    rig_port_free(port);
}

/* ---- sending
 * ----------------------------------------------------------------------------------------------- */

static void a_large_send_completes_as_the_peer_reads(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "");
    int fd = rig_connect(number);
    RIG_WAIT(port, port->ups == 1);
    size_t size = 8 * 1024 * 1024;
    uint8_t *data = malloc(size);
    uint8_t *got = malloc(size);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i * 7 + i / 251);
    }
    rig_link_send(&port->links[0], data, size);
    for (size_t at = 0; at < size;) {
        ssize_t now = recv(fd, got + at, size - at, 0);
        assert_true(now > 0);
        at += (size_t)now;
    }
    RIG_WAIT(port, port->links[0].sent);
    assert_int_equal(port->links[0].send_result, size);
    assert_memory_equal(got, data, size);
    free(data);
    free(got);
    close(fd);
    rig_port_free(port);
}

static void a_send_that_cannot_end_is_cancelled_before_the_link_goes_down(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    struct rig_port *port = open_server(*state, number, "");
    int fd = rig_connect(number);
    RIG_WAIT(port, port->ups == 1);
    size_t size = 64 * 1024 * 1024;
    uint8_t *data = calloc(1, size);
    rig_link_send(&port->links[0], data, size);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 1);
    rig_port_close(port);
    RIG_WAIT(port, port->downs == 1);
    assert_true(RIG_GET(port, port->links[0].sent));
    assert_int_equal(port->links[0].send_result, -ECANCELED);
    free(data);
    close(fd);
    rig_port_free(port);
}

/* ---- client
 * ------------------------------------------------------------------------------------------------ */

static void a_refused_connection_is_tried_until_the_server_is_there(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    rig_log_begin();
    struct rig_port *port =
        rig_port_new(*state, "type = \"tcp-client\"; address = \"127.0.0.1:%u\";", number);
    for (int i = 0; i < 1000 && rig_log_count("Connection refused") == 0; i++) {
        poll(NULL, 0, 10);
    }
    poll(NULL, 0, 1000); /* at least one more attempt */
    size_t told = rig_log_count("Connection refused");
    int listener = rig_listen(number);
    int fd = accept(listener, NULL, NULL);
    RIG_WAIT(port, port->ups == 1);
    rig_log_end();
    assert_true(fd >= 0);
    assert_int_equal(told, 1);
    put_all(fd, "x", 1);
    RIG_WAIT(port, port->links[0].size == 1);
    assert_string_equal(port->links[0].from, "127.0.0.1");
    close(fd);
    close(listener);
    rig_port_free(port);
}

static void a_lost_connection_is_made_again(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    int listener = rig_listen(number);
    struct rig_port *port =
        rig_port_new(*state, "type = \"tcp-client\"; address = \"127.0.0.1:%u\";", number);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    close(fd);
    RIG_WAIT(port, port->downs == 1);
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    RIG_WAIT(port, port->ups == 2);
    close(fd);
    close(listener);
    rig_port_free(port);
}

/*
 * Stands before the C library's: "two.test" has two addresses, of which the first refuses; "stuck.test" is
 * not found until the test lets go.
 */
static pthread_mutex_t lookup_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t lookup_changed = PTHREAD_COND_INITIALIZER;
static int stuck; /* look-ups that hang */
static bool let_go;

static struct addrinfo *one_address(const char *text, const char *service, struct addrinfo *next)
{
    union fg_address address;
    assert_int_equal(fg_address_parse(text, (uint16_t)atoi(service), &address), 0);
    struct addrinfo *made = calloc(1, sizeof *made + sizeof address);
    *made = (struct addrinfo){ .ai_family = address.any.sa_family,
                               .ai_socktype = SOCK_STREAM,
                               .ai_addrlen = fg_address_length(&address),
                               .ai_addr = (struct sockaddr *)(made + 1),
                               .ai_next = next };
    memcpy(made->ai_addr, &address, sizeof address);
    return made;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    if (strcmp(host, "two.test") == 0) {
        *list = one_address("127.0.0.2", service, one_address("127.0.0.1", service, NULL));
        return 0;
    }
    if (strcmp(host, "stuck.test") == 0) {
        pthread_mutex_lock(&lookup_mutex);
        stuck++;
        pthread_cond_broadcast(&lookup_changed);
        while (!let_go) {
            pthread_cond_wait(&lookup_changed, &lookup_mutex);
        }
        stuck--;
        pthread_cond_broadcast(&lookup_changed);
        pthread_mutex_unlock(&lookup_mutex);
        return EAI_AGAIN;
    }
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    return next(host, service, hints, list);
}

static void a_name_is_looked_up(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    int listener = rig_listen(number);
    struct rig_port *port =
        rig_port_new(*state, "type = \"tcp-client\"; address = \"localhost:%u\";", number);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    RIG_WAIT(port, port->ups == 1);
    close(fd);
    close(listener);
    rig_port_free(port);
}

static void all_addresses_of_a_name_are_tried(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    int listener = rig_listen(number);
    struct rig_port *port = rig_port_new(*state, "type = \"tcp-client\"; address = \"two.test:%u\";", number);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    RIG_WAIT(port, port->ups == 1);
    close(fd);
    close(listener);
    rig_port_free(port);
}

static void a_look_up_that_hangs_does_not_delay_closing(void **state)
{
    let_go = false;
    struct rig_port *first = rig_port_new(*state, "type = \"tcp-client\"; address = \"stuck.test:502\";");
    pthread_mutex_lock(&lookup_mutex);
    while (stuck == 0) {
        pthread_cond_wait(&lookup_changed, &lookup_mutex);
    }
    pthread_mutex_unlock(&lookup_mutex);
    struct rig_port *second = rig_port_new(*state, "type = \"tcp-client\"; address = \"waits.test:502\";");
    int64_t begin_ns = fg_clock_now_ns();
    rig_port_free(first);
    rig_port_free(second);
    assert_true(fg_clock_now_ns() - begin_ns < 5 * FG_NS_PER_S);
    pthread_mutex_lock(&lookup_mutex);
    assert_int_equal(stuck, 1);
    let_go = true;
    pthread_cond_broadcast(&lookup_changed);
    while (stuck > 0) {
        pthread_cond_wait(&lookup_changed, &lookup_mutex);
    }
    pthread_mutex_unlock(&lookup_mutex);
}

/* A listener whose backlog is full: the kernel drops what would connect. */
static int full_listener(uint16_t number, int *fillers, size_t count)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(number),
                                   .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    for (size_t i = 0; i < count; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    return listener;
}

static void a_connection_that_is_not_answered_times_out(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    int fillers[4];
    int listener = full_listener(number, fillers, 4);
    rig_log_begin();
    int64_t begin_ns = fg_clock_now_ns();
    struct rig_port *port = rig_port_new(
        *state, "type = \"tcp-client\"; address = \"127.0.0.1:%u\"; connect_timeout = \"200ms\";", number);
    for (int i = 0; i < 1000 && rig_log_count("timed out") == 0; i++) {
        poll(NULL, 0, 10);
    }
    int64_t took_ns = fg_clock_now_ns() - begin_ns;
    size_t told = rig_log_count("timed out");
    rig_log_end();
    assert_int_equal(told, 1);
    assert_in_range(took_ns / FG_NS_PER_MS, 200, 2000);
    rig_port_free(port);
    for (size_t i = 0; i < 4; i++) {
        close(fillers[i]);
    }
    close(listener);
}

static void closing_while_connecting_does_not_wait(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    int fillers[4];
    int listener = full_listener(number, fillers, 4);
    struct rig_port *port = rig_port_new(
        *state, "type = \"tcp-client\"; address = \"127.0.0.1:%u\"; connect_timeout = \"60s\";", number);
    poll(NULL, 0, 50);
    int64_t begin_ns = fg_clock_now_ns();
    rig_port_free(port);
    assert_true(fg_clock_now_ns() - begin_ns < 5 * FG_NS_PER_S);
    for (size_t i = 0; i < 4; i++) {
        close(fillers[i]);
    }
    close(listener);
}

static void closing_while_looking_up_does_not_wait(void **state)
{
    for (int i = 0; i < 10; i++) {
        struct rig_port *port =
            rig_port_new(*state, "type = \"tcp-client\"; address = \"no-such-host-%d.invalid:502\";", i);
        int64_t begin_ns = fg_clock_now_ns();
        rig_port_free(port);
        assert_true(fg_clock_now_ns() - begin_ns < 2 * FG_NS_PER_S);
    }
}

/* connect(2) to a local port of the ephemeral range can come out at that very port. */
static void a_connection_to_itself_is_seen_as_one(void **state)
{
    (void)state;
    union fg_address address;
    socklen_t length = sizeof address;
    assert_int_equal(fg_address_parse("127.0.0.1", 0, &address), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &address.any, sizeof address.in), 0);
    assert_int_equal(getsockname(fd, &address.any, &length), 0);
    assert_int_equal(connect(fd, &address.any, length), 0);
    assert_true(fg_socket_is_own_peer(fd, &address));
    close(fd);
    int listener = rig_listen(0);
    length = sizeof address;
    assert_int_equal(getsockname(listener, &address.any, &length), 0);
    fd = rig_connect(fg_address_port(&address));
    assert_false(fg_socket_is_own_peer(fd, &address));
    close(fd);
    close(listener);
}

static void closing_at_once_is_well(void **state)
{
    uint16_t number = rig_free_port(SOCK_STREAM);
    for (int i = 0; i < 20; i++) {
        rig_port_free(rig_port_new(*state, "type = \"tcp-client\"; address = \"127.0.0.1:%u\";", number));
        rig_port_free(rig_port_new(*state, "type = \"tcp-server\"; tcp_port = %u;", number));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_a_peer_sends_comes_with_its_address),
        TEST(all_comes_before_the_end_of_a_half_closed_connection),
        TEST(a_reset_is_told_as_such),
        TEST(connections_beyond_the_most_are_closed_and_counted),
        TEST(peers_outside_the_allowed_networks_are_closed_and_counted),
        TEST(an_ipv4_peer_of_a_dual_stack_listener_matches_ipv4_networks),
        TEST(a_silent_connection_is_closed_after_idle_timeout),
        TEST(a_connection_that_waits_for_room_is_not_idle),
        TEST(without_descriptors_accepting_pauses_and_goes_on),
        TEST(a_taken_port_is_tried_again),
        TEST(closing_takes_all_connections_down),
        TEST(closing_while_peers_connect_leaves_nothing),
        TEST(a_link_that_its_owner_refuses_is_closed),
        TEST(an_owner_can_close_a_link),
        TEST(nothing_is_lost_or_reordered_by_pauses),
        TEST(a_peer_waits_while_there_is_no_room),
        TEST(a_paused_link_asks_again_after_resume_even_with_nothing),
        TEST(the_rest_is_given_before_a_link_goes_down),
        TEST(a_large_send_completes_as_the_peer_reads),
        TEST(a_send_that_cannot_end_is_cancelled_before_the_link_goes_down),
        TEST(a_refused_connection_is_tried_until_the_server_is_there),
        TEST(a_lost_connection_is_made_again),
        TEST(a_name_is_looked_up),
        TEST(all_addresses_of_a_name_are_tried),
        TEST(a_look_up_that_hangs_does_not_delay_closing),
        TEST(a_connection_that_is_not_answered_times_out),
        TEST(closing_while_connecting_does_not_wait),
        TEST(closing_while_looking_up_does_not_wait),
        TEST(a_connection_to_itself_is_seen_as_one),
        TEST(closing_at_once_is_well),
    };
    return RIG_RUN(tests);
}
