#include "support/plc.h"

#include "support/client.h"
#include "support/modbus.h"
#include "support/wait.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MBAP 6

static bool is_write(uint8_t function)
{
    return function == 5 || function == 6 || function == 15 || function == 16 || function == 22 ||
           function == 23;
}

/* Answers the frame at the beginning of bytes. Returns its size; 0: it is not all there. */
static size_t serve(struct plc *plc, int fd, const uint8_t *bytes, size_t size)
{
    size_t whole = size >= MBAP + 2 ? MBAP + (size_t)(bytes[4] << 8 | bytes[5]) : 0;
    if (whole == 0 || size < whole) {
        return 0;
    }
    uint8_t answer[FG_MODBUS_ADU_MAX];
    bool write = is_write(bytes[MBAP + 1]);
    pthread_mutex_lock(&plc->lock);
    size_t length = fg_test_slave_answer(plc->slave, FG_MODBUS_TCP, bytes, whole, answer);
    if (bytes[MBAP + 1] == 6 || bytes[MBAP + 1] == 16) {
        const uint8_t *value = bytes + MBAP + (bytes[MBAP + 1] == 6 ? 4 : 7);
        plc->times[value[0] << 8 | value[1]]++;
    }
    pthread_mutex_unlock(&plc->lock);
    atomic_fetch_add(write ? &plc->writes : &plc->reads, 1);
    while (write && atomic_load(&plc->held) && !atomic_load(&plc->stop)) {
        wait_nap();
    }
    for (unsigned i = 0; write && i < atomic_load(&plc->slow_naps); i++) {
        wait_nap();
    }
    if (length > 0) {
        ssize_t sent = send(fd, answer, length, MSG_NOSIGNAL);
        (void)sent; /* who asked may be gone */
    }
    return whole;
}

/* Until the connection ends. */
static void converse(struct plc *plc, int fd)
{
    uint8_t bytes[4 * FG_MODBUS_ADU_MAX];
    size_t size = 0;
    while (!atomic_load(&plc->stop)) {
        struct pollfd look = { fd, POLLIN, 0 };
        if (poll(&look, 1, 20) <= 0) {
            continue;
        }
        ssize_t got = recv(fd, bytes + size, sizeof bytes - size, 0);
        if (got <= 0) {
            break;
        }
        size += (size_t)got;
        size_t used = 0;
        size_t step;
        while ((step = serve(plc, fd, bytes + used, size - used)) > 0) {
            used += step;
        }
        memmove(bytes, bytes + used, size - used);
        size -= used;
    }
    close(fd);
}

static void *run(void *context)
{
    struct plc *plc = context;
    while (!atomic_load(&plc->stop)) {
        struct pollfd look = { plc->listener, POLLIN, 0 };
        if (poll(&look, 1, 20) > 0) {
            int fd = accept(plc->listener, NULL, NULL);
            if (fd >= 0) {
                converse(plc, fd);
            }
        }
    }
    return NULL;
}

void plc_start(struct plc *plc)
{
    *plc = (struct plc){ .slave = malloc(sizeof *plc->slave) };
    assert_non_null(plc->slave);
    pthread_mutex_init(&plc->lock, NULL);
    fg_test_slave_init(plc->slave);
    plc->listener = client_listen(&plc->port);
    assert_int_equal(pthread_create(&plc->thread, NULL, run, plc), 0);
}

void plc_stop(struct plc *plc)
{
    atomic_store(&plc->stop, true);
    pthread_join(plc->thread, NULL);
    close(plc->listener);
    pthread_mutex_destroy(&plc->lock);
    free(plc->slave);
}

unsigned plc_times(struct plc *plc, unsigned value)
{
    pthread_mutex_lock(&plc->lock);
    unsigned times = plc->times[value];
    pthread_mutex_unlock(&plc->lock);
    return times;
}

bool plc_coil(struct plc *plc, unsigned address)
{
    pthread_mutex_lock(&plc->lock);
    bool on = plc->slave->coils[address];
    pthread_mutex_unlock(&plc->lock);
    return on;
}

unsigned plc_holding(struct plc *plc, unsigned address)
{
    pthread_mutex_lock(&plc->lock);
    unsigned value = plc->slave->holding[address];
    pthread_mutex_unlock(&plc->lock);
    return value;
}

void plc_wait_writes(struct plc *plc, unsigned count)
{
    int64_t deadline = wait_deadline(10000);
    while (atomic_load(&plc->writes) < count) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
}
