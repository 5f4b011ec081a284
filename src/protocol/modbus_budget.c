/* What polling takes of a line. */
#include "modbus_poller.h"

#include <stdio.h>

static int64_t exchange_ns(const struct fg_modbus_poll *poll, const struct fg_modbus_target *target,
                           const struct fg_modbus_block *block)
{
    struct fg_modbus_request request;
    int64_t turnaround_ns = FG_MODBUS_TURNAROUND_NS;
    turnaround_ns = turnaround_ns < target->timeout_ns ? turnaround_ns : target->timeout_ns;
    fg_modbus_block_request(block, target->unit, &request);
    return poll->serial ? fg_modbus_line_exchange_ns(&poll->line, &request, turnaround_ns) : turnaround_ns;
}

/* What a round of the group takes. */
static int64_t round_ns(const struct fg_modbus_poll *poll, const struct fg_modbus_target *target,
                        const struct fg_modbus_group *group, size_t *requests)
{
    int64_t ns = 0;
    for (uint16_t i = group->blocks; i != FG_MODBUS_NONE; i = target->plan.blocks[i].next) {
        ns += exchange_ns(poll, target, &target->plan.blocks[i]);
        ++*requests;
    }
    return ns;
}

void fg_modbus_poll_budget(const struct fg_modbus_poll *poll, struct fg_modbus_budget *budget)
{
    struct fg_modbus_budget made = { .devices = poll->count, .serial = poll->serial };
    int64_t all_ns = 0, slowest_ns = 0, timeout_ns = 0;
    for (size_t i = 0; i < poll->count; i++) {
        const struct fg_modbus_target *target = &poll->targets[i];
        double percent = 0;
        for (uint16_t k = 0; k < target->plan.group_count; k++) {
            const struct fg_modbus_group *group = &target->plan.groups[k];
            int64_t ns = round_ns(poll, target, group, &made.requests);
            percent += 100.0 * (double)ns / (double)group->period_ns / (double)poll->pipeline;
            all_ns += ns / (int64_t)poll->pipeline;
            slowest_ns = group->period_ns > slowest_ns ? group->period_ns : slowest_ns;
        }
        made.percent += percent;
        timeout_ns = target->timeout_ns > timeout_ns ? target->timeout_ns : timeout_ns;
        if (percent > made.heaviest_percent) {
            made.heaviest_percent = percent;
            made.heaviest = i;
        }
    }
    /* Behind its time stands at most one round of everything; a line that is too slow stretches the periods.
     */
    double stretch = made.percent > 100 ? made.percent / 100 : 1;
    made.oldest_ns = (int64_t)((double)slowest_ns * stretch) + all_ns;
    made.dead_ns = made.oldest_ns + timeout_ns;
    *budget = made;
}

/* What is advised leaves a fifth of the line for commands and retries. */
void fg_modbus_budget_print(const struct fg_modbus_budget *budget, char *text, size_t size)
{
    double oldest_s = (double)budget->oldest_ns / (double)FG_NS_PER_S;
    int length = snprintf(text, size, "%zu device%s, %.0f %% of the line, oldest value %.1f s",
                          budget->devices, budget->devices == 1 ? "" : "s", budget->percent, oldest_s);
    if (budget->percent > 100 && length > 0 && (size_t)length < size) {
        snprintf(text + length, size - (size_t)length,
                 "; more than it can carry: make poll_interval %.1f times as long, %sor read fewer points",
                 budget->percent / 80, budget->serial ? "or raise baud, " : "");
    }
}
