#include "checksum.h"
#include "modbus_frame.h"

#include <assert.h>
#include <string.h>

const char *fg_modbus_exception_name(uint8_t exception)
{
    switch (exception) {
    case FG_MODBUS_ILLEGAL_FUNCTION:
        return "illegal function";
    case FG_MODBUS_ILLEGAL_ADDRESS:
        return "illegal data address";
    case FG_MODBUS_ILLEGAL_VALUE:
        return "illegal data value";
    case FG_MODBUS_DEVICE_FAILURE:
        return "device failure";
    case FG_MODBUS_ACKNOWLEDGE:
        return "acknowledged, not finished";
    case FG_MODBUS_DEVICE_BUSY:
        return "device busy";
    case FG_MODBUS_MEMORY_PARITY:
        return "memory parity error";
    case FG_MODBUS_GATEWAY_PATH:
        return "gateway path unavailable";
    case FG_MODBUS_GATEWAY_TARGET:
        return "gateway target failed to respond";
    default:
        return "exception";
    }
}

static bool range_valid(struct fg_modbus_range range, uint16_t most)
{
    return range.count >= 1 && range.count <= most && (uint32_t)range.address + range.count <= 0x10000;
}

bool fg_modbus_request_valid(const struct fg_modbus_request *request, enum fg_modbus_mode mode)
{
    bool broadcast = !fg_modbus_request_answered(request, mode);
    switch (request->function) {
    case FG_MODBUS_READ_COILS:
    case FG_MODBUS_READ_DISCRETE:
        return !broadcast && range_valid(request->read, FG_MODBUS_READ_BITS_MAX);
    case FG_MODBUS_READ_HOLDING:
    case FG_MODBUS_READ_INPUT:
        return !broadcast && range_valid(request->read, FG_MODBUS_READ_REGISTERS_MAX);
    case FG_MODBUS_WRITE_COIL:
    case FG_MODBUS_WRITE_REGISTER:
    case FG_MODBUS_MASK_WRITE:
        return request->write.count == 1;
    case FG_MODBUS_WRITE_COILS:
        return range_valid(request->write, FG_MODBUS_WRITE_BITS_MAX);
    case FG_MODBUS_WRITE_REGISTERS:
        return range_valid(request->write, FG_MODBUS_WRITE_REGISTERS_MAX);
    case FG_MODBUS_READ_WRITE:
        return !broadcast && range_valid(request->read, FG_MODBUS_READ_REGISTERS_MAX) &&
               range_valid(request->write, FG_MODBUS_BOTH_REGISTERS_MAX);
    default:
        return false;
    }
}

bool fg_modbus_request_answered(const struct fg_modbus_request *request, enum fg_modbus_mode mode)
{
    return mode == FG_MODBUS_TCP || request->unit != 0;
}

static size_t request_pdu_bytes(const struct fg_modbus_request *request)
{
    switch (request->function) {
    case FG_MODBUS_WRITE_COILS:
        return 6 + ((size_t)request->write.count + 7) / 8;
    case FG_MODBUS_WRITE_REGISTERS:
        return 6 + (size_t)request->write.count * 2;
    case FG_MODBUS_MASK_WRITE:
        return 7;
    case FG_MODBUS_READ_WRITE:
        return 10 + (size_t)request->write.count * 2;
    default:
        return 5;
    }
}

static size_t answer_pdu_bytes(const struct fg_modbus_request *request)
{
    switch (request->function) {
    case FG_MODBUS_WRITE_COIL:
    case FG_MODBUS_WRITE_REGISTER:
    case FG_MODBUS_WRITE_COILS:
    case FG_MODBUS_WRITE_REGISTERS:
        return 5;
    case FG_MODBUS_MASK_WRITE:
        return 7;
    default:
        return 2 + fg_modbus_read_bytes(request->function, request->read.count);
    }
}

/* Around a PDU stand address and CRC, or the header. */
static size_t adu_bytes(size_t pdu_bytes, enum fg_modbus_mode mode)
{
    return pdu_bytes + (mode == FG_MODBUS_RTU ? 3 : FG_MODBUS_MBAP_BYTES);
}

size_t fg_modbus_request_bytes(const struct fg_modbus_request *request, enum fg_modbus_mode mode)
{
    return adu_bytes(request_pdu_bytes(request), mode);
}

size_t fg_modbus_answer_bytes(const struct fg_modbus_request *request, enum fg_modbus_mode mode)
{
    return adu_bytes(answer_pdu_bytes(request), mode);
}

static uint8_t *put_range(uint8_t *at, struct fg_modbus_range range)
{
    fg_modbus_put16(at, range.address);
    fg_modbus_put16(at + 2, range.count);
    return at + 4;
}

static void put_registers(uint8_t *at, const struct fg_modbus_request *request)
{
    *at++ = (uint8_t)(request->write.count * 2);
    for (size_t i = 0; i < request->write.count; i++) {
        fg_modbus_put16(at + 2 * i, request->registers[i]);
    }
}

static void put_coils(uint8_t *at, const struct fg_modbus_request *request)
{
    size_t bytes = ((size_t)request->write.count + 7) / 8;
    unsigned left = request->write.count % 8u;
    *at++ = (uint8_t)bytes;
    memcpy(at, request->coils, bytes);
    if (left > 0) { /* Application Protocol 6.11: unused bits are zero */
        at[bytes - 1] &= (uint8_t)((1u << left) - 1);
    }
}

