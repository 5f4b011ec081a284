/* The event models that are built in, for the registry. */
#ifndef FIELDGATE_EVENT_MODELS_H
#define FIELDGATE_EVENT_MODELS_H

#include "fieldgate/event_model.h"

extern const struct fg_model_ops fg_model_reactor;
extern const struct fg_model_ops fg_model_simulated_proactor;
#ifdef FG_HAVE_IO_URING
extern const struct fg_model_ops fg_model_proactor;
#endif

#endif
