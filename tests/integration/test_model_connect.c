/* The contract of the event models: CONNECT and ACCEPT. */
#include "support/loop_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static struct link *open_client(struct loop_fixture *fixture, struct sockaddr_storage *to,
                                const void *address, socklen_t length)
{
    sa_family_t family = ((const struct sockaddr *)address)->sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct link *link = link_open(fixture, fd, FG_CHANNEL_STREAM, -1);
    memcpy(to, address, length);
    link->out.connect.to = to;
    link->out.connect.to_length = length;
    return link;
}

static void check_conversation(struct link *client, int fd)
{
    assert_int_equal(ask_submit(client, FG_OP_RECV), 0);
    assert_int_equal(ask_send(client, "ping", 4), 0);
    char got[4];
    non_blocking(fd);
    assert_int_equal(peer_read(fd, got, sizeof got), 4);
    assert_memory_equal(got, "ping", 4);
    peer_write(fd, "pong", 4);
    WAIT_FOR(client->in_count == 1 && client->out_count == 2);
    assert_memory_equal(client->bytes, "pong", 4);
}

static void a_connection_is_made_over_tcp(void **state)
{
    struct sockaddr_in address;
    struct sockaddr_storage to;
    struct link *listener = link_open_listener(*state, &address, 8);
    struct link *client = open_client(*state, &to, &address, sizeof address);
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    assert_int_equal(ask_submit(client, FG_OP_CONNECT), 0);
    WAIT_FOR(client->out_count == 1 && listener->in_count == 1);
    assert_int_equal(client->out_result, 0);
    assert_true(listener->in_result >= 0);
    check_conversation(client, (int)listener->in_result);
    close((int)listener->in_result);
}

static void a_refused_connection_is_told(void **state)
{
    struct sockaddr_in address;
    struct sockaddr_storage to;
    struct link *listener = link_open_listener(*state, &address, 8);
    ask_close(listener);
    struct link *client = open_client(*state, &to, &address, sizeof address);
    assert_int_equal(ask_submit(client, FG_OP_CONNECT), 0);
    WAIT_FOR(client->out_count == 1);
    assert_int_equal(client->out_result, -ECONNREFUSED);
}

static void a_connection_is_made_over_a_unix_socket(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct sockaddr_storage to;
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/fg-connect-%ld", (long)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(address.sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    struct link *listener = link_open(*state, fd, FG_CHANNEL_STREAM, -1);
    struct link *client = open_client(*state, &to, &address, sizeof address);
    assert_int_equal(ask_submit(client, FG_OP_CONNECT), 0);
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    WAIT_FOR(client->out_count == 1 && listener->in_count == 1);
    assert_int_equal(client->out_result, 0);
    assert_true(listener->in_result >= 0);
    check_conversation(client, (int)listener->in_result);
    close((int)listener->in_result);
    ask_close(listener);
    /* The name is still there, and nobody behind it; then not even the name. */
    struct link *refused = open_client(*state, &to, &address, sizeof address);
    assert_int_equal(ask_submit(refused, FG_OP_CONNECT), 0);
    WAIT_FOR(refused->out_count == 1);
    assert_int_equal(refused->out_result, -ECONNREFUSED);
    unlink(address.sun_path);
    assert_int_equal(ask_submit(refused, FG_OP_CONNECT), 0);
    WAIT_FOR(refused->out_count == 2);
    assert_int_equal(refused->out_result, -ENOENT);
}

static void connect_with_recv(struct link *link, void *argument)
{
    int *errors = argument;
    errors[0] = link_submit(link, FG_OP_CONNECT);
    errors[1] = link_submit(link, FG_OP_RECV);
}

/* A listener whose queue is full does not answer; what stands beside the CONNECT must not make it succeed. */
static void a_connection_without_answer_is_not_told_as_made(void **state)
{
    struct sockaddr_in address;
    struct sockaddr_storage to;
    link_open_listener(*state, &address, 0);
    int fillers[2];
    for (int i = 0; i < 2; i++) {
        fillers[i] = tcp_socket();
        assert_true(connect(fillers[i], (struct sockaddr *)&address, sizeof address) == 0 ||
                    errno == EINPROGRESS);
    }
    struct link *client = open_client(*state, &to, &address, sizeof address);
    int errors[2];
    link_on_strand(client, connect_with_recv, errors);
    assert_int_equal(errors[0], 0);
    assert_int_equal(errors[1], 0);
    fixture_let_pass(*state, 50);
    assert_int_equal(client->out_count, 0);
    ask_cancel(client, &client->out);
    WAIT_FOR(client->out_count == 1);
    assert_int_equal(client->out_result, -ECANCELED);
    close(fillers[0]);
    close(fillers[1]);
}

