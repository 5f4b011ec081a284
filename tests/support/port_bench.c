#include "support/port_bench.h"

#include "fieldgate/buffer.h"
#include "fieldgate/clock.h"
#include "fieldgate/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct source {
    struct fg_source base;
    struct bench *bench;
    atomic_int inside;
};

static void enter(struct source *source)
{
    if (atomic_fetch_add(&source->inside, 1) != 0) {
        source->bench->overlapped = true;
    }
}

static void leave(struct source *source)
{
    atomic_fetch_sub(&source->inside, 1);
}

static struct fg_source *source_new(void *context, const struct fg_port_settings *port,
                                    const struct fg_device_defaults *device, const char *identity)
{
    (void)device;
    struct source *source = calloc(1, sizeof *source);
    source->bench = context;
    source->base.origin = fg_origin_new(port->name, identity);
    return &source->base;
}

static void source_free(struct fg_source *base)
{
    fg_origin_unref(base->origin);
    free(base);
}

static void write_down(struct source *source, int64_t wall_ms, const char *format, ...)
{
    struct bench *bench = source->bench;
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    if (vasprintf(&text, format, arguments) >= 0 && bench->count < BENCH_LINES) {
        bench->told[bench->count++] =
            (struct told){ .text = text, .at_ns = fg_clock_now_ns(), .wall_ms = wall_ms };
    }
    va_end(arguments);
    pthread_cond_broadcast(&bench->changed);
}

static bool refuses(struct bench *bench)
{
    if (bench->random != 0) {
        bench->random ^= bench->random << 13;
        bench->random ^= bench->random >> 7;
        bench->random ^= bench->random << 17;
        return bench->random % 3 == 0;
    }
    if (bench->limited && bench->room == 0) {
        return true;
    }
    bench->room -= bench->limited;
    return false;
}

static int offer(struct fg_source *base, const struct fg_reading *reading)
{
    struct source *source = (struct source *)base;
    struct bench *bench = source->bench;
    struct fg_buffer text;
    fg_buffer_init(&text, 65536);
    enter(source);
    for (size_t i = 0; i < reading->count; i++) {
        fg_buffer_printf(&text, " %.*s=", (int)reading->fields[i].name_length, reading->fields[i].name);
        fg_json_put_value(&text, &reading->fields[i].value);
    }
    pthread_mutex_lock(&bench->mutex);
    bool refused = refuses(bench);
    if (refused) {
        bench->refusals++;
        pthread_cond_broadcast(&bench->changed);
    } else {
        write_down(source, reading->wall_ms, "%s:%.*s", base->origin->device, (int)text.size,
                   text.size > 0 ? (const char *)text.bytes : "");
    }
    pthread_mutex_unlock(&bench->mutex);
    leave(source);
    fg_buffer_fini(&text);
    return refused ? -ENOBUFS : 0;
}

static void lose(struct fg_source *base, enum fg_loss reason, int64_t wall_ms)
{
    struct source *source = (struct source *)base;
    enter(source);
    pthread_mutex_lock(&source->bench->mutex);
    write_down(source, wall_ms, "%s! %s", base->origin->device, fg_loss_name(reason));
    pthread_mutex_unlock(&source->bench->mutex);
    leave(source);
}

static void available(struct fg_source *base, bool online)
{
    struct source *source = (struct source *)base;
    enter(source);
    pthread_mutex_lock(&source->bench->mutex);
    write_down(source, 0, "%s%c", base->origin->device, online ? '+' : '-');
    pthread_mutex_unlock(&source->bench->mutex);
    leave(source);
}

static void report(void *context, const char *problem)
{
    (void)context;
    print_error("%s\n", problem);
}

struct bench *bench_new(void **state, const char *format, ...)
{
    struct bench *bench = calloc(1, sizeof *bench);
    bench->rig = *state;
    char path[96];
    snprintf(path, sizeof path, "%s/port.cfg", bench->rig->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("name = \"p\";\n", file);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fclose(file);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&bench->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&bench->mutex, NULL);
    assert_int_equal(fg_config_read(path, &fg_port_schema, report, NULL, &bench->config), 0);
    bench->sink = (struct fg_sink){ .source_new = source_new,
                                    .source_free = source_free,
                                    .offer = offer,
                                    .lose = lose,
                                    .available = available,
                                    .context = bench };
    return bench;
}

void bench_open(struct bench *bench)
{
    assert_int_equal(
        fg_port_open(&bench->rig->loop, fg_config_settings(bench->config), &bench->sink, &bench->port), 0);
}

static void on_closed(void *context)
{
    struct bench *bench = context;
    pthread_mutex_lock(&bench->mutex);
    bench->closed = true;
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->mutex);
}

void bench_close(struct bench *bench)
{
    fg_port_close(bench->port, on_closed, bench);
    RIG_WAIT(bench, bench->closed);
}

void bench_free(struct bench *bench)
{
    if (!bench->closed) {
        bench_close(bench);
    }
    assert_false(bench->overlapped);
    fg_port_free(bench->port);
    for (size_t i = 0; i < bench->count; i++) {
        free(bench->told[i].text);
    }
    fg_config_free(bench->config);
    pthread_mutex_destroy(&bench->mutex);
    pthread_cond_destroy(&bench->changed);
    free(bench);
}

void bench_give_room(struct bench *bench, size_t room)
{
    pthread_mutex_lock(&bench->mutex);
    bench->room += room;
    pthread_mutex_unlock(&bench->mutex);
    fg_port_resume(bench->port);
}

size_t bench_count(const struct bench *bench, const char *text)
{
    size_t length = strlen(text);
    bool begin = length > 0 && text[length - 1] == '*';
    size_t count = 0;
    for (size_t i = 0; i < bench->count; i++) {
        count += begin ? strncmp(bench->told[i].text, text, length - 1) == 0
                       : strcmp(bench->told[i].text, text) == 0;
    }
    return count;
}

const char *bench_story(struct bench *bench, size_t first)
{
    static char text[65536];
    size_t used = 0;
    text[0] = '\0';
    pthread_mutex_lock(&bench->mutex);
    for (size_t i = first; i < bench->count && used < sizeof text - 1; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > first ? "\n" : "",
                                 bench->told[i].text);
    }
    pthread_mutex_unlock(&bench->mutex);
    return text;
}

struct fg_port_stats bench_stats(struct bench *bench)
{
    struct fg_port_stats stats;
    fg_port_get_stats(bench->port, &stats);
    return stats;
}
