#include "support/spool_rig.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PAYLOAD_MAX 8192

static struct fg_origin *find_origin(void *context, const char *port, const char *device)
{
    struct spool_rig *rig = context;
    assert_string_equal(port, "port");
    for (size_t i = 0; i < SPOOL_RIG_DEVICES; i++) {
        if (strcmp(rig->origins[i]->device, device) == 0) {
            return fg_origin_ref(rig->origins[i]);
        }
    }
    fail_msg("no device %s", device);
    return NULL;
}

static void note_lost(void *context, const struct fg_spool_loss *loss)
{
    struct spool_rig *rig = context;
    for (size_t i = 0; i < SPOOL_RIG_DEVICES; i++) {
        rig->lost_of[i] += rig->origins[i] == loss->origin ? loss->count : 0;
    }
    rig->lost_from_ms =
        rig->lost == 0 || loss->from_ms < rig->lost_from_ms ? loss->from_ms : rig->lost_from_ms;
    rig->lost_to_ms = rig->lost == 0 || loss->to_ms > rig->lost_to_ms ? loss->to_ms : rig->lost_to_ms;
    rig->lost += loss->count;
    rig->lost_bytes += loss->bytes;
    rig->reason = loss->reason;
}

static void note_damage(void *context, const struct fg_spool_damage *damage)
{
    struct spool_rig *rig = context;
    rig->damages++;
    rig->salvaged += damage->salvaged;
    rig->missing += damage->missing;
    rig->damage_from_ms = damage->from_ms;
    rig->damage_to_ms = damage->to_ms;
    snprintf(rig->set_aside, sizeof rig->set_aside, "%s", damage->set_aside);
    snprintf(rig->why, sizeof rig->why, "%s", damage->why);
}

static void tell_time(void *context, struct fg_spool_time *time)
{
    *time = ((struct spool_rig *)context)->time;
}

void spool_rig_start(struct spool_rig *rig)
{
    *rig = (struct spool_rig){ .padding = 60, .boot = "boot-1" };
    tempdir_make(rig->folder);
    snprintf(rig->path, sizeof rig->path, "%s/spool.db", rig->folder);
    rig->settings = (struct fg_spool_settings){ .path = rig->path, .when_full = FG_SPOOL_DROP_OLDEST };
    rig->events = (struct fg_spool_events){ find_origin, note_lost, note_damage, tell_time };
    rig->time = (struct fg_spool_time){ 5000000000000, 1750000000000, true };
    for (int i = 0; i < SPOOL_RIG_DEVICES; i++) {
        char name[16];
        snprintf(name, sizeof name, "device%d", i);
        rig->origins[i] = fg_origin_new("port", name);
        assert_non_null(rig->origins[i]);
    }
}

void spool_rig_stop(struct spool_rig *rig)
{
    fg_spool_free(rig->spool);
    tempdir_remove(rig->folder);
    for (size_t i = 0; i < SPOOL_RIG_DEVICES; i++) {
        assert_int_equal(atomic_load(&rig->origins[i]->references), 1);
        fg_origin_unref(rig->origins[i]);
    }
}

int spool_rig_open(struct spool_rig *rig)
{
    fg_spool_free(rig->spool);
    rig->spool = NULL;
    struct fg_spool_options options = { &rig->settings, &rig->events, rig, rig->boot, rig->vfs };
    int error = fg_spool_new(&options, &rig->spool);
    return error ? error : fg_spool_open(rig->spool);
}

void spool_rig_crash(struct spool_rig *rig)
{
    char copies[2][sizeof rig->path + 8];
    static const char *const suffixes[] = { "", "-wal" };
    char *bytes[2];
    size_t sizes[2];
    for (int i = 0; i < 2; i++) {
        snprintf(copies[i], sizeof copies[i], "%s%s", rig->path, suffixes[i]);
        bytes[i] = tempdir_read(copies[i], &sizes[i]);
    }
    fg_spool_free(rig->spool);
    rig->spool = NULL;
    for (int i = 0; i < 2; i++) {
        if (bytes[i]) {
            FILE *file = fopen(copies[i], "we");
            assert_non_null(file);
            assert_int_equal(fwrite(bytes[i], 1, sizes[i], file), sizes[i]);
            fclose(file);
            free(bytes[i]);
        }
    }
}

