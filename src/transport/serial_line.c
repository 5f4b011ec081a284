#include "serial_line.h"

#include "endpoint.h"
#include "serial_termios.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static const struct {
    uint32_t rate;
    speed_t code;
} rates[] = {
    { 50, B50 },           { 75, B75 },           { 110, B110 },         { 134, B134 },
    { 150, B150 },         { 200, B200 },         { 300, B300 },         { 600, B600 },
    { 1200, B1200 },       { 1800, B1800 },       { 2400, B2400 },       { 4800, B4800 },
    { 9600, B9600 },       { 19200, B19200 },     { 38400, B38400 },     { 57600, B57600 },
    { 115200, B115200 },   { 230400, B230400 },   { 460800, B460800 },   { 500000, B500000 },
    { 576000, B576000 },   { 921600, B921600 },   { 1000000, B1000000 }, { 1152000, B1152000 },
    { 1500000, B1500000 }, { 2000000, B2000000 }, { 2500000, B2500000 }, { 3000000, B3000000 },
    { 3500000, B3500000 }, { 4000000, B4000000 },
};

#define RATE_COUNT (sizeof rates / sizeof rates[0])

static size_t nearest_rate(int64_t baud)
{
    size_t nearest = 0;
    for (size_t i = 1; i < RATE_COUNT; i++) {
        if (llabs((int64_t)rates[i].rate - baud) < llabs((int64_t)rates[nearest].rate - baud)) {
            nearest = i;
        }
    }
    return nearest;
}

static void check_line(struct fg_check *check, const void *group)
{
    const struct fg_serial_settings *settings = group;
    uint32_t rate = rates[nearest_rate(settings->baud)].rate;
    if (settings->custom_baud || rate == settings->baud) {
        return;
    }
    /* Far from every standard rate it is no slip of the finger. */
    bool odd = llabs(rate - settings->baud) * 50 > rate;
    fg_check_problem(check, "baud", "%lld is not a standard rate; did you mean %u%s?",
                     (long long)settings->baud, (unsigned)rate, odd ? ", or custom_baud = true" : "");
}

static void check_format(struct fg_check *check, const char *key, const void *field)
{
    const char *text = *(char *const *)field;
    if (strlen(text) != 3 || strchr("5678", text[0]) == NULL || strchr("NEO", text[1]) == NULL ||
        strchr("12", text[2]) == NULL) {
        fg_check_problem(
            check, key,
            "%s is not data bits 5 to 8, parity N, E or O, and stop bits 1 or 2; did you mean 8N1?", text);
    }
}

static const char *const flow_names[] = { "none", "rts-cts", "xon-xoff", NULL };

static const struct fg_setting settings_table[] = {
    { .key = "path",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_serial_settings, path),
      .minimum = 1,
      .maximum = 255,
      .help = "The device. A path below /dev/serial/by-id stays the same when adapters change places." },
    { .key = "baud",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct fg_serial_settings, baud),
      .fallback = "9600",
      .minimum = 50,
      .maximum = 4000000,
      .unit = "bit/s",
      .help = "The rate. One that is not standard needs custom_baud." },
    { .key = "custom_baud",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct fg_serial_settings, custom_baud),
      .fallback = "false",
      .help = "Lets baud be any rate, which the driver is asked for as it stands (BOTHER)." },
    { .key = "format",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_serial_settings, format),
      .fallback = "8N1",
      .minimum = 3,
      .maximum = 3,
      .check = check_format,
      .help = "Data bits (5 to 8), parity (N none, E even, O odd), stop bits (1 or 2)." },
    { .key = "flow",
      .type = FG_SETTING_CHOICE,
      .offset = offsetof(struct fg_serial_settings, flow),
      .fallback = "none",
      .choices = flow_names,
      .help = "Flow control." },
    { .key = "rs485",
      .type = FG_SETTING_BOOLEAN,
      .offset = offsetof(struct fg_serial_settings, rs485),
      .fallback = "false",
      .help = "Lets the driver switch an RS-485 transceiver's direction by RTS. Adapters that do so "
              "themselves do "
              "not need it." },
    { .key = NULL },
};

const struct fg_schema fg_serial_schema = {
    .name = "serial",
    .help = "A serial line. It is opened again when its adapter comes back.",
    .size = sizeof(struct fg_serial_settings),
    .settings = settings_table,
    .check = check_line,
};

static int fail(int error, char why[FG_SERIAL_WHY], const char *reason)
{
    snprintf(why, FG_SERIAL_WHY, "%s", reason);
    return error;
}

static int take_alone(int fd, char why[FG_SERIAL_WHY])
{
    int exclusive = 0;
    /* TIOCEXCL does not keep root out, so that it is asked for. Some emulators do not know the question. */
    bool taken = ioctl(fd, TIOCGEXCL, &exclusive) == 0 && exclusive != 0;
    if (taken || (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)) {
        return fail(-EBUSY, why, "in use by another program");
    }
    ioctl(fd, TIOCEXCL);
    return 0;
}

static tcflag_t format_flags(const char *format)
{
    static const tcflag_t sizes[] = { CS5, CS6, CS7, CS8 };
    tcflag_t flags = sizes[(format[0] - '5') & 3];
    if (format[1] != 'N') {
        flags |= format[1] == 'O' ? PARENB | PARODD : PARENB;
    }
    if (format[2] == '2') {
        flags |= CSTOPB;
    }
    return flags;
}

