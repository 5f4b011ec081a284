#include "transport_rig.h"

#include "fieldgate/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define PATIENCE_S 30
#else
#define PATIENCE_S 10
#endif

const struct fg_model_ops *rig_model;

bool rig_choose(const struct fg_model_ops *model)
{
    char why[256] = "";
    if (model->probe(why, sizeof why) < 0) {
        print_message("%s cannot run here: %s\n", model->name, why);
        return false;
    }
    rig_model = model;
    return true;
}

/* ---- the loop
 * ---------------------------------------------------------------------------------------------- */

static void on_signal(void *context, int number)
{
    (void)context;
    (void)number;
}

static void *run_loop(void *argument)
{
    struct rig *rig = argument;
    assert_int_equal(fg_loop_run(&rig->loop), 0);
    return NULL;
}

static void stop_loop(struct fg_task *task)
{
    struct rig *rig = (struct rig *)(void *)((char *)task - offsetof(struct rig, stop));
    fg_loop_stop(&rig->loop);
}

int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    fg_loop_block_signals(&signals);
    signal(SIGPIPE, SIG_IGN);
    snprintf(rig->folder, sizeof rig->folder, "/tmp/fieldgate-XXXXXX");
    if (mkdtemp(rig->folder) == NULL ||
        fg_loop_open(&rig->loop, rig_model, 2, &signals, on_signal, rig) < 0) {
        return -1;
    }
    rig->stop.run = stop_loop;
    *state = rig;
    return pthread_create(&rig->thread, NULL, run_loop, rig);
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *place)
{
    (void)found;
    (void)kind;
    (void)place;
    return remove(path);
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    fg_loop_post(&rig->loop, &rig->stop);
    pthread_join(rig->thread, NULL);
    fg_loop_close(&rig->loop);
    nftw(rig->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(rig);
    return 0;
}

/* ---- a port
 * ------------------------------------------------------------------------------------------------ */

static void *up(void *context, struct fg_link *link)
{
    struct rig_port *port = context;
    struct rig_link *made = NULL;
    pthread_mutex_lock(&port->mutex);
    if (!port->refuse && port->ups < RIG_LINKS) {
        made = &port->links[port->ups++];
        made->port = port;
        made->link = link;
    }
    pthread_cond_broadcast(&port->changed);
    pthread_mutex_unlock(&port->mutex);
    return made;
}

static size_t next_random(struct rig_port *port, size_t most)
{
    port->random ^= port->random << 13;
    port->random ^= port->random >> 7;
    port->random ^= port->random << 17;
    return (size_t)(port->random % (most + 1));
}

static size_t received(void *state, const struct fg_packet *packet)
{
    struct rig_link *link = state;
    struct rig_port *port = link->port;
    pthread_mutex_lock(&port->mutex);
    assert_false(link->down);
    size_t take = packet->size;
    if (port->limited && fg_link_can_wait(link->link)) {
        take = take < port->room ? take : port->room;
        take = port->random != 0 ? next_random(port, take) : take;
        port->room -= take;
    }
    port->offers++;
    link->data = realloc(link->data, link->size + take + 1);
    memcpy(link->data + link->size, packet->data, take);
    link->size += take;
    link->packets++;
    link->empty += packet->datagram && packet->size == 0;
    link->truncated += packet->truncated;
    link->last = packet->size;
    fg_address_text(packet->from, link->from);
    pthread_cond_broadcast(&port->changed);
    pthread_mutex_unlock(&port->mutex);
    return take;
}

static void down(void *state, int error)
{
    struct rig_link *link = state;
    struct rig_port *port = link->port;
    pthread_mutex_lock(&port->mutex);
    assert_false(link->down);
    link->down = true;
    link->error = error;
    link->link = NULL;
    port->downs++;
    pthread_cond_broadcast(&port->changed);
    pthread_mutex_unlock(&port->mutex);
}

static void rejected(void *context, enum fg_reason reason, uint64_t count)
{
    struct rig_port *port = context;
    pthread_mutex_lock(&port->mutex);
    port->rejected[reason] += count;
    pthread_cond_broadcast(&port->changed);
    pthread_mutex_unlock(&port->mutex);
}

static void closed(void *context)
{
    struct rig_port *port = context;
    pthread_mutex_lock(&port->mutex);
    port->closed = true;
    pthread_cond_broadcast(&port->changed);
    pthread_mutex_unlock(&port->mutex);
}

static const struct fg_link_events events = {
    .up = up, .received = received, .down = down, .rejected = rejected
};

struct port_settings {
    struct fg_chosen transport;
};

static const struct fg_setting port_table[] = {
    { .key = "transport",
      .type = FG_SETTING_VARIANT,
      .offset = offsetof(struct port_settings, transport),
      .variants = fg_transports,
      .help = "The transport." },
    { .key = NULL },
};

static const struct fg_schema port_schema = {
    .name = "port", .help = "A port.", .size = sizeof(struct port_settings), .settings = port_table
};

static void report(void *context, const char *problem)
{
    (void)context;
    print_error("%s\n", problem);
}

static struct rig_port *prepare(struct rig *rig, const char *format, va_list arguments)
{
    struct rig_port *port = calloc(1, sizeof *port);
    char path[96];
    snprintf(path, sizeof path, "%s/port.cfg", rig->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("transport: { ", file);
    vfprintf(file, format, arguments);
    fputs(" };\n", file);
    fclose(file);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&port->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&port->mutex, NULL);
    assert_int_equal(fg_config_read(path, &port_schema, report, NULL, &port->config), 0);
    return port;
}

struct rig_port *rig_port_prepare(struct rig *rig, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct rig_port *port = prepare(rig, format, arguments);
    va_end(arguments);
    return port;
}

void rig_port_open(struct rig *rig, struct rig_port *port)
{
    const struct port_settings *settings = fg_config_settings(port->config);
    const struct fg_endpoint_options options = {
        .loop = &rig->loop, .name = "test", .transport = &settings->transport, .events = &events, .port = port
    };
    assert_int_equal(fg_endpoint_open(&options, &port->endpoint), 0);
}

struct rig_port *rig_port_new(struct rig *rig, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct rig_port *port = prepare(rig, format, arguments);
    va_end(arguments);
    rig_port_open(rig, port);
    return port;
}

void rig_port_close(struct rig_port *port)
{
    fg_endpoint_close(port->endpoint, closed);
    port->endpoint = NULL;
}

void rig_port_free(struct rig_port *port)
{
    if (port->endpoint != NULL) {
        rig_port_close(port);
    }
    RIG_WAIT(port, port->closed);
    assert_int_equal(port->ups, port->downs);
    for (size_t i = 0; i < port->ups; i++) {
        free(port->links[i].data);
    }
    fg_config_free(port->config);
    pthread_mutex_destroy(&port->mutex);
    pthread_cond_destroy(&port->changed);
    free(port);
}

struct timespec rig_deadline(void)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += PATIENCE_S;
    return end;
}

