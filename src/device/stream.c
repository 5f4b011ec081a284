/*
 * Ports whose devices speak of themselves: what comes on a link becomes frames, and these readings.
 */
#include "stream.h"

#include "fieldgate/clock.h"
#include "fieldgate/decoder.h"
#include "fieldgate/log.h"
#include "fieldgate/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A frame that the sink had no room for; or, with a mark, nothing: what was offered is to be saved first. */
struct refused {
    int64_t received_ns;
    uint64_t mark;
    struct fg_buffer frame;
};

static const union fg_address nobody;

struct gap {
    struct fg_timer timer;
    struct fg_stream_link *owner;
    int64_t received_ns;
    struct fg_task burial; /* of owner */
};

/* A device that is not taken, by its name. */
static void reject_device(struct fg_port *port, enum fg_reason reason, const char *identity, size_t length)
{
    fg_port_count_rejected(port, NULL, reason, 1);
    fg_log_limited(&port->reject_limits[reason], FG_LOG_WARNING, port->settings->name, NULL,
                   "device \"%.*s\" rejected: %s", (int)length, identity,
                   reason == FG_REASON_UNKNOWN_DEVICE
                       ? "it is not under devices, and allow_unknown is false"
                       : "there are as many as max_devices allows, or no memory for one more");
}

/* The identity of a frame's device as text; number keeps the room of a number's text. */
static enum fg_reason identify(const struct fg_stream_link *state, const struct fg_record *record,
                               const union fg_address *from, char number[FG_ADDRESS_TEXT],
                               const char **identity, size_t *length)
{
    const struct fg_port *port = state->port;
    if (port->by_peer) {
        *length = from ? fg_address_text(from, number) : 0;
        *identity = number;
    } else {
        const struct fg_field *field = fg_record_find(record, port->identity_key, port->identity_key_length);
        if (!field) {
            return FG_REASON_NO_IDENTITY;
        }
        struct fg_buffer text;
        fg_buffer_init(&text, FG_ADDRESS_TEXT);
        if (field->value.text.length > 0) {
            *identity = field->value.text.bytes;
            *length = field->value.text.length;
        } else if (field->value.kind != FG_VALUE_NULL && fg_json_put_value(&text, &field->value) == 0) {
            memcpy(number, text.bytes, text.size);
            *identity = number;
            *length = text.size;
        }
        fg_buffer_fini(&text);
        if (*length == 0 || *length > FG_NAME_MAX) {
            return FG_REASON_NO_IDENTITY;
        }
        return FG_REASON_NONE;
    }
    if (*length == 0) { /* a peer without an address */
        *identity = port->settings->name;
        *length = strlen(*identity);
    }
    return FG_REASON_NONE;
}

/* Whose the frame is. NULL: nobody's, which is counted. */
static struct fg_device *device_of(struct fg_stream_link *state, const struct fg_record *record,
                                   const union fg_address *from)
{
    if (state->port->only) {
        return state->port->only;
    }
    char number[FG_ADDRESS_TEXT];
    const char *identity = NULL;
    size_t length = 0;
    enum fg_reason reason = identify(state, record, from, number, &identity, &length);
    if (reason != FG_REASON_NONE) {
        fg_port_reject(state->port, NULL, reason, 1);
        return NULL;
    }
    struct fg_device *last = state->device;
    if (last && last->identity_length == length && memcmp(last->identity, identity, length) == 0) {
        return last;
    }
    struct fg_device *found = fg_device_find(state->port, identity, length, &reason);
    if (found) {
        state->several = state->several || (last && last != found);
        state->device = found;
    } else {
        reject_device(state->port, reason, identity, length);
    }
    return found;
}

/* The device's own time, taken out of the record. False when it should be there and is not. */
static bool take_time(const struct fg_device *device, struct fg_record *record, struct fg_reading *reading)
{
    const char *key = device->settings->time_key;
    if (!key[0]) {
        return true;
    }
    const struct fg_field *field = fg_record_find(record, key, strlen(key));
    bool good = field && fg_time_parse(&field->value, &reading->wall_ms) == 0;
    reading->unsynchronised &= !good;
    fg_record_remove(record, key, strlen(key));
    return good;
}

