#include "support/meter.h"

#include "fieldgate/clock.h"
#include "support/modbus.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WITH_NEXT_REQUEST 1

static uint32_t next_random(struct meter *meter)
{
    meter->random ^= meter->random << 13;
    meter->random ^= meter->random >> 7;
    meter->random ^= meter->random << 17;
    return (uint32_t)(meter->random >> 16);
}

static void put(struct meter *meter, int64_t due_ns, const uint8_t *bytes, size_t size, bool good)
{
    unsigned waiting = 1;
    for (size_t i = 0; i < METER_QUEUE; i++) {
        waiting += meter->queue[i].due_ns != 0;
    }
    if (waiting > atomic_load(&meter->most)) {
        atomic_store(&meter->most, waiting);
    }
    for (size_t i = 0; i < METER_QUEUE; i++) {
        if (meter->queue[i].due_ns == 0) {
            meter->queue[i].due_ns = due_ns;
            memcpy(meter->queue[i].adu, bytes, size);
            meter->queue[i].size = size;
            meter->queue[i].good = good;
            return;
        }
    }
}

static uint16_t measured(const struct meter *meter, uint8_t unit, unsigned address)
{
    uint32_t pair = (uint32_t)unit << 28 | (address & 0xFEu) << 20 | (meter->number & 0xFFFFF);
    return (uint16_t)(address & 1 ? pair : pair >> 16);
}

/* The PDU that answers the request's. Returns its size. */
static size_t answer(struct meter *meter, const uint8_t *request, uint8_t unit, uint8_t *pdu)
{
    unsigned address = (unsigned)(request[1] << 8 | request[2]);
    unsigned count = (unsigned)(request[3] << 8 | request[4]);
    unsigned illegal = atomic_load(&meter->illegal);
    pdu[0] = request[0];
    if (request[0] < 1 || request[0] > 4 ||
        (request[0] == 4 && illegal && address <= illegal && illegal < address + count)) {
        pdu[0] |= 0x80;
        pdu[1] = request[0] <= 4 ? 2 : 1;
        return 2;
    }
    if (request[0] <= 2) {
        pdu[1] = (uint8_t)((count + 7) / 8);
        memset(pdu + 2, 0, pdu[1]);
        for (unsigned i = 0; i < count; i++) {
            pdu[2 + i / 8] = (uint8_t)(pdu[2 + i / 8] | fg_test_discrete((uint16_t)(address + i)) << i % 8);
        }
        return 2u + pdu[1];
    }
    pdu[1] = (uint8_t)(count * 2);
    for (unsigned i = 0; i < count; i++) {
        uint16_t value = measured(meter, unit, address + i);
        pdu[2 + 2 * i] = (uint8_t)(value >> 8);
        pdu[3 + 2 * i] = (uint8_t)value;
    }
    return 2u + pdu[1];
}

/* Something between the faults: the answer that goes out, or what goes out in its place. */
struct speech {
    struct meter *meter;
    int64_t at_ns;
    uint8_t unit;
    uint16_t transaction;
    const uint8_t *request; /* its whole frame */
    size_t request_size;
    uint8_t pdu[FG_MODBUS_PDU_MAX + 2];
    size_t size;
};

static size_t frame(const struct speech *speech, uint8_t *adu)
{
    return fg_test_modbus_frame(speech->meter->mode, speech->transaction, speech->unit, speech->pdu,
                                speech->size, adu);
}

/* Says the answer as it is, at that time. */
static void say_right(struct speech *speech, int64_t at_ns)
{
    uint8_t adu[FG_MODBUS_ADU_MAX + 8];
    size_t size = frame(speech, adu);
    put(speech->meter, at_ns, adu, size, speech->pdu[0] == 3 || speech->pdu[0] == 4);
}

/* Says what is no answer. */
static void say_wrong(struct speech *speech, size_t keep)
{
    uint8_t adu[FG_MODBUS_ADU_MAX + 8];
    size_t size = frame(speech, adu);
    put(speech->meter, speech->at_ns, adu, keep < size ? keep : size, false);
}

static void say_noise(struct speech *speech, int64_t at_ns)
{
    uint8_t noise[8];
    size_t size = 1 + next_random(speech->meter) % sizeof noise;
    for (size_t i = 0; i < size; i++) {
        noise[i] = (uint8_t)next_random(speech->meter);
    }
    put(speech->meter, at_ns, noise, size, false);
}

