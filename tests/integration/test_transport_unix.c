#include "support/transport_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *socket_path(struct rig *rig)
{
    static char path[96];
    snprintf(path, sizeof path, "%s/in.sock", rig->folder);
    return path;
}

static struct rig_port *open_unix(struct rig *rig, const char *more)
{
    return rig_port_new(rig, "type = \"unix\"; path = \"%s\"; %s", socket_path(rig), more);
}

/* A socket of the test's at the path; closed, it is a stale one. */
static int bind_socket(const char *path, int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    if (type == SOCK_STREAM) {
        assert_int_equal(listen(fd, 1), 0);
    }
    return fd;
}

static void wait_for_log(const char *text)
{
    for (int i = 0; i < 1000 && rig_log_count(text) == 0; i++) {
        poll(NULL, 0, 10);
    }
}

static void a_program_can_connect_and_send(void **state)
{
    struct rig_port *port = open_unix(*state, "");
    int fd = rig_connect_unix(socket_path(*state), SOCK_STREAM);
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    RIG_WAIT(port, port->links[0].size == 5);
    assert_string_equal(port->links[0].from, "");
    rig_link_send(&port->links[0], "there", 5);
    char got[5];
    assert_int_equal(recv(fd, got, 5, MSG_WAITALL), 5);
    assert_memory_equal(got, "there", 5);
    close(fd);
    RIG_WAIT(port, port->downs == 1);
    assert_int_equal(port->links[0].error, 0);
    rig_port_free(port);
}

static void datagrams_keep_their_boundaries(void **state)
{
    struct rig_port *port = open_unix(*state, "kind = \"datagram\";");
    int fd = rig_connect_unix(socket_path(*state), SOCK_DGRAM);
    assert_int_equal(send(fd, "abc", 3, 0), 3);
    assert_int_equal(send(fd, "", 0, 0), 0);
    assert_int_equal(send(fd, "de", 2, 0), 2);
    RIG_WAIT(port, port->links[0].packets == 3);
    assert_int_equal(port->links[0].empty, 1);
    assert_int_equal(port->links[0].last, 2);
    assert_memory_equal(port->links[0].data, "abcde", 5);
    close(fd);
    rig_port_free(port);
}

static void a_datagram_that_is_too_long_is_told_as_truncated(void **state)
{
    struct rig_port *port = open_unix(*state, "kind = \"datagram\";");
    int fd = rig_connect_unix(socket_path(*state), SOCK_DGRAM);
    static char large[100000];
    assert_int_equal(send(fd, large, sizeof large, 0), sizeof large);
    assert_int_equal(send(fd, "next", 4, 0), 4);
    RIG_WAIT(port, port->links[0].packets == 2);
    assert_int_equal(port->links[0].truncated, 1);
    assert_int_equal(port->links[0].last, 4);
    close(fd);
    rig_port_free(port);
}

static void a_datagram_link_cannot_wait(void **state)
{
    struct rig_port *port =
        rig_port_prepare(*state, "type = \"unix\"; path = \"%s\"; kind = \"datagram\";", socket_path(*state));
    port->limited = true; /* without room; but only links that can wait are asked to */
    rig_port_open(*state, port);
    int fd = rig_connect_unix(socket_path(*state), SOCK_DGRAM);
    assert_int_equal(send(fd, "all of it", 9, 0), 9);
    RIG_WAIT(port, port->links[0].size == 9);
    close(fd);
    rig_port_free(port);
}

static void the_socket_has_its_mode_whatever_the_umask(void **state)
{
    mode_t before = umask(0077);
    struct rig_port *port = open_unix(*state, "mode = \"0622\";");
    close(rig_connect_unix(socket_path(*state), SOCK_STREAM));
    umask(before);
    struct stat found;
    assert_int_equal(stat(socket_path(*state), &found), 0);
    assert_int_equal(found.st_mode & 07777, 0622);
    rig_port_free(port);
}

