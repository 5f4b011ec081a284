#include "generation.h"

#include <stdlib.h>

struct fg_generation *fg_generation_new(struct fg_config *config, const struct fg_gateway_options *options)
{
    struct fg_generation *generation = malloc(sizeof *generation);
    if (!generation) {
        fg_config_free(config);
        return NULL;
    }
    const struct fg_settings *settings = fg_config_settings(config);
    *generation = (struct fg_generation){ .references = 1, .config = config, .settings = *settings };
    if (options->event_model >= 0) {
        generation->settings.gateway.event_model = options->event_model;
    }
    if (options->log_level >= 0) {
        generation->settings.gateway.log_level = options->log_level;
    }
    return generation;
}

struct fg_generation *fg_generation_ref(struct fg_generation *generation)
{
    generation->references++;
    return generation;
}

void fg_generation_unref(struct fg_generation *generation)
{
    if (generation && --generation->references == 0) {
        fg_config_free(generation->config);
        free(generation);
    }
}
