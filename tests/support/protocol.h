/*
 * Running framings and decoders in tests: their settings out of their own tables, and what they make of bytes
 * as one line of text that a table of cases can hold.
 */
#ifndef FIELDGATE_TESTS_PROTOCOL_H
#define FIELDGATE_TESTS_PROTOCOL_H

#include "fieldgate/buffer.h"
#include "fieldgate/decoder.h"
#include "fieldgate/framing.h"

#include <stddef.h>
#include <stdint.h>

/* Stands before what is broken; nothing else puts a line feed into the output. */
#define FG_BROKEN "\nbroken: "

/* The variant of that name; the test ends when there is none. */
const struct fg_variant *fg_test_variant(const struct fg_variant *const *registry, const char *name);

/*
 * The struct of schema with its defaults, then key after value out of text, "delimiter=;|max_bytes=8": pairs
 * end with '|'. Items of TEXTS are told apart by '/'. Unknown keys and values end the test.
 */
void *fg_test_settings_new(const struct fg_schema *schema, const char *text);
void fg_test_settings_free(const struct fg_schema *schema, void *settings);

/* splitmix64: the next number of a seeded series. */
uint64_t fg_test_random(uint64_t *state);

/*
 * Feeds a new framer and appends to out what comes of it: frames in brackets, rejections as <reason>, and !
 * for a broken promise of framing.h, with what it was. Each read is a block of its own, freed when it is used
 * up. piece is the size of the reads: 0 all at once, and with a seed up to piece bytes at random.
 */
void fg_test_frames(const struct fg_variant *variant, const void *settings, const void *bytes, size_t size,
                    size_t piece, uint64_t *seed, enum fg_framing_end why, struct fg_buffer *out);

/* Decodes a copy of the frame into record, and appends "name=value" for each field, with kinds told apart: i1
 * n1 r1.5 t"a" true null; or <reason>; or FG_BROKEN and what is broken of the promises of decoder.h and
 * value.h. */
void fg_test_decode(const struct fg_variant *variant, const void *settings, const void *frame, size_t size,
                    struct fg_buffer *out);

#endif
