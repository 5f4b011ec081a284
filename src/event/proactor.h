/*
 * What tests see of the proactor beside the contract: an instance with sizes of their choice, what it came
 * to, and the words for a refusal.
 */
#ifndef FIELDGATE_EVENT_PROACTOR_H
#define FIELDGATE_EVENT_PROACTOR_H

#include "fieldgate/event_model.h"

/* The kinds of input that need a buffer, each with buffers of its own. */
enum fg_proactor_kind { FG_PROACTOR_STREAM, FG_PROACTOR_DATAGRAM, FG_PROACTOR_TTY, FG_PROACTOR_KINDS };

/* How many requests, completions and buffers there is room for. Powers of two, and at least 8 requests. */
struct fg_proactor_sizes {
    unsigned requests;
    unsigned completions;
    struct {
        unsigned count;
        unsigned bytes;
    } buffers[FG_PROACTOR_KINDS];
};

extern const struct fg_proactor_sizes fg_proactor_sizes;

int fg_proactor_open(struct fg_pool *pool, const struct fg_proactor_sizes *sizes, struct fg_model **model);

/* How often an instance came to its limits, and the buffers that are free. */
struct fg_proactor_counts {
    unsigned full;      /* turns that had more to ask for than there was room */
    unsigned overflows; /* turns with more completions than there was room */
    unsigned starved;   /* operations that had to wait for a buffer */
    unsigned ahead;     /* connections that came before anybody asked for them */
    unsigned free[FG_PROACTOR_KINDS];
};

/* Main thread. */
void fg_proactor_get_counts(struct fg_model *model, struct fg_proactor_counts *counts);

int fg_proactor_probe(char *why, size_t why_size);

/* Why a ring could not be made: from the negative errno of the attempt, and what
 * /proc/sys/kernel/io_uring_disabled says (-1: nothing). */
void fg_proactor_tell_refusal(int error, int disabled, char *why, size_t why_size);

#endif
