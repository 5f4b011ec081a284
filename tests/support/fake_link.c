#include "support/fake_link.h"

#include "support/broker.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_BYTES   ((size_t)1 << 20)
#define OUT_BYTES  ((size_t)1 << 20)
#define UNUSED_ID  0x7fff
#define OVER       SIZE_MAX /* the link is to be closed */
#define PROTOCOL_5 5

enum { CONNACK = 0x20, PUBLISH = 0x30, PUBACK = 0x40, PUBREC = 0x50, PUBREL = 0x60, PUBCOMP = 0x70 };

void fake_link_open(struct fake_link *link)
{
    link->in = malloc(IN_BYTES);
    link->out = malloc(OUT_BYTES);
}

void fake_link_close(struct fake_link *link)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };
    if (!link->polite) {
        setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(link->fd);
    free(link->in);
    free(link->out);
    link->fd = -1;
    atomic_fetch_sub(&link->broker->open, 1);
}

/* --- what goes --- */

static void put(struct fake_link *link, const void *bytes, size_t size)
{
    if (!link->script.silent && link->out_size + size <= OUT_BYTES) {
        memcpy(link->out + link->out_size, bytes, size);
        link->out_size += size;
    }
}

void fake_link_say(struct fake_link *link, const void *bytes, size_t size)
{
    if (link->version > 0) {
        put(link, bytes, size);
    }
}

static void put_ack(struct fake_link *link, uint8_t kind, uint16_t id)
{
    uint8_t reason = kind == PUBREL ? 0 : link->script.reason;
    bool long_form = link->version == PROTOCOL_5 && reason != 0;
    const uint8_t packet[] = { (uint8_t)(kind | (kind == PUBREL ? 2 : 0)), (uint8_t)(long_form ? 3 : 2),
                               (uint8_t)(id >> 8), (uint8_t)(id & 0xff), reason };
    put(link, packet, long_form ? 5 : 4);
}

static void put_unasked(struct fake_link *link)
{
    static const uint8_t kinds[] = { PUBACK, PUBREC, PUBREL, PUBCOMP };
    for (size_t i = 0; i < sizeof kinds; i++) {
        put_ack(link, kinds[i], UNUSED_ID);
    }
    bool v5 = link->version == PROTOCOL_5;
    const uint8_t suback[] = { 0x90, (uint8_t)(v5 ? 4 : 3), UNUSED_ID >> 8, UNUSED_ID & 0xff, 0, 0 };
    put(link, suback, v5 ? 6 : 5);
}

static void acknowledge(struct fake_link *link, uint8_t kind, uint16_t id)
{
    link->acks++;
    if (link->script.acks_most > 0 && (size_t)link->acks > link->script.acks_most) {
        return;
    }
    switch (link->script.acks) {
    case FAKE_ACKS_NEVER:
        return;
    case FAKE_ACKS_LATE:
    case FAKE_ACKS_BACKWARDS:
        if (link->held_count < sizeof link->held_ids / sizeof link->held_ids[0]) {
            link->held[link->held_count] = kind;
            link->held_ids[link->held_count++] = id;
        }
        return;
    case FAKE_ACKS_WRONG:
        put_ack(link, kind, UNUSED_ID);
        return;
    case FAKE_ACKS_OTHER_KIND:
        put_ack(link, kind == PUBACK ? PUBCOMP : PUBACK, id);
        return;
    case FAKE_ACKS_GAPS:
        if (link->acks % 10 == 0) {
            return;
        }
        break;
    case FAKE_ACKS_UNASKED:
        if (id != UNUSED_ID) { /* its answers to the unasked ones come here, too */
            put_unasked(link);
        }
        break;
    case FAKE_ACKS_TWICE:
        put_ack(link, kind, id);
        break;
    case FAKE_ACKS_GOOD:
        break;
    }
    put_ack(link, kind, id);
}

