/*
 * Which requests read the points of a Modbus device: points of the same period that stand near each other
 * share one. When the device refuses such a block, it is split until what it refuses is found: a point, which
 * is remembered, or a hole between points, over which is not read any more. Pure: no descriptor, no clock, no
 * thread. A plan belongs to the strand of its line; its memory is taken once, by fg_modbus_plan_init.
 *
 * MODBUS Application Protocol Specification V1.1b3, 6.1 to 6.4 (limits of reads) and 7 (exceptions).
 */
#ifndef FIELDGATE_MODBUS_PLAN_H
#define FIELDGATE_MODBUS_PLAN_H

#include "fieldgate/modbus_point.h"

/* As many as a reading has room for. */
#define FG_MODBUS_POINTS_MAX FG_RECORD_MAX_FIELDS

#define FG_MODBUS_NONE UINT16_MAX

/* Where a block stands in its round of requests; the scheduler's. */
enum fg_modbus_block_state { FG_MODBUS_BLOCK_IDLE, FG_MODBUS_BLOCK_WAITS, FG_MODBUS_BLOCK_ASKED };

/* Points that are read by one request. */
struct fg_modbus_block {
    struct fg_modbus_range range;
    uint8_t function;
    uint8_t refused; /* the exception with which the device refuses all of its points; 0: it does not */
    bool suspect;    /* came of a split, and did not answer yet */
    uint16_t first;  /* its points: count of plan->order from here on */
    uint16_t count;
    uint16_t next; /* block of the same group, or FG_MODBUS_NONE */
    uint16_t group;
    /* The scheduler's: */
    enum fg_modbus_block_state state;
    bool hurried;     /* is to be read ahead of its time */
    uint8_t attempts; /* that were not answered */
    int64_t since_ns; /* waits since then */
    int64_t retry_ns; /* when refused: not asked before; 0: with the next round */
};

/* Points of one period. */
struct fg_modbus_group {
    int64_t period_ns;
    uint16_t first, count; /* of plan->order */
    uint16_t blocks;       /* the first; FG_MODBUS_NONE at the end of the list */
    bool changed;          /* points came to be refused, or not to be, since the blocks were made */
    /* The scheduler's: */
    bool running; /* some of its blocks wait or are asked */
    bool whole;   /* all of them do, because the time has come */
    bool yielded; /* values came since the last reading */
    int64_t due_ns;
    int64_t begun_ns; /* when the first of them was asked; 0: not yet */
};

struct fg_modbus_plan {
    const struct fg_modbus_point *points; /* borrowed */
    uint16_t count;
    uint16_t max_gap;
    uint16_t group_count;
    uint16_t free;                  /* list of blocks */
    struct fg_modbus_group *groups; /* the shortest period first */
    struct fg_modbus_block *blocks; /* room for one a point */
    uint16_t *order;                /* indices of points: by period, table and address */
    uint8_t *refused;               /* by point: the exception; 0: none */
    bool *told;                     /* by point: that it is refused was told; the scheduler's */
};

/* Makes the blocks of up to FG_MODBUS_POINTS_MAX points, which are borrowed. Points without a period of their
 * own have period_ns. Returns 0, -EINVAL for too many, -ENOMEM. */
int fg_modbus_plan_init(struct fg_modbus_plan *plan, const struct fg_modbus_point *points, size_t count,
                        int64_t period_ns, uint16_t max_gap);
void fg_modbus_plan_fini(struct fg_modbus_plan *plan);

/* The request that reads a block. */
void fg_modbus_block_request(const struct fg_modbus_block *block, uint8_t unit,
                             struct fg_modbus_request *request);

/* The block was read. Returns whether its points had been refused, and are not any more. */
bool fg_modbus_plan_answered(struct fg_modbus_plan *plan, struct fg_modbus_block *block);

enum fg_modbus_verdict {
    FG_MODBUS_VERDICT_KEPT,    /* it says nothing of addresses, or the block was refused before */
    FG_MODBUS_VERDICT_SPLIT,   /* the block is smaller, what was taken is block->next: ask both */
    FG_MODBUS_VERDICT_REFUSED, /* the culprits are found: all points of the block are refused */
};

/* The device answered the block's request with that exception. */
enum fg_modbus_verdict fg_modbus_plan_exception(struct fg_modbus_plan *plan, struct fg_modbus_block *block,
                                                uint8_t exception);

/* Makes the group's blocks anew when culprits were found and none is searched for any more, to read the
 * others together again. No block of the group may be asked at the time. Returns whether it did. */
bool fg_modbus_plan_tidy(struct fg_modbus_plan *plan, struct fg_modbus_group *group);

/* The block that a point is in. */
struct fg_modbus_block *fg_modbus_plan_block_of(struct fg_modbus_plan *plan, uint16_t point);

#endif
