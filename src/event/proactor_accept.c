#include "proactor_channel.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel is told to stop at FG_ACCEPTED_AHEAD, and may have made more by then. */
#define MOST_ACCEPTED 4096

static struct fg_accepted *widen(struct fg_accepted *old)
{
    unsigned room = old ? old->room * 2 : FG_ACCEPTED_AHEAD;
    if (room > MOST_ACCEPTED) {
        return NULL;
    }
    struct fg_accepted *wider = realloc(old, sizeof *wider + room * sizeof(int));
    if (wider && !old) {
        *wider = (struct fg_accepted){ 0 };
    }
    if (wider) {
        wider->room = room;
    }
    return wider;
}

void fg_accepted_push(struct fg_accepted **list, int fd)
{
    struct fg_accepted *accepted = *list;
    if (accepted && accepted->first > 0 && accepted->first + accepted->count == accepted->room) {
        memmove(accepted->fds, accepted->fds + accepted->first, accepted->count * sizeof(int));
        accepted->first = 0;
    }
    if (!accepted || accepted->count == accepted->room) {
        accepted = widen(accepted);
        if (!accepted) {
            close(fd);
            return;
        }
        *list = accepted;
    }
    accepted->fds[accepted->first + accepted->count++] = fd;
}

int fg_accepted_pop(struct fg_accepted *accepted)
{
    if (fg_accepted_count(accepted) == 0) {
        return -1;
    }
    accepted->count--;
    return accepted->fds[accepted->first++];
}

void fg_accepted_free(struct fg_accepted *accepted)
{
    for (int fd = fg_accepted_pop(accepted); fd >= 0; fd = fg_accepted_pop(accepted)) {
        close(fd);
    }
    free(accepted);
}
