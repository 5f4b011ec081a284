#include "support/modbus_line.h"

#include "support/modbus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fg_test_line fg_test_line;
#define LINE (&fg_test_line)

/* Bytes on their way to us. */
#define FLYING 64
static struct {
    bool used;
    int64_t at_ns;
    size_t size;
    uint8_t bytes[2 * FG_MODBUS_ADU_MAX];
} flying[FLYING];

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(LINE->text);
    va_start(arguments, format);
    vsnprintf(LINE->text + used, sizeof LINE->text - used, format, arguments);
    va_end(arguments);
}

/* ---- devices ---- */

static unsigned get16(const uint8_t *bytes)
{
    return (unsigned)(bytes[0] << 8 | bytes[1]);
}

static void put16(uint8_t *bytes, unsigned value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static size_t except(uint8_t *pdu, unsigned function, uint8_t exception)
{
    pdu[0] = (uint8_t)(function | 0x80);
    pdu[1] = exception;
    return 2;
}

static size_t read_some(struct fg_test_device *device, const uint8_t *request, uint8_t *pdu)
{
    unsigned address = get16(request + 1), count = get16(request + 3);
    bool bits = request[0] <= 2;
    pdu[0] = request[0];
    pdu[1] = (uint8_t)(bits ? (count + 7) / 8 : count * 2);
    memset(pdu + 2, 0, pdu[1]);
    for (unsigned i = 0; i < count; i++) {
        unsigned word = device->registers[address + i];
        if (bits) {
            pdu[2 + i / 8] = (uint8_t)(pdu[2 + i / 8] | (word & 1) << i % 8);
        } else {
            put16(pdu + 2 + 2 * i, word);
        }
    }
    return 2u + pdu[1];
}

static void write_some(struct fg_test_device *device, const uint8_t *request)
{
    unsigned address = get16(request + 1), value = get16(request + 3);
    device->written++;
    switch (request[0]) {
    case 5:
        device->registers[address] = value == 0xFF00;
        break;
    case 6:
        device->registers[address] = (uint16_t)value;
        break;
    case 15:
        for (unsigned i = 0; i < value; i++) {
            device->registers[address + i] = (request[6 + i / 8] >> i % 8) & 1;
        }
        break;
    case 16:
        for (unsigned i = 0; i < value; i++) {
            device->registers[address + i] = (uint16_t)get16(request + 6 + 2 * i);
        }
        break;
    default:
        device->registers[address] =
            (uint16_t)((device->registers[address] & value) | (get16(request + 5) & ~value));
        break;
    }
}

static size_t answer_pdu(struct fg_test_device *device, const uint8_t *request, uint8_t *pdu)
{
    unsigned function = request[0], address = get16(request + 1);
    unsigned count = function == 5 || function == 6 || function == 22 ? 1 : get16(request + 3);
    if (device->dead) {
        return except(pdu, function, FG_MODBUS_GATEWAY_TARGET);
    }
    if (device->lacks >> function & 1) {
        return except(pdu, function, FG_MODBUS_ILLEGAL_FUNCTION);
    }
    for (unsigned i = 0; i < count; i++) {
        if (address + i >= TEST_REGISTERS || device->illegal[address + i]) {
            return except(pdu, function, FG_MODBUS_ILLEGAL_ADDRESS);
        }
    }
    if (function <= 4) {
        return read_some(device, request, pdu);
    }
    write_some(device, request);
    memcpy(pdu, request, 7);
    return function == 22 ? 7 : 5;
}

/* ---- the line ---- */

static void fly(int64_t at_ns, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < FLYING; i++) {
        if (!flying[i].used) {
            flying[i].used = true;
            flying[i].at_ns = at_ns;
            flying[i].size = size;
            memcpy(flying[i].bytes, bytes, size);
            return;
        }
    }
    fail_msg("too much is on its way");
}

static int64_t bytes_ns(size_t size)
{
    return LINE->serial ? fg_modbus_line_bytes_ns(&LINE->timing, size) : 0;
}

/* Sends the answer with a fault. */
static void send_faulty(const struct fg_test_device *device, enum fg_test_fault fault, int64_t at_ns,
                        uint16_t transaction, uint8_t *pdu, size_t size)
{
    enum fg_modbus_mode mode = LINE->tcp ? FG_MODBUS_TCP : FG_MODBUS_RTU;
    uint8_t adu[2 * FG_MODBUS_ADU_MAX], noisy[2 * FG_MODBUS_ADU_MAX];
    uint8_t unit = device->settings.unit;
    int64_t late_ns = at_ns + device->settings.timeout_ns + (rand() % 1000) * TEST_MS;
    switch (fault) {
    case TEST_BUSY:
        size = except(pdu, pdu[0], FG_MODBUS_DEVICE_BUSY);
        break;
    case TEST_FOREIGN:
        unit = (uint8_t)(unit + 100);
        break;
    case TEST_FUNCTION:
        pdu[0] = (uint8_t)(pdu[0] ^ 7);
        break;
    case TEST_LONG:
        pdu[1] = (uint8_t)(pdu[1] + 2);
        put16(pdu + size, 0xBAD0);
        size += 2;
        break;
    default:
        break;
    }
    size_t made = fg_test_modbus_frame(mode, transaction, unit, pdu, size, adu);
    switch (fault) {
    case TEST_LATE:
        at_ns = late_ns;
        break;
    case TEST_TWICE:
        fly(at_ns + bytes_ns(2 * made) + (rand() % 40) * TEST_MS, adu, made);
        break;
    case TEST_CORRUPT:
        adu[rand() % (int)made] ^= (uint8_t)(1u << rand() % 8);
        break;
    case TEST_CUT:
        made -= 1 + (size_t)rand() % (made - 1);
        break;
    case TEST_NOISE:
        noisy[0] = (uint8_t)rand();
        memcpy(noisy + 1, adu, made);
        noisy[made + 1] = (uint8_t)rand();
        memcpy(adu, noisy, made + 2);
        made += 2;
        break;
    default:
        break;
    }
    fly(at_ns + bytes_ns(made), adu, made);
}

