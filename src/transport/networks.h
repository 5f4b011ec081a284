/*
 * Networks of peers, as in `allow`: "192.168.1.0/24", "10.0.0.7", "fd00::/8". Pure functions.
 */
#ifndef FIELDGATE_TRANSPORT_NETWORKS_H
#define FIELDGATE_TRANSPORT_NETWORKS_H

#include "fieldgate/event_model.h"
#include "fieldgate/setting.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FG_NETWORK_TEXT 64

struct fg_network {
    uint8_t address[16]; /* in IPv6 form, IPv4 as ::ffff:a.b.c.d */
    uint8_t prefix;      /* of these 128 bits; of an IPv4 network 96 or more */
    bool ipv4;
};

struct fg_networks {
    size_t count;
    struct fg_network *items;
};

/*
 * Reads one network. Returns 0; -EINVAL for what is none; -ERANGE when bits beyond the prefix are set, with
 * the network that was meant, perhaps, in *network.
 */
int fg_network_parse(const char *text, struct fg_network *network);

/* Writes it as fg_network_parse reads it. */
void fg_network_text(const struct fg_network *network, char text[FG_NETWORK_TEXT]);

/* An IPv4 address in IPv6 form is an IPv4 address; "::/0" contains IPv6 addresses only. */
bool fg_network_contains(const struct fg_network *network, const union fg_address *address);

/* Reads texts that have been checked. Returns 0, -ENOMEM. */
int fg_networks_init(struct fg_networks *networks, const struct fg_texts *texts);
void fg_networks_fini(struct fg_networks *networks);

/* Whether one of them contains the address. No networks at all: everyone is in. */
bool fg_networks_contain(const struct fg_networks *networks, const union fg_address *address);

/* For tables of settings: the check of each item of `allow`. */
void fg_networks_check(struct fg_check *check, const char *key, const void *field);

#endif
