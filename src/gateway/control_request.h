/*
 * Requests on the control socket: one JSON object a line. Pure functions.
 */
#ifndef FIELDGATE_GATEWAY_CONTROL_REQUEST_H
#define FIELDGATE_GATEWAY_CONTROL_REQUEST_H

#include "fieldgate/value.h"

#include <stdbool.h>
#include <stddef.h>

#define FG_CONTROL_PROTOCOL    1
#define FG_CONTROL_LINE_BYTES  4096 /* of a request, without its newline */
#define FG_CONTROL_ERROR_BYTES 256

enum fg_control_command {
    FG_CONTROL_STATUS,
    FG_CONTROL_DEVICES,
    FG_CONTROL_WATCH,
    FG_CONTROL_STATS,
    FG_CONTROL_RELOAD,
    FG_CONTROL_LOG_LEVEL
};

struct fg_control_request {
    enum fg_control_command command;
    char device[FG_NAME_MAX + 1]; /* of WATCH: as in topics; "" is all */
    int level;                    /* of LOG_LEVEL: enum fg_log_level; -1: it is only asked for */
};

/* MALFORMED: whoever sends this does not speak the protocol. REFUSED: it does, and asks for what there is
 * not. */
enum fg_control_verdict { FG_CONTROL_GOOD, FG_CONTROL_REFUSED, FG_CONTROL_MALFORMED };

/* Understands one line. Unless the verdict is GOOD, why says what is wrong, in valid UTF-8. */
enum fg_control_verdict fg_control_parse(const char *line, size_t length, struct fg_control_request *request,
                                         char why[FG_CONTROL_ERROR_BYTES]);

#endif
