#include "outlet.h"

#include "fieldgate/decoder.h"
#include "fieldgate/log.h"
#include "fieldgate/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct source {
    struct fg_source base;
    struct fg_outlets *outlets;
    struct fg_commanded *commanded; /* NULL: it takes no commands */
    struct fg_topic *topic;
    struct fg_topic *point_topic;
    struct fg_outlet outlet;
};

static enum fg_payload payload_of(const struct fg_port_settings *port,
                                  const struct fg_device_defaults *device)
{
    if (device->payload == FG_PAYLOAD_CHOICE_AUTO) {
        bool raw = !port->protocol.variant &&
                   (!port->decoder.variant || port->decoder.variant == &fg_decoder_raw.variant);
        return raw ? FG_PAYLOAD_RAW : FG_PAYLOAD_JSON;
    }
    return (enum fg_payload)(device->payload - 1);
}

static void source_free(struct fg_source *base)
{
    struct source *source = (struct source *)base;
    if (source->commanded) {
        fg_commands_remove(source->outlets->commands, source->commanded);
    }
    if (source->base.origin) {
        fg_publisher_forget(source->outlets->publisher, source->base.origin);
    }
    fg_topic_free(source->topic);
    fg_topic_free(source->point_topic);
    fg_origin_unref(source->base.origin);
    free(source);
}

static struct fg_source *source_new(void *context, const struct fg_port_settings *port,
                                    const struct fg_device_defaults *device, const char *identity)
{
    struct fg_outlets *outlets = context;
    struct source *source = calloc(1, sizeof *source);
    if (!source) {
        return NULL;
    }
    char name[FG_NAME_MAX + 1];
    fg_topic_clean(identity, strlen(identity), name, sizeof name);
    source->outlets = outlets;
    source->base.origin = fg_origin_new(port->name, name);
    const struct fg_topic_names names = {
        .gateway = outlets->gateway, .base = outlets->base, .port = port->name, .device = name
    };
    char points[2048];
    if (!source->base.origin || fg_topic_new(device->topic, &names, &source->topic) ||
        fg_topic_for_points(device->topic, points, sizeof points) ||
        fg_topic_new(points, &names, &source->point_topic)) {
        source_free(&source->base);
        return NULL;
    }
    source->outlet = (struct fg_outlet){ .origin = source->base.origin,
                                         .topic = source->topic,
                                         .point_topic = source->point_topic,
                                         .payload = payload_of(port, device),
                                         .qos = (uint8_t)device->qos,
                                         .retain = device->retain };
    if (outlets->commands) {
        source->commanded = fg_commands_add(outlets->commands, port, device, name, identity);
    }
    return &source->base;
}

static void lose(struct fg_source *base, enum fg_loss reason, int64_t wall_ms)
{
    struct source *source = (struct source *)base;
    fg_publisher_lose(source->outlets->publisher, base->origin, reason, wall_ms, 1);
}

/* Nobody watches, nearly always: that must cost nothing. */
static void show(struct fg_tap *tap, const struct fg_origin *origin, const struct fg_reading *reading)
{
    if (atomic_load_explicit(&tap->watchers, memory_order_relaxed) > 0 &&
        atomic_load_explicit(&tap->watchers, memory_order_acquire) > 0) {
        tap->reading(tap->context, origin, reading);
    }
}

static int offer_by(int (*offer)(struct fg_publisher *, struct fg_message *), struct fg_source *base,
                    const struct fg_reading *reading)
{
    struct source *source = (struct source *)base;
    struct fg_message *first = NULL;
    int error = fg_outlet_render(&source->outlet, reading, &first);
    if (error) {
        lose(base, error == -ENOMEM ? FG_LOSS_NO_MEMORY : FG_LOSS_TOO_LARGE, reading->wall_ms);
        return error;
    }
    error = offer(source->outlets->publisher, first);
    if (error) {
        fg_message_free_all(first);
    } else {
        show(&source->outlets->tap, base->origin, reading);
    }
    if (error && error != -ENOBUFS) {
        lose(base, error == -EMSGSIZE ? FG_LOSS_TOO_LARGE : FG_LOSS_SHUTDOWN, reading->wall_ms);
    }
    return error;
}

static int offer(struct fg_source *base, const struct fg_reading *reading)
{
    return offer_by(fg_publisher_offer, base, reading);
}

static int offer_last(struct fg_source *base, const struct fg_reading *reading)
{
    return offer_by(fg_publisher_offer_last, base, reading);
}

static void available(struct fg_source *base, bool online)
{
    struct source *source = (struct source *)base;
    fg_publisher_set_available(source->outlets->publisher, base->origin, online);
}

static uint64_t mark(void *context)
{
    return fg_publisher_mark(((struct fg_outlets *)context)->publisher);
}

static bool saved(void *context, uint64_t mark)
{
    return fg_publisher_is_saved(((struct fg_outlets *)context)->publisher, mark);
}

void fg_outlets_init(struct fg_outlets *outlets, struct fg_publisher *publisher, struct fg_commands *commands,
                     const char *gateway, const char *base)
{
    *outlets = (struct fg_outlets){ .sink = { .source_new = source_new,
                                              .source_free = source_free,
                                              .offer = offer,
                                              .offer_last = offer_last,
                                              .lose = lose,
                                              .available = available,
                                              .context = outlets },
                                    .publisher = publisher,
                                    .commands = commands,
                                    .gateway = gateway,
                                    .base = base };
    if (fg_publisher_saves_first(publisher)) {
        outlets->sink.mark = mark;
        outlets->sink.saved = saved;
    }
}
