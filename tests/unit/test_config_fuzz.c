/*
 * Damaged files: whatever stands in them, the reader answers, with a configuration or with problems. Another
 * run: FIELDGATE_FUZZ_SEED=N FIELDGATE_FUZZ_SECONDS=60.
 */
#include "support/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROOM 8192

static uint64_t state_of_random;

static size_t below(size_t bound)
{
    state_of_random ^= state_of_random << 13;
    state_of_random ^= state_of_random >> 7;
    state_of_random ^= state_of_random << 17;
    return (size_t)(state_of_random % bound);
}

static const char *const pieces[] = {
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ";",
    ",",
    "=",
    ":",
    "\"",
    "\\",
    "\n",
    "#",
    "//",
    "/*",
    "*/",
    "@include \"x.cfg\"\n",
    "1",
    "-1",
    "1e999",
    ".",
    "0x",
    "9999999999999999999",
    "0xFFFFFFFFFFFFFFFFL",
    "1L",
    "true",
    "no",
    "\"5s\"",
    "\"\\x00\"",
    "\xff",
    "\r",
    "name",
    "ports",
    "transport",
    "report",
    "gateway: {",
    "({",
    "type",
    "\"tcp-server\"",
    "*",
    "\xEF\xBB\xBF",
    "devices",
    "proof",
    "[1, \"a\"]",
    "\"a\" \"b\"",
    "@include \"\"\n",
    "\n@include \"y.inc\"\n",
    "allow",
    "+",
    "%s%n",
    "\t",
};

static size_t insert(char text[ROOM], size_t size, size_t at, const char *piece, size_t length)
{
    if (size + length > ROOM) {
        return size;
    }
    memmove(text + at + length, text + at, size - at);
    memcpy(text + at, piece, length);
    return size + length;
}

static size_t mutate(char text[ROOM], size_t size)
{
    size_t at = below(size + 1);
    size_t length = below(size - at + 1);
    const char *piece = pieces[below(sizeof pieces / sizeof *pieces)];
    char copy[64];
    switch (below(6)) {
    case 0: /* put something in */
        return insert(text, size, at, piece, strlen(piece));
    case 1: /* take something out */
        length = length > 40 ? below(40) : length;
        memmove(text + at, text + at + length, size - at - length);
        return size - length;
    case 2: /* twice */
        length = length > sizeof copy ? sizeof copy : length;
        memcpy(copy, text + at, length);
        return insert(text, size, below(size + 1), copy, length);
    case 3: /* another byte */
        if (at < size) {
            text[at] = (char)below(256);
        }
        return size;
    case 4: /* another bit */
        if (at < size) {
            text[at] = (char)(text[at] ^ (1 << below(8)));
        }
        return size;
    default: /* cut off, now and then */
        return below(8) == 0 ? at : size;
    }
}

/* Each with its file, and none from libconfig: it only gets what it understands. */
static void assert_well_told(const struct outcome *outcome)
{
    for (size_t i = 0; i < outcome->count; i++) {
        const char *problem = outcome->problems[i];
        if (strstr(problem, "libconfig") ||
            (strncmp(problem, "x.cfg:", 6) != 0 && strncmp(problem, "y.inc:", 6) != 0 && i < 100)) {
            fail_msg("%s", problem);
        }
    }
}

static void damaged_files_are_answered(void **state)
{
    (void)state;
    const char *seed_text = getenv("FIELDGATE_FUZZ_SEED");
    const char *seconds_text = getenv("FIELDGATE_FUZZ_SECONDS");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL);
    double seconds = seconds_text ? strtod(seconds_text, NULL) : 2.0;
    printf("seed %llu\n", (unsigned long long)seed);
    state_of_random = seed * 2 + 1;
    fixture_write("y.inc", "qos = 1;\n", 9);
    size_t good = 0;
    size_t runs = 0;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t end = now.tv_sec + (time_t)seconds;
    while (now.tv_sec <= end) {
        char text[ROOM];
        size_t size = strlen(sample_text);
        memcpy(text, sample_text, size);
        for (size_t i = below(12); i > 0; i--) {
            size = mutate(text, size);
        }
        fixture_write("x.cfg", text, size);
        struct outcome outcome = fixture_read_file("x.cfg");
        good += outcome.error == 0;
        assert_well_told(&outcome);
        outcome_fini(&outcome);
        runs++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
    printf("%zu files, %zu of them good\n", runs, good);
    assert_true(runs > good);
    assert_true(good > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(damaged_files_are_answered) };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
