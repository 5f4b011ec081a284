/* Ways onto the wire: who is let in, what is closed, what comes back. */
#include "support/client.h"
#include "support/e2e.h"
#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void peers_outside_the_allowed_networks_are_refused(struct e2e *e2e)
{
    unsigned port = client_free_port();
    unsigned datagrams = client_free_port();
    e2e_start(e2e,
              E2E_PORT("in", "tcp-server", "tcp_port = %u; allow = [ \"127.0.0.8/30\" ];") E2E_LINE E2E_RAW
              "}, " E2E_PORT("dg", "udp", "udp_port = %u; allow = [ \"10.0.0.0/8\" ];") E2E_RAW "}",
              port, datagrams);
    int refused = client_tcp(port);
    assert_true(client_wait_closed(refused, 5000));
    close(refused);
    int fd = client_tcp_from(port, "127.0.0.9");
    client_print(fd, "in\n");
    e2e_expect(e2e, "in/state", "in");
    close(fd);
    fd = client_udp(datagrams);
    client_print(fd, "refused");
    close(fd);
    e2e_wait_counter(e2e, "ports.in.rejected.not-allowed", 1);
    e2e_wait_counter(e2e, "ports.dg.rejected.not-allowed", 1);
    e2e_expect_no_more(e2e, "dg/state");
}

static void idle_connections_are_closed_after_idle_timeout(struct e2e *e2e)
{
    unsigned port = client_free_port();
    e2e_start(e2e,
              E2E_PORT("in", "tcp-server", "tcp_port = %u; idle_timeout = \"300ms\";") E2E_LINE E2E_RAW "}",
              port);
    int fd = client_tcp(port);
    int64_t began_ms = wait_now_ms();
    client_print(fd, "hello\n");
    e2e_expect(e2e, "in/state", "hello");
    assert_true(client_wait_closed(fd, 5000));
    assert_true(wait_now_ms() - began_ms >= 290);
    close(fd);
}

static void zero_length_and_huge_datagrams_are_told_apart(struct e2e *e2e)
{
    static char huge[60000];
    unsigned port = client_free_port();
    e2e_start(e2e, E2E_UDP("in") E2E_RAW "}", port);
    int fd = client_udp(port);
    memset(huge, 'x', sizeof huge);
    assert_int_equal(send(fd, huge, 0, 0), 0);
    assert_int_equal(send(fd, huge, sizeof huge, 0), sizeof huge);
    client_print(fd, "small");
    const struct subscriber_message *message = e2e_next(e2e, "in/state");
    if (message->size == sizeof huge) {
        message = e2e_next(e2e, "in/state");
    }
    assert_string_equal(message->payload, "small");
    e2e_wait_counter(e2e, "ports.in.rejected.empty", 1);
    close(fd);
}

static void outgoing_connection_is_made_again_when_it_ends(struct e2e *e2e)
{
    unsigned port;
    int listener = client_listen(&port);
    e2e_start(e2e, E2E_PORT("in", "tcp-client", "address = \"127.0.0.1:%u\";") E2E_LINE E2E_RAW "}", port);
    for (unsigned i = 0; i < 3; i++) {
        int fd = client_accept(listener);
        client_print(fd, "number %u\n", i);
        char payload[16];
        snprintf(payload, sizeof payload, "number %u", i);
        e2e_expect(e2e, "in/state", payload);
        e2e_wait_status(e2e, "in/status", "online");
        close(fd);
        e2e_wait_status(e2e, "in/status", "offline");
    }
    close(listener);
}

static void ipv6_is_listened_on_and_names_the_peer(struct e2e *e2e)
{
    unsigned port = client_free_port();
    struct sockaddr_in6 address = { .sin6_family = AF_INET6,
                                    .sin6_port = htons((uint16_t)port),
                                    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        print_message("no IPv6 here\n");
        close(fd);
        return;
    }
    close(fd);
    e2e_start(e2e,
              E2E_PORT("in", "tcp-server", "bind = \"::1\"; tcp_port = %u;") E2E_LINE E2E_RAW
              "identity = \"peer\"; }",
              port);
    int64_t deadline = wait_deadline(5000);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
    client_print(fd, "six\n");
    e2e_expect(e2e, "::1/state", "six");
    close(fd);
}

