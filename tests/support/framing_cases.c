#include "support/framing_cases.h"

#include "support/protocol.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OUTPUT_MAX ((size_t)16 * 1024 * 1024)

static void run(const struct fg_framing_case *one, size_t number, size_t piece, uint64_t seed)
{
    const struct fg_variant *variant = fg_test_variant(fg_framings, one->framing);
    void *settings = fg_test_settings_new(variant->schema, one->settings);
    struct fg_buffer out;
    fg_buffer_init(&out, OUTPUT_MAX);
    uint64_t state = seed;
    fg_test_frames(variant, settings, one->input, one->size, piece, seed ? &state : NULL, one->why, &out);
    fg_buffer_append(&out, "", 1);
    if (strcmp((const char *)out.bytes, one->expected) != 0) {
        fail_msg("case %zu, reads of %zu, seed %" PRIu64 ": %s instead of %s", number, piece, seed,
                 (const char *)out.bytes, one->expected);
    }
    fg_buffer_fini(&out);
    fg_test_settings_free(variant->schema, settings);
}

void fg_framing_cases_run(const struct fg_framing_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t piece = 0; piece < 4; piece++) {
            run(&cases[i], i, piece, 0);
        }
        for (uint64_t seed = 1; seed <= 20; seed++) {
            run(&cases[i], i, 7, seed);
        }
    }
}
