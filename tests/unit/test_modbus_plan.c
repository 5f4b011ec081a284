/* Which requests read the points of a device, and what is found out about those that it refuses. */
#include "fieldgate/modbus_plan.h"
#include "support/modbus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define MOST   FG_MODBUS_POINTS_MAX

/* A device that knows only some addresses. */
static struct {
    bool illegal[4][512];
    bool partial[512]; /* registers that are not read from there on: second halves */
    uint16_t most;     /* addresses a request */
    unsigned asked;    /* requests */
} device;

static struct fg_modbus_point points[MOST + 1];
static size_t count;
static struct fg_modbus_plan plan;
static char out[4000];

static int begin(void **state)
{
    (void)state;
    memset(&device, 0, sizeof device);
    device.most = 2000;
    count = 0;
    out[0] = '\0';
    return 0;
}

static int end(void **state)
{
    (void)state;
    fg_modbus_plan_fini(&plan);
    return 0;
}

static struct fg_modbus_point *add(enum fg_modbus_table table, uint16_t address, uint16_t registers)
{
    struct fg_modbus_point_settings settings = fg_test_modbus_point(FG_MODBUS_STRING, address);
    bool bits = table == FG_MODBUS_COIL || table == FG_MODBUS_DISCRETE;
    settings.type = bits ? FG_MODBUS_BOOL : registers == 1 ? FG_MODBUS_UINT16 : FG_MODBUS_STRING;
    settings.type = registers == 2 ? FG_MODBUS_UINT32 : registers == 4 ? FG_MODBUS_UINT64 : settings.type;
    settings.length = settings.type == FG_MODBUS_STRING ? registers : 0;
    settings.table = (int)table;
    assert_int_equal(fg_modbus_point_init(&points[count], &settings), 0);
    return &points[count++];
}

static void make(uint16_t max_gap)
{
    assert_int_equal(fg_modbus_plan_init(&plan, points, count, SECOND, max_gap), 0);
}

static uint16_t registers_at(enum fg_modbus_table table, uint32_t address)
{
    return table == FG_MODBUS_INPUT ? fg_test_input((uint16_t)address)
                                    : (uint16_t)(fg_test_input((uint16_t)address) ^ 0x5555);
}

/* The exception with which the device answers, or 0. */
static uint8_t exception_of(enum fg_modbus_table table, struct fg_modbus_range range)
{
    device.asked++;
    if (range.count > device.most) {
        return FG_MODBUS_ILLEGAL_VALUE;
    }
    for (uint32_t i = 0; i < range.count; i++) {
        if (device.illegal[table][range.address + i]) {
            return FG_MODBUS_ILLEGAL_ADDRESS;
        }
    }
    return device.partial[range.address] ? FG_MODBUS_ILLEGAL_ADDRESS : 0;
}

/* The answer to a range, with the model's contents. */
static size_t fill(enum fg_modbus_table table, struct fg_modbus_range range, uint8_t data[250])
{
    bool bits = table == FG_MODBUS_COIL || table == FG_MODBUS_DISCRETE;
    memset(data, 0, 250);
    for (uint32_t i = 0; i < range.count; i++) {
        uint16_t word = registers_at(table, range.address + i);
        if (bits) {
            data[i / 8] = (uint8_t)(data[i / 8] | (word & 1) << i % 8);
        } else {
            data[2 * i] = (uint8_t)(word >> 8);
            data[2 * i + 1] = (uint8_t)word;
        }
    }
    return bits ? (range.count + 7u) / 8 : range.count * 2u;
}

static bool got[MOST];

