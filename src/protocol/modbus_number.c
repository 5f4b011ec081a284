#include "modbus_number.h"

#include "fieldgate/text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Integers up to here are exact in a double, and powers of ten up to 22 are: one division rounds right. */
#define EXACT_MAX (INT64_C(1) << 53)

int64_t fg_decimal_power(int exponent)
{
    static const int64_t powers[FG_DECIMAL_DIGITS_MAX + 1] = {
        INT64_C(1),
        INT64_C(10),
        INT64_C(100),
        INT64_C(1000),
        INT64_C(10000),
        INT64_C(100000),
        INT64_C(1000000),
        INT64_C(10000000),
        INT64_C(100000000),
        INT64_C(1000000000),
        INT64_C(10000000000),
        INT64_C(100000000000),
        INT64_C(1000000000000),
        INT64_C(10000000000000),
        INT64_C(100000000000000),
        INT64_C(1000000000000000),
        INT64_C(10000000000000000),
        INT64_C(100000000000000000),
        INT64_C(1000000000000000000),
    };
    assert(exponent >= 0 && exponent <= FG_DECIMAL_DIGITS_MAX);
    return powers[exponent];
}

bool fg_decimal_from_real(double real, struct fg_decimal *decimal)
{
    char text[FG_NUMBER_TEXT];
    if (!isfinite(real)) {
        return false;
    }
    fg_real_print(real, text);
    int64_t mantissa = 0;
    int exponent = 0;
    const char *at = text + (text[0] == '-');
    for (bool fraction = false; *at != '\0' && *at != 'e'; at++) {
        if (*at == '.') {
            fraction = true;
            continue;
        }
        mantissa =
            mantissa * 10 + (*at - '0'); /* 17 digits at most, and a 0 that is added behind the point */
        exponent -= fraction;
    }
    if (*at == 'e') {
        exponent += (int)strtol(at + 1, NULL, 10);
    }
    while (mantissa != 0 && mantissa % 10 == 0) {
        mantissa /= 10;
        exponent++;
    }
    if (mantissa == 0) {
        exponent = 0;
    }
    if (exponent < -FG_DECIMAL_DIGITS_MAX || exponent > FG_DECIMAL_DIGITS_MAX) {
        return false;
    }
    *decimal = (struct fg_decimal){ .mantissa = text[0] == '-' ? -mantissa : mantissa, .exponent = exponent };
    return true;
}

bool fg_decimal_shift(int64_t number, int exponent, int64_t *shifted)
{
    if (number == 0) {
        *shifted = 0;
        return true;
    }
    if (exponent < -FG_DECIMAL_DIGITS_MAX || exponent > FG_DECIMAL_DIGITS_MAX) {
        return false;
    }
    if (exponent >= 0) {
        int64_t product;
        if (__builtin_mul_overflow(number, fg_decimal_power(exponent), &product)) {
            return false;
        }
        *shifted = product;
        return true;
    }
    int64_t power = fg_decimal_power(-exponent);
    if (number % power != 0) {
        return false;
    }
    *shifted = number / power;
    return true;
}

double fg_decimal_real(int64_t number, int digits)
{
    if (number >= -EXACT_MAX && number <= EXACT_MAX) {
        return (double)number / (double)fg_decimal_power(digits);
    }
    char text[FG_NUMBER_TEXT];
    snprintf(text, sizeof text, "%llde-%d", (long long)number, digits);
    return strtod(text, NULL);
}

int64_t fg_decimal_round(int64_t number, int digits)
{
    int64_t power = fg_decimal_power(digits);
    int64_t rest = number % power;
    int64_t whole = number / power;
    int64_t distance = rest < 0 ? -rest : rest;
    if (digits > 0 && distance >= power / 2) {
        whole += number < 0 ? -1 : 1;
    }
    return whole;
}

/* A double this large has no digits behind the point that mean anything. */
#define ROUND_MAX 1e15

double fg_real_round(double real, int decimals)
{
    double power = (double)fg_decimal_power(decimals);
    double shifted = real * power;
    double whole = nearbyint(shifted);
    if (fabs(shifted) < 1e9 && fabs(fabs(shifted - whole) - 0.5) > 1e-6) {
        return whole == 0 ? 0.0 : whole / power; /* far from a tie, so the product was exact enough */
    }
    if (fabs(real) >= ROUND_MAX) {
        return real;
    }
    /* A number that is written as a tie may stand an ulp below it: 0.15 is 0.1499999999999999944. */
    char text[64];
    snprintf(text, sizeof text, "%.*f", decimals, nextafter(real, copysign(INFINITY, real)));
    double rounded = strtod(text, NULL);
    return rounded == 0 ? 0.0 : rounded;
}

double fg_real_clean(double real)
{
    if (!isfinite(real)) {
        return real;
    }
    char text[FG_NUMBER_TEXT];
    snprintf(text, sizeof text, "%.15g", real);
    double clean = strtod(text, NULL);
    return clean == 0 ? 0.0 : clean;
}

double fg_real_from_float(float number)
{
    double real = (double)number;
    if (fabs(real) >= (double)(1 << 24)) {
        return real; /* an integer, exactly */
    }
    if (fabs(real) >= 1e-5) {
        for (int digits = 0; digits <= 14; digits++) {
            double power = (double)fg_decimal_power(digits);
            double shorter = nearbyint(real * power) / power;
            if ((float)shorter == number) {
                return shorter;
            }
        }
    }
    char text[FG_NUMBER_TEXT];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, real);
        if (strtof(text, NULL) == number) {
            break;
        }
    }
    return real == 0 ? 0.0 : strtod(text, NULL);
}
