#include "support/arrivals.h"

#include "support/load.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define STATE "/state"

/* Whether the level of the topic before "/state" is the connection's device. */
static bool topic_belongs(const char *topic, size_t size, unsigned connection)
{
    char ending[32];
    size_t length = (size_t)snprintf(ending, sizeof ending, "/d%03u" STATE, connection);
    return size >= length && memcmp(topic + size - length, ending, length) == 0;
}

static bool count(void *context, const char *topic, size_t topic_size, const char *payload, size_t size)
{
    struct arrivals *arrivals = context;
    unsigned connection;
    unsigned number;
    if (topic_size < strlen(STATE) || memcmp(topic + topic_size - strlen(STATE), STATE, strlen(STATE)) != 0) {
        return false;
    }
    if (!load_line_read(payload, (unsigned)size, &connection, &number) ||
        connection >= ARRIVALS_CONNECTIONS || !topic_belongs(topic, topic_size, connection)) {
        arrivals->foreign++;
    } else if (number < arrivals->next[connection]) {
        arrivals->again++;
    } else {
        arrivals->missing += number - arrivals->next[connection];
        arrivals->next[connection] = number + 1;
        arrivals->total++;
    }
    return true;
}

void arrivals_watch(struct arrivals *arrivals, struct subscriber *subscriber)
{
    subscriber->handle = count;
    subscriber->context = arrivals;
}

static bool are_there(void *context)
{
    const struct arrivals *arrivals = context;
    return arrivals->total >= arrivals->awaited;
}

void arrivals_wait(struct arrivals *arrivals, struct subscriber *subscriber, unsigned total, int64_t ms)
{
    arrivals->awaited = total;
    if (!subscriber_read_until(subscriber, are_there, arrivals, ms)) {
        fail_msg("%u of %u readings arrived, %u again, %u missing, %u foreign", arrivals->total, total,
                 arrivals->again, arrivals->missing, arrivals->foreign);
    }
}
