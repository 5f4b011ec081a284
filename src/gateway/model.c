#include "model.h"

#include "fieldgate/log.h"

#include <stdio.h>
#include <string.h>

static const struct fg_model_ops *find_model(const char *name)
{
    for (size_t i = 0; fg_models[i]; i++) {
        if (strcmp(fg_models[i]->name, name) == 0) {
            return fg_models[i];
        }
    }
    return NULL;
}

/* The model of that name when it can run here; else NULL and why not. */
static const struct fg_model_ops *try_model(const char *name, char *why, size_t why_size)
{
    const struct fg_model_ops *ops = find_model(name);
    if (!ops) {
        snprintf(why, why_size, "it is not built in");
        return NULL;
    }
    return ops->probe(why, why_size) == 0 ? ops : NULL;
}

const struct fg_model_ops *fg_model_choose(const char *name)
{
    static const char *const preferred[] = { "proactor", "simulated-proactor", "reactor" };
    char why[160] = "";
    if (strcmp(name, "auto") != 0) {
        const struct fg_model_ops *ops = try_model(name, why, sizeof why);
        if (!ops) {
            fg_log(FG_LOG_ERROR, "event model %s cannot run here: %s", name, why);
        }
        return ops;
    }
    char passed_over[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof preferred / sizeof preferred[0]; i++) {
        const struct fg_model_ops *ops = try_model(preferred[i], why, sizeof why);
        if (ops) {
            fg_log(FG_LOG_INFO, "event model auto: %s%s", ops->name, passed_over);
            return ops;
        }
        used += (size_t)snprintf(passed_over + used, sizeof passed_over - used, "; not %s: %s", preferred[i],
                                 why);
        used = used < sizeof passed_over ? used : sizeof passed_over - 1;
    }
    fg_log(FG_LOG_ERROR, "no event model can run here%s", passed_over);
    return NULL;
}
