#include "event/tasks.h"

#include "fieldgate/strand.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* A strand that knows when two are inside, and what ran in which order. */
struct box {
    struct fg_strand strand;
    atomic_int inside;
    atomic_bool collided;
    int count; /* of the strand: no lock, so that a thread checker sees two inside as well */
    int *order;
};

struct job {
    struct fg_task task;
    struct box *box;
    int number;
    struct job *more;          /* posted by this one */
    struct fg_strand *more_to; /* and where to */
    struct fg_strand *close;   /* NULL or the strand to close */
};

static atomic_int ran;
static atomic_int closed_count;

static void count_closed(struct fg_strand *strand)
{
    struct box *box = (struct box *)strand;
    atomic_fetch_add(&closed_count, 1);
    free(box->order);
    free(box); /* the strand with it */
}

static void run_job(struct fg_task *task)
{
    struct job *job = (struct job *)task;
    struct box *box = job->box;
    if (atomic_fetch_add(&box->inside, 1) != 0 || !fg_strand_is_current(&box->strand)) {
        atomic_store(&box->collided, true);
    }
    if (box->order) {
        box->order[box->count] = job->number;
    }
    box->count++;
    if (job->more) {
        fg_strand_post(job->more_to, &job->more->task);
    }
    if (job->close) {
        fg_strand_close(job->close, count_closed);
    }
    atomic_fetch_sub(&box->inside, 1);
    atomic_fetch_add(&ran, 1);
}

static struct box *new_box(struct fg_pool *pool, int room)
{
    struct box *box = calloc(1, sizeof *box);
    assert_non_null(box);
    fg_strand_init(&box->strand, pool);
    if (room) {
        box->order = calloc((size_t)room, sizeof *box->order);
        assert_non_null(box->order);
    }
    return box;
}

static void free_box(struct box *box)
{
    assert_false(atomic_load(&box->collided));
    free(box->order);
    free(box);
}

static struct job *new_jobs(int count)
{
    struct job *jobs = calloc((size_t)count, sizeof *jobs);
    assert_non_null(jobs);
    for (int i = 0; i < count; i++) {
        jobs[i] = (struct job){ .task.run = run_job, .number = i };
    }
    return jobs;
}

static void wait_ran(int count)
{
    for (time_t until = time(NULL) + 20; atomic_load(&ran) < count;) {
        assert_true(time(NULL) < until);
        sched_yield();
    }
}

static struct fg_pool *new_pool(size_t workers)
{
    struct fg_pool *pool = NULL;
    atomic_store(&ran, 0);
    atomic_store(&closed_count, 0);
    assert_int_equal(fg_pool_new(workers, &pool), 0);
    return pool;
}

static void tasks_of_a_strand_run_in_the_order_of_their_posting(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    struct fg_pool *pool = new_pool(4);
    struct box *box = new_box(pool, COUNT);
    struct job *jobs = new_jobs(COUNT);
    for (int i = 0; i < COUNT; i++) {
        jobs[i].box = box;
        fg_strand_post(&box->strand, &jobs[i].task);
    }
    wait_ran(COUNT);
    fg_pool_free(pool);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(box->order[i], i);
    }
    free(jobs);
    free_box(box);
}

enum { STRANDS = 100, POSTERS = 4, POSTS = 500 };

struct poster {
    struct box **boxes;
    struct job *jobs; /* STRANDS * POSTS, a strand's after each other */
};

static void *post_many(void *argument)
{
    struct poster *poster = argument;
    for (int i = 0; i < POSTS; i++) {
        for (int s = 0; s < STRANDS; s++) {
            fg_strand_post(&poster->boxes[s]->strand, &poster->jobs[s * POSTS + i].task);
        }
    }
    return NULL;
}