/* ---- links
 * ------------------------------------------------------------------------------------------------- */

static void send_done(struct fg_op *op)
{
    struct rig_link *link = (struct rig_link *)(void *)((char *)op - offsetof(struct rig_link, op));
    pthread_mutex_lock(&link->port->mutex);
    link->sent = true;
    link->send_result = op->result;
    pthread_cond_broadcast(&link->port->changed);
    pthread_mutex_unlock(&link->port->mutex);
}

static void send_now(struct fg_task *task)
{
    struct rig_link *link = (struct rig_link *)(void *)((char *)task - offsetof(struct rig_link, send));
    int error = link->link != NULL ? fg_link_send(link->link, &link->op) : -ECANCELED;
    if (error < 0) {
        link->op.result = error;
        send_done(&link->op);
    }
}

static void close_now(struct fg_task *task)
{
    struct rig_link *link = (struct rig_link *)(void *)((char *)task - offsetof(struct rig_link, close));
    if (link->link != NULL) {
        fg_link_close(link->link, -EPROTO);
    }
}

static void pause_now(struct fg_task *task)
{
    struct rig_link *link = (struct rig_link *)(void *)((char *)task - offsetof(struct rig_link, pause));
    if (link->link != NULL) {
        fg_link_pause(link->link);
    }
}

