#include "checksum.h"

uint8_t fg_checksum_xor(uint8_t sum, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++) {
        sum ^= byte[i];
    }
    return sum;
}

uint8_t fg_checksum_sum8(uint8_t sum, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + byte[i]);
    }
    return sum;
}

uint16_t fg_checksum_crc16_modbus(uint16_t sum, const void *bytes, size_t size)
{
    /* One step for each half of a byte: 32 bytes of table instead of 512, and no bit loop. */
    static const uint16_t half[16] = {
        0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
        0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
    };
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++) {
        sum = (uint16_t)((sum >> 4) ^ half[(sum ^ byte[i]) & 0x0F]);
        sum = (uint16_t)((sum >> 4) ^ half[(sum ^ (byte[i] >> 4)) & 0x0F]);
    }
    return sum;
}