void fake_link_release(struct fake_link *link, bool backwards)
{
    for (size_t i = 0; i < link->held_count; i++) {
        size_t at = backwards ? link->held_count - 1 - i : i;
        put_ack(link, link->held[at], link->held_ids[at]);
    }
    link->held_count = 0;
}

/* --- what comes --- */

void fake_broker_forget(struct fake_broker *broker)
{
    memset(broker->unreleased, 0, (UINT16_MAX + 1) * sizeof *broker->unreleased);
    broker->present = false;
}

/* The payload's place behind topic, identifier and properties of a PUBLISH; the rest of the fields. */
static size_t parse_publish(struct fake_link *link, const uint8_t *body, size_t size,
                            struct fake_taken *taken, uint16_t *id)
{
    size_t topic = (size_t)(body[0] << 8 | body[1]);
    size_t at = 2 + topic;
    size_t kept = topic < sizeof taken->topic ? topic : sizeof taken->topic - 1;
    memcpy(taken->topic, body + 2, kept);
    if (taken->qos > 0) {
        *id = (uint16_t)(body[at] << 8 | body[at + 1]);
        at += 2;
    }
    if (link->version == PROTOCOL_5) { /* the daemon's are short */
        taken->properties_size = body[at] < sizeof taken->properties ? body[at] : sizeof taken->properties;
        memcpy(taken->properties, body + at + 1, taken->properties_size);
        at += (size_t)1 + body[at];
    }
    taken->payload_size = size - at;
    kept = taken->payload_size < sizeof taken->payload ? taken->payload_size : sizeof taken->payload - 1;
    memcpy(taken->payload, body + at, kept);
    return at;
}

/* With the lock held. */
static void take(struct fake_broker *broker, const struct fake_taken *taken)
{
    if (broker->taken_count == broker->taken_capacity) {
        broker->taken_capacity = broker->taken_capacity ? 2 * broker->taken_capacity : 1024;
        broker->taken = realloc(broker->taken, broker->taken_capacity * sizeof *broker->taken);
    }
    broker->taken[broker->taken_count++] = *taken;
}

static void on_publish(struct fake_link *link, uint8_t flags, const uint8_t *body, size_t size)
{
    struct fake_broker *broker = link->broker;
    struct fake_taken taken = { .qos = (uint8_t)((flags >> 1) & 3),
                                .dup = (flags & 8) != 0,
                                .retain = (flags & 1) != 0 };
    uint16_t id = 0;
    parse_publish(link, body, size, &taken, &id);
    bool refused = link->script.reason >= 0x80;
    pthread_mutex_lock(&broker->lock);
    if (taken.qos < 2 && !refused) {
        take(broker, &taken);
    } else if (!refused && !broker->unreleased[id]) {
        taken.held = true;
        take(broker, &taken);
        broker->unreleased[id] = broker->taken_count;
    }
    pthread_mutex_unlock(&broker->lock);
    link->messages++;
    if (taken.qos > 0) {
        acknowledge(link, taken.qos == 1 ? PUBACK : PUBREC, id);
    }
}

static void on_pubrel(struct fake_link *link, const uint8_t *body)
{
    struct fake_broker *broker = link->broker;
    uint16_t id = (uint16_t)(body[0] << 8 | body[1]);
    pthread_mutex_lock(&broker->lock);
    if (broker->unreleased[id]) {
        broker->taken[broker->unreleased[id] - 1].held = false;
        broker->unreleased[id] = 0;
    }
    pthread_mutex_unlock(&broker->lock);
    acknowledge(link, PUBCOMP, id);
}

static uint32_t parse_expiry(const uint8_t *properties, size_t size)
{
    for (size_t at = 0; at + 5 <= size;) {
        switch (properties[at]) {
        case 0x11:
            return (uint32_t)properties[at + 1] << 24 | (uint32_t)properties[at + 2] << 16 |
                   (uint32_t)properties[at + 3] << 8 | properties[at + 4];
        case 0x27: /* Maximum Packet Size */
            at += 5;
            break;
        case 0x21: /* Receive Maximum */
            at += 3;
            break;
        default:
            return 0;
        }
    }
    return 0;
}

