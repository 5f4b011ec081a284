/*
 * Commands for tests of ports: given to a bench's port, with what came of them as text.
 */
#ifndef FIELDGATE_TEST_ASKED_H
#define FIELDGATE_TEST_ASKED_H

#include "support/port_bench.h"

#define ASKED_FIELDS 64

struct asked {
    struct bench *bench;
    struct fg_command command;
    struct fg_field fields[ASKED_FIELDS];
    char *words;      /* what it was made of */
    unsigned answers; /* under the bench's mutex, as what follows */
    int64_t answered_ns;
    char text[2048]; /* "ok a=1", "exception 2 at relay", "ok >reply" */
    char why[256];
};

/* "relay=true level=5 name="x"" is written; "a b" is read, "" all of it; bytes are sent. From then on, the
 * command is answered some time. */
struct asked *asked_set(struct bench *bench, const char *device, const char *fields);
struct asked *asked_get(struct bench *bench, const char *device, const char *points);
struct asked *asked_send(struct bench *bench, const char *device, const void *bytes, size_t size);

/* As these; not sent after so many milliseconds. */
struct asked *asked_until(struct bench *bench, const char *device, enum fg_command_kind kind,
                          const char *text, unsigned expires_ms);

/* Waits for the answer, and returns its text. */
const char *asked_answer(struct asked *asked);

/* It was answered once. After bench_close or _free, so that nothing more comes. */
void asked_free(struct asked *asked);

#endif
