/*
 * A growable run of bytes with a bound. It holds no memory until the first byte comes, and none after
 * fg_buffer_fini. Not thread-safe: one owner at a time.
 */
#ifndef FIELDGATE_BUFFER_H
#define FIELDGATE_BUFFER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct fg_buffer {
    uint8_t *bytes;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* most bytes it may ever hold */
};

/* Makes an empty buffer that will never hold more than limit bytes. Allocates nothing. */
void fg_buffer_init(struct fg_buffer *buffer, size_t limit);

/* Frees the memory; the buffer is empty again and may be used on. */
void fg_buffer_fini(struct fg_buffer *buffer);

/* Appends. Returns 0, -EMSGSIZE when the limit would be passed, -ENOMEM; on failure nothing is appended. */
int fg_buffer_append(struct fg_buffer *buffer, const void *bytes, size_t size);

/* Appends formatted text without its NUL. Returns as fg_buffer_append. */
int fg_buffer_printf(struct fg_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fg_buffer_vprintf(struct fg_buffer *buffer, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

/* Drops the first count bytes; the memory is freed when nothing is left. */
void fg_buffer_consume(struct fg_buffer *buffer, size_t count);

#endif
