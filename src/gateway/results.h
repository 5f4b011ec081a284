/*
 * What is answered to a command: one JSON object.
 *
 *   {"transaction":"a7","ok":true,"values":{"voltage":230.1}}
 *   {"transaction":"a7","ok":false,"error":"exception 2 (illegal data address)","point":"relay","why":"…"}
 */
#ifndef FIELDGATE_GATEWAY_RESULTS_H
#define FIELDGATE_GATEWAY_RESULTS_H

#include "fieldgate/buffer.h"
#include "fieldgate/command.h"

#include <stdbool.h>

/* Longest answer. */
#define FG_RESULT_MAX ((size_t)1 << 20)

/* Appends it. transaction is a JSON token of that length, or NULL. brief leaves out what the device said.
 * Returns as fg_buffer_append. */
int fg_result_render(struct fg_buffer *out, const char *transaction, size_t transaction_length,
                     enum fg_command_kind kind, const struct fg_command_result *result, bool brief);

#endif
