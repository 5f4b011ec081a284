/* What holds for every framing, whatever comes: tested with seeded streams. */
#include "support/protocol.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OUTPUT_MAX ((size_t)16 * 1024 * 1024)

/* Alphabets in which the bytes that matter to the framing come often. */
static const struct setup {
    const char *framing;
    const char *settings;
    const char *alphabet;
    size_t letters;
} setups[] = {
#define ALPHABET(text) (text), sizeof(text) - 1
    { "line", "max_bytes=12", ALPHABET("abc\r\n") },
    { "line", "max_bytes=12|delimiter=\r\n", ALPHABET("ab\r\n") },
    { "line", "max_bytes=7|delimiter=aabaab", ALPHABET("aaab") },
    { "line", "max_bytes=3|delimiter=abababab", ALPHABET("aabb\r") },
    { "length", "max_bytes=3|header_bytes=1", ALPHABET("\0\1\2\3\4\x10") },
    { "length", "max_bytes=300|endian=little|includes_header=true", ALPHABET("\0\0\1\2\3\4") },
    { "length", "max_bytes=1000|header_bytes=4", ALPHABET("\0\0\0\0\0\1\2") },
    { "fixed", "bytes=7", ALPHABET("abc") },
    { "gap", "max_bytes=100000", ALPHABET("abc") },
    { "gap", "max_bytes=50", ALPHABET("abc") },
    { "stx-etx", "max_bytes=5", ALPHABET("\2\3ab\n") },
    { "stx-etx", "max_bytes=5|checksum=xor", ALPHABET("\2\3\0\1\r") },
    { "stx-etx", "max_bytes=5|checksum=sum8", ALPHABET("\2\3\3\1\5") },
    { "stx-etx", "max_bytes=5|checksum=crc16-modbus", ALPHABET("\2\3a") },
    { "slip", "max_bytes=6", ALPHABET("ab\xc0\xdb\xdc\xdd") },
    { "cobs", "max_bytes=6", ALPHABET("\0\1\2\3\4\x10") },
    { "cobs", "max_bytes=600", ALPHABET("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\2") },
};

static const enum fg_framing_end ends[] = { FG_FRAMING_LINK_DOWN, FG_FRAMING_SILENCE, FG_FRAMING_DATAGRAM };

static char *transcript(const struct fg_variant *variant, const void *settings, const uint8_t *bytes,
                        size_t size, size_t piece, uint64_t *seed, enum fg_framing_end why)
{
    struct fg_buffer out;
    fg_buffer_init(&out, OUTPUT_MAX);
    fg_test_frames(variant, settings, bytes, size, piece, seed, why, &out);
    fg_buffer_append(&out, "", 1);
    return (char *)out.bytes;
}

static void test_one_stream(const struct setup *setup, const void *settings, uint64_t seed)
{
    const struct fg_variant *variant = fg_test_variant(fg_framings, setup->framing);
    uint8_t bytes[2048];
    uint64_t random = seed;
    size_t size = (size_t)(fg_test_random(&random) % sizeof bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)setup->alphabet[fg_test_random(&random) % setup->letters];
    }
    enum fg_framing_end why = ends[seed % 3];
    char *whole = transcript(variant, settings, bytes, size, 0, NULL, why);
    if (strstr(whole, FG_BROKEN)) {
        fail_msg("%s %s, seed %" PRIu64 ": %s", setup->framing, setup->settings, seed, whole);
    }
    static const size_t pieces[] = { 1, 3, 20, 200 };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        char *cut = transcript(variant, settings, bytes, size, pieces[i], &random, why);
        if (strcmp(whole, cut) != 0) {
            fail_msg("%s %s, seed %" PRIu64 ", reads up to %zu: %s instead of %s", setup->framing,
                     setup->settings, seed, pieces[i], cut, whole);
        }
        free(cut);
    }
    free(whole);
}

static void every_cut_of_a_stream_gives_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof setups / sizeof setups[0]; i++) {
        const struct fg_variant *variant = fg_test_variant(fg_framings, setups[i].framing);
        void *settings = fg_test_settings_new(variant->schema, setups[i].settings);
        for (uint64_t seed = 1; seed <= 150; seed++) {
            test_one_stream(&setups[i], settings, seed);
        }
        fg_test_settings_free(variant->schema, settings);
    }
}

