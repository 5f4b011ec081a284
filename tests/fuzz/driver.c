/*
 * Runs a fuzz target without libFuzzer: each of its seeds, then seeds that were mutated. Usage:
 *   driver [ITERATIONS [SEED]]    or    driver FILE...    to run inputs that broke something.
 */
#include "fuzz/fuzz.h"
#include "support/protocol.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX 4096

static uint8_t input[INPUT_MAX];
static size_t input_size;

/* What broke the target, for the next run: with only what a signal handler may call. */
static void tell_input(int signal_number)
{
    static const char head[] = "\nthe input was, in hex: ";
    static const char digits[] = "0123456789abcdef";
    (void)!write(STDERR_FILENO, head, sizeof head - 1);
    for (size_t i = 0; i < input_size; i++) {
        const char pair[2] = { digits[input[i] >> 4], digits[input[i] & 0x0F] };
        (void)!write(STDERR_FILENO, pair, sizeof pair);
    }
    (void)!write(STDERR_FILENO, "\n", 1);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    input_size = fread(input, 1, sizeof input, file);
    fclose(file);
    LLVMFuzzerTestOneInput(input, input_size);
    return 0;
}

static void insert(size_t at, const void *bytes, size_t count)
{
    if (count <= sizeof input - input_size) {
        memmove(input + at + count, input + at, input_size - at);
        memcpy(input + at, bytes, count);
        input_size += count;
    }
}

static void mutate(uint64_t *random, const struct fuzz_seed *other)
{
    size_t at = input_size > 0 ? (size_t)(fg_test_random(random) % input_size) : 0;
    size_t count = 1 + (size_t)(fg_test_random(random) % 8);
    uint8_t byte = (uint8_t)fg_test_random(random);
    switch (fg_test_random(random) % 6) {
    case 0:
        insert(at, &byte, 1);
        break;
    case 1:
        count = count < input_size - at ? count : input_size - at;
        memmove(input + at, input + at + count, input_size - at - count);
        input_size -= count;
        break;
    case 2:
        if (input_size > 0) {
            input[at] ^= (uint8_t)(1u << (byte & 7));
        }
        break;
    case 3:
        if (input_size > 0) {
            input[at] = byte;
        }
        break;
    case 4: { /* a piece of the input once more, somewhere else */
        uint8_t piece[8];
        count = count < input_size - at ? count : input_size - at;
        memcpy(piece, input + at, count);
        insert(input_size > 0 ? (size_t)(fg_test_random(random) % input_size) : 0, piece, count);
        break;
    }
    default: { /* the rest of another seed */
        size_t from = other->size > 0 ? (size_t)(fg_test_random(random) % other->size) : 0;
        insert(at, (const uint8_t *)other->bytes + from, other->size - from);
        break;
    }
    }
}

int main(int argc, char **argv)
{
    static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        signal(signals[i], tell_input);
    }
    if (argc > 1 && access(argv[1], R_OK) == 0) {
        int failed = 0;
        for (int i = 1; i < argc; i++) {
            failed |= run_file(argv[i]);
        }
        return failed;
    }
    uint64_t iterations = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    printf("%" PRIu64 " iterations, seed %" PRIu64 "\n", iterations, seed);
    fflush(stdout);
    size_t count = 0;
    for (; fuzz_seeds[count].bytes; count++) {
        input_size = fuzz_seeds[count].size;
        memcpy(input, fuzz_seeds[count].bytes, input_size);
        LLVMFuzzerTestOneInput(input, input_size);
    }
    uint64_t random = seed;
    for (uint64_t i = 0; i < iterations; i++) {
        const struct fuzz_seed *from = &fuzz_seeds[fg_test_random(&random) % count];
        input_size = from->size;
        memcpy(input, from->bytes, input_size);
        for (uint64_t n = 1 + fg_test_random(&random) % 6; n > 0; n--) {
            mutate(&random, &fuzz_seeds[fg_test_random(&random) % count]);
        }
        LLVMFuzzerTestOneInput(input, input_size);
    }
    return 0;
}