/* Every value that the block's points get must be what the model has at their own addresses. */
static void take_values(const struct fg_modbus_block *block, const struct fg_modbus_request *request)
{
    uint8_t data[250], own[250];
    static struct fg_record record;
    enum fg_modbus_table table = points[plan.order[block->first]].table;
    struct fg_modbus_answer answer = { .request = request, .data = data };
    answer.size = fill(table, request->read, data);
    for (size_t i = 0; i < block->count; i++) {
        uint16_t index = plan.order[block->first + i];
        const struct fg_modbus_point *point = &points[index];
        struct fg_modbus_request alone = *request;
        alone.read = (struct fg_modbus_range){ point->address, point->count };
        struct fg_modbus_answer wanted = { .request = &alone, .data = own };
        struct fg_value value, expected;
        wanted.size = fill(point->table, alone.read, own);
        fg_record_reset(&record);
        int error = fg_modbus_point_decode(point, &answer, &record, &value);
        assert_int_equal(error, fg_modbus_point_decode(point, &wanted, &record, &expected));
        assert_true(error == 0 ? fg_value_equal(&value, &expected) : error == -EILSEQ);
        assert_false(got[index]);
        got[index] = true;
    }
}

/* Asks for one block, and for what it is split into. Returns the number of requests. */
static unsigned ask(struct fg_modbus_block *block)
{
    struct fg_modbus_request request;
    unsigned asked = 1;
    fg_modbus_block_request(block, 1, &request);
    assert_true(fg_modbus_request_valid(&request, FG_MODBUS_TCP));
    enum fg_modbus_table table = points[plan.order[block->first]].table;
    assert_int_equal(request.function, fg_modbus_table_function(table));
    uint8_t exception = exception_of(table, request.read);
    if (!exception) {
        fg_modbus_plan_answered(&plan, block);
        take_values(block, &request);
    } else if (fg_modbus_plan_exception(&plan, block, exception) == FG_MODBUS_VERDICT_SPLIT) {
        struct fg_modbus_block *taken = &plan.blocks[block->next];
        asked += ask(block);
        asked += ask(taken);
    }
    return asked;
}

/* One round of a group, without the points that are refused. Returns the number of requests. */
static unsigned round_of(struct fg_modbus_group *group)
{
    unsigned asked = 0;
    for (uint16_t i = group->blocks; i != FG_MODBUS_NONE;) {
        struct fg_modbus_block *block = &plan.blocks[i];
        uint16_t next = block->next; /* before it may be split */
        asked += block->refused ? 0 : ask(block);
        i = next;
    }
    fg_modbus_plan_tidy(&plan, group);
    return asked;
}

static unsigned round_of_all(void)
{
    unsigned asked = 0;
    memset(got, 0, sizeof got);
    for (size_t i = 0; i < plan.group_count; i++) {
        asked += round_of(&plan.groups[i]);
    }
    return asked;
}

/* The blocks, as "function:address+count " with "!" behind those that are refused. */
static void expect_blocks(const char *wanted)
{
    out[0] = '\0';
    for (size_t group = 0; group < plan.group_count; group++) {
        for (uint16_t i = plan.groups[group].blocks; i != FG_MODBUS_NONE; i = plan.blocks[i].next) {
            const struct fg_modbus_block *block = &plan.blocks[i];
            size_t used = strlen(out);
            snprintf(out + used, sizeof out - used, "%u:%u+%u%s ", block->function, block->range.address,
                     block->range.count, block->refused ? "!" : "");
        }
    }
    assert_string_equal(out, wanted);
}

static void neighbours_are_read_by_one_request(void **state)
{
    (void)state;
    add(FG_MODBUS_HOLDING, 12, 2);
    add(FG_MODBUS_HOLDING, 10, 2);
    add(FG_MODBUS_HOLDING, 14, 1);
    make(0);
    expect_blocks("3:10+5 ");
}

static void holes_are_read_over_up_to_max_gap(void **state)
{
    (void)state;
    add(FG_MODBUS_HOLDING, 10, 2);
    add(FG_MODBUS_HOLDING, 20, 1);
    add(FG_MODBUS_HOLDING, 30, 1);
    make(8);
    expect_blocks("3:10+11 3:30+1 ");
}

