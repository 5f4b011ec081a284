/*
 * Devices by others, libmodbus and pymodbus: every type and order is read from them by a port, and every
 * function code is understood by them.
 */
#include "support/asked.h"
#include "support/client.h"
#include "support/port_bench.h"
#include "support/wait.h"

#include "fieldgate/clock.h"
#include "fieldgate/modbus.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

#define REGISTERS 300
#define BITS      64

enum peer { LIBMODBUS, PYMODBUS };

/* ---- what the devices hold ---- */

static uint16_t registers[REGISTERS];
static bool bits[BITS];

static const char *const orders[] = { "ABCD", "CDAB", "BADC", "DCBA" };

struct sample {
    const char *type;
    const char *more; /* settings */
    uint8_t bytes[16];
    size_t size;
    const char *value; /* as JSON */
};

static const struct sample samples[] = {
    { "int16", "", { 0xCF, 0xC7 }, 2, "-12345" },
    { "uint16", "scale = 0.1;", { 0xD4, 0x31 }, 2, "5432.1" },
    { "int32", "", { 0xF8, 0xA4, 0x32, 0xEB }, 4, "-123456789" },
    { "uint32", "", { 0xBA, 0x2B, 0xEE, 0x15 }, 4, "3123441173" },
    { "int64", "", { 0xEE, 0xDD, 0xEF, 0x0B, 0x82, 0x16, 0x7E, 0xEB }, 8, "-1234567890123456789" },
    { "uint64", "", { 0xF0, 0, 0, 0, 0, 0, 0, 1 }, 8, "17293822569102704641" },
    { "float32", "", { 0x40, 0x49, 0x0F, 0xDB }, 4, "3.1415927" },
    { "float32", "decimals = 2;", { 0x7F, 0xC0, 0, 0 }, 4, "null" },
    { "float64", "", { 0xC0, 0x05, 0xBF, 0x0A, 0x8B, 0x14, 0x57, 0x69 }, 8, "-2.718281828459045" },
    { "string", "length = 6;", "H\xC3\xA4llo 7\0\0\0\0", 12, "\"H\xC3\xA4llo 7\"" },
    { "bits", "bit = 4; width = 5;", { 0x15, 0x6A }, 2, "22" },
    { "bool", "bit = 8;", { 0x01, 0x00 }, 2, "true" },
};
#define SAMPLES (sizeof samples / sizeof samples[0])

/* Puts the value's bytes into registers as that order says. */
static void lay(const struct sample *sample, size_t order, size_t address)
{
    size_t count = sample->size / 2;
    bool text = strcmp(sample->type, "string") == 0;
    for (size_t i = 0; i < count; i++) {
        size_t from = (order == 1 || order == 3) && !text ? count - 1 - i : i;
        uint8_t high = sample->bytes[2 * from], low = sample->bytes[2 * from + 1];
        bool swapped = order == 2 || order == 3;
        registers[address + i] = (uint16_t)(swapped ? low << 8 | high : high << 8 | low);
    }
}

/* The settings of all points, and what a reading of them says. */
static void make_points(char *settings, size_t settings_size, char *reading, size_t reading_size)
{
    size_t used = 0, said = 0, address = 0;
    for (size_t order = 0; order < 4; order++) {
        for (size_t i = 0; i < SAMPLES; i++) {
            const struct sample *sample = &samples[i];
            lay(sample, order, address);
            used +=
                (size_t)snprintf(settings + used, settings_size - used,
                                 "{ name = \"%s%zu\"; table = \"%s\"; address = %zu; type = \"%s\"; order = "
                                 "\"%s\"; %s },\n",
                                 orders[order], i, i % 2 ? "input" : "holding", address, sample->type,
                                 orders[order], sample->more);
            said += (size_t)snprintf(reading + said, reading_size - said, " %s%zu=%s", orders[order], i,
                                     sample->value);
            address += sample->size / 2;
        }
    }
    assert_true(address <= REGISTERS);
    for (size_t i = 0; i < BITS; i++) {
        bits[i] = (i * 5 / 3) % 2;
        used += (size_t)snprintf(settings + used, settings_size - used,
                                 "{ name = \"b%zu\"; table = \"%s\"; address = %zu; type = \"bool\"; }%s\n",
                                 i, i % 3 ? "coil" : "discrete", i, i + 1 < BITS ? "," : "");
        said +=
            (size_t)snprintf(reading + said, reading_size - said, " b%zu=%s", i, bits[i] ? "true" : "false");
    }
    assert_true(used < settings_size && said < reading_size);
}

