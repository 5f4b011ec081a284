/*
 * What the spool writes for a message: usage: spool_cost [MESSAGES [PAYLOAD_BYTES]]. A long outage and its
 * end, with group commits of 1, 32 and 256 messages, in a folder under $TMPDIR. Prints; proves nothing about
 * time.
 */
#include "mqtt/spool.h"

#include "fieldgate/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fg_origin *devices[8];

static struct fg_origin *find_origin(void *context, const char *port, const char *device)
{
    (void)context;
    (void)port;
    return fg_origin_ref(devices[strtoul(device, NULL, 10) % 8]);
}

static void note_lost(void *context, const struct fg_spool_loss *loss)
{
    (void)context;
    printf("lost %llu\n", (unsigned long long)loss->count);
}

static void note_damage(void *context, const struct fg_spool_damage *damage)
{
    (void)context;
    printf("damaged: %s\n", damage->why);
}

static struct fg_message *make_chain(unsigned count, size_t size)
{
    static unsigned number;
    char payload[65536], topic[64];
    struct fg_message *first = NULL, **end = &first;
    memset(payload, '7', sizeof payload);
    for (unsigned i = 0; i < count; i++, number++) {
        int length = snprintf(topic, sizeof topic, "fieldgate/shed-pi/meter%u/state", number % 8);
        *end = fg_message_new(devices[number % 8], topic, (size_t)length, payload, size);
        if (!*end) {
            exit(1);
        }
        (*end)->taken_ns = fg_clock_now_ns();
        (*end)->wall_ms = fg_clock_wall_ms();
        end = &(*end)->next;
    }
    return first;
}

static double per_message(uint64_t bytes, unsigned count)
{
    return (double)bytes / count;
}

static int measure(const char *folder, unsigned group, unsigned total, size_t size)
{
    static const struct fg_spool_events events = { find_origin, note_lost, note_damage, NULL };
    char path[256];
    snprintf(path, sizeof path, "%s/%u.db", folder, group);
    struct fg_spool_settings settings = { .path = path };
    struct fg_spool_options options = { &settings, &events, NULL, NULL, NULL };
    struct fg_spool *spool;
    struct fg_spool_counts begun, filled, drained, closed;
    int error = fg_spool_new(&options, &spool);
    error = error ? error : fg_spool_open(spool);
    fg_spool_get_counts(spool, &begun);
    int64_t start_ns = fg_clock_now_ns();
    for (unsigned done = 0; done < total && !error; done += group) {
        struct fg_message *chain = make_chain(group, size);
        error = fg_spool_append(spool, chain);
        fg_message_free_all(chain);
    }
    int64_t append_ns = fg_clock_now_ns() - start_ns;
    fg_spool_get_counts(spool, &filled);
    for (int64_t after = 0; !error && after < filled.last_id;) {
        struct fg_message *chain = NULL;
        error = fg_spool_read(spool, after, 100, 1 << 20, &chain);
        int64_t first = after + 1;
        for (const struct fg_message *message = chain; message; message = message->next) {
            after = message->spool_id;
        }
        fg_message_free_all(chain);
        error = error ? error : fg_spool_remove(spool, &(struct fg_spool_range){ first, after }, 1);
    }
    fg_spool_get_counts(spool, &drained);
    error = error ? error : fg_spool_close(spool);
    fg_spool_get_counts(spool, &closed);
    if (error) {
        printf("failed: %d %s\n", error, fg_spool_problem(spool));
    } else {
        printf("%5u %8zu %12.0f %12.0f %12.0f %10.1f %8.1f\n", group, size,
               per_message(filled.written_bytes - begun.written_bytes, total),
               per_message(drained.written_bytes - filled.written_bytes, total),
               per_message(closed.written_bytes, total), per_message(filled.disk_bytes, total),
               (double)append_ns / 1000.0 / total);
    }
    fg_spool_free(spool);
    (void)unlink(path);
    strcat(path, ".lock");
    (void)unlink(path);
    return error;
}

int main(int count, char **arguments)
{
    static const unsigned groups[] = { 1, 32, 256 };
    unsigned total = count > 1 ? (unsigned)strtoul(arguments[1], NULL, 10) : 20480;
    size_t size = count > 2 ? strtoul(arguments[2], NULL, 10) : 100;
    char folder[128];
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.100s/spool-cost-XXXXXX", base ? base : "/tmp");
    if (size > 60000 || total == 0 || !mkdtemp(folder)) {
        return 2;
    }
    for (unsigned i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "%u", i);
        devices[i] = fg_origin_new("rs485", name);
    }
    printf("bytes a message, %u messages:\n", total);
    printf("group  payload  written:fill written:drain written:all    on disk us/append\n");
    int error = 0;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0] && !error; i++) {
        error = measure(folder, groups[i], (total + groups[i] - 1) / groups[i] * groups[i], size);
    }
    for (unsigned i = 0; i < 8; i++) {
        fg_origin_unref(devices[i]);
    }
    (void)rmdir(folder);
    return error ? 1 : 0;
}
