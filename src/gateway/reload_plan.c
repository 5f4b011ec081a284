#include "reload_plan.h"

#include <stdio.h>
#include <string.h>

/* Ports and their devices inherit these, and have them in their own settings. */
static bool is_inherited(const char *path)
{
    return strcmp(path, "mqtt.qos") == 0 || strcmp(path, "mqtt.retain") == 0;
}

static void find_broker(void *context, const char *path, const struct fg_setting *setting)
{
    struct fg_reload_plan *plan = context;
    bool mqtt = strncmp(path, "mqtt.", strlen("mqtt.")) == 0 && !is_inherited(path);
    plan->reconnects |= !setting->restart && (mqtt || strcmp(path, "gateway.queue_bytes") == 0);
}

static void find_restart(void *context, const char *path, const struct fg_setting *setting)
{
    struct fg_reload_plan *plan = context;
    size_t used = strlen(plan->restart);
    if (setting->restart) {
        snprintf(plan->restart + used, sizeof plan->restart - used, "%s%s", used ? ", " : "", path);
    }
}

void fg_reload_plan_make(struct fg_reload_plan *plan, const struct fg_settings *started,
                         const struct fg_settings *present, const struct fg_settings *next)
{
    *plan = (struct fg_reload_plan){ .reconnects = false };
    fg_config_each_difference(&fg_settings_schema, present, next, find_broker, plan);
    fg_config_each_difference(&fg_settings_schema, started, next, find_restart, plan);
}
