#include "framings.h"

const struct fg_variant *const fg_framings[] = {
    &fg_framing_line.variant,    &fg_framing_length.variant,
    &fg_framing_fixed.variant,   &fg_framing_gap.variant,
    &fg_framing_stx_etx.variant, &fg_framing_slip.variant,
    &fg_framing_cobs.variant,    NULL,
};