static size_t on_connect(struct fake_link *link, const uint8_t *body)
{
    struct fake_broker *broker = link->broker;
    const struct fake_script *script = &link->script;
    link->version = body[6];
    bool v5 = link->version == PROTOCOL_5;
    struct fake_connect said = { .at_ms = test_now_ms(),
                                 .version = link->version,
                                 .keepalive_s = body[8] << 8 | body[9],
                                 .clean = (body[7] & 2) != 0,
                                 .expiry_s = v5 ? parse_expiry(body + 11, body[10]) : 0 };
    uint8_t reason = script->no_retain && (body[7] & 0x20) ? 0x9a : script->connack;
    bool refused = reason != 0 || (script->only_311 && v5);
    pthread_mutex_lock(&broker->lock);
    broker->said[atomic_load(&broker->connects) % FAKE_CONNECTS_KEPT] = said;
    if (!refused && (said.clean || script->forgets)) {
        fake_broker_forget(broker);
    }
    bool present = broker->present && !refused;
    broker->present |= !refused && !script->silent;
    pthread_mutex_unlock(&broker->lock);
    atomic_fetch_add(&broker->connects, 1);
    if (script->greeting.size > 0) {
        put(link, script->greeting.at, script->greeting.size);
    } else if (script->only_311 && v5) {
        put(link, (const uint8_t[]){ CONNACK, 2, 0, 1 }, 4);
        return OVER;
    } else {
        uint8_t properties = v5 ? (uint8_t)script->properties.size : 0;
        const uint8_t head[] = { CONNACK, (uint8_t)(v5 ? 3 + properties : 2), present, reason, properties };
        put(link, head, v5 ? 5 : 4);
        put(link, script->properties.at, properties);
    }
    put(link, script->extra.at, script->extra.size);
    return refused ? OVER : 0;
}

/* Writes the filters down, and confirms them. */
static void on_subscribe(struct fake_link *link, bool over, const uint8_t *body, size_t size)
{
    struct fake_broker *broker = link->broker;
    const struct fake_script *script = &link->script;
    bool v5 = link->version == PROTOCOL_5;
    uint8_t answer[128 + 5] = { over ? 0xb0 : 0x90, 0, body[0], body[1], 0 };
    size_t used = v5 ? 5 : 4;
    size_t at = v5 ? (size_t)3 + body[2] : 2;
    while (at + 2 <= size && used < sizeof answer) {
        size_t length = (size_t)(body[at] << 8 | body[at + 1]);
        pthread_mutex_lock(&broker->lock);
        if (broker->filter_count < FAKE_FILTERS_KEPT) {
            snprintf(broker->filters[broker->filter_count++], sizeof broker->filters[0], "%c%.*s",
                     over ? '-' : '+', (int)length, (const char *)body + at + 2);
        }
        pthread_mutex_unlock(&broker->lock);
        at += 2 + length + (over ? 0 : 1);
        if (!over || v5) {
            answer[used++] = over ? 0 : script->suback ? script->suback : 1;
        }
    }
    used -= !over && script->suback_short;
    answer[1] = (uint8_t)(used - 2);
    put(link, answer, used);
}

