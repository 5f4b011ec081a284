#include "framings.h"

#define VARIANT(name) &fg_framing_##name.variant,
const struct fg_variant *const fg_framings[] = { FG_FRAMINGS(VARIANT) NULL };
#undef VARIANT
