/*
 * One connection of the fake broker: what it reads, and what it says. On the fake broker's thread.
 */
#ifndef FIELDGATE_TEST_FAKE_LINK_H
#define FIELDGATE_TEST_FAKE_LINK_H

#include "support/fake_broker.h"

struct fake_link {
    int fd; /* -1: none */
    struct fake_script script;
    struct fake_broker *broker;
    int version; /* 0 before CONNECT */
    bool polite; /* what was said is to arrive before the end */
    int messages;
    unsigned acks;
    uint8_t *in, *out;
    size_t in_size, out_size;
    size_t came, went;
    uint8_t held[4096]; /* late or backward acknowledgements: their kind */
    uint16_t held_ids[4096];
    size_t held_count;
};

/* Zeroed, with fd, broker and script set. */
void fake_link_open(struct fake_link *link);
void fake_link_close(struct fake_link *link);

/* The events to poll for, and what to do about them; it may be closed afterwards. */
short fake_link_wants(const struct fake_link *link);
void fake_link_serve(struct fake_link *link, short revents);

/* Sends the acknowledgements that are held back. */
void fake_link_release(struct fake_link *link, bool backwards);

/* The session; with the broker's lock held. */
void fake_broker_forget(struct fake_broker *broker);

/* Sends these bytes, once it has said who it is. */
void fake_link_say(struct fake_link *link, const void *bytes, size_t size);

#endif
