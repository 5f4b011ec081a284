#include "support/decoder_cases.h"

#include "support/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OUTPUT_MAX ((size_t)4 * 1024 * 1024)

void fg_decoder_expect(const char *decoder, const char *text, const void *frame, size_t size,
                       const char *expected)
{
    const struct fg_variant *variant = fg_test_variant(fg_decoders, decoder);
    void *settings = fg_test_settings_new(variant->schema, text);
    struct fg_buffer out;
    fg_buffer_init(&out, OUTPUT_MAX);
    fg_test_decode(variant, settings, frame, size, &out);
    fg_buffer_append(&out, "", 1);
    if (strcmp((const char *)out.bytes, expected) != 0) {
        fail_msg("%.*s\n  is   %s\n  want %s", (int)(size < 500 ? size : 500), (const char *)frame,
                 (const char *)out.bytes, expected);
    }
    fg_buffer_fini(&out);
    fg_test_settings_free(variant->schema, settings);
}

void fg_decoder_cases_run(const char *decoder, const struct fg_decoder_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fg_decoder_expect(decoder, cases[i].settings, cases[i].frame, cases[i].size, cases[i].expected);
    }
}
