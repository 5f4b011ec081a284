#include "support/relay.h"

#include "support/wait.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned word(const uint8_t *bytes)
{
    return (unsigned)(bytes[0] << 8 | bytes[1]);
}

/* With which exception the PDU is answered; 0: with none. */
static uint8_t exception_to(struct relay *relay, const uint8_t *pdu)
{
    unsigned function = pdu[0], address = word(pdu + 1), illegal = atomic_load(&relay->illegal);
    bool several = function != 5 && function != 6 && function != 22;
    bool registers = function == 3 || function == 4 || function == 6 || function == 16 || function == 22;
    unsigned count = several ? word(pdu + 3) : 1;
    if (atomic_load(&relay->lacks) >> function & 1) {
        return 1;
    }
    bool refuses = registers && illegal && address <= illegal && illegal < address + count;
    return refuses ? 2 : 0;
}

/* Under the mutex. */
static void note(struct relay *relay, const uint8_t *pdu)
{
    if (pdu[0] > 4 && relay->log_count < RELAY_LOG) {
        snprintf(relay->log[relay->log_count], sizeof relay->log[0], "%u@%u", pdu[0], word(pdu + 1));
        relay->log_count++;
    }
}

/* One request, whole. */
static void hear(struct relay *relay, const uint8_t *adu, size_t size)
{
    bool tcp = relay->mode == FG_MODBUS_TCP;
    const uint8_t *pdu = adu + (tcp ? 7 : 1);
    uint8_t out[FG_MODBUS_ADU_MAX + 8];
    atomic_fetch_add(&relay->requests, 1);
    if (atomic_load(&relay->silent)) {
        return;
    }
    pthread_mutex_lock(&relay->mutex);
    uint8_t refusal[2] = { (uint8_t)(pdu[0] | 0x80), exception_to(relay, pdu) };
    if (refusal[1]) {
        size = fg_test_modbus_frame(relay->mode, (uint16_t)(tcp ? word(adu) : 0), adu[tcp ? 6 : 0], refusal,
                                    2, out);
    } else {
        note(relay, pdu);
        size = fg_test_slave_answer(&relay->memory, relay->mode, adu, size, out);
    }
    pthread_mutex_unlock(&relay->mutex);
    if (!atomic_load(&relay->deaf)) {
        ssize_t written = write(relay->fd, out, size);
        (void)written; /* who asks may have gone */
    }
}

/* The size of the request that begins there, 0: not known yet. */
static size_t size_of(const struct relay *relay)
{
    const uint8_t *at = relay->input;
    if (relay->mode == FG_MODBUS_TCP) {
        return relay->size >= 6 ? 6 + word(at + 4) : 0;
    }
    if (relay->size < 7) {
        return 0;
    }
    return at[1] <= 6 ? 8 : at[1] == 22 ? 10 : 9u + at[6];
}

static void connect_again(struct relay *relay)
{
    struct pollfd ready = { .fd = relay->listener, .events = POLLIN };
    int fd = poll(&ready, 1, 20) > 0 ? accept(relay->listener, NULL, NULL) : -1;
    if (fd >= 0) {
        dup2(fd, relay->fd);
        close(fd);
        relay->size = 0;
        atomic_fetch_add(&relay->connections, 1);
    }
}

static void read_requests(struct relay *relay)
{
    ssize_t got = read(relay->fd, relay->input + relay->size, sizeof relay->input - relay->size);
    if (got <= 0) {
        if (relay->listener >= 0) {
            connect_again(relay);
        } else {
            usleep(1000); /* nobody has the other end open */
        }
        return;
    }
    relay->size += (size_t)got;
    size_t whole;
    while ((whole = size_of(relay)) > 0 && relay->size >= whole) {
        hear(relay, relay->input, whole);
        relay->size -= whole;
        memmove(relay->input, relay->input + whole, relay->size);
    }
}

static void *run(void *argument)
{
    struct relay *relay = argument;
    while (!atomic_load(&relay->stop)) {
        struct pollfd ready = { .fd = relay->fd, .events = POLLIN };
        if (poll(&ready, 1, 20) > 0 && ready.revents & POLLIN) {
            read_requests(relay);
        } else if (ready.revents) {
            usleep(1000); /* nobody has the other end open */
        }
    }
    return NULL;
}

void relay_start(struct relay *relay)
{
    int on = 1;
    setsockopt(relay->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* where it is a socket */
    pthread_mutex_init(&relay->mutex, NULL);
    atomic_store(&relay->stop, false);
    assert_int_equal(pthread_create(&relay->thread, NULL, run, relay), 0);
    relay->started = true;
}

void relay_stop(struct relay *relay)
{
    if (relay->started) {
        atomic_store(&relay->stop, true);
        pthread_join(relay->thread, NULL);
        pthread_mutex_destroy(&relay->mutex);
        relay->started = false;
    }
}

const char *relay_writes(struct relay *relay)
{
    static char text[RELAY_LOG * 16];
    size_t used = 0;
    text[0] = '\0';
    pthread_mutex_lock(&relay->mutex);
    for (size_t i = 0; i < relay->log_count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? " " : "", relay->log[i]);
    }
    pthread_mutex_unlock(&relay->mutex);
    return text;
}

uint16_t relay_register(struct relay *relay, size_t address)
{
    pthread_mutex_lock(&relay->mutex);
    uint16_t value = relay->memory.holding[address];
    pthread_mutex_unlock(&relay->mutex);
    return value;
}

bool relay_coil(struct relay *relay, size_t address)
{
    pthread_mutex_lock(&relay->mutex);
    bool value = relay->memory.coils[address];
    pthread_mutex_unlock(&relay->mutex);
    return value;
}

void relay_wait_requests(struct relay *relay, unsigned count)
{
    unsigned until = atomic_load(&relay->requests) + count;
    int64_t deadline = wait_deadline(60000);
    while ((int)(until - atomic_load(&relay->requests)) > 0) {
        assert_false(wait_over(deadline));
        wait_nap();
    }
}
