#include "fieldgate/origin.h"

#include <stdlib.h>
#include <string.h>

struct fg_origin *fg_origin_new(const char *port, const char *device)
{
    size_t port_size = strlen(port) + 1;
    size_t device_size = strlen(device) + 1;
    struct fg_origin *origin = calloc(1, sizeof *origin + port_size + device_size);
    if (!origin) {
        return NULL;
    }
    atomic_init(&origin->references, 1);
    char *names = (char *)(origin + 1);
    origin->port = memcpy(names, port, port_size);
    origin->device = memcpy(names + port_size, device, device_size);
    return origin;
}

struct fg_origin *fg_origin_ref(struct fg_origin *origin)
{
    atomic_fetch_add_explicit(&origin->references, 1, memory_order_relaxed);
    return origin;
}

void fg_origin_unref(struct fg_origin *origin)
{
    if (origin && atomic_fetch_sub_explicit(&origin->references, 1, memory_order_acq_rel) == 1) {
        free(origin);
    }
}