static void unix_socket_has_its_mode_and_goes_with_the_daemon(struct e2e *e2e)
{
    char path[TEMPDIR_PATH];
    struct stat about;
    snprintf(path, sizeof path, "%.80s/in.sock", e2e->folder);
    e2e_start(e2e, E2E_PORT("in", "unix", "path = \"%s\"; mode = \"0622\";") E2E_LINE E2E_RAW "}", path);
    int fd = client_unix(path, SOCK_STREAM);
    client_print(fd, "hello\n");
    e2e_expect(e2e, "in/state", "hello");
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0622);
    close(fd);
    assert_int_equal(daemon_stop(&e2e->daemon, 5000), 0);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* The kernel may hold what a killed process had open a little longer than the process. */
static void wait_until_nobody_listens(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int64_t deadline = wait_deadline(5000);
    int error = 0;
    while (error == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0 && !wait_over(deadline));
        error = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
        close(fd);
        wait_nap();
    }
    assert_int_equal(error, ECONNREFUSED);
}

static void stale_socket_file_is_replaced(struct e2e *e2e)
{
    char path[TEMPDIR_PATH];
    snprintf(path, sizeof path, "%.80s/in.sock", e2e->folder);
    e2e_start(e2e, E2E_UNIX("in") E2E_RAW "}", path);
    close(client_unix(path, SOCK_STREAM));
    daemon_kill(&e2e->daemon); /* the file stays */
    assert_int_equal(access(path, F_OK), 0);
    wait_until_nobody_listens(path);
    e2e_wait_status(e2e, "status", "offline");
    e2e_start_daemon(e2e, E2E_UNIX("in") E2E_RAW "}", path);
    int fd = client_unix(path, SOCK_STREAM);
    client_print(fd, "second\n");
    e2e_expect(e2e, "in/state", "second");
    close(fd);
}

static void live_socket_of_another_gateway_is_left_alone(struct e2e *e2e)
{
    char path[TEMPDIR_PATH];
    char folder[TEMPDIR_PATH];
    char config[1024];
    struct daemon rival = { 0 };
    snprintf(path, sizeof path, "%.80s/in.sock", e2e->folder);
    e2e_start(e2e, E2E_UNIX("in") E2E_RAW "}", path);
    close(client_unix(path, SOCK_STREAM));
    tempdir_make(folder);
    snprintf(config, sizeof config,
             "gateway: { id = \"rival\"; control_socket = \"\"; }; mqtt: { address = \"127.0.0.1:%u\"; };\n"
             "ports = ( " E2E_UNIX("rival") E2E_RAW "} );\n",
             e2e->broker.port, path);
    daemon_start(&rival, folder, config, 0);
    bool told = daemon_wait_log(&rival, "port rival: ", 5000);
    int fd = client_unix(path, SOCK_STREAM);
    client_print(fd, "mine\n");
    const struct subscriber_message *message = subscriber_take(&e2e->subscriber, E2E_BASE "/in/state", 5000);
    daemon_kill(&rival);
    tempdir_remove(folder);
    assert_true(told);
    assert_non_null(message);
    assert_string_equal(message->payload, "mine");
    close(fd);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(peers_outside_the_allowed_networks_are_refused),
        E2E_TEST(idle_connections_are_closed_after_idle_timeout),
        E2E_TEST(zero_length_and_huge_datagrams_are_told_apart),
        E2E_TEST(outgoing_connection_is_made_again_when_it_ends),
        E2E_TEST(ipv6_is_listened_on_and_names_the_peer),
        E2E_TEST(unix_socket_has_its_mode_and_goes_with_the_daemon),
        E2E_TEST(stale_socket_file_is_replaced),
        E2E_TEST(live_socket_of_another_gateway_is_left_alone),
    };
    return e2e_main("e2e_transports", tests, sizeof tests / sizeof tests[0]);
}