static void no_hole_is_read_over_with_max_gap_0(void **state)
{
    (void)state;
    add(FG_MODBUS_HOLDING, 10, 2);
    add(FG_MODBUS_HOLDING, 13, 1);
    make(0);
    expect_blocks("3:10+2 3:13+1 ");
}

static void tables_are_read_apart(void **state)
{
    (void)state;
    add(FG_MODBUS_HOLDING, 1, 1);
    add(FG_MODBUS_INPUT, 2, 1);
    add(FG_MODBUS_COIL, 3, 1);
    add(FG_MODBUS_DISCRETE, 4, 1);
    make(8);
    expect_blocks("1:3+1 2:4+1 4:2+1 3:1+1 ");
}

static void periods_are_read_apart(void **state)
{
    (void)state;
    add(FG_MODBUS_HOLDING, 1, 1)->poll_interval_ns = 5 * SECOND;
    add(FG_MODBUS_HOLDING, 2, 1);
    add(FG_MODBUS_HOLDING, 3, 1)->poll_interval_ns = 5 * SECOND;
    make(8);
    assert_int_equal(plan.group_count, 2);
    assert_int_equal(plan.groups[0].period_ns, SECOND);
    assert_int_equal(plan.groups[1].period_ns, 5 * SECOND);
    expect_blocks("3:2+1 3:1+3 ");
}

static void no_request_passes_the_protocols_limit(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < 63; i++) {
        add(FG_MODBUS_HOLDING, (uint16_t)(2 * i), 2);
    }
    make(8);
    expect_blocks("3:0+124 3:124+2 ");
    fg_modbus_plan_fini(&plan);
    count = 0;
    add(FG_MODBUS_COIL, 0, 1);
    add(FG_MODBUS_COIL, 1999, 1);
    add(FG_MODBUS_COIL, 2000, 1);
    make(1999);
    expect_blocks("1:0+2000 1:2000+1 ");
}

static void points_may_share_registers(void **state)
{
    (void)state;
    add(FG_MODBUS_HOLDING, 10, 20);
    add(FG_MODBUS_HOLDING, 11, 1);
    add(FG_MODBUS_HOLDING, 11, 1);
    add(FG_MODBUS_HOLDING, 29, 2);
    make(0);
    expect_blocks("3:10+21 ");
    assert_int_equal(round_of_all(), 1);
    assert_true(got[0] && got[1] && got[2] && got[3]);
}

static void a_device_without_points_has_nothing_to_read(void **state)
{
    (void)state;
    make(8);
    assert_int_equal(plan.group_count, 0);
}

static void too_many_points_are_refused(void **state)
{
    (void)state;
    assert_int_equal(fg_modbus_plan_init(&plan, points, MOST + 1, SECOND, 8), -EINVAL);
}

static void a_refused_point_is_found_and_the_rest_read_on(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < 100; i++) {
        add(FG_MODBUS_HOLDING, i, 1);
    }
    device.illegal[FG_MODBUS_HOLDING][37] = true;
    make(8);
    assert_true(round_of_all() < 25);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(got[i], i != 37);
    }
    assert_int_equal(plan.refused[37], FG_MODBUS_ILLEGAL_ADDRESS);
    expect_blocks("3:0+37 3:37+1! 3:38+62 ");
    assert_int_equal(round_of_all(), 2);
}

static void several_refused_points_are_found(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < 60; i++) {
        add(FG_MODBUS_INPUT, (uint16_t)(2 * i), 2);
    }
    device.illegal[FG_MODBUS_INPUT][0] = true;
    device.illegal[FG_MODBUS_INPUT][51] = true;
    device.illegal[FG_MODBUS_INPUT][52] = true;
    device.illegal[FG_MODBUS_INPUT][119] = true;
    make(8);
    round_of_all();
    expect_blocks("4:0+2! 4:2+48 4:50+2! 4:52+2! 4:54+64 4:118+2! ");
}