static void post(struct rig_link *link, struct fg_task *task, void (*run)(struct fg_task *task))
{
    pthread_mutex_lock(&link->port->mutex);
    assert_non_null(link->link);
    task->run = run;
    fg_strand_post(fg_link_strand(link->link), task);
    pthread_mutex_unlock(&link->port->mutex);
}

void rig_link_send(struct rig_link *link, const void *data, size_t size)
{
    link->op = (struct fg_op){ .done = send_done, .send = { .data = data, .size = size } };
    link->sent = false;
    post(link, &link->send, send_now);
}

void rig_link_close(struct rig_link *link)
{
    post(link, &link->close, close_now);
}

void rig_link_pause(struct rig_link *link)
{
    post(link, &link->pause, pause_now);
}

void rig_port_add_room(struct rig_port *port, size_t room)
{
    pthread_mutex_lock(&port->mutex);
    port->room += room;
    pthread_mutex_unlock(&port->mutex);
    fg_endpoint_resume(port->endpoint);
}

/* ---- the log
 * ----------------------------------------------------------------------------------------------- */

static int saved_stderr = -1;
static FILE *log_file;

void rig_log_begin(void)
{
    fflush(stderr);
    log_file = tmpfile();
    assert_non_null(log_file);
    saved_stderr = dup(STDERR_FILENO);
    dup2(fileno(log_file), STDERR_FILENO);
}

size_t rig_log_count(const char *text)
{
    static char all[65536];
    ssize_t size = pread(fileno(log_file), all, sizeof all - 1, 0);
    all[size > 0 ? size : 0] = '\0';
    size_t count = 0;
    for (const char *at = all; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

void rig_log_end(void)
{
    fflush(stderr);
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    fclose(log_file);
}

int64_t rig_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * FG_NS_PER_S + used.tv_nsec;
}

/* ---- the other side
 * ---------------------------------------------------------------------------------------- */

int rig_pty(const char *path)
{
    char name[64];
    char temporary[128];
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    assert_int_equal(ptsname_r(master, name, sizeof name), 0);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    assert_int_equal(symlink(name, temporary), 0);
    assert_int_equal(rename(temporary, path), 0);
    return master;
}

static void limit_waiting(int fd)
{
    struct timeval limit = { .tv_sec = PATIENCE_S };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
}

uint16_t rig_free_port(int type)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* Tries again while nobody listens. */
static int connect_soon(const struct sockaddr *address, socklen_t length, int type)
{
    int64_t end_ns = fg_clock_now_ns() + PATIENCE_S * FG_NS_PER_S;
    for (;;) {
        int fd = socket(address->sa_family, type | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        if (connect(fd, address, length) == 0) {
            limit_waiting(fd);
            return fd;
        }
        int error = errno;
        close(fd);
        if ((error != ECONNREFUSED && error != ENOENT && error != EAGAIN) || fg_clock_now_ns() > end_ns) {
            fail_msg("cannot connect: %s", strerror(error));
        }
        struct timespec pause = { .tv_nsec = 2000000 };
        nanosleep(&pause, NULL);
    }
}

int rig_connect(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    return connect_soon((struct sockaddr *)&address, sizeof address, SOCK_STREAM);
}

int rig_connect_unix(const char *path, int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return connect_soon((struct sockaddr *)&address, sizeof address, type);
}

int rig_listen(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in address = loopback(port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    limit_waiting(fd);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}
