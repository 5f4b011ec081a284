/*
 * Framings. The first byte chooses the framing with its settings, the second why the input ends, the third
 * the cuts; the rest is the stream. What comes out must not depend on the cuts, and the promises of framing.h
 * hold.
 */
#include "fieldgate/framing.h"
#include "fuzz/fuzz.h"
#include "support/protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *framing, *settings;
} setups[] = {
    { "line", NULL },
    { "line", "max_bytes=8" },
    { "line", "max_bytes=8|delimiter=\r\n" },
    { "line", "max_bytes=5|delimiter=abaabab" },
    { "length", "header_bytes=1|max_bytes=20" },
    { "length", "header_bytes=2|endian=little|includes_header=true" },
    { "length", "header_bytes=4|max_bytes=8" },
    { "fixed", "bytes=5" },
    { "gap", "max_bytes=64" },
    { "stx-etx", "max_bytes=8" },
    { "stx-etx", "max_bytes=8|checksum=xor" },
    { "stx-etx", "max_bytes=8|checksum=sum8|start=58|end=10" },
    { "stx-etx", "checksum=crc16-modbus" },
    { "slip", "max_bytes=8" },
    { "slip", NULL },
    { "cobs", "max_bytes=8" },
    { "cobs", NULL },
};

#define SETUPS (sizeof setups / sizeof setups[0])

#define SEED(text)                                                                                           \
    {                                                                                                        \
        (text), sizeof(text) - 1                                                                             \
    }

const struct fuzz_seed fuzz_seeds[] = {
    SEED("\0\0\0one\r\ntwo\n\nthree"),
    SEED("\1\2\1"
         "12345678\r\n123456789\r\nx\r"),
    SEED("\2\2\2"
         "one\r\r\ntwo\r\n12345678901234567890\r\n"),
    SEED("\3\2\3"
         "ababaababaabaababababaabab"),
    SEED("\4\0\4\3abc\0\x15"
         "123456789012345678901\1x"),
    SEED("\5\0\5\5\0abc\1\0\2\0\4\0xy"),
    SEED("\6\0\6\0\0\0\3abc\0\0\0\x09"
         "123456789\0\0\0\1x\xff\xff\xff\xff"),
    SEED("\7\0\7abcdefghijklm"),
    SEED("\x08\1\x08"
         "some bytes"),
    SEED("\x09\0\x09\2abc\3\r\n\2\3xx\2ab\2cd\3\2"
         "1234567890\3"),
    SEED("\x0a\0\x0a\2abc\3\x63\2abc\3\2abc\3\x63"),
    SEED("\x0b\0\x0b:abc\n\x30:\n\n"),
    SEED("\x0c\0\x0c\2abc\3\xd6\xf7\2abc\3\2\3\2abc\3\xd6\xf7"),
    SEED("\x0d\0\x0d\xc0"
         "abc\xc0\xc0"
         "a\xdb\xdc\xdb\xdd\xc0\xdbx\xc0"
         "123456789\xc0"),
    SEED("\x0f\0\x0f\4abc\0\1\1\0\2a\2b\0\5ab\0\x0a"
         "123456789\0"),
    SEED("\x10\0\x10\xff\3abc\0\1\1\1\0"),
    { NULL, 0 },
};

static void *settings[SETUPS];

/* Runs once before the first input; the settings live as long as the program. */
static const struct fg_variant *setup_of(size_t which)
{
    const struct fg_variant *variant = fg_test_variant(fg_framings, setups[which].framing);
    if (!settings[which]) {
        settings[which] = fg_test_settings_new(variant->schema, setups[which].settings);
    }
    return variant;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum fg_framing_end ends[] = { FG_FRAMING_LINK_DOWN, FG_FRAMING_SILENCE,
                                                FG_FRAMING_DATAGRAM };
    static struct fg_buffer whole = { .limit = (size_t)16 << 20 }, cut = { .limit = (size_t)16 << 20 };
    if (size < 3) {
        return 0;
    }
    size_t which = data[0] % SETUPS;
    enum fg_framing_end why = ends[data[1] % 3];
    uint64_t random = data[2];
    const struct fg_variant *variant = setup_of(which);
    whole.size = cut.size = 0;
    fg_test_frames(variant, settings[which], data + 3, size - 3, 0, NULL, why, &whole);
    fg_test_frames(variant, settings[which], data + 3, size - 3, 1 + data[2] % 16, &random, why, &cut);
    if (whole.size != cut.size || (whole.size > 0 && memcmp(whole.bytes, cut.bytes, whole.size) != 0) ||
        (whole.size > 0 && memchr(whole.bytes, FG_BROKEN[0], whole.size))) {
        fprintf(stderr, "%s %s: cut differently, or broken\n%.*s\n%.*s\n", variant->name,
                setups[which].settings, (int)whole.size, (const char *)whole.bytes, (int)cut.size,
                (const char *)cut.bytes);
        abort();
    }
    return 0;
}
