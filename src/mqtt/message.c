#include "fieldgate/message.h"

#include <stdlib.h>
#include <string.h>

size_t fg_message_bytes(const struct fg_message *message)
{
    return sizeof *message + message->topic_length + 1u + message->payload_size;
}

struct fg_message *fg_message_new(struct fg_origin *origin, const char *topic, size_t topic_length,
                                  const void *payload, size_t payload_size)
{
    if (topic_length > UINT16_MAX || payload_size > INT32_MAX) {
        return NULL;
    }
    struct fg_message *message = malloc(sizeof *message + topic_length + 1 + payload_size);
    if (!message) {
        return NULL;
    }
    *message = (struct fg_message){
        .origin = fg_origin_ref(origin),
        .payload_size = (uint32_t)payload_size,
        .topic_length = (uint16_t)topic_length,
    };
    memcpy(message->data, topic, topic_length);
    message->data[topic_length] = '\0';
    if (payload_size > 0) {
        memcpy(message->data + topic_length + 1, payload, payload_size);
    }
    return message;
}

void fg_message_free(struct fg_message *message)
{
    if (message) {
        fg_origin_unref(message->origin);
        free(message);
    }
}

void fg_message_free_all(struct fg_message *first)
{
    while (first) {
        struct fg_message *next = first->next;
        fg_message_free(first);
        first = next;
    }
}
