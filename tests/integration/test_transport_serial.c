#include "support/transport_rig.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

static const char *device(struct rig *rig)
{
    static char path[96];
    snprintf(path, sizeof path, "%s/ttyTEST0", rig->folder);
    return path;
}

static struct rig_port *open_line(struct rig *rig, const char *more)
{
    return rig_port_new(rig, "type = \"serial\"; path = \"%s\"; %s", device(rig), more);
}

static void wait_for_log(const char *text)
{
    for (int i = 0; i < 1000 && rig_log_count(text) == 0; i++) {
        poll(NULL, 0, 10);
    }
}

static void bytes_go_both_ways_unchanged(void **state)
{
    int master = rig_pty(device(*state));
    struct rig_port *port = open_line(*state, "");
    RIG_WAIT(port, port->ups == 1);
    uint8_t all[256];
    uint8_t got[256];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (uint8_t)i;
    }
    assert_int_equal(write(master, all, sizeof all), sizeof all);
    RIG_WAIT(port, port->links[0].size == sizeof all);
    assert_memory_equal(port->links[0].data, all, sizeof all);
    rig_link_send(&port->links[0], all, sizeof all);
    for (size_t at = 0; at < sizeof got;) {
        ssize_t now = read(master, got + at, sizeof got - at);
        assert_true(now > 0);
        at += (size_t)now;
    }
    assert_memory_equal(got, all, sizeof all);
    RIG_WAIT(port, port->links[0].sent);
    assert_int_equal(port->links[0].send_result, sizeof all);
    rig_port_free(port);
    close(master);
}

static void the_settings_stand_on_the_line(void **state)
{
    int master = rig_pty(device(*state));
    struct rig_port *port = open_line(*state, "baud = 19200; format = \"8O2\"; flow = \"xon-xoff\";");
    RIG_WAIT(port, port->ups == 1);
    struct termios line;
    assert_int_equal(tcgetattr(master, &line), 0);
    assert_int_equal(cfgetospeed(&line), B19200);
    assert_int_equal(cfgetispeed(&line), B19200);
    assert_int_equal(line.c_cflag & (CSTOPB | CSIZE | CLOCAL | CREAD), CSTOPB | CS8 | CLOCAL | CREAD);
    assert_int_equal(line.c_cflag & PARODD, PARODD);
    assert_int_equal(line.c_cflag & CRTSCTS, 0);
    assert_int_equal(line.c_iflag & (IXON | IXOFF), IXON | IXOFF);
    assert_int_equal(line.c_iflag & (ICRNL | INLCR | ISTRIP | PARMRK), 0);
    assert_int_equal(line.c_lflag & (ICANON | ECHO | ISIG), 0);
    assert_int_equal(line.c_oflag & OPOST, 0);
    assert_int_equal(line.c_cc[VMIN], 1);
    rig_port_free(port);
    close(master);
}

static void hardware_flow_control_is_set(void **state)
{
    int master = rig_pty(device(*state));
    struct rig_port *port = open_line(*state, "flow = \"rts-cts\";");
    RIG_WAIT(port, port->ups == 1);
    struct termios line;
    assert_int_equal(tcgetattr(master, &line), 0);
    assert_int_equal(line.c_cflag & CRTSCTS, CRTSCTS);
    assert_int_equal(line.c_iflag & (IXON | IXOFF), 0);
    rig_port_free(port);
    close(master);
}

static void what_the_driver_does_not_take_is_told_once(void **state)
{
    int master = rig_pty(device(*state));
    rig_log_begin();
    struct rig_port *port = open_line(*state, "format = \"7E1\";"); /* a pty has 8 bits and no parity */
    RIG_WAIT(port, port->ups == 1);
    close(master);
    RIG_WAIT(port, port->downs == 1);
    master = rig_pty(device(*state));
    RIG_WAIT(port, port->ups == 2);
    size_t told = rig_log_count("does not take the setting of format");
    rig_log_end();
    assert_int_equal(told, 1);
    rig_port_free(port);
    close(master);
}

static void an_odd_rate_is_set(void **state)
{
    int master = rig_pty(device(*state));
    if (rig_line_rate(master) == 0) {
        close(master);
        skip(); /* an emulator without termios2 */
    }
    struct rig_port *port = open_line(*state, "baud = 31250; custom_baud = true;");
    RIG_WAIT(port, port->ups == 1);
    assert_int_equal(rig_line_rate(master), 31250);
    rig_port_free(port);
    close(master);
}