static void all_points_of_a_refused_register_are_found_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        add(FG_MODBUS_HOLDING, 5, 1);
    }
    add(FG_MODBUS_HOLDING, 6, 1);
    device.illegal[FG_MODBUS_HOLDING][5] = true;
    make(8);
    assert_int_equal(round_of_all(), 3);
    expect_blocks("3:5+1! 3:6+1 ");
}

static void a_refused_hole_is_read_over_no_more(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < 10; i++) {
        add(FG_MODBUS_HOLDING, (uint16_t)(i + (i >= 4 ? 5 : 0)), 1);
    }
    device.illegal[FG_MODBUS_HOLDING][6] = true;
    make(8);
    assert_int_equal(round_of_all(), 3);
    expect_blocks("3:0+4 3:9+6 ");
    for (size_t i = 0; i < count; i++) {
        assert_true(got[i]);
        assert_int_equal(plan.refused[i], 0);
    }
    assert_int_equal(round_of_all(), 2);
}

static void a_device_with_a_limit_of_its_own_is_read_in_smaller_blocks(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < 100; i++) {
        add(FG_MODBUS_HOLDING, i, 1);
    }
    device.most = 30;
    make(8);
    round_of_all();
    expect_blocks("3:0+25 3:25+25 3:50+25 3:75+25 ");
    assert_int_equal(round_of_all(), 4);
}

static void an_unknown_function_refuses_its_points_without_a_search(void **state)
{
    (void)state;
    add(FG_MODBUS_INPUT, 1, 1);
    add(FG_MODBUS_INPUT, 2, 1);
    add(FG_MODBUS_HOLDING, 1, 1);
    make(8);
    struct fg_modbus_block *block = &plan.blocks[plan.groups[0].blocks];
    assert_int_equal(fg_modbus_plan_exception(&plan, block, FG_MODBUS_ILLEGAL_FUNCTION),
                     FG_MODBUS_VERDICT_REFUSED);
    assert_true(fg_modbus_plan_tidy(&plan, &plan.groups[0]));
    expect_blocks("4:1+2! 3:1+1 ");
}

static void exceptions_that_say_nothing_of_addresses_change_nothing(void **state)
{
    (void)state;
    add(FG_MODBUS_HOLDING, 1, 1);
    add(FG_MODBUS_HOLDING, 2, 1);
    make(8);
    static const uint8_t exceptions[] = { 4, 5, 6, 8, 10, 11, 0x55 };
    for (size_t i = 0; i < sizeof exceptions; i++) {
        assert_int_equal(fg_modbus_plan_exception(&plan, &plan.blocks[plan.groups[0].blocks], exceptions[i]),
                         FG_MODBUS_VERDICT_KEPT);
    }
    assert_false(fg_modbus_plan_tidy(&plan, &plan.groups[0]));
    expect_blocks("3:1+2 ");
}

static void a_point_that_answers_again_is_read_with_the_others(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < 5; i++) {
        add(FG_MODBUS_HOLDING, i, 1);
    }
    device.illegal[FG_MODBUS_HOLDING][2] = true;
    make(8);
    round_of_all();
    expect_blocks("3:0+2 3:2+1! 3:3+2 ");
    struct fg_modbus_block *block = fg_modbus_plan_block_of(&plan, 2);
    assert_int_equal(fg_modbus_plan_exception(&plan, block, 2), FG_MODBUS_VERDICT_KEPT);
    assert_true(fg_modbus_plan_answered(&plan, block));
    assert_true(fg_modbus_plan_tidy(&plan, &plan.groups[0]));
    expect_blocks("3:0+5 ");
}

