/* Tables of cases for framings: each is run as one read, byte by byte, and cut at random. */
#ifndef FIELDGATE_TESTS_FRAMING_CASES_H
#define FIELDGATE_TESTS_FRAMING_CASES_H

#include "fieldgate/framing.h"

#include <stddef.h>

struct fg_framing_case {
    const char *framing;
    const char *settings; /* as for fg_test_settings_new, may be NULL */
    const char *input;
    size_t size;
    enum fg_framing_end why;
    const char *expected; /* as from fg_test_frames */
};

/* An input with NULs and bytes in hex, its size counted. */
#define FG_BYTES(text) (text), sizeof(text) - 1

/* Fails the test at the first case that comes out differently, telling its seed. */
void fg_framing_cases_run(const struct fg_framing_case *cases, size_t count);

#define FG_FRAMING_CASES_RUN(cases) fg_framing_cases_run((cases), sizeof(cases) / sizeof((cases)[0]))

#endif
