/*
 * A port that asks three meters, on a pty or a socket, and a ledger of what is published: each value must be
 * the register's that it is named after, and never older than the one before.
 */
#ifndef FIELDGATE_TEST_POLL_SITE_H
#define FIELDGATE_TEST_POLL_SITE_H

#include "support/meter.h"
#include "support/port_bench.h"

#define UNITS 3

/* Under these names tens are input registers, twenties holding registers, thirties coils. */
#define PAIR(name, table, address)                                                                           \
    "{ name = \"" name "\"; table = \"" table "\"; address = " address "; type = \"uint32\"; },"
#define COIL(name, address)                                                                                  \
    "{ name = \"" name "\"; table = \"coil\"; address = " address "; type = \"bool\"; },"
#define POINTS                                                                                               \
    "points = (" PAIR("i0", "input", "0") PAIR("i2", "input", "2") PAIR("i4", "input", "4")                  \
        PAIR("i6", "input", "6") PAIR("i8", "input", "8") PAIR("h20", "holding", "20")                       \
            PAIR("h22", "holding", "22") COIL("c0", "0") COIL("c1", "1") COIL("c2", "2") COIL("c5", "5")     \
                COIL("c8", "8") "{ name = \"c9\"; table = \"coil\"; address = 9; type = \"bool\"; } );"
#define DEVICES                                                                                              \
    "devices = ( { name = \"m1\"; unit = 1; }, { name = \"m2\"; unit = 2; }, { name = \"m3\"; unit = 3; } "  \
    ");"

enum way { RTU_ON_A_PTY, RTU_OVER_TCP, MODBUS_TCP, MODBUS_TCP_PIPELINED, WAYS };

struct site {
    struct bench *bench;
    struct meter meter;
};

/* The meters and the port that asks them, which is not opened yet. */
struct site *site_new(void **state, enum way way, const char *settings);
void site_open(struct site *site);
void site_free(struct site *site);

/* Lets so many more requests be made. */
void wait_requests(struct site *site, unsigned count);

/* What is known of the readings so far. */
struct ledger {
    size_t readings;
    size_t values;
    size_t answers;                  /* different ones that brought values */
    uint32_t newest[UNITS + 1][256]; /* by unit and address: the number of the answer */
    size_t last[UNITS + 1];          /* readings of the unit */
};

extern struct ledger ledger;

/* Writes the ledger anew from all that was published, and checks it; nothing may be lost. */
void check_all(struct bench *bench);

uint64_t all_rejected(struct bench *bench);
void print_rejected(struct bench *bench);

#endif
