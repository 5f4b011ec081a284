#include "ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fg_opened {
    struct fg_ports *ports;
    struct fg_port *port;
    const struct fg_port_settings *settings;
    struct fg_generation *generation;
    bool closing;
    struct fg_task closed;
};

static void free_opened(struct fg_opened *opened)
{
    fg_port_free(opened->port);
    fg_generation_unref(opened->generation);
    free(opened);
}

void fg_ports_init(struct fg_ports *ports, struct fg_loop *loop, const struct fg_sink *sink,
                   void (*closed)(void *context), void *context)
{
    *ports = (struct fg_ports){ .loop = loop, .sink = sink, .closed = closed, .context = context };
    pthread_rwlock_init(&ports->lock, NULL);
}

void fg_ports_fini(struct fg_ports *ports)
{
    for (size_t i = 0; i < ports->count; i++) {
        free_opened(ports->opened[i]);
    }
    free(ports->ports);
    free(ports->opened);
    pthread_rwlock_destroy(&ports->lock);
}

/* Under the lock. */
static void take_out(struct fg_ports *ports, const struct fg_opened *opened)
{
    size_t index = 0;
    while (ports->opened[index] != opened) {
        index++;
    }
    size_t behind = --ports->count - index;
    memmove(&ports->ports[index], &ports->ports[index + 1], behind * sizeof(struct fg_port *));
    memmove(&ports->opened[index], &ports->opened[index + 1], behind * sizeof(struct fg_opened *));
}

static void on_closed(struct fg_task *task)
{
    struct fg_opened *opened = (struct fg_opened *)((char *)task - offsetof(struct fg_opened, closed));
    struct fg_ports *ports = opened->ports;
    ports->closing--;
    if (!ports->keeps) {
        pthread_rwlock_wrlock(&ports->lock);
        take_out(ports, opened);
        pthread_rwlock_unlock(&ports->lock);
        free_opened(opened);
    }
    ports->closed(ports->context);
}

/* On a worker. */
static void tell_closed(void *context)
{
    struct fg_opened *opened = context;
    fg_loop_post(opened->ports->loop, &opened->closed);
}

/* Room for one more. Nobody else looks at opened; ports may be moved only under the lock. */
static int grow(struct fg_ports *ports)
{
    if (ports->count < ports->capacity) {
        return 0;
    }
    size_t capacity = ports->capacity ? 2 * ports->capacity : 16;
    struct fg_opened **opened = realloc(ports->opened, capacity * sizeof(struct fg_opened *));
    if (!opened) {
        return -ENOMEM;
    }
    ports->opened = opened;
    pthread_rwlock_wrlock(&ports->lock);
    struct fg_port **list = realloc(ports->ports, capacity * sizeof(struct fg_port *));
    if (list) {
        ports->ports = list;
        ports->capacity = capacity;
    }
    pthread_rwlock_unlock(&ports->lock);
    return list ? 0 : -ENOMEM;
}

int fg_ports_open(struct fg_ports *ports, const struct fg_port_settings *settings,
                  struct fg_generation *generation)
{
    struct fg_opened *opened = calloc(1, sizeof *opened);
    if (!opened) {
        return -ENOMEM;
    }
    *opened = (struct fg_opened){ .ports = ports, .settings = settings, .closed.run = on_closed };
    int error = grow(ports);
    if (!error) {
        error = fg_port_open(ports->loop, settings, ports->sink, &opened->port);
    }
    if (error) {
        free(opened);
        return error;
    }
    opened->generation = fg_generation_ref(generation);
    pthread_rwlock_wrlock(&ports->lock);
    ports->ports[ports->count] = opened->port;
    ports->opened[ports->count++] = opened;
    pthread_rwlock_unlock(&ports->lock);
    /* The room that it waits for may have been told before it stood in the list. */
    fg_port_resume(opened->port);
    return 0;
}

const struct fg_port_settings *fg_ports_settings(const struct fg_ports *ports, size_t index)
{
    return ports->opened[index]->settings;
}

void fg_ports_close(struct fg_ports *ports, size_t index)
{
    struct fg_opened *opened = ports->opened[index];
    if (!opened->closing) {
        opened->closing = true;
        ports->closing++;
        fg_port_close(opened->port, tell_closed, opened);
    }
}

void fg_ports_close_all(struct fg_ports *ports)
{
    ports->keeps = true;
    for (size_t i = 0; i < ports->count; i++) {
        fg_ports_close(ports, i);
    }
}

void fg_ports_resume(struct fg_ports *ports)
{
    pthread_rwlock_rdlock(&ports->lock);
    for (size_t i = 0; i < ports->count; i++) {
        fg_port_resume(ports->ports[i]);
    }
    pthread_rwlock_unlock(&ports->lock);
}