static void write_image(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < REGISTERS; i++) {
        fprintf(file, "%u%c", registers[i], i + 1 < REGISTERS ? ' ' : '\n');
    }
    for (size_t i = 0; i < BITS; i++) {
        fprintf(file, "%d%c", bits[i], i + 1 < BITS ? ' ' : '\n');
    }
    fclose(file);
}

/* ---- the devices ---- */

struct device {
    pid_t pid;
    int input; /* its end is the device's */
    int output;
    /* RTU: bytes are passed between the device's line and ours. */
    int lines[2];
    pthread_t wire;
    atomic_bool cut;
    char line[96]; /* our end */
    uint16_t port; /* TCP */
};

static void *pass(void *argument)
{
    struct device *device = argument;
    uint8_t bytes[512];
    while (!atomic_load(&device->cut)) {
        bool idle = true;
        for (int i = 0; i < 2; i++) {
            struct pollfd ready = { .fd = device->lines[i], .events = POLLIN };
            if (poll(&ready, 1, 1) > 0 && ready.revents & POLLIN) {
                ssize_t got = read(device->lines[i], bytes, sizeof bytes);
                idle = got <= 0 || write(device->lines[1 - i], bytes, (size_t)got) != got;
            }
        }
        if (idle) {
            usleep(500);
        }
    }
    return NULL;
}

/* Starts a program with its standard input and output at our hands. Returns whether it said "ready". */
static bool start(struct device *device, const char *program, const char *way, const char *where,
                  const char *image)
{
    int input[2], output[2];
    assert_int_equal(pipe2(input, O_CLOEXEC), 0);
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    char *arguments[] = { (char *)(uintptr_t)program, (char *)(uintptr_t)way, (char *)(uintptr_t)where,
                          (char *)(uintptr_t)image, NULL };
    int error = posix_spawn(&device->pid, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(input[0]);
    close(output[1]);
    device->input = input[1];
    char said[8] = "";
    ssize_t got = error ? 0 : read(output[0], said, sizeof said - 1);
    device->output = output[0]; /* there may be more of it */
    return got > 0 && said[0] == 'r';
}

static void stop(struct device *device)
{
    int status = 0;
    close(device->input);
    close(device->output);
    kill(device->pid, SIGTERM);
    waitpid(device->pid, &status, 0);
    if (device->line[0]) {
        atomic_store(&device->cut, true);
        pthread_join(device->wire, NULL);
        close(device->lines[0]);
        close(device->lines[1]);
    }
}

/* Skips the test where there is no such peer. */
static void device_start(struct device *device, struct rig *rig, enum peer peer, bool tcp)
{
    char image[96], other[96], where[16];
    const char *program = FG_TEST_PYMODBUS;
    if (peer == LIBMODBUS) {
#ifdef FG_TEST_LIBMODBUS
        program = FG_TEST_LIBMODBUS;
#else
        print_message("libmodbus-dev is not installed\n");
        skip();
#endif
    }
    snprintf(image, sizeof image, "%s/image", rig->folder);
    write_image(image);
    *device = (struct device){ .port = tcp ? rig_free_port(SOCK_STREAM) : 0 };
    snprintf(where, sizeof where, "%u", device->port);
    if (!tcp) {
        snprintf(other, sizeof other, "%s/other", rig->folder);
        snprintf(device->line, sizeof device->line, "%s/line", rig->folder);
        device->lines[0] = rig_pty(other);
        device->lines[1] = rig_pty(device->line);
        assert_int_equal(pthread_create(&device->wire, NULL, pass, device), 0);
    }
    if (!start(device, program, tcp ? "tcp" : "rtu", tcp ? where : other, image)) {
        int status = 0;
        pid_t pid = device->pid;
        bool missing = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
                       (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127);
        device->pid = 0;
        if (!missing && pid > 0) {
            fail_msg("the device does not start");
        }
        print_message("pymodbus is not installed\n");
        skip();
    }
}

/* ---- reading ---- */

/* A port that asks the device. */
static struct bench *peer_bench(void **state, const struct device *device, bool tcp, const char *interval,
                                const char *points)
{
    char transport[160];
    if (tcp) {
        snprintf(transport, sizeof transport, "type = \"tcp-client\"; address = \"127.0.0.1:%u\";",
                 device->port);
    } else {
        snprintf(transport, sizeof transport, "type = \"serial\"; path = \"%s\"; baud = 115200;",
                 device->line);
    }
    struct bench *bench = bench_new(state,
                                    "transport: { %s };\nprotocol: { type = \"%s\"; };\n"
                                    "poll_interval = \"%s\"; timeout = \"500ms\"; points = (\n%s);\n",
                                    transport, tcp ? "modbus-tcp" : "modbus-rtu", interval, points);
    bench_open(bench);
    return bench;
}

static void every_type_and_order_is_read(void **state, enum peer peer, bool tcp)
{
    static char settings[20000], wanted[8000];
    struct device device;
    make_points(settings, sizeof settings, wanted, sizeof wanted);
    device_start(&device, *state, peer, tcp);
    struct bench *bench = peer_bench(state, &device, tcp, "100ms", settings);
    RIG_WAIT(bench, bench_count(bench, "p:*") >= 3);
    pthread_mutex_lock(&bench->mutex);
    for (size_t i = 0; i < bench->count; i++) {
        if (strncmp(bench->told[i].text, "p:", 2) == 0) {
            assert_string_equal(bench->told[i].text + 2, wanted);
        }
    }
    pthread_mutex_unlock(&bench->mutex);
    bench_free(bench);
    stop(&device);
}

/* ---- functions ---- */

/* Asks, and waits for the answer. Returns the exception, 0, or -1 for no answer. */
static int ask(struct fg_modbus_matcher *matcher, int fd, const struct fg_modbus_request *request,
               struct fg_modbus_answer *answer)
{
    uint8_t adu[FG_MODBUS_ADU_MAX], bytes[512];
    size_t size = 0;
    assert_int_equal(fg_modbus_matcher_send(matcher, request, fg_clock_now_ns(), adu, &size), 0);
    usleep(5000); /* silence between frames */
    assert_int_equal(write(fd, adu, size), (ssize_t)size);
    int64_t deadline = wait_deadline(5000);
    while (!wait_over(deadline)) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        enum fg_reason reason = FG_REASON_NONE;
        enum fg_modbus_event event;
        ssize_t got = poll(&ready, 1, 100) > 0 ? read(fd, bytes, sizeof bytes) : 0;
        const uint8_t *at = bytes;
        size = got > 0 ? (size_t)got : 0;
        while ((event = fg_modbus_matcher_feed(matcher, &at, &size, answer, &reason)) != FG_MODBUS_MORE) {
            if (event == FG_MODBUS_ANSWER) {
                return answer->exception;
            }
        }
    }
    return -1;
}

