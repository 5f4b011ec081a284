#include "transport_rig.h"

#include <asm/termbits.h>
#include <sys/ioctl.h>

uint32_t rig_line_rate(int fd)
{
    struct termios2 line;
    return ioctl(fd, TCGETS2, &line) == 0 ? line.c_ospeed : 0;
}