static void a_socket_that_nobody_serves_is_replaced(void **state)
{
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        close(bind_socket(socket_path(*state), type));
        struct rig_port *port =
            open_unix(*state, type == SOCK_STREAM ? "kind = \"stream\";" : "kind = \"datagram\";");
        int fd = rig_connect_unix(socket_path(*state), type);
        assert_int_equal(send(fd, "x", 1, 0), 1);
        RIG_WAIT(port, port->links[0].size == 1);
        close(fd);
        rig_port_free(port);
    }
}

static void a_socket_that_is_served_is_left_alone_until_it_is_not(void **state)
{
    int other = bind_socket(socket_path(*state), SOCK_STREAM);
    rig_log_begin();
    struct rig_port *port = open_unix(*state, "");
    wait_for_log("in use by another program");
    size_t told = rig_log_count("in use by another program");
    rig_log_end();
    assert_int_equal(told, 1);
    int fd = rig_connect_unix(socket_path(*state), SOCK_STREAM);
    close(accept(other, NULL, NULL)); /* the probe of the endpoint, or this one: the path is still its own */
    close(fd);
    close(other);
    for (size_t tries = 0; RIG_GET(port, port->ups) == 0; tries++) {
        assert_in_range(tries, 0, 1000);
        close(rig_connect_unix(socket_path(*state), SOCK_STREAM));
        poll(NULL, 0, 10);
    }
    rig_port_free(port);
}

static void what_is_no_socket_is_never_removed(void **state)
{
    int fd = open(socket_path(*state), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "keep", 4), 4);
    close(fd);
    rig_log_begin();
    struct rig_port *port = open_unix(*state, "");
    wait_for_log("not a socket");
    rig_log_end();
    rig_port_free(port);
    struct stat found;
    assert_int_equal(lstat(socket_path(*state), &found), 0);
    assert_true(S_ISREG(found.st_mode));
    assert_int_equal(found.st_size, 4);
}

static void the_socket_is_removed_at_close(void **state)
{
    struct rig_port *port = open_unix(*state, "");
    close(rig_connect_unix(socket_path(*state), SOCK_STREAM));
    rig_port_free(port);
    struct stat found;
    assert_int_equal(lstat(socket_path(*state), &found), -1);
    /* Nor is a file of another name left. */
    assert_int_equal(unlink(strcat(strcpy((char[96]){ 0 }, ((struct rig *)*state)->folder), "/port.cfg")), 0);
    assert_int_equal(rmdir(((struct rig *)*state)->folder), 0);
}

static void a_socket_that_another_put_in_its_place_stays_at_close(void **state)
{
    struct rig_port *port = open_unix(*state, "");
    close(rig_connect_unix(socket_path(*state), SOCK_STREAM));
    char others[96];
    snprintf(others, sizeof others, "%s/others.sock", ((struct rig *)*state)->folder);
    int other = bind_socket(others, SOCK_STREAM);
    assert_int_equal(rename(others, socket_path(*state)), 0);
    rig_port_free(port);
    struct stat found;
    assert_int_equal(lstat(socket_path(*state), &found), 0);
    close(other);
}

static void connections_beyond_the_most_are_counted(void **state)
{
    struct rig_port *port = open_unix(*state, "max_connections = 1;");
    int first = rig_connect_unix(socket_path(*state), SOCK_STREAM);
    RIG_WAIT(port, port->ups == 1);
    int second = rig_connect_unix(socket_path(*state), SOCK_STREAM);
    RIG_WAIT(port, port->rejected[FG_REASON_MAX_CONNECTIONS] == 1);
    char byte;
    assert_int_equal(recv(second, &byte, 1, 0), 0);
    close(first);
    close(second);
    rig_port_free(port);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_program_can_connect_and_send),
        TEST(datagrams_keep_their_boundaries),
        TEST(a_datagram_that_is_too_long_is_told_as_truncated),
        TEST(a_datagram_link_cannot_wait),
        TEST(the_socket_has_its_mode_whatever_the_umask),
        TEST(a_socket_that_nobody_serves_is_replaced),
        TEST(a_socket_that_is_served_is_left_alone_until_it_is_not),
        TEST(what_is_no_socket_is_never_removed),
        TEST(the_socket_is_removed_at_close),
        TEST(a_socket_that_another_put_in_its_place_stays_at_close),
        TEST(connections_beyond_the_most_are_counted),
    };
    return RIG_RUN(tests);
}
