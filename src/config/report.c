#include "reader.h"

#include "fieldgate/text.h"

#include <stdio.h>
#include <string.h>

/* A name, a path and a sentence, each of which is bounded where it is made; longer ones are cut. */
#define LINE_ROOM 6144
#define PATH_ROOM 1024

static size_t put(char *room, size_t size, size_t at, const char *text, size_t length)
{
    for (size_t i = 0; i < length && at + 1 < size; i++) {
        room[at++] = text[i];
    }
    room[at] = '\0';
    return at;
}

static size_t put_place(char room[PATH_ROOM], const struct place *place)
{
    const struct place *chain[CONFIG_MAX_DEPTH + 2];
    size_t depth = 0;
    for (; place && depth < sizeof chain / sizeof *chain; place = place->above) {
        chain[depth++] = place;
    }
    size_t at = put(room, PATH_ROOM, 0, "", 0);
    while (depth-- > 0) {
        const struct place *step = chain[depth];
        if (step->name) {
            at = put(room, PATH_ROOM, at, ".", at > 0);
            at = put(room, PATH_ROOM, at, step->name, step->length);
        } else {
            char index[32];
            int length = snprintf(index, sizeof index, "[%zu]", step->index);
            at = put(room, PATH_ROOM, at, index, (size_t)length);
        }
    }
    return at;
}

/* One problem is one line of valid UTF-8, whatever was quoted in it. */
static void make_printable(char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t step = fg_utf8_step(text + i, length - i);
        if (step == 0 || (step == 1 && ((unsigned char)text[i] < 0x20 || text[i] == 0x7f))) {
            text[i] = '?';
            step = 1;
        }
        i += step;
    }
}

void problems_vtell(struct problems *problems, const struct origin *origin, const struct place *place,
                    const char *below, const char *format, va_list arguments)
{
    if (problems->count++ >= CONFIG_MAX_PROBLEMS) {
        return;
    }
    char path[PATH_ROOM];
    size_t at = put_place(path, place);
    if (*below) {
        at = put(path, sizeof path, at, ".", at > 0 && *below != '[');
        at = put(path, sizeof path, at, below, strlen(below));
    }
    char line[LINE_ROOM];
    int head =
        snprintf(line, sizeof line, "%.4096s:%d: %s: ", origin->file, origin->line, at ? path : "file");
    vsnprintf(line + head, sizeof line - (size_t)head, format, arguments);
    size_t length = strlen(line);
    make_printable(line, length);
    const char *text = arena_copy(problems->memory, line, length);
    problems->kept[problems->count - 1] =
        (struct problem){ .order = origin->order, .text = text ? text : "out of memory" };
}

void problems_tell(struct problems *problems, const struct origin *origin, const struct place *place,
                   const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    problems_vtell(problems, origin, place, "", format, arguments);
    va_end(arguments);
}

bool problems_full(const struct problems *problems)
{
    return problems->count > CONFIG_MAX_PROBLEMS;
}

void problems_report(struct problems *problems, void (*report)(void *context, const char *problem),
                     void *context)
{
    size_t kept = problems->count < CONFIG_MAX_PROBLEMS ? problems->count : CONFIG_MAX_PROBLEMS;
    for (size_t i = 1; i < kept; i++) { /* by insertion: stable, and short */
        struct problem moved = problems->kept[i];
        size_t at = i;
        for (; at > 0 && problems->kept[at - 1].order > moved.order; at--) {
            problems->kept[at] = problems->kept[at - 1];
        }
        problems->kept[at] = moved;
    }
    for (size_t i = 0; i < kept; i++) {
        report(context, problems->kept[i].text);
    }
    if (problems->count > kept) {
        report(context, "… and more");
    }
}

const char *text_quoted(const char *text, size_t length, char room[QUOTED_ROOM])
{
    const size_t last =
        QUOTED_ROOM - 10; /* room for one more escape or sequence, the mark of a cut and the quote */
    size_t at = put(room, QUOTED_ROOM, 0, "\"", 1);
    size_t i = 0;
    while (i < length && at < last) {
        size_t step = fg_utf8_step(text + i, length - i);
        unsigned char byte = (unsigned char)text[i];
        char escape[8];
        if (step == 0 || byte < 0x20 || byte == 0x7f) {
            const char *known = byte == '\n' ? "\\n" : byte == '\r' ? "\\r" : byte == '\t' ? "\\t" : NULL;
            int size = known ? snprintf(escape, sizeof escape, "%s", known)
                             : snprintf(escape, sizeof escape, "\\x%02x", byte);
            at = put(room, QUOTED_ROOM, at, escape, (size_t)size);
            step = 1;
        } else {
            at = put(room, QUOTED_ROOM, at, "\\", byte == '"' || byte == '\\');
            at = put(room, QUOTED_ROOM, at, text + i, step);
        }
        i += step;
    }
    if (i < length) {
        at = put(room, QUOTED_ROOM, at, "…", strlen("…"));
    }
    put(room, QUOTED_ROOM, at, "\"", 1);
    return room;
}

/* The setting that path names below the group, or as near to it as the file goes. */
static const config_setting_t *follow(const config_setting_t *setting, const char *path, bool *whole)
{
    *whole = false;
    while (*path) {
        const config_setting_t *next = NULL;
        if (*path == '[') {
            unsigned index = 0;
            for (path++; *path >= '0' && *path <= '9' && index < CONFIG_MAX_VALUES; path++) {
                index = index * 10 + (unsigned)(*path - '0');
            }
            path += *path == ']';
            next = config_setting_is_aggregate(setting) ? config_setting_get_elem(setting, index) : NULL;
        } else {
            size_t length = strcspn(path, ".[");
            char name[CONFIG_MAX_NAME + 1];
            if (length <= CONFIG_MAX_NAME && config_setting_is_group(setting)) {
                memcpy(name, path, length);
                name[length] = '\0';
                next = config_setting_get_member(setting, name);
            }
            path += length;
        }
        path += *path == '.';
        if (!next) {
            return setting;
        }
        setting = next;
    }
    *whole = true;
    return setting;
}

void fg_check_problem(struct fg_check *check, const char *path, const char *format, ...)
{
    bool whole = false;
    const config_setting_t *at =
        check->spot.setting ? follow(check->spot.setting, path, &whole) : check->spot.near;
    const struct origin *origin = plain_origin(check->reader->plain, config_setting_source_line(at));
    va_list arguments;
    va_start(arguments, format);
    problems_vtell(check->reader->problems, origin, check->spot.place, path, format, arguments);
    va_end(arguments);
}

bool fg_check_says(const struct fg_check *check, const char *path)
{
    bool whole = false;
    if (check->spot.setting) {
        follow(check->spot.setting, path, &whole);
    }
    return whole;
}
