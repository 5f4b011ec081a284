/* Tables of cases for decoders. */
#ifndef FIELDGATE_TESTS_DECODER_CASES_H
#define FIELDGATE_TESTS_DECODER_CASES_H

#include <stddef.h>

struct fg_decoder_case {
    const char *settings; /* as for fg_test_settings_new, may be NULL */
    const char *frame;
    size_t size;
    const char *expected; /* as from fg_test_decode */
};

/* A frame with NULs and bytes in hex, its size counted. */
#define FG_BYTES(text) (text), sizeof(text) - 1

/* Fails the test at the first case that comes out differently. */
void fg_decoder_cases_run(const char *decoder, const struct fg_decoder_case *cases, size_t count);

#define FG_DECODER_CASES_RUN(decoder, cases)                                                                 \
    fg_decoder_cases_run((decoder), (cases), sizeof(cases) / sizeof((cases)[0]))

/* Fails the test unless the frame is decoded as expected. */
void fg_decoder_expect(const char *decoder, const char *settings, const void *frame, size_t size,
                       const char *expected);

#endif