static void what_is_encoded_comes_out_again(void **state)
{
    (void)state;
    uint64_t random = 42;
    size_t carried = 0;
    for (size_t i = 0; i < sizeof setups / sizeof setups[0]; i++) {
        const struct fg_variant *variant = fg_test_variant(fg_framings, setups[i].framing);
        void *settings = fg_test_settings_new(variant->schema, setups[i].settings);
        for (int round = 0; round < 300; round++) {
            uint8_t payload[600];
            size_t size = (size_t)(fg_test_random(&random) % (round % 2 ? 8 : sizeof payload));
            for (size_t at = 0; at < size; at++) {
                payload[at] = round % 3
                                  ? (uint8_t)fg_test_random(&random)
                                  : (uint8_t)setups[i].alphabet[fg_test_random(&random) % setups[i].letters];
            }
            struct fg_buffer out;
            fg_buffer_init(&out, 4096);
            assert_int_equal(fg_buffer_append(&out, "before", 6), 0);
            int error = fg_framing_encode(variant, settings, payload, size, &out);
            if (error) {
                assert_true(error == -EINVAL || error == -EMSGSIZE);
                assert_int_equal(out.size, 6);
                fg_buffer_fini(&out);
                continue;
            }
            struct fg_framer framer;
            struct fg_frame frame = { 0 };
            enum fg_reason reason;
            fg_framer_init(&framer, variant, settings);
            const uint8_t *input = out.bytes + 6;
            size_t left = out.size - 6;
            enum fg_framing_result result = fg_framer_next(&framer, &input, &left, &frame, &reason);
            if (result == FG_FRAMING_MORE) {
                result = fg_framer_end(&framer, FG_FRAMING_SILENCE, &frame, &reason);
            }
            bool line = strcmp(variant->name, "line") == 0;
            if (line && (size == 0 || payload[size - 1] == '\r')) {
                /* Sent as asked, and taken apart as lines are. */
            } else if (result != FG_FRAMING_FRAME || frame.size != size ||
                       memcmp(frame.bytes, payload, size) != 0 || left != 0) {
                fail_msg("%s %s: a payload of %zu bytes came out differently", setups[i].framing,
                         setups[i].settings, size);
            } else {
                carried++;
            }
            fg_framer_fini(&framer);
            fg_buffer_fini(&out);
        }
        fg_test_settings_free(variant->schema, settings);
    }
    assert_true(carried > 1000);
}

static void what_cannot_be_carried_is_refused(void **state)
{
    static const struct {
        const char *framing, *settings, *payload;
        size_t size;
        int error;
    } cases[] = {
        { "line", NULL, "a\nb", 3, -EINVAL },
        { "line", "delimiter=aba", "xab", 3, -EINVAL },
        { "line", "max_bytes=2", "abc", 3, -EMSGSIZE },
        { "line", NULL, "ok\r", 3, 0 },
        { "line", NULL, "", 0, 0 },
        { "length", "header_bytes=1|includes_header=true", "", 0, 0 },
        { "fixed", "bytes=2", "abc", 3, -EINVAL },
        { "fixed", "bytes=2", "a", 1, -EINVAL },
        { "gap", NULL, "", 0, -EINVAL },
        { "stx-etx", NULL, "a\3", 2, -EINVAL },
        { "stx-etx", NULL, "\2", 1, -EINVAL },
        { "slip", NULL, "", 0, -EINVAL },
        { "cobs", NULL, "", 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct fg_variant *variant = fg_test_variant(fg_framings, cases[i].framing);
        void *settings = fg_test_settings_new(variant->schema, cases[i].settings);
        struct fg_buffer out;
        fg_buffer_init(&out, 100);
        int error = fg_framing_encode(variant, settings, cases[i].payload, cases[i].size, &out);
        if (error != cases[i].error || (error && out.size > 0)) {
            fail_msg("case %zu: %d, %zu bytes", i, error, out.size);
        }
        fg_buffer_fini(&out);
        fg_test_settings_free(variant->schema, settings);
    }
}

static void a_length_field_bounds_what_is_sent(void **state)
{
    (void)state;
    const struct fg_variant *variant = fg_test_variant(fg_framings, "length");
    void *settings = fg_test_settings_new(variant->schema, "header_bytes=1|includes_header=true");
    uint8_t payload[255] = { 0 };
    struct fg_buffer out;
    fg_buffer_init(&out, 1000);
    assert_int_equal(fg_framing_encode(variant, settings, payload, 255, &out), -EMSGSIZE);
    assert_int_equal(fg_framing_encode(variant, settings, payload, 254, &out), 0);
    assert_int_equal(out.size, 255);
    fg_buffer_fini(&out);
    fg_test_settings_free(variant->schema, settings);
}

static void no_room_for_the_whole_frame_appends_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof setups / sizeof setups[0]; i++) {
        const struct fg_variant *variant = fg_test_variant(fg_framings, setups[i].framing);
        void *settings = fg_test_settings_new(variant->schema, setups[i].settings);
        for (size_t limit = 0; limit < 7; limit++) {
            struct fg_buffer out;
            fg_buffer_init(&out, limit);
            int error = fg_framing_encode(variant, settings, "xyzxyzx", 7, &out);
            assert_true(error == -EMSGSIZE || error == -EINVAL);
            assert_int_equal(out.size, 0);
            fg_buffer_fini(&out);
        }
        fg_test_settings_free(variant->schema, settings);
    }
}

