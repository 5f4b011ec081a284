/*
 * Messages, and how readings become messages.
 */
#ifndef FIELDGATE_MESSAGE_H
#define FIELDGATE_MESSAGE_H

#include "fieldgate/origin.h"
#include "fieldgate/topic.h"
#include "fieldgate/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A topic and a payload on their way to the broker: one allocation. Owned by whoever holds it. */
struct fg_message {
    struct fg_message *next;
    struct fg_origin *origin; /* a reference */
    int64_t taken_ns;
    int64_t wall_ms;
    int64_t offered_ns; /* when the publisher took it */
    int64_t spool_id;   /* what the spool holds it as; 0: it is not in the spool */
    uint32_t payload_size;
    uint16_t topic_length; /* without the NUL that follows the topic */
    uint8_t qos;
    bool retain;
    /* wall_ms was taken from a clock that had not been set. */
    bool unsynchronised;
    /* taken_ns was taken before the board was started anew: it does not compare with the clock of now. */
    bool earlier_boot;
    /* The payload begins with {"ts":wall_ms as fg_outlet_render makes it. */
    bool stamped;
    /* Read back from the spool: it does not count in the outbox. */
    bool read_back;
    char data[]; /* topic, NUL, payload */
};

static inline const char *fg_message_topic(const struct fg_message *message)
{
    return message->data;
}

static inline const void *fg_message_payload(const struct fg_message *message)
{
    return message->data + message->topic_length + 1;
}

/* What a message counts for against queue_bytes: its allocation. */
size_t fg_message_bytes(const struct fg_message *message);

/* Copies topic and payload; takes a reference of origin. NULL without memory or past 65535 bytes of topic. */
struct fg_message *fg_message_new(struct fg_origin *origin, const char *topic, size_t topic_length,
                                  const void *payload, size_t payload_size);
void fg_message_free(struct fg_message *message);
void fg_message_free_all(struct fg_message *first);

/* Payload kinds, in the order of fg_payload_names (NULL at the end). */
enum fg_payload { FG_PAYLOAD_JSON, FG_PAYLOAD_RAW, FG_PAYLOAD_POINTS };
extern const char *const fg_payload_names[];

/* How one device's readings become messages. */
struct fg_outlet {
    struct fg_origin *origin;
    const struct fg_topic *topic;       /* for json and raw */
    const struct fg_topic *point_topic; /* for points: the template less "/state", plus "/{point}" */
    enum fg_payload payload;
    uint8_t qos;
    bool retain;
};

/*
 * Renders a reading: one message, or for "points" one a field in their order (NULL values as "null"; texts as
 * they are). json: {"ts":…,name:value,…}; a field that is itself called "ts" is told as "ts_device". Returns
 * 0 and the chain *first (at least one); -EMSGSIZE; -ENOMEM; -EINVAL when there is nothing to tell (points
 * without fields, raw without a frame). Any thread.
 */
int fg_outlet_render(const struct fg_outlet *outlet, const struct fg_reading *reading,
                     struct fg_message **first);

/*
 * The payload of a stamped message with another time, and with "ts_quality":"unsynchronised" behind it when
 * that is not to be trusted either. Returns 0, or -ENOMEM; *payload is the caller's to free.
 */
int fg_message_restamp(const struct fg_message *message, int64_t wall_ms, bool unsynchronised, char **payload,
                       size_t *size);

#endif