static void expect_read(struct fg_modbus_matcher *matcher, int fd, uint8_t function, uint16_t address,
                        uint16_t wanted)
{
    struct fg_modbus_answer answer;
    struct fg_modbus_request request = { .unit = 1, .function = function, .read = { address, 1 } };
    assert_int_equal(ask(matcher, fd, &request, &answer), 0);
    if (function <= FG_MODBUS_READ_DISCRETE) {
        assert_int_equal(fg_modbus_answer_bit(&answer, address), wanted);
    } else {
        assert_int_equal(fg_modbus_answer_register(&answer, address), wanted);
    }
}

static void expect_done(struct fg_modbus_matcher *matcher, int fd, const struct fg_modbus_request *request)
{
    struct fg_modbus_answer answer;
    assert_int_equal(ask(matcher, fd, request, &answer), 0);
}

static void expect_all_functions(struct fg_modbus_matcher *matcher, int fd)
{
    struct fg_modbus_answer answer;
    expect_read(matcher, fd, FG_MODBUS_READ_COILS, 3, bits[3]);
    expect_read(matcher, fd, FG_MODBUS_READ_DISCRETE, 4, bits[4]);
    expect_read(matcher, fd, FG_MODBUS_READ_HOLDING, 5, registers[5]);
    expect_read(matcher, fd, FG_MODBUS_READ_INPUT, 6, registers[6]);
    struct fg_modbus_request request = { .unit = 1, .function = FG_MODBUS_WRITE_COIL, .write = { 3, 1 } };
    request.coils[0] = !bits[3];
    expect_done(matcher, fd, &request);
    expect_read(matcher, fd, FG_MODBUS_READ_COILS, 3, !bits[3]);
    request = (struct fg_modbus_request){
        .unit = 1, .function = FG_MODBUS_WRITE_REGISTER, .write = { 5, 1 }, .registers = { 4711 }
    };
    expect_done(matcher, fd, &request);
    expect_read(matcher, fd, FG_MODBUS_READ_HOLDING, 5, 4711);
    request = (struct fg_modbus_request){
        .unit = 1, .function = FG_MODBUS_WRITE_COILS, .write = { 10, 10 }, .coils = { 0xFF, 0x03 }
    };
    expect_done(matcher, fd, &request);
    expect_read(matcher, fd, FG_MODBUS_READ_COILS, 10, 1);
    expect_read(matcher, fd, FG_MODBUS_READ_COILS, 19, 1);
    request = (struct fg_modbus_request){
        .unit = 1, .function = FG_MODBUS_WRITE_REGISTERS, .write = { 20, 3 }, .registers = { 1, 2, 0x12F2 }
    };
    expect_done(matcher, fd, &request);
    expect_read(matcher, fd, FG_MODBUS_READ_HOLDING, 21, 2);
    request = (struct fg_modbus_request){
        .unit = 1, .function = FG_MODBUS_MASK_WRITE, .write = { 22, 1 }, .and_mask = 0x00F2, .or_mask = 0x0025
    };
    expect_done(matcher, fd, &request);
    expect_read(matcher, fd, FG_MODBUS_READ_HOLDING, 22, (0x12F2 & 0x00F2) | (0x0025 & 0xFF0D));
    request = (struct fg_modbus_request){ .unit = 1,
                                          .function = FG_MODBUS_READ_WRITE,
                                          .read = { 20, 4 },
                                          .write = { 23, 1 },
                                          .registers = { 99 } };
    assert_int_equal(ask(matcher, fd, &request, &answer), 0);
    assert_int_equal(fg_modbus_answer_register(&answer, 20), 1);
    assert_int_equal(fg_modbus_answer_register(&answer, 23), 99); /* written, then read */
    request = (struct fg_modbus_request){ .unit = 1,
                                          .function = FG_MODBUS_READ_HOLDING,
                                          .read = { REGISTERS - 1, 2 } };
    assert_int_equal(ask(matcher, fd, &request, &answer), FG_MODBUS_ILLEGAL_ADDRESS);
}