static void many_threads_post_to_many_strands_and_none_is_entered_twice(void **state)
{
    (void)state;
    struct fg_pool *pool = new_pool(4);
    struct box *boxes[STRANDS];
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    for (int s = 0; s < STRANDS; s++) {
        boxes[s] = new_box(pool, POSTERS * POSTS);
    }
    for (int p = 0; p < POSTERS; p++) {
        posters[p] = (struct poster){ .boxes = boxes, .jobs = new_jobs(STRANDS * POSTS) };
        for (int i = 0; i < STRANDS * POSTS; i++) {
            posters[p].jobs[i].box = boxes[i / POSTS];
            posters[p].jobs[i].number = p * POSTS + i % POSTS;
        }
        assert_int_equal(pthread_create(&threads[p], NULL, post_many, &posters[p]), 0);
    }
    for (int p = 0; p < POSTERS; p++) {
        pthread_join(threads[p], NULL);
    }
    wait_ran(STRANDS * POSTERS * POSTS);
    fg_pool_free(pool);
    for (int s = 0; s < STRANDS; s++) {
        assert_int_equal(boxes[s]->count, POSTERS * POSTS);
        int next[POSTERS] = { 0 }; /* each thread's own posts are in order */
        for (int i = 0; i < POSTERS * POSTS; i++) {
            int number = boxes[s]->order[i];
            assert_int_equal(number % POSTS, next[number / POSTS]);
            next[number / POSTS]++;
        }
        free_box(boxes[s]);
    }
    for (int p = 0; p < POSTERS; p++) {
        free(posters[p].jobs);
    }
}

static void a_task_posts_to_its_own_strand(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct fg_pool *pool = new_pool(2);
    struct box *box = new_box(pool, COUNT);
    struct job *jobs = new_jobs(COUNT);
    for (int i = 0; i < COUNT; i++) {
        jobs[i].box = box;
        jobs[i].more = i + 1 < COUNT ? &jobs[i + 1] : NULL;
        jobs[i].more_to = &box->strand;
    }
    fg_strand_post(&box->strand, &jobs[0].task);
    wait_ran(COUNT);
    fg_pool_free(pool);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(box->order[i], i);
    }
    free(jobs);
    free_box(box);
}

static void tasks_post_to_other_strands(void **state)
{
    (void)state;
    enum { COUNT = 5000, BOXES = 7 };
    struct fg_pool *pool = new_pool(4);
    struct box *boxes[BOXES];
    for (int b = 0; b < BOXES; b++) {
        boxes[b] = new_box(pool, COUNT);
    }
    struct job *jobs = new_jobs(COUNT);
    for (int i = 0; i < COUNT; i++) {
        jobs[i].box = boxes[i % BOXES];
        jobs[i].more = i + 1 < COUNT ? &jobs[i + 1] : NULL;
        jobs[i].more_to = &boxes[(i + 1) % BOXES]->strand;
    }
    fg_strand_post(&boxes[0]->strand, &jobs[0].task);
    wait_ran(COUNT);
    fg_pool_free(pool);
    for (int b = 0; b < BOXES; b++) {
        for (int i = 0; i < boxes[b]->count; i++) {
            assert_int_equal(boxes[b]->order[i], b + i * BOXES);
        }
        free_box(boxes[b]);
    }
    free(jobs);
}

/* Posts itself again and again until the other strand had its turn. */
struct endless {
    struct fg_task task;
    struct box *box;
    struct job *other;
    int turns;
};

static void run_endless(struct fg_task *task)
{
    struct endless *endless = (struct endless *)task;
    if (++endless->turns == 10) {
        fg_strand_post(&endless->other->box->strand, &endless->other->task);
    }
    if (atomic_load(&ran) == 0 && endless->turns < 100000) {
        fg_strand_post(&endless->box->strand, &endless->task);
    }
}

static void a_strand_that_posts_to_itself_lets_others_have_their_turn(void **state)
{
    (void)state;
    struct fg_pool *pool = new_pool(1);
    struct box *busy = new_box(pool, 0);
    struct box *quiet = new_box(pool, 0);
    struct job other = { .task.run = run_job, .box = quiet };
    struct endless endless = { .task.run = run_endless, .box = busy, .other = &other };
    fg_strand_post(&busy->strand, &endless.task);
    fg_pool_free(pool);
    assert_int_equal(atomic_load(&ran), 1);
    assert_in_range(endless.turns, 10, 12);
    free_box(busy);
    free_box(quiet);
}

static void closed_comes_after_all_tasks_and_may_free_the_strand(void **state)
{
    (void)state;
    enum { COUNT = 200, AFTER = 3 };
    struct fg_pool *pool = new_pool(4);
    struct job *jobs = new_jobs(COUNT * AFTER);
    for (int i = 0; i < COUNT; i++) {
        struct box *box = new_box(pool, AFTER);
        struct job *mine = &jobs[i * AFTER];
        for (int j = 0; j < AFTER; j++) {
            mine[j].box = box;
        }
        /* The first closes, after which the second is posted by it, and the third by the second. */
        mine[0].close = &box->strand;
        mine[0].more = &mine[1];
        mine[1].more = &mine[2];
        mine[0].more_to = mine[1].more_to = &box->strand;
        fg_strand_post(&box->strand, &mine[0].task);
    }
    fg_pool_free(pool);
    assert_int_equal(atomic_load(&ran), COUNT * AFTER);
    assert_int_equal(atomic_load(&closed_count), COUNT);
    free(jobs);
}

