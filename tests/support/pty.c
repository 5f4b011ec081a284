#include "support/pty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

void pty_init(struct pty *pty, const char *folder, const char *name)
{
    pty->master = -1;
    snprintf(pty->link, sizeof pty->link, "%.80s/%.24s", folder, name);
}

void pty_plug(struct pty *pty)
{
    int slave;
    struct termios raw = { 0 };
    cfmakeraw(&raw);
    raw.c_cflag |= CREAD | CLOCAL;
    cfsetspeed(&raw, B115200);
    assert_int_equal(openpty(&pty->master, &slave, pty->slave, &raw, NULL), 0);
    fcntl(pty->master, F_SETFD, FD_CLOEXEC);
    close(slave);
    /* The link appears at once and whole, as udev makes it. */
    char fresh[TEMPDIR_PATH + 8];
    snprintf(fresh, sizeof fresh, "%s.new", pty->link);
    assert_int_equal(symlink(pty->slave, fresh), 0);
    assert_int_equal(rename(fresh, pty->link), 0);
}

void pty_unplug(struct pty *pty)
{
    if (pty->master >= 0) {
        unlink(pty->link);
        close(pty->master);
        pty->master = -1;
    }
}

void pty_write(const struct pty *pty, const void *bytes, size_t size)
{
    assert_int_equal(write(pty->master, bytes, size), size);
}
