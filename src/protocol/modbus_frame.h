/*
 * What requests and answers look like, shared by the codec and the matcher. Private to this folder.
 */
#ifndef FIELDGATE_PROTOCOL_MODBUS_FRAME_H
#define FIELDGATE_PROTOCOL_MODBUS_FRAME_H

#include "fieldgate/modbus.h"

/* Messaging on TCP/IP 3.1.3: transaction, protocol, length and unit; the length counts from the unit on. */
#define FG_MODBUS_MBAP_BYTES   7
#define FG_MODBUS_MBAP_COUNTED 6

#define FG_MODBUS_EXCEPTION_BIT 0x80

static inline uint16_t fg_modbus_get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void fg_modbus_put16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

/* Bytes of data that the answer to a read has. */
size_t fg_modbus_read_bytes(uint8_t function, uint16_t count);

/* What must be remembered of a request, to know its answer. */
void fg_modbus_sent_from(struct fg_modbus_sent *sent, const struct fg_modbus_request *request);

/* FG_REASON_NONE when a PDU from that unit can be the answer to it, or an exception; else why it can not. */
enum fg_reason fg_modbus_answer_check(const struct fg_modbus_sent *sent, uint8_t unit, const uint8_t *pdu,
                                      size_t size);

/* Size of the RTU answer that begins with these bytes, by its own header; 0 when too few came to tell, or
 * nothing has that function. */
size_t fg_modbus_rtu_size(const uint8_t *bytes, size_t size);

/* Whether these are an RTU frame as the CRC goes. */
bool fg_modbus_rtu_sound(const uint8_t *bytes, size_t size);

/* FNV-1a, continued. */
#define FG_MODBUS_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t fg_modbus_hash(uint64_t hash, const void *bytes, size_t size);

#endif