/* Bytes that never end a frame, by the framing. */
static const struct endless {
    const char *framing, *settings;
    uint8_t head[4];
    size_t head_size;
} endless[] = {
    { "line", NULL, { 0 }, 0 },       { "line", "delimiter=\r\n--", { 0 }, 0 },
    { "gap", NULL, { 0 }, 0 },        { "length", "header_bytes=4", { 0xF0, 0, 0, 0 }, 4 },
    { "stx-etx", NULL, { 0x02 }, 1 }, { "stx-etx", "checksum=xor", { 0 }, 0 },
    { "slip", NULL, { 0 }, 0 },       { "cobs", NULL, { 0xFF }, 1 },
};

static void a_hundred_megabytes_without_end_cost_no_memory(void **state)
{
    (void)state;
    static uint8_t block[65536];
    memset(block, 'x', sizeof block);
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
        const struct fg_variant *variant = fg_test_variant(fg_framings, endless[i].framing);
        void *settings = fg_test_settings_new(variant->schema, endless[i].settings);
        struct fg_framer framer;
        struct fg_frame frame;
        enum fg_reason reason = FG_REASON_NONE;
        int rejections = 0;
        fg_framer_init(&framer, variant, settings);
        const uint8_t *input = endless[i].head;
        size_t size = endless[i].head_size;
        for (int read = 0; read < 1600; read++) {
            enum fg_framing_result result;
            while ((result = fg_framer_next(&framer, &input, &size, &frame, &reason)) != FG_FRAMING_MORE) {
                assert_int_equal(result, FG_FRAMING_REJECT);
                rejections++;
            }
            assert_true(framer.pending.capacity <= 4096 + 32);
            input = block;
            size = sizeof block;
        }
        assert_int_equal(rejections, 1);
        assert_true(fg_framer_pending(&framer));
        assert_null(framer.pending.bytes);
        fg_framer_fini(&framer);
        fg_test_settings_free(variant->schema, settings);
    }
}

static void a_frame_whole_in_the_input_is_not_copied(void **state)
{
    static const struct {
        const char *framing, *settings, *input;
        size_t size, offset;
    } cases[] = {
        { "line", NULL, "abc\r\n", 5, 0 },   { "length", NULL, "\0\3abc", 5, 2 },
        { "fixed", "bytes=3", "abc", 3, 0 }, { "stx-etx", "checksum=xor", "\2abc\3\x63", 6, 1 },
        { "slip", NULL, "abc\xc0", 4, 0 },   { "cobs", NULL, "\4abc\0", 5, 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct fg_variant *variant = fg_test_variant(fg_framings, cases[i].framing);
        void *settings = fg_test_settings_new(variant->schema, cases[i].settings);
        struct fg_framer framer;
        struct fg_frame frame;
        enum fg_reason reason;
        fg_framer_init(&framer, variant, settings);
        const uint8_t *input = (const uint8_t *)cases[i].input;
        size_t size = cases[i].size;
        assert_int_equal(fg_framer_next(&framer, &input, &size, &frame, &reason), FG_FRAMING_FRAME);
        assert_ptr_equal(frame.bytes, cases[i].input + cases[i].offset);
        assert_int_equal(frame.size, 3);
        assert_null(framer.pending.bytes);
        fg_framer_fini(&framer);
        fg_test_settings_free(variant->schema, settings);
    }
}

static void only_gap_has_a_silence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof setups / sizeof setups[0]; i++) {
        const struct fg_variant *variant = fg_test_variant(fg_framings, setups[i].framing);
        void *settings = fg_test_settings_new(variant->schema, setups[i].settings);
        struct fg_framer framer;
        fg_framer_init(&framer, variant, settings);
        bool gap = strcmp(variant->name, "gap") == 0;
        assert_int_equal(fg_framer_gap_ns(&framer), gap ? 20000000 : 0);
        fg_framer_fini(&framer);
        fg_test_settings_free(variant->schema, settings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_of_a_stream_gives_the_same),
        cmocka_unit_test(what_is_encoded_comes_out_again),
        cmocka_unit_test(what_cannot_be_carried_is_refused),
        cmocka_unit_test(a_length_field_bounds_what_is_sent),
        cmocka_unit_test(no_room_for_the_whole_frame_appends_nothing),
        cmocka_unit_test(a_hundred_megabytes_without_end_cost_no_memory),
        cmocka_unit_test(a_frame_whole_in_the_input_is_not_copied),
        cmocka_unit_test(only_gap_has_a_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