static struct fg_test_device *device_of(uint8_t unit)
{
    for (size_t i = 0; i < LINE->count; i++) {
        if (LINE->devices[i].settings.unit == unit) {
            return &LINE->devices[i];
        }
    }
    return NULL;
}

static void request_sent(const uint8_t *adu, size_t size)
{
    const uint8_t *request = adu + (LINE->tcp ? 7 : 1);
    struct fg_test_device *device = device_of(request[-1]);
    uint8_t pdu[FG_MODBUS_PDU_MAX + 8];
    assert_non_null(device);
    if (LINE->log_requests) {
        note("%d?%d:%d+%d ", request[-1], request[0], (int)get16(request + 1), (int)get16(request + 3));
    }
    int64_t between_ns = LINE->now_ns - device->asked_ns;
    if (device->asked > 0 && between_ns > device->longest_ns) {
        device->longest_ns = between_ns;
    }
    device->asked++;
    device->asked_ns = LINE->now_ns;
    assert_true(LINE->now_ns >= LINE->quiet_ns);
    int64_t at_ns = LINE->now_ns + bytes_ns(size);
    if (LINE->echo) {
        fly(at_ns, adu, size);
    }
    if (device->dead && !device->behind_gateway) {
        return;
    }
    enum fg_test_fault fault = TEST_ANSWERS;
    if (rand() % 100 < (int)device->faulty) {
        fault = (enum fg_test_fault)(1 + rand() % (TEST_FAULTS - 1));
    }
    /* Nothing in an answer tells which of its sendings it is to: late ones in double are past knowing. */
    if (fault == TEST_TWICE && device->last != TEST_ANSWERS) {
        fault = TEST_SILENT;
    }
    device->last = fault;
    if (LINE->log_requests && fault != TEST_ANSWERS) {
        note("!%d ", (int)fault);
    }
    if (fault != TEST_SILENT) {
        size_t made = answer_pdu(device, request, pdu);
        send_faulty(device, fault, at_ns + device->delay_ns, (uint16_t)get16(adu), pdu, made);
    }
}

/* What arrives first; FLYING when nothing does. */
static size_t first_flying(void)
{
    size_t first = FLYING;
    for (size_t i = 0; i < FLYING; i++) {
        if (flying[i].used && (first == FLYING || flying[i].at_ns < flying[first].at_ns)) {
            first = i;
        }
    }
    return first;
}

void fg_test_line_run(int64_t ns)
{
    int64_t end_ns = LINE->now_ns + ns;
    int same = 0;
    for (;;) {
        uint8_t adu[FG_MODBUS_ADU_MAX];
        int64_t wake_ns;
        size_t size = fg_modbus_poll_next(LINE->poll, LINE->now_ns, adu, &wake_ns);
        if (size > 0) {
            request_sent(adu, size);
            continue;
        }
        size_t first = first_flying();
        if (first < FLYING && flying[first].at_ns <= wake_ns && flying[first].at_ns <= end_ns) {
            flying[first].used = false;
            LINE->now_ns = flying[first].at_ns > LINE->now_ns ? flying[first].at_ns : LINE->now_ns;
            LINE->quiet_ns = LINE->now_ns + (LINE->serial ? LINE->timing.t35_ns : 0);
            fg_modbus_poll_feed(LINE->poll, flying[first].bytes, flying[first].size, LINE->now_ns);
            continue;
        }
        if (wake_ns >= end_ns) {
            LINE->now_ns = end_ns;
            return;
        }
        same = wake_ns > LINE->now_ns ? 0 : same + 1;
        assert_true(same < 100); /* it must not spin */
        LINE->now_ns = wake_ns > LINE->now_ns ? wake_ns : LINE->now_ns;
    }
}

/* ---- what comes of it ---- */