static void say_ignored(char ignored[FG_SERIAL_WHY], const char *what)
{
    size_t length = strlen(ignored);
    snprintf(ignored + length, FG_SERIAL_WHY - length, "%s%s", length > 0 ? ", " : "", what);
}

/* tcsetattr succeeds when it could do any of what it was asked for. */
static void compare(const struct termios *asked, const struct termios *got, char ignored[FG_SERIAL_WHY])
{
    if (cfgetospeed(asked) != cfgetospeed(got)) {
        say_ignored(ignored, "baud");
    }
    tcflag_t parity = PARENB | (asked->c_cflag & PARENB ? PARODD : 0);
    if ((asked->c_cflag ^ got->c_cflag) & (CSIZE | CSTOPB | parity)) {
        say_ignored(ignored, "format");
    }
    if (((asked->c_cflag ^ got->c_cflag) & CRTSCTS) || ((asked->c_iflag ^ got->c_iflag) & (IXON | IXOFF))) {
        say_ignored(ignored, "flow");
    }
}

static int set_attributes(int fd, const struct fg_serial_settings *settings, char why[FG_SERIAL_WHY],
                          char ignored[FG_SERIAL_WHY])
{
    struct termios line;
    if (tcgetattr(fd, &line) < 0) {
        return fail(-errno, why, "not a serial line");
    }
    cfmakeraw(&line);
    line.c_iflag &= ~(tcflag_t)(IXON | IXOFF | IXANY | INPCK | PARMRK | IGNBRK | BRKINT);
    line.c_iflag |= IGNPAR;
    if (settings->flow == FG_SERIAL_FLOW_XON_XOFF) {
        line.c_iflag |= IXON | IXOFF;
    }
    line.c_cflag &= ~(tcflag_t)(CSIZE | CSTOPB | PARENB | PARODD | CRTSCTS);
    line.c_cflag |= CLOCAL | CREAD | format_flags(settings->format);
    if (settings->flow == FG_SERIAL_FLOW_RTS_CTS) {
        line.c_cflag |= CRTSCTS;
    }
    /* With 0 for VMIN a read without anything there would look like the end of the line. */
    line.c_cc[VMIN] = 1;
    line.c_cc[VTIME] = 0;
    size_t nearest = nearest_rate(settings->baud);
    bool standard = rates[nearest].rate == settings->baud;
    /* A line that keeps an odd rate from before would keep it: the nearest one stands in its place first. */
    cfsetispeed(&line, rates[nearest].code);
    cfsetospeed(&line, rates[nearest].code);
    struct termios got;
    if (tcsetattr(fd, TCSANOW, &line) < 0 || tcgetattr(fd, &got) < 0) {
        return fail(-errno, why, fg_error_text(errno));
    }
    compare(&line, &got, ignored);
    if (!standard) {
        uint32_t made = 0;
        int error = fg_serial_set_rate(fd, (uint32_t)settings->baud, &made);
        if (error < 0) {
            snprintf(why, FG_SERIAL_WHY, "the driver does not take %lld baud: %s", (long long)settings->baud,
                     fg_error_text(error));
            return error;
        }
        /* A UART stands a deviation of some 2%. */
        if (llabs((int64_t)made - settings->baud) * 50 > settings->baud) {
            say_ignored(ignored, "baud");
        }
    }
    return 0;
}

static int set_rs485(int fd, char why[FG_SERIAL_WHY])
{
    struct serial_rs485 mode;
    memset(&mode, 0, sizeof mode);
    mode.flags = (uint32_t)SER_RS485_ENABLED | (uint32_t)SER_RS485_RTS_ON_SEND;
    if (ioctl(fd, TIOCSRS485, &mode) < 0) {
        int error = -errno;
        snprintf(why, FG_SERIAL_WHY, "the driver has no RS-485 mode (%s)", fg_error_text(error));
        return error;
    }
    return 0;
}

/* USB adapters hold bytes back for some 16 ms otherwise. Not every driver has it. */
static void ask_for_low_latency(int fd)
{
    struct serial_struct serial;
    memset(&serial, 0, sizeof serial);
    if (ioctl(fd, TIOCGSERIAL, &serial) == 0 && ((unsigned)serial.flags & ASYNC_LOW_LATENCY) == 0) {
        serial.flags = (int)((unsigned)serial.flags | ASYNC_LOW_LATENCY);
        ioctl(fd, TIOCSSERIAL, &serial);
    }
}

int fg_serial_line_open(const struct fg_serial_settings *settings, char why[FG_SERIAL_WHY],
                        char ignored[FG_SERIAL_WHY])
{
    ignored[0] = '\0';
    int fd = open(settings->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        int error = -errno;
        return fail(error, why, error == -EBUSY ? "in use by another program" : fg_error_text(error));
    }
    int error = 0;
    if (!isatty(fd)) {
        error = fail(-ENOTTY, why, "not a serial line");
    }
    if (error == 0) {
        error = take_alone(fd, why);
    }
    if (error == 0) {
        error = set_attributes(fd, settings, why, ignored);
        if (error == 0 && settings->rs485) {
            error = set_rs485(fd, why);
        }
        if (error < 0) {
            fg_serial_line_leave(fd);
        }
    }
    if (error < 0) {
        close(fd);
        return error;
    }
    ask_for_low_latency(fd);
    return fd;
}

void fg_serial_line_leave(int fd)
{
    tcflush(fd, TCOFLUSH);
    ioctl(fd, TIOCNXCL);
}
