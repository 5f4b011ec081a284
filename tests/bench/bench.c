#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SEQUENCE_DIGITS 10
#define TIME_DIGITS     19

static char *put_number(char *at, uint64_t number, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return at + digits;
}

static bool get_number(const char **at, const char *end, uint64_t *number)
{
    uint64_t value = 0;
    const char *start = *at;
    while (*at < end && **at >= '0' && **at <= '9' && *at - start < TIME_DIGITS) {
        value = value * 10 + (uint64_t)(*(*at)++ - '0');
    }
    *number = value;
    return *at > start && *at < end && *(*at)++ == ',';
}

void bench_reading_print(const struct bench_reading *reading, char line[BENCH_LINE_BYTES])
{
    char *at = line;
    *at++ = 'd';
    at = put_number(at, reading->device, BENCH_DEVICE_BYTES - 1);
    *at++ = ',';
    at = put_number(at, reading->sequence, SEQUENCE_DIGITS);
    *at++ = ',';
    at = put_number(at, (uint64_t)reading->sent_ns, TIME_DIGITS);
    *at++ = ',';
    memset(at, 'x', (size_t)(line + BENCH_LINE_BYTES - 1 - at));
    line[BENCH_LINE_BYTES - 1] = '\n';
}

bool bench_reading_parse(const char *line, size_t size, struct bench_reading *reading)
{
    const char *at = line;
    const char *end = line + size;
    uint64_t device = 0;
    uint64_t sequence = 0;
    uint64_t sent_ns = 0;
    if (size < BENCH_LINE_BYTES - 1 || size > BENCH_LINE_BYTES || *at++ != 'd' ||
        !get_number(&at, end, &device) || !get_number(&at, end, &sequence) ||
        !get_number(&at, end, &sent_ns) || sent_ns > INT64_MAX || device > UINT32_MAX) {
        return false;
    }
    *reading = (struct bench_reading){ (unsigned)device, sequence, (int64_t)sent_ns };
    return true;
}

bool bench_tally_init(struct bench_tally *tally)
{
    *tally = (struct bench_tally){ .devices = calloc(BENCH_DEVICES_MAX, sizeof *tally->devices) };
    return tally->devices != NULL;
}

void bench_tally_fini(struct bench_tally *tally)
{
    free(tally->devices);
    tally->devices = NULL;
}

static void follow(struct bench_tally *tally, struct bench_track *track, uint64_t sequence)
{
    if (sequence >= track->next) {
        uint64_t ahead = sequence - track->next;
        tally->missing += ahead;
        track->recent = ahead >= 63 ? 1 : (track->recent << (ahead + 1)) | 1;
        track->next = sequence + 1;
        return;
    }
    uint64_t behind = track->next - 1 - sequence;
    if (behind < 64 && !(track->recent >> behind & 1)) {
        track->recent |= UINT64_C(1) << behind;
        tally->reordered++;
        tally->missing--;
    } else {
        tally->repeated++;
    }
}

bool bench_tally_add(struct bench_tally *tally, const void *payload, size_t size, int64_t now_ns,
                     struct bench_reading *reading)
{
    if (!bench_reading_parse(payload, size, reading)) {
        tally->other++;
        return false;
    }
    if (tally->received++ == 0) {
        tally->first_ns = now_ns;
        tally->first_sent_ns = reading->sent_ns;
    }
    tally->last_ns = now_ns;
    if (reading->sent_ns < tally->first_sent_ns) {
        tally->first_sent_ns = reading->sent_ns;
    }
    if (reading->device < BENCH_DEVICES_MAX) {
        follow(tally, &tally->devices[reading->device], reading->sequence);
    }
    return true;
}

void bench_tally_print(const struct bench_tally *tally, FILE *file)
{
    fprintf(file,
            "\"received\":%llu,\"missing\":%llu,\"repeated\":%llu,\"reordered\":%llu,\"other\":%llu,"
            "\"elapsed_s\":%.6f,\"arriving_s\":%.6f",
            (unsigned long long)tally->received, (unsigned long long)tally->missing,
            (unsigned long long)tally->repeated, (unsigned long long)tally->reordered,
            (unsigned long long)tally->other,
            (double)(tally->last_ns - tally->first_sent_ns) / BENCH_NS_PER_S,
            (double)(tally->last_ns - tally->first_ns) / BENCH_NS_PER_S);
}

int64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * BENCH_NS_PER_S + now.tv_nsec;
}

long bench_number(const char *program, const char *option, const char *text, long least, long most)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most) {
        fprintf(stderr, "%s: --%s takes a number from %ld to %ld\n", program, option, least, most);
        exit(2);
    }
    return value;
}

struct sockaddr_in bench_loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int bench_listen(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    const int on = 1;
    struct sockaddr_in address = bench_loopback(*port);
    socklen_t size = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

void bench_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static volatile int stop_flag;

static void on_signal(int number)
{
    (void)number;
    stop_flag = 1;
}

const volatile int *bench_stop_on_signals(void)
{
    const struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return &stop_flag;
}