static void every_function_is_understood(void **state, enum peer peer)
{
    struct device device;
    struct fg_modbus_matcher matcher;
    for (size_t i = 0; i < REGISTERS; i++) {
        registers[i] = (uint16_t)(i * 257 + 1);
    }
    device_start(&device, *state, peer, true);
    int64_t deadline = wait_deadline(10000);
    int fd = -1;
    while ((fd = client_try_tcp(device.port)) < 0) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
    fg_modbus_matcher_init(&matcher, FG_MODBUS_TCP);
    expect_all_functions(&matcher, fd);
    close(fd);
    stop(&device);
}

/* ---- writing ---- */

static const struct written {
    const char *name, *settings, *first, *second; /* values */
} written[] = {
    { "coil", "table = \"coil\"; address = 3; type = \"bool\";", "true", "false" },              /* 5 */
    { "i16", "address = 10; type = \"int16\";", "-12345", "7" },                                 /* 6 */
    { "u16", "address = 11; type = \"uint16\"; scale = 0.1;", "5432.1", "0.5" },                 /* 6 */
    { "whole", "address = 12; type = \"bool\";", "true", "false" },                              /* 6 */
    { "i32", "address = 20; type = \"int32\"; order = \"CDAB\";", "-123456789", "1" },           /* 16 */
    { "u32", "address = 22; type = \"uint32\"; order = \"BADC\";", "3123441173", "2" },          /* 16 */
    { "i64", "address = 24; type = \"int64\"; order = \"DCBA\";", "-1234567890123456789", "3" }, /* 16 */
    { "u64", "address = 28; type = \"uint64\";", "17293822569102704641", "4" },                  /* 16 */
    { "f32", "address = 32; type = \"float32\"; order = \"CDAB\";", "3.1415927", "0.5" },        /* 16 */
    { "f64", "address = 36; type = \"float64\";", "-2.718281828459045", "0.25" },                /* 16 */
    { "text", "address = 40; type = \"string\"; length = 6;", "\"H\xC3\xA4llo\"", "\"\"" },      /* 16 */
    { "bits", "address = 50; type = \"bits\"; bit = 4; width = 5;", "22", "9" },                 /* 22 */
    { "bit", "address = 50; type = \"bool\"; bit = 12;", "true", "false" },                      /* 22 */
};
#define WRITTEN (sizeof written / sizeof written[0])

