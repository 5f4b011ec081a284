/*
 * A Modbus line in tests, with its own clock: devices that answer, late, wrongly or not at all, and a poller
 * that asks them. What comes of it is kept as text, and every value is compared with the device's registers.
 */
#ifndef FIELDGATE_TESTS_MODBUS_LINE_H
#define FIELDGATE_TESTS_MODBUS_LINE_H

#include "fieldgate/modbus_poll.h"

#define TEST_MS        INT64_C(1000000)
#define TEST_SECOND    INT64_C(1000000000)
#define TEST_DEVICES   40
#define TEST_REGISTERS 512
#define TEST_POINTS    128

/* What a device does with the next request. */
enum fg_test_fault {
    TEST_ANSWERS,
    TEST_SILENT,
    TEST_LATE,     /* answers after the timeout */
    TEST_TWICE,    /* answers, and once more later */
    TEST_CORRUPT,  /* a bit is wrong */
    TEST_CUT,      /* the frame's end is missing */
    TEST_NOISE,    /* bytes before and after the frame */
    TEST_FOREIGN,  /* with another unit's number */
    TEST_FUNCTION, /* with another function */
    TEST_LONG,     /* with more data than was asked for */
    TEST_BUSY,     /* exception 6 */
    TEST_FAULTS,
};

struct fg_test_device {
    struct fg_modbus_poll_device settings;
    struct fg_modbus_point points[TEST_POINTS];
    size_t count;
    uint16_t registers[TEST_REGISTERS];
    bool illegal[TEST_REGISTERS];
    bool dead;
    bool behind_gateway; /* dead: a gateway says so by exception 11 */
    uint32_t lacks;      /* bit N: function N is not known */
    int64_t delay_ns;    /* until it begins to answer */
    unsigned faulty;     /* percent of requests */
    enum fg_test_fault last;
    /* what was seen */
    unsigned asked, written, values, readings, failed;
    int64_t asked_ns, longest_ns; /* the last time, and the longest between two */
};

struct fg_test_line {
    int64_t now_ns;
    bool tcp, echo;
    size_t pipeline;
    struct fg_modbus_line timing;
    bool serial;
    struct fg_modbus_poll *poll;
    size_t count;
    unsigned rejected;
    int64_t quiet_ns;  /* RTU: no frame may be sent before */
    bool log_requests; /* to the text too */
    char text[8000];   /* what happened, "1:online 1:reading " */
    struct fg_test_device devices[TEST_DEVICES];
};

/* The line of tests; one at a time. */
extern struct fg_test_line fg_test_line;

/* Empties it: RTU at 9600 8N1. */
void fg_test_line_begin(void);
void fg_test_line_end(void);

/* The same, as cmocka calls it before and after a test. */
int fg_test_line_set_up(void **state);
int fg_test_line_tear_down(void **state);

/* A device with the next unit: period 1 s, timeout 200 ms, 2 retries, no gaps, answers after 5 ms. */
struct fg_test_device *fg_test_line_device(void);

/* A holding register of it, as uint16. */
struct fg_modbus_point *fg_test_line_point(struct fg_test_device *device, uint16_t address);

/* A device with so many points, each 10 registers behind the one before. */
struct fg_test_device *fg_test_line_device_with(size_t points);

/* Makes the poller; the link comes up. */
void fg_test_line_start(void);

/* Lets time pass. */
void fg_test_line_run(int64_t ns);

/* Wants this text to have come since the last time. */
void fg_test_line_expect(const char *wanted);

#endif
