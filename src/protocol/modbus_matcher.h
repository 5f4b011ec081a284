/*
 * What the matcher's files share. Private to this folder.
 */
#ifndef FIELDGATE_PROTOCOL_MODBUS_MATCHER_H
#define FIELDGATE_PROTOCOL_MODBUS_MATCHER_H

#include "modbus_frame.h"

/* A frame of the bytes held, and what its PDU is. */
struct fg_modbus_frame {
    size_t size;
    uint8_t unit;
    const uint8_t *pdu;
    size_t pdu_size;
};

/* What was sent[index] is not waited for any more. */
void fg_modbus_matcher_forget(struct fg_modbus_matcher *matcher, size_t index);

/* Drops the first count bytes held. */
enum fg_modbus_event fg_modbus_matcher_reject(struct fg_modbus_matcher *matcher, size_t count,
                                              enum fg_reason why, enum fg_reason *reason);

/* Keeps frame's data for the caller until the next call. */
enum fg_modbus_event fg_modbus_matcher_give(struct fg_modbus_matcher *matcher,
                                            const struct fg_modbus_frame *frame,
                                            const struct fg_modbus_request *request,
                                            struct fg_modbus_answer *answer);

/* Looks at the bytes held, of which there are some. */
enum fg_modbus_event fg_modbus_matcher_step_tcp(struct fg_modbus_matcher *matcher, bool silent,
                                                struct fg_modbus_answer *answer, enum fg_reason *reason);

#endif