/* Sets all points one by one, then all at once, and reads them. */
static void write_all(struct bench *bench)
{
    struct asked *asked[WRITTEN + 2];
    char all[990] = "", wanted[1000] = "ok";
    for (size_t i = 0; i < WRITTEN; i++) {
        char one[100];
        snprintf(one, sizeof one, "%s=%s", written[i].name, written[i].first);
        asked[i] = asked_set(bench, "p", one);
        assert_string_equal(asked_answer(asked[i]), "ok");
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), " %s=%s", written[i].name,
                 written[i].first);
    }
    struct asked *read = asked_get(bench, "p", "");
    assert_string_equal(asked_answer(read), wanted);
    snprintf(wanted, sizeof wanted, "ok");
    for (size_t i = 0; i < WRITTEN; i++) {
        snprintf(all + strlen(all), sizeof all - strlen(all), " %s=%s", written[i].name, written[i].second);
    }
    snprintf(wanted + 2, sizeof wanted - 2, "%s", all);
    asked[WRITTEN] = asked_set(bench, "p", all);
    assert_string_equal(asked_answer(asked[WRITTEN]), "ok");
    asked[WRITTEN + 1] = asked_get(bench, "p", "");
    assert_string_equal(asked_answer(asked[WRITTEN + 1]), wanted);
    bench_close(bench);
    asked_free(read);
    for (size_t i = 0; i < WRITTEN + 2; i++) {
        asked_free(asked[i]);
    }
}

static void every_type_is_written(void **state, enum peer peer, bool tcp)
{
    char settings[3000] = "";
    struct device device;
    memset(registers, 0, sizeof registers);
    device_start(&device, *state, peer, tcp);
    for (size_t i = 0; i < WRITTEN; i++) {
        snprintf(settings + strlen(settings), sizeof settings - strlen(settings),
                 "%s{ name = \"%s\"; %s writable = true; }", i > 0 ? ",\n" : "", written[i].name,
                 written[i].settings);
    }
    struct bench *bench = peer_bench(state, &device, tcp, "1h", settings);
    RIG_WAIT(bench, bench_count(bench, "p:*") > 0);
    write_all(bench);
    bench_free(bench);
    stop(&device);
}

static void libmodbus_is_written_to_on_a_serial_line(void **state)
{
    every_type_is_written(state, LIBMODBUS, false);
}

static void libmodbus_is_written_to_on_tcp(void **state)
{
    every_type_is_written(state, LIBMODBUS, true);
}

static void pymodbus_is_written_to_on_a_serial_line(void **state)
{
    every_type_is_written(state, PYMODBUS, false);
}

static void pymodbus_is_written_to_on_tcp(void **state)
{
    every_type_is_written(state, PYMODBUS, true);
}

static void libmodbus_on_a_serial_line(void **state)
{
    every_type_and_order_is_read(state, LIBMODBUS, false);
}

static void libmodbus_on_tcp(void **state)
{
    every_type_and_order_is_read(state, LIBMODBUS, true);
}

static void pymodbus_on_a_serial_line(void **state)
{
    every_type_and_order_is_read(state, PYMODBUS, false);
}

static void pymodbus_on_tcp(void **state)
{
    every_type_and_order_is_read(state, PYMODBUS, true);
}

static void libmodbus_understands_every_function(void **state)
{
    every_function_is_understood(state, LIBMODBUS);
}

static void pymodbus_understands_every_function(void **state)
{
    every_function_is_understood(state, PYMODBUS);
}

#define RIG_TEST(behaviour) cmocka_unit_test_setup_teardown(behaviour, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(libmodbus_on_a_serial_line),
        RIG_TEST(libmodbus_on_tcp),
        RIG_TEST(pymodbus_on_a_serial_line),
        RIG_TEST(pymodbus_on_tcp),
        RIG_TEST(libmodbus_is_written_to_on_a_serial_line),
        RIG_TEST(libmodbus_is_written_to_on_tcp),
        RIG_TEST(pymodbus_is_written_to_on_a_serial_line),
        RIG_TEST(pymodbus_is_written_to_on_tcp),
        RIG_TEST(libmodbus_understands_every_function),
        RIG_TEST(pymodbus_understands_every_function),
    };
    return RIG_RUN(tests);
}
