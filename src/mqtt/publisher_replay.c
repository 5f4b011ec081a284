#include "publisher_parts.h"

#include "fieldgate/clock.h"

#include <string.h>

/* What is acknowledged is noted at once when it is a quarter of a window, else after a second; its rows are
 * removed when there are many, else after ten seconds. */
#define NOTE_SHARE  4
#define NOTE_NS     FG_NS_PER_S
#define REMOVE_MOST 2000
#define REMOVE_NS   (10 * FG_NS_PER_S)

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
    int64_t now_ns = fg_clock_now_ns();
    if (keep->done_count++ == 0) {
        keep->done_ns = now_ns;
    }
    if (keep->undone_count++ == 0) {
        keep->undone_ns = now_ns;
    }
}

size_t fg_keep_undone(const struct fg_publisher *publisher)
{
    const struct fg_keep *keep = &publisher->keep;
    /* While the disk does not let them be removed the broker is not kept waiting for it. */
    return fg_keep_is_open(keep) && keep->remove_ns == 0 ? keep->undone_count : 0;
}

static int64_t note_due_ns(const struct fg_publisher *publisher)
{
    const struct fg_keep *keep = &publisher->keep;
    if (keep->undone_count == 0) {
        return INT64_MAX;
    }
    bool many = NOTE_SHARE * keep->undone_count >= publisher->session->max_inflight;
    return many ? 0 : keep->undone_ns + NOTE_NS;
}

static int64_t removal_due_ns(const struct fg_keep *keep)
{
    if (keep->done_count == 0) {
        return INT64_MAX;
    }
    return keep->done_count >= REMOVE_MOST || 2 * keep->done_ranges >= keep->done_capacity
               ? 0
               : keep->done_ns + REMOVE_NS;
}

int64_t fg_keep_remove_due_ns(const struct fg_publisher *publisher)
{
    const struct fg_keep *keep = &publisher->keep;
    int64_t due_ns = fg_sooner(note_due_ns(publisher), removal_due_ns(keep));
    return due_ns > keep->remove_ns ? due_ns : keep->remove_ns;
}

static void note_oldest(int64_t *oldest, const struct fg_message *message)
{
    if (message && message->spool_id > 0 && message->spool_id < *oldest) {
        *oldest = message->spool_id;
    }
}

/* The last id before the oldest message that is in memory and on the disk. */
static int64_t done_through(const struct fg_publisher *publisher)
{
    int64_t oldest = publisher->keep.last + 1;
    for (const struct fg_flight *flight = publisher->inflight.oldest; flight; flight = flight->newer) {
        note_oldest(&oldest, flight->message);
    }
    for (const struct fg_message *message = publisher->again.first; message; message = message->next) {
        note_oldest(&oldest, message);
    }
    /* Those that have an id are in its order, but one too large for the spool may stand before them. */
    const struct fg_message *taken = publisher->taken.first;
    while (taken && taken->spool_id == 0) {
        taken = taken->next;
    }
    note_oldest(&oldest, taken);
    return oldest - 1;
}

static int note_done(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    int64_t through = done_through(publisher);
    int error = fg_spool_done(keep->spool, through);
    if (error) {
        return error;
    }
    keep->undone_ns = fg_clock_now_ns();
    keep->undone_count = 0;
    for (size_t i = keep->done_ranges; i > 0 && keep->done[i - 1].last > through; i--) {
        int64_t first = keep->done[i - 1].first > through ? keep->done[i - 1].first : through + 1;
        keep->undone_count += (size_t)(keep->done[i - 1].last - first + 1);
    }
    return 0;
}

/* Whether the note leaves so many behind that only a removal makes room in the window. */
static bool is_stuck(const struct fg_publisher *publisher)
{
    return 2 * publisher->keep.undone_count >= publisher->session->max_inflight;
}

int fg_keep_remove(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    int64_t now_ns = fg_clock_now_ns();
    int error = note_due_ns(publisher) <= now_ns ? note_done(publisher) : 0;
    if (!error && removal_due_ns(keep) > now_ns && !is_stuck(publisher)) {
        return 0;
    }
    return fg_keep_remove_all(publisher);
}

int fg_keep_remove_all(struct fg_publisher *publisher)
{
    struct fg_keep *keep = &publisher->keep;
    int error = fg_spool_remove(keep->spool, keep->done, keep->done_ranges);
    if (!error) {
        keep->done_ranges = keep->done_count = keep->undone_count = 0;
        keep->save_ns = 0;
    }
    return error;
}
