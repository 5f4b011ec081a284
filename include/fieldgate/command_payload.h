/*
 * What the payloads of commands say. Pure; any thread.
 *
 *   {base}/{device}/set          {"relay":true,"limit":12.5,"transaction":"a7","expires_ms":2000}
 *   {base}/{device}/{point}/set  true, 12.5, "text" or {"value":true,"transaction":"a7","expires_ms":2000};
 *                                what is no JSON (ON, 007) is text
 *   {base}/{device}/get          nothing, ["voltage"] or {"points":["voltage"],"transaction":"a7"}
 *
 * JSON is RFC 8259; keys that come twice are refused, and so is nesting beyond the forms above.
 */
#ifndef FIELDGATE_COMMAND_PAYLOAD_H
#define FIELDGATE_COMMAND_PAYLOAD_H

#include "fieldgate/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fg_payload_form { FG_PAYLOAD_SET, FG_PAYLOAD_SET_POINT, FG_PAYLOAD_GET };

/* Longest transaction: bytes of the text, and of the token as it stands in the payload, quotes and escapes
 * included. */
#define FG_TRANSACTION_MAX       128
#define FG_TRANSACTION_TOKEN_MAX (FG_TRANSACTION_MAX * 6 + 2)

struct fg_command_payload {
    struct fg_field *fields; /* in their order; of GET names alone, with NULL values */
    size_t count;
    const char *transaction; /* the JSON token as it was given, not NUL-terminated; NULL: there is none */
    size_t transaction_length;
    bool expires; /* in expires_ms from its arrival */
    int64_t expires_ms;
    void *memory; /* where fields and texts stand */
};

/*
 * Reads a payload; point is the topic's, of SET_POINT alone. The payload need not live on, but point must.
 * Returns 0 (fg_command_payload_fini), -ENOMEM, or -EINVAL with a sentence in *why, which is static; in both
 * cases the transaction is there where it could be read, and fini is to be called all the same.
 */
int fg_command_payload_read(enum fg_payload_form form, const char *point, size_t point_length,
                            const void *bytes, size_t size, struct fg_command_payload *payload,
                            const char **why);
void fg_command_payload_fini(struct fg_command_payload *payload);

#endif
