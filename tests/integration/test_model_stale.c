/*
 * The contract of the event models: what was collected for a channel before it closed does not reach who
 * comes after it. The moment between collecting and handing on is made long by an epoll_wait of the test's
 * own; in a model that has no use for epoll_wait there is no such moment, and the test asks the rest.
 */
#include "support/loop_fixture.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum hold { FREE, HOLD_NEXT, HELD };

static enum hold hold;

int epoll_wait(int epoll_fd, struct epoll_event *events, int size, int timeout)
{
    int (*next)(int, struct epoll_event *, int, int);
    *(void **)&next = dlsym(RTLD_NEXT, "epoll_wait");
    int count = next(epoll_fd, events, size, timeout);
    int saved = errno;
    state_lock();
    if (count > 0 && hold == HOLD_NEXT) {
        hold = HELD;
    }
    state_unlock();
    int64_t deadline_ns = state_deadline();
    state_lock();
    while (hold == HELD && state_wait(deadline_ns)) {
    }
    state_unlock();
    errno = saved;
    return count;
}

static void set_hold(enum hold to)
{
    state_lock();
    hold = to;
    state_unlock();
}

static void close_it(struct link *link, void *argument)
{
    (void)argument;
    if (!link->close_asked) {
        link_close(link);
    }
}

static void what_was_collected_before_a_close_reaches_nobody(void **state)
{
    unsigned reused = 0;
    for (int round = 0; round < 20; round++) {
        struct link *old = link_open_pair(*state, SOCK_STREAM);
        int fd = fg_channel_fd(old->channel);
        assert_int_equal(ask_submit(old, FG_OP_RECV), 0);
        set_hold(HOLD_NEXT);
        peer_write(old->peer, "old", 3);
        WAIT_FOR(hold == HELD || old->in_count == 1);
        link_on_strand(old, close_it, NULL);
        if (hold == HELD && round % 2) {
            /* Its memory is gone as well, if it needs no main thread for that. */
            int64_t soon_ns = state_deadline() - (int64_t)(DEADLINE_S * 1000 - 20) * 1000000;
            state_lock();
            while (!old->closed && state_wait(soon_ns)) {
            }
            state_unlock();
        }
        struct link *new = link_open_pair(*state, SOCK_STREAM);
        reused += fg_channel_fd(new->channel) == fd;
        assert_int_equal(ask_submit(new, FG_OP_RECV), 0);
        set_hold(FREE);
        WAIT_FOR(old->closed == 1);
        fixture_let_pass(*state, 1);
        assert_int_equal(new->in_count, 0);
        peer_write(new->peer, "new", 3);
        WAIT_FOR(new->in_count == 1);
        assert_memory_equal(new->bytes, "new", 3);
        ask_close(new);
    }
    print_message("%u of 20 numbers were used again at once\n", reused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_collected_before_a_close_reaches_nobody),
    };
    return FIXTURE_RUN("stale events", tests);
}
