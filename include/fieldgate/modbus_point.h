/*
 * Points of Modbus devices: what registers and coils mean, and their settings. Pure: no descriptor, no clock,
 * no thread, no heap.
 *
 * MODBUS Application Protocol Specification V1.1b3, 4.3 (tables) and 4.2 (a register is sent high byte
 * first); how values of more than one register are laid out is not specified there: `order` says it.
 */
#ifndef FIELDGATE_MODBUS_POINT_H
#define FIELDGATE_MODBUS_POINT_H

#include "fieldgate/modbus.h"
#include "fieldgate/setting.h"
#include "fieldgate/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fg_modbus_table { FG_MODBUS_COIL, FG_MODBUS_DISCRETE, FG_MODBUS_INPUT, FG_MODBUS_HOLDING };

enum fg_modbus_type {
    FG_MODBUS_BOOL, /* a coil; in a register the bit named, else whether the register is not 0 */
    FG_MODBUS_INT16,
    FG_MODBUS_UINT16,
    FG_MODBUS_INT32,
    FG_MODBUS_UINT32,
    FG_MODBUS_INT64,
    FG_MODBUS_UINT64,
    FG_MODBUS_FLOAT32,
    FG_MODBUS_FLOAT64,
    FG_MODBUS_STRING, /* two characters a register; ends at a NUL, blanks behind it are dropped */
    FG_MODBUS_BITS,   /* bits of one register as a number; bit 0 is the lowest */
};

/* Letters are the value's bytes, A the highest, in the order in which they are sent; of 64 bits accordingly:
 * CDAB sends the lowest register first. BADC and DCBA swap the bytes of single registers and strings too. */
enum fg_modbus_order { FG_MODBUS_ABCD, FG_MODBUS_CDAB, FG_MODBUS_BADC, FG_MODBUS_DCBA };

/* ---- settings ---- */

#define FG_MODBUS_MIN_NONE (-1e308)
#define FG_MODBUS_MAX_NONE 1e308

struct fg_modbus_point_settings {
    int table;       /* enum fg_modbus_table */
    int64_t address; /* -1: not given */
    int type;        /* enum fg_modbus_type */
    int order;       /* enum fg_modbus_order */
    int64_t length;  /* registers of a string; 0: not given */
    int64_t bit;     /* -1: not given */
    int64_t width;
    double scale, offset;
    int64_t decimals; /* -1: as many as it takes */
    double minimum, maximum;
    bool writable;
    char *unit;
    int64_t poll_interval_ns; /* 0: the device's */
};

struct fg_modbus_device_settings {
    int64_t unit;
    int64_t poll_interval_ns;
    int64_t timeout_ns;
    int64_t retries;
    int64_t max_gap;
};

/* Without the point's name and report: to stand inline in the table of points, and in that of devices. They
 * have no checks of their own, because points of ports without a protocol have none of this: */
extern const struct fg_schema fg_modbus_point_schema;
extern const struct fg_schema fg_modbus_device_schema;

/* Tell what cannot work together. where is before each key: "" or as in "points[3].". */
void fg_modbus_point_check(struct fg_check *check, const char *where,
                           const struct fg_modbus_point_settings *point);
void fg_modbus_device_check(struct fg_check *check, const char *where, enum fg_modbus_mode mode,
                            const struct fg_modbus_device_settings *device);

struct fg_modbus_rtu_settings {
    int64_t gap_ns; /* silence that ends a frame; 0: from the baud rate */
};

struct fg_modbus_tcp_settings {
    int64_t pipeline; /* requests outstanding at a time; 1: no pipelining */
};

/* The kinds of protocol: "modbus-rtu" and "modbus-tcp"; NULL at the end. */
extern const struct fg_variant *const fg_protocols[];
extern const struct fg_variant fg_protocol_modbus_rtu;
extern const struct fg_variant fg_protocol_modbus_tcp;

/* ---- points ---- */

/* A point made ready. All fields are this module's own but the table's, address and count. */
struct fg_modbus_point {
    enum fg_modbus_table table;
    enum fg_modbus_type type;
    uint16_t address;
    uint16_t count; /* registers, or coils */
    bool writable;
    bool reverse_words, swap_bytes;
    bool scaled;     /* scale and offset are not 1 and 0 */
    bool exact;      /* value = (raw * multiplier + addend) / 10^digits, exactly */
    bool whole_bool; /* a bool that is a whole register */
    int digits;
    int decimals; /* -1: as many as it takes */
    uint8_t bit, width;
    int64_t multiplier, addend;
    double scale, offset;
    double minimum, maximum;
    int64_t poll_interval_ns; /* 0: the device's */
};

/* Returns 0, or -EINVAL for settings of which fg_modbus_point_check tells a problem. Borrows nothing. */
int fg_modbus_point_init(struct fg_modbus_point *point, const struct fg_modbus_point_settings *settings);

/* The function that reads the table; the most that one request reads of it. */
uint8_t fg_modbus_table_function(enum fg_modbus_table table);
uint16_t fg_modbus_table_most(enum fg_modbus_table table);

/*
 * Sets *value to what the answer says of the point; texts are kept in the record's own room. A float that is
 * not finite is NULL. A float32 is the number that the fewest digits tell it by, an integer that is scaled
 * the nearest to the exact decimal, or an integer when that is one; unscaled integers keep all digits. With
 * decimals it is rounded, ties away from zero, and with 0 decimals an integer.
 * Returns 0; -ERANGE when the answer is an exception, or of another table or range: never another register's
 * value; -EILSEQ for text that is not UTF-8; -ENOSPC when the record has no room.
 */
int fg_modbus_point_decode(const struct fg_modbus_point *point, const struct fg_modbus_answer *answer,
                           struct fg_record *record, struct fg_value *value);

#define FG_MODBUS_WHY 160

/*
 * Makes the request that writes the value: 5 for a coil, 22 for bits, 6 for another single register, else 16.
 * Returns 0; or says in why what is wrong and returns -EACCES when the point is not writable, -EINVAL when it
 * is not that kind of value, -ERANGE when it is out of min..max or of what the type can hold, -EDOM when the
 * device could only have another value. Numbers for floats are rounded to the nearest, integers are not.
 */
int fg_modbus_point_encode(const struct fg_modbus_point *point, uint8_t unit, const struct fg_value *value,
                           struct fg_modbus_request *request, char why[FG_MODBUS_WHY]);

#endif
