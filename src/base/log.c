#include "log_journal.h"

#include "fieldgate/clock.h"
#include "fieldgate/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_BYTES   1024 /* with head and newline; below PIPE_BUF, so that lines of threads do not mix */
#define NAME_BYTES   256
#define LIMIT_NS     (60 * FG_NS_PER_S)
#define JOURNAL_PATH "/run/systemd/journal/socket"

const char *const fg_log_level_names[] = { "error", "warning", "info", "debug", NULL };

static const int priorities[] = { 3, 4, 6, 7 }; /* syslog(3) */

static atomic_int highest_level = FG_LOG_INFO;

/* Written by fg_log_open only, before other threads exist. */
static int journal_fd = -1;
static struct sockaddr_un journal_address;

struct line {
    char bytes[LINE_BYTES];
    size_t head; /* "<4>" or "warning: ", not part of the journal's MESSAGE */
    size_t size; /* without newline */
};

/* $JOURNAL_STREAM is inherited by whatever is started from a service: only the inode tells whose stderr it
 * names. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    if (!stream || fstat(STDERR_FILENO, &status) < 0) {
        return false;
    }
    char expected[64];
    snprintf(expected, sizeof expected, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(stream, expected) == 0;
}

void fg_log_open_at(enum fg_log_level level, const char *journal_path)
{
    fg_log_set_level(level);
    if (journal_fd >= 0) {
        close(journal_fd);
        journal_fd = -1;
    }
    if (strlen(journal_path) >= sizeof journal_address.sun_path || !stderr_is_journal()) {
        return;
    }
    journal_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(journal_address.sun_path, journal_path, strlen(journal_path) + 1);
    journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

void fg_log_open(enum fg_log_level level)
{
    fg_log_open_at(level, JOURNAL_PATH);
}

bool fg_log_is_journal(void)
{
    return journal_fd >= 0;
}

void fg_log_set_level(enum fg_log_level level)
{
    atomic_store_explicit(&highest_level, (int)level, memory_order_relaxed);
}

bool fg_log_enabled(enum fg_log_level level)
{
    return (int)level <= atomic_load_explicit(&highest_level, memory_order_relaxed);
}

/* Whether the bytes are a valid sequence that only lacks its end. */
static bool is_torn(const char *bytes, size_t length)
{
    static const char ends[][4] = { "\x80", "\x80\x80", "\x80\x80\x80", "\xa0", "\xa0\x80", "\x90\x80\x80" };
    char whole[8];
    if (length == 0 || length > 3) {
        return false;
    }
    memcpy(whole, bytes, length);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t more = strlen(ends[i]);
        memcpy(whole + length, ends[i], more);
        if (fg_utf8_step(whole, length + more) == length + more) {
            return true;
        }
    }
    return false;
}

/* Makes text one line of valid UTF-8. Of a text that was cut, a character that lost its end goes too. Returns
 * the new length. */
static size_t clean(char *text, size_t length, bool cut)
{
    size_t at = 0;
    while (at < length) {
        uint8_t first = (uint8_t)text[at];
        size_t step = fg_utf8_step(text + at, length - at);
        if (step == 0 && cut && is_torn(text + at, length - at)) {
            return at;
        }
        /* The C1 controls are U+0080..U+009F: some terminals obey them. */
        bool control =
            first < 0x20 || first == 0x7f || (first == 0xc2 && step == 2 && (uint8_t)text[at + 1] < 0xa0);
        if (step == 0 || control) {
            memset(text + at, '?', step ? step : 1);
        }
        at += step ? step : 1;
    }
    return length;
}

/* Appends formatted text within room bytes of the line, cleaned. */
__attribute__((format(printf, 3, 0))) static void put(struct line *line, size_t room, const char *format,
                                                      va_list arguments)
{
    char *text = line->bytes + line->size;
    int wanted = vsnprintf(text, room, format, arguments);
    if (wanted < 0) {
        return;
    }
    bool cut = (size_t)wanted >= room;
    line->size += clean(text, cut ? room - 1 : (size_t)wanted, cut);
}

__attribute__((format(printf, 3, 4))) static void putf(struct line *line, size_t room, const char *format,
                                                       ...)
{
    va_list arguments;
    va_start(arguments, format);
    put(line, room, format, arguments);
    va_end(arguments);
}