/* A frame may be what a command waits for. Where the device is known before, also one that says nothing to
 * the decoder. */
static void offer_answer(struct fg_stream_link *state, const struct fg_device *device,
                         const struct fg_frame *frame, int64_t received_ns)
{
    struct fg_sender *sender = atomic_load(&state->sender);
    if (sender) {
        fg_sender_take_frame(sender, device, frame, received_ns);
    }
}

/* One frame. Returns 0, or -ENOBUFS when the sink has no room: then nothing was counted. */
static int take_frame(struct fg_stream_link *state, const struct fg_frame *frame, int64_t received_ns,
                      const union fg_address *from)
{
    struct fg_port *port = state->port;
    const struct fg_chosen *decoder = &port->settings->decoder;
    struct fg_record record;
    if (port->only) {
        offer_answer(state, port->only, frame, received_ns);
    }
    enum fg_reason reason = fg_decode(decoder->variant ? decoder->variant : &fg_decoder_raw.variant,
                                      decoder->settings, frame->bytes, frame->size, &record);
    if (reason != FG_REASON_NONE) {
        fg_count(&port->received, 1);
        fg_port_reject(port, port->only, reason, 1);
        return 0;
    }
    struct fg_device *device = device_of(state, &record, from);
    if (!device) {
        fg_count(&port->received, 1);
        return 0;
    }
    if (!port->only) {
        offer_answer(state, device, frame, received_ns);
    }
    struct fg_reading reading = { .taken_ns = received_ns,
                                  .wall_ms = fg_clock_wall_at_ms(received_ns),
                                  .frame = frame->bytes,
                                  .frame_size = frame->size };
    reading.unsynchronised = !fg_clock_was_set(reading.wall_ms);
    bool good_time = take_time(device, &record, &reading);
    reading.fields = record.fields;
    reading.count = record.count;
    const struct fg_way way = { .link = state,
                                .sender = fg_transport_is_datagram(&port->settings->transport) ? from : NULL,
                                .can_wait = fg_link_can_wait(state->link) };
    if (fg_device_take(device, &reading, &way) == -ENOBUFS) {
        state->device = device; /* whoever keeps the frame wants to know */
        return -ENOBUFS;
    }
    if (!good_time) {
        fg_port_reject(port, device, FG_REASON_BAD_TIME, 1);
    }
    fg_count(&port->received, 1);
    return 0;
}

/* Keeps a refused frame and stops reading until there is room. */
static void keep_refused(struct fg_stream_link *state, const struct fg_frame *frame, int64_t received_ns)
{
    struct fg_port *port = state->port;
    struct refused *refused = calloc(1, sizeof *refused);
    if (refused) {
        fg_buffer_init(&refused->frame, FG_TURN_BYTES * 32);
    }
    if (!refused || fg_buffer_append(&refused->frame, frame->bytes, frame->size)) {
        free(refused);
        fg_log_limited(&port->reject_limits[0], FG_LOG_ERROR, port->settings->name, NULL,
                       "no memory to keep a reading while the queue is full: it is lost");
        fg_device_lose(state->device, FG_LOSS_NO_MEMORY, fg_clock_wall_at_ms(received_ns));
        fg_count(&port->received, 1);
        return;
    }
    refused->received_ns = received_ns;
    state->refused = refused;
    atomic_fetch_add(&port->waiting, 1);
    fg_link_pause(state->link);
}

static void free_refused(struct fg_stream_link *state)
{
    if (state->refused) {
        fg_buffer_fini(&state->refused->frame);
        free(state->refused);
        state->refused = NULL;
    }
}

static void end_waiting(struct fg_stream_link *state)
{
    free_refused(state);
    atomic_store(&state->port->waited_ns, fg_clock_now_ns());
    atomic_fetch_sub(&state->port->waiting, 1);
}

/* What was read counts when the sink has saved it, and only then is more read. False: not yet. */
static bool wait_until_saved(struct fg_stream_link *state)
{
    const struct fg_sink *sink = state->port->sink;
    if (sink->saved(sink->context, state->refused->mark)) {
        end_waiting(state);
        return true;
    }
    fg_link_pause(state->link);
    return false;
}

