/* Field devices as the test plays them: TCP, UDP and Unix sockets on this machine. What cannot be had fails
 * the test. */
#ifndef FIELDGATE_TEST_CLIENT_H
#define FIELDGATE_TEST_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A port that was free just now, for TCP and UDP. */
unsigned client_free_port(void);

/* Connects as soon as somebody listens. Nagle's delay is off. */
int client_tcp(unsigned port);
/* Connects from another loopback address, e.g. "127.0.0.9". */
int client_tcp_from(unsigned port, const char *source);
/* One attempt. Returns the descriptor or a negative errno. */
int client_try_tcp(unsigned port);

/* A listener on a free port for a gateway that connects out; and the connection when it comes. */
int client_listen(unsigned *port);
int client_accept(int listener);

/* A sender of datagrams, as soon as somebody has bound the port. */
int client_udp(unsigned port);

/* kind is SOCK_STREAM or SOCK_DGRAM; waits for the socket to be there. */
int client_unix(const char *path, int kind);

void client_send(int fd, const void *bytes, size_t size);
void client_print(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Closes with a reset in place of an orderly end. */
void client_reset(int fd);

/* Whether the peer ended the connection before the deadline. */
bool client_wait_closed(int fd, int64_t ms);

/* Bytes that wait in the kernel for the owner of a local TCP port, over all of its connections, and with the
 * senders. */
uint64_t client_tcp_unread(unsigned port);
/* Bytes that wait for the owner of a UDP port; drops is what the kernel threw away for it. */
uint64_t client_udp_unread(unsigned port, uint64_t *drops);

#endif
