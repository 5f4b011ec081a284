#include "names.h"

#include <string.h>
#include <unistd.h>

int fg_names_choose(const struct fg_settings *settings, struct fg_names *names)
{
    *names = (struct fg_names){ .id = "" };
    if (settings->gateway.id[0]) {
        memcpy(names->id, settings->gateway.id, strlen(settings->gateway.id) + 1);
    } else {
        if (gethostname(names->id, sizeof names->id) < 0 || !names->id[0]) {
            memcpy(names->id, "fieldgate", sizeof "fieldgate");
        }
        for (char *at = names->id; *at; at++) {
            *at = (char)(*at == '/' || *at == '+' || *at == '#' ? '_' : *at);
        }
    }
    return fg_mqtt_expand(settings->mqtt.base_topic, names->id, names->base, sizeof names->base);
}
