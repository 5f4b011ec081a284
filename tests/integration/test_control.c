/* The control socket's reload, with a gateway that the test plays. */
#include "gateway/control.h"

#include "support/client.h"
#include "support/ctl.h"
#include "support/loop_fixture.h"
#include "support/tempdir.h"
#include "support/wait.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define RELOAD "{\"command\":\"reload\"}"

struct bench {
    char folder[TEMPDIR_PATH], path[TEMPDIR_PATH];
    struct loop_fixture *fixture;
    struct fg_tap tap;
    struct fg_control *control;
    int result; /* of the reload */
    const char *problem;
    unsigned reloads, closed; /* under the state's lock */
};

static int reload(void *context, char *problem, size_t size)
{
    struct bench *bench = context;
    snprintf(problem, size, "%s", bench->problem ? bench->problem : "");
    state_lock();
    bench->reloads++;
    state_unlock();
    return bench->result;
}

static void open_control(void *argument)
{
    struct bench *bench = argument;
    const struct fg_control_options options = { .loop = &bench->fixture->loop,
                                                .path = bench->path,
                                                .tap = &bench->tap,
                                                .event_model = "any",
                                                .hooks = { .context = bench, .reload = reload } };
    bench->control = fg_control_open(&options);
}

static void begin(struct bench *bench, void **state, int result, const char *problem)
{
    *bench = (struct bench){ .fixture = *state, .result = result, .problem = problem };
    tempdir_make(bench->folder);
    snprintf(bench->path, sizeof bench->path, "%.80s/control.sock", bench->folder);
    fixture_on_main(bench->fixture, open_control, bench);
    assert_non_null(bench->control);
}

static void control_closed(void *context)
{
    struct bench *bench = context;
    state_lock();
    bench->closed++;
    state_unlock();
}

static void close_control(void *argument)
{
    struct bench *bench = argument;
    fg_control_close(bench->control, control_closed, bench);
}

static void end(struct bench *bench)
{
    fixture_on_main(bench->fixture, close_control, bench);
    WAIT_FOR(bench->closed == 1);
    fg_control_free(bench->control);
    assert_int_equal(access(bench->path, F_OK), -1);
    tempdir_remove(bench->folder);
}

static void assert_answer(int fd, const char *expected)
{
    char *line = ctl_read_line(fd);
    assert_non_null(line);
    assert_string_equal(line, expected);
    free(line);
}

static void reload_is_answered_when_it_is_done(void **state)
{
    struct bench bench;
    begin(&bench, state, 0, "1 port opened");
    int fd = client_unix(bench.path, SOCK_STREAM);
    client_print(fd, RELOAD "\n" RELOAD "\n");
    assert_answer(fd, "{\"protocol\":1,\"ok\":true,\"outcome\":\"1 port opened\"}");
    assert_answer(fd, "{\"protocol\":1,\"ok\":true,\"outcome\":\"1 port opened\"}");
    WAIT_FOR(bench.reloads == 2);
    close(fd);
    end(&bench);
}

static void problem_of_a_reload_is_told(void **state)
{
    struct bench bench;
    begin(&bench, state, -EINVAL, "f.cfg:3: ports: is empty\nf.cfg:9: x: \"y\"");
    int fd = client_unix(bench.path, SOCK_STREAM);
    client_print(fd, RELOAD "\n");
    assert_answer(fd, "{\"protocol\":1,\"ok\":false,\"error\":\"f.cfg:3: ports: is empty\\nf.cfg:9: x: "
                      "\\\"y\\\"\"}");
    close(fd);
    end(&bench);
}

static void wait_taken(int fd)
{
    int64_t deadline = wait_deadline(10000);
    for (int waiting = 1; waiting > 0;) {
        assert_false(wait_over(deadline));
        assert_int_equal(ioctl(fd, SIOCOUTQ, &waiting), 0);
    }
}

static void tell_done(void *argument)
{
    fg_control_reloaded(((struct bench *)argument)->control, true, "");
}

static void all_who_asked_meanwhile_are_answered_by_one_reload(void **state)
{
    struct bench bench;
    begin(&bench, state, -EINPROGRESS, NULL);
    int first = client_unix(bench.path, SOCK_STREAM);
    int second = client_unix(bench.path, SOCK_STREAM);
    int third = client_unix(bench.path, SOCK_STREAM);
    client_print(first, RELOAD "\n");
    WAIT_FOR(bench.reloads == 1);
    client_print(second, RELOAD "\n");
    client_print(third, RELOAD "\n");
    shutdown(second, SHUT_WR); /* it has said all, and waits */
    wait_taken(second);
    wait_taken(third);
    close(third);
    /* There is one worker: when it answers this, it has seen to what was taken before. */
    int later = client_unix(bench.path, SOCK_STREAM);
    json_decref(ctl_request(later, "{\"command\":\"log-level\"}"));
    close(later);
    fixture_on_main(bench.fixture, tell_done, &bench);
    assert_answer(first, "{\"protocol\":1,\"ok\":true,\"outcome\":\"\"}");
    assert_answer(second, "{\"protocol\":1,\"ok\":true,\"outcome\":\"\"}");
    assert_true(client_wait_closed(second, 5000));
    WAIT_FOR(bench.reloads == 1);
    close(first);
    close(second);
    end(&bench);
}

static void end_does_not_wait_for_a_reload(void **state)
{
    struct bench bench;
    begin(&bench, state, -EINPROGRESS, NULL);
    int fd = client_unix(bench.path, SOCK_STREAM);
    client_print(fd, RELOAD "\n");
    WAIT_FOR(bench.reloads == 1);
    end(&bench);
    assert_true(client_wait_closed(fd, 5000));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reload_is_answered_when_it_is_done),
        cmocka_unit_test(problem_of_a_reload_is_told),
        cmocka_unit_test_setup(all_who_asked_meanwhile_are_answered_by_one_reload, fixture_one_worker),
        cmocka_unit_test(end_does_not_wait_for_a_reload),
    };
    return FIXTURE_RUN("control", tests);
}