static void begin_waiting_until_saved(struct fg_stream_link *state)
{
    const struct fg_sink *sink = state->port->sink;
    uint64_t mark = sink->mark(sink->context);
    if (mark == 0 || sink->saved(sink->context, mark) || !fg_link_can_wait(state->link)) {
        return;
    }
    state->refused = calloc(1, sizeof *state->refused);
    if (state->refused) { /* without memory it is not waited for */
        state->refused->mark = mark;
        atomic_fetch_add(&state->port->waiting, 1);
        fg_link_pause(state->link);
    }
}

static bool offer_refused(struct fg_stream_link *state)
{
    const struct refused *refused = state->refused;
    if (!refused) {
        return true;
    }
    if (refused->mark > 0) {
        return wait_until_saved(state);
    }
    static const uint8_t nothing[1];
    struct fg_frame frame = { .bytes = refused->frame.size > 0 ? refused->frame.bytes : nothing,
                              .size = refused->frame.size };
    if (take_frame(state, &frame, refused->received_ns, state->peer) == -ENOBUFS) {
        fg_link_pause(state->link);
        return false;
    }
    end_waiting(state);
    return true;
}

/* Hands on what the framer says. False when the sink has no room: the frame is kept, and reading stops. */
static bool handle(struct fg_stream_link *state, enum fg_framing_result result, const struct fg_frame *frame,
                   enum fg_reason reason, int64_t received_ns, const union fg_address *from)
{
    if (result == FG_FRAMING_REJECT) {
        fg_count(&state->port->received, 1);
        fg_port_reject(state->port, state->port->only, reason, 1);
    } else if (result == FG_FRAMING_FRAME && take_frame(state, frame, received_ns, from) == -ENOBUFS) {
        keep_refused(state, frame, received_ns);
        return false;
    }
    return true;
}

static void take_datagram(struct fg_stream_link *state, const struct fg_packet *packet)
{
    struct fg_port *port = state->port;
    if (packet->truncated || packet->size == 0) {
        fg_count(&port->received, 1);
        fg_port_reject(port, NULL, packet->truncated ? FG_REASON_TRUNCATED : FG_REASON_EMPTY, 1);
        return;
    }
    struct fg_frame frame = { .bytes = packet->data, .size = packet->size };
    enum fg_reason reason = FG_REASON_NONE;
    if (!port->settings->framing.variant) {
        handle(state, FG_FRAMING_FRAME, &frame, reason, packet->received_ns, packet->from);
        return;
    }
    const uint8_t *input = packet->data;
    size_t size = packet->size;
    enum fg_framing_result result = FG_FRAMING_MORE;
    while ((result = fg_framer_next(&state->framer, &input, &size, &frame, &reason)) != FG_FRAMING_MORE) {
        handle(state, result, &frame, reason, packet->received_ns, packet->from);
    }
    result = fg_framer_end(&state->framer, FG_FRAMING_DATAGRAM, &frame, &reason);
    handle(state, result, &frame, reason, packet->received_ns, packet->from);
}

static size_t on_received(void *context, const struct fg_packet *packet)
{
    struct fg_stream_link *state = context;
    if (packet->datagram) {
        take_datagram(state, packet);
        return packet->size;
    }
    if (packet->from) {
        state->peer = packet->from;
    }
    const uint8_t *input = packet->data;
    size_t size = packet->size;
    bool room = offer_refused(state);
    bool offered = false;
    while (room) {
        struct fg_frame frame;
        enum fg_reason reason = FG_REASON_NONE;
        enum fg_framing_result result = fg_framer_next(&state->framer, &input, &size, &frame, &reason);
        if (result == FG_FRAMING_MORE) {
            break;
        }
        room = handle(state, result, &frame, reason, packet->received_ns, packet->from);
        offered = true;
    }
    if (room && offered && state->port->sink->mark) {
        begin_waiting_until_saved(state);
    }
    if (state->gap && packet->size > 0) {
        struct fg_sender *sender = atomic_load(&state->sender);
        if (sender) {
            fg_sender_heard(sender, packet->received_ns);
        }
        state->gap->received_ns = packet->received_ns;
        if (fg_framer_pending(&state->framer)) {
            fg_timer_set(&state->gap->timer, packet->received_ns + fg_framer_gap_ns(&state->framer));
        } else {
            fg_timer_stop(&state->gap->timer);
        }
    }
    return packet->size - size;
}

