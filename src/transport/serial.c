/*
 * Transport "serial": a device on a serial line.
 */
#include "fieldgate/clock.h"
#include "serial_line.h"
#include "transports.h"

#include <errno.h>
#include <linux/serial.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COUNTERS_EVERY_NS FG_NS_PER_S

/* The open line's: its strand's, once the link was started. */
struct serial {
    bool counts; /* the driver has counters */
    uint32_t overruns;
    int64_t looked_ns;
    char ignored[FG_SERIAL_WHY]; /* what was told that the driver ignores; the endpoint's strand's */
};

static int read_overruns(int fd, uint32_t *overruns)
{
    struct serial_icounter_struct counters;
    memset(&counters, 0, sizeof counters);
    if (ioctl(fd, TIOCGICOUNT, &counters) < 0) {
        return -errno;
    }
    *overruns = (uint32_t)counters.overrun + (uint32_t)counters.buf_overrun;
    return 0;
}

static void serial_open(struct fg_endpoint *endpoint)
{
    const struct fg_serial_settings *settings = endpoint->settings;
    struct serial *serial = endpoint->state;
    char why[FG_SERIAL_WHY];
    char ignored[FG_SERIAL_WHY];
    int fd = fg_serial_line_open(settings, why, ignored);
    if (fd < 0) {
        fg_endpoint_fail(endpoint, "%s: %s", settings->path, why);
        return;
    }
    if (ignored[0] != '\0' && strcmp(ignored, serial->ignored) != 0) {
        fg_log_port(FG_LOG_WARNING, endpoint->options.name, NULL,
                    "%s: the driver does not take the setting of %s", settings->path, ignored);
    }
    memcpy(serial->ignored, ignored, sizeof ignored);
    serial->counts = read_overruns(fd, &serial->overruns) == 0;
    serial->looked_ns = 0;
    const struct fg_link_options options = { .fd = fd, .kind = FG_LINK_TTY, .principal = true };
    struct fg_link *link = NULL;
    int error = fg_link_new(endpoint, &options, &link);
    if (error < 0) {
        fg_serial_line_leave(fd);
        close(fd);
        fg_endpoint_fail(endpoint, "%s: %s", settings->path, fg_error_text(error));
        return;
    }
    fg_endpoint_describe(endpoint, "%s is open, %lld %s", settings->path, (long long)settings->baud,
                         settings->format);
    fg_link_start(link);
}

static void serial_was_read(struct fg_link *link)
{
    struct fg_endpoint *endpoint = link->endpoint;
    struct serial *serial = endpoint->state;
    if (!serial->counts || link->active_ns - serial->looked_ns < COUNTERS_EVERY_NS) {
        return;
    }
    serial->looked_ns = link->active_ns;
    uint32_t overruns = 0;
    if (read_overruns(fg_channel_fd(link->channel), &overruns) == 0 && overruns != serial->overruns) {
        uint32_t lost = overruns - serial->overruns;
        serial->overruns = overruns;
        endpoint->options.events->rejected(endpoint->options.port, FG_REASON_OVERRUN, lost);
    }
}

static void serial_before_close(struct fg_link *link)
{
    fg_serial_line_leave(fg_channel_fd(link->channel));
}

const struct fg_transport fg_transport_serial = {
    .variant = { .name = "serial", .help = "A device on a serial line.", .schema = &fg_serial_schema },
    .state_size = sizeof(struct serial),
    .retry_min_ns = 100 * FG_NS_PER_MS,
    .retry_max_ns = 5 * FG_NS_PER_S,
    .open = serial_open,
    .was_read = serial_was_read,
    .before_close = serial_before_close,
};

bool fg_transport_serial_line(const struct fg_chosen *chosen, int64_t *baud, const char **format)
{
    if (chosen->variant != &fg_transport_serial.variant) {
        return false;
    }
    const struct fg_serial_settings *settings = chosen->settings;
    *baud = settings->baud;
    *format = settings->format;
    return true;
}