static void freeing_the_pool_runs_what_was_posted(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    for (size_t workers = 1; workers <= 16; workers *= 4) {
        struct fg_pool *pool = new_pool(workers);
        struct box *box = new_box(pool, COUNT);
        struct box *other = new_box(pool, COUNT);
        struct job *jobs = new_jobs(COUNT);
        for (int i = 0; i < COUNT; i++) {
            jobs[i].box = i % 2 ? other : box;
        }
        for (int i = 0; i < COUNT; i += 2) {
            jobs[i].more = &jobs[i + 1];
            jobs[i].more_to = &other->strand;
            fg_strand_post(&box->strand, &jobs[i].task);
        }
        fg_pool_free(pool);
        assert_int_equal(atomic_load(&ran), COUNT);
        free(jobs);
        free_box(box);
        free_box(other);
    }
}

static atomic_int scratches;

static void use_scratch(struct fg_task *task)
{
    (void)task;
    void *scratch = fg_pool_scratch();
    if (scratch) {
        memset(scratch, 0x5a, FG_SCRATCH_BYTES);
        atomic_fetch_add(&scratches, 1);
    }
    atomic_fetch_add(&ran, 1);
}

static void only_workers_have_a_scratch(void **state)
{
    (void)state;
    struct fg_pool *pool = new_pool(2);
    struct fg_strand strand;
    struct fg_task task = { .run = use_scratch };
    fg_strand_init(&strand, pool);
    fg_strand_post(&strand, &task);
    wait_ran(1);
    assert_int_equal(atomic_load(&scratches), 1);
    assert_null(fg_pool_scratch());
    assert_false(fg_strand_is_current(&strand));
    fg_pool_free(pool);
    fg_pool_free(NULL);
}

static atomic_int rests;
static atomic_int rested_after;

static void rest(void *context)
{
    (void)context;
    atomic_store(&rested_after, atomic_load(&ran));
    atomic_fetch_add(&rests, 1);
}

static struct fg_pool *new_resting_pool(size_t workers)
{
    struct fg_pool *pool = new_pool(workers);
    atomic_store(&rests, 0);
    atomic_store(&rested_after, 0);
    fg_pool_on_rest(pool, rest, NULL);
    return pool;
}

static void a_worker_rests_after_its_last_task(void **state)
{
    (void)state;
    struct fg_pool *pool = new_resting_pool(1);
    struct box *box = new_box(pool, 0);
    struct job *jobs = new_jobs(5);
    for (int i = 0; i < 5; i++) {
        jobs[i].box = box;
        fg_strand_post(&box->strand, &jobs[i].task);
    }
    fg_pool_free(pool);
    assert_int_equal(atomic_load(&rested_after), 5);
    assert_in_range(atomic_load(&rests), 1, 5);
    free_box(box);
    free(jobs);
}

static void a_worker_that_never_runs_out_of_strands_rests_now_and_then(void **state)
{
    (void)state;
    struct fg_pool *pool = new_resting_pool(1);
    struct box *boxes[STRANDS];
    struct job *jobs = new_jobs(STRANDS);
    fg_pool_gather(pool); /* all are there before the first runs */
    for (int i = 0; i < STRANDS; i++) {
        boxes[i] = new_box(pool, 0);
        jobs[i].box = boxes[i];
        fg_strand_post(&boxes[i]->strand, &jobs[i].task);
    }
    fg_pool_release(pool);
    fg_pool_gather(NULL);
    fg_pool_free(pool);
    assert_int_equal(atomic_load(&ran), STRANDS);
    assert_in_range(atomic_load(&rests), 2, STRANDS);
    for (int i = 0; i < STRANDS; i++) {
        free_box(boxes[i]);
    }
    free(jobs);
}

static void what_is_gathered_runs_when_it_is_released(void **state)
{
    (void)state;
    struct fg_pool *pool = new_pool(2);
    struct box *box = new_box(pool, 3);
    struct job *jobs = new_jobs(3);
    fg_pool_gather(pool);
    for (int i = 0; i < 3; i++) {
        jobs[i].box = box;
        fg_strand_post(&box->strand, &jobs[i].task);
    }
    assert_int_equal(atomic_load(&ran), 0);
    fg_pool_release(pool);
    wait_ran(3);
    fg_pool_release(pool); /* nothing: once */
    fg_pool_gather(NULL);
    fg_pool_free(pool);
    assert_int_equal(atomic_load(&ran), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(box->order[i], i);
    }
    free_box(box);
    free(jobs);
}

