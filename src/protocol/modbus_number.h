/*
 * Decimal numbers, for values that must not gain digits by being scaled. Pure functions; private to this
 * folder.
 */
#ifndef FIELDGATE_PROTOCOL_MODBUS_NUMBER_H
#define FIELDGATE_PROTOCOL_MODBUS_NUMBER_H

#include "fieldgate/value.h"

#include <stdbool.h>
#include <stdint.h>

/* mantissa * 10^exponent; the mantissa does not end in 0 unless it is 0. */
struct fg_decimal {
    int64_t mantissa;
    int exponent;
};

#define FG_DECIMAL_DIGITS_MAX 18

/* 10^exponent for 0..FG_DECIMAL_DIGITS_MAX. */
int64_t fg_decimal_power(int exponent);

/* The decimal number that the fewest digits tell real by. Returns false when that has more than 18 digits
 * before or behind the point. */
bool fg_decimal_from_real(double real, struct fg_decimal *decimal);

/* number * 10^exponent. Returns false past 64 bits, and when it is no integer. */
bool fg_decimal_shift(int64_t number, int exponent, int64_t *shifted);

/* The nearest double to number / 10^digits, digits within 0..18. */
double fg_decimal_real(int64_t number, int digits);

/* Nearest integer to number / 10^digits, ties away from zero. */
int64_t fg_decimal_round(int64_t number, int digits);

/* real rounded to decimals within 0..18, ties as they are written away from zero. From 1e15 on it stays. */
double fg_real_round(double real, int decimals);

/* real without the digits that arithmetic added: to 15 of them. */
double fg_real_clean(double real);

/* The number that the fewest digits tell a finite float by; from 2^24 on, where floats are integers, that
 * integer. */
double fg_real_from_float(float number);

#endif
