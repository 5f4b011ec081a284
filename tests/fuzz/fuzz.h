/*
 * A fuzz target is a file with the two things below. It is built twice: with driver.c as a test that runs
 * mutated seeds for some seconds, and with FIELDGATE_FUZZ=ON (clang) against libFuzzer. A broken promise
 * aborts.
 */
#ifndef FIELDGATE_TESTS_FUZZ_H
#define FIELDGATE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

struct fuzz_seed {
    const void *bytes; /* NULL ends the list */
    size_t size;
};

extern const struct fuzz_seed fuzz_seeds[];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
