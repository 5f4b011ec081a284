#include "fieldgate/pace.h"

#include <stdbool.h>

static void begin_burst(struct fg_pace *pace, int64_t now_ns)
{
    pace->due_ns = now_ns - FG_PACE_BURST * pace->interval_ns;
    pace->burst_ns = now_ns;
    pace->rests = 0;
}

int64_t fg_pace_turn(struct fg_pace *pace, int64_t now_ns)
{
    if (pace->interval_ns == 0) {
        return 0;
    }
    if (pace->due_ns < now_ns - FG_PACE_BURST * pace->interval_ns) {
        begin_burst(pace, now_ns);
    }
    pace->due_ns += pace->interval_ns;
    if (pace->due_ns <= now_ns) {
        return 0;
    }
    bool close = pace->rests == 0 && now_ns - pace->burst_ns < FG_PACE_BURST * FG_PACE_CLOSE_NS;
    if (close || pace->rests == FG_PACE_RESTS) {
        begin_burst(pace, now_ns);
        return 0;
    }
    pace->rests++;
    return pace->due_ns - now_ns;
}
