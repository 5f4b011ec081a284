#include "fieldgate/command.h"

static const char *const names[FG_OUTCOME_COUNT] = {
#define FG_OUTCOME_NAME(symbol, name) [FG_OUTCOME_##symbol] = name,
    FG_OUTCOMES(FG_OUTCOME_NAME)
#undef FG_OUTCOME_NAME
};

const char *fg_outcome_name(enum fg_outcome outcome)
{
    return names[outcome];
}
