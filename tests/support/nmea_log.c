#include "support/nmea_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 160

static unsigned below(unsigned *seed, unsigned bound)
{
    return (unsigned)rand_r(seed) % bound;
}

static unsigned checksum(const char *body)
{
    unsigned sum = 0;
    for (; *body; body++) {
        sum ^= (unsigned char)*body;
    }
    return sum;
}

/* The sentence between '$' and '*'. Time goes on with number, so no two are the same. */
static void make_body(char *out, unsigned *seed, size_t number)
{
    unsigned second = (unsigned)(number / 4 % 60);
    unsigned minute = (unsigned)(number / 240 % 60);
    unsigned fraction = (unsigned)(number % 100);
    unsigned drift = below(seed, 10000);
    switch (number % 9) {
    case 0:
        snprintf(out, LINE, "GPGGA,12%02u%02u.%02u,4807.%04u,N,01131.%04u,E,1,08,0.9,545.%u,M,46.9,M,,",
                 minute, second, fraction, drift, 9999 - drift, drift % 10);
        break;
    case 1:
        snprintf(out, LINE, "GPRMC,12%02u%02u.%02u,A,4807.%04u,N,01131.%04u,E,022.4,084.4,230394,003.1,W",
                 minute, second, fraction, drift, 9999 - drift);
        break;
    case 2:
        snprintf(out, LINE, "GPGSA,A,3,04,05,,09,12,,,24,,,,,2.%u,1.3,2.%u", drift % 10,
                 (unsigned)(number % 10));
        break;
    case 3:
        snprintf(out, LINE, "GPGSV,2,1,08,01,40,083,46,02,17,308,%02u,12,07,344,39,14,22,228,%02u",
                 drift % 60, (unsigned)(number % 60));
        break;
    case 4:
        snprintf(out, LINE, "GPVTG,084.4,T,,M,022.%u,N,041.%u,K", drift % 10, (unsigned)(number % 10));
        break;
    case 5:
        snprintf(out, LINE, "GNGLL,4916.%04u,S,12311.%02u,W,22%02u%02u,A", drift, drift % 100, minute,
                 second);
        break;
    case 6:
        snprintf(out, LINE, "WIMWV,%03u.%u,R,012.4,N,A", drift % 360, (unsigned)(number % 10));
        break;
    case 7:
        snprintf(out, LINE, "SDDBT,%03u.%u,f,0005.4,M,003.0,F", drift % 500, (unsigned)(number % 10));
        break;
    default:
        snprintf(out, LINE, "GPZDA,12%02u%02u.%02u,23,03,2024,00,00", minute, second, fraction);
        break;
    }
}

/* A line that is no sentence; never one with a right checksum, never empty, never a line end in it. */
static void write_garbage(FILE *out, unsigned *seed, const char *body)
{
    size_t length = strlen(body);
    switch (below(seed, 3)) {
    case 0: /* cut short, before its checksum */
        fprintf(out, "$%.*s", (int)(6 + below(seed, (unsigned)length - 6)), body);
        break;
    case 1: /* its begin is missing */
        fprintf(out, "%s*%02X", body + 1 + below(seed, 4), checksum(body));
        break;
    default:
        for (unsigned left = 1 + below(seed, 60); left > 0; left--) {
            fputc((int)(128 + below(seed, 128)), out);
        }
        break;
    }
}

static void add_good(struct nmea_log *log, const char *sentence)
{
    log->good = realloc(log->good, (log->good_count + 1) * sizeof *log->good);
    assert_non_null(log->good);
    log->good[log->good_count++] = strdup(sentence);
}

void nmea_log_make(struct nmea_log *log, unsigned seed, size_t lines)
{
    *log = (struct nmea_log){ 0 };
    FILE *out = open_memstream(&log->text, &log->size);
    assert_non_null(out);
    for (size_t i = 0; i < lines; i++) {
        char body[LINE];
        char sentence[LINE + 8];
        make_body(body, &seed, i);
        unsigned kind = below(&seed, 20);
        if (kind == 0) {
            write_garbage(out, &seed, body);
            log->garbage++;
        } else if (kind == 1) {
            fprintf(out, "$%s*%02X", body, checksum(body) ^ (1 + below(&seed, 255)));
            log->wrong_checksums++;
        } else {
            snprintf(sentence, sizeof sentence, "$%s*%02X", body, checksum(body));
            fputs(sentence, out);
            add_good(log, sentence);
        }
        fputs("\r\n", out);
    }
    fclose(out);
}

void nmea_log_free(struct nmea_log *log)
{
    for (size_t i = 0; i < log->good_count; i++) {
        free(log->good[i]);
    }
    free(log->good);
    free(log->text);
    *log = (struct nmea_log){ 0 };
}
