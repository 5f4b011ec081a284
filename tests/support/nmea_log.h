/*
 * The log of a GPS receiver and some ship's instruments, made from a seed: sentences with right checksums,
 * and between them wrong checksums, sentences cut short and noise, as a bad cable makes them. Every line ends
 * by CR LF.
 */
#ifndef FIELDGATE_TEST_NMEA_LOG_H
#define FIELDGATE_TEST_NMEA_LOG_H

#include <stddef.h>

struct nmea_log {
    char *text; /* all lines */
    size_t size;
    char **good; /* the sentences with right checksums, in order, without CR LF */
    size_t good_count;
    size_t wrong_checksums; /* lines that look whole, with a wrong checksum */
    size_t garbage;         /* other lines that are no sentence */
};

void nmea_log_make(struct nmea_log *log, unsigned seed, size_t lines);
void nmea_log_free(struct nmea_log *log);

#endif
