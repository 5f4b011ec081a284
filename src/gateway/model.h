/* Which event model runs. */
#ifndef FIELDGATE_GATEWAY_MODEL_H
#define FIELDGATE_GATEWAY_MODEL_H

#include "fieldgate/event_model.h"

/* The model that was asked for, or with "auto" the first in the order of preference that can run. NULL, the
 * reason being logged, when it cannot. */
const struct fg_model_ops *fg_model_choose(const char *name);

#endif
