/*
 * Other settings for a publisher that is at work: another connection, with all that waits as it was. By the
 * publisher's thread, which holds turn.
 *
 * First the old broker is told what there is to tell of devices, and acknowledges what it was handed, both
 * for a bounded time. Then the connection is broken off, so that the broker publishes the Will; what was not
 * acknowledged is handed over anew on the new connection, before all else.
 */
#ifndef FIELDGATE_MQTT_PUBLISHER_CHANGE_H
#define FIELDGATE_MQTT_PUBLISHER_CHANGE_H

#include "publisher_parts.h"

/* What is made beforehand, where it can fail; afterwards, what was in use until then. */
struct fg_publisher_change {
    const struct fg_mqtt_settings *settings;
    size_t queue_bytes;
    int64_t linger_ns;
    struct fg_session *session;
    struct fg_inflight inflight;
    struct fg_spool_range *done; /* room for what the spool is done with */
    size_t done_capacity;
    char *topics[FG_TOPIC_COUNT];
    int64_t deadline_ns; /* of the good-bye; 0: it has not begun */
    void (*applied)(void *context);
    void *context;
};

/* Takes a change further, when there is one. Returns until when it waits at most; INT64_MAX: there is none.
 */
int64_t fg_change_step(struct fg_publisher *publisher, int64_t now_ns);

/* Whether there is one that has not been looked at. */
bool fg_change_is_news(struct fg_publisher *publisher);

#endif
