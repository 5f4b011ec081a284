/* Answers for people. A member that is not there, or of another kind, is shown as 0 or as nothing. */
#include "ctl.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

/* In the status, more devices than these are only counted. */
#define DEVICES_SHOWN 50

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static unsigned long long number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (unsigned long long)value : 0;
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static const char *age(const json_t *object, const char *key, char room[TABLE_SHORT])
{
    const json_t *value = json_object_get(object, key);
    room[0] = '\0';
    if (json_is_number(value)) {
        table_age(json_number_value(value), room);
    }
    return room;
}

/* "2 (checksum 1, malformed 1)": counts by reason. */
static char *reasons(const json_t *counts)
{
    char *list = NULL;
    size_t size = 0;
    unsigned long long sum = 0;
    FILE *out = open_memstream(&list, &size);
    if (!out) {
        return NULL;
    }
    const char *reason;
    json_t *count;
    bool first = true;
    json_object_foreach((json_t *)(uintptr_t)counts, reason, count)
    {
        sum += (unsigned long long)json_integer_value(count);
        fprintf(out, "%s%s %lld", first ? "" : ", ", reason, (long long)json_integer_value(count));
        first = false;
    }
    fclose(out);
    char *whole = NULL;
    if (!list || asprintf(&whole, sum ? "%llu (%s)" : "%llu", sum, list) < 0) {
        whole = NULL;
    }
    free(list);
    return whole;
}

static void reasons_cell(struct table *table, enum table_style style, const json_t *counts)
{
    char *told = reasons(counts);
    table_cell(table, json_object_size(counts) > 0 ? style : TABLE_PLAIN, "%s", told ? told : "");
    free(told);
}

/* ---- tables ---- */

static void show_devices(const json_t *devices, size_t most, bool colour)
{
    struct table table = { 0 };
    static const char *const heads[] = { "DEVICE",    "PORT",       "STATE",    "LAST READING",
                                         ">RECEIVED", ">PUBLISHED", "REJECTED", "LOST" };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        table_column(&table, heads[i]);
    }
    for (size_t i = 0; i < json_array_size(devices) && i < most; i++) {
        const json_t *device = json_array_get(devices, i);
        bool online = is_true(device, "online");
        char room[TABLE_SHORT];
        const char *told = age(device, "last_reading_s", room);
        bool now = strcmp(told, "just now") == 0;
        table_cell(&table, TABLE_PLAIN, "%s", text(device, "name"));
        table_cell(&table, TABLE_PLAIN, "%s", text(device, "port"));
        table_cell(&table, online ? TABLE_GOOD : TABLE_BAD, "%s", online ? "online" : "offline");
        table_cell(&table, TABLE_PLAIN, "%s%s", told[0] ? told : "never", told[0] && !now ? " ago" : "");
        table_cell(&table, TABLE_PLAIN, "%llu", number(device, "received"));
        table_cell(&table, TABLE_PLAIN, "%llu", number(device, "published"));
        reasons_cell(&table, TABLE_DOUBTFUL, json_object_get(device, "rejected"));
        reasons_cell(&table, TABLE_BAD, json_object_get(device, "lost"));
    }
    table_print(&table, stdout, colour);
    table_free(&table);
}

static void show_ports(const json_t *ports, bool colour)
{
    struct table table = { 0 };
    static const char *const heads[] = { "PORT",    "TRANSPORT", "STATE",    ">LINKS",
                                         ">ONLINE", ">RECEIVED", "REJECTED", "PROBLEM" };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        table_column(&table, heads[i]);
    }
    for (size_t i = 0; i < json_array_size(ports); i++) {
        const json_t *port = json_array_get(ports, i);
        const char *state = text(port, "state");
        bool up = strcmp(state, "up") == 0;
        bool down = strcmp(state, "down") == 0;
        table_cell(&table, TABLE_PLAIN, "%s", text(port, "name"));
        table_cell(&table, TABLE_PLAIN, "%s", text(port, "transport"));
        table_cell(&table, up ? TABLE_GOOD : down ? TABLE_BAD : TABLE_DOUBTFUL, "%s", state);
        table_cell(&table, TABLE_PLAIN, "%llu", number(port, "links"));
        table_cell(&table, TABLE_PLAIN, "%llu/%llu", number(port, "online"), number(port, "devices"));
        table_cell(&table, TABLE_PLAIN, "%llu", number(port, "received"));
        reasons_cell(&table, TABLE_DOUBTFUL, json_object_get(port, "rejected"));
        table_cell(&table, TABLE_PLAIN, "%s", text(port, "problem"));
    }
    table_print(&table, stdout, colour);
    table_free(&table);
}

/* ---- the head of the status ---- */

/* Prints a text of the daemon's, made safe for a terminal. */
static void put_safe(const char *dirty)
{
    char *clean = strdup(dirty);
    if (clean) {
        table_clean(clean);
        fputs(clean, stdout);
        free(clean);
    }
}

