/*
 * A serial device that can be unplugged: a pty whose slave stands behind a link. Tearing it away closes the
 * master and removes the link, as udev does; plugging it in again makes a new pty behind the same link.
 *
 * Bytes that the other side has not read when the master closes are lost: wait for them first.
 */
#ifndef FIELDGATE_TEST_PTY_H
#define FIELDGATE_TEST_PTY_H

#include "support/tempdir.h"

#include <stddef.h>

struct pty {
    int master; /* -1: unplugged */
    char link[TEMPDIR_PATH];
    char slave[64];
};

/* Only names the link: nothing is there yet. */
void pty_init(struct pty *pty, const char *folder, const char *name);
void pty_plug(struct pty *pty);
void pty_unplug(struct pty *pty);

/* One write of everything; it waits while the other side does not read. */
void pty_write(const struct pty *pty, const void *bytes, size_t size);

#endif