enum { CONNECTIONS = 200 };

struct accepted {
    int fds[CONNECTIONS];
    struct sockaddr_in from[CONNECTIONS];
    unsigned count;
};

static void keep_accepted(struct link *link, struct fg_op *op)
{
    struct accepted *accepted = link->context;
    if (op->result >= 0 && accepted->count < CONNECTIONS) {
        state_lock();
        accepted->fds[accepted->count] = (int)op->result;
        accepted->from[accepted->count] = op->accept.from.in;
        accepted->count++;
        state_unlock();
    }
    link_again(link, op);
}

static void every_connection_is_accepted_once(void **state)
{
    struct sockaddr_in address;
    struct link *listener = link_open_listener(*state, &address, CONNECTIONS);
    struct accepted *accepted = calloc(1, sizeof *accepted);
    assert_non_null(accepted);
    listener->context = accepted;
    listener->then = keep_accepted;
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    int clients[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) {
        clients[i] = tcp_connect(&address);
    }
    WAIT_FOR(accepted->count == CONNECTIONS);
    fixture_let_pass(*state, 10);
    assert_int_equal(listener->in_count, CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        int fd = accepted->fds[i];
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(getpeername(fd, (struct sockaddr *)&peer, &length), 0);
        assert_int_equal(accepted->from[i].sin_family, AF_INET);
        assert_int_equal(accepted->from[i].sin_port, peer.sin_port);
        assert_int_equal(accepted->from[i].sin_addr.s_addr, peer.sin_addr.s_addr);
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        close(accepted->fds[i]);
        close(clients[i]);
    }
    ask_close(listener);
    free(accepted);
}

/* Over a Unix socket, where a connection stands in the queue when connect returns. */
static void who_connected_first_is_accepted_first(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t length = sizeof address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address.sun_family), 0); /* to any name */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(listen(fd, CONNECTIONS), 0);
    struct link *listener = link_open(*state, fd, FG_CHANNEL_STREAM, -1);
    struct accepted *accepted = calloc(1, sizeof *accepted);
    assert_non_null(accepted);
    listener->context = accepted;
    listener->then = keep_accepted;
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    int clients[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&address, length), 0);
        assert_int_equal(write(clients[i], &i, sizeof i), sizeof i);
    }
    WAIT_FOR(accepted->count == CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++) {
        int number = -1;
        assert_int_equal(peer_read(accepted->fds[i], &number, sizeof number), sizeof number);
        assert_int_equal(number, i);
        close(accepted->fds[i]);
        close(clients[i]);
    }
    ask_close(listener);
    free(accepted);
}

static void want_of_descriptors_is_told_and_accepting_goes_on_after_it(void **state)
{
    struct sockaddr_in address;
    struct link *listener = link_open_listener(*state, &address, 8);
    int client = tcp_socket();
    struct rlimit limit, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int lowest_free = dup(client);
    assert_true(lowest_free >= 0);
    close(lowest_free);
    none = (struct rlimit){ .rlim_cur = (rlim_t)lowest_free, .rlim_max = limit.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int error = ask_submit(listener, FG_OP_ACCEPT);
    int connected = connect(client, (struct sockaddr *)&address, sizeof address);
    bool under_way = connected == 0 || errno == EINPROGRESS;
    int64_t deadline_ns = state_deadline();
    state_lock();
    while (!error && listener->in_count == 0 && state_wait(deadline_ns)) {
    }
    state_unlock();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0); /* before any assertion can leave */
    assert_int_equal(error, 0);
    assert_true(under_way);
    assert_int_equal(listener->in_count, 1);
    assert_int_equal(listener->in_result, -EMFILE);
    assert_int_equal(ask_submit(listener, FG_OP_ACCEPT), 0);
    WAIT_FOR(listener->in_count == 2);
    assert_true(listener->in_result >= 0);
    close((int)listener->in_result);
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_made_over_tcp),
        cmocka_unit_test(a_refused_connection_is_told),
        cmocka_unit_test(a_connection_is_made_over_a_unix_socket),
        cmocka_unit_test(a_connection_without_answer_is_not_told_as_made),
        cmocka_unit_test(every_connection_is_accepted_once),
        cmocka_unit_test(who_connected_first_is_accepted_first),
        cmocka_unit_test(want_of_descriptors_is_told_and_accepting_goes_on_after_it),
    };
    return FIXTURE_RUN("connections", tests);
}
