#include "publisher_parts.h"

#include "fieldgate/clock.h"

#include <string.h>

/* How long what is acknowledged may stay on the disk. With half a window it is removed at once. */
#define REMOVE_NS (10 * FG_NS_PER_S)

/* Messages that are read back at a time, and what they and those before may take up of queue_bytes. */
#define READ_MOST  1000
#define READ_SHARE 4

/* What may come at once where replay_rate sets the pace. */
#define REPLAY_BURST_NS (100 * FG_NS_PER_MS)

static size_t allowance(struct fg_keep *keep, int64_t now_ns)
{
    int64_t rate = keep->settings->replay_rate;
    if (rate == 0) {
        return SIZE_MAX;
    }
    if (keep->replay_ns < now_ns - REPLAY_BURST_NS) {
        keep->replay_ns = now_ns - REPLAY_BURST_NS;
    }
    return (size_t)((now_ns - keep->replay_ns) / (FG_NS_PER_S / rate));
}

static bool wants_more(const struct fg_publisher *publisher)
{
    const struct fg_keep *keep = &publisher->keep;
    return keep->backlog && publisher->phase == FG_RUNNING && !publisher->taken.first &&
           !publisher->again.first && fg_flow_slots(publisher) > 0 &&
           (keep->read_bytes == 0 || keep->read_bytes < publisher->outbox.limit / READ_SHARE);
}

int64_t fg_keep_read_due_ns(const struct fg_publisher *publisher, int64_t now_ns)
{
    int64_t rate = publisher->keep.settings->replay_rate;
    if (!wants_more(publisher)) {
        return INT64_MAX;
    }
    return rate > 0 ? publisher->keep.replay_ns + FG_NS_PER_S / rate : now_ns;
}

int fg_keep_read(struct fg_publisher *publisher, int64_t now_ns)
{
    struct fg_keep *keep = &publisher->keep;
    size_t count = allowance(keep, now_ns);
    if (count == 0) {
        return 0;
    }
    struct fg_message *first = NULL;
    int error = fg_spool_read(keep->spool, keep->last, count < READ_MOST ? count : READ_MOST,
                              publisher->outbox.limit / READ_SHARE, &first);
    if (error) {
        return error;
    }
    keep->backlog = first != NULL;
    while (first) {
        struct fg_message *next = first->next;
        first->read_back = true;
        keep->last = first->spool_id;
        keep->read_bytes += fg_message_bytes(first);
        keep->replay_ns += keep->settings->replay_rate > 0 ? FG_NS_PER_S / keep->settings->replay_rate : 0;
        fg_chain_put(&publisher->taken, first);
        first = next;
    }
    if (!keep->backlog) {
        fg_keep_forget_origins(keep);
    }
    fg_spool_hold(keep->spool, keep->last);
    return 0;
}

/* --- what is done with --- */

void fg_keep_forget(struct fg_publisher *publisher, const struct fg_message *message)
{
    struct fg_keep *keep = &publisher->keep;
    int64_t id = message->spool_id;
    if (message->read_back) {
        keep->read_bytes -= fg_message_bytes(message);
    }
    if (id == 0 || keep->done_ranges == keep->done_capacity) {
        return;
    }
    size_t at = keep->done_ranges;
    while (at > 0 && keep->done[at - 1].first > id) {
        at--;
    }
    bool behind = at > 0 && keep->done[at - 1].last + 1 == id;
    bool before = at < keep->done_ranges && keep->done[at].first == id + 1;
    if (behind && before) {
        keep->done[at - 1].last = keep->done[at].last;
        keep->done_ranges--;
        memmove(&keep->done[at], &keep->done[at + 1], (keep->done_ranges - at) * sizeof *keep->done);
    } else if (behind) {
        keep->done[at - 1].last = id;
    } else if (before) {
        keep->done[at].first = id;
    } else {
        memmove(&keep->done[at + 1], &keep->done[at], (keep->done_ranges - at) * sizeof *keep->done);
        keep->done[at] = (struct fg_spool_range){ id, id };
        keep->done_ranges++;
    }
    if (keep->done_count++ == 0) {
        keep->done_ns = fg_clock_now_ns();
    }
}

size_t fg_keep_undone(const struct fg_publisher *publisher)
{
    const struct fg_keep *keep = &publisher->keep;
    /* While the disk does not let them be removed the broker is not kept waiting for it. */
    return fg_keep_is_open(keep) && keep->remove_ns == 0 ? keep->done_count : 0;
}

int64_t fg_keep_remove_due_ns(const struct fg_publisher *publisher)
{
    const struct fg_keep *keep = &publisher->keep;
    if (keep->done_count == 0) {
        return INT64_MAX;
    }
    int64_t due_ns = 2 * keep->done_count >= publisher->session->max_inflight ? 0 : keep->done_ns + REMOVE_NS;
    return due_ns > keep->remove_ns ? due_ns : keep->remove_ns;
}

int fg_keep_remove(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    int error = fg_spool_remove(keep->spool, keep->done, keep->done_ranges);
    if (!error) {
        keep->done_ranges = keep->done_count = 0;
        keep->save_ns = 0;
    }
    return error;
}
