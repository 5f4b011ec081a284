/* What the publisher offers in the handshake, seen by a server that can do less than mosquitto, or more. */
#include "tls_bench.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

/* Takes one connection after the other, shakes hands and closes. */
struct peer {
    SSL_CTX *context;
    int listener;
    int stop[2];
    pthread_t thread;
    atomic_int tries, handshakes;
    atomic_bool alpn; /* it was the wanted one */
};

static const char wanted_alpn[] = "x-amzn-mqtt-ca";

static int on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *size, const unsigned char *offered,
                   unsigned int offered_size, void *context)
{
    struct peer *peer = context;
    (void)ssl;
    bool same = offered_size == sizeof wanted_alpn && offered[0] == sizeof wanted_alpn - 1 &&
                memcmp(offered + 1, wanted_alpn, sizeof wanted_alpn - 1) == 0;
    atomic_store(&peer->alpn, same);
    *chosen = offered + 1;
    *size = offered[0];
    return same ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void serve(struct peer *peer, int fd)
{
    struct timeval patience = { .tv_sec = 5 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    SSL *ssl = SSL_new(peer->context);
    SSL_set_fd(ssl, fd);
    atomic_fetch_add(&peer->tries, 1);
    if (SSL_accept(ssl) == 1) {
        atomic_fetch_add(&peer->handshakes, 1);
    }
    SSL_free(ssl);
    close(fd);
}

static void *run_peer(void *context)
{
    struct peer *peer = context;
    struct pollfd fds[2] = { { .fd = peer->listener, .events = POLLIN },
                             { .fd = peer->stop[0], .events = POLLIN } };
    while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
        int fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            serve(peer, fd);
        }
    }
    return NULL;
}

static void peer_start(struct peer *peer, struct bench *bench, int newest)
{
    char path[TLS_LAB_PATH];
    const char *folder = bench->broker.folder;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)bench->broker.port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    tls_lab_make(folder, &(struct tls_lab){ .name = "peer", .issuer = "ca", .names = LOCAL });
    peer->context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_max_proto_version(peer->context, newest);
    assert_int_equal(SSL_CTX_use_certificate_file(peer->context, tls_lab_path(folder, "peer", ".pem", path),
                                                  SSL_FILETYPE_PEM),
                     1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(peer->context, tls_lab_path(folder, "peer", ".key", path),
                                                 SSL_FILETYPE_PEM),
                     1);
    SSL_CTX_set_alpn_select_cb(peer->context, on_alpn, peer);
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(peer->listener, 8), 0);
    assert_int_equal(pipe(peer->stop), 0);
    assert_int_equal(pthread_create(&peer->thread, NULL, run_peer, peer), 0);
}

static void peer_stop(struct peer *peer)
{
    assert_int_equal(write(peer->stop[1], "", 1), 1);
    pthread_join(peer->thread, NULL);
    close(peer->stop[0]);
    close(peer->stop[1]);
    close(peer->listener);
    SSL_CTX_free(peer->context);
}

static bool was_tried(void *context)
{
    return tls_logged(context, "trying again") > 0;
}

/* With a bench's publisher, until its first try has come to its end. */
static void meet(struct peer *peer, struct bench *bench, int newest)
{
    bench->settings.reconnect_min_ns = bench->settings.reconnect_max_ns = S(60);
    peer_start(peer, bench, newest);
    bench_start(bench);
    bool tried = test_wait(was_tried, bench, 10000);
    peer_stop(peer);
    assert_true(tried);
    assert_int_equal(atomic_load(&peer->tries), 1);
}

static void the_application_protocol_is_asked_for(void **state)
{
    struct bench *bench = *state;
    struct peer peer = { 0 };
    char alpn[sizeof wanted_alpn];
    memcpy(alpn, wanted_alpn, sizeof alpn);
    bench->tls.alpn = alpn;
    meet(&peer, bench, 0);
    assert_true(atomic_load(&peer.alpn));
    assert_int_equal(atomic_load(&peer.handshakes), 1);
}

static void version_1_2_is_taken_where_there_is_nothing_newer(void **state)
{
    struct bench *bench = *state;
    struct peer peer = { 0 };
    meet(&peer, bench, TLS1_2_VERSION);
    assert_int_equal(atomic_load(&peer.handshakes), 1);
}

static void an_older_version_than_wanted_is_refused_and_named(void **state)
{
    struct bench *bench = *state;
    struct peer peer = { 0 };
    bench->tls.min_version = 1;
    meet(&peer, bench, TLS1_2_VERSION);
    assert_int_equal(atomic_load(&peer.handshakes), 0);
    assert_int_equal(tls_logged(bench, "the broker speaks no version of TLS that tls.min_version takes"), 1);
}

static void the_newest_version_meets_what_is_wanted(void **state)
{
    struct bench *bench = *state;
    struct peer peer = { 0 };
    bench->tls.min_version = 1;
    meet(&peer, bench, 0);
    assert_int_equal(atomic_load(&peer.handshakes), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_CASE(the_application_protocol_is_asked_for),
        TLS_CASE(version_1_2_is_taken_where_there_is_nothing_newer),
        TLS_CASE(an_older_version_than_wanted_is_refused_and_named),
        TLS_CASE(the_newest_version_meets_what_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
