#include "serial_termios.h"

#include <asm/termbits.h>
#include <errno.h>
#include <sys/ioctl.h>

int fg_serial_set_rate(int fd, uint32_t rate, uint32_t *made)
{
    struct termios2 line;
    if (ioctl(fd, TCGETS2, &line) < 0) {
        return -errno;
    }
    line.c_cflag &= ~(tcflag_t)(CBAUD | CBAUD << IBSHIFT);
    line.c_cflag |= BOTHER | BOTHER << IBSHIFT;
    line.c_ispeed = rate;
    line.c_ospeed = rate;
    if (ioctl(fd, TCSETS2, &line) < 0 || ioctl(fd, TCGETS2, &line) < 0) {
        return -errno;
    }
    *made = line.c_ospeed;
    return 0;
}