static void put_pdu(uint8_t *pdu, const struct fg_modbus_request *request)
{
    uint8_t *at = pdu + 1;
    pdu[0] = request->function;
    switch (request->function) {
    case FG_MODBUS_WRITE_COIL:
        fg_modbus_put16(at, request->write.address);
        fg_modbus_put16(at + 2, request->coils[0] & 1 ? 0xFF00 : 0);
        break;
    case FG_MODBUS_WRITE_REGISTER:
        fg_modbus_put16(at, request->write.address);
        fg_modbus_put16(at + 2, request->registers[0]);
        break;
    case FG_MODBUS_MASK_WRITE:
        fg_modbus_put16(at, request->write.address);
        fg_modbus_put16(at + 2, request->and_mask);
        fg_modbus_put16(at + 4, request->or_mask);
        break;
    case FG_MODBUS_WRITE_COILS:
        put_coils(put_range(at, request->write), request);
        break;
    case FG_MODBUS_WRITE_REGISTERS:
        put_registers(put_range(at, request->write), request);
        break;
    case FG_MODBUS_READ_WRITE:
        put_registers(put_range(put_range(at, request->read), request->write), request);
        break;
    default:
        put_range(at, request->read);
        break;
    }
}

size_t fg_modbus_request_encode(const struct fg_modbus_request *request, enum fg_modbus_mode mode,
                                uint16_t transaction, uint8_t adu[FG_MODBUS_ADU_MAX])
{
    if (!fg_modbus_request_valid(request, mode)) {
        return 0;
    }
    size_t size = fg_modbus_request_bytes(request, mode);
    if (mode == FG_MODBUS_TCP) {
        fg_modbus_put16(adu, transaction);
        fg_modbus_put16(adu + 2, 0);
        fg_modbus_put16(adu + 4, (uint16_t)(size - FG_MODBUS_MBAP_COUNTED));
        adu[6] = request->unit;
        put_pdu(adu + FG_MODBUS_MBAP_BYTES, request);
        return size;
    }
    adu[0] = request->unit;
    put_pdu(adu + 1, request);
    uint16_t crc = fg_checksum_crc16_modbus(FG_CRC16_MODBUS_START, adu, size - 2);
    adu[size - 2] = (uint8_t)crc;
    adu[size - 1] = (uint8_t)(crc >> 8);
    return size;
}

bool fg_modbus_request_widen(struct fg_modbus_request *request)
{
    switch (request->function) {
    case FG_MODBUS_WRITE_COIL:
        request->function = FG_MODBUS_WRITE_COILS;
        return true;
    case FG_MODBUS_WRITE_REGISTER:
        request->function = FG_MODBUS_WRITE_REGISTERS;
        return true;
    default:
        return false;
    }
}

static bool writes_coils(const struct fg_modbus_request *request)
{
    return request->function == FG_MODBUS_WRITE_COIL || request->function == FG_MODBUS_WRITE_COILS;
}

static bool writes_registers(const struct fg_modbus_request *request)
{
    return request->function == FG_MODBUS_WRITE_REGISTER || request->function == FG_MODBUS_WRITE_REGISTERS;
}

bool fg_modbus_request_join(struct fg_modbus_request *first, const struct fg_modbus_request *second)
{
    bool coils = writes_coils(first) && writes_coils(second);
    unsigned most = coils ? FG_MODBUS_WRITE_BITS_MAX : FG_MODBUS_WRITE_REGISTERS_MAX;
    unsigned count = first->write.count;
    if (!coils && !(writes_registers(first) && writes_registers(second))) {
        return false;
    }
    if (first->unit != second->unit || first->write.address + count != second->write.address ||
        count + second->write.count > most) {
        return false;
    }
    for (unsigned i = 0; coils && i < second->write.count; i++) {
        unsigned bit = (unsigned)second->coils[i / 8] >> i % 8 & 1u;
        unsigned at = count + i;
        unsigned rest = first->coils[at / 8] & ~(1u << at % 8);
        first->coils[at / 8] = (uint8_t)(rest | bit << at % 8);
    }
    if (!coils) {
        memcpy(first->registers + count, second->registers,
               second->write.count * sizeof second->registers[0]);
    }
    first->write.count = (uint16_t)(count + second->write.count);
    first->function = coils ? FG_MODBUS_WRITE_COILS : FG_MODBUS_WRITE_REGISTERS;
    return true;
}

bool fg_modbus_request_read_too(struct fg_modbus_request *request, struct fg_modbus_range read)
{
    if (!writes_registers(request) || request->write.count > FG_MODBUS_BOTH_REGISTERS_MAX ||
        !range_valid(read, FG_MODBUS_READ_REGISTERS_MAX)) {
        return false;
    }
    request->function = FG_MODBUS_READ_WRITE;
    request->read = read;
    return true;
}

uint16_t fg_modbus_answer_register(const struct fg_modbus_answer *answer, uint16_t address)
{
    size_t at = (size_t)(address - answer->request->read.address) * 2;
    assert(address >= answer->request->read.address && at + 2 <= answer->size);
    return fg_modbus_get16(answer->data + at);
}

bool fg_modbus_answer_bit(const struct fg_modbus_answer *answer, uint16_t address)
{
    size_t at = (size_t)(address - answer->request->read.address);
    assert(address >= answer->request->read.address && at < answer->request->read.count);
    return answer->data[at / 8] >> (at % 8) & 1;
}