static void on_silence(struct fg_timer *timer)
{
    struct gap *gap = (struct gap *)timer;
    struct fg_stream_link *state = gap->owner;
    struct fg_frame frame;
    enum fg_reason reason = FG_REASON_NONE;
    if (!offer_refused(state)) {
        fg_timer_start(timer, fg_framer_gap_ns(&state->framer));
        return;
    }
    enum fg_framing_result result = fg_framer_end(&state->framer, FG_FRAMING_SILENCE, &frame, &reason);
    handle(state, result, &frame, reason, gap->received_ns, state->peer);
}

static void free_link(struct fg_stream_link *state)
{
    fg_framer_fini(&state->framer);
    free_refused(state);
    free(state->gap);
    free(state);
}

static void *on_up(void *context, struct fg_link *link)
{
    struct fg_port *port = context;
    struct fg_stream_link *state = calloc(1, sizeof *state);
    if (!state) {
        return NULL;
    }
    state->port = port;
    state->link = link;
    state->peer = &nobody;
    const struct fg_chosen *framing = &port->settings->framing;
    if (framing->variant) {
        fg_framer_init(&state->framer, framing->variant, framing->settings);
        if (fg_framer_gap_ns(&state->framer) > 0) {
            state->gap = calloc(1, sizeof *state->gap);
            if (!state->gap) {
                free_link(state);
                return NULL;
            }
            state->gap->owner = state;
            fg_timer_init(&state->gap->timer, fg_link_timers(link), fg_link_strand(link), on_silence);
        }
    }
    fg_count(&port->links, 1);
    if (port->own_links) {
        fg_device_own_link_up(port->only, state);
    }
    return state;
}

static void visit_down(void *value, void *context)
{
    fg_device_link_down(value, context);
}

/* Most links have had one device or none: not all of the port's are looked at for each that goes. */
static void tell_down(struct fg_stream_link *state)
{
    struct fg_port *port = state->port;
    struct fg_device *device = port->only ? port->only : state->device;
    if (port->own_links) {
        fg_device_own_link_down(port->only, state);
    } else if (device && !state->several) {
        fg_device_link_down(device, state);
    } else if (device) {
        pthread_mutex_lock(&port->lock);
        fg_map_each(&port->devices, visit_down, state);
        pthread_mutex_unlock(&port->lock);
    }
}

static void bury(struct fg_task *task)
{
    free_link(((struct gap *)(void *)((char *)task - offsetof(struct gap, burial)))->owner);
}

static void on_down(void *context, int error)
{
    struct fg_stream_link *state = context;
    struct fg_port *port = state->port;
    (void)error;
    if (state->refused && state->refused->mark > 0) {
        end_waiting(state);
    }
    offer_refused(state); /* a link that is down cannot wait: taken or lost, and told */
    if (port->settings->framing.variant) {
        struct fg_frame frame;
        enum fg_reason reason = FG_REASON_NONE;
        enum fg_framing_result result = fg_framer_end(&state->framer, FG_FRAMING_LINK_DOWN, &frame, &reason);
        int64_t received_ns = state->gap ? state->gap->received_ns : fg_clock_now_ns();
        handle(state, result, &frame, reason, received_ns, state->peer);
    }
    tell_down(state); /* nothing is posted to it from here on */
    struct fg_sender *sender = atomic_load(&state->sender);
    if (sender) {
        fg_sender_down(sender);
    }
    atomic_fetch_sub_explicit(&port->links, 1, memory_order_relaxed);
    if (!state->gap) {
        free_link(state);
        return;
    }
    /* The timer's task may still stand in the link's mailbox: the state goes with a task behind it. */
    fg_timer_stop(&state->gap->timer);
    state->gap->burial.run = bury;
    fg_strand_post(fg_link_strand(state->link), &state->gap->burial);
}

const struct fg_link_events fg_stream_events = {
    .up = on_up, .received = on_received, .down = on_down, .rejected = fg_port_on_rejected
};
