/*
 * What the files about points share. Private to this folder.
 */
#ifndef FIELDGATE_PROTOCOL_MODBUS_POINTS_H
#define FIELDGATE_PROTOCOL_MODBUS_POINTS_H

#include "fieldgate/modbus_point.h"

#define FG_MODBUS_KEY 16

static inline bool fg_modbus_table_is_bits(int table)
{
    return table == FG_MODBUS_COIL || table == FG_MODBUS_DISCRETE;
}

/* Where in the registers of a value of words registers its byte stands, byte 0 being the highest. */
size_t fg_modbus_point_place(const struct fg_modbus_point *point, size_t byte, size_t words);

/* How many registers a value takes up; 1 for a bit. */
uint16_t fg_modbus_point_registers(const struct fg_modbus_point_settings *settings);

/* Whether something is wrong with the settings: its key, and what. */
bool fg_modbus_point_problem(const struct fg_modbus_point_settings *settings, char key[FG_MODBUS_KEY],
                             char why[FG_MODBUS_WHY]);

#endif
