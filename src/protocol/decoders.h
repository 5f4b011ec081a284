/*
 * What the decoders share, and their names for the registry. Private to this folder.
 */
#ifndef FIELDGATE_PROTOCOL_DECODERS_H
#define FIELDGATE_PROTOCOL_DECODERS_H

#include "fieldgate/decoder.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The decoders: one line each. X(NAME) stands for fg_decoder_NAME, in a file of its own. */
#define FG_DECODERS(X)                                                                                       \
    X(raw)                                                                                                   \
    X(json)                                                                                                  \
    X(csv)                                                                                                   \
    X(keyvalue)                                                                                              \
    X(nmea0183)

#define FG_DECODER_DECLARE(name) extern const struct fg_decoder fg_decoder_##name;
FG_DECODERS(FG_DECODER_DECLARE)
#undef FG_DECODER_DECLARE

/* fg_record_add, its errors as the reasons for which a frame is rejected. */
enum fg_reason fg_decoder_add(struct fg_record *record, const char *name, size_t name_length,
                              struct fg_value value);

/* A run of the frame's bytes. */
struct fg_span {
    const char *bytes;
    size_t length;
};

/* Without the blanks, tabs and line ends around it. */
struct fg_span fg_span_trim(struct fg_span span);

/* A number where it is one, NULL when it is empty, else text. */
struct fg_value fg_span_value(struct fg_span span);

#endif
