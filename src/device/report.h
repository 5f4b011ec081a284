/*
 * The report policy: which readings of a device are worth a message. Pure but for memory; the caller gives
 * the time (fg_clock_now_ns) and guards the state.
 */
#ifndef FIELDGATE_DEVICE_REPORT_H
#define FIELDGATE_DEVICE_REPORT_H

#include "fieldgate/port.h"
#include "fieldgate/value.h"

/* What was last published of each point of one device. */
struct fg_report;

/* Whether these settings ever hold anything back; a device for which they do not needs no state. */
bool fg_report_is_needed(const struct fg_device_defaults *device);

/* NULL without memory. settings are borrowed. */
struct fg_report *fg_report_new(const struct fg_device_defaults *settings);
void fg_report_free(struct fg_report *report);

struct fg_report_verdict {
    size_t passed;                    /* fields to publish */
    int64_t retry_ns;                 /* earliest time at which one of later may go; 0: none */
    bool later[FG_RECORD_MAX_FIELDS]; /* fields that min_interval alone holds back */
};

/* Judges each field: passes[i] is whether it goes now. Changes nothing. */
struct fg_report_verdict fg_report_judge(const struct fg_report *report, const struct fg_reading *reading,
                                         int64_t now_ns, bool passes[FG_RECORD_MAX_FIELDS]);

/* These fields were published at now_ns. A point beyond the bound of points, or without memory, is not
 * remembered: it passes the next time too. */
void fg_report_published(struct fg_report *report, const struct fg_field *fields, size_t count,
                         int64_t now_ns);

#endif
