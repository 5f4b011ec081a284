/*
 * A table of settings with one of everything, shaped like the gateway's, and a folder of its own to read
 * files in.
 */
#ifndef FIELDGATE_TEST_CONFIG_FIXTURE_H
#define FIELDGATE_TEST_CONFIG_FIXTURE_H

#include "fieldgate/config.h"

struct sample_report {
    bool on_change;
    double deadband;
    int64_t min_interval_ns;
};

struct sample_proof {
    char *ca_file;
    bool insecure;
};

struct sample_common { /* of devices, and on the port as defaults for its devices */
    int64_t qos;
    int64_t stale_after_ns;
    char *topic;
    struct sample_report report;
    struct sample_proof *proof;
};

struct sample_device {
    char *name;
    struct sample_common common;
};

struct sample_serial {
    char *path;
    int64_t baud;
    int flow;
};

struct sample_tcp {
    char *address;
    int64_t max_bytes;
    struct fg_texts allow;
};

struct sample_port {
    struct fg_settings_list devices; /* struct sample_device */
    char *name;
    struct sample_common common;
    struct fg_chosen transport;
    struct fg_chosen decoder;
};

struct sample_gateway {
    char *id;
    int64_t workers;
    int log_level;
    int64_t queue_bytes;
    int64_t minimum_ns, maximum_ns;
};

struct sample {
    struct sample_gateway gateway;
    struct sample_proof *tls;
    struct fg_settings_list ports; /* struct sample_port */
};

extern const struct fg_schema sample_schema;
extern const char sample_text[]; /* a whole and valid file for it */

/* What a reading gave. */
struct outcome {
    int error;
    struct fg_config *config;
    const struct sample *sample; /* NULL on failure */
    size_t count;
    char *problems[128];
};

/* cmocka's group setup and teardown: a fresh current folder, removed at the end. */
int fixture_enter(void **state);
int fixture_leave(void **state);

void fixture_write(const char *name, const void *bytes, size_t size);
struct outcome fixture_read_file(const char *path);
/* Writes the text as x.cfg and reads it. */
struct outcome fixture_read(const char *text);
void outcome_fini(struct outcome *outcome);
bool outcome_has(const struct outcome *outcome, const char *problem);

/* Reads the text, and wants just this one problem. */
void assert_problem(const char *text, const char *problem);

#endif
