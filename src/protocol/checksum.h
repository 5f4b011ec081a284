/*
 * Checksums of serial protocols. Pure functions.
 */
#ifndef FIELDGATE_PROTOCOL_CHECKSUM_H
#define FIELDGATE_PROTOCOL_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Each continues from sum, so that a message may be given in parts. Begin with 0, the CRC with
 * FG_CRC16_MODBUS_START. */
uint8_t fg_checksum_xor(uint8_t sum, const void *bytes, size_t size);
uint8_t fg_checksum_sum8(uint8_t sum, const void *bytes, size_t size);

/* MODBUS over Serial Line V1.02, 6.2.2: polynomial 0xA001 (reflected), sent low byte first. */
#define FG_CRC16_MODBUS_START 0xFFFF
uint16_t fg_checksum_crc16_modbus(uint16_t sum, const void *bytes, size_t size);

#endif
