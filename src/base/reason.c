#include "fieldgate/reason.h"

static const char *const reason_names[FG_REASON_COUNT] = { [FG_REASON_NONE] = "",
#define NAME(symbol, name) [FG_REASON_##symbol] = name,
                                                           FG_REASONS(NAME)
#undef NAME
};

static const char *const loss_names[FG_LOSS_COUNT] = { [FG_LOSS_NONE] = "",
#define NAME(symbol, name) [FG_LOSS_##symbol] = name,
                                                       FG_LOSSES(NAME)
#undef NAME
};

const char *fg_reason_name(enum fg_reason reason)
{
    return reason_names[reason];
}

const char *fg_loss_name(enum fg_loss loss)
{
    return loss_names[loss];
}
