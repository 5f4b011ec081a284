#include "publisher_guard.h"

#include <errno.h>
#include <mosquitto.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local jmp_buf *landing; /* of who reads; NULL: nobody does */

int fg_guard_read(struct mosquitto *library)
{
    jmp_buf here;
    if (setjmp(here) != 0) {
        landing = NULL;
        errno = 0;
        return MOSQ_ERR_PROTOCOL;
    }
    landing = &here;
    errno = 0;
    int result = mosquitto_loop_read(library, 1);
    landing = NULL;
    return result;
}

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the name is what it is for */
_Noreturn void __assert_fail(const char *assertion, const char *file, unsigned int line,
                             const char *function);

/*
 * In place of the C library's, for the whole process. The one assertion that a broker can make fail is that
 * of the library's logging function, which property__read calls with a null handle to tell of an unknown
 * property. No lock is held there, and the packet is freed by the next connect; the properties that were read
 * before are not, some hundred bytes.
 */
_Noreturn void __assert_fail(const char *assertion, const char *file, unsigned int line, const char *function)
{
    if (landing && function && strcmp(function, "log__printf") == 0) {
        longjmp(*landing, 1);
    }
    fprintf(stderr, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function ? function : "?", assertion);
    abort();
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