static void write_stderr(struct line *line)
{
    line->bytes[line->size] = '\n';
    while (write(STDERR_FILENO, line->bytes, line->size + 1) < 0 && errno == EINTR) {
    }
}

static struct iovec piece(const char *bytes, size_t size)
{
    return (struct iovec){ .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
}

/* Values hold no newline, so the protocol's simple form (KEY=value\n) does for all of them. */
static bool send_journal(enum fg_log_level level, const char *port, const char *device,
                         const struct line *line)
{
    struct line fields = { .size = 0 };
    putf(&fields, 64, "PRIORITY=%d", priorities[level]);
    fields.bytes[fields.size++] = '\n';
    if (port) {
        putf(&fields, NAME_BYTES + 8, "PORT=%s", port);
        fields.bytes[fields.size++] = '\n';
    }
    if (device) {
        putf(&fields, NAME_BYTES + 8, "DEVICE=%s", device);
        fields.bytes[fields.size++] = '\n';
    }
    static const char before[] = "SYSLOG_IDENTIFIER=fieldgated\nMESSAGE=";
    struct iovec pieces[] = {
        piece(fields.bytes, fields.size),
        piece(before, sizeof before - 1),
        piece(line->bytes + line->head, line->size - line->head),
        piece("\n", 1),
    };
    struct msghdr message = {
        .msg_name = &journal_address,
        .msg_namelen = sizeof journal_address,
        .msg_iov = pieces,
        .msg_iovlen = sizeof pieces / sizeof pieces[0],
    };
    ssize_t sent;
    do {
        sent = sendmsg(journal_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

__attribute__((format(printf, 5, 0))) static void emit(enum fg_log_level level, const char *port,
                                                       const char *device, unsigned held, const char *format,
                                                       va_list arguments)
{
    int saved = errno;
    struct line line;
    line.size = 0;
    if (journal_fd < 0 && isatty(STDERR_FILENO)) {
        putf(&line, 32, "%s: ", fg_log_level_names[level]);
    } else {
        putf(&line, 32, "<%d>", priorities[level]);
    }
    line.head = line.size;
    if (port) {
        putf(&line, NAME_BYTES + 8, "port %s: ", port);
    }
    if (device) {
        putf(&line, NAME_BYTES + 16, "device %s: ", device);
    }
    char tail[64] = "";
    int tail_length = held ? snprintf(tail, sizeof tail, " (%u more like it held back)", held) : 0;
    size_t room = sizeof line.bytes - line.size - (size_t)tail_length;
    errno = saved; /* for %m */
    put(&line, room, format, arguments);
    memcpy(line.bytes + line.size, tail, (size_t)tail_length);
    line.size += (size_t)tail_length;
    if (journal_fd < 0 || !send_journal(level, port, device, &line)) {
        write_stderr(&line);
    }
    errno = saved;
}

void fg_log(enum fg_log_level level, const char *format, ...)
{
    if (fg_log_enabled(level)) {
        va_list arguments;
        va_start(arguments, format);
        emit(level, NULL, NULL, 0, format, arguments);
        va_end(arguments);
    }
}

void fg_log_port(enum fg_log_level level, const char *port, const char *device, const char *format, ...)
{
    if (fg_log_enabled(level)) {
        va_list arguments;
        va_start(arguments, format);
        emit(level, port, device, 0, format, arguments);
        va_end(arguments);
    }
}

/* Whether this line may pass; of several threads at the same moment one does. */
static bool limit_pass(struct fg_log_limit *limit, unsigned *held)
{
    int64_t now = fg_clock_now_ns();
    int64_t next = atomic_load_explicit(&limit->next_ns, memory_order_relaxed);
    if (now < next || !atomic_compare_exchange_strong_explicit(&limit->next_ns, &next, now + LIMIT_NS,
                                                               memory_order_relaxed, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&limit->held, 1, memory_order_relaxed);
        return false;
    }
    *held = atomic_exchange_explicit(&limit->held, 0, memory_order_relaxed);
    return true;
}

void fg_log_limited(struct fg_log_limit *limit, enum fg_log_level level, const char *port, const char *device,
                    const char *format, ...)
{
    unsigned held;
    if (fg_log_enabled(level) && limit_pass(limit, &held)) {
        va_list arguments;
        va_start(arguments, format);
        emit(level, port, device, held, format, arguments);
        va_end(arguments);
    }
}