static void say_twice(struct speech *speech, int64_t second_ns)
{
    say_right(speech, speech->at_ns);
    say_right(speech, second_ns);
}

static void say_exception(struct speech *speech, uint8_t exception)
{
    speech->pdu[0] |= 0x80;
    speech->pdu[1] = exception;
    speech->size = 2;
    say_right(speech, speech->at_ns);
}

static void say_halves(struct speech *speech)
{
    uint8_t adu[FG_MODBUS_ADU_MAX + 8];
    size_t size = frame(speech, adu), half = size / 2;
    put(speech->meter, speech->at_ns, adu, half, false);
    put(speech->meter, speech->at_ns + speech->meter->timeout_ns * 3 / 2, adu + half, size - half, false);
}

static void say_wrong_check(struct speech *speech)
{
    uint8_t adu[FG_MODBUS_ADU_MAX + 8];
    speech->transaction ^= 0x4000;
    size_t size = frame(speech, adu);
    adu[size - 1] = (uint8_t)(adu[size - 1] ^ (speech->meter->mode == FG_MODBUS_RTU ? 0x10 : 0));
    put(speech->meter, speech->at_ns, adu, size, false);
}

static void resize(struct speech *speech, int registers)
{
    speech->size = (size_t)((int)speech->size + 2 * registers);
    speech->pdu[1] = (uint8_t)(speech->pdu[1] + 2 * registers);
}

/* Returns whether it is as good as an answer for those who ask. */
static bool misbehave(struct speech *speech, enum meter_fault fault)
{
    switch (fault) {
    case METER_LATE:
        say_right(speech, speech->at_ns + speech->meter->timeout_ns * 3 / 2);
        return false;
    case METER_TWICE:
        say_twice(speech, speech->at_ns);
        return true;
    case METER_TWICE_LATER:
        say_twice(speech, WITH_NEXT_REQUEST);
        return true;
    case METER_FOREIGN_UNIT:
        /* With that unit's own values: where a machine stands still for so long that the next request is out,
         * and is to that unit, nobody could tell. */
        speech->unit = (uint8_t)(speech->unit % 3 + 1);
        speech->size = answer(speech->meter, speech->request + (speech->meter->mode == FG_MODBUS_TCP ? 7 : 1),
                              speech->unit, speech->pdu);
        break;
    case METER_WRONG_FUNCTION:
        speech->pdu[0] = (uint8_t)(speech->pdu[0] % 4 + 1);
        break;
    case METER_TOO_LONG:
        memcpy(speech->pdu + speech->size, "\x12\x34", 2);
        resize(speech, 1);
        break;
    case METER_TOO_SHORT:
        resize(speech, speech->size > 3 ? -1 : 1);
        break;
    case METER_WRONG_CHECK:
        say_wrong_check(speech);
        return false;
    case METER_ECHO:
        put(speech->meter, speech->at_ns, speech->request, speech->request_size, false);
        say_right(speech, speech->at_ns);
        return true;
    case METER_NOISE_BEFORE:
        say_noise(speech, speech->at_ns);
        say_right(speech, speech->at_ns);
        return true;
    case METER_NOISE_AFTER:
        say_right(speech, speech->at_ns);
        say_noise(speech, speech->at_ns);
        return true;
    case METER_EXCEPTION_1:
    case METER_EXCEPTION_4:
    case METER_EXCEPTION_6:
        say_exception(speech, fault == METER_EXCEPTION_1 ? 1 : fault == METER_EXCEPTION_4 ? 4 : 6);
        return true;
    case METER_CUT:
        say_wrong(speech, 1 + next_random(speech->meter) % (speech->size + 1));
        return false;
    case METER_HALF:
        say_halves(speech);
        return false;
    case METER_SILENT:
        return false;
    default:
        say_right(speech, speech->at_ns);
        return true;
    }
    say_wrong(speech, SIZE_MAX);
    return false;
}

static enum meter_fault choose(struct meter *meter)
{
    unsigned faults = atomic_load(&meter->faults);
    if (faults == 0 || next_random(meter) % 100 >= atomic_load(&meter->percent)) {
        return METER_RIGHT;
    }
    enum meter_fault fault;
    do {
        fault = (enum meter_fault)(next_random(meter) % METER_FAULTS);
    } while (!(faults >> fault & 1));
    return fault;
}

