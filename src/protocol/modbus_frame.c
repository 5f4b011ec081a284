#include "modbus_frame.h"

#include "checksum.h"

#include <string.h>

#define RTU_MIN 4 /* unit, function, CRC */

static bool reads_bits(uint8_t function)
{
    return function == FG_MODBUS_READ_COILS || function == FG_MODBUS_READ_DISCRETE;
}

static bool has_data(uint8_t function)
{
    return (function >= FG_MODBUS_READ_COILS && function <= FG_MODBUS_READ_INPUT) ||
           function == FG_MODBUS_READ_WRITE;
}

size_t fg_modbus_read_bytes(uint8_t function, uint16_t count)
{
    return reads_bits(function) ? ((size_t)count + 7) / 8 : (size_t)count * 2;
}

uint64_t fg_modbus_hash(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

void fg_modbus_sent_from(struct fg_modbus_sent *sent, const struct fg_modbus_request *request)
{
    *sent = (struct fg_modbus_sent){ .request = request,
                                     .times = 1,
                                     .unit = request->unit,
                                     .function = request->function,
                                     .read = request->read,
                                     .write = request->write };
    switch (request->function) {
    case FG_MODBUS_WRITE_COIL:
        sent->values[0] = request->coils[0] & 1 ? 0xFF00 : 0;
        break;
    case FG_MODBUS_WRITE_REGISTER:
        sent->values[0] = request->registers[0];
        break;
    case FG_MODBUS_MASK_WRITE:
        sent->values[0] = request->and_mask;
        sent->values[1] = request->or_mask;
        break;
    default:
        break;
    }
}

/* The answers to writes repeat what was asked. */
static enum fg_reason check_write(const struct fg_modbus_sent *sent, const uint8_t *pdu, size_t size)
{
    bool masks = sent->function == FG_MODBUS_MASK_WRITE;
    if (size != (masks ? 7u : 5u)) {
        return FG_REASON_BAD_LENGTH;
    }
    bool counts = sent->function == FG_MODBUS_WRITE_COILS || sent->function == FG_MODBUS_WRITE_REGISTERS;
    uint16_t second = counts ? sent->write.count : sent->values[0];
    if (fg_modbus_get16(pdu + 1) != sent->write.address || fg_modbus_get16(pdu + 3) != second ||
        (masks && fg_modbus_get16(pdu + 5) != sent->values[1])) {
        return FG_REASON_WRITE_MISMATCH;
    }
    return FG_REASON_NONE;
}

enum fg_reason fg_modbus_answer_check(const struct fg_modbus_sent *sent, uint8_t unit, const uint8_t *pdu,
                                      size_t size)
{
    if (unit != sent->unit) {
        return FG_REASON_FOREIGN_UNIT;
    }
    if (size < 2) {
        return FG_REASON_BAD_LENGTH;
    }
    if (pdu[0] == (sent->function | FG_MODBUS_EXCEPTION_BIT)) {
        if (size != 2) {
            return FG_REASON_BAD_LENGTH;
        }
        return pdu[1] == 0 ? FG_REASON_MALFORMED : FG_REASON_NONE;
    }
    if (pdu[0] != sent->function) {
        return FG_REASON_WRONG_FUNCTION;
    }
    if (!has_data(sent->function)) {
        return check_write(sent, pdu, size);
    }
    if (size != (size_t)pdu[1] + 2) {
        return FG_REASON_BAD_LENGTH;
    }
    return pdu[1] == fg_modbus_read_bytes(sent->function, sent->read.count) ? FG_REASON_NONE
                                                                            : FG_REASON_BYTE_COUNT;
}

size_t fg_modbus_rtu_size(const uint8_t *bytes, size_t size)
{
    if (size < 2) {
        return 0;
    }
    if (bytes[1] & FG_MODBUS_EXCEPTION_BIT) {
        return 5;
    }
    if (has_data(bytes[1])) {
        return size < 3 ? 0 : (size_t)bytes[2] + 5;
    }
    switch (bytes[1]) {
    case FG_MODBUS_WRITE_COIL:
    case FG_MODBUS_WRITE_REGISTER:
    case FG_MODBUS_WRITE_COILS:
    case FG_MODBUS_WRITE_REGISTERS:
        return 8;
    case FG_MODBUS_MASK_WRITE:
        return 10;
    default:
        return 0;
    }
}

bool fg_modbus_rtu_sound(const uint8_t *bytes, size_t size)
{
    if (size < RTU_MIN) {
        return false;
    }
    uint16_t crc = fg_checksum_crc16_modbus(FG_CRC16_MODBUS_START, bytes, size - 2);
    return bytes[size - 2] == (uint8_t)crc && bytes[size - 1] == (uint8_t)(crc >> 8);
}
