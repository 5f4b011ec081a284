#include "support/modbus.h"

#include "fieldgate/text.h"

#include <stdio.h>
#include <string.h>

static unsigned get16(const uint8_t *bytes)
{
    return (unsigned)(bytes[0] << 8 | bytes[1]);
}

static void put16(uint8_t *bytes, unsigned value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

/* Bit by bit after the specification's description, apart from the tables of the program. */
static unsigned crc16(const uint8_t *bytes, size_t size)
{
    unsigned crc = 0xFFFF;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? (crc >> 1) ^ 0xA001 : crc >> 1;
        }
    }
    return crc;
}

uint16_t fg_test_input(uint16_t address)
{
    return (uint16_t)(address * 40503u + 12345u);
}

bool fg_test_discrete(uint16_t address)
{
    return (fg_test_input(address) >> 7) & 1;
}

void fg_test_slave_init(struct fg_test_slave *slave)
{
    for (unsigned i = 0; i < 65536; i++) {
        slave->holding[i] = (uint16_t)(i * 25173u + 13849u);
        slave->coils[i] = (slave->holding[i] >> 5) & 1;
    }
}

size_t fg_test_modbus_frame(enum fg_modbus_mode mode, uint16_t transaction, uint8_t unit, const uint8_t *pdu,
                            size_t size, uint8_t *adu)
{
    if (mode == FG_MODBUS_TCP) {
        put16(adu, transaction);
        put16(adu + 2, 0);
        put16(adu + 4, (unsigned)size + 1);
        adu[6] = unit;
        memcpy(adu + 7, pdu, size);
        return size + 7;
    }
    adu[0] = unit;
    memcpy(adu + 1, pdu, size);
    unsigned crc = crc16(adu, size + 1);
    adu[size + 1] = (uint8_t)crc;
    adu[size + 2] = (uint8_t)(crc >> 8);
    return size + 3;
}

static size_t exception(uint8_t *to, unsigned function, uint8_t code)
{
    to[0] = (uint8_t)(function | 0x80);
    to[1] = code;
    return 2;
}

static size_t read_bits(struct fg_test_slave *slave, const uint8_t *pdu, uint8_t *to)
{
    unsigned address = get16(pdu + 1), count = get16(pdu + 3);
    to[1] = (uint8_t)((count + 7) / 8);
    memset(to + 2, 0, to[1]);
    for (unsigned i = 0; i < count; i++) {
        unsigned bit = pdu[0] == 1 ? slave->coils[address + i] : fg_test_discrete((uint16_t)(address + i));
        to[2 + i / 8] = (uint8_t)(to[2 + i / 8] | bit << i % 8);
    }
    return 2u + to[1];
}

static size_t read_registers(struct fg_test_slave *slave, const uint8_t *pdu, uint8_t *to)
{
    unsigned address = get16(pdu + 1), count = get16(pdu + 3);
    to[1] = (uint8_t)(count * 2);
    for (unsigned i = 0; i < count; i++) {
        put16(to + 2 + 2 * i,
              pdu[0] == 4 ? fg_test_input((uint16_t)(address + i)) : slave->holding[address + i]);
    }
    return 2u + to[1];
}

static void write_registers(struct fg_test_slave *slave, const uint8_t *range)
{
    for (unsigned i = 0; i < get16(range + 2); i++) {
        slave->holding[get16(range) + i] = (uint16_t)get16(range + 5 + 2 * i);
    }
}

static size_t answer_pdu(struct fg_test_slave *slave, const uint8_t *pdu, uint8_t *to)
{
    unsigned address = get16(pdu + 1), value = get16(pdu + 3);
    memcpy(to, pdu, 5);
    switch (pdu[0]) {
    case 1:
    case 2:
        return read_bits(slave, pdu, to);
    case 3:
    case 4:
        return read_registers(slave, pdu, to);
    case 5:
        slave->coils[address] = value == 0xFF00;
        return 5;
    case 6:
        slave->holding[address] = (uint16_t)value;
        return 5;
    case 15:
        for (unsigned i = 0; i < value; i++) {
            slave->coils[address + i] = (pdu[6 + i / 8] >> i % 8) & 1;
        }
        return 5;
    case 16:
        write_registers(slave, pdu + 1);
        return 5;
    case 22:
        memcpy(to, pdu, 7);
        slave->holding[address] = (uint16_t)((slave->holding[address] & value) | (get16(pdu + 5) & ~value));
        return 7;
    case 23:
        write_registers(slave, pdu + 5);
        return read_registers(slave, pdu, to);
    default:
        return exception(to, pdu[0], 1);
    }
}

