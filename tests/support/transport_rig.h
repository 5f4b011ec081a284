/*
 * For tests of transports: a loop on a thread of its own, and ports that write down what their endpoints
 * tell.
 */
#ifndef FIELDGATE_TEST_TRANSPORT_RIG_H
#define FIELDGATE_TEST_TRANSPORT_RIG_H

#include "fieldgate/config.h"
#include "fieldgate/loop.h"
#include "fieldgate/transport.h"

#include <pthread.h>

struct rig {
    struct fg_loop loop;
    pthread_t thread;
    struct fg_task stop;
    char folder[64]; /* for the test's files; removed at the end */
};

/* The model that rigs run with. */
extern const struct fg_model_ops *rig_model;

/* cmocka's setup and teardown: *state is a struct rig. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* Runs the group's tests for each event model that can run here. Returns what main is to return. */
#define RIG_RUN(tests)                                                                                       \
    ({                                                                                                       \
        int failed = 0;                                                                                      \
        for (const struct fg_model_ops *const *model = fg_models; *model != NULL; model++) {                 \
            if (rig_choose(*model)) {                                                                        \
                failed += cmocka_run_group_tests_name((*model)->name, tests, NULL, NULL);                    \
            }                                                                                                \
        }                                                                                                    \
        failed;                                                                                              \
    })
bool rig_choose(const struct fg_model_ops *model);

struct rig_port;

struct rig_link {
    struct rig_port *port;
    struct fg_link *link; /* NULL when it is down */
    bool down;
    int error;
    size_t size; /* of what came */
    uint8_t *data;
    size_t packets, empty, truncated;
    size_t last; /* size of the last packet */
    char from[FG_ADDRESS_TEXT];
    struct fg_op op;
    struct fg_task send, close, pause;
    bool sent;
    int64_t send_result;
};

#define RIG_LINKS 512

struct rig_port {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct fg_config *config;
    struct fg_endpoint *endpoint;
    bool closed;
    bool refuse;     /* up returns NULL */
    bool limited;    /* received takes at most room bytes, */
    size_t room;     /* which it uses up */
    uint64_t random; /* not 0: takes a random part of what it could */
    size_t ups, downs, offers;
    uint64_t rejected[FG_REASON_COUNT];
    struct rig_link links[RIG_LINKS];
};

/* Opens a port with a transport written as in a configuration: "type = \"udp\"; udp_port = 7001;". */
struct rig_port *rig_port_new(struct rig *rig, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As above, but not opened yet: the caller may set what the port does. */
struct rig_port *rig_port_prepare(struct rig *rig, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void rig_port_open(struct rig *rig, struct rig_port *port);
void rig_port_close(struct rig_port *port); /* starts to close */
void rig_port_free(struct rig_port *port);  /* closes, if it was not, and waits */

/* Waits up to 10 s (x 3 with sanitizers) until condition holds, looked at with the port's mutex held. */
#define RIG_WAIT(port, condition)                                                                            \
    do {                                                                                                     \
        struct timespec rig_end = rig_deadline();                                                            \
        bool rig_met = false;                                                                                \
        pthread_mutex_lock(&(port)->mutex);                                                                  \
        while (!(rig_met = (condition)) &&                                                                   \
               pthread_cond_timedwait(&(port)->changed, &(port)->mutex, &rig_end) == 0) {                    \
        }                                                                                                    \
        pthread_mutex_unlock(&(port)->mutex);                                                                \
        if (!rig_met) {                                                                                      \
            fail_msg("waited in vain for %s", #condition);                                                   \
        }                                                                                                    \
    } while (0)
struct timespec rig_deadline(void);

/* Reads a value with the port's mutex held. */
#define RIG_GET(port, value)                                                                                 \
    ({                                                                                                       \
        pthread_mutex_lock(&(port)->mutex);                                                                  \
        __typeof__(value) rig_value = (value);                                                               \
        pthread_mutex_unlock(&(port)->mutex);                                                                \
        rig_value;                                                                                           \
    })

/* From the test's thread, to be done on the link's strand. Data lives until it was sent. */
void rig_link_send(struct rig_link *link, const void *data, size_t size);
void rig_link_close(struct rig_link *link);
void rig_link_pause(struct rig_link *link);
void rig_port_add_room(struct rig_port *port, size_t room);

/* What the log says is gathered from here to rig_log_end, which returns how often text stands in it. */
void rig_log_begin(void);
size_t rig_log_count(const char *text);
void rig_log_end(void);

/* Processor time of this process so far. */
int64_t rig_cpu_ns(void);

/* A pty: the master's descriptor, and a symbolic link at path to its other end. */
int rig_pty(const char *path);
uint32_t rig_line_rate(int fd); /* by termios2; 0: not known */

/* Sockets of the test's own side. They block, for 10 s at most. */
uint16_t rig_free_port(int type);
int rig_connect(uint16_t port);
int rig_connect_unix(const char *path, int type);
int rig_listen(uint16_t port);

#endif