static struct fg_message *make_message(struct spool_rig *rig, unsigned number)
{
    char topic[32], payload[PAYLOAD_MAX];
    assert_true(rig->padding < sizeof payload - 16);
    int topic_length = snprintf(topic, sizeof topic, "topic/%u", number % SPOOL_RIG_DEVICES);
    memset(payload, 'x', sizeof payload);
    int length = snprintf(payload, 16, "%u,", number);
    payload[length] = 'x';
    struct fg_message *message = fg_message_new(rig->origins[number % SPOOL_RIG_DEVICES], topic,
                                                (size_t)topic_length, payload, (size_t)length + rig->padding);
    assert_non_null(message);
    message->taken_ns = rig->time.now_ns;
    message->wall_ms = rig->time.wall_ms;
    message->unsynchronised = rig->unsynchronised;
    message->qos = (uint8_t)(number % 3);
    message->retain = number % 3 == 1;
    return message;
}

int spool_rig_append(struct spool_rig *rig, unsigned count)
{
    struct fg_message *first = NULL, **end = &first;
    for (unsigned i = 0; i < count; i++) {
        *end = make_message(rig, ++rig->made);
        end = &(*end)->next;
    }
    int error = fg_spool_append(rig->spool, first);
    int64_t before = 0;
    for (const struct fg_message *message = first; message && !error; message = message->next) {
        assert_true(message->spool_id > before);
        before = message->spool_id;
    }
    fg_message_free_all(first);
    return error;
}

static unsigned check_message(const struct spool_rig *rig, const struct fg_message *message)
{
    const char *payload = fg_message_payload(message);
    char digits[16] = "";
    memcpy(digits, payload,
           message->payload_size < sizeof digits ? message->payload_size : sizeof digits - 1);
    unsigned number = (unsigned)strtoul(digits, NULL, 10);
    char topic[32];
    snprintf(topic, sizeof topic, "topic/%u", number % SPOOL_RIG_DEVICES);
    assert_string_equal(fg_message_topic(message), topic);
    assert_ptr_equal(message->origin, rig->origins[number % SPOOL_RIG_DEVICES]);
    assert_int_equal(message->qos, number % 3);
    assert_int_equal(message->retain, number % 3 == 1);
    const char *comma = memchr(payload, ',', message->payload_size);
    assert_non_null(comma);
    for (const char *at = comma + 1; at < payload + message->payload_size; at++) {
        assert_int_equal(*at, 'x');
    }
    return number;
}

int spool_rig_read(struct spool_rig *rig, unsigned *numbers, int64_t *ids, unsigned room)
{
    unsigned count = 0;
    int64_t after = 0;
    for (;;) {
        struct fg_message *chain = NULL;
        int error = fg_spool_read(rig->spool, after, 50, 100000, &chain);
        if (error) {
            return error;
        }
        if (!chain) {
            return (int)count;
        }
        for (const struct fg_message *message = chain; message; message = message->next) {
            assert_true(count < room);
            assert_true(message->spool_id > after);
            after = message->spool_id;
            if (ids) {
                ids[count] = after;
            }
            numbers[count++] = check_message(rig, message);
        }
        fg_message_free_all(chain);
    }
}

void spool_rig_expect(struct spool_rig *rig, unsigned first, unsigned last)
{
    static unsigned numbers[SPOOL_RIG_MAX];
    int count = spool_rig_read(rig, numbers, NULL, SPOOL_RIG_MAX);
    assert_int_equal(count, (int)(last + 1 - first));
    for (unsigned i = 0; i < (unsigned)count; i++) {
        assert_int_equal(numbers[i], first + i);
    }
    struct fg_spool_counts counts;
    fg_spool_get_counts(rig->spool, &counts);
    assert_int_equal(counts.messages, count);
}

int64_t spool_rig_size(const struct spool_rig *rig, const char *suffix)
{
    char path[TEMPDIR_PATH + 64];
    struct stat file;
    snprintf(path, sizeof path, "%s%s", rig->path, suffix);
    return lstat(path, &file) == 0 ? file.st_size : -1;
}

unsigned spool_rig_files(const struct spool_rig *rig, const char *part)
{
    unsigned count = 0;
    DIR *folder = opendir(rig->folder);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        count += strstr(entry->d_name, part) != NULL;
    }
    closedir(folder);
    return count;
}