size_t fg_test_slave_answer(struct fg_test_slave *slave, enum fg_modbus_mode mode, const uint8_t *adu,
                            size_t size, uint8_t answer[FG_MODBUS_ADU_MAX])
{
    uint8_t pdu[FG_MODBUS_PDU_MAX];
    if (mode == FG_MODBUS_TCP) {
        size_t made = answer_pdu(slave, adu + 7, pdu);
        return fg_test_modbus_frame(mode, (uint16_t)get16(adu), adu[6], pdu, made, answer);
    }
    if (crc16(adu, size - 2) != (unsigned)(adu[size - 2] | adu[size - 1] << 8) || adu[0] == 0) {
        return 0;
    }
    size_t made = answer_pdu(slave, adu + 1, pdu);
    return fg_test_modbus_frame(mode, 0, adu[0], pdu, made, answer);
}

static void put_answer(const struct fg_modbus_answer *answer, char *out, size_t room)
{
    size_t used = strlen(out);
    if (answer->exception) {
        snprintf(out + used, room - used, "exception %d ", answer->exception);
        return;
    }
    snprintf(out + used, room - used, "answer ");
    for (size_t i = 0; i < answer->size; i++) {
        used = strlen(out);
        snprintf(out + used, room - used, i + 1 < answer->size ? "%02x" : "%02x ", answer->data[i]);
    }
}

int fg_test_modbus_feed(struct fg_modbus_matcher *matcher, const void *bytes, size_t size, bool silent,
                        char *out, size_t room)
{
    const uint8_t *input = bytes;
    int answers = 0;
    bool ended = false;
    for (;;) {
        struct fg_modbus_answer answer;
        enum fg_reason reason;
        enum fg_modbus_event event = ended ? fg_modbus_matcher_silence(matcher, &answer, &reason)
                                           : fg_modbus_matcher_feed(matcher, &input, &size, &answer, &reason);
        size_t used = strlen(out);
        switch (event) {
        case FG_MODBUS_ANSWER:
            put_answer(&answer, out, room);
            answers++;
            break;
        case FG_MODBUS_REJECT:
            snprintf(out + used, room - used, "<%s> ", fg_reason_name(reason));
            break;
        case FG_MODBUS_MORE:
            if (ended || !silent) {
                return answers;
            }
            ended = true;
            break;
        }
    }
}

struct fg_modbus_point_settings fg_test_modbus_point(enum fg_modbus_type type, int64_t address)
{
    return (struct fg_modbus_point_settings){
        .table = FG_MODBUS_HOLDING,
        .address = address,
        .type = (int)type,
        .bit = -1,
        .width = 1,
        .scale = 1,
        .decimals = -1,
        .minimum = FG_MODBUS_MIN_NONE,
        .maximum = FG_MODBUS_MAX_NONE,
    };
}

const char *fg_test_value_text(const struct fg_value *value, char *text, size_t room)
{
    char number[FG_NUMBER_TEXT];
    switch (value->kind) {
    case FG_VALUE_NULL:
        snprintf(text, room, "null");
        break;
    case FG_VALUE_BOOLEAN:
        snprintf(text, room, "%s", value->boolean ? "true" : "false");
        break;
    case FG_VALUE_INTEGER:
        snprintf(text, room, "%lld", (long long)value->integer);
        break;
    case FG_VALUE_NATURAL:
        snprintf(text, room, "%lluu", (unsigned long long)value->natural);
        break;
    case FG_VALUE_REAL:
        fg_real_print(value->real, number);
        snprintf(text, room, "%s", number);
        break;
    case FG_VALUE_TEXT:
        snprintf(text, room, "'%.*s'", (int)value->text.length, value->text.bytes);
        break;
    }
    return text;
}
