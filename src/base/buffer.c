#include "fieldgate/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fg_buffer_init(struct fg_buffer *buffer, size_t limit)
{
    *buffer = (struct fg_buffer){ .limit = limit };
}

void fg_buffer_fini(struct fg_buffer *buffer)
{
    free(buffer->bytes);
    buffer->bytes = NULL;
    buffer->size = buffer->capacity = 0;
}

static int reserve(struct fg_buffer *buffer, size_t more)
{
    if (more > buffer->limit - buffer->size) {
        return -EMSGSIZE;
    }
    size_t needed = buffer->size + more;
    if (needed <= buffer->capacity) {
        return 0;
    }
    size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    if (capacity > buffer->limit) {
        capacity = buffer->limit;
    }
    uint8_t *bytes = realloc(buffer->bytes, capacity);
    if (!bytes) {
        return -ENOMEM;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return 0;
}

int fg_buffer_append(struct fg_buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0) {
        return 0;
    }
    int error = reserve(buffer, size);
    if (error) {
        return error;
    }
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
    return 0;
}

int fg_buffer_vprintf(struct fg_buffer *buffer, const char *format, va_list arguments)
{
    char small[256];
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(small, sizeof small, format, arguments);
    int error = -EINVAL;
    if (length >= 0 && (size_t)length < sizeof small) {
        error = fg_buffer_append(buffer, small, (size_t)length);
    } else if (length >= 0) {
        char *large = malloc((size_t)length + 1);
        error = -ENOMEM;
        if (large) {
            vsnprintf(large, (size_t)length + 1, format, again);
            error = fg_buffer_append(buffer, large, (size_t)length);
            free(large);
        }
    }
    va_end(again);
    return error;
}

int fg_buffer_printf(struct fg_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int error = fg_buffer_vprintf(buffer, format, arguments);
    va_end(arguments);
    return error;
}

void fg_buffer_consume(struct fg_buffer *buffer, size_t count)
{
    if (count >= buffer->size) {
        fg_buffer_fini(buffer);
        return;
    }
    memmove(buffer->bytes, buffer->bytes + count, buffer->size - count);
    buffer->size -= count;
}
