/*
 * The other side of Modbus in tests: a device that answers requests from its memory, and what a matcher makes
 * of bytes as one line of text.
 */
#ifndef FIELDGATE_TESTS_MODBUS_H
#define FIELDGATE_TESTS_MODBUS_H

#include "fieldgate/modbus.h"
#include "fieldgate/modbus_point.h"

#include <stddef.h>
#include <stdint.h>

/* A device: its registers and bits follow from table and address, until they are written. */
struct fg_test_slave {
    uint16_t holding[65536];
    uint8_t coils[65536];
};

uint16_t fg_test_input(uint16_t address);
bool fg_test_discrete(uint16_t address);
void fg_test_slave_init(struct fg_test_slave *slave);

/* Answers the frame of a request. Returns the size of the answer's frame, 0 for none. */
size_t fg_test_slave_answer(struct fg_test_slave *slave, enum fg_modbus_mode mode, const uint8_t *adu,
                            size_t size, uint8_t answer[FG_MODBUS_ADU_MAX]);

/* Puts CRC or MBAP header around a PDU. Returns the frame's size. */
size_t fg_test_modbus_frame(enum fg_modbus_mode mode, uint16_t transaction, uint8_t unit, const uint8_t *pdu,
                            size_t size, uint8_t *adu);

/* Feeds size bytes and then, when silent, tells silence; appends to out "answer " with its data in hex,
 * "exception N ", or the reason in brackets. Returns the number of answers. */
int fg_test_modbus_feed(struct fg_modbus_matcher *matcher, const void *bytes, size_t size, bool silent,
                        char *out, size_t room);

/* The settings of a point of holding registers, as they are where the file says nothing. */
struct fg_modbus_point_settings fg_test_modbus_point(enum fg_modbus_type type, int64_t address);

/* The value as text: "null", "true", "-7", "0.1", "'text'", and "12u" for what is past 63 bits. */
const char *fg_test_value_text(const struct fg_value *value, char *text, size_t room);

#endif
