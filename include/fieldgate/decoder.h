/*
 * Decoders: from a frame's bytes to named values. Pure: no descriptor, no clock, no thread, no state between
 * frames.
 *
 * To add a decoder: one file with its table of settings and its function, one line in the list of decoders.h.
 */
#ifndef FIELDGATE_DECODER_H
#define FIELDGATE_DECODER_H

#include "fieldgate/reason.h"
#include "fieldgate/setting.h"
#include "fieldgate/value.h"

#include <stddef.h>
#include <stdint.h>

struct fg_decoder {
    struct fg_variant variant;
    /*
     * Fills record, which is empty, from the frame. Names and texts point into the frame, into the settings,
     * or into the record's own room. Returns FG_REASON_NONE, or why the frame is rejected (the record is then
     * undefined).
     */
    enum fg_reason (*decode)(const void *settings, const uint8_t *frame, size_t size,
                             struct fg_record *record);
};

/* All of them as variants, NULL at the end. Each is the first member of its struct fg_decoder. */
extern const struct fg_variant *const fg_decoders[];

/* Resets the record and decodes. variant is one of fg_decoders, settings the struct of its table. */
enum fg_reason fg_decode(const struct fg_variant *variant, const void *settings, const uint8_t *frame,
                         size_t size, struct fg_record *record);

/* The raw decoder, for those to whom its payload default matters. */
extern const struct fg_decoder fg_decoder_raw;

#endif