static atomic_bool unblocked;

static void block_until_another_ran(struct fg_task *task)
{
    struct job *job = (struct job *)task;
    fg_pool_may_block(job->box->strand.pool);
    for (time_t until = time(NULL) + 20; atomic_load(&ran) == 0 && time(NULL) < until;) {
        sched_yield();
    }
    atomic_store(&unblocked, atomic_load(&ran) > 0);
}

static void who_may_block_lets_another_worker_have_the_rest(void **state)
{
    (void)state;
    struct fg_pool *pool = new_pool(2);
    struct box *first = new_box(pool, 0);
    struct box *second = new_box(pool, 0);
    struct job *jobs = new_jobs(2);
    jobs[0] = (struct job){ .task.run = block_until_another_ran, .box = first };
    jobs[1].box = second;
    fg_pool_gather(pool); /* few enough for one worker */
    fg_strand_post(&first->strand, &jobs[0].task);
    fg_strand_post(&second->strand, &jobs[1].task);
    fg_pool_release(pool);
    fg_pool_gather(NULL);
    fg_pool_free(pool);
    assert_true(atomic_load(&unblocked));
    free_box(first);
    free_box(second);
    free(jobs);
}

static void wait_silent(const struct fg_pool *pool, bool silent)
{
    for (time_t until = time(NULL) + 20; (fg_pool_silent(pool, 0) != 0) != silent;) {
        assert_true(time(NULL) < until);
        sched_yield();
    }
}

static void workers_that_sleep_show_that_they_move(void **state)
{
    (void)state;
    struct fg_pool *pool = new_pool(16);
    fg_pool_prove(pool, 1000000);
    for (int i = 0; i < 100; i++) {
        fg_pool_ask(pool);
        wait_silent(pool, false);
    }
    fg_pool_free(pool);
}

static atomic_bool held, let_go;
static pthread_t held_thread;

static void hold(struct fg_task *task)
{
    (void)task;
    held_thread = pthread_self();
    atomic_store(&held, true);
    while (!atomic_load(&let_go)) {
        sched_yield();
    }
}

static void a_worker_that_is_held_is_named_until_it_moves(void **state)
{
    (void)state;
    struct fg_pool *pool = new_pool(3);
    struct fg_strand strand;
    struct fg_task task = { .run = hold };
    atomic_store(&held, false);
    atomic_store(&let_go, false);
    fg_strand_init(&strand, pool);
    fg_strand_post(&strand, &task);
    while (!atomic_load(&held)) {
        sched_yield();
    }
    char name[16] = "";
    pthread_getname_np(held_thread, name, sizeof name);
    size_t number = strtoul(strrchr(name, '-') + 1, NULL, 10);
    fg_pool_prove(pool, 1000000);
    fg_pool_ask(pool);
    for (time_t until = time(NULL) + 20;
         fg_pool_silent(pool, 0) != number || fg_pool_silent(pool, number) != 0;) { /* the others answer */
        assert_true(time(NULL) < until);
        sched_yield();
    }
    atomic_store(&let_go, true);
    wait_silent(pool, false);
    fg_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_of_a_strand_run_in_the_order_of_their_posting),
        cmocka_unit_test(many_threads_post_to_many_strands_and_none_is_entered_twice),
        cmocka_unit_test(a_task_posts_to_its_own_strand),
        cmocka_unit_test(tasks_post_to_other_strands),
        cmocka_unit_test(a_strand_that_posts_to_itself_lets_others_have_their_turn),
        cmocka_unit_test(closed_comes_after_all_tasks_and_may_free_the_strand),
        cmocka_unit_test(freeing_the_pool_runs_what_was_posted),
        cmocka_unit_test(only_workers_have_a_scratch),
        cmocka_unit_test(a_worker_rests_after_its_last_task),
        cmocka_unit_test(a_worker_that_never_runs_out_of_strands_rests_now_and_then),
        cmocka_unit_test(what_is_gathered_runs_when_it_is_released),
        cmocka_unit_test(who_may_block_lets_another_worker_have_the_rest),
        cmocka_unit_test(workers_that_sleep_show_that_they_move),
        cmocka_unit_test(a_worker_that_is_held_is_named_until_it_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
