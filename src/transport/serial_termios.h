/*
 * Rates that have no name in termios: termios2 and BOTHER, whose header does not go with <termios.h>.
 */
#ifndef FIELDGATE_TRANSPORT_SERIAL_TERMIOS_H
#define FIELDGATE_TRANSPORT_SERIAL_TERMIOS_H

#include <stdint.h>

/* Sets the rate of an open line, both ways. Returns 0 and the rate that the driver made of it, or a negative
 * errno. */
int fg_serial_set_rate(int fd, uint32_t rate, uint32_t *made);

#endif