/* One request, whole. */
static void hear(struct meter *meter, const uint8_t *adu, size_t size)
{
    bool tcp = meter->mode == FG_MODBUS_TCP;
    struct speech speech = { .meter = meter,
                             .at_ns = fg_clock_now_ns() + meter->turnaround_ns,
                             .unit = adu[tcp ? 6 : 0],
                             .transaction = (uint16_t)(tcp ? adu[0] << 8 | adu[1] : 0),
                             .request = adu,
                             .request_size = size };
    atomic_fetch_add(&meter->requests, 1);
    for (size_t i = 0; i < METER_QUEUE; i++) {
        if (meter->queue[i].due_ns == WITH_NEXT_REQUEST) {
            meter->queue[i].due_ns = speech.at_ns;
        }
    }
    if (speech.unit >= METER_UNITS || atomic_load(&meter->dead) >> speech.unit & 1) {
        return;
    }
    atomic_uint *unanswered = &meter->unanswered[speech.unit];
    meter->number++;
    speech.size = answer(meter, adu + (tcp ? 7 : 1), speech.unit, speech.pdu);
    enum meter_fault fault = choose(meter);
    atomic_fetch_add(&meter->made[fault], 1);
    if (misbehave(&speech, fault)) {
        atomic_store(unanswered, 0);
    } else {
        atomic_fetch_add(unanswered, 1);
    }
}

static void read_requests(struct meter *meter)
{
    size_t whole = meter->mode == FG_MODBUS_TCP ? 12 : 8; /* reads only */
    ssize_t got = read(meter->fd, meter->input + meter->size, sizeof meter->input - meter->size);
    if (got <= 0) {
        if (meter->listener >= 0 && got == 0) { /* who asks has gone, and comes again */
            struct pollfd ready = { .fd = meter->listener, .events = POLLIN };
            int fd = poll(&ready, 1, 20) > 0 ? accept(meter->listener, NULL, NULL) : -1;
            if (fd >= 0) {
                int on = 1;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                dup2(fd, meter->fd);
                close(fd);
                meter->size = 0;
                atomic_fetch_add(&meter->connections, 1);
            }
        } else {
            usleep(1000); /* nobody has the other end open */
        }
        return;
    }
    meter->size += (size_t)got;
    while (meter->size >= whole) {
        hear(meter, meter->input, whole);
        meter->size -= whole;
        memmove(meter->input, meter->input + whole, meter->size);
    }
}

/* Writes what is due, in the order in which it was put; returns how long until the next, in ms. */
static int write_due(struct meter *meter)
{
    int64_t now_ns = fg_clock_now_ns(), next_ns = now_ns + 20 * FG_NS_PER_MS;
    for (size_t i = 0; i < METER_QUEUE; i++) {
        int64_t due_ns = meter->queue[i].due_ns;
        if (due_ns > WITH_NEXT_REQUEST && due_ns <= now_ns) {
            atomic_fetch_add(&meter->good, meter->queue[i].good);
            ssize_t written = write(meter->fd, meter->queue[i].adu, meter->queue[i].size);
            (void)written; /* who asks may have gone */
            meter->queue[i].due_ns = 0;
        } else if (due_ns > WITH_NEXT_REQUEST && due_ns < next_ns) {
            next_ns = due_ns;
        }
    }
    return (int)((next_ns - now_ns + FG_NS_PER_MS - 1) / FG_NS_PER_MS);
}

static void *run(void *argument)
{
    struct meter *meter = argument;
    int wait_ms = 20;
    while (!atomic_load(&meter->stop)) {
        struct pollfd ready = { .fd = meter->fd, .events = POLLIN };
        if (poll(&ready, 1, wait_ms) > 0 && ready.revents & POLLIN) {
            read_requests(meter);
        } else if (ready.revents) {
            usleep(1000); /* nobody has the other end open */
        }
        wait_ms = write_due(meter);
    }
    return NULL;
}

void meter_start(struct meter *meter)
{
    int on = 1;
    setsockopt(meter->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* where it is a socket */
    atomic_store(&meter->stop, false);
    assert_int_equal(pthread_create(&meter->thread, NULL, run, meter), 0);
    meter->started = true;
}

void meter_stop(struct meter *meter)
{
    if (meter->started) {
        atomic_store(&meter->stop, true);
        pthread_join(meter->thread, NULL);
        meter->started = false;
    }
}
