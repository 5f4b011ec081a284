/*
 * Names of hosts are looked up by one thread for the whole process, which is there while there are names to
 * look up: getaddrinfo blocks, for as long as the name servers like.
 */
#ifndef FIELDGATE_TRANSPORT_RESOLVER_H
#define FIELDGATE_TRANSPORT_RESOLVER_H

#include "fieldgate/event_model.h"

#include <stddef.h>
#include <stdint.h>

#define FG_LOOKUP_ADDRESSES 16

struct fg_lookup;

struct fg_lookup_result {
    int error; /* of getaddrinfo (EAI_...), 0: found */
    size_t count;
    union fg_address addresses[FG_LOOKUP_ADDRESSES];
};

/*
 * Starts to look up a host. found is called on the strand, once, never from inside this call; the result is
 * valid until it returns. Returns 0 and *lookup; -ENOMEM; -EAGAIN when too many wait, or no thread can be
 * had. On the strand; does not block.
 */
int fg_lookup_start(const char *host, uint16_t port, struct fg_strand *strand,
                    void (*found)(void *context, const struct fg_lookup_result *result), void *context,
                    struct fg_lookup **lookup);

/* Gives up a look-up whose found has not been called: it will not be. On the strand, also with NULL before
 * the strand closes; does not wait for the look-up. */
void fg_lookup_cancel(struct fg_lookup *lookup);

#endif