static void the_line_is_ours_alone(void **state)
{
    int master = rig_pty(device(*state));
    int other = open(device(*state), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    struct rig_port *port = open_line(*state, "");
    RIG_WAIT(port, port->ups == 1);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    int exclusive = 0;
    if (ioctl(other, TIOCGEXCL, &exclusive) == 0) {
        assert_int_equal(exclusive, 1);
    }
    rig_port_free(port);
    if (ioctl(other, TIOCGEXCL, &exclusive) == 0) {
        assert_int_equal(exclusive, 0);
    }
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    close(other);
    close(master);
}

static void a_line_that_is_in_use_is_left_alone_until_it_is_free(void **state)
{
    int master = rig_pty(device(*state));
    int other = open(device(*state), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    struct termios before;
    struct termios after;
    tcgetattr(other, &before);
    rig_log_begin();
    struct rig_port *port = open_line(*state, "baud = 1200;");
    wait_for_log("in use by another program");
    poll(NULL, 0, 400); /* some more attempts */
    tcgetattr(other, &after);
    size_t told = rig_log_count("in use by another program");
    size_t ups = RIG_GET(port, port->ups);
    rig_log_end();
    assert_int_equal(told, 1);
    assert_int_equal(ups, 0);
    assert_int_equal(cfgetospeed(&before), cfgetospeed(&after));
    close(other);
    RIG_WAIT(port, port->ups == 1);
    rig_port_free(port);
    close(master);
}

static void an_adapter_that_comes_back_is_opened_again(void **state)
{
    int master = rig_pty(device(*state));
    struct rig_port *port = open_line(*state, "");
    for (size_t round = 0; round < 3; round++) {
        RIG_WAIT(port, port->ups == round + 1);
        assert_int_equal(write(master, "here", 4), 4);
        RIG_WAIT(port, port->links[round].size == 4);
        unlink(device(*state));
        close(master);
        RIG_WAIT(port, port->downs == round + 1);
        assert_true(port->links[round].error < 0);
        master = rig_pty(device(*state));
    }
    RIG_WAIT(port, port->ups == 4);
    rig_port_free(port);
    close(master);
}

static void a_line_that_is_gone_costs_next_to_nothing(void **state)
{
    int master = rig_pty(device(*state));
    rig_log_begin();
    struct rig_port *port = open_line(*state, "");
    RIG_WAIT(port, port->ups == 1);
    unlink(device(*state));
    close(master);
    RIG_WAIT(port, port->downs == 1);
    int64_t cpu_ns = rig_cpu_ns();
    poll(NULL, 0, 1000); /* the time that is measured */
    cpu_ns = rig_cpu_ns() - cpu_ns;
    master = rig_pty(device(*state));
    RIG_WAIT(port, port->ups == 2);
    size_t told = rig_log_count("No such file or directory");
    rig_log_end();
    assert_int_equal(told, 1);
    assert_true(cpu_ns < 200 * FG_NS_PER_MS);
    rig_port_free(port);
    close(master);
}

static void what_is_no_serial_line_is_told_and_tried_again(void **state)
{
    int fd = open(device(*state), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "keep", 4), 4);
    close(fd);
    rig_log_begin();
    struct rig_port *port = open_line(*state, "");
    wait_for_log("not a serial line");
    size_t told = rig_log_count("not a serial line");
    struct stat found;
    stat(device(*state), &found);
    rig_log_end();
    assert_int_equal(told, 1);
    assert_int_equal(found.st_size, 4);
    int master = rig_pty(device(*state));
    RIG_WAIT(port, port->ups == 1);
    rig_port_free(port);
    close(master);
}

static void a_driver_without_rs485_is_told_and_the_port_stays_down(void **state)
{
    int master = rig_pty(device(*state));
    rig_log_begin();
    struct rig_port *port = open_line(*state, "rs485 = true;");
    wait_for_log("RS-485");
    poll(NULL, 0, 400);
    size_t told = rig_log_count("no RS-485 mode");
    size_t ups = RIG_GET(port, port->ups);
    rig_log_end();
    assert_int_equal(told, 1);
    assert_int_equal(ups, 0);
    rig_port_free(port);
    close(master);
}

static void a_serial_link_cannot_wait(void **state)
{
    int master = rig_pty(device(*state));
    struct rig_port *port = rig_port_prepare(*state, "type = \"serial\"; path = \"%s\";", device(*state));
    port->limited = true; /* without room; but only links that can wait are asked to */
    rig_port_open(*state, port);
    RIG_WAIT(port, port->ups == 1);
    assert_int_equal(write(master, "all of it", 9), 9);
    RIG_WAIT(port, port->links[0].size == 9);
    rig_port_free(port);
    close(master);
}

static void closing_with_output_that_nobody_reads_does_not_wait(void **state)
{
    int master = rig_pty(device(*state));
    struct rig_port *port = open_line(*state, "");
    RIG_WAIT(port, port->ups == 1);
    static char block[200000];
    rig_link_send(&port->links[0], block, sizeof block);
    struct pollfd ready = { .fd = master, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, 10000), 1);
    int64_t begin_ns = fg_clock_now_ns();
    rig_port_close(port);
    RIG_WAIT(port, port->closed);
    assert_true(fg_clock_now_ns() - begin_ns < 5 * FG_NS_PER_S);
    assert_int_equal(port->links[0].send_result, -ECANCELED);
    rig_port_free(port);
    close(master);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_go_both_ways_unchanged),
        TEST(the_settings_stand_on_the_line),
        TEST(hardware_flow_control_is_set),
        TEST(what_the_driver_does_not_take_is_told_once),
        TEST(an_odd_rate_is_set),
        TEST(the_line_is_ours_alone),
        TEST(a_line_that_is_in_use_is_left_alone_until_it_is_free),
        TEST(an_adapter_that_comes_back_is_opened_again),
        TEST(a_line_that_is_gone_costs_next_to_nothing),
        TEST(what_is_no_serial_line_is_told_and_tried_again),
        TEST(a_driver_without_rs485_is_told_and_the_port_stays_down),
        TEST(a_serial_link_cannot_wait),
        TEST(closing_with_output_that_nobody_reads_does_not_wait),
    };
    return RIG_RUN(tests);
}
