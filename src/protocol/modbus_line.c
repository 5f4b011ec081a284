#include "fieldgate/clock.h"
#include "fieldgate/modbus.h"

#include <errno.h>
#include <string.h>

/* Serial Line 2.5.1.1. */
#define FIXED_ABOVE_BAUD 19200
#define FIXED_T15_NS     (750 * FG_NS_PER_MS / 1000)
#define FIXED_T35_NS     (1750 * FG_NS_PER_MS / 1000)

/* No line is faster; it keeps the products below within 64 bits. */
#define BAUD_MAX 100000000

static int64_t divide_up(int64_t dividend, int64_t divisor)
{
    return (dividend + divisor - 1) / divisor;
}

int fg_modbus_line_init(struct fg_modbus_line *line, int64_t baud, const char *format)
{
    if (baud < 1 || baud > BAUD_MAX || strlen(format) != 3 || !strchr("5678", format[0]) ||
        !strchr("NEO", format[1]) || !strchr("12", format[2])) {
        return -EINVAL;
    }
    int bits = 1 + (format[0] - '0') + (format[1] != 'N') + (format[2] - '0');
    bool fixed = baud > FIXED_ABOVE_BAUD;
    *line = (struct fg_modbus_line){
        .baud = baud,
        .bits = bits,
        .t15_ns = fixed ? FIXED_T15_NS : divide_up(bits * 3 * FG_NS_PER_S, baud * 2),
        .t35_ns = fixed ? FIXED_T35_NS : divide_up(bits * 7 * FG_NS_PER_S, baud * 2),
    };
    return 0;
}

int64_t fg_modbus_line_bytes_ns(const struct fg_modbus_line *line, size_t bytes)
{
    return divide_up((int64_t)bytes * line->bits * FG_NS_PER_S, line->baud);
}

int64_t fg_modbus_line_exchange_ns(const struct fg_modbus_line *line, const struct fg_modbus_request *request,
                                   int64_t turnaround_ns)
{
    int64_t ns =
        fg_modbus_line_bytes_ns(line, fg_modbus_request_bytes(request, FG_MODBUS_RTU)) + line->t35_ns;
    if (fg_modbus_request_answered(request, FG_MODBUS_RTU)) {
        ns += turnaround_ns + line->t35_ns +
              fg_modbus_line_bytes_ns(line, fg_modbus_answer_bytes(request, FG_MODBUS_RTU));
    }
    return ns;
}
