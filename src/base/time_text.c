#include "fieldgate/text.h"

#include <errno.h>
#include <math.h>

#define MS_PER_DAY (INT64_C(86400) * 1000)
#define END_MS     INT64_C(7258118400000) /* 2200-01-01T00:00:00Z */
#define FIRST_MS   1e11                   /* numbers from here on are milliseconds */

struct cursor {
    const char *at;
    const char *end;
};

static bool take(struct cursor *cursor, char letter)
{
    if (cursor->at == cursor->end || *cursor->at != letter) {
        return false;
    }
    cursor->at++;
    return true;
}

static bool take_number(struct cursor *cursor, int digits, int highest, int *number)
{
    int sum = 0;
    if (cursor->end - cursor->at < digits) {
        return false;
    }
    for (int i = 0; i < digits; i++) {
        char letter = cursor->at[i];
        if (letter < '0' || letter > '9') {
            return false;
        }
        sum = sum * 10 + (letter - '0');
    }
    if (sum > highest) {
        return false;
    }
    cursor->at += digits;
    *number = sum;
    return true;
}

/* Digits past the millisecond are cut, not rounded: a time never runs into the next second. */
static bool take_fraction(struct cursor *cursor, int *ms)
{
    int sum = 0;
    int weight = 100;
    const char *first = cursor->at;
    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
        sum += (*cursor->at++ - '0') * weight;
        weight /= 10;
    }
    *ms = sum;
    return cursor->at > first;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of_month(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar; year from 1. */
static int64_t days_since_epoch(int year, int month, int day)
{
    int before = year - 1;
    int64_t days = (int64_t)before * 365 + before / 4 - before / 100 + before / 400 - 719162;
    for (int m = 1; m < month; m++) {
        days += days_of_month(year, m);
    }
    return days + day - 1;
}

/* Either all separators are there (extended form) or none (basic form). */
static bool take_date(struct cursor *cursor, bool *extended, int64_t *days)
{
    int year, month, day;
    if (!take_number(cursor, 4, 9999, &year) || year < 1) {
        return false;
    }
    *extended = take(cursor, '-');
    if (!take_number(cursor, 2, 12, &month) || month < 1 || (*extended && !take(cursor, '-')) ||
        !take_number(cursor, 2, 31, &day) || day < 1 || day > days_of_month(year, month)) {
        return false;
    }
    *days = days_since_epoch(year, month, day);
    return true;
}

static bool take_clock(struct cursor *cursor, bool extended, int64_t *ms, bool *leap_second)
{
    int hour, minute, second = 0, fraction = 0;
    if (!take_number(cursor, 2, 23, &hour) || (extended && !take(cursor, ':')) ||
        !take_number(cursor, 2, 59, &minute)) {
        return false;
    }
    bool has_second =
        extended ? take(cursor, ':') : cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9';
    if (has_second) {
        if (!take_number(cursor, 2, 60, &second)) {
            return false;
        }
        if ((take(cursor, '.') || take(cursor, ',')) && !take_fraction(cursor, &fraction)) {
            return false;
        }
    }
    *leap_second = second == 60;
    *ms = ((int64_t)hour * 3600 + minute * 60 + second) * 1000 + fraction;
    return true;
}

/* "Z", "+hh:mm", "+hhmm", "+hh", or nothing, to the end of the text. */
static bool take_zone(struct cursor *cursor, int64_t *offset_ms)
{
    int hours = 0, minutes = 0;
    bool west = false;
    if (cursor->at < cursor->end && !take(cursor, 'Z') && !take(cursor, 'z')) {
        west = take(cursor, '-');
        if ((!west && !take(cursor, '+')) || !take_number(cursor, 2, 23, &hours)) {
            return false;
        }
        if (cursor->at < cursor->end) {
            take(cursor, ':');
            if (!take_number(cursor, 2, 59, &minutes)) {
                return false;
            }
        }
    }
    int64_t offset = ((int64_t)hours * 60 + minutes) * 60 * 1000;
    *offset_ms = west ? -offset : offset;
    return cursor->at == cursor->end;
}

/* RFC 3339 section 5.6, and of ISO 8601 the forms of a date and a time of day that devices use. */
static bool parse_date_time(const char *text, size_t length, int64_t *wall_ms)
{
    struct cursor cursor = { text, text + length };
    bool extended, leap_second;
    int64_t days, clock_ms, offset_ms;
    if (!take_date(&cursor, &extended, &days) ||
        (!take(&cursor, 'T') && !take(&cursor, 't') && !take(&cursor, ' ')) ||
        !take_clock(&cursor, extended, &clock_ms, &leap_second) || !take_zone(&cursor, &offset_ms)) {
        return false;
    }
    int64_t ms = days * MS_PER_DAY + clock_ms - offset_ms;
    if (leap_second && ms % MS_PER_DAY >= 1000) {
        return false; /* second 60 is there at the end of a UTC day only */
    }
    *wall_ms = ms;
    return true;
}

static bool whole_to_ms(int64_t number, int64_t *wall_ms)
{
    if (number < 0 || number >= END_MS) {
        return false;
    }
    *wall_ms = number >= (int64_t)FIRST_MS ? number : number * 1000;
    return true;
}

static bool number_to_ms(const struct fg_value *value, int64_t *wall_ms)
{
    if (value->kind == FG_VALUE_INTEGER) {
        return whole_to_ms(value->integer, wall_ms);
    }
    if (value->kind != FG_VALUE_REAL || !(value->real >= 0 && value->real < (double)END_MS)) {
        return false;
    }
    *wall_ms = llround(value->real >= FIRST_MS ? value->real : value->real * 1000);
    return true;
}

int fg_time_parse(const struct fg_value *value, int64_t *wall_ms)
{
    int64_t ms = 0;
    struct fg_value number = *value;
    bool read;
    if (value->kind == FG_VALUE_TEXT && !fg_number_parse(value->text.bytes, value->text.length, &number)) {
        read = parse_date_time(value->text.bytes, value->text.length, &ms);
    } else {
        read = number_to_ms(&number, &ms);
    }
    if (!read || ms < 0 || ms >= END_MS) {
        return -EINVAL;
    }
    *wall_ms = ms;
    return 0;
}
