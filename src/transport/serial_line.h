/*
 * A serial line's settings and what it takes to put them on an open descriptor.
 */
#ifndef FIELDGATE_TRANSPORT_SERIAL_LINE_H
#define FIELDGATE_TRANSPORT_SERIAL_LINE_H

#include "fieldgate/setting.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fg_serial_flow { FG_SERIAL_FLOW_NONE, FG_SERIAL_FLOW_RTS_CTS, FG_SERIAL_FLOW_XON_XOFF };

struct fg_serial_settings {
    char *path;
    int64_t baud;
    bool custom_baud;
    char *format; /* "8N1" */
    int flow;     /* enum fg_serial_flow */
    bool rs485;
};

extern const struct fg_schema fg_serial_schema;

#define FG_SERIAL_WHY 128

/*
 * Opens the line for us alone and sets it up. Returns the descriptor, or a negative errno with the reason in
 * why. In *ignored: what the driver did not take though it did not say so, "" when nothing.
 */
int fg_serial_line_open(const struct fg_serial_settings *settings, char why[FG_SERIAL_WHY],
                        char ignored[FG_SERIAL_WHY]);

/* Before close: lets others have the line, and does not wait for what cannot be written. */
void fg_serial_line_leave(int fd);

#endif