static void show_broker(const json_t *answer, bool colour)
{
    const json_t *broker = json_object_get(answer, "broker");
    bool connected = is_true(broker, "connected");
    enum table_style style = connected ? TABLE_GOOD : TABLE_BAD;
    char room[TABLE_SHORT];
    const char *reason = text(broker, "reason");
    bool now = strcmp(age(broker, "since_s", room), "just now") == 0;
    printf("broker   ");
    put_safe(text(broker, "address"));
    printf(", %s%s%s %s%s", table_on(style, colour), connected ? "connected" : "not connected",
           table_off(style, colour), now ? "" : "for ", room);
    if (reason[0] && !connected) {
        printf(": ");
        put_safe(reason);
    } else if (number(broker, "reconnects") > 0) {
        printf(", %llu reconnects, the last after: ", number(broker, "reconnects"));
        put_safe(reason);
    }
    printf("\n");
}

static void show_queues(const json_t *answer)
{
    const json_t *outbox = json_object_get(answer, "outbox");
    const json_t *spool = json_object_get(answer, "spool");
    char bytes[TABLE_SHORT];
    char limit[TABLE_SHORT];
    table_bytes(number(outbox, "bytes"), bytes);
    table_bytes(number(outbox, "limit_bytes"), limit);
    printf("outbox   %llu messages, %s of %s\n", number(outbox, "messages"), bytes, limit);
    if (json_is_object(spool)) {
        table_bytes(number(spool, "bytes"), bytes);
        printf("spool    %llu messages, %s on disk\n", number(spool, "messages"), bytes);
    } else {
        printf("spool    none\n");
    }
}

static void show_totals(const json_t *answer)
{
    char *lost = reasons(json_object_get(answer, "lost"));
    printf("totals   %llu received, %llu published, %llu acknowledged, %s lost\n", number(answer, "received"),
           number(answer, "published"), number(answer, "acknowledged"), lost ? lost : "?");
    free(lost);
}

void ctl_show_status(const json_t *answer, bool colour)
{
    const json_t *devices = json_object_get(answer, "devices");
    char room[TABLE_SHORT];
    bool stopping = strcmp(text(answer, "state"), "stopping") == 0;
    printf("gateway  %s%s%s, fieldgated ", table_on(TABLE_HEAD, colour), text(answer, "gateway"),
           table_off(TABLE_HEAD, colour));
    bool now = strcmp(age(answer, "uptime_s", room), "just now") == 0;
    printf("%s, %s %s, event model %s, %llu workers, log level %s%s\n", text(answer, "version"),
           now ? "started" : "up", room, text(answer, "event_model"), number(answer, "workers"),
           text(answer, "log_level"), stopping ? ", stopping" : "");
    show_broker(answer, colour);
    show_queues(answer);
    show_totals(answer);
    printf("\n");
    show_ports(json_object_get(answer, "ports"), colour);
    if (json_array_size(devices) > 0) {
        printf("\n");
        show_devices(devices, DEVICES_SHOWN, colour);
    }
    if (json_array_size(devices) > DEVICES_SHOWN) {
        printf("and %zu more: fieldgatectl devices\n", json_array_size(devices) - DEVICES_SHOWN);
    }
}

void ctl_show_devices(const json_t *answer, bool colour)
{
    show_devices(json_object_get(answer, "devices"), SIZE_MAX, colour);
}

/* ---- statistics ---- */

/* Counters under their names, those of groups as "rejected.checksum". */
static void put_counters(struct table *table, const char *prefix, const json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        char whole[160];
        snprintf(whole, sizeof whole, "%s%s", prefix, name);
        bool apart = strcmp(name, "ports") == 0 || strcmp(name, "devices") == 0;
        if (json_is_object(value) && !apart) {
            char deeper[168];
            snprintf(deeper, sizeof deeper, "%s.", whole);
            put_counters(table, deeper, value);
        } else if (json_is_integer(value) && strcmp(whole, "protocol") != 0) {
            table_cell(table, TABLE_PLAIN, "%s", whole);
            table_cell(table, TABLE_PLAIN, "%lld", (long long)json_integer_value(value));
        } else if (json_is_boolean(value) && strcmp(whole, "ok") != 0) {
            table_cell(table, TABLE_PLAIN, "%s", whole);
            table_cell(table, TABLE_PLAIN, "%s", json_is_true(value) ? "yes" : "no");
        }
    }
}

static void show_group(const char *head, const json_t *group, bool colour)
{
    struct table table = { 0 };
    static const char *const heads[] = { ">RECEIVED",     ">SUPPRESSED", ">PUBLISHED",
                                         ">ACKNOWLEDGED", "REJECTED",    "LOST" };
    static const char *const keys[] = { "received", "suppressed", "published", "acknowledged" };
    table_column(&table, head);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        table_column(&table, heads[i]);
    }
    const char *name;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)group, name, one)
    {
        table_cell(&table, TABLE_PLAIN, "%s", name);
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            table_cell(&table, TABLE_PLAIN, "%llu", number(one, keys[i]));
        }
        reasons_cell(&table, TABLE_DOUBTFUL, json_object_get(one, "rejected"));
        reasons_cell(&table, TABLE_BAD, json_object_get(one, "lost"));
    }
    table_print(&table, stdout, colour);
    table_free(&table);
}

void ctl_show_stats(const json_t *answer, bool colour)
{
    struct table totals = { 0 };
    table_column(&totals, "COUNTER");
    table_column(&totals, ">SINCE THE START");
    put_counters(&totals, "", answer);
    table_print(&totals, stdout, colour);
    table_free(&totals);
    printf("\n");
    show_group("PORT", json_object_get(answer, "ports"), colour);
    printf("\n");
    show_group("DEVICE", json_object_get(answer, "devices"), colour);
}
