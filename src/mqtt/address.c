#include "address.h"

#include "fieldgate/publisher.h"
#include "fieldgate/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int parse_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0') {
        return -EINVAL;
    }
    int port = 0;
    for (size_t i = 0; i < digits; i++) {
        port = port * 10 + (text[i] - '0');
    }
    return port >= 1 && port <= UINT16_MAX ? port : -EINVAL;
}

/* A name or an IPv4 address: what a resolver could take, so that a typing error is told at --check. */
static bool plain_host(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool alphanumeric = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
                            (text[i] >= '0' && text[i] <= '9');
        if (!alphanumeric && text[i] != '-' && text[i] != '.' && text[i] != '_') {
            return false;
        }
    }
    return length > 0;
}

/* The address before a zone ("fe80::1%eth0"). */
static bool is_v6(const char *host)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    size_t length = strcspn(host, "%");
    if (length >= sizeof address) {
        return false;
    }
    memcpy(address, host, length);
    address[length] = '\0';
    return inet_pton(AF_INET6, address, &parsed) == 1;
}

int fg_mqtt_parse_address(const char *text, char host[FG_HOST_MAX + 1], int *port)
{
    bool bracket = text[0] == '[';
    const char *start = bracket ? text + 1 : text;
    size_t length = strcspn(start, bracket ? "]" : ":");
    const char *rest = start + length;
    char copy[FG_HOST_MAX + 1];
    if (length > FG_HOST_MAX || (bracket && *rest++ != ']') || *rest++ != ':') {
        return -EINVAL;
    }
    memcpy(copy, start, length);
    copy[length] = '\0';
    int number = parse_port(rest);
    if (number < 0 || !(bracket ? is_v6(copy) : plain_host(copy, length))) {
        return -EINVAL;
    }
    memcpy(host, copy, length + 1);
    *port = number;
    return 0;
}

int fg_mqtt_expand(const char *text, const char *gateway, char *out, size_t size)
{
    static const char placeholder[] = "{gateway}";
    size_t gateway_length = strlen(gateway);
    size_t used = 0;
    while (*text) {
        bool here = strncmp(text, placeholder, sizeof placeholder - 1) == 0;
        size_t needed = here ? gateway_length : 1;
        if (used + needed >= size) {
            return -EMSGSIZE;
        }
        memcpy(out + used, here ? gateway : text, needed);
        used += needed;
        text += here ? sizeof placeholder - 1 : 1;
    }
    if (used >= size) {
        return -EMSGSIZE;
    }
    out[used] = '\0';
    return 0;
}