static void on_values(void *context, size_t index, const uint16_t *points, size_t count,
                      const struct fg_modbus_answer *answer)
{
    (void)context;
    struct fg_test_device *device = &LINE->devices[index];
    for (size_t i = 0; i < count; i++) {
        const struct fg_modbus_point *point = &device->points[points[i]];
        struct fg_value value;
        assert_int_equal(answer->request->unit, device->settings.unit);
        assert_int_equal(fg_modbus_point_decode(point, answer, NULL, &value), 0);
        if (value.integer != device->registers[point->address]) {
            fail_msg("%zu: %d has %04x, not %04x: %s", index + 1, point->address,
                     device->registers[point->address], (unsigned)value.integer, LINE->text);
        }
        device->values++;
    }
}

static void on_failed(void *context, size_t index, const uint16_t *points, size_t count, uint8_t exception)
{
    (void)context;
    (void)points;
    LINE->devices[index].failed += (unsigned)count;
    note("%zu:failed %d ", index + 1, exception);
}

static void on_refused(void *context, size_t index, const uint16_t *points, size_t count, uint8_t exception)
{
    (void)context;
    for (size_t i = 0; i < count; i++) {
        note("%zu:refused %d:%d ", index + 1, LINE->devices[index].points[points[i]].address, exception);
    }
}

static void on_reading(void *context, size_t index, size_t group)
{
    (void)context;
    (void)group;
    LINE->devices[index].readings++;
    note("%zu:reading ", index + 1);
}

static void on_online(void *context, size_t index, bool online)
{
    (void)context;
    note("%zu:%s ", index + 1, online ? "online" : "offline");
}

static void on_rejected(void *context, enum fg_reason reason)
{
    (void)context;
    LINE->rejected++;
    if (LINE->log_requests) {
        note("<%s> ", fg_reason_name(reason));
    }
}

static void on_commanded(void *context, struct fg_modbus_command *command, enum fg_modbus_outcome outcome,
                         const struct fg_modbus_answer *answer)
{
    (void)context;
    note("%zu:%s", command->device + 1, fg_modbus_outcome_name(outcome));
    if (answer && answer->exception) {
        note(" %d", answer->exception);
    }
    note(" ");
}

static const struct fg_modbus_poll_events events = {
    .values = on_values,
    .failed = on_failed,
    .refused = on_refused,
    .reading = on_reading,
    .online = on_online,
    .rejected = on_rejected,
    .commanded = on_commanded,
};

/* ---- set up ---- */

void fg_test_line_begin(void)
{
    memset(LINE, 0, sizeof *LINE);
    memset(flying, 0, sizeof flying);
    LINE->serial = true;
    LINE->pipeline = 1;
    LINE->now_ns = 1000 * TEST_SECOND;
    assert_int_equal(fg_modbus_line_init(&LINE->timing, 9600, "8N1"), 0);
}

void fg_test_line_end(void)
{
    fg_modbus_poll_free(LINE->poll);
    LINE->poll = NULL;
}

struct fg_test_device *fg_test_line_device(void)
{
    struct fg_test_device *device = &LINE->devices[LINE->count++];
    device->settings = (struct fg_modbus_poll_device){ .unit = (uint8_t)LINE->count,
                                                       .poll_interval_ns = TEST_SECOND,
                                                       .timeout_ns = 200 * TEST_MS,
                                                       .retries = 2 };
    device->delay_ns = 5 * TEST_MS;
    for (unsigned i = 0; i < TEST_REGISTERS; i++) {
        device->registers[i] = (uint16_t)(fg_test_input((uint16_t)i) + LINE->count * 4099u);
    }
    return device;
}

struct fg_modbus_point *fg_test_line_point(struct fg_test_device *device, uint16_t address)
{
    struct fg_modbus_point_settings settings = fg_test_modbus_point(FG_MODBUS_UINT16, address);
    struct fg_modbus_point *point = &device->points[device->count++];
    assert_int_equal(fg_modbus_point_init(point, &settings), 0);
    return point;
}

void fg_test_line_start(void)
{
    struct fg_modbus_poll_settings settings = { .mode = LINE->tcp ? FG_MODBUS_TCP : FG_MODBUS_RTU,
                                                .line = LINE->serial ? &LINE->timing : NULL,
                                                .pipeline = LINE->pipeline };
    struct fg_modbus_poll_device devices[TEST_DEVICES];
    for (size_t i = 0; i < LINE->count; i++) {
        devices[i] = LINE->devices[i].settings;
        devices[i].points = LINE->devices[i].points;
        devices[i].count = LINE->devices[i].count;
    }
    assert_int_equal(fg_modbus_poll_new(&settings, devices, LINE->count, &events, NULL, &LINE->poll), 0);
    fg_modbus_poll_up(LINE->poll, LINE->now_ns);
}

void fg_test_line_expect(const char *wanted)
{
    assert_string_equal(LINE->text, wanted);
    LINE->text[0] = '\0';
}

int fg_test_line_set_up(void **state)
{
    (void)state;
    fg_test_line_begin();
    return 0;
}

int fg_test_line_tear_down(void **state)
{
    (void)state;
    fg_test_line_end();
    return 0;
}

struct fg_test_device *fg_test_line_device_with(size_t points)
{
    struct fg_test_device *device = fg_test_line_device();
    for (size_t i = 0; i < points; i++) {
        fg_test_line_point(device, (uint16_t)(10 * i));
    }
    return device;
}
