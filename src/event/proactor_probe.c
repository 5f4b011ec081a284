/* Whether a proactor can run here, and the words for why not. */
#include "proactor.h"
#include "proactor_buffers.h"
#include "proactor_ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define PROBE_REQUESTS 8

void fg_proactor_tell_refusal(int error, int disabled, char *why, size_t why_size)
{
    struct rlimit limit;
    switch (error) {
    case -EPERM:
    case -EACCES:
        if (disabled > 0) {
            snprintf(why, why_size, "io_uring is switched off (kernel.io_uring_disabled = %d)", disabled);
        } else {
            snprintf(why, why_size, "io_uring is not permitted: a system call filter refuses it");
        }
        break;
    case -ENOSYS:
        /* Where the setting is, io_uring is built in, and something stands before it. */
        snprintf(why, why_size,
                 disabled >= 0 ? "io_uring is refused by a system call filter"
                               : "this kernel has no io_uring, or a filter refuses it");
        break;
    case -ENOMEM:
        if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
            snprintf(why, why_size, "not enough locked memory (RLIMIT_MEMLOCK is %llu bytes)",
                     (unsigned long long)limit.rlim_cur);
        } else {
            snprintf(why, why_size, "not enough memory for io_uring");
        }
        break;
    case -EINVAL:
    case -EOPNOTSUPP:
        snprintf(why, why_size, "this kernel's io_uring is too old: Linux 5.19 is needed");
        break;
    default:
        snprintf(why, why_size, "io_uring: %s", strerror(-error));
        break;
    }
}

#ifdef __arm__
/* Kernels of 32-bit ARM have io_uring switched on so rarely, and run it so little, that nobody vouches for
 * it. */
int fg_proactor_probe(char *why, size_t why_size)
{
    snprintf(why, why_size, "io_uring stays off on 32-bit ARM");
    return -ENOTSUP;
}
#else
static int read_disabled(void)
{
    int disabled = -1;
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (file) {
        char line[16] = "";
        if (fgets(line, sizeof line, file)) {
            disabled = (int)strtol(line, NULL, 10);
        }
        fclose(file);
    }
    return disabled;
}

static int probe_operations(struct io_uring *ring)
{
    static const int needed[] = { IORING_OP_POLL_ADD, IORING_OP_RECV,         IORING_OP_RECVMSG,
                                  IORING_OP_SEND,     IORING_OP_ACCEPT,       IORING_OP_CONNECT,
                                  IORING_OP_READ,     IORING_OP_ASYNC_CANCEL, IORING_OP_NOP };
    const unsigned features = IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_SUBMIT_STABLE;
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (!probe) {
        return -ENOMEM;
    }
    int error = (ring->features & features) == features ? 0 : -EINVAL;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (!io_uring_opcode_supported(probe, needed[i])) {
            error = -EINVAL;
        }
    }
    io_uring_free_probe(probe);
    return error;
}

int fg_proactor_probe(char *why, size_t why_size)
{
    struct io_uring ring;
    int error = fg_proactor_ring_open(&ring, PROBE_REQUESTS, PROBE_REQUESTS * 2);
    if (!error) {
        error = probe_operations(&ring);
        if (!error) {
            /* Provided buffers in a ring came last of all that is used, together with multishot accept. */
            struct fg_proactor_buffers buffers;
            error = fg_proactor_buffers_open(&buffers, &ring, 0, 2, 4096);
            io_uring_queue_exit(&ring);
            if (!error) {
                fg_proactor_buffers_close(&buffers);
                return 0;
            }
        } else {
            io_uring_queue_exit(&ring);
        }
    }
    fg_proactor_tell_refusal(error, read_disabled(), why, why_size);
    return error;
}
#endif
