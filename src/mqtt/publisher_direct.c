#include "publisher_direct.h"

#include "publisher_session.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* One write: small enough to stay in a small cache, large enough that its cost is shared by a hundred. */
#define BUFFER_BYTES ((size_t)16 * 1024)

/* MQTT 5.0, 2.1.1: packet type 3, QoS 0, neither DUP nor RETAIN. */
#define PUBLISH_QOS0 0x30

void fg_direct_fini(struct fg_direct *direct)
{
    free(direct->bytes);
    *direct = (struct fg_direct){ 0 };
}

void fg_direct_clear(struct fg_direct *direct)
{
    direct->begin = direct->end = direct->packet = 0;
}

/* MQTT 5.0, 1.5.5 */
static unsigned char *put_variable(unsigned char *at, size_t value)
{
    while (value >= 0x80) {
        *at++ = (unsigned char)((value & 0x7f) | 0x80);
        value >>= 7;
    }
    *at++ = (unsigned char)value;
    return at;
}

static unsigned char *put_bytes(unsigned char *at, const void *bytes, size_t size)
{
    if (size > 0) {
        memcpy(at, bytes, size);
    }
    return at + size;
}

/* The size of a packet that put made. */
static size_t packet_size(const unsigned char *packet)
{
    size_t remaining = 0;
    size_t at = 1;
    for (unsigned shift = 0;; shift += 7) {
        remaining |= (size_t)(packet[at] & 0x7f) << shift;
        if (!(packet[at++] & 0x80)) {
            return at + remaining;
        }
    }
}

static bool make_room(struct fg_direct *direct, size_t size)
{
    if (!direct->bytes) {
        direct->bytes = malloc(BUFFER_BYTES);
    }
    if (!direct->bytes) {
        return false;
    }
    if (BUFFER_BYTES - direct->end < size && direct->packet > 0) {
        memmove(direct->bytes, direct->bytes + direct->packet, direct->end - direct->packet);
        direct->begin -= direct->packet;
        direct->end -= direct->packet;
        direct->packet = 0;
    }
    return BUFFER_BYTES - direct->end >= size;
}

bool fg_direct_put(struct fg_direct *direct, const struct fg_publication *publication, bool v5)
{
    size_t remaining = 2 + publication->topic_length + (v5 ? 1 : 0) + publication->payload_size;
    size_t size = 1 + (size_t)(remaining < 0x80 ? 1 : remaining < 0x4000 ? 2 : 3) + remaining;
    if (publication->payload_size > BUFFER_BYTES || publication->topic_length > UINT16_MAX ||
        !make_room(direct, size)) {
        return false;
    }
    unsigned char *at = direct->bytes + direct->end;
    *at++ = PUBLISH_QOS0;
    at = put_variable(at, remaining);
    *at++ = (unsigned char)(publication->topic_length >> 8);
    *at++ = (unsigned char)(publication->topic_length & 0xff);
    at = put_bytes(at, publication->topic, publication->topic_length);
    if (v5) {
        *at++ = 0; /* the properties' length */
    }
    put_bytes(at, publication->payload, publication->payload_size);
    direct->end += size;
    return true;
}

int fg_direct_write(struct fg_direct *direct, int fd, size_t *packets)
{
    int error = 0;
    *packets = 0;
    while (direct->begin < direct->end && !error) {
        ssize_t written =
            send(fd, direct->bytes + direct->begin, direct->end - direct->begin, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written >= 0) {
            direct->begin += (size_t)written;
        } else if (errno != EINTR) {
            error = errno == EWOULDBLOCK ? -EAGAIN : -errno;
        }
    }
    while (direct->packet < direct->begin) {
        size_t size = packet_size(direct->bytes + direct->packet);
        if (direct->begin - direct->packet < size) {
            break;
        }
        direct->packet += size;
        ++*packets;
    }
    if (fg_direct_is_empty(direct)) {
        fg_direct_clear(direct);
    }
    return error;
}
