#include "control_request.h"

#include "fieldgate/log.h"
#include "fieldgate/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Names from outside are repeated in errors up to here, so that the whole fits. */
#define SHOWN 64

static const char *const command_names[] = { "status", "devices",   "watch", "stats",
                                             "reload", "log-level", NULL };

static int find(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

/* At most SHOWN bytes of a valid text, whole characters. */
static int shown(const char *text)
{
    size_t at = 0;
    size_t length = strlen(text);
    for (size_t step; at < length && (step = fg_utf8_step(text + at, length - at)) > 0; at += step) {
        if (at + step > SHOWN) {
            break;
        }
    }
    return (int)at;
}

static enum fg_control_verdict refuse_name(const char *what, const char *name, const char *const *names,
                                           char why[FG_CONTROL_ERROR_BYTES])
{
    const char *near = fg_text_nearest(name, names);
    if (near) {
        snprintf(why, FG_CONTROL_ERROR_BYTES, "there is no %s \"%.*s\"; did you mean \"%s\"?", what,
                 shown(name), name, near);
    } else {
        int used = snprintf(why, FG_CONTROL_ERROR_BYTES, "there is no %s \"%.*s\"; there are", what,
                            shown(name), name);
        for (int i = 0; names[i] && used < FG_CONTROL_ERROR_BYTES; i++) {
            used += snprintf(why + used, (size_t)(FG_CONTROL_ERROR_BYTES - used), "%s %s", i ? "," : "",
                             names[i]);
        }
    }
    return FG_CONTROL_REFUSED;
}

static enum fg_control_verdict take_device(const json_t *value, struct fg_control_request *request,
                                           char why[FG_CONTROL_ERROR_BYTES])
{
    const char *device = json_string_value(value);
    if (!device || strlen(device) >= sizeof request->device) {
        snprintf(why, FG_CONTROL_ERROR_BYTES, "\"device\" is to be a text of at most %d bytes", FG_NAME_MAX);
        return FG_CONTROL_REFUSED;
    }
    memcpy(request->device, device, strlen(device) + 1);
    return FG_CONTROL_GOOD;
}

static enum fg_control_verdict take_level(const json_t *value, struct fg_control_request *request,
                                          char why[FG_CONTROL_ERROR_BYTES])
{
    const char *level = json_string_value(value);
    request->level = level ? find(fg_log_level_names, level) : -1;
    return request->level >= 0 ? FG_CONTROL_GOOD
                               : refuse_name("level", level ? level : "", fg_log_level_names, why);
}

static enum fg_control_verdict take_protocol(const json_t *value, char why[FG_CONTROL_ERROR_BYTES])
{
    if (json_is_integer(value) && json_integer_value(value) == FG_CONTROL_PROTOCOL) {
        return FG_CONTROL_GOOD;
    }
    snprintf(why, FG_CONTROL_ERROR_BYTES, "this daemon speaks protocol %d", FG_CONTROL_PROTOCOL);
    return FG_CONTROL_REFUSED;
}

static enum fg_control_verdict take_member(const char *key, const json_t *value,
                                           struct fg_control_request *request,
                                           char why[FG_CONTROL_ERROR_BYTES])
{
    if (strcmp(key, "command") == 0) {
        return FG_CONTROL_GOOD;
    }
    if (strcmp(key, "protocol") == 0) {
        return take_protocol(value, why);
    }
    if (strcmp(key, "device") == 0 && request->command == FG_CONTROL_WATCH) {
        return take_device(value, request, why);
    }
    if (strcmp(key, "level") == 0 && request->command == FG_CONTROL_LOG_LEVEL) {
        return take_level(value, request, why);
    }
    snprintf(why, FG_CONTROL_ERROR_BYTES, "\"%s\" takes no \"%.*s\"", command_names[request->command],
             shown(key), key);
    return FG_CONTROL_REFUSED;
}

static enum fg_control_verdict take(json_t *object, struct fg_control_request *request,
                                    char why[FG_CONTROL_ERROR_BYTES])
{
    const char *name = json_string_value(json_object_get(object, "command"));
    if (!name) {
        snprintf(why, FG_CONTROL_ERROR_BYTES, "a request names its \"command\"");
        return FG_CONTROL_MALFORMED;
    }
    int command = find(command_names, name);
    if (command < 0) {
        return refuse_name("command", name, command_names, why);
    }
    request->command = (enum fg_control_command)command;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        enum fg_control_verdict verdict = take_member(key, value, request, why);
        if (verdict != FG_CONTROL_GOOD) {
            return verdict;
        }
    }
    return FG_CONTROL_GOOD;
}

enum fg_control_verdict fg_control_parse(const char *line, size_t length, struct fg_control_request *request,
                                         char why[FG_CONTROL_ERROR_BYTES])
{
    struct fg_control_request parsed = { .level = -1 };
    json_t *object =
        length <= FG_CONTROL_LINE_BYTES ? json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL) : NULL;
    enum fg_control_verdict verdict = FG_CONTROL_MALFORMED;
    if (length > FG_CONTROL_LINE_BYTES) {
        snprintf(why, FG_CONTROL_ERROR_BYTES, "a request has at most %d bytes", FG_CONTROL_LINE_BYTES);
    } else if (!json_is_object(object)) {
        snprintf(why, FG_CONTROL_ERROR_BYTES, "a request is one JSON object on a line of its own");
    } else {
        verdict = take(object, &parsed, why);
    }
    json_decref(object);
    if (verdict == FG_CONTROL_GOOD) {
        *request = parsed;
    }
    return verdict;
}
