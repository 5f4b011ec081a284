#include "fieldgate/gateway.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"
#include "fieldgate/unix_file.h"

#include <stdio.h>
#include <string.h>

const char *const fg_event_model_names[] = { "reactor", "simulated-proactor", "proactor", "auto", NULL };

static void check_id(struct fg_check *check, const char *key, const void *field)
{
    const char *id = *(char *const *)field;
    size_t good = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
    if (id[good]) {
        fg_check_problem(check, key, "\"%s\" has a character other than letters, digits, '_', '.' and '-'",
                         id);
    }
}

static const struct fg_setting gateway_settings[] = {
    { .key = "id",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_gateway_settings, id),
      .fallback = "",
      .maximum = 64,
      .check = check_id,
      .help = "The gateway's name in topics and in the client id. Default: the host name." },
    { .key = "event_model",
      .type = FG_SETTING_CHOICE,
      .offset = offsetof(struct fg_gateway_settings, event_model),
      .fallback = "reactor",
      .choices = fg_event_model_names,
      .restart = true,
      .help = "How I/O is done. A model that cannot run here ends the daemon with the reason; `auto` takes "
              "the best "
              "one that can." },
    { .key = "workers",
      .type = FG_SETTING_INTEGER,
      .offset = offsetof(struct fg_gateway_settings, workers),
      .fallback = "2",
      .minimum = 1,
      .maximum = 16,
      .restart = true,
      .help = "Threads that decode, and in the reactor read and write." },
    { .key = "log_level",
      .type = FG_SETTING_CHOICE,
      .offset = offsetof(struct fg_gateway_settings, log_level),
      .fallback = "info",
      .choices = fg_log_level_names,
      .help = "What is logged." },
    { .key = "control_socket",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_gateway_settings, control_socket),
      .fallback = "/run/fieldgate/control.sock",
      .maximum = FG_UNIX_PATH_MAX,
      .restart = true,
      .help = "The socket of fieldgatectl; \"\" is none. Its mode is 0660: who may write to it may look into "
              "the daemon and have it reload." },
    { .key = "state_directory",
      .type = FG_SETTING_TEXT,
      .offset = offsetof(struct fg_gateway_settings, state_directory),
      .fallback = "/var/lib/fieldgate",
      .minimum = 1,
      .maximum = 400,
      .restart = true,
      .help =
          "The folder for what outlives a stop: the file `commands`, from which a command that comes again "
          "is known. With a spool it stands in the spool's folder instead." },
    { .key = "queue_bytes",
      .type = FG_SETTING_SIZE,
      .offset = offsetof(struct fg_gateway_settings, queue_bytes),
      .fallback = "4MiB",
      .minimum = 16 * 1024,
      .maximum = INT64_C(1) << 30,
      .help =
          "Readings waiting in memory for the broker. Past it TCP and Unix stream devices are made to wait; "
          "readings from datagrams and serial lines are lost, and told." },
    { .key = "stats_interval",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct fg_gateway_settings, stats_interval_ns),
      .fallback = "60s",
      .minimum = 0,
      .maximum = 86400 * FG_NS_PER_S,
      .help = "How often {base}/stats is published; \"0s\" is never." },
    { .key = "shutdown_timeout",
      .type = FG_SETTING_DURATION,
      .offset = offsetof(struct fg_gateway_settings, shutdown_timeout_ns),
      .fallback = "5s",
      .minimum = 0,
      .maximum = 600 * FG_NS_PER_S,
      .help = "How long a stop waits for the broker to take what is waiting. The rest goes to the spool; "
              "without one it is counted as lost." },
    { 0 },
};

static const struct fg_schema gateway_schema = {
    .name = "gateway",
    .help = "The daemon itself.",
    .size = sizeof(struct fg_gateway_settings),
    .settings = gateway_settings,
};

/* From qos to the end of retain, without the padding behind: it depends on the member that follows. */
#define INHERITED_SIZE(type) (offsetof(type, retain) + sizeof(((type *)NULL)->retain) - offsetof(type, qos))

static const struct fg_setting all_settings[] = {
    { .key = "gateway",
      .type = FG_SETTING_GROUP,
      .offset = offsetof(struct fg_settings, gateway),
      .schema = &gateway_schema,
      .help = "The daemon itself." },
    { .key = "mqtt",
      .type = FG_SETTING_GROUP,
      .offset = offsetof(struct fg_settings, mqtt),
      .schema = &fg_mqtt_schema,
      .help = "The broker." },
    { .key = "spool",
      .type = FG_SETTING_OPTIONAL,
      .offset = offsetof(struct fg_settings, spool),
      .schema = &fg_spool_schema,
      .restart = true,
      .help = "Keeping readings on disk." },
    { .key = "ports",
      .type = FG_SETTING_LIST,
      .offset = offsetof(struct fg_settings, ports),
      .minimum = 1,
      .maximum = 1000,
      .schema = &fg_port_schema,
      .inherit_from = offsetof(struct fg_settings, mqtt) + offsetof(struct fg_mqtt_settings, qos),
      .inherit_to = offsetof(struct fg_port_settings, defaults) + offsetof(struct fg_device_defaults, qos),
      .inherit_size = INHERITED_SIZE(struct fg_mqtt_settings),
      .help = "The ways onto wires." },
    { 0 },
};

_Static_assert(INHERITED_SIZE(struct fg_mqtt_settings) == INHERITED_SIZE(struct fg_device_defaults),
               "qos and retain stand alike in both");

/* Ports are told apart by their names. */
static void check_names(struct fg_check *check, const void *settings)
{
    const struct fg_settings *all = settings;
    const struct fg_port_settings *ports = all->ports.items;
    char path[80];
    for (size_t i = 0; i < all->ports.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(ports[i].name, ports[j].name) == 0) {
                snprintf(path, sizeof path, "ports[%zu].name", i);
                fg_check_problem(check, path, "\"%s\" is the name of ports[%zu] already; names are unique",
                                 ports[i].name, j);
                break;
            }
        }
    }
}

const struct fg_schema fg_settings_schema = {
    .name = "fieldgate.cfg",
    .help = "The configuration file is in libconfig's format. Durations are texts with a unit (\"250ms\", "
            "\"5s\", "
            "\"10min\", \"6h\", \"7d\"), and so are sizes (\"64KiB\", \"16MiB\").\n\nA reload "
            "(SIGHUP) applies every setting but those that say **Restart.**: a change of these waits for the "
            "next start.",
    .size = sizeof(struct fg_settings),
    .settings = all_settings,
    .check = check_names,
};