/* Returns 0, or OVER when the link is to be closed after what waits has gone. */
static size_t on_packet(struct fake_link *link, const uint8_t *packet, const uint8_t *body, size_t size)
{
    struct fake_broker *broker = link->broker;
    switch (packet[0] & 0xf0) {
    case 0x10:
        return on_connect(link, body);
    case PUBLISH:
        on_publish(link, packet[0] & 0xf, body, size);
        if (link->script.farewell && link->messages == link->script.farewell_after) {
            put(link, (const uint8_t[]){ 0xe0, 2, link->script.farewell, 0 }, 4);
            return OVER;
        }
        return 0;
    case 0x80:
    case 0xa0:
        on_subscribe(link, (packet[0] & 0xf0) == 0xa0, body, size);
        return 0;
    case PUBREC: /* to one of ours that was not asked for */
        return 0;
    case PUBREL:
        if (!link->script.unreleased) {
            on_pubrel(link, body);
        }
        return 0;
    case 0xc0:
        atomic_fetch_add(&broker->pings, 1);
        if (!link->script.unpinged) {
            put(link, (const uint8_t[]){ 0xd0, 0 }, 2);
        }
        return 0;
    case 0xe0:
        atomic_fetch_add(&broker->farewells, 1);
        return OVER;
    default:
        return 0;
    }
}

/* The size of the packet at the beginning of bytes, or 0 when it is not all there; *head: of its header. */
static size_t whole(const uint8_t *bytes, size_t size, size_t *head)
{
    size_t length = 0;
    for (size_t at = 1; at < size && at <= 4; at++) {
        length |= (size_t)(bytes[at] & 0x7f) << (7 * (at - 1));
        if (!(bytes[at] & 0x80)) {
            *head = at + 1;
            return at + 1 + length <= size ? at + 1 + length : 0;
        }
    }
    return 0;
}

static bool link_read(struct fake_link *link)
{
    size_t room = IN_BYTES - link->in_size;
    size_t until_cut = link->script.cut_in ? link->script.cut_in - link->came : SIZE_MAX;
    ssize_t got = recv(link->fd, link->in + link->in_size, room < until_cut ? room : until_cut, MSG_DONTWAIT);
    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    link->in_size += (size_t)got;
    link->came += (size_t)got;
    size_t used = 0;
    size_t head = 0;
    size_t over = 0;
    size_t size;
    while (!over && (size = whole(link->in + used, link->in_size - used, &head)) > 0) {
        over = on_packet(link, link->in + used, link->in + used + head, size - head);
        used += size;
    }
    memmove(link->in, link->in + used, link->in_size - used);
    link->in_size -= used;
    if (link->script.acks == FAKE_ACKS_BACKWARDS) {
        fake_link_release(link, true);
    }
    if (over) {
        ssize_t sent = send(link->fd, link->out, link->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent;
        link->polite = true;
    }
    return !over && (!link->script.cut_in || link->came < link->script.cut_in);
}

static bool link_write(struct fake_link *link)
{
    size_t until_cut = link->script.cut_out ? link->script.cut_out - link->went : SIZE_MAX;
    size_t size = link->out_size < until_cut ? link->out_size : until_cut;
    ssize_t sent = send(link->fd, link->out, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        return errno == EAGAIN;
    }
    memmove(link->out, link->out + sent, link->out_size - (size_t)sent);
    link->out_size -= (size_t)sent;
    link->went += (size_t)sent;
    return !link->script.cut_out || link->went < link->script.cut_out;
}

short fake_link_wants(const struct fake_link *link)
{
    bool deaf = link->script.deaf || (link->script.deaf_later && link->version > 0);
    bool full = link->out_size > OUT_BYTES / 2;
    bool speaks = link->out_size > 0 || (link->script.endless && link->version > 0);
    return (short)((deaf || full ? 0 : POLLIN) | (speaks ? POLLOUT : 0));
}

void fake_link_serve(struct fake_link *link, short revents)
{
    bool open = !(revents & (POLLERR | POLLNVAL));
    if (open && (revents & POLLIN)) {
        open = link_read(link);
    }
    if (open && link->version > 0 && link->script.endless && link->out_size < OUT_BYTES / 2) {
        for (int i = 0; i < 1000; i++) {
            put(link, link->script.extra.at, link->script.extra.size);
        }
    }
    if (open && link->out_size > 0) {
        open = link_write(link);
    }
    if (!open) {
        fake_link_close(link);
    }
}
