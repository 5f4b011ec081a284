#include "transports.h"

#define VARIANT(name) &fg_transport_##name.variant,
const struct fg_variant *const fg_transports[] = { FG_TRANSPORTS(VARIANT) NULL };
#undef VARIANT
