/*
 * The layouts of NMEA 0183 sentences: which field is what. After NMEA 0183 4.11 as publicly described in
 * gpsd's "NMEA Revealed". Private to this folder.
 */
#ifndef FIELDGATE_PROTOCOL_NMEA_SENTENCES_H
#define FIELDGATE_PROTOCOL_NMEA_SENTENCES_H

#include <stddef.h>

enum nmea_kind {
    NMEA_TEXT,
    NMEA_NUMBER,
    NMEA_LATITUDE,  /* two fields: ddmm.mmm and N or S; signed decimal degrees */
    NMEA_LONGITUDE, /* two fields: dddmm.mmm and E or W */
    NMEA_SIGNED,    /* two fields: a number, and a direction of which S and W are negative */
    NMEA_TIME,      /* hhmmss.ss, as hh:mm:ss.ss */
    NMEA_DATE,      /* ddmmyy, as yyyy-mm-dd */
    NMEA_DAY,       /* numbers that together are a date */
    NMEA_MONTH,
    NMEA_YEAR,
    NMEA_UNIT, /* a letter that is always name: it is not decoded, but tells that this is the layout */
};

struct nmea_field {
    const char *name; /* NULL ends the list */
    enum nmea_kind kind;
};

struct nmea_sentence {
    const char *name;
    const struct nmea_field *fields;
    /* Fields that then come several times, named group, number (from 1), "_" and name; or without "_" when
     * that is
     * "". group_count times, or with 0 as often as they come. */
    const char *group;
    const struct nmea_field *group_fields;
    size_t group_count;
    const struct nmea_field *tail; /* what follows them */
};

/* The layout of a sentence ("GGA"), or NULL when it is not known. */
const struct nmea_sentence *fg_nmea_sentence(const char *name, size_t length);

#endif
