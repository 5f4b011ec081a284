#include "address.h"

#include "fieldgate/clock.h"
#include "fieldgate/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

size_t fg_address_text(const union fg_address *address, char text[FG_ADDRESS_TEXT])
{
    text[0] = '\0';
    if (address == NULL) {
        return 0;
    }
    if (address->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->in.sin_addr, text, FG_ADDRESS_TEXT);
    } else if (address->any.sa_family == AF_INET6) {
        const struct in6_addr *in6 = &address->in6.sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(in6)) {
            inet_ntop(AF_INET, in6->s6_addr + 12, text, FG_ADDRESS_TEXT);
        } else {
            inet_ntop(AF_INET6, in6, text, FG_ADDRESS_TEXT);
        }
    }
    return strlen(text);
}

int fg_address_parse(const char *text, uint16_t port, union fg_address *address)
{
    union fg_address made = { .in6 = { .sin6_port = htons(port) } };
    if (inet_pton(AF_INET, text, &made.in.sin_addr) == 1) {
        made.in.sin_family = AF_INET;
        made.in.sin_port = htons(port);
        *address = made;
        return 0;
    }
    char plain[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "%");
    if (length >= sizeof plain) {
        return -EINVAL;
    }
    memcpy(plain, text, length);
    plain[length] = '\0';
    memset(&made, 0, sizeof made);
    if (inet_pton(AF_INET6, plain, &made.in6.sin6_addr) != 1) {
        return -EINVAL;
    }
    made.in6.sin6_family = AF_INET6;
    made.in6.sin6_port = htons(port);
    if (text[length] == '%') {
        const char *scope = text + length + 1;
        size_t scope_length = strlen(scope);
        if (scope_length == 0 || scope_length >= IF_NAMESIZE) {
            return -EINVAL;
        }
        made.in6.sin6_scope_id = if_nametoindex(scope);
        if (made.in6.sin6_scope_id == 0) {
            return -ENODEV;
        }
    }
    *address = made;
    return 0;
}

/* One to five digits and nothing else. */
static int parse_port(const char *text, uint16_t *port)
{
    size_t length = strlen(text);
    if (length < 1 || length > 5 || strspn(text, "0123456789") != length) {
        return -EINVAL;
    }
    unsigned long value = strtoul(text, NULL, 10);
    if (value < 1 || value > UINT16_MAX) {
        return -EINVAL;
    }
    *port = (uint16_t)value;
    return 0;
}

int fg_host_port_parse(const char *text, char host[FG_HOST_TEXT], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return -EINVAL;
    }
    const char *first = text;
    const char *end = colon;
    if (*first == '[') {
        first++;
        if (end == text + 1 || *--end != ']') {
            return -EINVAL;
        }
    } else if (memchr(first, ':', (size_t)(end - first)) != NULL) {
        return -EINVAL; /* an IPv6 address without its brackets */
    }
    size_t length = (size_t)(end - first);
    uint16_t number = 0;
    if (length == 0 || length >= FG_HOST_TEXT || parse_port(colon + 1, &number) < 0) {
        return -EINVAL;
    }
    memcpy(host, first, length);
    host[length] = '\0';
    *port = number;
    return 0;
}

uint16_t fg_address_port(const union fg_address *address)
{
    return ntohs(address->any.sa_family == AF_INET6 ? address->in6.sin6_port : address->in.sin_port);
}

socklen_t fg_address_length(const union fg_address *address)
{
    return address->any.sa_family == AF_INET6 ? sizeof address->in6 : sizeof address->in;
}

void fg_address_port_text(const union fg_address *address, char text[FG_ADDRESS_PORT_TEXT])
{
    char plain[FG_ADDRESS_TEXT];
    fg_address_text(address, plain);
    bool bracketed = strchr(plain, ':') != NULL;
    snprintf(text, FG_ADDRESS_PORT_TEXT, "%s%s%s:%u", bracketed ? "[" : "", plain, bracketed ? "]" : "",
             (unsigned)fg_address_port(address));
}

static int bind_address(const union fg_address *address, int type, union fg_address *bound)
{
    int fd = socket(address->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int on = 1;
    int off = 0;
    if (type == SOCK_STREAM) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (address->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&address->in6.sin6_addr)) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    socklen_t length = sizeof *bound;
    if (bind(fd, &address->any, fg_address_length(address)) < 0 ||
        getsockname(fd, &bound->any, &length) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int fg_socket_bind(const char *bind, uint16_t port, int type, union fg_address *bound)
{
    bool every = strcmp(bind, "*") == 0;
    union fg_address address;
    int result = fg_address_parse(every ? "::" : bind, port, &address);
    if (result == 0) {
        result = bind_address(&address, type, bound);
    }
    if (every && result == -EAFNOSUPPORT) {
        result = fg_address_parse("0.0.0.0", port, &address);
        if (result == 0) {
            result = bind_address(&address, type, bound);
        }
    }
    return result;
}

void fg_socket_keepalive(int fd, int64_t ns)
{
    if (ns <= 0) {
        return;
    }
    /* Half of the time in silence, the other half for four probes. */
    int idle_s = (int)(ns / 2 / FG_NS_PER_S);
    int interval_s = (int)(ns / 8 / FG_NS_PER_S);
    int on = 1;
    int count = 4;
    idle_s = idle_s < 1 ? 1 : idle_s;
    interval_s = interval_s < 1 ? 1 : interval_s;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void fg_socket_no_delay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool fg_socket_is_own_peer(int fd, const union fg_address *peer)
{
    union fg_address own = { .in6 = { .sin6_family = AF_UNSPEC } };
    socklen_t length = sizeof own;
    if (getsockname(fd, &own.any, &length) < 0 || own.any.sa_family != peer->any.sa_family ||
        fg_address_port(&own) != fg_address_port(peer)) {
        return false;
    }
    if (own.any.sa_family == AF_INET) {
        return own.in.sin_addr.s_addr == peer->in.sin_addr.s_addr;
    }
    return memcmp(&own.in6.sin6_addr, &peer->in6.sin6_addr, sizeof own.in6.sin6_addr) == 0;
}

void fg_bind_check(struct fg_check *check, const char *key, const void *field)
{
    const char *text = *(char *const *)field;
    union fg_address address;
    if (strcmp(text, "*") != 0 && fg_address_parse(text, 0, &address) == -EINVAL) {
        fg_check_problem(check, key,
                         "%s is not an address; write one of this machine's, as \"192.168.1.2\" or \"::1\", "
                         "or \"*\" for all",
                         text);
    }
}

void fg_host_port_check(struct fg_check *check, const char *key, const void *field)
{
    const char *text = *(char *const *)field;
    char host[FG_HOST_TEXT];
    uint16_t port = 0;
    if (fg_host_port_parse(text, host, &port) < 0) {
        fg_check_problem(
            check, key,
            "%s is not an address with its port; write it as \"10.0.0.7:502\", \"meter.lan:502\" or "
            "\"[fe80::1]:502\"",
            text);
    }
}
