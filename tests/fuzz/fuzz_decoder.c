/*
 * Decoders. The first byte chooses the decoder with its settings, the rest is the frame. Names and texts of
 * the record are what value.h promises; a frame decoded twice gives the same.
 */
#include "fieldgate/decoder.h"
#include "fuzz/fuzz.h"
#include "support/protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *decoder, *settings;
} setups[] = {
    { "raw", NULL },
    { "json", NULL },
    { "json", "max_depth=3" },
    { "csv", "columns=a/b/c" },
    { "csv", "columns=id//long name|separator=;" },
    { "csv", "columns=a/b|separator=\t" },
    { "keyvalue", NULL },
    { "keyvalue", "separator=,|assign=:" },
    { "keyvalue", "separator=&&|assign=->" },
    { "nmea0183", NULL }, /* as it comes */
    { "nmea0183", NULL }, /* with "$" before it and the right checksum behind it */
};

#define SETUPS (sizeof setups / sizeof setups[0])

#define SEED(text)                                                                                           \
    {                                                                                                        \
        (text), sizeof(text) - 1                                                                             \
    }

const struct fuzz_seed fuzz_seeds[] = {
    SEED("\0some text \xc3\xbc"),
    SEED("\0\xff\0\1"),
    SEED(
        "\1{\"a\":{\"b\":[1,2.5,-3e-7,true,null,\"x\\u00fc\\ud83d\\ude00\\n\"]},\"c\":18446744073709551615}"),
    SEED("\1 {\"a\":1e999,\"b\":123456789012345678901234567890,\"c\":\"\",\"d\":{},\"e\":[[[]]]}\r\n"),
    SEED("\2{\"a\":{\"b\":{\"c\":1}}}"),
    SEED("\2{\"a\":[1234567890123456789,-9223372036854775809],\"a.0\":1}"),
    SEED("\3 1 , \"x,\"\"y\"\"\" ,\r\n"),
    SEED("\4"
         "1;;\"a\nb\""),
    SEED("\5nan\t-0.5e3"),
    SEED("\6temp=21.5 hum=\"4 0\" x=\"\\\"\\\\\" y=\r\n"),
    SEED("\7"
         "a:1, b:\"2,3\" ,,c:"),
    SEED("\x08"
         "a->1&&b->\"&&\"&&"),
    SEED("\x09$GPHDT,274.07,T*03"),
    SEED("\x09\\s:a*28\\!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C"),
    SEED("\x0aGPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"),
    SEED("\x0aGPRMC,123519.25,A,4807.038,S,01131.000,W,022.4,084.4,230394,003.1,W,A,V,extra"),
    SEED("\x0aGNGSA,A,3,80,71,73,79,69,,,,,,,,1.83,1.09,1.47,1"),
    SEED("\x0aGPGSV,3,1,11,03,03,111,00,04,15,270,00,06,01,010,00,13,06,292,00,1"),
    SEED("\x0aGPZDA,160012.71,11,03,2004,-1,00"),
    SEED("\x0aHCXDR,A,171,D,PITCH,A,-37,D,ROLL,G,367,,MAGX"),
    SEED("\x0aWIMDA,29.92,I,1.013,B,18.6,C,,C,45,,6.4,C,,T,,M,3.1,N,1.6,M"),
    SEED("\x0aPUBX,00,1,,x"),
    { NULL, 0 },
};

static void *settings[SETUPS];

static const struct fg_variant *setup_of(size_t which)
{
    const struct fg_variant *variant = fg_test_variant(fg_decoders, setups[which].decoder);
    if (!settings[which]) {
        settings[which] = fg_test_settings_new(variant->schema, setups[which].settings);
    }
    return variant;
}

static size_t with_checksum(char *out, size_t room, const uint8_t *bytes, size_t size)
{
    unsigned sum = 0;
    size = size < room - 5 ? size : room - 5;
    out[0] = '$';
    for (size_t i = 0; i < size; i++) {
        out[1 + i] = (char)bytes[i];
        sum ^= bytes[i];
    }
    snprintf(out + 1 + size, 4, "*%02X", sum);
    return size + 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fg_buffer once = { .limit = (size_t)16 << 20 }, again = { .limit = (size_t)16 << 20 };
    char sentence[300];
    const void *frame = data + 1;
    if (size < 1) {
        return 0;
    }
    size--;
    size_t which = data[0] % SETUPS;
    if (which == SETUPS - 1) {
        size = with_checksum(sentence, sizeof sentence, data + 1, size);
        frame = sentence;
    }
    const struct fg_variant *variant = setup_of(which);
    once.size = again.size = 0;
    fg_test_decode(variant, settings[which], frame, size, &once);
    fg_test_decode(variant, settings[which], frame, size, &again);
    if (once.size != again.size || memcmp(once.bytes, again.bytes, once.size) != 0 ||
        memchr(once.bytes, FG_BROKEN[0], once.size)) {
        fprintf(stderr, "%s: %.*s\n%.*s\n", variant->name, (int)once.size, (const char *)once.bytes,
                (int)again.size, (const char *)again.bytes);
        abort();
    }
    return 0;
}
