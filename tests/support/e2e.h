/*
 * The frame of the end-to-end tests: every test of a program is run once for each event model, with a broker,
 * a subscriber to everything below the gateway's base topic, and a daemon of its own. The daemon must be
 * alive at the test's end, unless the test has ended it, and must then stop cleanly at SIGTERM.
 *
 * $FG_TEST_EVENT_MODELS ("reactor,proactor") chooses the models, $FG_TEST_FILTER the tests ("*loss*").
 */
#ifndef FIELDGATE_TEST_E2E_H
#define FIELDGATE_TEST_E2E_H

#include "support/daemon.h"
#include "support/e2e_broker.h"
#include "support/load.h"
#include "support/pty.h"
#include "support/subscriber.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define E2E_BASE "fieldgate/gw" /* base topic of every gateway here */
#define E2E_PTYS 40

struct e2e {
    const char *model;
    char folder[TEMPDIR_PATH];
    struct e2e_broker broker;
    struct subscriber subscriber;
    struct daemon daemon;
    struct pty ptys[E2E_PTYS];
    size_t pty_count;
    struct load load;
    bool passed;
    /* What a test may change before the daemon starts. */
    const char *stats_interval;   /* "100ms" */
    const char *queue_bytes;      /* "4MiB" */
    const char *shutdown_timeout; /* "5s" */
    const char *gateway_more;     /* further settings of the groups */
    const char *mqtt_more;
    const char *spool;    /* its durability, in the test's folder; NULL: there is none */
    bool control;         /* it has a control socket, in the test's folder */
    unsigned descriptors; /* limit of open files; 0: the test's own */
};

struct e2e_test {
    const char *name;
    void (*run)(struct e2e *e2e);
};

/*
 * Ports, piece by piece: E2E_TCP("in") E2E_RAW "stale_after = \"1s\"; }, " and the values of the format
 * behind. A port begun so has line framing.
 */
#define E2E_LINE "framing: { type = \"line\"; }; "
#define E2E_RAW  "decoder: { type = \"raw\"; }; "
#define E2E_JSON "decoder: { type = \"json\"; }; "
#define E2E_NMEA "decoder: { type = \"nmea0183\"; }; "
#define E2E_CSV  "decoder: { type = \"csv\"; columns = [ \"id\", \"v\" ]; }; "
/* Of a load's lines: devices by their connection, their lines published as they are. */
#define E2E_LOAD                                                                                             \
    "decoder: { type = \"csv\"; columns = [ \"id\", \"n\", \"\" ]; }; identity = \"key:id\"; payload = "     \
    "\"raw\"; "
/* A transport of this type and these settings. */
#define E2E_PORT(name, type, settings)                                                                       \
    "{ name = \"" name "\"; transport: { type = \"" type "\"; " settings " }; "
#define E2E_TCP(name)    E2E_PORT(name, "tcp-server", "tcp_port = %u;") E2E_LINE
#define E2E_SERIAL(name) E2E_PORT(name, "serial", "path = \"%s\"; baud = 115200;") E2E_LINE
#define E2E_UNIX(name)   E2E_PORT(name, "unix", "path = \"%s\";") E2E_LINE
#define E2E_UDP(name)    E2E_PORT(name, "udp", "udp_port = %u;")

/* { "behaviour", behaviour } */
#define E2E_TEST(behaviour)                                                                                  \
    {                                                                                                        \
#behaviour, behaviour                                                                                \
    }

/* Runs them all for each event model. Returns main's exit status. */
int e2e_main(const char *group, const struct e2e_test *tests, size_t count);

/* Broker, subscriber and daemon with these ports (a format: the items of the list, each with a comma behind);
 * returns once the gateway is online. */
void e2e_start(struct e2e *e2e, const char *ports, ...) __attribute__((format(printf, 2, 3)));

/* One by one. The daemon is started without waiting for anything. */
void e2e_start_broker(struct e2e *e2e);
void e2e_subscribe(struct e2e *e2e);
void e2e_start_daemon(struct e2e *e2e, const char *ports, ...) __attribute__((format(printf, 2, 3)));
void e2e_wait_online(struct e2e *e2e);

/* Writes the configuration of the running daemon anew, as a whole at once: these ports, and what the frame
 * says now. */
void e2e_rewrite(struct e2e *e2e, const char *ports, ...) __attribute__((format(printf, 2, 3)));

/* The same, and has it reload, which must go well. */
void e2e_reload(struct e2e *e2e, const char *ports, ...) __attribute__((format(printf, 2, 3)));

/* How often a text stands in the daemon's log; and until it does. */
unsigned e2e_count_log(const struct e2e *e2e, const char *text);
void e2e_wait_log(struct e2e *e2e, const char *text, unsigned times);

/* Starts the broker while the daemon runs, and subscribes before the daemon can connect to it. */
void e2e_start_broker_unseen(struct e2e *e2e);

/* The next message of {base}/topic, which must come. Valid until the next call. */
const struct subscriber_message *e2e_next(struct e2e *e2e, const char *topic);

/* The next message of {base}/topic must come and be this text. */
void e2e_expect(struct e2e *e2e, const char *topic, const char *payload);

/* The next message of {base}/topic must come and be a JSON object with a time of now, and these fields
 * besides: all and no others, in any order. Returns its time. */
int64_t e2e_expect_json(struct e2e *e2e, const char *topic, const char *fields);

/* The same, but only those fields are looked at. */
void e2e_expect_fields(struct e2e *e2e, const char *topic, const char *fields);

/* No message of {base}/topic may be there that was not taken. What had to come before must have been waited
 * for. */
void e2e_expect_no_more(struct e2e *e2e, const char *topic);

/* Waits until a status topic says this, whatever it said before. */
void e2e_wait_status(struct e2e *e2e, const char *topic, const char *status);

/* Waits until the serial port has been opened so many times: what is written before can be flushed by the
 * opening. */
void e2e_wait_open(struct e2e *e2e, const char *port, unsigned times);

/* Waits until a counter of {base}/stats ("ports.in.rejected.checksum") has this value. One that is not there
 * is 0. */
void e2e_wait_counter(struct e2e *e2e, const char *path, uint64_t value);

/* The next statistics (json_decref). */
json_t *e2e_next_stats(struct e2e *e2e);
uint64_t e2e_counter(const json_t *stats, const char *path);

/* A pty of the test's, plugged in, with its link in the test's folder. */
struct pty *e2e_plug_pty(struct e2e *e2e, const char *name);

/* The sum of the counts on {base}/loss for a device until it reaches count; every message is checked. */
void e2e_wait_loss(struct e2e *e2e, const char *device, const char *reason, uint64_t count);

/* What a client that comes now finds retained on a status topic. */
void e2e_expect_retained(struct e2e *e2e, const char *topic, const char *status);

/* Lines of 60 bytes over so many connections, for E2E_LOAD; lines of each, rate as in struct load. */
void e2e_begin_load(struct e2e *e2e, unsigned port, unsigned connections, unsigned lines, unsigned rate);

struct arrivals;

/* Broker, a subscriber whose arrivals are watched, the daemon with a port "in", and a load on it. */
void e2e_start_under_load(struct e2e *e2e, struct arrivals *arrivals, unsigned port, unsigned connections,
                          unsigned lines, unsigned rate);

#endif
