#include "proactor_channel.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel is told to stop at FG_ACCEPTED_AHEAD, and may have made more by then. */
#define MOST_ACCEPTED 4096

void fg_accepted_push(struct fg_accepted *accepted, int fd)
{
    if (accepted->first + accepted->count == accepted->room) {
        if (accepted->first > 0) {
            memmove(accepted->fds, accepted->fds + accepted->first, accepted->count * sizeof(int));
            accepted->first = 0;
        } else {
            unsigned room = accepted->room ? accepted->room * 2 : FG_ACCEPTED_AHEAD;
            int *fds = room <= MOST_ACCEPTED ? realloc(accepted->fds, room * sizeof(int)) : NULL;
            if (!fds) {
                close(fd);
                return;
            }
            accepted->fds = fds;
            accepted->room = room;
        }
    }
    accepted->fds[accepted->first + accepted->count++] = fd;
}

int fg_accepted_pop(struct fg_accepted *accepted)
{
    if (accepted->count == 0) {
        return -1;
    }
    accepted->count--;
    return accepted->fds[accepted->first++];
}

void fg_accepted_fini(struct fg_accepted *accepted)
{
    for (int fd = fg_accepted_pop(accepted); fd >= 0; fd = fg_accepted_pop(accepted)) {
        close(fd);
    }
    free(accepted->fds);
    *accepted = (struct fg_accepted){ 0 };
}