static void a_search_is_not_tidied_before_its_end(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < 4; i++) {
        add(FG_MODBUS_HOLDING, i, 1);
    }
    make(8);
    struct fg_modbus_block *block = &plan.blocks[plan.groups[0].blocks];
    assert_int_equal(fg_modbus_plan_exception(&plan, block, 2), FG_MODBUS_VERDICT_SPLIT);
    assert_int_equal(fg_modbus_plan_exception(&plan, block, 2), FG_MODBUS_VERDICT_SPLIT);
    assert_int_equal(fg_modbus_plan_exception(&plan, block, 2), FG_MODBUS_VERDICT_REFUSED);
    assert_false(fg_modbus_plan_tidy(&plan, &plan.groups[0]));
    expect_blocks("3:0+1! 3:1+1 3:2+2 ");
}

static void add_random(void)
{
    static const uint16_t sizes[] = { 1, 1, 1, 2, 2, 4, 7 };
    count = (size_t)(rand() % 60);
    size_t wanted = rand() % 20 == 0 ? MOST : count;
    int spread = rand() % 3 == 0 ? 60 : 480;
    for (count = 0; count < wanted;) {
        enum fg_modbus_table table = (enum fg_modbus_table)(rand() % 4);
        bool bits = table == FG_MODBUS_COIL || table == FG_MODBUS_DISCRETE;
        struct fg_modbus_point *point = add(table, (uint16_t)(rand() % spread), bits ? 1 : sizes[rand() % 7]);
        point->poll_interval_ns = rand() % 4 == 0 ? 2 * SECOND : 0;
    }
    int illegal = rand() % 3 == 0 ? 0 : rand() % 40;
    for (int i = 0; i < illegal; i++) {
        device.illegal[rand() % 4][rand() % spread] = true;
    }
    for (int i = 0; i < illegal / 4; i++) {
        device.partial[rand() % spread] = true;
    }
    device.most = (uint16_t)(rand() % 4 == 0 ? 4 + rand() % 60 : 2000);
}

static void every_value_is_the_models_and_every_readable_point_is_read(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 3000; round++) {
        begin(state);
        add_random();
        make((uint16_t)(rand() % 12));
        for (int i = 0; i < 4; i++) {
            round_of_all();
            for (size_t k = 0; k < count; k++) {
                struct fg_modbus_range alone = { points[k].address, points[k].count };
                assert_true(got[k] || exception_of(points[k].table, alone) != 0);
                assert_int_equal(plan.refused[k] == 0, got[k]);
            }
        }
        /* What was found is remembered: from the third round on nothing is refused. */
        unsigned blocks = 0;
        for (size_t group = 0; group < plan.group_count; group++) {
            for (uint16_t i = plan.groups[group].blocks; i != FG_MODBUS_NONE; i = plan.blocks[i].next) {
                blocks += !plan.blocks[i].refused;
            }
        }
        assert_int_equal(round_of_all(), blocks);
        fg_modbus_plan_fini(&plan);
    }
}

int main(void)
{
#define PLAN(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        PLAN(neighbours_are_read_by_one_request),
        PLAN(holes_are_read_over_up_to_max_gap),
        PLAN(no_hole_is_read_over_with_max_gap_0),
        PLAN(tables_are_read_apart),
        PLAN(periods_are_read_apart),
        PLAN(no_request_passes_the_protocols_limit),
        PLAN(points_may_share_registers),
        PLAN(a_device_without_points_has_nothing_to_read),
        PLAN(too_many_points_are_refused),
        PLAN(a_refused_point_is_found_and_the_rest_read_on),
        PLAN(several_refused_points_are_found),
        PLAN(all_points_of_a_refused_register_are_found_at_once),
        PLAN(a_refused_hole_is_read_over_no_more),
        PLAN(a_device_with_a_limit_of_its_own_is_read_in_smaller_blocks),
        PLAN(an_unknown_function_refuses_its_points_without_a_search),
        PLAN(exceptions_that_say_nothing_of_addresses_change_nothing),
        PLAN(a_point_that_answers_again_is_read_with_the_others),
        PLAN(a_search_is_not_tidied_before_its_end),
        PLAN(every_value_is_the_models_and_every_readable_point_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
