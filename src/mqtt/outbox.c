#include "outbox.h"

#include <errno.h>

void fg_outbox_init(struct fg_outbox *outbox, size_t limit)
{
    *outbox = (struct fg_outbox){ .limit = limit };
    outbox->tail = &outbox->head;
    atomic_init(&outbox->full, false);
}

void fg_outbox_fini(struct fg_outbox *outbox)
{
    fg_message_free_all(outbox->head);
    outbox->head = NULL;
    outbox->tail = &outbox->head;
    outbox->waiting = 0;
}

/* What a chain comes to. */
struct extent {
    struct fg_message *last;
    size_t count, bytes;
};

static struct extent measure(struct fg_message *first)
{
    struct extent extent = { 0 };
    for (struct fg_message *message = first; message; message = message->next) {
        extent.bytes += fg_message_bytes(message);
        extent.count++;
        extent.last = message;
    }
    return extent;
}

static void append(struct fg_outbox *outbox, struct fg_message *first, const struct extent *extent)
{
    if (extent->last) {
        *outbox->tail = first;
        outbox->tail = &extent->last->next;
        outbox->waiting += extent->count;
        outbox->offered += extent->count;
        outbox->bytes += extent->bytes;
    }
}

int fg_outbox_append(struct fg_outbox *outbox, struct fg_message *first)
{
    struct extent extent = measure(first);
    if (extent.bytes > outbox->limit) {
        return -EMSGSIZE;
    }
    if (outbox->bytes > outbox->limit || extent.bytes > outbox->limit - outbox->bytes) {
        if (extent.bytes > outbox->refused_bytes) {
            outbox->refused_bytes = extent.bytes;
        }
        atomic_store_explicit(&outbox->full, true, memory_order_release);
        return -ENOBUFS;
    }
    append(outbox, first, &extent);
    return 0;
}

int fg_outbox_append_last(struct fg_outbox *outbox, struct fg_message *first)
{
    struct extent extent = measure(first);
    size_t more = outbox->limit > FG_OUTBOX_LAST_BYTES ? outbox->limit : FG_OUTBOX_LAST_BYTES;
    if (outbox->bytes + extent.bytes > outbox->limit + more) {
        return -ENOBUFS;
    }
    append(outbox, first, &extent);
    return 0;
}

void fg_outbox_set_limit(struct fg_outbox *outbox, size_t limit)
{
    outbox->limit = limit;
}

struct fg_message *fg_outbox_take(struct fg_outbox *outbox, size_t count)
{
    struct fg_message *first = outbox->head;
    struct fg_message **link = &outbox->head;
    size_t taken = 0;
    while (*link && taken < count) {
        link = &(*link)->next;
        taken++;
    }
    if (taken == 0) {
        return NULL;
    }
    outbox->head = *link;
    *link = NULL;
    if (!outbox->head) {
        outbox->tail = &outbox->head;
    }
    outbox->waiting -= taken;
    outbox->held += taken;
    return first;
}

void fg_outbox_release(struct fg_outbox *outbox, size_t count, size_t bytes)
{
    outbox->held -= count;
    outbox->bytes -= bytes;
}

bool fg_outbox_reopen(struct fg_outbox *outbox)
{
    if (!fg_outbox_full(outbox)) {
        return false;
    }
    size_t free_bytes = outbox->limit - outbox->bytes;
    if (outbox->bytes > 0 && (outbox->bytes >= outbox->limit / 4 * 3 || outbox->refused_bytes > free_bytes)) {
        return false;
    }
    outbox->refused_bytes = 0;
    atomic_store_explicit(&outbox->full, false, memory_order_release);
    return true;
}

bool fg_outbox_full(const struct fg_outbox *outbox)
{
    return atomic_load_explicit(&outbox->full, memory_order_acquire);
}
