#include "networks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* Clears the bits beyond the prefix. Returns whether any was set. */
static bool mask(struct fg_network *network)
{
    bool any = false;
    for (unsigned i = 0; i < 16; i++) {
        unsigned left = network->prefix > i * 8 ? network->prefix - i * 8 : 0;
        unsigned keep = left >= 8 ? 0xff : 0xff00U >> left & 0xff;
        any |= (network->address[i] & ~keep & 0xff) != 0;
        network->address[i] &= (uint8_t)keep;
    }
    return any;
}

/* One to three digits and nothing else. */
static int parse_prefix(const char *text, unsigned most, unsigned *prefix)
{
    size_t length = strlen(text);
    if (length < 1 || length > 3 || strspn(text, "0123456789") != length) {
        return -EINVAL;
    }
    unsigned long value = strtoul(text, NULL, 10);
    if (value > most) {
        return -EINVAL;
    }
    *prefix = (unsigned)value;
    return 0;
}

int fg_network_parse(const char *text, struct fg_network *network)
{
    char address[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "/");
    if (length >= sizeof address) {
        return -EINVAL;
    }
    memcpy(address, text, length);
    address[length] = '\0';
    struct fg_network made = { .ipv4 = false };
    if (inet_pton(AF_INET, address, made.address + 12) == 1) {
        memcpy(made.address, mapped_prefix, sizeof mapped_prefix);
        made.ipv4 = true;
    } else if (inet_pton(AF_INET6, address, made.address) != 1) {
        return -EINVAL;
    }
    unsigned most = made.ipv4 ? 32 : 128;
    unsigned prefix = most;
    if (text[length] == '/' && parse_prefix(text + length + 1, most, &prefix) < 0) {
        return -EINVAL;
    }
    made.prefix = (uint8_t)(made.ipv4 ? prefix + 96 : prefix);
    made.ipv4 |= made.prefix >= 96 && memcmp(made.address, mapped_prefix, sizeof mapped_prefix) == 0;
    bool beyond = mask(&made);
    *network = made;
    return beyond ? -ERANGE : 0;
}

void fg_network_text(const struct fg_network *network, char text[FG_NETWORK_TEXT])
{
    char address[INET6_ADDRSTRLEN] = "";
    if (network->ipv4) {
        inet_ntop(AF_INET, network->address + 12, address, sizeof address);
    } else {
        inet_ntop(AF_INET6, network->address, address, sizeof address);
    }
    snprintf(text, FG_NETWORK_TEXT, "%s/%d", address, network->ipv4 ? network->prefix - 96 : network->prefix);
}

bool fg_network_contains(const struct fg_network *network, const union fg_address *address)
{
    struct fg_network other = { .prefix = network->prefix };
    if (address->any.sa_family == AF_INET) {
        memcpy(other.address, mapped_prefix, sizeof mapped_prefix);
        memcpy(other.address + 12, &address->in.sin_addr, 4);
        other.ipv4 = true;
    } else if (address->any.sa_family == AF_INET6) {
        memcpy(other.address, &address->in6.sin6_addr, 16);
        other.ipv4 = IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr);
    } else {
        return false;
    }
    mask(&other);
    return other.ipv4 == network->ipv4 && memcmp(other.address, network->address, 16) == 0;
}

int fg_networks_init(struct fg_networks *networks, const struct fg_texts *texts)
{
    networks->count = 0;
    networks->items = NULL;
    if (texts->count == 0) {
        return 0;
    }
    networks->items = calloc(texts->count, sizeof *networks->items);
    if (networks->items == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < texts->count; i++) {
        if (fg_network_parse(texts->items[i], &networks->items[networks->count]) == 0) {
            networks->count++;
        }
    }
    return 0;
}

void fg_networks_fini(struct fg_networks *networks)
{
    free(networks->items);
    networks->items = NULL;
    networks->count = 0;
}

bool fg_networks_contain(const struct fg_networks *networks, const union fg_address *address)
{
    if (networks->items == NULL) {
        return true;
    }
    for (size_t i = 0; i < networks->count; i++) {
        if (fg_network_contains(&networks->items[i], address)) {
            return true;
        }
    }
    return false;
}

void fg_networks_check(struct fg_check *check, const char *key, const void *field)
{
    const char *text = *(char *const *)field;
    struct fg_network network;
    int error = fg_network_parse(text, &network);
    if (error == -ERANGE) {
        char meant[FG_NETWORK_TEXT];
        fg_network_text(&network, meant);
        fg_check_problem(check, key, "%s has bits set beyond its prefix; did you mean %s?", text, meant);
    } else if (error < 0) {
        fg_check_problem(check, key, "%s is not a network; write it as \"192.168.1.0/24\" or \"fd00::/8\"",
                         text);
    }
}
